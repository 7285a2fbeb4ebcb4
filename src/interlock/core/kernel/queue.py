"""The Queue port: work for one of several workers, with delay, lease and dead letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from interlock.core.kernel.clock import Millis

DELAY_MAX_S = 43_200
"""Longest delay of one send; a longer wait is sent again when it comes back. Some queues round up to whole seconds."""


class QueueSpec(NamedTuple):
    """How a queue behaves; fixed when the platform starts."""

    name: str
    lease_s: float
    """How long a worker has before the message goes to another."""
    attempts_max: int
    """After so many receipts without an ack the message is a dead letter: when the last lease ends, or somebody next receives."""


class QueueMessage(NamedTuple):
    id: str
    body: bytes
    attempts: int
    """How often it has been received, this time included."""
    receipt: str
    """Proof of this lease; a later lease has another."""
    sent_at: Millis


class DeadLetter(NamedTuple):
    id: str
    body: bytes
    attempts: int
    sent_at: Millis
    died_at: Millis


class QueueDepth(NamedTuple):
    ready: int
    delayed: int
    leased: int
    dead: int
    oldest_ready_at: Millis | None
    """Since when the message that waits longest could have been received; None when none is ready, or nobody can tell."""


class Queue(Protocol):
    """At least once, in no promised order; a receipt is good where it was given.

    Raises StoreUnavailable when it cannot be reached. An unknown name is a KeyError.
    """

    async def send(self, queue: str, body: bytes, *, delay_s: float = 0.0) -> str:
        """Durable when it returns; the message's id. Not receivable before `delay_s` (0 to DELAY_MAX_S, else Invalid)."""

    async def receive(self, queue: str, *, limit: int = 10, wait_s: float = 0.0) -> list[QueueMessage]:
        """Lease up to `limit` messages; wait up to `wait_s` for the first. Nobody else receives them within the lease."""

    async def ack(self, queue: str, receipt: str) -> bool:
        """Done: forget the message. False, and no effect, when the lease was lost to another receiver or it is gone.

        A lease that has ended still counts until somebody else receives the message, though a queue that cannot tell whether
        somebody did answers False; the last one ends with it.
        """

    async def release(self, queue: str, receipt: str, *, delay_s: float = 0.0) -> bool:
        """Not done: give the message back, receivable after `delay_s`; at `attempts_max` it becomes a dead letter.

        False, and no effect, when the lease was lost, or has ended and the queue cannot tell.
        """

    async def depth(self, queue: str) -> QueueDepth:
        """How much is waiting, leased and dead, now. Some queues count what was given back with a delay as leased."""

    async def dead_letters(self, queue: str, *, limit: int = 100, after: str = "") -> list[DeadLetter]:
        """Dead letters ordered by id, behind id `after`. Looking changes nothing."""

    async def redrive(self, queue: str, ids: Sequence[str]) -> int:
        """Make these dead letters receivable again with their count at zero; how many were there."""


class EndsLeases(Protocol):
    """An optional ability of a Queue, for who knows that nobody alive holds a lease."""

    async def end_leases(self, queue: str) -> int:
        """Make whatever is leased receivable now, as if its lease were over; how many messages that were. Safe to repeat."""


class TakesRecords(Protocol):
    """An optional ability of a Queue whose messages may come to a function as records, received and deleted by who calls it."""

    async def take_record(self, queue: str, record: Mapping[str, Any]) -> QueueMessage | None:
        """The message in a record, leased. None: not to be handled now, and to be reported as failed."""
