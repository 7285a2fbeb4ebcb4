"""Calls that are under way, so that a clock that stands still can wait for adapters that answer after real work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tests.clocks import SETTLE_TURNS, ManualClock

T = TypeVar("T")


class Flights:
    """Counts calls of adapters. Those that wait for the clock do not count: only the clock could bring them to an end."""

    def __init__(self, clock: ManualClock) -> None:
        """From now on a moment of this clock has settled only when no call is under way, and none has begun for a while."""
        self.clock = FlightClock(clock, self)
        """For the adapters."""
        self._count = 0
        self._begun = 0
        self._landed = asyncio.Event()
        clock.settle = self._settle  # type: ignore[method-assign]

    @contextmanager
    def call(self) -> Iterator[None]:
        """A call that may be interrupted."""
        self._begun += 1
        self._count += 1
        try:
            yield
        finally:
            self._leave()

    async def carry(self, work: Awaitable[T]) -> T:
        """A call that, once made, goes on to its end though its caller dies, as a request that has left a process does."""
        task = asyncio.ensure_future(self._carried(work))
        task.add_done_callback(_look_at_error)
        return await asyncio.shield(task)

    @contextmanager
    def away(self) -> Iterator[None]:
        """A call waits for the clock."""
        self._leave()
        try:
            yield
        finally:
            self._count += 1

    async def _carried(self, work: Awaitable[T]) -> T:
        with self.call():
            return await work

    def _leave(self) -> None:
        self._count -= 1
        self._landed.set()

    async def _settle(self) -> None:
        quiet = 0
        while quiet < SETTLE_TURNS:
            begun = self._begun
            if self._count > 0:
                self._landed.clear()
                await self._landed.wait()
                quiet = 0
                continue
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._begun == begun and self._count <= 0 else 0


class FlightClock:
    """The test's clock for adapters: a call that sleeps is not under way."""

    def __init__(self, clock: ManualClock, flights: Flights) -> None:
        self._clock, self._flights = clock, flights
        self.now, self.monotonic = clock.now, clock.monotonic

    async def sleep(self, seconds: float) -> None:
        with self._flights.away():
            await self._clock.sleep(seconds)


class Carried:
    """An adapter whose calls are carried to their end."""

    def __init__(self, adapter: Any, flights: Flights) -> None:
        self._adapter, self._flights = adapter, flights

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._adapter, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._flights.carry(method(*args, **kwargs))

        return call


def _look_at_error(task: asyncio.Task[Any]) -> None:
    """Of a call whose caller has died: nobody else will."""
    if not task.cancelled():
        task.exception()
