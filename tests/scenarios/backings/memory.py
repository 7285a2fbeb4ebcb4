"""Everything in dictionaries: the fastest, and the one whose seeds walk the same way each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from interlock.backends.memory.bus import MemoryBus
from interlock.backends.memory.documents import MemoryDocuments
from interlock.backends.memory.queue import MemoryQueue
from interlock.backends.memory.secrets import MemorySecrets
from interlock.backends.memory.store import MemoryStore
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.events import Event
from interlock.core.kernel.secrets import Secret
from interlock.core.kernel.store import Item, Key
from tests.scenarios.backing import Wanted
from tests.scenarios.backings.watching import WatchedBus, WatchedQueue


def memory_secrets(wanted: Wanted) -> MemorySecrets:
    secrets = MemorySecrets()
    secrets._values.update({name: [Secret(value)] for name, value in wanted.secrets.items()})
    return secrets


class MemoryBacking:
    kind = "memory"
    forwards = False

    def __init__(self, wanted: Wanted) -> None:
        clock = wanted.clock
        self.store = self.feed = MemoryStore(clock)
        self.bus = WatchedBus(MemoryBus(clock))
        queue = MemoryQueue(wanted.queues, clock=clock, ids=wanted.ids)
        self.queue = WatchedQueue(queue, wanted.queues, clock=clock)
        self.documents = MemoryDocuments(wanted.collections)
        self.secrets = memory_secrets(wanted)

    @property
    def adapters(self) -> Sequence[Any]:
        return (self.store,)

    @property
    def items(self) -> Mapping[Key, Item]:
        return self.store._items

    async def overwrite(self, item: Item) -> None:
        self.store._replace(item.key, item)

    async def remove(self, key: Key) -> None:
        self.store._replace(key, None)

    async def rewrite_event(self, event: Event) -> None:
        self.store._histories[event.aggregate][event.version] = event

    async def drop_expired(self, *, now: Millis) -> int:
        return await self.store.drop_expired(now=now)

    async def assert_true(self) -> None:
        """It shows the adapter's own."""

    def restarted(self) -> None:
        """It remembers nothing beside what it keeps."""

    async def close(self) -> None:
        """Nothing is held."""
