"""Fills a stopped platform's folder with payments as if it had made them during the last day."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path
from zlib import crc32

import msgspec

from bench.histories.template import TABLES, Numbers, Template
from bench.load import amount_of
from interlock.backends.sqlite.bus import PARTITIONS
from interlock.bootstrap import DATABASE_FILE
from interlock.core.kernel.clock import DAY
from interlock.core.ledger.projection import PeriodSums, sums_partition
from interlock.core.ledger.records import day_of
from interlock.core.ledger.totals import Sums, Totals
from interlock.entrypoints.local import TENANT

CHUNK = 5_000
"""Payments made before their rows are written, table by table."""
FIRST_NUMBER = 5_000_000_000
"""Of their orders: far from those of a run."""
CURRENCY = "EUR"
OURS, THEIRS = "provider_receivable:simulator", "merchant_payable"


def fill(folder: Path, payments: int) -> None:
    """Add so many payments to the one that is there, oldest first, the newest a minute before it.

    They are complete: what the API reads, what consumers made of them, sums, positions. Bus messages are left out, as the
    platform itself would have dropped them.
    """
    with sqlite3.connect(folder / DATABASE_FILE, isolation_level=None, cached_statements=64) as database:
        database.executescript(
            "PRAGMA synchronous = off; PRAGMA cache_size = -1000000; PRAGMA wal_autocheckpoint = 20000"
        )
        template = Template(database)
        newest = template.known.at - 60_000
        step = max(1, DAY // payments)
        statements = {
            table: f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
            for table, columns in TABLES.items()
        }
        sums: dict[tuple[str, int], list[int]] = {}
        events: Counter[int] = Counter()
        for start in range(0, payments, CHUNK):
            rows: dict[str, list[tuple[object, ...]]] = {table: [] for table in TABLES}
            for number in range(start, min(start + CHUNK, payments)):
                at = newest - (payments - 1 - number) * step
                made = template.payment(Numbers(FIRST_NUMBER + number, at, amount_of(number)))
                for table, some in made.items():
                    rows[table] += some
                writer = crc32(str(made["documents_payments"][0][1]).encode()) % PARTITIONS
                events[writer] += len(made["events"])
                # The instant of the journal, as the consumer would date it.
                of_day = sums.setdefault((day_of(at), writer), [0, 0])
                of_day[0] += amount_of(number)
                of_day[1] = at
            database.execute("BEGIN IMMEDIATE")
            for table, statement in statements.items():
                database.executemany(statement, rows[table])
            database.execute("COMMIT")
        database.execute("BEGIN IMMEDIATE")
        _add_sums(database, sums)
        _move_positions(database, events)
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def _add_sums(database: sqlite3.Connection, sums: dict[tuple[str, int], list[int]]) -> None:
    """What the ledger's consumer would have folded: by day and by month, for each writer."""
    periods: dict[str, list[int]] = {}
    for (day, writer), (amount, newest) in sums.items():
        for sort in (f"day/{day}/{writer:04d}", f"month/{day[:7]}/{writer:04d}"):
            known = periods.setdefault(sort, [0, 0])
            known[0] += amount
            known[1] = max(known[1], newest)
    for sort, (amount, newest) in periods.items():
        place = (sums_partition(TENANT), sort)
        row = database.execute("SELECT value FROM items WHERE partition = ? AND sort = ?", place).fetchone()
        before = msgspec.json.decode(row[0], type=PeriodSums) if row else PeriodSums()
        totals = before.totals()
        totals.merge(Totals({(CURRENCY, OURS): Sums(amount, 0), (CURRENCY, THEIRS): Sums(0, amount)}))
        by_currency: dict[str, dict[str, Sums]] = {}
        for currency, code, of_account in totals:
            by_currency.setdefault(currency, {})[code] = of_account
        value = msgspec.json.encode(PeriodSums(max(before.newest, newest), by_currency))
        database.execute(
            "INSERT INTO items (partition, sort, version, value) VALUES (?, ?, 1, ?)"
            " ON CONFLICT (partition, sort) DO UPDATE SET version = version + 1, value = excluded.value",
            (*place, value),
        )


def _move_positions(database: sqlite3.Connection, events: Counter[int]) -> None:
    """The relay has published everything, every group has passed it, and the janitor has dropped it."""
    ((newest,),) = database.execute("SELECT max(seq) FROM events").fetchall()
    database.execute(
        "UPDATE items SET version = version + 1, value = ? WHERE partition = 'relay/events'", (b"%018d" % newest,)
    )
    database.execute("DELETE FROM bus_messages")
    for partition in range(PARTITIONS):
        database.execute(
            "UPDATE bus_partitions SET next = next + ? WHERE partition = ?", (events[partition], partition)
        )
    database.execute("UPDATE bus_partitions SET first = next")
    database.execute(
        "UPDATE bus_claims SET committed = (SELECT next FROM bus_partitions AS p WHERE p.partition = bus_claims.partition)"
    )
