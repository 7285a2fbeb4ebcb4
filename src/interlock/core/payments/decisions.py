"""What a command does to a payment, before any provider is called. Pure: the handler commits it and makes the call."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from interlock.core.kernel import ids
from interlock.core.kernel.clock import HOUR, MINUTE, SECOND, Millis
from interlock.core.kernel.errors import Conflict, Fault, Invalid
from interlock.core.kernel.providers import Action
from interlock.core.payments.commands import CancelPayment, CapturePayment, ConfirmPayment, CreatePayment, RefundPayment
from interlock.core.payments.model import ATTEMPTS_MAX, Attempt, Payment, Refund
from interlock.core.payments.states import REFUNDABLE, RefundState, State, Trigger, next_state
from interlock.core.routing.model import Choice

NewId = Callable[[str], str]


class Timing(NamedTuple):
    """When somebody looks into an attempt that has not been heard of."""

    attempt_ms: Millis = 40 * SECOND
    """After an attempt was recorded: longer than any provider call may take, so that the caller is surely gone."""
    unknown_first_ms: Millis = 2 * SECOND
    """From an unknown outcome to its first lookup; doubles from there."""
    unknown_most_ms: Millis = 10 * MINUTE
    pending_first_ms: Millis = 10 * SECOND
    pending_most_ms: Millis = HOUR
    action_ms: Millis = 30 * MINUTE
    """How long a payer has for a required action."""
    lease_ms: Millis = 60 * SECOND
    """How long a worker that looks into an attempt keeps others away."""


class Booking(NamedTuple):
    """A journal to be made: which recipe of the ledger, and its figures."""

    kind: str
    amount: int
    reference: str
    """The attempt, refund or dispute it books."""
    provider: str
    excess: int = 0


class Answer(NamedTuple):
    """The request this commit answers, with which status, and which member of the event's data is the body."""

    request: str
    status: int
    member: str = "payment"


class Decision(NamedTuple):
    payment: Payment
    event: str
    booking: Booking | None = None
    call: str | None = None
    """Attempt to carry out once this is committed."""
    answer: Answer | None = None
    subject: str | None = None
    """Refund or dispute whose own snapshot joins the event's data."""
    alarms: tuple[str, ...] = ()


def create(
    command: CreatePayment,
    *,
    tenant: str,
    request: str,
    choice: Choice | None,
    new_id: NewId,
    now: Millis,
    timing: Timing,
) -> Decision:
    """A new payment; with `choice`, its first attempt is recorded too."""
    method = command.payment_method
    payment = Payment(
        id=new_id(ids.PAYMENT),
        tenant=tenant,
        state=State.REQUIRES_CONFIRMATION if method else State.REQUIRES_PAYMENT_METHOD,
        amount=command.amount,
        currency=command.currency,
        created_at=now,
        updated_at=now,
        version=0,
        capture_method=command.capture_method,
        method_id=new_id(ids.PAYMENT_METHOD) if method else None,
        token=method.token if method else "",
        wanted_provider=command.routing.provider if command.routing else None,
        wanted_rule=command.routing.rule if command.routing else None,
        customer=command.customer,
        reference=command.reference,
        description=command.description,
        metadata=command.metadata,
        return_url=command.return_url,
    )
    if choice is None:
        return Decision(payment, "payment.created", answer=Answer(request, 201))
    payment = replace(payment, state=next_state(payment.state, Trigger.CONFIRM))
    return authorize(
        payment, "payment.created", choice, request=request, status=201, new_id=new_id, now=now, timing=timing
    )


