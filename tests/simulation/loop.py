"""An event loop without a machine behind it: time is a number, and chance alone says which task runs next.

Nothing is polled and nothing sleeps. When no task can run, time jumps to the next thing that is due. Waits are of two kinds:
timers, which end at their instant, and rests of those who only look whether there is work (`rest`): these end no
sooner than there may be some, so a day without work costs nothing.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

RUNS_AT_ONE_INSTANT_MAX = 200_000
"""More tasks run without time passing would be work that never rests."""
RUNS_MAX = 1_500_000
"""Of a whole simulation: more would be work that is done again and again."""
JUMPS_MAX = 1_000
"""Jumps in time after which somebody must have been woken."""


class Owner(Protocol):
    """Whoever a task belongs to: a node that may die and take its tasks along."""

    tasks: dict[asyncio.Task[Any], None]


OWNER: contextvars.ContextVar[Owner | None] = contextvars.ContextVar("owner", default=None)


class Stuck(AssertionError):
    """Nothing can run and nothing is due, though somebody waits; or something runs and runs at one instant."""


class SimulatedLoop(asyncio.BaseEventLoop):
    def __init__(self, chance: Callable[[], float]) -> None:
        """`chance` gives numbers in [0, 1): each picks the next task among those that can run."""
        super().__init__()
        self._chance = chance
        self._at = 0.0
        self._ready: list[asyncio.Handle] = []  # type: ignore[assignment]  # BaseEventLoop only appends
        self._resting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._runs = 0
        self.runs = 0
        """How often some task has run."""
        self._quiet: asyncio.Future[None] | None = None
        self._closing = False
        self.broken: BaseException | None = None
        """Set by whoever sees that something is wrong: nothing runs after it."""
        self.next_due: Callable[[], float | None] = lambda: None
        """When work falls due that no timer of this loop knows of; a time that has come means there is some now."""
        self.set_task_factory(_owned_task)

    def time(self) -> float:
        """Seconds since the beginning."""
        return self._at

    def rest(self, woken: asyncio.Future[None], deadline: float) -> None:
        """Have `woken` end for somebody who waits for work that others bring: at `deadline`, or later if nothing at all is due."""
        heapq.heappush(self._resting, (deadline, next(self._order), woken))

    async def quiet(self) -> None:
        """Return when nothing is left that will ever happen by itself."""
        self._quiet = self.create_future()
        await self._quiet

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = _Handle(callback, args, self, contextvars.copy_context() if context is None else context)
        self._ready.append(handle)
        return handle

    def _run_once(self) -> None:
        ready, chance = self._ready, self._chance
        while not self._stopping:  # type: ignore[attr-defined]
            if self.broken is not None:
                raise self.broken
            if not ready:
                self._find_somebody()
            self._runs += 1
            if self._runs > RUNS_AT_ONE_INSTANT_MAX:
                raise Stuck("the platform never rests")
            count = len(ready)
            place = int(chance() * count) if count > 1 else 0
            handle = ready[place]
            ready[place] = ready[-1]
            ready.pop()
            if handle._cancelled:
                continue
            try:
                handle._context.run(handle._callback, *handle._args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self.call_exception_handler({"message": "a callback failed", "exception": error})

    def _find_somebody(self) -> None:
        """Let time pass until somebody can run."""
        for _ in range(JUMPS_MAX):
            self._pass_time()
            if self._ready:
                return
        raise Stuck("time passes and nobody works")

    def _pass_time(self) -> None:
        """Move to the next instant at which somebody can run."""
        timers, resting = self._scheduled, self._resting
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        while resting and resting[0][2].done():
            heapq.heappop(resting)
        instants = [timers[0]._when] if timers else []
        due = self.next_due()
        if due is not None and due > self._at:
            instants.append(due)
        elif due is not None and resting:
            instants.append(resting[0][0])
        if not instants:
            if self._closing:
                self._ready.extend(asyncio.Handle(task.cancel, (), self) for task in asyncio.all_tasks(self))
                return
            if self._quiet is None:
                raise Stuck("nothing is due, and somebody waits")
            quiet, self._quiet = self._quiet, None
            quiet.set_result(None)
            return
        target = min(instants)
        if target > self._at:
            self.runs += self._runs
            self._at, self._runs = target, 0
            if self.runs > RUNS_MAX:
                raise Stuck("work is done again and again")
        while timers and timers[0]._when <= self._at:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            self._ready.append(timer)
        while resting and resting[0][0] <= self._at:
            woken = heapq.heappop(resting)[2]
            if not woken.done():
                woken.set_result(None)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when their time comes."""

    def _write_to_self(self) -> None:
        raise RuntimeError("there are no threads here")

    def run_in_executor(self, *_: Any) -> Any:
        raise RuntimeError("there are no threads here")


class _Handle(asyncio.Handle):
    """As asyncio's, made without asking whether somebody debugs: half a million are made in a second."""

    __slots__ = ()

    def __init__(self, callback: Any, args: Any, loop: SimulatedLoop, context: contextvars.Context) -> None:
        self._callback, self._args, self._loop, self._context = callback, args, loop, context
        self._cancelled, self._repr, self._source_traceback = False, None, None


def _owned_task(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], context: contextvars.Context | None = None
) -> asyncio.Task[Any]:
    """Tasks a node starts, and those that they start, end with it."""
    task = asyncio.Task(work, loop=loop, context=context)
    owner = OWNER.get() if context is None else context.get(OWNER)
    if owner is not None:
        owner.tasks[task] = None
        task.add_done_callback(lambda done: owner.tasks.pop(done, None))
    return task


def close(loop: SimulatedLoop) -> None:
    """End whatever still runs, and the loop."""
    loop.broken, loop.next_due, loop._closing = None, lambda: None, True
    while tasks := asyncio.all_tasks(loop):
        loop.runs = loop._runs = 0  # a run that got stuck is given what it takes to end
        for task in tasks:
            task.cancel()
        with suppress(RuntimeError, Stuck):  # the broken run may have left an order to stop
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()
