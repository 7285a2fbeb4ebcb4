"""What a store was seen to take, in dictionaries: tests look at it without asking, and it answers for the end of a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from interlock.core.kernel.events import Event
from interlock.core.kernel.store import LIMIT_MAX, Delete, Item, Key, Page, Put, Write
from tests.scenarios.backings.flights import Flights


class Mirror:
    """Commits as they were answered. Answers may come in another order than the commits: of each item the newest counts."""

    def __init__(self) -> None:
        self.items: dict[Key, Item] = {}
        self.gone: set[Key] = set()
        """Keys at which there was something once."""
        self.histories: dict[str, dict[int, Event]] = {}
        self.events = 0
        self._places: dict[tuple[str, str], dict[Key, str]] = {}
        """Index and partition -> who stands there, under which sort key."""
        self._deleted: dict[Key, int] = {}
        """Versions that were deleted, and whose put was not yet answered."""

    def apply(self, writes: Sequence[Write], events: Sequence[Event]) -> None:
        for write in writes:
            if isinstance(write, Put):
                self._put(Item(write.key, write.expected + 1, write.value, dict(write.indexes), write.expires_at))
            elif isinstance(write, Delete):
                self._delete(write)
        for event in events:
            self.histories.setdefault(event.aggregate, {})[event.version] = event
        self.events += len(events)

    def show(self, item: Item) -> None:
        """This is what stands there now, whatever stood there before."""
        self.forget(item.key)
        self.gone.discard(item.key)
        self.items[item.key] = item
        for name, place in item.indexes.items():
            self._places.setdefault((name, place.partition), {})[item.key] = place.sort

    def forget(self, key: Key) -> None:
        item = self.items.pop(key, None)
        if item is not None:
            self.gone.add(key)
            for name, place in item.indexes.items():
                self._places[name, place.partition].pop(key, None)

    def expired(self, now: int) -> list[Item]:
        return [item for item in self.items.values() if item.expires_at is not None and item.expires_at <= now]

    def has_place(self, index: str, partition: str, *, upto: str | None) -> bool:
        """Whether anything stands there, up to and including that sort key."""
        sorts = self._places.get((index, partition), {}).values()
        return any(upto is None or sort <= upto for sort in sorts)

    def _put(self, item: Item) -> None:
        if self._deleted.get(item.key) == item.version:
            del self._deleted[item.key]
            return
        known = self.items.get(item.key)
        if known is None or known.version < item.version:
            self.show(item)

    def _delete(self, write: Delete) -> None:
        known = self.items.get(write.key)
        if write.expected and (known is None or known.version != write.expected):
            self._deleted[write.key] = write.expected
        self.forget(write.key)

    async def assert_true(self, store: Any) -> None:
        """The adapter itself returns what this shows, item for item and event for event."""
        for key, item in list(self.items.items()):
            found = await store.get(key)
            assert found == item, f"the store has {found}, the mirror shows {item}"
        for key in self.gone:
            assert await store.get(key) is None, f"{key} is gone, and the store has it"
        for aggregate, history in list(self.histories.items()):
            found = []
            while page := await store.history(aggregate, after_version=found[-1].version if found else 0):
                found += page
                if len(page) < LIMIT_MAX:
                    break
            assert found == [history[version] for version in sorted(history)], f"another history of {aggregate}"


class MirroredStore:
    """A store whose commits are seen in a mirror, from the moment they are answered."""

    def __init__(self, store: Any, mirror: Mirror, flights: Flights) -> None:
        self.adapter, self._mirror, self._flights = store, mirror, flights

    async def get(self, key: Key) -> Item | None:
        with self._flights.call():
            return await self.adapter.get(key)

    async def query(self, partition: str, **asked: Any) -> Page:
        with self._flights.call():
            return await self.adapter.query(partition, **asked)

    async def query_index(self, index: str, partition: str, **asked: Any) -> Page:
        with self._flights.call():
            return await self.adapter.query_index(index, partition, **asked)

    async def history(self, aggregate: str, **asked: Any) -> list[Event]:
        with self._flights.call():
            return await self.adapter.history(aggregate, **asked)

    async def commit(self, writes: Sequence[Write], events: Sequence[Event] = ()) -> None:
        await self._flights.carry(self._commit(writes, events))

    async def _commit(self, writes: Sequence[Write], events: Sequence[Event]) -> None:
        await self.adapter.commit(writes, events)
        self._mirror.apply(writes, events)