def confirm(
    payment: Payment,
    command: ConfirmPayment,
    choice: Choice,
    *,
    request: str,
    new_id: NewId,
    now: Millis,
    timing: Timing,
) -> Decision:
    if command.payment_method is not None:
        if payment.state is State.REQUIRES_PAYMENT_METHOD:
            payment = replace(payment, state=next_state(payment.state, Trigger.METHOD_GIVEN))
        payment = replace(payment, method_id=new_id(ids.PAYMENT_METHOD), token=command.payment_method.token)
    if payment.state is State.REQUIRES_PAYMENT_METHOD:
        raise Conflict("the payment has no payment method yet", code="payment_method_missing")
    payment = replace(
        payment,
        state=next_state(payment.state, Trigger.CONFIRM),
        return_url=command.return_url or payment.return_url,
    )
    return authorize(
        payment, "payment.processing", choice, request=request, status=200, new_id=new_id, now=now, timing=timing
    )


def authorize(
    payment: Payment,
    event: str,
    choice: Choice,
    *,
    request: str,
    status: int,
    new_id: NewId,
    now: Millis,
    timing: Timing,
) -> Decision:
    """Record the authorise attempt at the chosen provider. The payment has been moved to AUTHORIZING."""
    assert choice.provider is not None
    assert payment.state is State.AUTHORIZING
    capture = payment.capture_method == "automatic"
    attempt = Attempt(
        id=new_id(ids.ATTEMPT),
        operation=Action.AUTHORIZE,
        provider=choice.provider,
        amount=payment.amount,
        started_at=now,
        request=request,
        deadline=now + timing.attempt_ms,
        answer_status=status,
        capture=capture,
        reason=reason_of(choice),
    )
    after = replace(
        payment,
        provider=choice.provider,
        provider_reference=None,
        attempts=(*payment.attempts, attempt),
        updated_at=now,
    )
    return Decision(after, event, call=attempt.id)


def capture(
    payment: Payment,
    command: CapturePayment,
    *,
    request: str,
    new_id: NewId,
    now: Millis,
    timing: Timing,
    multiple: bool,
) -> Decision:
    """Record a capture attempt. Raises Conflict or Invalid, and then nothing changed."""
    state = next_state(payment.state, Trigger.CAPTURE)
    refuse_while_unknown(payment)
    refuse_too_many(payment)
    amount = command.amount if command.amount is not None else payment.capturable
    if amount > payment.capturable:
        raise Invalid(
            faults=(Fault("/amount", "amount_too_large", f"at most {payment.capturable} can still be captured"),),
            code="amount_too_large",
        )
    if payment.authorization_expires_at is not None and payment.authorization_expires_at <= now:
        raise Conflict("the authorisation has expired", code="authorization_expired")
    final = command.final if command.final is not None else command.amount is None
    if not final and not multiple and amount < payment.capturable:
        raise Conflict(
            "this provider takes one capture for each payment: send `final: true`", code="multiple_captures_unsupported"
        )
    attempt = open_attempt(
        payment,
        Action.CAPTURE,
        amount,
        target=new_id(ids.CAPTURE),
        request=request,
        new_id=new_id,
        now=now,
        timing=timing,
    )
    attempt = replace(attempt, final=final)
    after = replace(payment, state=state, attempts=(*payment.attempts, attempt), updated_at=now)
    return Decision(after, "payment.processing", call=attempt.id)


def cancel(
    payment: Payment, command: CancelPayment, *, request: str, new_id: NewId, now: Millis, timing: Timing
) -> Decision:
    """Abandon a payment no provider has heard of, or record the void of one that a provider holds."""
    reason = command.reason or "requested_by_merchant"
    if payment.state in (State.REQUIRES_PAYMENT_METHOD, State.REQUIRES_CONFIRMATION):
        after = replace(payment, state=next_state(payment.state, Trigger.ABANDON), cancel_reason=reason, updated_at=now)
        return Decision(after, "payment.canceled", answer=Answer(request, 200))
    refuse_too_many(payment)
    return void(payment, reason, request=request, new_id=new_id, now=now, timing=timing)


