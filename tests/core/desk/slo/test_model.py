"""Ratios, counts and objectives as values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.desk.slo.model import (
    BURN_RULES,
    NONE_COUNTED,
    WINDOWS,
    Counts,
    Filter,
    Indicator,
    Measure,
    Ratio,
    counts_findings,
    ratio,
    total_of,
)
from interlock.core.kernel.clock import DAY, HOUR, MINUTE
from interlock.core.kernel.errors import Invalid
from tests.core.desk.slo.objectives import AVAILABILITY, LATENCY, slo


@pytest.mark.parametrize(
    ("over", "under", "places", "shown"),
    [
        (1, 3, 2, "0.33"),
        (2, 3, 2, "0.67"),
        (-1, 3, 1, "-0.3"),
        (-1, 2, 0, "-1"),
        (1, 2, 0, "1"),
        (-1, 1000, 1, "0.0"),
        (199, 200, 3, "0.995"),
        (12345, 1, 1, "12345.0"),
        (-29, 1, 2, "-29.00"),
    ],
)
def test_ratio_for_people_is_rounded_half_away_from_zero(over, under, places, shown):
    assert ratio(over, under).decimal(places) == shown


def test_ratio_is_in_lowest_terms_and_has_no_order_of_pairs():
    assert ratio(995, 1000) == Ratio(199, 200)
    assert ratio(-3, -6) == Ratio(1, 2)
    assert ratio(3, -6) == Ratio(-1, 2)
    assert (ratio(1, 2).is_above(ratio(1, 3)), ratio(1, 2).is_above(ratio(2, 4))) == (True, False)
    assert (ratio(995, 1000).exact(), ratio(995, 1000).exact_percent(), ratio(1, 1).exact()) == ("0.995", "99.5 %", "1")
    with pytest.raises(ZeroDivisionError):
        ratio(1, 0)
    with pytest.raises(TypeError):
        sorted([ratio(1, 2), ratio(1, 3)])


@pytest.mark.parametrize(
    ("given_counts", "pointer", "code"),
    [
        ({"good": -1, "total": 3}, "/good", "negative"),
        ({"good": 1, "total": -3}, "/total", "negative"),
        ({"good": 1.0, "total": 3}, "/good", "not_whole"),
        ({"good": True, "total": 3}, "/good", "not_whole"),
        ({"good": 1, "total": 3, "events": 2}, "/events", "incomplete"),
        ({"good": 1, "total": 3, "events": 2, "events_bad": -1}, "/events_bad", "negative"),
    ],
)
def test_counts_below_zero_or_not_whole_are_refused(given_counts, pointer, code):
    with pytest.raises(Invalid) as refused:
        Counts(**given_counts)
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [(pointer, code)]


def test_more_good_than_total_is_kept_and_told_and_is_no_bad_event():
    counts = Counts(12, 10)
    assert (counts.good, counts.total, counts.bad, counts.excess) == (12, 10, 0, 2)
    (finding,) = counts_findings(counts)
    assert finding.code == "more_good_than_total"
    assert finding.detail.startswith("2 more good than total")
    assert counts_findings(Counts(10, 10)) == ()


def test_surplus_of_one_hour_hides_no_bad_event_of_another():
    whole = Counts(110, 100) + Counts(0, 10)
    assert (whole.good, whole.total, whole.bad, whole.excess) == (100, 110, 10, 10)
    assert [finding.code for finding in counts_findings(whole)] == ["more_good_than_total"]
    assert total_of([Counts(110, 100)]).excess == 10


def test_sum_of_amounts_adds_the_attempts_behind_them():
    whole = total_of([Counts(0, 0, 0, 0), Counts(500, 700, 3, 1), Counts(10, 10, 1, 0)])
    assert whole == Counts(510, 710, 4, 1)
    assert (whole.bad, whole.seen, whole.seen_bad) == (200, 4, 1)
    assert (Counts(3, 5).seen, Counts(3, 5).seen_bad) == (5, 2)
    assert total_of([]) == NONE_COUNTED


COUNTS = st.builds(Counts, st.integers(0, 10**12), st.integers(0, 10**12))


@given(st.lists(COUNTS, max_size=8))
def test_sum_counts_each_bad_event_and_each_surplus_once(parts):
    whole = total_of(parts)
    assert whole.bad == sum(part.bad for part in parts)
    assert whole.total == sum(part.total for part in parts)
    assert whole.excess == sum(part.excess for part in parts)
    assert total_of(reversed(parts)) == whole


def test_fingerprint_is_of_the_measurement_alone():
    assert AVAILABILITY.fingerprint == Indicator(Measure.AVAILABILITY, Filter()).fingerprint
    others = [LATENCY, Indicator(Measure.LATENCY, Filter(threshold_ms=1_000))]
    others += [
        Indicator(Measure.AVAILABILITY, Filter(provider="a")),
        Indicator(Measure.AVAILABILITY, Filter(method="a")),
    ]
    assert len({one.fingerprint for one in [AVAILABILITY, *others]}) == 5


def test_burn_rules_are_those_of_the_workbook():
    assert [(r.severity.value, r.short, r.long, r.burn_tenths) for r in BURN_RULES] == [
        ("page", "5m", "1h", 144),
        ("page", "30m", "6h", 60),
        ("ticket", "2h", "1d", 30),
        ("ticket", "6h", "3d", 10),
    ]
    assert [WINDOWS[name] for name in ("5m", "30m", "1h", "2h", "6h", "1d", "3d")] == [
        *(5 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, DAY, 3 * DAY)
    ]


def test_rule_that_no_errors_can_reach_is_told_and_left_out():
    loose = slo(target=ratio(9, 10))
    assert [rule.name for rule in loose.burn_rules] == ["page-slow", "ticket-fast", "ticket-slow"]
    (finding,) = loose.findings
    assert finding.code == "burn_out_of_reach"
    assert finding.detail == "page-fast never sounds: with 90 % the highest burn rate is 10.0, not above 14.4"
    assert slo().findings == ()
    assert len(slo().burn_rules) == 4


def test_objective_for_which_nothing_sounds_says_so():
    assert [finding.code for finding in slo(rules=()).findings] == ["nobody_is_told"]
    hopeless = slo(rules=("page-slow",), target=ratio(1, 2))
    assert [finding.code for finding in hopeless.findings] == ["burn_out_of_reach", "nobody_is_told"]
