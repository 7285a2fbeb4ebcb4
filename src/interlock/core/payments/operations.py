"""From an attempt to what is asked of its provider."""

from __future__ import annotations

from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import Action, Operation
from interlock.core.payments.model import Attempt, Payment


def operation_of(payment: Payment, attempt: Attempt) -> Operation:
    """The operation `attempt` stands for; the same every time, so that a resend asks for the same thing."""
    return Operation(
        action=attempt.operation,
        attempt_id=attempt.id,
        payment_id=payment.id,
        tenant=payment.tenant,
        amount=Money(attempt.amount, payment.currency),
        started_at=attempt.started_at,
        capture=attempt.capture,
        final=attempt.final,
        token=payment.token if attempt.operation is Action.AUTHORIZE else "",
        provider_reference=None if attempt.operation is Action.AUTHORIZE else _reference(payment, attempt),
        return_url=payment.return_url,
        description=payment.description,
        metadata={"payment_id": payment.id, "attempt_id": attempt.id, "tenant": payment.tenant},
    )


def lookup_of(payment: Payment, attempt: Attempt) -> Operation:
    """Ask what became of `attempt`."""
    return Operation(
        action=Action.LOOKUP,
        attempt_id=attempt.id,
        payment_id=payment.id,
        tenant=payment.tenant,
        amount=Money(attempt.amount, payment.currency),
        started_at=attempt.started_at,
        capture=attempt.capture,
        final=attempt.final,
        provider_reference=_reference(payment, attempt),
        target=attempt.operation,
        target_reference=attempt.attempt_reference,
    )


def _reference(payment: Payment, attempt: Attempt) -> str | None:
    """The provider's id of the payment: the attempt's own where it has one, as a late approval lives elsewhere."""
    if attempt.provider_reference is not None:
        return attempt.provider_reference
    if attempt.operation is Action.AUTHORIZE:
        return None
    return payment.provider_reference if attempt.provider == payment.provider else None
