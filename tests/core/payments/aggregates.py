"""Payments in any state, made by the real decisions, for the tests of this folder."""

from interlock.core.kernel.providers import Card, Decline, Outcome, Result, Retry
from interlock.core.payments import decisions
from interlock.core.payments.commands import CancelPayment, CapturePayment, CardToken, CreatePayment, RefundPayment
from interlock.core.payments.decisions import Decision, Timing
from interlock.core.payments.model import Attempt, Payment
from interlock.core.payments.news import News
from interlock.core.payments.outcomes import apply_result
from interlock.core.routing.model import Choice

NOW = 1_800_000_000_000
TIMING = Timing()
TO_A = Choice("a", "rule default, position 1 of 2")
TO_B = Choice("b", "rule default, position 2 of 2")


class Numbered:
    """Ids that count up."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}_{self.count:026d}"


def create(new_id=None, *, choice: Choice | None = TO_A, **fields) -> Decision:
    asked = {"amount": 1000, "currency": "EUR", "payment_method": CardToken("card", "tok_approve")} | fields
    return decisions.create(
        CreatePayment(**asked),
        tenant="ten_1",
        request="req_create",
        choice=choice,
        new_id=new_id or Numbered(),
        now=NOW,
        timing=TIMING,
    )


def news(outcome: Outcome, new_id, *, failover=None, now=NOW + 500, **fields) -> News:
    if outcome is Outcome.DECLINED:
        fields.setdefault("decline", Decline("hard", "stolen_card", Retry.NEVER))
    return News(
        Result(outcome, provider_reference=fields.pop("provider_reference", "ch_1"), **fields),
        now,
        TIMING,
        new_id,
        failover,
    )


def authorized(new_id, **fields) -> Payment:
    """A manual payment of 1000 EUR that is authorised."""
    decision = create(new_id, capture_method="manual", **fields)
    after = apply_result(decision.payment, decision.payment.attempts[0], news(Outcome.APPROVED, new_id))
    assert after is not None
    return after.payment


def succeeded(new_id, **fields) -> Payment:
    """An automatic payment of 1000 EUR that is captured."""
    decision = create(new_id, **fields)
    card = Card("visa", "4242", 12, 2031)
    after = apply_result(
        decision.payment, decision.payment.attempts[0], news(Outcome.APPROVED, new_id, captured=True, card=card)
    )
    assert after is not None
    return after.payment


def capture(payment: Payment, new_id, *, multiple=True, now=NOW + 1000, **fields) -> Decision:
    return decisions.capture(
        payment,
        CapturePayment(**fields),
        request="req_capture",
        new_id=new_id,
        now=now,
        timing=TIMING,
        multiple=multiple,
    )


def cancel(payment: Payment, new_id, *, now=NOW + 1000, **fields) -> Decision:
    return decisions.cancel(
        payment, CancelPayment(**fields), request="req_cancel", new_id=new_id, now=now, timing=TIMING
    )


def refund(payment: Payment, new_id, *, now=NOW + 2000, **fields) -> Decision:
    return decisions.refund(
        payment, RefundPayment(**fields), request="req_refund", new_id=new_id, now=now, timing=TIMING
    )


def called(decision: Decision) -> Attempt:
    """The attempt a decision wants carried out."""
    attempt = decision.payment.attempt(decision.call or "")
    assert attempt is not None
    return attempt


def hear(decision: Decision, outcome: Outcome, new_id, **fields) -> Decision:
    """The attempt of `decision` got this outcome."""
    after = apply_result(decision.payment, called(decision), news(outcome, new_id, **fields))
    assert after is not None
    return after
