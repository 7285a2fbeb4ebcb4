"""Letting go of an authorisation: what became of a void, whoever asked for it. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from interlock.core.kernel.clock import DAY, Millis
from interlock.core.kernel.providers import Action, Decline, Outcome, Retry
from interlock.core.payments.decisions import Decision, Timing
from interlock.core.payments.model import FINAL_OUTCOMES, Attempt, Payment
from interlock.core.payments.news import News
from interlock.core.payments.states import State, Trigger, next_state

RELEASES_MAX = 10
"""Asked so often in vain, an expired authorisation counts as released, for the card network lets go of it by itself; and a
payment that waits for its payer is given up once a day only."""


def void_result(payment: Payment, attempt: Attempt, news: News) -> Decision:
    after = replace(payment, attempts=payment.with_attempt(attempt), updated_at=news.now)
    match news.result.outcome:
        case Outcome.APPROVED:
            return voided(after)
        case Outcome.PENDING | Outcome.REQUIRES_ACTION:
            return Decision(_move(after, Trigger.PENDED), "payment.processing")
        case Outcome.UNKNOWN:
            return Decision(_move(after, Trigger.UNKNOWN), "payment.processing", alarms=("outcome_unknown",))
    return _refused(after, declined=news.result.outcome is Outcome.DECLINED, now=news.now, timing=news.timing)


def voided_late(payment: Payment, attempt: Attempt, news: News) -> Decision:
    """A void that was taken as refused is done after all."""
    after = replace(payment, attempts=payment.with_attempt(attempt), updated_at=news.now)
    if payment.state is State.AUTHORIZED:
        return voided(replace(after, cancel_reason=after.cancel_reason or "requested_by_merchant"))
    return Decision(after, "payment.late_void", alarms=("late_void",))


def releases_refused(payment: Payment, *, since: Millis = 0) -> int:
    """How many voids of the payment, recorded at or after `since`, came to nothing."""
    return sum(
        attempt.operation is Action.VOID
        and not attempt.reverses
        and attempt.started_at >= since
        and attempt.outcome in (Outcome.DECLINED, Outcome.NOT_SENT)
        for attempt in payment.attempts
    )


def not_captured(payment: Payment, attempt: Attempt, news: News) -> Decision:
    """A capture did not happen: the authorisation stands, unless a void turned out done in the meantime."""
    stands = _move(
        replace(payment, attempts=payment.with_attempt(attempt), updated_at=news.now), Trigger.CAPTURE_REFUSED
    )
    return voided(stands) if _is_released(stands) else Decision(stands, "payment.capture_failed")


def _is_released(payment: Payment) -> bool:
    return any(
        attempt.operation is Action.VOID and not attempt.reverses and attempt.outcome is Outcome.APPROVED
        for attempt in payment.attempts
    )


def _refused(payment: Payment, *, declined: bool, now: Millis, timing: Timing) -> Decision:
    """Not released. What has expired is over all the same, once the provider says so or cannot be asked."""
    if _is_released(payment):
        return voided(payment)  # by an earlier void that had been given up
    expires = payment.authorization_expires_at
    stands = replace(payment, cancel_reason=None)
    if expires is not None and expires <= now:
        tries = releases_refused(payment, since=expires)
        if declined or tries >= RELEASES_MAX:
            return voided(payment)
        stands = replace(stands, release_after=now + _pause(tries, timing))
    if stands.amount_authorized:
        found_captured = stands.capturable == 0
        trigger = Trigger.VOID_FOUND_CAPTURED if found_captured else Trigger.VOID_REFUSED
        return Decision(_move(stands, trigger), "payment.cancel_failed")
    waits_for_payer = any(known.operation is Action.AUTHORIZE and known.is_open for known in stands.attempts)
    if not waits_for_payer:
        return Decision(_move(stands, Trigger.DECLINED), "payment.failed")
    # Look at once, for the payer may have acted; but not again and again.
    tries = releases_refused(payment)
    look_at = now if tries <= 1 else now + _pause(tries, timing)
    attempts = tuple(
        replace(known, deadline=look_at) if known.operation is Action.AUTHORIZE and known.is_open else known
        for known in stands.attempts
    )
    alarms = ("release_refused",) if tries == RELEASES_MAX else ()
    moved = _move(replace(stands, attempts=attempts), Trigger.VOID_REFUSED_UNAUTHORIZED)
    return Decision(moved, "payment.cancel_failed", alarms=alarms)


def voided(payment: Payment) -> Decision:
    """Nothing is held any more. An authorise attempt that still waited for the payer is over, too."""
    closed = tuple(
        replace(
            attempt,
            outcome=Outcome.DECLINED,
            deadline=None,
            decline=Decline("hard", "canceled", Retry.NEVER),
            released=True,
        )
        if attempt.operation is Action.AUTHORIZE and attempt.outcome not in FINAL_OUTCOMES
        else attempt
        for attempt in payment.attempts
    )
    released = replace(
        payment,
        attempts=closed,
        amount_released=payment.amount_released + payment.capturable,
        next_action=None,
        authorization_expires_at=None,
        release_after=None,
    )
    if payment.amount_captured:
        return Decision(_move(released, Trigger.RELEASED), "payment.succeeded")
    return Decision(_move(released, Trigger.VOIDED), "payment.canceled")


def _pause(tries: int, timing: Timing) -> Millis:
    return DAY if tries >= RELEASES_MAX else min(timing.pending_first_ms << tries, timing.pending_most_ms)


def _move(payment: Payment, trigger: Trigger) -> Payment:
    return replace(payment, state=next_state(payment.state, trigger))
