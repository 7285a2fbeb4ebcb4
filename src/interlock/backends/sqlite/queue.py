"""Queues in tables. Several processes may send to and receive from one file.

`ready_at` is the instant a message may be received next: the end of its delay or of its lease. A lease that ends needs
nobody to end it: the message is simply ready again.
"""

# Statements are put together from constants and checked names; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection

from interlock.backends.sqlite.database import Database
from interlock.core.kernel.clock import Clock, Millis
from interlock.core.kernel.errors import Invalid
from interlock.core.kernel.ids import Ids
from interlock.core.kernel.queue import DELAY_MAX_S, DeadLetter, QueueDepth, QueueMessage, QueueSpec

POLL_S = 0.25
"""How long a receiver that waits may overlook what another process sent."""

_WAITING, _LEASED, _LEASED_LAST = 0, 1, 2
"""States. After the last lease comes no other: the message is a dead letter once it has ended."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS queue_messages (
    seq INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    ready_at INTEGER NOT NULL,
    state INTEGER NOT NULL,
    lease TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    sent_at INTEGER NOT NULL,
    id TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS queue_messages_ready ON queue_messages (queue, ready_at, state);
CREATE TABLE IF NOT EXISTS queue_dead_letters (
    queue TEXT NOT NULL,
    id TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    sent_at INTEGER NOT NULL,
    died_at INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS queue_dead_letters_id ON queue_dead_letters (queue, id);
"""

_INSERT = (
    "INSERT INTO queue_messages (queue, ready_at, state, lease, attempts, sent_at, id, body)"
    f" VALUES (?, ?, {_WAITING}, '', 0, ?, ?, ?)"
)
_NEXT_READY_AT = "SELECT min(ready_at) FROM queue_messages WHERE queue = ?"
_READY = (
    "SELECT seq, state, id, body, attempts, sent_at, ready_at FROM queue_messages"
    " WHERE queue = ? AND ready_at <= ? ORDER BY ready_at LIMIT ?"
)
_LEASE = "UPDATE queue_messages SET ready_at = ?, state = ?, lease = ?, attempts = ? WHERE seq = ?"
_HELD = (
    f" WHERE seq = ? AND queue = ? AND lease = ? AND (state = {_LEASED} OR (state = {_LEASED_LAST} AND ready_at > ?))"
)
_END_LEASES = f"UPDATE queue_messages SET ready_at = ? WHERE queue = ? AND ready_at > ? AND state <> {_WAITING}"
_RELEASE = f"UPDATE queue_messages SET ready_at = ?, state = {_WAITING}, lease = ''{_HELD}"
_COPY_DEAD = "INSERT INTO queue_dead_letters (queue, id, attempts, sent_at, died_at, body)"
_BURIED = f"WHERE queue = ? AND ready_at <= ? AND state = {_LEASED_LAST}"
_DEAD = """
SELECT id, body, attempts, sent_at, died_at FROM queue_dead_letters WHERE queue = ?1 AND id > ?2
UNION ALL
SELECT id, body, attempts, sent_at, ready_at FROM queue_messages
WHERE queue = ?1 AND id > ?2 AND ready_at <= ?3 AND state = 2
ORDER BY 1 LIMIT ?4
"""
_DEPTH = """
SELECT count(*) FILTER (WHERE ready_at <= ?1 AND state <> 2),
       count(*) FILTER (WHERE ready_at > ?1 AND state = 0),
       count(*) FILTER (WHERE ready_at > ?1 AND state <> 0),
       count(*) FILTER (WHERE ready_at <= ?1 AND state = 2),
       min(ready_at) FILTER (WHERE ready_at <= ?1 AND state <> 2)
FROM queue_messages WHERE queue = ?2
"""


