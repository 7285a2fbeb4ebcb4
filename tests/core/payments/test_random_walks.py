"""Any sequence of commands and provider words keeps the balances; nothing open is ever forgotten."""

import os
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.kernel.errors import InterlockError
from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import Decline, DisputeNews, Outcome, Retry
from interlock.core.payments import decisions
from interlock.core.payments.disputes import apply_dispute
from interlock.core.payments.model import FINAL_OUTCOMES, decode_payment, encode_payment
from interlock.core.payments.outcomes import apply_result
from interlock.core.payments.records import next_due
from interlock.core.payments.states import STATUS, RefundState, State
from interlock.core.routing.model import Choice
from tests.core.payments.aggregates import NOW, TIMING, TO_B, Numbered, cancel, capture, create, news, refund


def assert_invariants(payment):
    assert 0 <= payment.amount_captured <= payment.amount_authorized <= payment.amount
    assert payment.amount_captured + payment.amount_released <= payment.amount_authorized
    assert payment.refundable >= 0
    assert payment.amount_captured == sum(capture.amount for capture in payment.captures)
    approved = [
        a for a in payment.attempts if a.operation == "authorize" and a.outcome is Outcome.APPROVED and not a.late
    ]
    assert len(approved) <= 1
    for attempt in payment.attempts:
        assert (attempt.deadline is None) == (attempt.outcome in FINAL_OUTCOMES), attempt
    if STATUS[payment.state] in ("processing", "requires_action"):
        assert next_due(payment) is not None
    if any(refund.state is RefundState.PENDING for refund in payment.refunds):
        assert next_due(payment) is not None


@given(seed=st.integers(0, 2**32), manual=st.booleans())
@settings(max_examples=int(os.environ.get("WALKS", "400")), deadline=None)
def test_any_walk_keeps_the_balances_and_forgets_nothing(seed, manual):
    rng, new_id, now = random.Random(seed), Numbered(), NOW
    payment = create(new_id, capture_method="manual" if manual else "automatic").payment
    ledger = 0
    for _ in range(40):
        now += rng.choice([1, 1000, 3_600_000])
        try:
            decision = step(rng, payment, new_id, now)
        except InterlockError:
            continue
        if decision is None:
            continue
        payment = decision.payment
        if decision.booking:
            ledger += SIGN[decision.booking.kind] * decision.booking.amount
        assert decode_payment(encode_payment(payment)) == payment
        assert_invariants(payment)
        assert ledger == payment.amount_captured - payment.amount_reserved - payment.amount_disputed


SIGN = {
    "capture": 1,
    "refund_reserved": -1,
    "refund_succeeded": 0,
    "refund_failed": 1,
    "refund_returned": 1,
    "refund_late": -1,
    "refund_late_excess": 0,
    "refund_excess_returned": 0,
    "dispute_opened": -1,
    "dispute_won": 1,
    "dispute_lost": 0,
    "late_capture": 0,
    "late_capture_reversed": 0,
}
"""What each journal does to the merchant's balance."""


def step(rng, payment, new_id, now):
    what = rng.random()
    if what < 0.6:
        attempt = rng.choice(payment.attempts)
        outcome = rng.choice(list(Outcome))
        decline = Decline("soft", "x", rng.choice(list(Retry))) if outcome is Outcome.DECLINED else None
        heard = news(
            outcome,
            new_id,
            now=now,
            captured=attempt.capture if rng.random() < 0.8 else not attempt.capture,
            decline=decline,
            failover=rng.choice([None, lambda p: TO_B if len(p.attempts) == 1 else Choice(None, "none left")]),
        )
        decision = apply_result(payment, attempt, heard)
        if decision is not None:
            repeated = decision.payment.attempt(attempt.id)
            assert apply_result(decision.payment, repeated, heard) is None, "the same word twice is no news"
        return decision
    if what < 0.7:
        return capture(
            payment, new_id, now=now, amount=rng.choice([None, 1, 400, 1000]), final=rng.choice([None, True, False])
        )
    if what < 0.78:
        return cancel(payment, new_id, now=now)
    if what < 0.9:
        return refund(payment, new_id, now=now, amount=rng.choice([None, 1, 300, 1000]))
    if what < 0.97 and payment.amount_captured:
        amount = Money(rng.choice([100, 1000]), "EUR")
        heard = DisputeNews(rng.choice(["dp_1", "dp_2"]), rng.choice(["opened", "won", "lost"]), amount)
        return apply_dispute(payment, heard, provider="a", new_id=new_id, now=now)
    if payment.state is State.AUTHORIZED:
        return decisions.expire(payment, request="r", new_id=new_id, now=now, timing=TIMING)
    return None
