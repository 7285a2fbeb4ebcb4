"""Store and Feed in one SQLite file.

Items live in a table with a row id and a unique key, not in one keyed by (partition, sort): values of a few kB would
spill out of an index tree's pages, which measured a third slower.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from interlock.backends.sqlite.database import Database
from interlock.core.kernel.clock import Clock, Millis
from interlock.core.kernel.errors import Invalid, WriteConflict
from interlock.core.kernel.events import Event, decode_event
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

EVENTS_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY,
    aggregate TEXT NOT NULL,
    version INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (aggregate, version)
);
"""
SCHEMA = (
    EVENTS_SCHEMA
    + """
CREATE TABLE IF NOT EXISTS items (
    id INTEGER PRIMARY KEY,
    partition TEXT NOT NULL,
    sort TEXT NOT NULL,
    version INTEGER NOT NULL,
    value BLOB NOT NULL,
    indexes BLOB,
    expires_at INTEGER,
    UNIQUE (partition, sort)
);
CREATE INDEX IF NOT EXISTS items_expiry ON items (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS index_entries (
    name TEXT NOT NULL,
    partition TEXT NOT NULL,
    sort TEXT NOT NULL,
    item_partition TEXT NOT NULL,
    item_sort TEXT NOT NULL,
    PRIMARY KEY (name, partition, sort, item_partition, item_sort)
) WITHOUT ROWID;
"""
)

EVENTS_TOPIC = "events"
"""Woken in `Database.changed` by commits that carry events."""

_POSITION_DIGITS = 18

_FIND = "SELECT id, version, indexes FROM items WHERE partition = ? AND sort = ?"
_INSERT = "INSERT INTO items (partition, sort, version, value, indexes, expires_at) VALUES (?, ?, 1, ?, ?, ?)"
_UPDATE = "UPDATE items SET version = ?, value = ?, indexes = ?, expires_at = ? WHERE id = ?"
_DELETE = "DELETE FROM items WHERE id = ?"
_ENTER = "INSERT INTO index_entries (name, partition, sort, item_partition, item_sort) VALUES (?, ?, ?, ?, ?)"
_LEAVE = (
    "DELETE FROM index_entries WHERE name = ? AND partition = ? AND sort = ? AND item_partition = ? AND item_sort = ?"
)
_RECORD = "INSERT INTO events (aggregate, version, body) VALUES (?, ?, ?)"

# ruff: noqa: S608 (the statements below are put together from constants)
_ITEM = "items.partition, items.sort, items.version, items.value, items.indexes, items.expires_at"
_GET = f"SELECT {_ITEM} FROM items WHERE partition = ? AND sort = ?"
_QUERY = f"SELECT {_ITEM} FROM items WHERE partition = ? AND sort >= ? AND sort < ? ORDER BY sort"
_QUERY_INDEX = (
    f"SELECT {_ITEM}, entry.sort FROM index_entries AS entry "
    "JOIN items ON items.partition = entry.item_partition AND items.sort = entry.item_sort "
    "WHERE entry.name = ? AND entry.partition = ? "
    "AND (entry.sort, entry.item_partition, entry.item_sort) > (?, ?, ?) "
    "AND (entry.sort, entry.item_partition, entry.item_sort) < (?, ?, ?) "
    "ORDER BY entry.sort {0}, entry.item_partition {0}, entry.item_sort {0} LIMIT ?"
)
_QUERIES = {False: f"{_QUERY} LIMIT ?", True: f"{_QUERY} DESC LIMIT ?"}
_INDEX_QUERIES = {False: _QUERY_INDEX.format("ASC"), True: _QUERY_INDEX.format("DESC")}
_HISTORY = "SELECT body FROM events WHERE aggregate = ? AND version > ? ORDER BY version LIMIT ?"
_FEED = "SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
_NEWER = "SELECT EXISTS (SELECT 1 FROM events WHERE seq > ?)"
_EXPIRED = "SELECT partition, sort, id, indexes FROM items WHERE expires_at <= ? ORDER BY expires_at LIMIT ?"

_BEHIND_ALL_TEXT = b""
"""Any BLOB sorts behind any TEXT."""
_CURSOR_SEPARATOR = "\0"
_LAST_CHARACTER = "\U0010ffff"

