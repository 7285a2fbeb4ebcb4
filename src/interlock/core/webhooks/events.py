"""Events of endpoints, and the read model behind GET /v1/events."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import msgspec

from interlock.core.kernel.documents import Collection, Document, Documents
from interlock.core.kernel.events import Event
from interlock.core.payments.events import EVENT_TYPES as PAYMENT_EVENT_TYPES

EVENT_TYPES = MappingProxyType(
    {
        "webhook_endpoint.created": "An endpoint exists.",
        "webhook_endpoint.updated": "An endpoint was changed by the merchant; perhaps its secret was rotated.",
        "webhook_endpoint.disabled": "An endpoint answered 410 and gets nothing any more.",
        "webhook_endpoint.deleted": "An endpoint is gone.",
    }
)
"""Every type and what it means. They are listed, not delivered: an endpoint's own news would be noise in it."""

DELIVERABLE = frozenset(PAYMENT_EVENT_TYPES)
"""What an endpoint can ask for, and all that `*` means."""

LISTED = DELIVERABLE | frozenset(EVENT_TYPES)
"""What GET /v1/events shows: everything that is news to a merchant."""

EVENTS = Collection("events", ("type", "aggregate"))
COLLECTIONS = (EVENTS,)


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What operators see of a change beside the snapshot."""

    cause: str
    """api or delivery."""
    actor: str = ""
    request_id: str = ""
    changed: tuple[str, ...] = ()
    """Names of the fields given; `secret` for a rotation."""


class Pointer(msgspec.Struct, frozen=True):
    """Where an event stands: its aggregate's history."""

    aggregate: str
    version: int


async def project_events(documents: Documents, events: Sequence[Event]) -> None:
    """Make events findable. Safe to repeat, in any order."""
    await documents.upsert(
        EVENTS.name,
        [
            Document(
                event.id,
                event.tenant,
                1,
                {"type": event.type, "aggregate": event.aggregate},
                _encoder.encode(Pointer(event.aggregate, event.version)),
            )
            for event in events
            if event.type in LISTED
        ],
    )


def encode_facts(facts: Facts) -> msgspec.Raw:
    return msgspec.Raw(_encoder.encode(facts))


def decode_pointer(document: Document) -> Pointer:
    return _pointer.decode(document.body)


_encoder = msgspec.json.Encoder()
_pointer = msgspec.json.Decoder(Pointer)
