"""What one durable commit costs, in groups of several sizes, counted by the rows that are in the file afterwards.

    python bench/store_commit.py [commits] [folder]

A commit here is three writes (one that changes an item standing in two indexes, two new ones) and one event: what a
payment's second commit looks like. CPU is this process's, user and system; a group is as many commits as wait at once.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from interlock.backends.sqlite.database import Database
from interlock.backends.sqlite.store import SCHEMA, SqliteStore
from interlock.core.kernel.events import Event
from interlock.core.kernel.ids import format_id
from interlock.core.kernel.store import Key, Put

PAYMENT = b"p" * 1_500
JOURNAL = b"j" * 400
RECORD = b"i" * 300
EVENT = msgspec.Raw(b'{"payment":"%s"}' % (b"e" * 1_500))
FACTS = msgspec.Raw(b'{"journal":"%s"}' % (b"f" * 400))


def payment_id(n: int) -> str:
    return format_id("pay", 1_800_000_000_000 + n, n * 0x9E3779B97F4A7C15)


async def first(store: SqliteStore, n: int) -> None:
    pay = payment_id(n)
    indexes = {"due": Key(f"shard {n % 8}", f"18000{n:08d}"), "payments": Key("ten_x", pay)}
    await store.commit([Put(Key(f"ten_x/pay/{pay}", "state"), PAYMENT, indexes=indexes)])


async def second(store: SqliteStore, n: int) -> None:
    pay = payment_id(n)
    event = Event(f"evt_{pay[4:]}", "payment.succeeded", "ten_x", pay, 1, 1_800_000_000_000, EVENT, FACTS)
    await store.commit(
        [
            Put(Key(f"ten_x/pay/{pay}", "state"), PAYMENT, expected=1, indexes={"payments": Key("ten_x", pay)}),
            Put(Key(f"ten_x/pay/{pay}", "journal/1"), JOURNAL, indexes={"journals": Key("ten_x", pay)}),
            Put(Key(f"ten_x/idem/POST /v1/payments/{n:026d}", "record"), RECORD, expires_at=1_800_000_000_000 + n),
        ],
        [event],
    )


async def measure(folder: str, commits: int, group: int) -> None:
    database = Database.open(Path(folder) / f"bench {group}.db", schemas=[SCHEMA])
    store = SqliteStore(database)
    for start in range(0, commits, 64):
        await asyncio.gather(*(first(store, n) for n in range(start, min(start + 64, commits))))
    latencies: list[float] = []
    cpu, wall = time.process_time(), time.perf_counter()
    for start in range(0, commits, group):
        began = time.perf_counter()
        await asyncio.gather(*(second(store, n) for n in range(start, min(start + group, commits))))
        latencies.append(time.perf_counter() - began)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    rows = database.read(
        lambda connection: connection.execute(
            "SELECT (SELECT count(*) FROM items), (SELECT count(*) FROM events), (SELECT count(*) FROM index_entries)"
        ).fetchone()
    )
    assert rows == (commits * 3, commits, commits * 2), rows
    key = Key(f"ten_x/pay/{payment_id(commits // 2)}", "state")
    reading = time.process_time()
    for _ in range(2_000):
        await store.get(key)
    reading = time.process_time() - reading
    await database.close()
    latencies.sort()
    print(
        f"groups of {group:3}: {cpu / commits * 1e6:6.1f} us CPU and {wall / commits * 1e6:6.1f} us elapsed a commit, "
        f"group p50 {latencies[len(latencies) // 2] * 1e3:5.2f} ms p99 {latencies[int(len(latencies) * 0.99)] * 1e3:5.2f} ms, "
        f"get {reading / 2_000 * 1e6:4.1f} us; rows {rows}"
    )


def main() -> None:
    commits = int(sys.argv[1]) if len(sys.argv) > 1 else 6_400
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
        for group in (1, 8, 32, 64, 128):
            asyncio.run(measure(folder, commits, group))


if __name__ == "__main__":
    main()
