"""Endpoints and deliveries, as values."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from interlock.core.kernel import ids
from interlock.core.kernel.clock import DAY, MINUTE, Millis
from interlock.core.kernel.events import Event
from interlock.core.kernel.secrets import Secret
from interlock.core.webhooks.states import OPEN, DeliveryState

ALL = "*"
"""As a wanted event: every type."""
ENDPOINTS_MAX = 20
"""Endpoints of one tenant."""
CREATION_SLACK: Millis = MINUTE
"""Clocks of two machines may differ so much: an event that old still goes to an endpoint just created."""
KEPT: Millis = 30 * DAY
"""How long a finished delivery is kept."""
ATTEMPTS_KEPT = 20
"""Attempts a delivery shows; older ones are only counted."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_CHARACTERS = 10
_HASH_CHARACTERS = ids.ID_LENGTH - _TIME_CHARACTERS


class SigningSecret(msgspec.Struct, frozen=True):
    value: Secret
    """As it is stored: whsec_..., or that sealed (`sealing.py`)."""
    valid_until: Millis | None = None
    """None for the current one; a replaced one signs along until then."""


class Endpoint(msgspec.Struct, frozen=True):
    id: str
    tenant: str
    url: str
    events: tuple[str, ...]
    description: str | None
    enabled: bool
    disabled_reason: str | None
    """by_merchant or gone (it answered 410)."""
    secrets: tuple[SigningSecret, ...]
    """Newest first."""
    version: int
    """Of its events; marking its health does not count."""
    created_at: Millis
    updated_at: Millis
    failing_since: Millis | None = None
    """Since when attempts fail, with none between that succeeded."""

    def current_secrets(self, now: Millis) -> list[Secret]:
        """Those that sign at `now`, newest first, as they are stored."""
        return [secret.value for secret in self.secrets if secret.valid_until is None or now < secret.valid_until]


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    at: Millis
    duration_ms: int
    status: int | None = None
    failure: str | None = None
    """Why there is no status."""
    excerpt: str = ""
    """The answer's beginning, masked."""


class Delivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event on its way to one endpoint. Its lane is (endpoint, aggregate), ordered by `version`."""

    id: str
    tenant: str
    endpoint: str
    aggregate: str
    version: int
    """The event's: the place in the lane."""
    event: str
    type: str
    created_at: Millis
    state: DeliveryState
    due_at: Millis
    """Not before this."""
    lease_until: Millis = 0
    tries: int = 0
    """Attempts of the present schedule."""
    by_hand: bool = False
    """The present schedule is a single attempt that somebody asked for."""
    asked_by: str = ""
    """Id of the replay that last asked for an attempt."""
    attempts: tuple[Attempt, ...] = ()
    attempts_total: int = 0
    delivered_at: Millis | None = None
    finished_at: Millis | None = None
    reason: str = ""
    """Why it is dead or canceled."""

    @property
    def is_open(self) -> bool:
        return self.state in OPEN


class Turn(msgspec.Struct, frozen=True, omit_defaults=True):
    """The queue's message: look after the lane in which this delivery stands."""

    tenant: str
    endpoint: str
    aggregate: str
    version: int
    attempts: int = 0
    """How many had been made when this was sent. If there are more by now, it is a leftover."""
    postponed: int = 0
    """How often it was put off because the endpoint was busy."""


class Subscription(NamedTuple):
    """What fanning out must know of an enabled endpoint."""

    endpoint: str
    types: frozenset[str] | None
    """None: every type."""
    created_at: Millis

    def wants(self, event: Event) -> bool:
        return (self.types is None or event.type in self.types) and event.at >= self.created_at - CREATION_SLACK


def subscription(endpoint: Endpoint) -> Subscription:
    types = None if ALL in endpoint.events else frozenset(endpoint.events)
    return Subscription(endpoint.id, types, endpoint.created_at)


def delivery_id(endpoint_id: str, event_id: str) -> str:
    """Always the same for the same two; sorts by the event's time, so that deliveries of one event stand together."""
    number = int.from_bytes(sha256(f"{endpoint_id}\0{event_id}".encode()).digest(), "big")
    tail = "".join(_ALPHABET[number >> 5 * place & 31] for place in range(_HASH_CHARACTERS))
    return f"{ids.DELIVERY}_{_instant(event_id)}{tail}"


def delivery_ids_of(event_id: str) -> tuple[str, str]:
    """Between which two ids (both excluded) every delivery of the event stands."""
    head = f"{ids.DELIVERY}_{_instant(event_id)}"
    return head, head + "~"


def new_delivery(endpoint_id: str, event: Event, now: Millis) -> Delivery:
    return Delivery(
        id=delivery_id(endpoint_id, event.id),
        tenant=event.tenant,
        endpoint=endpoint_id,
        aggregate=event.aggregate,
        version=event.version,
        event=event.id,
        type=event.type,
        created_at=now,
        state=DeliveryState.PENDING,
        due_at=now,
    )


def turn_of(delivery: Delivery, *, postponed: int = 0) -> Turn:
    return Turn(
        delivery.tenant, delivery.endpoint, delivery.aggregate, delivery.version, delivery.attempts_total, postponed
    )


def with_attempt(attempts: Sequence[Attempt], attempt: Attempt) -> tuple[Attempt, ...]:
    return (*attempts, attempt)[-ATTEMPTS_KEPT:]


def _instant(event_id: str) -> str:
    return event_id.partition("_")[2][:_TIME_CHARACTERS]
