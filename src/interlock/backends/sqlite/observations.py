"""Log lines and spans of payments in a file of their own, written by a thread of each process.

It is not the payments' store: nothing waits for it, it is not synchronised, and what of it is lost or damaged is done without.
One row is what one process said of one payment within a moment; the oldest rows go when they are too old or take too much room.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from interlock.backends.sqlite.aside import AsideReader
from interlock.core.desk.explain.model import Observed, ObservedLine, ObservedSpan
from interlock.core.kernel.clock import DAY, Clock, Millis
from interlock.core.kernel.errors import StoreUnavailable

WAITING_MAX = 20_000
"""Lines and spans that wait to be written; beyond that they are lost."""
GATHER_S = 0.25
BATCH = 500
"""A thread that encodes more at once would hold up the event loop."""
OLDEST_AT_ONCE = 500
LOOKS_APART_S = 5.0
"""Between two looks for what may go."""
CLOSE_S = 2.0
NOT_KEPT = "Log lines are not kept here: observations_days is 0."
_BUSY_S = 2.0
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
PRAGMA journal_size_limit = 4194304;
CREATE TABLE IF NOT EXISTS observed (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, payment TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS observed_payment ON observed (payment);
"""
_DROP = """
DELETE FROM observed WHERE id IN (SELECT id FROM (SELECT id, at FROM observed ORDER BY id LIMIT ?) WHERE at <= ? OR ?)
"""


class _Row(msgspec.Struct, array_like=True):
    lines: list[ObservedLine]
    spans: list[ObservedSpan]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Row).decode


class SqliteObservations:
    """Observations and their Observer. Several processes may have the file open."""

    def __init__(self, path: Path, *, clock: Clock, days: int, bytes_max: int, lost: Callable[[int], None]) -> None:
        """`lost` is told, from any thread, how much could not be kept. Nothing is opened before something is noted."""
        self._path = path
        self._clock = clock
        self._kept_ms = days * DAY
        self._bytes_max = bytes_max
        self._lost = lost
        self._waiting: deque[tuple[str, ObservedLine | ObservedSpan]] = deque()
        self._some = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._writing = threading.Lock()
        """Held by whoever uses what stands below."""
        self._connection: sqlite3.Connection | None = None
        self._file = 0
        self._looked_at: float | None = None

    # -- what is said -------------------------------------------------------------------------------------------

    def note_line(self, payment_id: str, line: ObservedLine) -> None:
        self._note(payment_id, line)

    def note_span(self, payment_id: str, span: ObservedSpan) -> None:
        self._note(payment_id, span)

    def _note(self, payment_id: str, one: ObservedLine | ObservedSpan) -> None:
        if len(self._waiting) >= WAITING_MAX:
            self._lost(1)
            return
        self._waiting.append((payment_id, one))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="observations", daemon=True)
            self._thread.start()
        if not self._some.is_set():
            self._some.set()

    async def flush(self) -> None:
        """What was noted so far is in the file, or lost."""
        await asyncio.to_thread(self._write_out)

    async def close(self) -> None:
        """Write what waits, unless that takes too long."""
        self._stopping.set()
        self._some.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, CLOSE_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._some.wait()
            self._stopping.wait(GATHER_S)
            self._some.clear()
            self._write_out()
        with self._writing:
            self._let_go()

    def _write_out(self) -> None:
        with self._writing:
            while batch := [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]:
                try:
                    self._write(batch)
                except Exception as error:  # whatever is wrong with these, the thread is there for the next ones
                    self._lost(len(batch))
                    self._let_go()
                    if getattr(error, "sqlite_errorcode", 0) in _DAMAGED:
                        self._begin_anew()

    def _write(self, batch: list[tuple[str, ObservedLine | ObservedSpan]]) -> None:
        connection = self._opened()
        now = self._clock.now()
        rows: dict[str, _Row] = {}
        for payment_id, one in batch:
            row = rows.get(payment_id)
            if row is None:
                row = rows[payment_id] = _Row([], [])
            if type(one) is ObservedLine:
                row.lines.append(one)
            else:
                assert type(one) is ObservedSpan
                row.spans.append(one)
        with _transaction(connection):
            connection.executemany(
                "INSERT INTO observed (at, payment, body) VALUES (?, ?, ?)",
                [(now, payment_id, _encode(row)) for payment_id, row in rows.items()],
            )
        monotonic = self._clock.monotonic()
        if self._looked_at is None or monotonic - self._looked_at >= LOOKS_APART_S:
            self._looked_at = monotonic
            self._drop_old(connection, now)

    def _drop_old(self, connection: sqlite3.Connection, now: Millis) -> None:
        """The oldest rows, as long as they are too old or all of them are too large."""
        while True:
            with _transaction(connection):
                gone = connection.execute(
                    _DROP,
                    (OLDEST_AT_ONCE, now - self._kept_ms, self._size(connection) > self._bytes_max),
                ).rowcount
            if gone < OLDEST_AT_ONCE:
                return

    def _size(self, connection: sqlite3.Connection) -> int:
        """Of what is there; pages that became free are used again, and the file does not shrink."""
        (pages,), (free,), (size,) = (
            connection.execute(f"PRAGMA {one}").fetchone() for one in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    # -- the file -----------------------------------------------------------------------------------------------

    def _opened(self) -> sqlite3.Connection:
        """The connection that writes; another one if the file is not the one that was opened."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                if self._path.stat().st_ino == self._file:
                    return self._connection
            self._let_go()
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        self._connection = connection
        connection.executescript(_SCHEMA)
        self._file = self._path.stat().st_ino
        return connection

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _begin_anew(self) -> None:
        """A damaged file goes; other processes notice and open the new one."""
        for name in (self._path.name, f"{self._path.name}-wal", f"{self._path.name}-shm"):
            with contextlib.suppress(OSError):
                self._path.with_name(name).unlink(missing_ok=True)

    # -- what was said ------------------------------------------------------------------------------------------

    async def of_payment(self, payment_id: str, *, since: Millis, until: Millis, limit: int) -> Observed:
        def read(connection: sqlite3.Connection) -> list[bytes]:
            # Each row has one line or span at least: so many hold the first `limit` of each and one beyond.
            sql = "SELECT body FROM observed WHERE payment = ? ORDER BY id LIMIT ?"
            return [body for (body,) in connection.execute(sql, (payment_id, 2 * limit + 2))]

        if not self._kept_ms:
            return Observed(note=NOT_KEPT)
        if not self._path.exists():
            return Observed()
        reader = AsideReader(self._path)  # of this read alone: the file may be another one by the next
        try:
            rows = [_decode(body) for body in await reader.read(read)]
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise StoreUnavailable("log lines and spans cannot be read") from error
        finally:
            reader.close()
        lines = sorted(
            (line for row in rows for line in row.lines if since <= line.at < until), key=lambda line: line.at
        )
        spans = sorted(
            (span for row in rows for span in row.spans if since * 1_000 <= span.start_us < until * 1_000),
            key=lambda span: span.start_us,
        )
        more = len(lines) > limit or len(spans) > limit or len(rows) > 2 * limit + 1
        return Observed(tuple(lines[:limit]), tuple(spans[:limit]), more)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # what went wrong may have undone it already
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
