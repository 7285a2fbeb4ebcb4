"""The rules of localisation, each over traffic made by hand: counts are exact, so expectations are too."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.desk.localisation.localising import localise
from interlock.core.desk.localisation.model import DIMENSIONS, Cause, Leaf
from interlock.core.kernel.errors import Invalid

PROVIDERS = ("acme", "bolt", "cora")
BRANDS = ("visa", "mastercard", "amex")
COUNTRIES = ("FR", "DE", "US")


def leaf(provider, brand, country, *, before, now, error=None, merchant="m1"):
    return Leaf((provider, "card", brand, country, None, error, "v1", merchant), *before, *now)


def traffic(broken=lambda provider, brand, country: False, *, now_total=80, broken_good=40):
    """27 slices: 930 of 1,000 succeeded before in each; now 93 % do, or `broken_good`."""
    return [
        leaf(*values, before=(1000, 930), now=(now_total, broken_good if broken(*values) else now_total * 93 // 100))
        for values in itertools.product(PROVIDERS, BRANDS, COUNTRIES)
    ]


def together(finding):
    return [cause.where for cause in finding.causes if not cause.alternative]


# -- one cause ---------------------------------------------------------------------------------------------------------


def test_provider_whose_every_slice_drops_is_named_alone():
    finding = localise(traffic(lambda provider, brand, country: provider == "acme"))
    assert finding.verdict == "drop"
    assert together(finding) == [(("provider", "acme"),)]


def test_child_whose_siblings_are_well_is_named_and_not_its_parents():
    finding = localise(traffic(lambda provider, brand, country: provider == "acme" and brand == "visa"))
    assert together(finding) == [(("provider", "acme"), ("brand", "visa"))]


def test_slice_of_three_attributes_is_found_among_well_ones():
    broken = ("acme", "visa", "FR")
    finding = localise(traffic(lambda *values: values == broken, broken_good=20))
    assert together(finding) == [(("provider", "acme"), ("brand", "visa"), ("country", "FR"))]


def test_cause_carries_its_counts_and_a_sentence():
    finding = localise(traffic(lambda provider, brand, country: provider == "acme" and brand == "visa"))
    cause = finding.causes[0]
    assert cause.evidence[:4] == (3000, 2790, 240, 120)
    assert cause.statement.startswith("provider=acme and brand=visa: 50 % of 240 succeeded, 93 % before; explains 10")
    assert cause.evidence.expected_good == pytest.approx(223.2, abs=0.1)
    assert cause.lost == pytest.approx(103.2, abs=0.1)
    assert cause.evidence.lost == cause.lost
    assert cause.evidence.significance < 1e-20
    assert cause.share == pytest.approx(1.0, abs=0.1)


def test_same_attempts_in_more_words_are_no_alternative():
    """Every attempt is by card at m1 over v1, so to add those says nothing."""
    finding = localise(traffic(lambda provider, brand, country: provider == "acme" and brand == "visa"))
    said = [{dimension for dimension, _ in cause.where} for cause in finding.causes]
    assert not any(names & {"method", "version", "merchant"} for names in said)


def test_alternatives_come_last_and_no_more_than_asked_for_are_given():
    leaves = traffic(lambda provider, brand, country: provider == "acme" and brand == "visa")
    finding = localise(leaves)
    flags = [cause.alternative for cause in finding.causes]
    assert flags == sorted(flags)
    assert 1 < len(flags) <= 5
    assert localise(leaves, causes_max=1).causes == finding.causes[:1]


def test_merchant_with_a_bad_rate_that_sends_more_is_no_drop():
    """Success over everything falls from 90 % to 65 %, and nobody fails more often than before."""
    leaves = [
        leaf("acme", "visa", "FR", before=(9000, 8550), now=(300, 285), merchant="good"),
        leaf("acme", "visa", "FR", before=(1000, 450), now=(600, 270), merchant="bad"),
    ]
    finding = localise(leaves)
    assert (finding.drop.before_good, finding.drop.now_good) == (9000, 555)
    assert finding.causes == ()
    assert finding.verdict == "calm"


# -- several causes ----------------------------------------------------------------------------------------------------


def test_two_causes_apart_are_both_named_largest_loss_first():
    def broken(provider, brand, country):
        return (provider, brand) == ("acme", "visa") or (provider, country) == ("bolt", "DE")

    leaves = traffic(broken, broken_good=40)
    leaves.append(leaf("acme", "visa", "FR", before=(1000, 930), now=(80, 40), merchant="m2"))
    finding = localise(leaves)
    assert together(finding) == [
        (("provider", "acme"), ("brand", "visa")),
        (("provider", "bolt"), ("country", "DE")),
    ]
    assert sum(cause.share for cause in finding.causes if not cause.alternative) == pytest.approx(1.0, abs=0.05)


def test_two_causes_within_one_provider_are_not_mistaken_for_the_provider():
    finding = localise(traffic(lambda provider, brand, country: provider == "acme" and brand != "amex"))
    assert set(together(finding)) == {
        (("provider", "acme"), ("brand", "visa")),
        (("provider", "acme"), ("brand", "mastercard")),
    }


# -- errors ------------------------------------------------------------------------------------------------------------


def with_error(*, provider="acme", failed=60):
    """Each slice fails 35 times of 1,000 with either of two errors; now one provider fails more often with one of them."""
    leaves = []
    for values in itertools.product(PROVIDERS, BRANDS, COUNTRIES):
        timeouts = failed if values[0] == provider else 7
        leaves.append(leaf(*values, before=(930, 930), now=(200 - 7 - timeouts, 200 - 7 - timeouts)))
        leaves.append(leaf(*values, before=(35, 0), now=(7, 0), error="do_not_honor"))
        leaves.append(leaf(*values, before=(35, 0), now=(timeouts, 0), error="timeout"))
    return leaves


def test_failures_with_one_error_are_counted_against_all_attempts():
    finding = localise(with_error())
    assert together(finding) == [(("provider", "acme"), ("error", "timeout"))]
    cause = finding.causes[0]
    assert cause.evidence[:4] == (9000, 8685, 1800, 1260)
    assert cause.statement.startswith("provider=acme and error=timeout: 30 % of 1800 attempts failed so, 4 % before; ")
    assert cause.lost == pytest.approx(480, abs=10)


def test_drop_with_the_usual_errors_names_no_error():
    leaves = []
    for values in itertools.product(PROVIDERS, BRANDS, COUNTRIES):
        failed = 40 if values[0] == "acme" else 7
        leaves.append(leaf(*values, before=(930, 930), now=(200 - 2 * failed, 200 - 2 * failed)))
        for error in ("do_not_honor", "timeout"):
            leaves.append(leaf(*values, before=(35, 0), now=(failed, 0), error=error))
    assert together(localise(leaves)) == [(("provider", "acme"),)]


def test_error_never_seen_before_is_found_everywhere_it_happens():
    leaves = traffic(now_total=100)
    leaves += [
        leaf(*values, before=(0, 0), now=(12, 0), error="brand_new")
        for values in itertools.product(PROVIDERS, BRANDS, COUNTRIES)
    ]
    finding = localise(leaves)
    assert together(finding) == [(("error", "brand_new"),)]


def test_success_with_an_error_is_refused():
    with pytest.raises(Invalid) as refused:
        localise(
            [
                leaf("acme", "visa", "FR", before=(5, 5), now=(5, 5)),
                leaf("a", "b", "c", before=(2, 1), now=(0, 0), error="e"),
            ]
        )
    assert refused.value.faults[0][:2] == ("/leaves/1", "outcome")


# -- no cause ----------------------------------------------------------------------------------------------------------


def test_nothing_at_all_is_calm():
    finding = localise([])
    assert (finding.verdict, finding.causes, finding.statement) == ("calm", (), "no attempts to compare")


def test_rates_as_before_are_calm():
    finding = localise(traffic())
    assert finding.verdict == "calm"
    assert finding.causes == ()
    assert finding.statement == "92 % of 2160 succeeded, 93 % before: no drop beyond chance and the usual ups and downs"


def test_everything_dropping_alike_is_inconclusive_and_says_so():
    finding = localise(traffic(lambda *values: True, broken_good=60))
    assert finding.verdict == "inconclusive"
    assert finding.causes == ()
    assert finding.statement.endswith("and everything drops alike")
    assert finding.drop.significance < 0.001
    assert finding.lost == pytest.approx(2160 * 0.93 - 27 * 60, abs=1)


def test_drop_spread_over_slices_too_small_to_tell_apart_is_inconclusive():
    """Each of 40 merchants fails five times of ten: none of them enough for a name."""
    leaves = [leaf("acme", "visa", "FR", before=(100, 95), now=(10, 5), merchant=f"m{number}") for number in range(40)]
    finding = localise(leaves)
    assert finding.verdict == "inconclusive"
    assert finding.causes == ()


def test_few_attempts_that_all_fail_are_no_cause():
    leaves = traffic()
    leaves.append(leaf("acme", "visa", "FR", before=(40, 38), now=(4, 0), merchant="tiny"))
    assert localise(leaves).verdict == "calm"


def test_gain_is_never_a_drop():
    leaves = [leaf(provider, "visa", "FR", before=(1000, 700), now=(1000, 990)) for provider in PROVIDERS]
    finding = localise(leaves)
    assert finding.verdict == "calm"
    assert finding.drop.lost < -800


# -- edges of the windows ----------------------------------------------------------------------------------------------


def test_slice_without_a_past_is_judged_by_what_its_attributes_suggest():
    """A merchant that started today fails always; providers and brands are well."""
    leaves = traffic()
    leaves.append(leaf("acme", "visa", "FR", before=(0, 0), now=(60, 0), merchant="new"))
    finding = localise(leaves)
    assert together(finding) == [(("merchant", "new"),)]
    assert finding.causes[0].statement.startswith("merchant=new: 0 % of 60 succeeded, none before; explains ")


def test_slice_without_a_past_that_succeeds_is_no_cause():
    leaves = traffic()
    leaves.append(leaf("acme", "visa", "FR", before=(0, 0), now=(60, 55), merchant="new"))
    assert localise(leaves).verdict == "calm"


def test_no_attempts_now_are_calm():
    """That traffic is missing is another question than why payments fail."""
    finding = localise([leaf("acme", "visa", "FR", before=(1000, 900), now=(0, 0))])
    assert (finding.verdict, finding.statement) == ("calm", "no attempts to compare")


def test_no_attempts_before_are_nothing_to_compare_with():
    finding = localise([leaf("acme", "visa", "FR", before=(0, 0), now=(1000, 200))])
    assert finding.causes == ()
    assert finding.statement == "20 % of 1000 succeeded, none before: nothing to compare with"


def test_everything_failing_in_one_provider_is_that_provider():
    finding = localise(traffic(lambda provider, brand, country: provider == "cora", broken_good=0))
    assert together(finding) == [(("provider", "cora"),)]
    assert finding.causes[0].statement.startswith("provider=cora: 0 % of 720 succeeded, 93 % before; ")


# -- what is handed in -------------------------------------------------------------------------------------------------


def test_dimensions_may_be_others_and_need_no_outcome():
    leaves = [Leaf((host, zone), 500, 490, 100, 30 if host == "h1" else 98) for host in ("h1", "h2") for zone in "xy"]
    finding = localise(leaves, ("host", "zone"))
    assert together(finding) == [(("host", "h1"),)]


def test_missing_values_are_never_named():
    """What fails has no provider, which is no name; the country that only it has is one."""
    well, broken = (
        Leaf((*names, *(["x"] * 3), None, "v1", "m1"), 1000, 950, 200, good)
        for names, good in ((("acme", "card"), 190), ((None, "wallet"), 60))
    )
    finding = localise([well, broken])
    assert together(finding) == [(("method", "wallet"),)]


@pytest.mark.parametrize(
    ("faulty", "rule"),
    [
        (Leaf(("acme",), 1, 1, 1, 1), "width"),
        (Leaf((None,) * 8, 1, 2, 1, 1), "counts"),
        (Leaf((None,) * 8, 1, 1, 1, 2), "counts"),
        (Leaf((None,) * 8, 0, -1, 1, 1), "counts"),
    ],
)
def test_impossible_leaf_is_refused_by_its_place(faulty, rule):
    with pytest.raises(Invalid) as refused:
        localise([leaf("acme", "visa", "FR", before=(5, 5), now=(5, 5)), faulty])
    assert refused.value.faults[0][:2] == ("/leaves/1", rule)


def test_repeated_dimension_is_refused():
    with pytest.raises(Invalid):
        localise([], ("provider", "provider"))


@st.composite
def any_traffic(draw):
    values = [draw(st.sampled_from([None, "a", "b", "c"])) for _ in range(len(DIMENSIONS))]
    before, now = draw(st.integers(0, 500)), draw(st.integers(0, 500))
    good = 0 if values[DIMENSIONS.index("error")] is not None else 1
    return Leaf(tuple(values), before, good * draw(st.integers(0, before)), now, good * draw(st.integers(0, now)))


@given(st.lists(any_traffic(), max_size=25))
def test_any_counts_give_a_finding_whose_figures_agree(leaves):
    finding = localise(leaves)
    assert (finding.verdict == "drop") == bool(finding.causes)
    assert finding.drop.now_total == sum(one.now_total for one in leaves)
    for cause in finding.causes:
        assert_figures_agree(cause, finding.drop.now_total)


def assert_figures_agree(cause: Cause, now_total: int) -> None:
    assert 1 <= len(cause.where) <= 3
    assert 0 <= cause.share <= 1
    assert 0 <= cause.evidence.significance <= 1
    assert 0 <= cause.evidence.now_good <= cause.evidence.now_total <= now_total
    assert cause.lost > 0


@given(st.lists(any_traffic(), max_size=25), st.randoms(use_true_random=False))
def test_order_of_leaves_makes_no_difference(leaves, random):
    shuffled = list(leaves)
    random.shuffle(shuffled)
    assert [cause.where for cause in localise(shuffled).causes] == [cause.where for cause in localise(leaves).causes]
