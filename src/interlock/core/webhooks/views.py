"""What merchants see: endpoints without their secrets, deliveries, and the body every webhook has."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from interlock.core.kernel.clock import Millis, rfc3339
from interlock.core.kernel.events import Event
from interlock.core.kernel.secrets import Secret
from interlock.core.webhooks.model import Delivery, Endpoint
from interlock.core.webhooks.ports import EXCERPT_BYTES_MAX
from interlock.core.webhooks.states import STATUS, DeliveryState, DeliveryStatus


class EndpointView(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    object: Literal["webhook_endpoint"]
    url: str
    events: list[str]
    description: str | None
    enabled: bool
    disabled_reason: str | None
    """by_merchant, or gone: it answered 410."""
    failing_since: str | None
    """Since when no attempt has succeeded while several failed."""
    created_at: str
    updated_at: str
    secret: str | msgspec.UnsetType = msgspec.UNSET
    """whsec_..., only in the answer that made it."""


class AttemptView(msgspec.Struct, frozen=True):
    at: str
    duration_ms: int
    status: int | None
    failure: str | None
    excerpt: str


class DeliveryView(msgspec.Struct, frozen=True):
    id: str
    object: Literal["webhook_delivery"]
    endpoint: str
    event: str
    type: str
    aggregate: str
    status: DeliveryStatus
    reason: str | None
    attempts_total: int
    attempts: list[AttemptView]
    next_attempt_at: str | None
    """Not before this, and not before earlier events of the same payment are through."""
    created_at: str
    delivered_at: str | None


class EventView(msgspec.Struct, frozen=True):
    """The body of a webhook."""

    id: str
    type: str
    created_at: str
    data: msgspec.Raw


class _EndpointData(msgspec.Struct, frozen=True):
    webhook_endpoint: EndpointView


def endpoint_view(endpoint: Endpoint, *, secret: Secret | None = None) -> EndpointView:
    """`secret` is shown if given: only ever in the answer to the request that made it."""
    return EndpointView(
        endpoint.id,
        "webhook_endpoint",
        endpoint.url,
        list(endpoint.events),
        endpoint.description,
        endpoint.enabled,
        endpoint.disabled_reason,
        _time(endpoint.failing_since),
        rfc3339(endpoint.created_at),
        rfc3339(endpoint.updated_at),
        msgspec.UNSET if secret is None else secret.reveal(),
    )


def endpoint_data(endpoint: Endpoint) -> msgspec.Raw:
    """An endpoint's event data."""
    return msgspec.Raw(_encoder.encode(_EndpointData(endpoint_view(endpoint))))


def delivery_view(delivery: Delivery) -> DeliveryView:
    attempts = [
        AttemptView(rfc3339(one.at), one.duration_ms, one.status, one.failure, one.excerpt) for one in delivery.attempts
    ]
    return DeliveryView(
        delivery.id,
        "webhook_delivery",
        delivery.endpoint,
        delivery.event,
        delivery.type,
        delivery.aggregate,
        STATUS[delivery.state],
        delivery.reason or None,
        delivery.attempts_total,
        attempts,
        rfc3339(delivery.due_at) if delivery.state is DeliveryState.PENDING else None,
        rfc3339(delivery.created_at),
        _time(delivery.delivered_at),
    )


def event_view(event: Event) -> EventView:
    return EventView(event.id, event.type, rfc3339(event.at), event.data)


def event_body(event: Event) -> bytes:
    return _encoder.encode(event_view(event))


def masked(excerpt: bytes) -> str:
    """The beginning of an endpoint's answer as it may be kept: text without long numbers, keys and tokens."""
    text = excerpt[:EXCERPT_BYTES_MAX].decode("utf-8", "ignore")
    text = "".join(c if c.isprintable() or c in "\n\t" else " " for c in text)
    return _NUMBERS.sub("[hidden]", _KEYS.sub("[hidden]", _BEARER.sub(r"\1 [hidden]", text)))


_NUMBERS = re.compile(r"\d(?:[ -]?\d){11,}")
_KEYS = re.compile(r"\b(?:whsec|sk|rk|pk|tok)_[A-Za-z0-9_+/=-]{4,}|\beyJ[A-Za-z0-9_-]{8,}[A-Za-z0-9_.-]*")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}")


def _time(at: Millis | None) -> str | None:
    return None if at is None else rfc3339(at)


_encoder = msgspec.json.Encoder()
