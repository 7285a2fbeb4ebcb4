"""What counts as good, and what an attempt adds to which counter."""

import pytest

from interlock.core.desk.slo.model import Counts, Filter, Indicator, Measure
from interlock.core.desk.slo.verdicts import (
    DECLINES,
    OUTCOMES,
    UNLISTED,
    Increment,
    Verdict,
    increments,
    increments_of,
    judge,
    tally,
)
from interlock.core.kernel.providers import Outcome
from interlock.providers import simulator, stripe_declines
from tests.core.desk.slo.objectives import AVAILABILITY, LATENCY, MONEY, seen, slo


def test_every_outcome_has_its_meaning_and_a_reason():
    assert set(OUTCOMES) | {Outcome.DECLINED} == {None, *Outcome}
    meanings = [*OUTCOMES.values(), *DECLINES.values(), UNLISTED]
    assert [meaning for meaning in meanings if len(meaning.reason) < 4] == []


def test_every_decline_an_adapter_can_say_is_in_the_table():
    of_stripe = {*stripe_declines.DECLINES.values(), *stripe_declines.ERRORS.values(), stripe_declines.UNLISTED}
    said = {meaning.code for meaning in of_stripe}
    said |= {reason.code for reason in (*simulator.DECLINES.values(), *simulator.REFUSALS.values())}
    assert said - set(DECLINES) == set()


@pytest.mark.parametrize(
    ("outcome", "decline", "verdict"),
    [
        (Outcome.APPROVED, None, Verdict.GOOD),
        (Outcome.PENDING, None, Verdict.GOOD),
        (Outcome.REQUIRES_ACTION, None, Verdict.GOOD),
        (Outcome.NOT_SENT, None, Verdict.BAD),
        (Outcome.UNKNOWN, None, Verdict.BAD),
        (None, None, Verdict.NOT_COUNTED),
        (Outcome.DECLINED, "insufficient_funds", Verdict.GOOD),
        (Outcome.DECLINED, "stolen_card", Verdict.GOOD),
        (Outcome.DECLINED, "invalid_amount", Verdict.GOOD),
        (Outcome.DECLINED, "processing_error", Verdict.BAD),
        (Outcome.DECLINED, "issuer_unavailable", Verdict.BAD),
        (Outcome.DECLINED, "invalid_request", Verdict.BAD),
        (Outcome.DECLINED, "a_word_nobody_listed", Verdict.BAD),
        (Outcome.DECLINED, None, Verdict.BAD),
    ],
)
def test_answer_to_the_payer_is_good_and_failure_of_a_provider_is_bad(outcome, decline, verdict):
    assert judge(outcome, decline).verdict is verdict


ATTEMPTS = [
    seen(),
    seen(duration_ms=2_000, amount=1),
    seen(duration_ms=2_001, provider="other"),
    seen(Outcome.UNKNOWN, duration_ms=30_000, amount=100),
    seen(Outcome.DECLINED, "insufficient_funds", currency="JPY", amount=7),
    seen(None),
]


@pytest.mark.parametrize(
    ("indicator", "counts"),
    [
        (AVAILABILITY, Counts(4, 5)),
        (LATENCY, Counts(3, 4)),
        (MONEY, Counts(3_999, 4_099, 4, 1)),
        (Indicator(Measure.MONEY, Filter(currency="JPY")), Counts(7, 7, 1, 0)),
        (Indicator(Measure.AVAILABILITY, Filter(provider="other")), Counts(1, 1)),
        (Indicator(Measure.AVAILABILITY, Filter(method="wallet")), Counts(0, 0)),
        (Indicator(Measure.AVAILABILITY, Filter(merchant="ten_2")), Counts(0, 0)),
        (Indicator(Measure.AVAILABILITY, Filter(operation="refund")), Counts(0, 0)),
    ],
)
def test_tally_counts_what_the_indicator_means(indicator, counts):
    assert tally(indicator, ATTEMPTS) == counts


def test_outage_spends_the_budget_of_availability_and_not_that_of_latency():
    outage = [seen(Outcome.UNKNOWN, duration_ms=30_000)] * 5
    assert (tally(AVAILABILITY, outage), tally(LATENCY, outage)) == (Counts(0, 5), Counts(0, 0))


def test_counters_of_an_objective_begin_at_zero_so_that_the_first_step_is_seen():
    labels = (("slo", "answered"),)
    assert increments(slo(), Counts(0, 0)) == (
        Increment("interlock_slo_events_total", (*labels, ("good", "true")), 0),
        Increment("interlock_slo_events_total", (*labels, ("good", "false")), 0),
        Increment("interlock_slo_miscounted_total", labels, 0),
    )


def test_money_counts_amounts_and_attempts_apart():
    (made,) = [increments_of([slo(indicator=MONEY)], seen(Outcome.NOT_SENT))]
    assert [(one.metric, dict(one.labels).get("good"), one.amount) for one in made] == [
        ("interlock_slo_events_total", "true", 0),
        ("interlock_slo_events_total", "false", 1_999),
        ("interlock_slo_attempts_total", "true", 0),
        ("interlock_slo_attempts_total", "false", 1),
        ("interlock_slo_miscounted_total", None, 0),
    ]


def test_more_good_than_total_steps_the_counter_of_miscounts():
    assert [one.amount for one in increments(slo(), Counts(12, 10))] == [10, 0, 2]


def test_attempt_adds_to_each_objective_that_means_it():
    slos = [slo("all"), slo("fast", LATENCY), slo("elsewhere", Indicator(Measure.AVAILABILITY, Filter(provider="x")))]
    made = increments_of(slos, seen(duration_ms=5_000))
    assert [(dict(one.labels)["slo"], one.amount) for one in made if "good" in dict(one.labels)] == [
        *(("all", 1), ("all", 0), ("fast", 0), ("fast", 1))
    ]
    assert increments_of(slos, seen(None)) == ()
