"""Late approvals: money that moved after the payment had gone on without it is given back, and both are on record."""

from __future__ import annotations

from msgspec.structs import replace

from interlock.core.kernel.providers import Action, Outcome
from interlock.core.payments.decisions import Booking, Decision, open_attempt
from interlock.core.payments.model import FINAL_OUTCOMES, Attempt, Payment
from interlock.core.payments.news import News, retry_time

REVERSALS_MAX = 6
"""Refused so often, a reversal waits for a person."""


def late_approval(payment: Payment, attempt: Attempt, news: News) -> Decision:
    """Record the approval and the attempt that takes it back: a refund if money was taken, else a void."""
    taken = news.result.captured or attempt.operation is Action.CAPTURE
    after = replace(payment, attempts=payment.with_attempt(attempt), updated_at=news.now)
    after, reversal = _reversal(after, attempt, Action.REFUND if taken else Action.VOID, news)
    booking = Booking("late_capture", attempt.amount, attempt.id, attempt.provider) if taken else None
    return Decision(after, "payment.late_approval", booking, call=reversal.id, alarms=("late_approval",))


def is_given_back(payment: Payment, reversal: Attempt) -> bool:
    """Whether another attempt has given back already what `reversal` is to give back."""
    return any(
        known.reverses and known.target == reversal.target and known.outcome is Outcome.APPROVED
        for known in payment.attempts
        if known.id != reversal.id
    )


def reversal_result(payment: Payment, attempt: Attempt, news: News) -> Decision:
    """What became of taking it back. An attempt that was given up may turn out done, beside the one that followed it."""
    result = news.result
    final = result.outcome in FINAL_OUTCOMES
    heard = replace(
        attempt,
        outcome=result.outcome,
        finished_at=news.now,
        deadline=None if final else retry_time(attempt, result.outcome, news.now, news.timing),
        decline=result.decline,
        attempt_reference=result.attempt_reference or attempt.attempt_reference,
        detail=result.detail or "",
    )
    after = replace(payment, attempts=payment.with_attempt(heard), updated_at=news.now)
    given_back = is_given_back(payment, attempt)
    if result.outcome is Outcome.APPROVED:
        taken = attempt.operation is Action.REFUND
        kind = "refund_late_excess" if given_back else "late_capture_reversed"
        booking = Booking(kind, attempt.amount, attempt.id, attempt.provider) if taken else None
        alarms = ("reversed_twice",) if taken and given_back else ()
        return Decision(after, "payment.late_approval_reversed", booking, alarms=alarms)
    if not final:
        return Decision(after, "payment.reversal_pending")
    if given_back:
        return Decision(after, "payment.late_approval_reversed")
    tried = sum(1 for known in after.attempts if known.reverses and known.target == attempt.target)
    late = after.attempt(attempt.target or "")
    if tried >= REVERSALS_MAX or late is None:
        return Decision(after, "payment.reversal_failed", alarms=("reversal_failed",))
    after, again = _reversal(after, late, attempt.operation, news)
    # Not now: the sweeper looks first, and asks again when the provider does not know it.
    later = replace(again, deadline=news.now + (news.timing.pending_first_ms << tried))
    return Decision(replace(after, attempts=after.with_attempt(later)), "payment.reversal_pending")


def reversal_returned(payment: Payment, attempt: Attempt, news: News) -> Decision:
    """The payer's bank sent back what a reversal had given back: it is in suspense again, and a person must find its owner."""
    returned = replace(
        attempt,
        outcome=Outcome.DECLINED,
        finished_at=news.now,
        decline=news.result.decline,
        detail="returned by the bank",
    )
    after = replace(payment, attempts=payment.with_attempt(returned), updated_at=news.now)
    kind = "refund_excess_returned" if is_given_back(payment, attempt) else "late_capture"
    booking = Booking(kind, attempt.amount, attempt.id, attempt.provider)
    return Decision(after, "payment.reversal_failed", booking, alarms=("reversal_returned",))


def _reversal(payment: Payment, late: Attempt, operation: Action, news: News) -> tuple[Payment, Attempt]:
    attempt = open_attempt(
        payment,
        operation,
        late.amount,
        target=late.id,
        request="",
        new_id=news.new_id,
        now=news.now,
        timing=news.timing,
    )
    attempt = replace(
        attempt,
        provider=late.provider,
        provider_reference=late.provider_reference,
        reverses=True,
        answered=True,
        reason="takes back a late approval",
    )
    return replace(payment, attempts=(*payment.attempts, attempt)), attempt