class SqliteQueue:
    def __init__(self, database: Database, specs: Sequence[QueueSpec], *, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._specs = {spec.name: spec for spec in specs}
        self._clock = clock
        self._ids = ids

    async def send(self, queue: str, body: bytes, *, delay_s: float = 0.0) -> str:
        name, now = self._specs[queue].name, self._clock.now()
        message_id = self._ids.new("msg")
        row = (name, now + _delay_ms(delay_s), now, message_id, body)
        await self._database.write(lambda db: db.execute(_INSERT, row), wakes=_topic(name))
        return message_id

    async def receive(self, queue: str, *, limit: int = 10, wait_s: float = 0.0) -> list[QueueMessage]:
        spec = self._specs[queue]
        deadline = self._clock.monotonic() + wait_s
        while True:
            # Looking first costs no commit when there is nothing.
            (ready_at,) = self._database.read(lambda db: db.execute(_NEXT_READY_AT, (queue,)).fetchone())
            now = self._clock.now()
            if ready_at is not None and ready_at <= now:
                if received := await self._lease(spec, limit):
                    return received
                # Somebody else was faster: what they left decides, and is looked at without waiting.
                continue
            left_s = deadline - self._clock.monotonic()
            if left_s <= 0:
                return []
            if ready_at is not None:
                left_s = min(left_s, (ready_at - now) / 1_000)
            await self._database.changed(_topic(queue), timeout_s=min(left_s, POLL_S))

    async def ack(self, queue: str, receipt: str) -> bool:
        name = self._specs[queue].name
        held = _held(receipt, name, self._clock.now())
        return await self._database.write(
            lambda db: db.execute(f"DELETE FROM queue_messages{_HELD}", held).rowcount == 1
        )

    async def release(self, queue: str, receipt: str, *, delay_s: float = 0.0) -> bool:
        name, now = self._specs[queue].name, self._clock.now()
        ready_at = now + _delay_ms(delay_s)
        held = _held(receipt, name, now)

        def job(db: Connection) -> bool:
            last = f"SELECT queue, id, attempts, sent_at, ?, body FROM queue_messages{_HELD} AND state = {_LEASED_LAST}"
            if db.execute(f"{_COPY_DEAD} {last}", (now, *held)).rowcount == 1:
                return db.execute(f"DELETE FROM queue_messages{_HELD}", held).rowcount == 1
            return db.execute(_RELEASE, (ready_at, *held)).rowcount == 1

        return await self._database.write(job, wakes=_topic(name))

    async def depth(self, queue: str) -> QueueDepth:
        name, now = self._specs[queue].name, self._clock.now()

        def job(db: Connection) -> QueueDepth:
            ready, delayed, leased, dying, oldest = db.execute(_DEPTH, (now, name)).fetchone()
            (dead,) = db.execute("SELECT count(*) FROM queue_dead_letters WHERE queue = ?", (name,)).fetchone()
            return QueueDepth(ready, delayed, leased, dead + dying, oldest)

        return self._database.read(job)

    async def dead_letters(self, queue: str, *, limit: int = 100, after: str = "") -> list[DeadLetter]:
        values = (self._specs[queue].name, after, self._clock.now(), limit)
        return [DeadLetter(*row) for row in self._database.read(lambda db: db.execute(_DEAD, values).fetchall())]

    async def redrive(self, queue: str, ids: Sequence[str]) -> int:
        name, now = self._specs[queue].name, self._clock.now()

        def job(db: Connection) -> int:
            _bury(db, name, now)
            redriven = 0
            for message_id in ids:
                row = db.execute(
                    "DELETE FROM queue_dead_letters WHERE queue = ? AND id = ? RETURNING sent_at, body",
                    (name, message_id),
                ).fetchall()
                for sent_at, body in row:
                    db.execute(_INSERT, (name, now, sent_at, message_id, body))
                    redriven += 1
            return redriven

        return await self._database.write(job, wakes=_topic(name))

    async def end_leases(self, queue: str) -> int:
        values = (now := self._clock.now(), self._specs[queue].name, now)
        return await self._database.write(lambda db: db.execute(_END_LEASES, values).rowcount, wakes=_topic(queue))

    async def _lease(self, spec: QueueSpec, limit: int) -> list[QueueMessage]:
        now = self._clock.now()
        ends_at = now + round(spec.lease_s * 1_000)
        lease = self._ids.new("lse")

        def job(db: Connection) -> list[QueueMessage]:
            ready = db.execute(_READY, (spec.name, now, limit)).fetchall()
            if any(row[1] == _LEASED_LAST for row in ready):
                _bury(db, spec.name, now)
                ready = db.execute(_READY, (spec.name, now, limit)).fetchall()
            db.executemany(
                _LEASE,
                [
                    (ends_at, _LEASED if attempts + 1 < spec.attempts_max else _LEASED_LAST, lease, attempts + 1, seq)
                    for seq, _, _, _, attempts, _, _ in ready
                ],
            )
            return [
                QueueMessage(message_id, body, attempts + 1, f"{seq}.{lease}", sent_at)
                for seq, _, message_id, body, attempts, sent_at, _ in ready
            ]

        return await self._database.write(job)


def _bury(db: Connection, queue: str, now: Millis) -> None:
    """Move messages whose last lease has ended to the dead letters."""
    dying = f"SELECT queue, id, attempts, sent_at, ready_at, body FROM queue_messages {_BURIED}"
    if db.execute(f"{_COPY_DEAD} {dying}", (queue, now)).rowcount > 0:
        db.execute(f"DELETE FROM queue_messages {_BURIED}", (queue, now))


def _held(receipt: str, queue: str, now: Millis) -> tuple[int, str, str, Millis]:
    """Values for _HELD. A receipt is the row's number and the token of the lease: both must fit."""
    seq, _, lease = receipt.partition(".")
    if not (seq.isascii() and seq.isdigit() and len(seq) < 19 and lease):
        return -1, queue, "", now
    return int(seq), queue, lease, now


def _topic(queue: str) -> str:
    return f"queue/{queue}"


def _delay_ms(delay_s: float) -> Millis:
    if not 0 <= delay_s <= DELAY_MAX_S:
        raise Invalid(f"a delay is 0 to {DELAY_MAX_S} seconds")
    return -int(-delay_s * 1_000 // 1)
