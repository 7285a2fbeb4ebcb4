"""Store and Feed in dictionaries and sorted lists.

No threads, no time but the injected clock's, no order that depends on hashing: the same calls give the same answers.
A commit has no await in it, so it is atomic by construction.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TypeVar

from interlock.core.kernel.clock import Clock, Millis
from interlock.core.kernel.errors import Invalid, WriteConflict
from interlock.core.kernel.events import Event
from interlock.core.kernel.feed import START, FeedRecord
from interlock.core.kernel.store import (
    ABSENT,
    Delete,
    Item,
    Key,
    Page,
    Put,
    Write,
    check_key,
    check_limit,
    check_texts,
    check_writes,
    checked_body,
)

T = TypeVar("T")
_POSITION_DIGITS = 18
_CURSOR_SEPARATOR = "\0"
"""Cannot be part of a key."""
_Entry = tuple[str, ...]
"""Sort key in the index, then the item's own key; a shorter one stands before all that begin like it."""


class MemoryStore:
    """Implements Store and Feed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._items: dict[Key, Item] = {}
        self._sorts: dict[str, list[str]] = {}
        """Partition -> sort keys of its items, ordered."""
        self._entries: dict[tuple[str, str], list[_Entry]] = {}
        """Index name and partition -> what stands there, ordered."""
        self._histories: dict[str, dict[int, Event]] = {}
        self._events: list[Event] = []
        self._waiters: dict[asyncio.Future[None], None] = {}

    # -- Store ------------------------------------------------------------------------------------------------------

    async def get(self, key: Key) -> Item | None:
        check_key(key)
        return self._items.get(key)

    async def query(
        self,
        partition: str,
        *,
        prefix: str = "",
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> Page:
        check_texts(partition, prefix, after or "")
        check_limit(limit)
        sorts = self._sorts.get(partition, [])
        low = bisect_left(sorts, prefix)
        high = bisect_left(sorts, True, lo=low, key=lambda sort: not sort.startswith(prefix))
        if after is not None and newest_first:
            high = min(high, bisect_left(sorts, after))
        elif after is not None:
            low = max(low, bisect_right(sorts, after))
        found = _window(sorts, low, high, limit + 1, newest_first)
        items = [self._items[Key(partition, sort)] for sort in found[:limit]]
        return Page(items, found[limit - 1] if len(found) > limit else None)

    async def query_index(
        self,
        index: str,
        partition: str,
        *,
        upto: str | None = None,
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> Page:
        check_texts(index, partition, upto or "", after or "")
        check_limit(limit)
        entries = self._entries.get((index, partition), [])
        low = 0
        high = len(entries) if upto is None else bisect_right(entries, upto, key=lambda entry: entry[0])
        if after is not None:
            cursor = tuple(after.split(_CURSOR_SEPARATOR))
            if len(cursor) not in (1, 3):
                raise Invalid("`after` is not a position of this index", code="invalid_cursor")
            if newest_first:
                high = min(high, bisect_left(entries, cursor))
            elif len(cursor) == 1:
                low = bisect_right(entries, after, key=lambda entry: entry[0])
            else:
                low = bisect_right(entries, cursor)
        found = _window(entries, low, high, limit + 1, newest_first)
        items = [self._items[Key(*entry[1:])] for entry in found[:limit]]
        return Page(items, _CURSOR_SEPARATOR.join(found[limit - 1]) if len(found) > limit else None)

    async def commit(self, writes: Sequence[Write], events: Sequence[Event] = ()) -> None:
        check_writes(writes, len(events))
        for event in events:
            checked_body(event)
        for write in writes:
            if self._version(write.key) != write.expected:
                raise WriteConflict(write.key)
        fresh: set[tuple[str, int]] = set()
        for event in events:
            place = (event.aggregate, event.version)
            if place in fresh or event.version in self._histories.get(event.aggregate, {}):
                raise WriteConflict(("event", event.aggregate))
            fresh.add(place)
        # Nothing below can fail: from here on it is all or nothing.
        for write in writes:
            if isinstance(write, Put):
                item = Item(write.key, write.expected + 1, write.value, dict(write.indexes), write.expires_at)
                self._replace(write.key, item)
            elif isinstance(write, Delete):
                self._replace(write.key, None)
        for event in events:
            self._histories.setdefault(event.aggregate, {})[event.version] = event
            self._events.append(event)
        if events:
            waiters, self._waiters = self._waiters, {}
            _wake(waiters)

    async def history(self, aggregate: str, *, after_version: int = 0, limit: int = 1000) -> list[Event]:
        check_texts(aggregate)
        check_limit(limit)
        history = self._histories.get(aggregate, {})
        return [history[version] for version in sorted(history) if version > after_version][:limit]

    async def drop_expired(self, *, now: Millis, limit: int = 500) -> int:
        """Delete up to `limit` items whose `expires_at` has come, oldest first; how many there were. Safe to repeat."""
        expired = sorted(
            (item.expires_at, key)
            for key, item in self._items.items()
            if item.expires_at is not None and item.expires_at <= now
        )
        for _, key in expired[:limit]:
            self._replace(key, None)
        return len(expired[:limit])

    # -- Feed -------------------------------------------------------------------------------------------------------

    async def read(self, *, after: str, limit: int = 100) -> list[FeedRecord]:
        check_limit(limit)
        start = _seq(after)
        behind = islice(self._events, start, start + limit)
        return [FeedRecord(f"{seq:0{_POSITION_DIGITS}d}", event) for seq, event in enumerate(behind, start + 1)]

    async def wait(self, *, after: str, timeout_s: float) -> bool:
        start = _seq(after)
        deadline = self._clock.monotonic() + timeout_s
        while len(self._events) <= start:
            remaining_s = deadline - self._clock.monotonic()
            if remaining_s <= 0:
                return False
            await self._next_event(remaining_s)
        return True

    async def _next_event(self, timeout_s: float) -> None:
        """Return when an event has been committed, at the latest after `timeout_s`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        timer = asyncio.ensure_future(self._clock.sleep(timeout_s))
        timer.add_done_callback(lambda _: _wake((waiter,)))
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiters.pop(waiter, None)

    # -- items and their index entries ------------------------------------------------------------------------------

    def _version(self, key: Key) -> int:
        item = self._items.get(key)
        return ABSENT if item is None else item.version

    def _replace(self, key: Key, item: Item | None) -> None:
        """Put `item` at `key`, or take away what is there, together with its index entries."""
        before = self._items.pop(key, None)
        sorts = self._sorts.setdefault(key.partition, [])
        if before is not None:
            del sorts[bisect_left(sorts, key.sort)]
            for name, place in before.indexes.items():
                entries = self._entries[name, place.partition]
                del entries[bisect_left(entries, (place.sort, *key))]
        if item is not None:
            self._items[key] = item
            insort(sorts, key.sort)
            for name, place in item.indexes.items():
                insort(self._entries.setdefault((name, place.partition), []), (place.sort, *key))


def _window(ordered: list[T], low: int, high: int, limit: int, newest_first: bool) -> list[T]:
    """Up to `limit` of ordered[low:high], from the end backwards if `newest_first`."""
    if newest_first:
        return ordered[max(low, high - limit) : high][::-1] if high > low else []
    return ordered[low : min(high, low + limit)]


def _wake(waiters: Iterable[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


def _seq(position: str) -> int:
    if position == START:
        return 0
    if len(position) != _POSITION_DIGITS or not (position.isascii() and position.isdigit()):
        raise Invalid("not a position of this feed", code="invalid_cursor")
    return int(position)
