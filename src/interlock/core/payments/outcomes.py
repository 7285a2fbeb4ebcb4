"""What a provider's word does to a payment, whoever heard it: the caller, a lookup or a notification. Pure.

`apply_result` is the only way an outcome enters a payment. It answers None when the word is no news, so it may be called
any number of times, in any order, by any number of workers.
"""

from __future__ import annotations

from msgspec.structs import replace

from interlock.core.kernel import ids
from interlock.core.kernel.providers import Action, Decline, Outcome, Retry
from interlock.core.payments.decisions import Answer, Booking, Decision, authorize, open_attempt
from interlock.core.payments.model import FINAL_OUTCOMES, Attempt, Capture, Payment
from interlock.core.payments.news import News, retry_time
from interlock.core.payments.releases import not_captured, void_result, voided_late
from interlock.core.payments.reversals import late_approval, reversal_result, reversal_returned
from interlock.core.payments.states import STATUS, RefundState, State, Trigger, next_state

NOT_SENT_DECLINE = Decline(
    kind="soft",
    code="provider_unavailable",
    retry=Retry.SAME_LATER,
    message="No provider could be reached; nothing was charged.",
)
AWAITING = frozenset({State.AUTHORIZING, State.PENDING, State.UNCERTAIN, State.REQUIRES_ACTION})
CANCELING = frozenset({State.CANCELING, State.CANCEL_UNCERTAIN})


def apply_result(payment: Payment, attempt: Attempt, news: News) -> Decision | None:
    """The next payment, or None when this is no news."""
    heard, known = news.result.outcome, attempt.outcome
    if heard is known or (heard is Outcome.UNKNOWN and known is not None):
        decision = None
    elif attempt.reverses:
        decision = _reversal(payment, attempt, news)
    elif not attempt.is_open:
        decision = _late_news(payment, attempt, news)
    else:
        decision = _BY_OPERATION[attempt.operation](payment, _heard(attempt, news), news)
    return None if decision is None else _answered(decision, attempt)


def _reversal(payment: Payment, attempt: Attempt, news: News) -> Decision | None:
    heard, known = news.result.outcome, attempt.outcome
    if attempt.is_open or heard is Outcome.APPROVED:
        return reversal_result(payment, attempt, news)
    if heard is Outcome.DECLINED and known is Outcome.APPROVED and attempt.operation is Action.REFUND:
        return reversal_returned(payment, attempt, news)
    return None


def _heard(attempt: Attempt, news: News) -> Attempt:
    """The attempt with the result written in."""
    result = news.result
    final = result.outcome in FINAL_OUTCOMES
    return replace(
        attempt,
        outcome=result.outcome,
        finished_at=news.now,
        deadline=None if final else retry_time(attempt, result.outcome, news.now, news.timing),
        decline=result.decline,
        provider_reference=result.provider_reference or attempt.provider_reference,
        attempt_reference=result.attempt_reference or attempt.attempt_reference,
        detail=result.detail or "",
    )


def _authorize(payment: Payment, attempt: Attempt, news: News) -> Decision:
    result = news.result
    after = replace(
        payment,
        attempts=payment.with_attempt(attempt),
        updated_at=news.now,
        provider_reference=result.provider_reference or payment.provider_reference,
        card=result.card.with_issuer_of(payment.card) if result.card else payment.card,
        next_action=None,
    )
    match result.outcome:
        case Outcome.APPROVED:
            return _approved(after, attempt, news)
        case Outcome.PENDING:
            return Decision(_move(after, Trigger.PENDED), "payment.processing")
        case Outcome.REQUIRES_ACTION:
            if after.state in CANCELING:
                return Decision(replace(after, next_action=result.next_action), "payment.processing")
            moved = replace(_move(after, Trigger.ACTION_REQUIRED), next_action=result.next_action)
            return Decision(moved, "payment.requires_action")
        case Outcome.UNKNOWN:
            return Decision(_move(after, Trigger.UNKNOWN), "payment.processing", alarms=("outcome_unknown",))
        case _:
            return _not_authorized(after, attempt, news)


