"""From what a decision books to the ledger's journal."""

from __future__ import annotations

from interlock.core.kernel.clock import Millis
from interlock.core.ledger.model import Journal, booked
from interlock.core.payments.decisions import Booking
from interlock.core.payments.model import Payment


def journal_of(booking: Booking, payment: Payment, *, journal_id: str, at: Millis) -> Journal:
    return booked(
        booking.kind,
        booking.amount,
        id=journal_id,
        tenant=payment.tenant,
        currency=payment.currency,
        at=at,
        payment=payment.id,
        reference=booking.reference,
        provider=booking.provider,
        excess=booking.excess,
    )
