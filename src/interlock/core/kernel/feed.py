"""The Feed port: every committed event, for those who follow what happens."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from interlock.core.kernel.events import Event

START = ""
"""The position before the first event."""


class FeedRecord(NamedTuple):
    position: str
    """Opaque; give it back to `read` to go on behind this event."""
    event: Event


class Feed(Protocol):
    """Events in commit order per aggregate, at least once, from a position the reader keeps."""

    async def read(self, *, after: str, limit: int = 100) -> list[FeedRecord]:
        """Up to `limit` events behind position `after` (START for all); empty when there is nothing new.

        An event that has been passed over never appears later: a reader that remembers the last position misses none.
        `limit` is 1 to 1000; what is not a position of this feed is Invalid.
        """

    async def wait(self, *, after: str, timeout_s: float) -> bool:
        """Return True once there may be an event behind `after`, False after `timeout_s`."""
