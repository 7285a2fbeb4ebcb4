"""Topics in tables. Members of one group may live in several processes; `sharing` says who holds which partitions.

A message is a copy of what was published, or points at one of the store's events (`forward`): those are never deleted, and
a copy of each would be the larger part of all that is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from sqlite3 import Connection
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from interlock.backends.sqlite.database import Database
from interlock.backends.sqlite.sharing import Member, Plan, Self, View, plan_share
from interlock.backends.sqlite.store import EVENTS_SCHEMA, position_of, seq_of
from interlock.core.kernel.bus import BusMessage, BusRecord
from interlock.core.kernel.clock import Clock, Millis
from interlock.core.kernel.events import id_of

PARTITIONS = 8
POLL_S = 0.25
"""How long a receiver that waits may overlook what another process did."""
PRUNED_PER_COMMIT_MAX = 5_000

_OFFSET_BITS = 40
"""A message's row number is its topic, its partition and its offset: reading a partition is reading one run of rows."""

SCHEMA = (
    EVENTS_SCHEMA
    + """
CREATE TABLE IF NOT EXISTS bus_topics (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS bus_partitions (
    topic INTEGER NOT NULL, partition INTEGER NOT NULL, first INTEGER NOT NULL, next INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bus_messages (
    position INTEGER PRIMARY KEY,
    published_at INTEGER NOT NULL,
    id TEXT NOT NULL,
    key TEXT NOT NULL,
    headers TEXT NOT NULL,
    value BLOB NOT NULL -- a number instead of bytes: that row of `events`, which has id and key as well
);
CREATE TABLE IF NOT EXISTS bus_groups (
    number INTEGER PRIMARY KEY, topic INTEGER NOT NULL, name TEXT NOT NULL, sessions INTEGER NOT NULL,
    UNIQUE (topic, name)
);
CREATE TABLE IF NOT EXISTS bus_members (
    consumers INTEGER NOT NULL, name TEXT NOT NULL, session INTEGER NOT NULL, lease_ends_at INTEGER NOT NULL,
    PRIMARY KEY (consumers, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bus_claims (
    consumers INTEGER NOT NULL, partition INTEGER NOT NULL, committed INTEGER NOT NULL, owner INTEGER NOT NULL,
    PRIMARY KEY (consumers, partition)
) WITHOUT ROWID;
"""
)

_FETCH = (
    "SELECT position, id, key, headers, value, aggregate, body FROM bus_messages LEFT JOIN events ON seq = value"
    " WHERE position >= ? AND position < ? ORDER BY position LIMIT ?"
)
_FORWARDED = "SELECT seq, aggregate FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
_LAG = """
SELECT coalesce(sum(p.next - coalesce(c.committed, p.first)), 0)
FROM bus_topics AS t JOIN bus_partitions AS p ON p.topic = t.number
LEFT JOIN bus_groups AS g ON g.topic = t.number AND g.name = ?2
LEFT JOIN bus_claims AS c ON c.consumers = g.number AND c.partition = p.partition
WHERE t.name = ?1
"""
_PASSED = """
SELECT p.topic, p.partition, p.first, min(c.committed)
FROM bus_partitions AS p JOIN bus_groups AS g ON g.topic = p.topic
JOIN bus_claims AS c ON c.consumers = g.number AND c.partition = p.partition
GROUP BY p.topic, p.partition HAVING min(c.committed) > p.first
"""

_encode_headers = msgspec.json.Encoder().encode
_decode_headers = msgspec.json.Decoder(dict[str, str]).decode


