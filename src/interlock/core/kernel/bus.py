"""The Bus port: topics that many groups of consumers follow, each at its own pace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.events import Event, decode_event


class BusMessage(NamedTuple):
    id: str
    """The event's id: consumers are idempotent by it."""
    key: str
    """Messages of one key are delivered in the order they were published."""
    value: bytes
    headers: Mapping[str, str] = {}


def event_in(message: BusMessage) -> Event:
    """The event a message of the events topic carries. Raises MsgspecError."""
    return decode_event(message.value)


class BusRecord(NamedTuple):
    partition: int
    offset: int
    message: BusMessage


class Subscription(Protocol):
    """One member of a consumer group. Partitions are shared out among the members alive."""

    async def receive(self, *, limit: int = 100, wait_s: float = 0.0) -> list[BusRecord]:
        """Records of this member's partitions behind the group's offset and behind what this member already received.

        A record received but not committed is received again after the member closed, lost its lease or restarted.
        """

    async def commit(self, records: Sequence[BusRecord]) -> None:
        """Move the group's offset behind `records`: call it after their effects are durable.

        Offsets never move backwards. Records of a partition this member has lost are ignored; they come again elsewhere.
        """

    async def close(self) -> None:
        """Leave the group; uncommitted records go to the other members. Safe to repeat."""


class Bus(Protocol):
    async def publish(self, topic: str, messages: Sequence[BusMessage]) -> None:
        """Durable when it returns; all or nothing; the order of `messages` holds per key. Repeating it duplicates.

        Raises StoreUnavailable if nothing was published, OutcomeUnknown if that cannot be told.
        """

    async def subscribe(self, topic: str, *, group: str, member: str) -> Subscription:
        """Join `group`. A new group starts at the topic's beginning. A `member` that joins again replaces itself."""

    async def lag(self, topic: str, *, group: str) -> int:
        """Messages published and not yet committed by `group`."""


class Prunes(Protocol):
    """Optional ability, of buses that keep messages until they are told."""

    async def prune(self, *, before: Millis) -> int:
        """Drop messages published before `before` that every group has passed; how many there were."""


class Forwards(Protocol):
    """Optional ability, of buses that stand in one file with the store: they point at its events and copy none."""

    async def forward(self, topic: str, *, after: str, limit: int = 100) -> str | None:
        """Publish up to `limit` events of the feed behind position `after`: the last one's position, None if there are none.

        As `publish` with, for each event, its id, its aggregate as the key, and what `encode_event` makes of it.
        """


class SharesEvents(Protocol):
    """Events for rules that others wrote. Nothing is kept and no order promised: who has no rule misses what passes."""

    async def put(self, events: Sequence[Event]) -> Sequence[Event]:
        """All of them are there when it returns, some perhaps twice, but for those that it returns: they are too large for it.

        May be repeated as a whole. Raises StoreUnavailable.
        """
