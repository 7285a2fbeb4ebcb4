"""Analysis over DuckDB: the exported segments as one database here, and queries in processes that are locked in.

Four walls, each of which would do: the text is parsed, and only a tree of allowed parts is written anew and run
(`checking.py`); the database's own parser must see the same (`tree.py`); the connection reads one file and nothing else
(`locked.py`); the process has no environment, writes no file, and has a limit of memory and time that the kernel and we keep
(`child.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

from interlock.backends.duckdb.children import Child, ChildDied
from interlock.backends.duckdb.database import Generation
from interlock.backends.duckdb.places import Place
from interlock.backends.duckdb.snapshots import Snapshots
from interlock.core.desk.queries.model import Cost, Limits, QueryStopped, ResultColumn, StopReason, Table
from interlock.core.kernel.blobs import Blobs
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.errors import Fault, Invalid, Unavailable

QUESTIONS_MAX = 500
"""Of one process; then another takes its place, so that nothing piles up."""
CHECK_LIMITS = Limits(seconds=5.0)


class DuckAnalysis:
    """Make it in the event loop that uses it, and `close` it."""

    def __init__(
        self,
        blobs: Blobs,
        clock: Clock,
        root: Path,
        *,
        at_once: int = 2,
        waiting_max: int = 16,
        fresh_s: float = 15.0,
        idle_s: float = 300.0,
    ) -> None:
        """What is asked of stands in a folder of its own below `root`. `at_once` queries run, `waiting_max` more wait.

        Exports are looked for again after `fresh_s`, and a process that nobody has asked for `idle_s` is ended.
        """
        self._clock = clock
        self._place = Place(root)
        self._snapshots = Snapshots(blobs, self._place, fresh_s=fresh_s)
        self._places = asyncio.Semaphore(at_once)
        self._waiting, self._waiting_max, self._at_once = 0, waiting_max, at_once
        self._idle_s = idle_s
        self._idle: dict[Child, asyncio.TimerHandle] = {}
        self._busy: set[Child] = set()
        self._preparing: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self, limits: Limits | None = None) -> None:
        """Load what there is and have a process ready, so that the first answer does not wait. Not needed."""
        generation = await self._snapshots.current()
        if not self._idle:
            memory = (limits or Limits()).memory_bytes
            self._rest(await Child.start(generation.path, memory_bytes=memory))

    async def refresh(self) -> None:
        """Load what was exported since. Raises what Blobs raises, and Unavailable for a segment that cannot be read."""
        await self._snapshots.refresh()

    async def close(self) -> None:
        """End every process and remove what it asked. Queries that still run raise QueryStopped."""
        self._closed = True
        for task in list(self._preparing):
            await task
        for child in (*self._idle, *self._busy):
            self._end(child)
            await child.ended()
        await asyncio.to_thread(self._place.leave)

    async def query(self, sql: str, limits: Limits) -> Table:
        await self._snapshots.current()
        answer, generation = await self._asked(sql, limits, check_only=False)
        return Table(
            columns=tuple(ResultColumn(name, type_) for name, type_ in answer["columns"]),
            rows=tuple(tuple(row) for row in answer["rows"]),
            truncated=answer["truncated"],
            cost=Cost(
                answer["seconds"], len(answer["rows"]), answer["bytes"], answer.get("scanned"), answer.get("memory")
            ),
            exported_to=generation.exported_to,
        )

    async def check(self, sql: str) -> None:
        await self._snapshots.current()
        await self._asked(sql, CHECK_LIMITS, check_only=True)

    async def _asked(self, sql: str, limits: Limits, *, check_only: bool) -> tuple[dict[str, Any], Generation]:
        question = {
            "sql": sql.encode(errors="replace").decode(),
            "now": self._clock.now(),
            "seconds": limits.seconds,
            "rows": limits.rows,
            "bytes": limits.bytes,
            "check_only": check_only,
        }
        async with self._child(limits.memory_bytes) as child:
            # Only now: while this waited for its place, there may have come a newer state, and this one gone.
            generation = self._snapshots.latest
            question["database"] = str(generation.path.absolute())
            started = time.monotonic()
            try:
                said = await child.ask(question, seconds=limits.seconds, bytes_max=limits.bytes)
            except ChildDied as died:
                cost = Cost(time.monotonic() - started)
                raise QueryStopped(StopReason.TIME if died.late else StopReason.DIED, cost) from died
            if "answer" in said:
                self._rest_later(child)
                return dict(said["answer"]), generation
            if "refused" in said:
                self._rest_later(child)
                _raise_refused(said["refused"])
        # One that was stopped may hold on to memory: it is not asked again.
        stopped = said["stopped"]
        raise QueryStopped(StopReason(stopped["why"]), Cost(stopped["seconds"]))

    @contextlib.asynccontextmanager
    async def _child(self, memory_bytes: int) -> AsyncIterator[Child]:
        """A process for one question. Whoever wants it kept says so by `_rest_later`; otherwise it is ended."""
        if self._places.locked() and self._waiting >= self._waiting_max:
            raise Unavailable("too many queries run and wait already", retry_after_s=5, code="too_many_queries")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            child = self._taken(memory_bytes)
            if child is None:
                child = await Child.start(self._snapshots.latest.path, memory_bytes=memory_bytes)
            self._busy.add(child)
            try:
                yield child
            finally:
                if child in self._busy:
                    self._end(child)
                    self._prepare(memory_bytes)
        finally:
            self._places.release()

    def _taken(self, memory_bytes: int) -> Child | None:
        """A process that rests and has this much memory."""
        for child in list(self._idle):
            if child.questions >= QUESTIONS_MAX:
                self._end(child)
            elif child.memory_bytes == memory_bytes:
                self._idle.pop(child).cancel()
                return child
        return None

    def _prepare(self, memory_bytes: int) -> None:
        """Start another process beside what goes on, so that the next query does not wait for it."""
        if self._closed or len(self._preparing) >= self._at_once:
            return
        task = asyncio.get_running_loop().create_task(self._spare(memory_bytes))
        self._preparing.add(task)
        task.add_done_callback(self._preparing.discard)

    async def _spare(self, memory_bytes: int) -> None:
        # If it does not come up, the next query says so.
        with contextlib.suppress(Unavailable):
            child = await Child.start(self._snapshots.latest.path, memory_bytes=memory_bytes)
            self._rest(child)

    def _rest_later(self, child: Child) -> None:
        self._busy.discard(child)
        self._rest(child)

    def _rest(self, child: Child) -> None:
        while len(self._idle) >= self._at_once:
            self._end(next(iter(self._idle)))
        self._idle[child] = asyncio.get_running_loop().call_later(self._idle_s, self._end, child)

    def _end(self, child: Child) -> None:
        self._busy.discard(child)
        if (handle := self._idle.pop(child, None)) is not None:
            handle.cancel()
        child.kill()


def _raise_refused(refused: dict[str, Any]) -> NoReturn:
    faults = tuple(Fault(*fault) for fault in refused["faults"])
    raise Invalid(refused["detail"], faults=faults, code=refused["code"])