_encode_indexes = msgspec.json.Encoder().encode
_decode_indexes = msgspec.json.Decoder(dict[str, Key]).decode


class SqliteStore:
    def __init__(self, database: Database) -> None:
        """`database` must have been opened with this module's `SCHEMA`."""
        self._database = database

    async def get(self, key: Key) -> Item | None:
        check_key(key)
        row = self._database.read(lambda connection: connection.execute(_GET, key).fetchone())
        return None if row is None else _item(row)

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
        low: str = prefix
        high: str | bytes = _behind_prefix(prefix)
        if after is not None and newest_first:
            high = after if high == _BEHIND_ALL_TEXT else min(after, str(high))
        elif after is not None:
            # Keys hold no NUL, so this is the smallest text behind `after`.
            low = max(prefix, after + "\0")
        sql = _QUERIES[newest_first]
        rows = self._database.read(
            lambda connection: connection.execute(sql, (partition, low, high, limit + 1)).fetchall()
        )
        items = [_item(row) for row in rows[:limit]]
        return Page(items, items[-1].key.sort if len(rows) > limit else None)

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
        low: tuple[Any, ...] = ("", "", "")
        high: tuple[Any, ...] = (_BEHIND_ALL_TEXT,) * 3 if upto is None else (upto, _BEHIND_ALL_TEXT, _BEHIND_ALL_TEXT)
        if after is not None:
            entry = tuple(after.split(_CURSOR_SEPARATOR))
            if len(entry) not in (1, 3):
                raise Invalid("`after` is not a position of this index", code="invalid_cursor")
            if newest_first and (upto is None or entry[0] <= upto):
                high = entry if len(entry) == 3 else (after, "", "")
            elif not newest_first:
                low = entry if len(entry) == 3 else (after, _BEHIND_ALL_TEXT, _BEHIND_ALL_TEXT)
        sql = _INDEX_QUERIES[newest_first]
        rows = self._database.read(
            lambda connection: connection.execute(sql, (index, partition, *low, *high, limit + 1)).fetchall()
        )
        items = [_item(row) for row in rows[:limit]]
        if len(rows) <= limit:
            return Page(items, None)
        return Page(items, _CURSOR_SEPARATOR.join((rows[limit - 1][6], *items[-1].key)))

    async def commit(self, writes: Sequence[Write], events: Sequence[Event] = ()) -> None:
        check_writes(writes, len(events))
        bodies = [(event.aggregate, event.version, checked_body(event)) for event in events]
        await self._database.write(
            partial(_apply, writes=tuple(writes), events=bodies), wakes=EVENTS_TOPIC if bodies else ""
        )

    async def history(self, aggregate: str, *, after_version: int = 0, limit: int = 1000) -> list[Event]:
        check_texts(aggregate)
        check_limit(limit)
        rows = self._database.read(
            lambda connection: connection.execute(_HISTORY, (aggregate, after_version, limit)).fetchall()
        )
        return [decode_event(body) for (body,) in rows]

    async def drop_expired(self, *, now: Millis, limit: int = 500) -> int:
        """Delete up to `limit` items whose `expires_at` has come, oldest first; how many there were. Safe to repeat."""
        return await self._database.write(partial(_drop_expired, now=now, limit=limit))


class SqliteFeed:
    """The events table read in the order of its row ids.

    Why no reader ever misses an event: SQLite has one write lock per file, taken by BEGIN IMMEDIATE and held until
    COMMIT, also between processes. A row id is given out under that lock and is one above the highest there is, so a
    transaction with lower ids has always committed, or vanished, before a higher id exists. Events are never deleted, so
    no id is given out twice.
    """

    def __init__(self, database: Database, *, clock: Clock, poll_s: float = 0.25) -> None:
        """`poll_s`: how soon `wait` notices what another process committed; this process's commits wake it at once."""
        self._database = database
        self._clock = clock
        self._poll_s = poll_s

    async def read(self, *, after: str, limit: int = 100) -> list[FeedRecord]:
        check_limit(limit)
        seq = seq_of(after)
        rows = self._database.read(lambda connection: connection.execute(_FEED, (seq, limit)).fetchall())
        return [FeedRecord(position_of(seq), decode_event(body)) for seq, body in rows]

    async def wait(self, *, after: str, timeout_s: float) -> bool:
        seq = seq_of(after)
        deadline = self._clock.monotonic() + timeout_s
        while True:
            (newer,) = self._database.read(lambda connection: connection.execute(_NEWER, (seq,)).fetchone())
            if newer:
                return True
            remaining_s = deadline - self._clock.monotonic()
            if remaining_s <= 0:
                return False
            await self._database.changed(EVENTS_TOPIC, timeout_s=min(self._poll_s, remaining_s))


