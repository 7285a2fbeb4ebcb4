"""Exporting what was committed, from where one stopped; only while somebody asks, as it costs more than it is worth otherwise."""

from __future__ import annotations

from interlock.core.desk.queries.handlers import export
from interlock.core.desk.queries.ports import Exports
from interlock.core.kernel.clock import DAY, MINUTE, Millis
from interlock.core.kernel.errors import WriteConflict
from interlock.core.kernel.feed import START, Feed
from interlock.core.kernel.store import ABSENT, Key, Put, Store

POSITION = Key("~desk/exports", "position")
ASKED = Key("~desk/exports", "asked")
KEPT_UP: Millis = 1 * DAY
"""So long after somebody last asked, exports are kept up."""
_ASKED_AGAIN: Millis = 10 * MINUTE


async def want(store: Store, now: Millis) -> None:
    """Somebody asks: from now on exports are kept up. Written at most every few minutes."""
    item = await store.get(ASKED)
    if item is not None and now - int(item.value) < _ASKED_AGAIN:
        return
    try:
        await store.commit([Put(ASKED, str(now).encode(), item.version if item else ABSENT)])
    except WriteConflict:
        return  # somebody else asks, too


async def is_wanted(store: Store, now: Millis) -> bool:
    item = await store.get(ASKED)
    return item is not None and now - int(item.value) < KEPT_UP


async def follow(d: Exports, store: Store, feed: Feed, *, limit: int = 500) -> int:
    """Export the next events; how many they were. Safe to run twice at once: the same rows are written, and count once."""
    item = await store.get(POSITION)
    position, version = (item.value.decode(), item.version) if item else (START, ABSENT)
    records = await feed.read(after=position, limit=limit)
    if not records:
        return 0
    await export(d, [record.event for record in records])
    try:
        await store.commit([Put(POSITION, records[-1].position.encode(), version)])
    except WriteConflict:
        return 0  # somebody else is at it
    return len(records)
