"""Stripe's webhooks: the signature first, then the event.

Source: https://docs.stripe.com/webhooks/signature and https://docs.stripe.com/api/events/types (checked 2026-11-21).
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256
from types import MappingProxyType

import msgspec
from msgspec import Raw

from interlock.core.kernel.errors import Invalid, Unauthenticated
from interlock.core.kernel.providers import Action, DisputeNews, Notification, NotificationKind
from interlock.core.kernel.secrets import Secret
from interlock.providers.protocol import RawNotification
from interlock.providers.stripe_objects import PaymentIntent, Refund, from_stripe, refund_of, result_of

TOLERANCE_S = 300
"""How old, or how far ahead, a signature may be."""
SIGNATURES_MAX = 10
BODY_BYTES_MAX = 1_000_000

INTENT_EVENTS = MappingProxyType(
    {
        "payment_intent.succeeded": Action.AUTHORIZE,
        "payment_intent.amount_capturable_updated": Action.AUTHORIZE,
        "payment_intent.processing": Action.AUTHORIZE,
        "payment_intent.requires_action": Action.AUTHORIZE,
        "payment_intent.payment_failed": Action.AUTHORIZE,
        "payment_intent.canceled": Action.VOID,
    }
)
"""Whose news it is. `succeeded` of an intent with manual capture is news of the capture."""
REFUND_EVENTS = frozenset({"refund.created", "refund.updated", "refund.failed", "charge.refund.updated"})
DISPUTE_EVENTS = MappingProxyType(
    {"charge.dispute.created": "opened", "charge.dispute.funds_withdrawn": "opened", "charge.dispute.closed": ""}
)
"""`closed` is won or lost by the dispute's own status."""


class _Data(msgspec.Struct, frozen=True):
    object: Raw


class _Event(msgspec.Struct, frozen=True):
    id: str
    type: str
    created: int = 0
    data: _Data | None = None


class _Charge(msgspec.Struct, frozen=True):
    id: str
    payment_intent: str | None = None
    refunds: _Refunds | None = None


class _Refunds(msgspec.Struct, frozen=True):
    data: list[Refund] = []


class _Dispute(msgspec.Struct, frozen=True):
    id: str
    amount: int
    currency: str
    status: str
    reason: str = "general"
    payment_intent: str | None = None


def verify(raw: RawNotification, secrets: Sequence[Secret]) -> None:
    """Raises Unauthenticated unless one of `secrets` made one of the signatures, at about the time of receipt."""
    if len(raw.body) > BODY_BYTES_MAX:
        raise Unauthenticated("the notification is too large")
    timestamp, signatures = _parts(raw.headers.get("stripe-signature", ""))
    if timestamp is None or not signatures:
        raise Unauthenticated("the signature is missing or malformed")
    if abs(raw.received_at // 1_000 - int(timestamp)) > TOLERANCE_S:
        raise Unauthenticated("the signature is too old or from the future")
    signed = timestamp.encode() + b"." + raw.body
    genuine = False
    for secret in secrets:
        expected = hmac.new(secret.reveal().encode(), signed, sha256).hexdigest()
        for signature in signatures:
            genuine |= hmac.compare_digest(expected, signature)
    if not genuine:
        raise Unauthenticated("the signature is not ours")


def read_event(body: bytes) -> list[Notification]:
    """What a verified event says. Raises Invalid for one that cannot be read; events of no consequence are OTHER."""
    try:
        event = _event.decode(body)
        return _news(event, event.data.object if event.data is not None else Raw(b"{}"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid("the event cannot be read") from error


def _news(event: _Event, raw: Raw) -> list[Notification]:
    if event.type in INTENT_EVENTS:
        return [_intent_news(event, _intent.decode(raw))]
    if event.type in REFUND_EVENTS:
        return [_refund_news(event, _refund.decode(raw), event.id)]
    if event.type == "charge.refunded":
        charge = _charge.decode(raw)
        refunds = charge.refunds.data if charge.refunds is not None else []
        told = [_refund_news(event, refund, f"{event.id}/{refund.id}") for refund in refunds]
        return told or [_other(event, charge.payment_intent)]
    if event.type in DISPUTE_EVENTS:
        return [_dispute_news(event, _dispute.decode(raw))]
    return [_other(event, None)]


def _intent_news(event: _Event, intent: PaymentIntent) -> Notification:
    action = INTENT_EVENTS[event.type]
    manual = intent.capture_method == "manual"
    if event.type == "payment_intent.succeeded" and manual:
        action = Action.CAPTURE
    ours = intent.metadata
    payment_id, tenant = ours.get("payment_id"), ours.get("tenant")
    return Notification(
        id=event.id,
        kind=NotificationKind.ATTEMPT,
        occurred_at=event.created * 1_000,
        # The intent carries the authorise attempt's id; a capture's or a release's is not in it.
        attempt_id=ours.get("attempt_id") if action is Action.AUTHORIZE else None,
        payment_id=payment_id if tenant else None,
        tenant=tenant if payment_id else None,
        provider_reference=intent.id,
        action=action,
        result=result_of(action, intent, capture=not manual),
    )


def _refund_news(event: _Event, refund: Refund, news_id: str) -> Notification:
    ours = refund.metadata or {}
    payment_id, tenant = ours.get("payment_id"), ours.get("tenant")
    return Notification(
        id=news_id,
        kind=NotificationKind.ATTEMPT,
        occurred_at=event.created * 1_000,
        attempt_id=ours.get("attempt_id"),
        payment_id=payment_id if tenant else None,
        tenant=tenant if payment_id else None,
        provider_reference=refund.payment_intent,
        action=Action.REFUND,
        result=refund_of(refund),
    )


def _dispute_news(event: _Event, dispute: _Dispute) -> Notification:
    status = DISPUTE_EVENTS[event.type] or dispute.status
    amount = from_stripe(dispute.amount, dispute.currency)
    # `warning_*` is an inquiry: no money moves unless it becomes a dispute, which `funds_withdrawn` then tells.
    if dispute.status.startswith("warning_") or status not in ("opened", "won", "lost") or amount is None:
        return _other(event, dispute.payment_intent)
    return Notification(
        id=event.id,
        kind=NotificationKind.DISPUTE,
        occurred_at=event.created * 1_000,
        provider_reference=dispute.payment_intent,
        dispute=DisputeNews(dispute.id, status, amount, dispute.reason),
    )


def _other(event: _Event, reference: str | None) -> Notification:
    return Notification(
        id=event.id, kind=NotificationKind.OTHER, occurred_at=event.created * 1_000, provider_reference=reference
    )


def _parts(header: str) -> tuple[str | None, list[str]]:
    """`t=1492774577,v1=5257a8…,v1=…`: the timestamp and the signatures of the scheme that counts."""
    timestamp: str | None = None
    signatures: list[str] = []
    for part in header.split(",")[: 2 * SIGNATURES_MAX]:
        name, _, value = part.strip().partition("=")
        if name == "t" and value.isascii() and value.isdigit() and len(value) <= 12:
            timestamp = value
        elif name == "v1" and value.isascii():
            signatures.append(value)
    return timestamp, signatures[:SIGNATURES_MAX]


_event = msgspec.json.Decoder(_Event)
_intent = msgspec.json.Decoder(PaymentIntent)
_refund = msgspec.json.Decoder(Refund)
_charge = msgspec.json.Decoder(_Charge)
_dispute = msgspec.json.Decoder(_Dispute)
