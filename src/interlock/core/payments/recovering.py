"""What workflows ask of one payment: look into it until it is certain; capture it once its time has come."""

from __future__ import annotations

import msgspec

from interlock.core.kernel.errors import Conflict, OutcomeUnknown, Unavailable
from interlock.core.kernel.idempotency import Request, fingerprint, idempotency_key
from interlock.core.kernel.providers import Action, Outcome
from interlock.core.payments.commands import CapturePayment
from interlock.core.payments.handlers import capture_payment, load_payment
from interlock.core.payments.model import Attempt, Payment
from interlock.core.payments.ports import Payments
from interlock.core.payments.records import payment_key
from interlock.core.payments.states import State
from interlock.core.payments.sweeping import sweep_payment

ACTOR = "workflow"
OVER = (State.CANCELED, State.SUCCEEDED, State.FAILED)


class Certainty(msgspec.Struct, frozen=True):
    certain: bool
    """No attempt is under way or unknown."""
    state: str


class Captured(msgspec.Struct, frozen=True):
    outcome: str
    """captured, pending at the provider or refused by it; not_needed: it was voided, or captured by somebody else."""
    state: str


async def look_into(p: Payments, *, tenant: str, payment_id: str) -> Certainty:
    """Do what is due for the payment, as the sweeper would, and say how certain it is. Raises NotFound.

    An attempt that is not due yet is not asked about: who sent it may still be waiting for the answer.
    """
    await load_payment(p, tenant, payment_id)
    item = await p.store.get(payment_key(tenant, payment_id))
    assert item is not None, "a payment is never deleted"
    await sweep_payment(p, item)
    payment = (await load_payment(p, tenant, payment_id)).payment
    return Certainty(not any(is_uncertain(attempt) for attempt in payment.attempts), payment.state)


async def capture_in_time(p: Payments, *, execution: str, tenant: str, payment_id: str, amount: int | None) -> Captured:
    """Capture what a workflow waited to capture. Safe to repeat: the execution's name is the idempotency key.

    Raises OutcomeUnknown while the provider has not said, Unavailable while something else is under way, Rejected for
    what will not be possible later either.
    """
    command = CapturePayment(amount)
    request = request_of(tenant, "capture_later", execution, msgspec.json.encode(command))
    try:
        await capture_payment(p, payment_id, command, request)
    except Conflict as conflict:
        payment = (await load_payment(p, tenant, payment_id)).payment
        if payment.state in OVER or (payment.capturable == 0 and not payment.open_attempts):
            return Captured("not_needed", payment.state)
        if conflict.reason in ("payment_busy", "request_in_flight") or payment.open_attempts:
            raise Unavailable("another operation on this payment is under way") from conflict
        raise
    payment = (await load_payment(p, tenant, payment_id)).payment
    captures = [attempt for attempt in payment.attempts if attempt.operation is Action.CAPTURE]
    if captures and is_uncertain(captures[-1]):
        raise OutcomeUnknown("the capture was sent, and its outcome is not known yet")
    return Captured(_outcome_of(payment, captures), payment.state)


def is_uncertain(attempt: Attempt) -> bool:
    """Whether it may have moved money without our knowing."""
    return attempt.outcome in (None, Outcome.UNKNOWN)


def request_of(tenant: str, workflow: str, execution: str, body: bytes, item: str = "") -> Request:
    """As which a step asks the handlers: one idempotency key for each execution, or each of its items."""
    key = idempotency_key(tenant, "WORKFLOW", f"{workflow}/{item}", execution)
    return Request(tenant, key, fingerprint(body), ACTOR, f"{workflow}/{execution}"[:120])


def _outcome_of(payment: Payment, captures: list[Attempt]) -> str:
    if captures and captures[-1].outcome is Outcome.PENDING:
        return "pending"
    return "captured" if payment.amount_captured else "refused"
