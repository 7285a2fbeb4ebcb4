"""What the worlds of the scenarios stand on: one of three kinds, by the environment variable INTERLOCK_SCENARIOS_ON."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.documents import Collection
from interlock.core.kernel.events import Event
from interlock.core.kernel.ids import Ids
from interlock.core.kernel.queue import QueueSpec
from interlock.core.kernel.store import Item, Key
from tests.clocks import ManualClock
from tests.scenarios.backings.watching import WatchedBus, WatchedQueue

SWITCH = "INTERLOCK_SCENARIOS_ON"
KINDS = ("memory", "sqlite", "aws")
OPEN_MOST = 24
"""Worlds of one test that are open at once; of those that make hundreds, the oldest are done with."""


class Wanted(NamedTuple):
    """What every kind is made from."""

    clock: ManualClock
    ids: Ids
    queues: Sequence[QueueSpec]
    collections: Sequence[Collection]
    secrets: Mapping[str, str]


class Backing(Protocol):
    """The ports, and how a test looks at what is behind them and tampers with it."""

    kind: str
    forwards: bool
    """Whether the bus points at the store's events, as the relay of this kind makes use of."""
    store: Any
    feed: Any
    bus: WatchedBus
    queue: WatchedQueue
    documents: Any
    secrets: Any

    @property
    def adapters(self) -> Sequence[Any]:
        """The store and the feed themselves, as they were used last."""

    @property
    def items(self) -> Mapping[Key, Item]:
        """All there are, those written last at the end."""

    async def overwrite(self, item: Item) -> None:
        """Have this item stand there, version and all, behind the platform's back."""

    async def remove(self, key: Key) -> None:
        """Take the item away, without a trace."""

    async def rewrite_event(self, event: Event) -> None:
        """Have this event stand in the place of the one of its aggregate and version."""

    async def drop_expired(self, *, now: Millis) -> int:
        """Do at once what the store does with expired items in its own time; how many there were."""

    async def assert_true(self) -> None:
        """What `items` shows is what the adapter returns."""

    def restarted(self) -> None:
        """The process ended and another has begun: what adapters remember by themselves is gone."""

    async def close(self) -> None:
        """Let go of it, and keep nothing."""


class Choice:
    """Which kind new worlds stand on, and those that stand."""

    def __init__(self) -> None:
        self.kind = "memory"
        self.endpoint = ""
        """Of the emulator, for `aws`."""
        self.at_last: list[Callable[[], Awaitable[None]]] = []
        """What worlds have in common, to be closed behind them."""
        self._open: list[Backing] = []
        self._closing: set[asyncio.Task[None]] = set()

    def open(self, wanted: Wanted) -> Backing:
        backing = self._make(wanted)
        self._open.append(backing)
        while len(self._open) > OPEN_MOST:
            self._closing.add(asyncio.ensure_future(self._open.pop(0).close()))
        return backing

    async def close(self) -> None:
        await asyncio.gather(*self._closing, *(backing.close() for backing in self._open))
        self._open.clear()
        self._closing.clear()
        for close in self.at_last:
            await close()
        self.at_last.clear()

    def _make(self, wanted: Wanted) -> Backing:
        if self.kind == "sqlite":
            from tests.scenarios.backings.sqlite import SqliteBacking

            return SqliteBacking(wanted)
        if self.kind == "aws":
            from tests.scenarios.backings.aws import AwsBacking

            return AwsBacking(wanted, self.endpoint)
        from tests.scenarios.backings.memory import MemoryBacking

        return MemoryBacking(wanted)


CHOICE = Choice()
"""Outside tests/scenarios, whose conftest.py reads the switch, worlds stand on memory."""


def kind_in(environment: Mapping[str, str]) -> str:
    """Raises ValueError for a kind there is not."""
    kind = environment.get(SWITCH) or KINDS[0]
    if kind not in KINDS:
        raise ValueError(f"{SWITCH} is one of {', '.join(KINDS)}, not {kind!r}")
    return kind