def _approved(payment: Payment, attempt: Attempt, news: News) -> Decision:
    """The money is reserved, or taken. While a void is on its way, that is noted and the void's own result decides."""
    result = news.result
    expires = result.authorization_expires_at or news.now + news.authorization_lifetime_ms
    authorized = replace(payment, amount_authorized=attempt.amount, decline=None)
    if not result.captured:
        authorized = replace(authorized, authorization_expires_at=expires)
        if payment.state in CANCELING:
            return Decision(authorized, "payment.authorized")
        moved = _move(authorized, Trigger.AUTHORIZED)
        if not attempt.capture:
            return Decision(moved, "payment.authorized")
        return _capture_after_all(moved, attempt, news)
    taken = Capture(news.new_id(ids.CAPTURE), attempt.amount, news.now)
    captured = replace(authorized, amount_captured=attempt.amount, captures=(*payment.captures, taken))
    booking = Booking("capture", attempt.amount, attempt.id, attempt.provider)
    if payment.state in CANCELING:
        return Decision(captured, "payment.captured", booking)
    alarms = () if attempt.capture else ("captured_unasked",)
    return Decision(_move(captured, Trigger.CAPTURED_ALL), "payment.succeeded", booking, alarms=alarms)


def _capture_after_all(payment: Payment, attempt: Attempt, news: News) -> Decision:
    """The provider only reserved what should have been taken: capture it, on behalf of the same request."""
    follow_up = open_attempt(
        payment,
        Action.CAPTURE,
        payment.amount_authorized,
        target=news.new_id(ids.CAPTURE),
        request=attempt.request,
        new_id=news.new_id,
        now=news.now,
        timing=news.timing,
    )
    follow_up = replace(follow_up, final=True, answered=attempt.answered, answer_status=attempt.answer_status)
    after = replace(payment, state=next_state(payment.state, Trigger.CAPTURE), attempts=(*payment.attempts, follow_up))
    return Decision(after, "payment.authorized", call=follow_up.id)


def _not_authorized(payment: Payment, attempt: Attempt, news: News) -> Decision:
    """Declined, or certainly not sent: the next provider if that may help and the payer still waits, else failed."""
    result = news.result
    not_sent = result.outcome is Outcome.NOT_SENT
    if payment.state in CANCELING:
        return Decision(replace(payment, decline=result.decline), "payment.processing")
    elsewhere = not_sent or (result.decline is not None and result.decline.retry is Retry.OTHER_PROVIDER)
    if elsewhere and news.failover is not None and payment.state is State.AUTHORIZING:
        choice = news.failover(payment)
        if choice.provider is not None:
            return authorize(
                replace(payment, state=next_state(payment.state, Trigger.FAILED_OVER)),
                "payment.processing",
                choice,
                request=attempt.request,
                status=attempt.answer_status,
                new_id=news.new_id,
                now=news.now,
                timing=news.timing,
            )
    decline = result.decline or (NOT_SENT_DECLINE if not_sent else None)
    moved = _move(payment, Trigger.NOT_SENT if not_sent else Trigger.DECLINED)
    return Decision(replace(moved, decline=decline), "payment.failed")


def _capture(payment: Payment, attempt: Attempt, news: News) -> Decision:
    after = replace(payment, attempts=payment.with_attempt(attempt), updated_at=news.now)
    match news.result.outcome:
        case Outcome.APPROVED:
            assert attempt.target is not None
            taken = Capture(attempt.target, attempt.amount, news.now)
            captured = replace(
                after, amount_captured=after.amount_captured + attempt.amount, captures=(*after.captures, taken)
            )
            booking = Booking("capture", attempt.amount, attempt.id, attempt.provider)
            if captured.capturable and not attempt.final:
                return Decision(_move(captured, Trigger.CAPTURED_PART), "payment.captured", booking)
            done = replace(captured, amount_released=captured.amount_released + captured.capturable)
            return Decision(_move(done, Trigger.CAPTURED_ALL), "payment.succeeded", booking)
        case Outcome.PENDING | Outcome.REQUIRES_ACTION:
            return Decision(_move(after, Trigger.PENDED), "payment.processing")
        case Outcome.UNKNOWN:
            return Decision(_move(after, Trigger.UNKNOWN), "payment.processing", alarms=("outcome_unknown",))
        case _:
            return not_captured(after, attempt, news)


def _refund(payment: Payment, attempt: Attempt, news: News) -> Decision:
    match news.result.outcome:
        case Outcome.APPROVED:
            state, event, kind = RefundState.SUCCEEDED, "refund.succeeded", "refund_succeeded"
        case Outcome.DECLINED | Outcome.NOT_SENT:
            state, event, kind = RefundState.FAILED, "refund.failed", "refund_failed"
        case _:
            after = replace(payment, attempts=payment.with_attempt(attempt), updated_at=news.now)
            unknown = news.result.outcome is Outcome.UNKNOWN
            return Decision(
                after, "refund.processing", subject=attempt.target, alarms=("outcome_unknown",) if unknown else ()
            )
    return refund_moved(payment, attempt, state, event, kind, news)


