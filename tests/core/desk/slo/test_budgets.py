"""Burn rates, budgets, burn-downs and alerts."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.desk.slo.budgets import (
    Point,
    alerts,
    budget,
    burn_down,
    burn_rate,
    burns_above,
    holds,
    spent_after,
)
from interlock.core.desk.slo.model import BURN_RULES, WINDOWS, Counts, Ratio, Severity, ratio
from interlock.core.kernel.clock import DAY, HOUR
from interlock.core.kernel.errors import Invalid
from tests.core.desk.slo.objectives import HALF_PERCENT, MONEY, slo

TARGETS = st.builds(lambda good, of: ratio(min(good, of - 1), of), st.integers(1, 10**6), st.integers(2, 10**6))
COUNTS = st.builds(lambda bad, good: Counts(good, good + bad), st.integers(0, 10**6), st.integers(0, 10**6))


def everywhere(counts, **other):
    return dict.fromkeys(WINDOWS, counts) | other


@pytest.mark.parametrize(
    ("good", "total", "rate"),
    [
        (0, 0, Ratio(0, 1)),
        (100, 100, Ratio(0, 1)),
        (995, 1000, Ratio(1, 1)),
        (928, 1000, Ratio(72, 5)),
        (0, 3, Ratio(200, 1)),
        (2, 3, Ratio(200, 3)),
        (12, 10, Ratio(0, 1)),
    ],
)
def test_burn_rate_is_exact(good, total, rate):
    assert burn_rate(Counts(good, total), HALF_PERCENT) == rate


@given(COUNTS, TARGETS, st.sampled_from([10, 30, 60, 144]))
def test_comparison_in_whole_numbers_agrees_with_fractions(counts, target, tenths):
    share = Fraction(counts.bad, counts.total) if counts.total else Fraction(0)
    burn = share / (1 - Fraction(target.over, target.under))
    assert burns_above(counts, target, tenths) is (burn > Fraction(tenths, 10))
    assert burn_rate(counts, target) == Ratio(burn.numerator, burn.denominator)


def test_burn_rate_at_the_threshold_is_not_above_it_and_one_more_error_is():
    assert burns_above(Counts(928, 1000), HALF_PERCENT, 144) is False
    assert burns_above(Counts(927, 1000), HALF_PERCENT, 144) is True
    # 0.1 + 0.2 of a float would tip these over.
    assert burns_above(Counts(9_280_000_000_000, 10**13), HALF_PERCENT, 144) is False
    assert burns_above(Counts(9_279_999_999_999, 10**13), HALF_PERCENT, 144) is True


@pytest.mark.parametrize("target", [Ratio(0, 1), Ratio(1, 1), Ratio(3, 2), Ratio(-1, 2)])
def test_target_that_is_no_share_is_refused(target):
    for ask in (lambda: burn_rate(Counts(1, 1), target), lambda: budget(Counts(1, 1), target)):
        with pytest.raises(Invalid) as refused:
            ask()
        assert refused.value.reason == "target_out_of_range"


def test_new_objective_without_traffic_has_all_of_its_budget():
    left = budget(Counts(0, 0), HALF_PERCENT)
    assert (left.allowed, left.spent, left.left, left.left_share) == (Ratio(0, 1), 0, Ratio(0, 1), Ratio(1, 1))
    assert (left.is_overspent, left.findings) == (False, ())


def test_budget_is_what_the_target_allows_without_what_was_bad():
    left = budget(Counts(9_980, 10_000), HALF_PERCENT)
    assert (left.allowed, left.spent, left.left, left.left_share) == (Ratio(50, 1), 20, Ratio(30, 1), Ratio(3, 5))
    assert (left.is_overspent, left.findings) == (False, ())


def test_budget_spent_to_the_last_event_is_not_overspent():
    exactly, above = budget(Counts(9_950, 10_000), HALF_PERCENT), budget(Counts(9_949, 10_000), HALF_PERCENT)
    assert (exactly.left_share, exactly.is_overspent) == (Ratio(0, 1), False)
    assert (above.left_share, above.is_overspent) == (Ratio(-1, 50), True)


def test_budget_below_one_event_is_told():
    left = budget(Counts(2, 3), HALF_PERCENT)
    assert left.left_share == Ratio(-197, 3)
    assert [finding.code for finding in left.findings] == ["few_events"]


def test_budget_of_a_wrong_measurement_says_so():
    assert [finding.code for finding in budget(Counts(5_001, 5_000), HALF_PERCENT).findings] == ["more_good_than_total"]


@given(COUNTS, TARGETS)
def test_share_left_is_one_less_the_burn_rate(counts, target):
    left, burn = budget(counts, target), burn_rate(counts, target)
    assert Fraction(left.left_share.over, left.left_share.under) == 1 - Fraction(burn.over, burn.under)
    assert left.is_overspent is (burn.over > burn.under)


# -- burn-down ---------------------------------------------------------------------------------------------------------


def test_burn_down_takes_slots_of_the_window_in_order():
    now = 100 * DAY
    series = [(now - HOUR, Counts(95, 100)), (now - 2 * HOUR, Counts(900, 900)), (now - 3 * DAY - 1, Counts(0, 9))]
    points = burn_down([*series, (now + 1, Counts(0, 7))], HALF_PERCENT, window=3 * DAY, now=now)
    assert points == (
        Point(now - 2 * HOUR, Ratio(1, 1), Counts(900, 900)),
        Point(now - HOUR, Ratio(0, 1), Counts(95, 100)),
    )


def test_burn_down_without_traffic_stays_at_the_whole():
    points = burn_down([(5, Counts(0, 0)), (6, Counts(0, 0))], HALF_PERCENT, window=DAY, now=DAY)
    assert [point.left_share for point in points] == [Ratio(1, 1), Ratio(1, 1)]
    assert burn_down([], HALF_PERCENT, window=DAY, now=DAY) == ()


def test_burn_down_with_a_slot_twice_is_refused():
    with pytest.raises(Invalid):
        burn_down([(5, Counts(0, 0)), (5, Counts(1, 1))], HALF_PERCENT, window=DAY, now=DAY)


@given(st.lists(COUNTS, min_size=1, max_size=20), TARGETS)
def test_burn_down_only_falls_and_ends_where_the_budget_stands(parts, target):
    series = [(i * HOUR, counts) for i, counts in enumerate(parts)]
    points = burn_down(series, target, window=len(parts) * HOUR, now=len(parts) * HOUR)
    shares = [Fraction(p.left_share.over, p.left_share.under) for p in points]
    assert shares == sorted(shares, reverse=True)
    whole = Counts(sum(p.good for p in parts), sum(p.total for p in parts))
    assert points[-1].left_share == budget(whole, target).left_share


# -- alerts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("windows", "firing"),
    [
        (everywhere(Counts(0, 0)), []),
        (everywhere(Counts(1_000, 1_000)), []),
        (everywhere(Counts(0, 1_000)), ["page-fast", "page-slow", "ticket-fast", "ticket-slow"]),
        (everywhere(Counts(928, 1_000)), ["page-slow", "ticket-fast", "ticket-slow"]),
        (everywhere(Counts(970, 1_000)), ["ticket-fast", "ticket-slow"]),
        (everywhere(Counts(985, 1_000)), ["ticket-slow"]),
        (everywhere(Counts(995, 1_000)), []),
        (everywhere(Counts(0, 1_000), **{"5m": Counts(9, 9)}), ["page-slow", "ticket-fast", "ticket-slow"]),
        (everywhere(Counts(9, 9), **{"5m": Counts(0, 50), "1h": Counts(0, 50)}), ["page-fast"]),
        (everywhere(Counts(9, 9), **{"1h": Counts(0, 1_000)}), []),
        (everywhere(Counts(2, 3)), []),
        (everywhere(Counts(0, 29)), []),
        (everywhere(Counts(0, 30)), ["page-fast", "page-slow", "ticket-fast", "ticket-slow"]),
        (everywhere(Counts(26, 30)), ["ticket-fast", "ticket-slow"]),
        (everywhere(Counts(28, 30)), []),
        (everywhere(Counts(1_200, 1_000)), []),
    ],
)
def test_alert_sounds_when_both_windows_burn_and_the_long_one_has_seen_enough(windows, firing):
    assert [one.rule for one in alerts(windows, slo())] == firing


def test_firing_rule_says_what_burns_and_how_fast():
    (fast, *_) = alerts(everywhere(Counts(900, 1_000), **{"5m": Counts(30, 60)}), slo())
    assert (fast.severity, fast.short, fast.long) == (Severity.PAGE, "5m", "1h")
    assert (fast.short_burn, fast.long_burn) == (Ratio(100, 1), Ratio(20, 1))
    assert fast.why == (
        "100 of 1000 attempts in 1h were bad; the budget of 28 days burns 20.0 times too fast over 1h and 100.0 times over 5m "
        "(alert above 14.4)"
    )


def test_window_that_was_not_measured_is_named():
    with pytest.raises(Invalid) as refused:
        alerts({name: Counts(0, 0) for name in WINDOWS if name not in ("6h", "3d")}, slo())
    assert [fault.pointer for fault in refused.value.faults] == ["/6h", "/3d"]


def test_rules_that_a_policy_leaves_out_are_silent():
    quiet = slo(rules=("ticket-slow",))
    assert [one.rule for one in alerts(everywhere(Counts(0, 1_000)), quiet)] == ["ticket-slow"]


def test_guard_of_money_counts_attempts_and_not_cents():
    one_large = Counts(10_000, 510_000, 40, 1)
    many = Counts(10_000, 510_000, 40, 20)
    assert alerts(everywhere(one_large), slo(indicator=MONEY)) == ()
    assert [one.rule for one in alerts(everywhere(many), slo(indicator=MONEY))][:2] == ["page-fast", "page-slow"]


EVENTS_MIN = min(rule.events_min for rule in BURN_RULES)
FEW = st.integers(0, EVENTS_MIN - 1).flatmap(lambda total: st.builds(Counts, st.integers(0, total), st.just(total)))


@given(st.fixed_dictionaries({name: FEW if name in ("1h", "6h", "1d", "3d") else COUNTS for name in WINDOWS}), TARGETS)
def test_fewer_events_than_the_minimum_in_the_long_window_never_sound(windows, target):
    assert alerts(windows, slo(target=target)) == ()


@given(st.fixed_dictionaries(dict.fromkeys(WINDOWS, COUNTS)), TARGETS)
def test_page_has_seen_its_minimum_of_attempts_and_of_bad_ones(windows, target):
    for rule in BURN_RULES:
        if holds(rule, windows, target):
            assert (windows[rule.long].total >= 30, windows[rule.long].bad >= rule.bad_min) == (True, True)


@given(COUNTS, TARGETS)
def test_page_in_steady_burning_never_comes_without_its_ticket(counts, target):
    firing = {one.rule for one in alerts(everywhere(counts), slo(target=target))}
    assert "page-fast" not in firing or {"page-slow", "ticket-fast", "ticket-slow"} <= firing


@pytest.mark.parametrize(
    ("left", "burn", "after"),
    [
        (Ratio(1, 1), Ratio(1, 1), 28 * DAY),
        (Ratio(1, 2), Ratio(14, 1), DAY),
        (Ratio(1, 1), Ratio(0, 1), None),
        (Ratio(0, 1), Ratio(0, 1), 0),
        (Ratio(-3, 1), Ratio(9, 1), 0),
    ],
)
def test_rest_of_the_budget_lasts_by_the_burn_rate(left, burn, after):
    assert spent_after(left, burn, 28 * DAY) == after
