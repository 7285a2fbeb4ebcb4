"""What the outside sees of a payment: the JSON of the public contract, made once per commit.

The same bytes are the API's answer, the event's snapshot and, after a retry, the replayed answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from interlock.core.kernel.clock import Millis, rfc3339
from interlock.core.kernel.providers import Action, Decline, Outcome, Retry
from interlock.core.payments.model import Attempt, Payment, Refund
from interlock.core.payments.states import STATUS, DisputeState, RefundState

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Units = Annotated[int, Meta(ge=0)]
PaymentStatus = Literal[
    "requires_payment_method",
    "requires_confirmation",
    "requires_action",
    "processing",
    "requires_capture",
    "succeeded",
    "canceled",
    "failed",
]


class CardView(msgspec.Struct, frozen=True):
    brand: str
    last4: str
    exp_month: int
    exp_year: int


class PaymentMethodView(msgspec.Struct, frozen=True):
    id: str
    type: str
    card: CardView | None


class DeclineView(msgspec.Struct, frozen=True):
    kind: Literal["soft", "hard"]
    code: str
    network_code: str | None
    message: str | None
    retry: Retry


class AttemptView(msgspec.Struct, frozen=True):
    id: str
    provider: str
    operation: Action
    outcome: Outcome | None
    """null while the provider has not been heard."""
    decline: DeclineView | None
    started_at: Time
    finished_at: Time | None


class CaptureView(msgspec.Struct, frozen=True):
    id: str
    amount: Units


class RefundView(msgspec.Struct, frozen=True):
    id: str
    object: Literal["refund"]
    payment: str
    amount: Units
    currency: str
    status: RefundState
    reason: str | None
    failure: str | None
    created_at: Time
    updated_at: Time


class DisputeView(msgspec.Struct, frozen=True):
    id: str
    object: Literal["dispute"]
    payment: str
    amount: Units
    currency: str
    status: DisputeState
    reason: str
    opened_at: Time
    updated_at: Time


class PaymentView(msgspec.Struct, frozen=True):
    id: str
    object: Literal["payment"]
    status: PaymentStatus
    amount: Units
    currency: str
    amount_authorized: Units
    amount_captured: Units
    amount_refunded: Units
    amount_disputed: Units
    capture_method: Literal["automatic", "manual"]
    provider: str | None
    customer: str | None
    reference: str | None
    description: str | None
    metadata: Mapping[str, str]
    payment_method: PaymentMethodView | None
    next_action: Mapping[str, str] | None
    decline: DeclineView | None
    cancel_reason: str | None
    attempts: list[AttemptView]
    captures: list[CaptureView]
    refunds: list[RefundView]
    disputes: list[DisputeView]
    authorization_expires_at: Time | None
    version: int
    created_at: Time
    updated_at: Time


def payment_view(payment: Payment) -> PaymentView:
    """The snapshot of a payment. Positional for speed: the order is that of the fields above."""
    card = payment.card
    method = payment.method_id and PaymentMethodView(
        payment.method_id,
        payment.method_type,
        CardView(card.brand, card.last4, card.exp_month, card.exp_year) if card else None,
    )
    return PaymentView(
        payment.id,
        "payment",
        STATUS[payment.state],  # type: ignore[arg-type]
        payment.amount,
        payment.currency,
        payment.amount_authorized,
        payment.amount_captured,
        payment.amount_refunded,
        payment.amount_disputed,
        payment.capture_method,  # type: ignore[arg-type]
        payment.provider,
        payment.customer,
        payment.reference,
        payment.description,
        payment.metadata,
        method or None,
        payment.next_action,
        _decline(payment.decline),
        payment.cancel_reason,
        [_attempt(attempt) for attempt in payment.attempts],
        [CaptureView(capture.id, capture.amount) for capture in payment.captures],
        [refund_view(payment, refund) for refund in payment.refunds],
        dispute_views(payment),
        _time(payment.authorization_expires_at),
        payment.version,
        rfc3339(payment.created_at),
        rfc3339(payment.updated_at),
    )


def refund_view(payment: Payment, refund: Refund) -> RefundView:
    return RefundView(
        refund.id,
        "refund",
        payment.id,
        refund.amount,
        payment.currency,
        refund.state,
        refund.reason,
        refund.failure,
        rfc3339(refund.created_at),
        rfc3339(refund.updated_at),
    )


def dispute_views(payment: Payment) -> list[DisputeView]:
    return [
        DisputeView(
            dispute.id,
            "dispute",
            payment.id,
            dispute.amount + dispute.excess,
            payment.currency,
            dispute.state,
            dispute.reason,
            rfc3339(dispute.opened_at),
            rfc3339(dispute.updated_at),
        )
        for dispute in payment.disputes
    ]


def encode_view(view: PaymentView | RefundView | DisputeView) -> bytes:
    return _encoder.encode(view)


def _attempt(attempt: Attempt) -> AttemptView:
    return AttemptView(
        attempt.id,
        attempt.provider,
        attempt.operation,
        attempt.outcome,
        _decline(attempt.decline),
        rfc3339(attempt.started_at),
        _time(attempt.finished_at),
    )


def _decline(decline: Decline | None) -> DeclineView | None:
    if decline is None:
        return None
    return DeclineView(decline.kind, decline.code, decline.network_code, decline.message, decline.retry)  # type: ignore[arg-type]


def _time(at: Millis | None) -> str | None:
    return None if at is None else rfc3339(at)


_encoder = msgspec.json.Encoder()
