"""One SQLite file: written by groups of jobs on the event loop, read at once.

A group is all jobs that wait when the loop comes round. It runs in one transaction and is answered after its COMMIT
returned, so one `fsync` pays for all of them. What happens when something goes wrong:

* A job raises: its effects vanish, the others commit. If it had changed nothing there is nothing to undo; else the group
  is rolled back and runs again with a savepoint around each job. Savepoints cost about a tenth, so they come second.
* The disk is full: SQLite may have dropped the whole transaction, so each job runs again in a transaction of its own;
  the small ones may still fit.
* COMMIT fails: see `_failed_commit`.

Several processes may write one file. BEGIN IMMEDIATE takes the file's only write lock before any job looks at anything,
so what a job sees cannot change before its COMMIT. They take turns (`turnstile`), and one that was opened as `shared`
notices what others commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from interlock.backends.sqlite.aside import AsideReader
from interlock.backends.sqlite.opening import open_file
from interlock.backends.sqlite.turnstile import Turnstile
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.errors import InterlockError, OutcomeUnknown, StoreUnavailable
from interlock.core.kernel.telemetry import Telemetry

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]

GROUP_JOBS_MAX = 64
BUSY_MAX_S = 1.0
"""Another process may hold the write lock for so long before callers are turned away: longer than a slow disk takes."""
BUSY_PAUSE_S = 0.001
NOTICE_S = 0.01
"""How long a commit of another process goes unnoticed in a file opened as shared."""

_UNAVAILABLE = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    )
)
"""Primary result codes that say something about the file or the disk; all others are mistakes in a job."""

_Waiting = tuple[Job[Any], "asyncio.Future[Any]", str]
_Outcome = tuple[Any, Exception | None]


class Database:
    def __init__(
        self,
        path: Path,
        writer: sqlite3.Connection,
        reader: sqlite3.Connection,
        turnstile: Turnstile,
        clock: Clock | None,
        telemetry: Telemetry | None,
        shared: bool,
    ) -> None:
        """Use `Database.open`."""
        self._aside = AsideReader(path)
        self._writer = writer
        self._reader = reader
        self._turnstile = turnstile
        self._shared = shared
        self._sleep = asyncio.sleep if clock is None else clock.sleep
        self._telemetry = telemetry
        self._waiting: deque[_Waiting] = deque()
        self._flush_due = False
        self._busy_since: float | None = None
        self._sealed = True
        self._closed = False
        self._listeners: dict[str, set[asyncio.Future[None]]] = {}
        self._looking: asyncio.TimerHandle | None = None
        self._noticed = _data_version(writer)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        schemas: Sequence[str],
        clock: Clock | None = None,
        telemetry: Telemetry | None = None,
        shared: bool = False,
    ) -> Self:
        """Open or create the file, readable by its owner only. Each of `schemas` is DDL that may be run again.

        `shared`: another process commits what somebody here waits for in `changed`, and is noticed within NOTICE_S.

        Raises StoreUnavailable when the file cannot be used: no permission, not a database, another program's, written
        by a newer release.
        """
        writer, reader, turnstile = open_file(Path(path), schemas)
        return cls(Path(path), writer, reader, turnstile, clock, telemetry, shared)

    async def write(self, job: Job[T], *, wakes: str = "") -> T:
        """Run `job` inside a transaction and return its value once that is durable.

        The job must be repeatable (it may run again after a rollback), must neither begin nor end transactions nor change
        the schema, and takes effect only if it returns: what it raises is raised here and its changes are undone.
        A cancelled caller's job has run and committed, or does not run. `wakes` names a topic for `changed`.

        Raises StoreUnavailable if nothing was written, OutcomeUnknown if that cannot be told.
        """
        if self._closed:
            raise StoreUnavailable("the database is closed")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._waiting.append((job, answer, wakes))
        if not self._flush_due:
            self._flush_due = True
            loop.call_soon(self._flush)
        return await answer

    def read(self, job: Job[T]) -> T:
        """Run `job` now on a connection that sees the latest commit and cannot write.

        Every statement sees the latest commit of any process. Fetch all rows: a cursor left half-read holds back time
        for later reads.
        """
        if self._closed or not (self._sealed or self._seal()):
            raise StoreUnavailable("the database is closed" if self._closed else "the last commit failed half-way")
        try:
            return job(self._reader)
        except sqlite3.Error as error:
            raise self._translated(error) from error

    async def read_aside(self, job: Job[T]) -> T:
        """As `read`, for what takes long: the loop goes on meanwhile."""
        if self._closed or not (self._sealed or self._seal()):
            raise StoreUnavailable("the database is closed" if self._closed else "the last commit failed half-way")
        try:
            return await self._aside.read(job)
        except sqlite3.Error as error:
            raise self._translated(error) from error

    async def changed(self, topic: str, *, timeout_s: float) -> None:
        """Return when a job that wakes `topic` has committed in this process, at the latest after `timeout_s`.

        Registers before its first await, so what the caller read just before calling cannot be overtaken unseen.
        Any commit of another process wakes, too, if the file was opened as shared; otherwise it goes unnoticed.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        listeners = self._listeners.setdefault(topic, set())
        listeners.add(waiter)
        self._look_out()
        timer = asyncio.ensure_future(self._sleep(timeout_s))
        timer.add_done_callback(lambda _: None if waiter.done() else waiter.set_result(None))
        try:
            await waiter
        finally:
            timer.cancel()
            listeners.discard(waiter)

    async def close(self) -> None:
        """Take no more jobs, finish what waits, then close the file. Safe to repeat."""
        self._closed = True
        if self._waiting:
            await asyncio.wait([answer for _, answer, _ in self._waiting])
        for topic in list(self._listeners):
            self._wake(topic)
        if self._looking is not None:
            self._looking.cancel()
        self._aside.close()
        self._reader.close()
        self._writer.close()
        self._turnstile.close()

    # -- groups -----------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Run one group; come back next turn if more is waiting."""
        self._flush_due = False
        group: list[_Waiting] = []
        while self._waiting and len(group) < GROUP_JOBS_MAX:
            waiting = self._waiting.popleft()
            if not waiting[1].cancelled():
                group.append(waiting)
        if not group:
            return
        try:
            self._run(group)
        except BaseException:
            self._rollback()
            _answer_all(group, OutcomeUnknown("the commit was interrupted"))
            raise
        finally:
            if self._waiting and not self._flush_due:
                self._flush_due = True
                asyncio.get_running_loop().call_soon(self._flush)

    def _run(self, group: list[_Waiting], *, guarded: bool = False) -> None:
        writer = self._writer
        if not (self._sealed or self._seal()):
            _answer_all(group, StoreUnavailable("the last commit failed half-way"))
            return
        try:
            if not self._turnstile.enter():
                raise _not_our_turn()
            writer.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            self._failed_begin(group, error)
            return
        self._turnstile.leave()
        self._busy_since = None
        outcomes: list[_Outcome] = []
        for job, _, _ in group:
            if guarded:
                writer.execute("SAVEPOINT job")
            changes = writer.total_changes
            try:
                outcomes.append((job(writer), None))
            except Exception as error:  # a job's own error goes to its caller; the others of the group go on
                if _code(error) in _UNAVAILABLE or not writer.in_transaction:
                    self._rollback()
                    self._failed_group(group, self._translated(error))
                    return
                if guarded:
                    writer.execute("ROLLBACK TO job")
                elif writer.total_changes != changes:
                    self._rollback()
                    self._run(group, guarded=True)
                    return
                outcomes.append((None, error))
            if guarded:
                writer.execute("RELEASE job")
        try:
            writer.execute("COMMIT")
        except sqlite3.Error as error:
            self._failed_group(group, self._failed_commit(error))
            return
        # Refusals too are told only now: they may rest on what an earlier job of this group wrote.
        topics: set[str] = set()
        for (_, answer, wakes), (value, refusal) in zip(group, outcomes, strict=True):
            if refusal is None:
                topics.add(wakes)
                if not answer.done():
                    answer.set_result(value)
            elif not answer.done():
                answer.set_exception(refusal)
        for topic in topics:
            self._wake(topic)

    def _failed_begin(self, group: list[_Waiting], error: sqlite3.Error) -> None:
        """Another process writes: come back shortly, without blocking the loop. Anything else, or too long: give up."""
        loop = asyncio.get_running_loop()
        if self._busy_since is None:
            self._busy_since = loop.time()
        if _code(error) == sqlite3.SQLITE_BUSY and loop.time() - self._busy_since < BUSY_MAX_S:
            self._waiting.extendleft(reversed(group))
            self._flush_due = True
            loop.call_later(BUSY_PAUSE_S, self._flush)
            return
        self._turnstile.leave()
        self._busy_since = None
        # All who wait, not only this group: the next ones would only wait as long again.
        group.extend(self._waiting)
        self._waiting.clear()
        _answer_all(group, self._unavailable(error))

    def _failed_group(self, group: list[_Waiting], failure: Exception) -> None:
        """Nothing of `group` was written. If it may be one job's fault try each alone, else tell everybody."""
        cause = failure.__cause__ if isinstance(failure, InterlockError) else None
        one_job_may_be_to_blame = cause is None or _code(cause) == sqlite3.SQLITE_FULL
        if one_job_may_be_to_blame and len(group) > 1:
            for waiting in group:
                self._run([waiting])
        else:
            _answer_all(group, failure)

    def _failed_commit(self, error: sqlite3.Error) -> Exception:
        """What a failed COMMIT means.

        A busy or full file never got the transaction's last frame, so nothing was committed. After any other error that
        frame may stand in the log though SQLite has rolled back: if the machine stopped now, recovery would find it and
        the transaction would rise again. A later commit overwrites it, so one is made at once (`_seal`). If even that
        fails nobody can tell, and neither reads nor writes are answered until it succeeds.
        """
        self._rollback()
        if _code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL):
            self._sealed = False
            if not self._seal():
                if self._telemetry is not None:
                    self._telemetry.error("store.commit_unknown", reason=getattr(error, "sqlite_errorname", ""))
                unknown = OutcomeUnknown("the file could not be synchronised")
                unknown.__cause__ = error
                return unknown
        return self._translated(error)

    def _seal(self) -> bool:
        """Overwrite the remains of a failed COMMIT with a commit of our own; whether that succeeded."""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.execute("INSERT INTO file_seal VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET seals = seals + 1")
            self._writer.execute("COMMIT")
        except sqlite3.Error:
            self._rollback()
        else:
            self._sealed = True
        return self._sealed

    def _rollback(self) -> None:
        # SQLite may have rolled back by itself, and a disk that failed may fail here too: what counts is that it ended.
        with contextlib.suppress(sqlite3.Error):
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")

    def _look_out(self) -> None:
        """Look for commits of other processes as long as anybody waits for one."""
        if self._shared and self._looking is None and self._listeners and not self._closed:
            self._looking = asyncio.get_running_loop().call_later(NOTICE_S, self._notice)

    def _notice(self) -> None:
        self._looking = None
        with contextlib.suppress(sqlite3.Error):  # who waits looks for itself in the end
            if (version := _data_version(self._writer)) != self._noticed:
                self._noticed = version
                for topic in list(self._listeners):
                    self._wake(topic)
        self._look_out()

    def _wake(self, topic: str) -> None:
        for waiter in self._listeners.pop(topic, ()):
            if not waiter.done():
                waiter.set_result(None)

    def _translated(self, error: Exception) -> Exception:
        """`error`, or a StoreUnavailable if it tells of the file and not of a mistake in a job."""
        return self._unavailable(error) if _code(error) in _UNAVAILABLE else error

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        name = getattr(error, "sqlite_errorname", "")
        if self._telemetry is not None:
            self._telemetry.warning("store.unavailable", reason=name)
        unavailable = StoreUnavailable(f"the database cannot be used now: {error} ({name})")
        unavailable.__cause__ = error
        return unavailable


def _data_version(connection: sqlite3.Connection) -> int:
    """Changes with the commits of all other connections, and not with its own."""
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return int(version)


def _not_our_turn() -> sqlite3.Error:
    busy = sqlite3.OperationalError("another process waits to write")
    busy.sqlite_errorcode, busy.sqlite_errorname = sqlite3.SQLITE_BUSY, "SQLITE_BUSY"
    return busy


def _code(error: BaseException) -> int:
    """The primary result code; 0 for what did not come from SQLite."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _answer_all(group: list[_Waiting], failure: Exception) -> None:
    for _, answer, _ in group:
        if not answer.done():
            # One exception each: a shared one would collect the tracebacks of all who raise it.
            own = copy.copy(failure)
            own.__cause__ = failure.__cause__
            answer.set_exception(own)
