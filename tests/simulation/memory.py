"""The memory adapters as the simulation uses them: every commit is looked at, and a wait costs no task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from interlock.backends.memory.store import MemoryStore
from interlock.backends.memory.wakeups import Wakeups
from interlock.core.kernel.events import Event
from interlock.core.kernel.store import Write
from tests.simulation.clocks import RestingClock
from tests.simulation.loop import SimulatedLoop

if TYPE_CHECKING:
    from tests.simulation.watch import Watch


Lag = Callable[[], float]
"""How long news takes to those who wait for it, in seconds: then more of it may be there."""


class WatchedStore(MemoryStore):
    """Has every commit looked at the moment it is made."""

    def __init__(self, clock: RestingClock, loop: SimulatedLoop, watch: Watch, lag_s: Lag) -> None:
        super().__init__(clock)
        self._loop, self._watch, self._lag_s = loop, watch, lag_s

    async def commit(self, writes: Sequence[Write], events: Sequence[Event] = ()) -> None:
        await super().commit(writes, events)
        self._watch.committed(writes, events)

    async def _next_event(self, timeout_s: float) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters[waiter] = None
        self._loop.rest(waiter, self._loop.time() + timeout_s)
        try:
            await waiter
        finally:
            waiter.cancel()
            self._waiters.pop(waiter, None)
        await _lag(self._lag_s())


class RestingWakeups(Wakeups):
    """Waits that are futures of the loop's: a task for each would be half of the simulation's work."""

    def __init__(self, clock: RestingClock, loop: SimulatedLoop, lag_s: Lag) -> None:
        super().__init__(clock)
        self._loop, self._lag_s = loop, lag_s

    async def wait(self, topic: str, *, timeout_s: float) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        waiters = self._waiters.setdefault(topic, {})
        waiters[waiter] = None
        self._loop.rest(waiter, self._loop.time() + timeout_s)
        try:
            await waiter
        finally:
            waiters.pop(waiter, None)
        await _lag(self._lag_s())


async def _lag(seconds: float) -> None:
    if seconds:
        await asyncio.sleep(seconds)