def refund_moved(payment: Payment, attempt: Attempt, state: RefundState, event: str, kind: str, news: News) -> Decision:
    """The refund an attempt carries out, in its new state, and the journal that goes with it."""
    assert attempt.target is not None
    failure = None
    if state is RefundState.FAILED:
        failure = news.result.decline.code if news.result.decline else "provider_unavailable"
    refunds = tuple(
        replace(refund, state=state, failure=failure, updated_at=news.now) if refund.id == attempt.target else refund
        for refund in payment.refunds
    )
    after = replace(payment, attempts=payment.with_attempt(attempt), refunds=refunds, updated_at=news.now)
    return Decision(
        after, event, Booking(kind, attempt.amount, attempt.target, attempt.provider), subject=attempt.target
    )


_BY_OPERATION = {
    Action.AUTHORIZE: _authorize,
    Action.CAPTURE: _capture,
    Action.VOID: void_result,
    Action.REFUND: _refund,
}


def _late_news(payment: Payment, attempt: Attempt, news: News) -> Decision | None:
    """Word on an attempt that was taken as finished."""
    heard, known = news.result.outcome, attempt.outcome
    if heard is Outcome.APPROVED and known is not Outcome.APPROVED:
        if attempt.operation is Action.VOID:
            return voided_late(payment, replace(_heard(attempt, news), late=True), news)
        if attempt.operation is Action.REFUND:
            return _refunded_late(payment, replace(_heard(attempt, news), late=True), news)
        if attempt.released and not news.result.captured:
            return None  # the bank said yes before the void came, and the void has let go of it
        return late_approval(payment, replace(_heard(attempt, news), late=True), news)
    if heard is Outcome.DECLINED and known is Outcome.APPROVED and attempt.operation is Action.REFUND:
        return _refund_returned(payment, _heard(attempt, news), news)
    return None


def _refunded_late(payment: Payment, attempt: Attempt, news: News) -> Decision:
    """A refund that was given up, its reserve released, went out after all."""
    if attempt.amount <= payment.refundable:
        return refund_moved(payment, attempt, RefundState.SUCCEEDED, "refund.succeeded", "refund_late", news)
    after = replace(payment, attempts=payment.with_attempt(attempt), updated_at=news.now)
    booking = Booking("refund_late_excess", attempt.amount, attempt.target or attempt.id, attempt.provider)
    return Decision(after, "refund.failed", booking, subject=attempt.target, alarms=("refund_above_captured",))


def _refund_returned(payment: Payment, attempt: Attempt, news: News) -> Decision:
    """The bank sent a refund back: what was given back is the merchant's again, or suspense's if that had paid for it."""
    refund = payment.refund(attempt.target or "")
    if refund is not None and refund.state is RefundState.SUCCEEDED:
        return refund_moved(payment, attempt, RefundState.FAILED, "refund.failed", "refund_returned", news)
    after = replace(payment, attempts=payment.with_attempt(attempt), updated_at=news.now)
    booking = Booking("refund_excess_returned", attempt.amount, attempt.target or attempt.id, attempt.provider)
    return Decision(after, "refund.failed", booking, subject=attempt.target)


def _move(payment: Payment, trigger: Trigger) -> Payment:
    return replace(payment, state=next_state(payment.state, trigger))


def _answered(decision: Decision, attempt: Attempt) -> Decision:
    """Answer the request, unless it has its answer or the story goes on at once."""
    if attempt.answered or decision.call is not None:
        return decision
    payment = decision.payment
    refund = payment.refund(attempt.target) if attempt.operation is Action.REFUND and attempt.target else None
    if refund is not None:
        waiting, member = refund.state is RefundState.PENDING, "refund"
    else:
        waiting, member = STATUS[payment.state] == "processing", "payment"
    attempts = tuple(
        replace(known, answered=True) if known.request == attempt.request and not known.answered else known
        for known in payment.attempts
    )
    return decision._replace(
        payment=replace(payment, attempts=attempts),
        answer=Answer(attempt.request, 202 if waiting else attempt.answer_status, member),
    )