class SqliteBus:
    def __init__(self, database: Database, clock: Clock, *, member_lease_s: float = 30.0) -> None:
        self._database = database
        self._clock = clock
        self._member_lease_ms = round(member_lease_s * 1_000)

    async def publish(self, topic: str, messages: Sequence[BusMessage]) -> None:
        rows = [
            (
                _partition_of(m.key),
                m.id,
                m.key,
                _encode_headers(m.headers).decode() if m.headers else "",
                m.value,
            )
            for m in messages
        ]
        if rows:
            await self._append(topic, rows)

    async def forward(self, topic: str, *, after: str, limit: int = 100) -> str | None:
        behind = seq_of(after)
        events = self._database.read(lambda db: db.execute(_FORWARDED, (behind, limit)).fetchall())
        if not events:
            return None
        rows = [(_partition_of(key), "", "", "", seq) for seq, key in events]
        await self._append(topic, rows)
        return position_of(events[-1][0])

    async def _append(self, topic: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Messages as partition, id, key, headers and value."""
        job = partial(_place, topic=topic, now=self._clock.now(), rows=rows)
        await self._database.write(job, wakes=_waking(topic))

    async def subscribe(self, topic: str, *, group: str, member: str) -> SqliteSubscription:
        def job(db: Connection) -> tuple[int, int, int]:
            number = _topic_number(db, topic)
            consumers = _group_number(db, number, group)
            row = db.execute(
                "SELECT session FROM bus_members WHERE consumers = ? AND name = ?", (consumers, member)
            ).fetchone()
            session = _join(db, consumers, member, 0 if row is None else row[0], lease_ends_at)
            return number, consumers, session

        lease_ends_at = self._clock.now() + self._member_lease_ms
        number, consumers, session = await self._database.write(job, wakes=_waking(topic))
        place = _Place(topic, number, consumers, member)
        return SqliteSubscription(self._database, self._clock, place, session, self._member_lease_ms)

    async def lag(self, topic: str, *, group: str) -> int:
        (lag,) = self._database.read(lambda db: db.execute(_LAG, (topic, group)).fetchone())
        return int(lag)

    async def prune(self, *, before: Millis) -> int:
        """Drop messages published before that instant which every group has committed; how many.

        A topic that no group follows keeps everything: a group may still come and start at its beginning.
        """
        dropped = 0
        for topic, partition, _, _ in self._database.read(lambda db: db.execute(_PASSED).fetchall()):
            job = partial(_prune, topic=topic, partition=partition, before=before)
            while count := await self._database.write(job):
                dropped += count
        return dropped


class _Place(NamedTuple):
    topic: str
    number: int
    consumers: int
    member: str


class SqliteSubscription:
    def __init__(self, database: Database, clock: Clock, place: _Place, session: int, lease_ms: Millis) -> None:
        self._database = database
        self._clock = clock
        self._place = place
        self._session = session
        self._lease_ms = lease_ms
        self._closed = False
        self._received: dict[int, int] = {}
        """Partition -> offset to receive next."""
        self._giving_up: dict[int, Millis] = {}
        self._turn = 0

    async def receive(self, *, limit: int = 100, wait_s: float = 0.0) -> list[BusRecord]:
        deadline = self._clock.monotonic() + wait_s
        while not self._closed:
            now = self._clock.now()
            view = self._database.read(self._look)
            plan = self._plan(view, now)
            if plan is not None and plan.writes:
                await self._carry_out(now)
                continue
            if plan is not None:
                self._giving_up = plan.giving_up
                if records := self._database.read(partial(self._fetch, view=view, limit=limit)):
                    return records
            left_s = deadline - self._clock.monotonic()
            if left_s <= 0:
                break
            await self._database.changed(_waking(self._place.topic), timeout_s=min(left_s, POLL_S))
        return []

    async def commit(self, records: Sequence[BusRecord]) -> None:
        behind: dict[int, int] = {}
        for record in records:
            behind[record.partition] = max(behind.get(record.partition, 0), record.offset + 1)
        rows = [(offset, self._place.consumers, partition, self._session) for partition, offset in behind.items()]
        statement = (
            "UPDATE bus_claims SET committed = max(committed, ?) WHERE consumers = ? AND partition = ? AND owner = ?"
        )
        if rows:
            await self._database.write(lambda db: db.executemany(statement, rows))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        mine = (self._place.consumers, self._session)

        def job(db: Connection) -> None:
            db.execute("UPDATE bus_claims SET owner = 0 WHERE consumers = ? AND owner = ?", mine)
            db.execute("DELETE FROM bus_members WHERE consumers = ? AND session = ?", mine)

        await self._database.write(job, wakes=_waking(self._place.topic))

    def _look(self, db: Connection) -> View:
        _, number, consumers, _ = self._place
        members = db.execute("SELECT name, session, lease_ends_at FROM bus_members WHERE consumers = ?", (consumers,))
        claims = db.execute(
            "SELECT committed, owner FROM bus_claims WHERE consumers = ? ORDER BY partition", (consumers,)
        ).fetchall()
        return View(
            {name: Member(session, ends_at) for name, session, ends_at in members},
            [committed for committed, _ in claims],
            [owner for _, owner in claims],
            _next_offsets(db, number),
        )

    def _plan(self, view: View, now: Millis) -> Plan | None:
        me = Self(self._place.member, self._session, self._received, self._giving_up)
        return plan_share(view, me, now=now, lease_ms=self._lease_ms)

    async def _carry_out(self, now: Millis) -> None:
        """Make the plan anew inside a transaction, where nobody else can change what it rests on, and carry it out."""
        _, _, consumers, name = self._place
        lease_ends_at = now + self._lease_ms

        def job(db: Connection) -> tuple[Plan, int] | None:
            plan = self._plan(self._look(db), now)
            if plan is None:
                return None
            session = self._session
            if plan.join:
                session = _join(db, consumers, name, session, lease_ends_at)
            elif plan.renew:
                db.execute(
                    "UPDATE bus_members SET lease_ends_at = ? WHERE consumers = ? AND name = ?",
                    (lease_ends_at, consumers, name),
                )
            db.executemany(
                "DELETE FROM bus_members WHERE consumers = ? AND name = ?", [(consumers, gone) for gone in plan.drop]
            )
            owners = [(0, consumers, number) for number in plan.give]
            owners += [(session, consumers, number) for number in plan.take]
            db.executemany("UPDATE bus_claims SET owner = ? WHERE consumers = ? AND partition = ?", owners)
            return plan, session

        done = await self._database.write(job, wakes=_waking(self._place.topic))
        if done is None:
            return
        plan, self._session = done
        self._giving_up = plan.giving_up
        if plan.join:
            self._received.clear()
        for number in plan.give + plan.take:
            self._received.pop(number, None)

    def _fetch(self, db: Connection, *, view: View, limit: int) -> list[BusRecord]:
        """Up to `limit` records; a partition that fills it waits for its next turn."""
        self._turn += 1
        records: list[BusRecord] = []
        for step in range(PARTITIONS):
            number = (self._turn + step) % PARTITIONS
            start = max(self._received.get(number, 0), view.committed[number])
            if view.owner[number] != self._session or number in self._giving_up or start >= view.next[number]:
                continue
            base = _position(self._place.number, number, 0)
            rows = db.execute(_FETCH, (base + start, base + view.next[number], limit - len(records))).fetchall()
            records += [BusRecord(number, row[0] - base, _message(row)) for row in rows]
            self._received[number] = start + len(rows)
        return records


def _place(db: Connection, *, topic: str, now: Millis, rows: Sequence[tuple[Any, ...]]) -> None:
    number = _topic_number(db, topic)
    before = _next_offsets(db, number)
    offsets = list(before)
    placed: list[tuple[Any, ...]] = []
    for to, *rest in rows:
        placed.append((_position(number, to, offsets[to]), now, *rest))
        offsets[to] += 1
    db.executemany("INSERT INTO bus_messages VALUES (?, ?, ?, ?, ?, ?)", placed)
    db.executemany(
        "UPDATE bus_partitions SET next = ? WHERE topic = ? AND partition = ?",
        [(offsets[p], number, p) for p in range(PARTITIONS) if offsets[p] != before[p]],
    )


def _message(row: tuple[Any, ...]) -> BusMessage:
    _, message_id, key, headers, value, aggregate, body = row
    if body is not None:
        return BusMessage(id_of(body), aggregate, body)
    return BusMessage(message_id, key, value, _decode_headers(headers) if headers else {})


def _partition_of(key: str) -> int:
    return crc32(key.encode()) % PARTITIONS


def _topic_number(db: Connection, name: str) -> int:
    row = db.execute("SELECT number FROM bus_topics WHERE name = ?", (name,)).fetchone()
    if row is not None:
        return int(row[0])
    ((number,),) = db.execute("INSERT INTO bus_topics (name) VALUES (?) RETURNING number", (name,)).fetchall()
    db.executemany("INSERT INTO bus_partitions VALUES (?, ?, 0, 0)", [(number, p) for p in range(PARTITIONS)])
    return int(number)


def _group_number(db: Connection, topic: int, name: str) -> int:
    row = db.execute("SELECT number FROM bus_groups WHERE topic = ? AND name = ?", (topic, name)).fetchone()
    if row is not None:
        return int(row[0])
    ((number,),) = db.execute(
        "INSERT INTO bus_groups (topic, name, sessions) VALUES (?, ?, 0) RETURNING number", (topic, name)
    ).fetchall()
    db.execute(
        "INSERT INTO bus_claims SELECT ?, partition, first, 0 FROM bus_partitions WHERE topic = ?", (number, topic)
    )
    return int(number)


def _join(db: Connection, consumers: int, member: str, last_session: int, lease_ends_at: Millis) -> int:
    """Begin a session; what the last one under this name held stays with it, and is received again."""
    ((session,),) = db.execute(
        "UPDATE bus_groups SET sessions = sessions + 1 WHERE number = ? RETURNING sessions", (consumers,)
    ).fetchall()
    if last_session:
        db.execute(
            "UPDATE bus_claims SET owner = ? WHERE consumers = ? AND owner = ?", (session, consumers, last_session)
        )
    db.execute("INSERT OR REPLACE INTO bus_members VALUES (?, ?, ?, ?)", (consumers, member, session, lease_ends_at))
    return int(session)


def _next_offsets(db: Connection, topic: int) -> list[int]:
    rows = db.execute("SELECT next FROM bus_partitions WHERE topic = ? ORDER BY partition", (topic,)).fetchall()
    return [offset for (offset,) in rows]


def _prune(db: Connection, *, topic: int, partition: int, before: Millis) -> int:
    """Drop the oldest messages of a partition, as far as every group has passed them; how many."""
    row = db.execute(
        "SELECT p.first, min(c.committed) FROM bus_partitions AS p JOIN bus_groups AS g ON g.topic = p.topic"
        " JOIN bus_claims AS c ON c.consumers = g.number AND c.partition = p.partition"
        " WHERE p.topic = ? AND p.partition = ?",
        (topic, partition),
    ).fetchone()
    if row[0] is None:
        return 0
    base = _position(topic, partition, 0)
    first, end = base + row[0], base + min(row[1], row[0] + PRUNED_PER_COMMIT_MAX)
    (kept,) = db.execute(
        "SELECT min(position) FROM bus_messages WHERE position >= ? AND position < ? AND published_at >= ?",
        (first, end, before),
    ).fetchone()
    end = end if kept is None else kept
    db.execute("DELETE FROM bus_messages WHERE position >= ? AND position < ?", (first, end))
    db.execute("UPDATE bus_partitions SET first = ? WHERE topic = ? AND partition = ?", (end - base, topic, partition))
    return int(end - first)


def _position(topic: int, partition: int, offset: int) -> int:
    return (topic * PARTITIONS + partition << _OFFSET_BITS) + offset


def _waking(topic: str) -> str:
    return f"bus/{topic}"
