"""A data set of a million payments, made of a sample day: `python -m bench.desk.million --data DIR [--payments N] [--days D]`.

The platform makes its sample day in DIR. Each of those payments is then copied with ids, times and references of its own, over the
days up to the latest of them: the payment, its events, journals and read models, as they stand in the file. Left out, and so not to
be measured on it: balances, webhooks, providers' references, and the providers' own books.
"""

from __future__ import annotations

import argparse
import random
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zlib import crc32

from interlock.core.kernel.clock import DAY, MINUTE, parse_rfc3339, rfc3339, utc_day
from interlock.core.kernel.ids import format_id, instant_of
from interlock.core.ledger.records import SHARDS

TABLES = {
    "items": ("partition", "sort", "version", "value"),
    "events": ("aggregate", "version", "body"),
    **{
        f"documents_{name}": ("tenant", "id", "version", "fields", "body")
        for name in (
            "payments",
            "events",
            "journals",
            "refunds",
            "disputes",
            "desk_payments",
            "desk_attempts",
            "desk_pointers",
        )
    },
}
"""What a payment is copied from, and the columns that are."""
STEP = 5 * MINUTE
"""Times move by whole slots, so that what is counted by slots moves with them."""
BATCH = 2_000
PAYMENT = re.compile(r"pay_[0-9a-z]{26}")
CHANGING = re.compile(
    r"(?P<id>\b(?:[a-z]{2,3})_[0-9a-hjkmnp-tv-z]{26}\b)|(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)"
    r"|(?P<shard>/jrn/\d{4}-\d\d-\d\d/[0-9a-f])|(?P<slot>\"slot\":\d+)|(?P<order>\border-\d+\b)"
    r"|(?P<day>\b\d{4}-\d\d-\d\d\b)|(?P<millis>\b1[78]\d{11}\b)"
)
BETWEEN = "\x1e"


class Template:
    """One real payment: the text of all its rows, cut where a copy differs."""

    def __init__(self, rows: list[tuple[str, tuple[object, ...]]]) -> None:
        self.shapes = [(table, [type(value) for value in values]) for table, values in rows]
        whole = BETWEEN.join(_text(value) for _, values in rows for value in values)
        self.payment = next(iter(PAYMENT.findall(whole)))
        self.parts: list[str] = []
        self.holes: list[tuple[str, str]] = []
        at = 0
        for found in CHANGING.finditer(whole):
            self.parts.append(whole[at : found.start()])
            self.holes.append((found.lastgroup or "", found[0]))
            at = found.end()
        self.parts.append(whole[at:])

    def copy(self, back: int, number: int, unique: Callable[[int], int]) -> Iterator[tuple[str, tuple[object, ...]]]:
        """Rows of another payment, `back` milliseconds earlier; below zero later."""
        known: dict[str, str] = {}

        def new_id(old: str) -> str:
            if old not in known:
                known[old] = format_id(old.partition("_")[0], max(0, instant_of(old) - back), unique(80))
            return known[old]

        payment = new_id(self.payment)
        shard = f"{crc32(payment.encode()) % SHARDS:x}"
        pieces = [self.parts[0]]
        for (kind, old), part in zip(self.holes, self.parts[1:], strict=True):
            if kind == "id":
                new = new_id(old)
            elif kind == "time":
                new = known.get(old) or known.setdefault(old, rfc3339(parse_rfc3339(old) - back))
            elif kind == "millis":
                new = str(int(old) - back)
            elif kind == "slot":
                new = f'"slot":{int(old[7:]) - back // STEP}'
            elif kind == "order":
                new = f"order-{10_000 + number}"
            elif kind == "shard":
                new = f"/jrn/{_day(old[5:15], back)}/{shard}"
            else:
                new = _day(old, back)
            pieces += (new, part)
        values = iter("".join(pieces).split(BETWEEN))
        for table, kinds in self.shapes:
            yield table, tuple(_value(kind, next(values)) for kind in kinds)


def templates(database: sqlite3.Connection) -> list[Template]:
    merchants = "SELECT id, tenant FROM documents_payments WHERE tenant LIKE 'mer_%'"
    found: dict[str, list[tuple[str, tuple[object, ...]]]] = {one: [] for one, _ in database.execute(merchants)}
    for table, columns in TABLES.items():
        for row in database.execute(f"SELECT {', '.join(columns)} FROM {table}"):
            about = PAYMENT.search(BETWEEN.join(map(_text, row)))
            if about is not None and about[0] in found:
                found[about[0]].append((table, row))
    return [Template(rows) for rows in found.values() if rows]


def fill(path: Path, payments: int, days: int, seed: int) -> int:
    """Copy until there are so many; how many were made."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("PRAGMA synchronous = OFF")
    database.execute("PRAGMA cache_size = -400000")
    indexes = database.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND name LIKE 'documents_%_by_%' AND sql IS NOT NULL"
    ).fetchall()
    chance, known = random.Random(seed), templates(database)
    wanted = max(0, payments - len(known))
    latest_at = max(instant_of(one.payment) for one in known)
    for name, _ in indexes:
        database.execute(f"DROP INDEX {name}")
    for start in range(0, wanted, BATCH):
        rows: dict[str, list[tuple[object, ...]]] = {table: [] for table in TABLES}
        for number in range(start, min(start + BATCH, wanted)):
            template = chance.choice(known)
            made_at = latest_at - chance.randrange(days * DAY)
            back = (instant_of(template.payment) - made_at) // STEP * STEP
            for table, values in template.copy(back, number, chance.getrandbits):
                rows[table].append(values)
        database.execute("BEGIN")
        for table, columns in TABLES.items():
            marks = ", ".join("?" * len(columns))
            database.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows[table])
        database.execute("COMMIT")
    for _, sql in indexes:
        database.execute(sql)
    # What is copied has been published and followed: nobody is to go through it again.
    (latest,) = database.execute("SELECT max(seq) FROM events").fetchone()
    database.execute("UPDATE items SET value = ? WHERE partition = 'relay/events'", (str(latest).encode(),))
    database.execute("ANALYZE")
    database.execute("PRAGMA journal_mode = WAL")
    database.close()
    return wanted


def sample_day(folder: Path) -> None:
    """Have the platform make its day, and wait until its rows are there."""
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "interlock.entrypoints.cli", "up", "--data", str(folder), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while not ready.exists() or not _followed(folder / "interlock.db"):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the platform does not come up")
            time.sleep(0.5)
    finally:
        process.terminate()
        process.wait(30)


def _followed(path: Path) -> bool:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        events = database.execute(
            "SELECT count(DISTINCT aggregate) FROM events WHERE aggregate LIKE 'pay_%'"
        ).fetchone()
        rows = database.execute("SELECT count(*) FROM documents_desk_payments").fetchone()
    return bool(events[0]) and events == rows


def _day(day: str, back: int) -> str:
    """A date, moved by whole days: within one payment, days stay as far apart as they were."""
    moved = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(days=int(back / DAY))
    return utc_day(round(moved.timestamp() * 1000))


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _value(kind: type, text: str) -> object:
    return text.encode() if kind is bytes else int(text) if kind is int else text


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--payments", type=int, default=1_000_000)
    options.add_argument("--days", type=int, default=30)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    chosen.data.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    sample_day(chosen.data)
    made = fill(chosen.data / "interlock.db", chosen.payments, chosen.days, chosen.seed)
    size = (chosen.data / "interlock.db").stat().st_size
    print(f"{made} payments more in {time.monotonic() - began:.0f} s, {size / 1e9:.1f} GB in {chosen.data}")


if __name__ == "__main__":
    main()
