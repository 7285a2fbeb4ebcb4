"""Disputes, as the provider notifies them: held when opened, released when won, gone when lost. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from interlock.core.kernel import ids
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.providers import DisputeNews
from interlock.core.payments.decisions import Booking, Decision, NewId
from interlock.core.payments.model import Dispute, Payment
from interlock.core.payments.states import DISPUTE_TRANSITIONS, DisputeState


def apply_dispute(payment: Payment, news: DisputeNews, *, provider: str, new_id: NewId, now: Millis) -> Decision | None:
    """The payment with the dispute in it, or None when this is no news.

    A verdict may arrive before the opening: then the dispute is opened here, and the verdict comes again by itself,
    because the caller repeats a notification until it is no news. What is disputed beyond the refundable balance is
    kept apart, so that refunded + disputed never exceeds captured.
    """
    heard = DisputeState(news.status)
    known = next((dispute for dispute in payment.disputes if dispute.reference == news.reference), None)
    if known is None:
        return _opened(payment, news, provider=provider, new_id=new_id, now=now)
    if (known.state, heard) not in DISPUTE_TRANSITIONS:
        return None
    decided = replace(known, state=heard, updated_at=now)
    after = replace(
        payment,
        disputes=tuple(decided if dispute.id == known.id else dispute for dispute in payment.disputes),
        updated_at=now,
    )
    booking = Booking(f"dispute_{heard}", known.amount, known.id, provider, excess=known.excess)
    return Decision(after, f"dispute.{heard}", booking, subject=known.id)


def contradicts_verdict(payment: Payment, news: DisputeNews) -> bool:
    """Whether a dispute that was decided is said to have been decided otherwise; no rule reconciles the two."""
    decided = (DisputeState.WON, DisputeState.LOST)
    heard = DisputeState(news.status)
    known = next((dispute.state for dispute in payment.disputes if dispute.reference == news.reference), None)
    return heard in decided and known in decided and heard is not known


def _opened(payment: Payment, news: DisputeNews, *, provider: str, new_id: NewId, now: Millis) -> Decision:
    amount = min(news.amount.amount, max(payment.refundable, 0))
    excess = news.amount.amount - amount
    dispute = Dispute(
        id=new_id(ids.DISPUTE),
        reference=news.reference,
        amount=amount,
        state=DisputeState.OPENED,
        reason=news.reason,
        opened_at=now,
        updated_at=now,
        excess=excess,
    )
    after = replace(payment, disputes=(*payment.disputes, dispute), updated_at=now)
    booking = Booking("dispute_opened", amount, dispute.id, provider, excess=excess)
    alarms = ("dispute_above_refundable",) if excess else ()
    return Decision(after, "dispute.opened", booking, subject=dispute.id, alarms=alarms)