def void(payment: Payment, reason: str, *, request: str, new_id: NewId, now: Millis, timing: Timing) -> Decision:
    """Record the release of what is authorised and not captured."""
    state = next_state(payment.state, Trigger.CANCEL)
    refuse_while_unknown(payment)
    attempt = open_attempt(
        payment,
        Action.VOID,
        payment.capturable or payment.amount,
        request=request,
        new_id=new_id,
        now=now,
        timing=timing,
    )
    after = replace(payment, state=state, attempts=(*payment.attempts, attempt), cancel_reason=reason, updated_at=now)
    return Decision(after, "payment.processing", call=attempt.id)


def expire(payment: Payment, *, request: str, new_id: NewId, now: Millis, timing: Timing) -> Decision:
    """Release an authorisation whose time is over. Nobody asked, so nobody is answered."""
    decision = void(payment, "authorization_expired", request=request, new_id=new_id, now=now, timing=timing)
    attempts = decision.payment.attempts
    unasked = replace(attempts[-1], answered=True)
    return decision._replace(payment=replace(decision.payment, attempts=(*attempts[:-1], unasked)))


def refund(
    payment: Payment, command: RefundPayment, *, request: str, new_id: NewId, now: Millis, timing: Timing
) -> Decision:
    """Reserve the amount and record the refund attempt. Raises Conflict or Invalid, and then nothing changed."""
    if payment.state not in REFUNDABLE:
        busy = payment.state in (State.CAPTURING, State.CAPTURE_UNCERTAIN, State.CANCELING, State.CANCEL_UNCERTAIN)
        raise Conflict("nothing can be refunded now", code="payment_busy" if busy else "payment_state")
    refuse_while_unknown(payment)
    refuse_too_many(payment)
    amount = command.amount if command.amount is not None else payment.refundable
    if payment.refundable <= 0:
        raise Conflict("nothing is left to refund", code="nothing_to_refund")
    if amount > payment.refundable:
        raise Invalid(
            faults=(Fault("/amount", "amount_too_large", f"at most {payment.refundable} can still be refunded"),),
            code="amount_too_large",
        )
    given_back = Refund(new_id(ids.REFUND), amount, RefundState.PENDING, now, now, command.reason)
    attempt = open_attempt(
        payment, Action.REFUND, amount, target=given_back.id, request=request, new_id=new_id, now=now, timing=timing
    )
    attempt = replace(attempt, answer_status=201)
    after = replace(
        payment, attempts=(*payment.attempts, attempt), refunds=(*payment.refunds, given_back), updated_at=now
    )
    return Decision(
        after,
        "refund.created",
        Booking("refund_reserved", amount, given_back.id, attempt.provider),
        call=attempt.id,
        subject=given_back.id,
    )


def open_attempt(
    payment: Payment,
    operation: Action,
    amount: int,
    *,
    request: str,
    new_id: NewId,
    now: Millis,
    timing: Timing,
    target: str | None = None,
) -> Attempt:
    """An attempt at the provider that holds the payment."""
    assert payment.provider is not None
    return Attempt(
        id=new_id(ids.ATTEMPT),
        operation=operation,
        provider=payment.provider,
        amount=amount,
        started_at=now,
        request=request,
        deadline=now + timing.attempt_ms,
        target=target,
        reason="the provider that holds the payment",
    )


def refuse_while_unknown(payment: Payment) -> None:
    """A payment with an attempt of unknown outcome starts no other one."""
    if payment.has_unknown:
        raise Conflict("an earlier operation's outcome is not known yet", code="payment_busy")


def refuse_too_many(payment: Payment) -> None:
    if len(payment.attempts) >= ATTEMPTS_MAX:
        raise Conflict(f"a payment takes at most {ATTEMPTS_MAX} provider operations", code="too_many_operations")


def reason_of(choice: Choice) -> str:
    """The choice in one line, with what was passed over."""
    if not choice.passed_over:
        return choice.reason
    others = ", ".join(f"{refusal.provider}: {refusal.why}" for refusal in choice.passed_over)
    return f"{choice.reason} ({others})"