def _apply(
    connection: sqlite3.Connection, *, writes: Sequence[Write], events: Sequence[tuple[str, int, bytes]]
) -> None:
    """One commit, inside the group's transaction. Raises WriteConflict, leaving it to the database to undo the rest."""
    cursor = connection.cursor()
    execute = cursor.execute
    for write in writes:
        key = write.key
        if type(write) is Put and write.expected == ABSENT:
            indexes = _encode_indexes(write.indexes) if write.indexes else None
            try:
                execute(_INSERT, (*key, write.value, indexes, write.expires_at))
            except sqlite3.IntegrityError:
                raise WriteConflict(key) from None
            for name, place in write.indexes.items():
                execute(_ENTER, (name, *place, *key))
            continue
        execute(_FIND, key)
        row = cursor.fetchone()
        if (ABSENT if row is None else row[1]) != write.expected:
            raise WriteConflict(key)
        if row is None:
            continue  # A Check or Delete of what is, as expected, not there.
        if type(write) is Put:
            indexes = _encode_indexes(write.indexes) if write.indexes else None
            execute(_UPDATE, (write.expected + 1, write.value, indexes, write.expires_at, row[0]))
            if indexes != row[2]:
                _move(cursor, key, row[2], write.indexes)
        elif type(write) is Delete:
            execute(_DELETE, (row[0],))
            _move(cursor, key, row[2], {})
    for event in events:
        try:
            execute(_RECORD, event)
        except sqlite3.IntegrityError:
            raise WriteConflict(("event", event[0])) from None


def _move(cursor: sqlite3.Cursor, key: Key, was: bytes | None, now: Mapping[str, Key]) -> None:
    """Take an item out of the index places it no longer has and put it into its new ones."""
    before = _decode_indexes(was) if was else {}
    for name, place in before.items():
        if now.get(name) != place:
            cursor.execute(_LEAVE, (name, *place, *key))
    for name, place in now.items():
        if before.get(name) != place:
            cursor.execute(_ENTER, (name, *place, *key))


def _drop_expired(connection: sqlite3.Connection, *, now: Millis, limit: int) -> int:
    cursor = connection.cursor()
    rows = cursor.execute(_EXPIRED, (now, limit)).fetchall()
    for partition, sort, row_id, indexes in rows:
        cursor.execute(_DELETE, (row_id,))
        _move(cursor, Key(partition, sort), indexes, {})
    return len(rows)


def _item(row: tuple[Any, ...]) -> Item:
    indexes = row[4]
    return Item(Key(row[0], row[1]), row[2], row[3], _decode_indexes(indexes) if indexes else {}, row[5])


def _behind_prefix(prefix: str) -> str | bytes:
    """The smallest text behind all that start with `prefix`, or something behind all text."""
    prefix = prefix.rstrip(_LAST_CHARACTER)
    if not prefix:
        return _BEHIND_ALL_TEXT
    last = ord(prefix[-1]) + 1
    return prefix[:-1] + chr(0xE000 if 0xD800 <= last <= 0xDFFF else last)


def position_of(seq: int) -> str:
    """The feed's position behind the event of that row."""
    return f"{seq:0{_POSITION_DIGITS}d}"


def seq_of(position: str) -> int:
    """The row a position of the feed stands behind. Raises Invalid."""
    if position == START:
        return 0
    if len(position) != _POSITION_DIGITS or not (position.isascii() and position.isdigit()):
        raise Invalid("not a position of this feed", code="invalid_cursor")
    return int(position)
