"""Leaves from the desk's rows of attempts."""

from hypothesis import given
from hypothesis import strategies as st

from interlock.core.desk.localisation.counting import bounded, leaves, telling
from interlock.core.desk.localisation.localising import localise
from interlock.core.desk.localisation.model import Leaf
from tests.core.desk.desk_world import DeskWorld
from tests.scenarios.world import HOUR


async def test_attempts_of_both_windows_are_tallied_by_what_is_known_of_them():
    world = DeskWorld(release="1.0.0")
    start = world.clock.now()
    await world.sale(1000, key="a")
    await world.pay(token="tok_decline_stolen", key="b")
    await world.run(2 * HOUR)
    await world.sale(1000, key="c", tenant="ten_2", token="tok_approve-card-497010")
    await world.look()
    now = world.clock.now()
    found = await leaves(
        world.desk,
        world.desk,
        since=now - 3_600_000,
        until=now + 1_000,
        before_since=start - 1_000,
        before_until=now - 3_600_000,
    )
    assert sorted(found, key=str) == sorted(
        [
            Leaf(("simulator_a", "card", "visa", "US", "424242", None, "1.0.0", "ten_1"), 1, 1, 0, 0),
            Leaf(("simulator_a", "card", "visa", "US", "424242", "stolen_card", "1.0.0", "ten_1"), 1, 0, 0, 0),
            Leaf(("simulator_a", "card", "visa", "FR", "497010", None, "1.0.0", "ten_2"), 0, 0, 1, 1),
        ],
        key=str,
    )


async def test_captures_and_refunds_are_no_attempts_to_pay():
    world = DeskWorld()
    payment = await world.authorize(1000)
    await world.act(payment, "capture", {"final": True}, key="c")
    await world.act(payment, "refunds", {"amount": 100}, key="r")
    await world.settle()
    await world.look()
    now = world.clock.now() + 1_000
    found = await leaves(world.desk, world.desk, since=0, until=now, before_since=0, before_until=0)
    assert [leaf[1:] for leaf in found] == [(0, 0, 1, 1)]


def test_dimension_that_all_attempts_share_explains_nothing_and_is_left_out():
    found = [
        Leaf(("acme", "card", "visa", "FR", None, None, "1.0.0", "m"), 500, 500, 250, 250),
        Leaf(("zeta", "card", "visa", "FR", None, None, "1.0.0", "m"), 500, 500, 100, 100),
        Leaf(("zeta", "card", "visa", "FR", None, "refused", "1.0.0", "m"), 5, 0, 150, 0),
        Leaf(("acme", "card", "visa", "FR", None, "stolen", "1.0.0", "m"), 5, 0, 2, 0),
    ]
    kept, dimensions = telling(found)
    assert dimensions == ("provider", "error")
    assert [leaf.attributes for leaf in kept] == [
        ("acme", None),
        ("zeta", None),
        ("zeta", "refused"),
        ("acme", "stolen"),
    ]
    finding = localise(kept, dimensions)
    assert finding.verdict == "drop"
    assert ("provider", "zeta") in finding.causes[0].where


def test_nothing_to_tell_apart_is_calm():
    assert localise(*telling([])).verdict == "calm"


def attempts(bin, number, *, bad=0, provider="acme", error="refused"):
    """Now, of one BIN; as many succeeded before."""
    good = Leaf((provider, "card", "visa", "FR", bin, None, "1.0.0", "m"), number, number, number - bad, number - bad)
    failed = Leaf((provider, "card", "visa", "FR", bin, error, "1.0.0", "m"), 0, 0, bad, 0)
    return [good, *([failed] if bad else [])]


def test_values_that_fail_most_are_told_apart_and_the_rest_is_not_known():
    found = [
        *attempts("400001", 90),
        *attempts("400002", 9, bad=3),
        *attempts("400003", 8, bad=1),
        *attempts("400004", 7),
    ]
    kept = bounded(found, values_max=2)
    by_bin = {}
    for leaf in kept:
        by_bin[leaf.attributes[4]] = by_bin.get(leaf.attributes[4], 0) + leaf.now_total
    assert by_bin == {"400002": 9, "400003": 8, None: 97}
    assert [leaf for leaf in kept if leaf.attributes[4] is None] == [attempts(None, 97)[0]]


def test_few_values_are_left_as_they_are():
    found = [*attempts("400001", 90), *attempts("400002", 9, bad=3)]
    assert bounded(found, values_max=2) == found
    assert bounded([]) == []


values = st.one_of(st.none(), st.sampled_from([str(400_000 + number) for number in range(12)]))
made = st.lists(
    st.builds(
        lambda bin, merchant, before, good, now, good_now: Leaf(
            ("acme", "card", "visa", "FR", bin, None, "1.0.0", merchant), before + good, good, now + good_now, good_now
        ),
        values,
        values,
        *[st.integers(0, 30)] * 4,
    ),
    max_size=40,
)


@given(made, st.integers(1, 6))
def test_bounding_loses_no_attempt_and_keeps_each_dimension_within_bounds(found, most):
    kept = bounded(found, most)
    assert [sum(column) for column in zip(*(leaf[1:] for leaf in kept), strict=True)] == [
        sum(column) for column in zip(*(leaf[1:] for leaf in found), strict=True)
    ]
    for place in range(8):
        seen = {leaf.attributes[place] for leaf in kept} - {None}
        assert len(seen) <= most
        assert seen <= {leaf.attributes[place] for leaf in found}
    for value in {leaf.attributes[4] for leaf in kept} - {None}:
        mine = [sum(leaf.now_total for leaf in side if leaf.attributes[4] == value) for side in (kept, found)]
        assert mine[0] == mine[1]


@given(made)
def test_kept_values_fail_at_least_as_often_as_those_left_out(found):
    def failures(leaves):
        sums = {}
        for leaf in leaves:
            sums[leaf.attributes[4]] = sums.get(leaf.attributes[4], 0) + leaf.now_total - leaf.now_good
        return sums

    kept = failures(bounded(found, 3)).keys() - {None}
    all_of_them = failures(found)
    left_out = all_of_them.keys() - kept - {None}
    assert not left_out or min(all_of_them[one] for one in kept) >= max(all_of_them[one] for one in left_out)
