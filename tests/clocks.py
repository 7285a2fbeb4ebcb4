"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools

from interlock.core.kernel.clock import Millis

SETTLE_TURNS = 50
"""Loop turns in which tasks just woken run on to their next real wait."""


class ManualClock:
    """Implements `Clock`. Nobody wakes before `advance` or `run_for`; sleepers wake in the order of their deadlines."""

    def __init__(self, start_ms: Millis = 1_800_000_000_000) -> None:
        self._wall_offset_ms = start_ms
        self._elapsed_us = 0
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> Millis:
        return self._wall_offset_ms + self._elapsed_us // 1_000

    def monotonic(self) -> float:
        return self._elapsed_us / 1_000_000

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Deadlines round up, so that who sleeps for the time remaining never wakes a moment too early.
        deadline = self._elapsed_us + max(1, -int(-seconds * 1_000_000 // 1))
        heapq.heappush(self._sleepers, (deadline, next(self._order), woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Move time at once and wake all who are due; they run when the test next awaits, and see the final time."""
        self._move_to(self._elapsed_us + round(seconds * 1_000_000))

    async def run_for(self, seconds: float) -> None:
        """Move time from deadline to deadline and let everybody run at each, also those who sleep again meanwhile."""
        end = self._elapsed_us + round(seconds * 1_000_000)
        await self.settle()
        while (due := self._next_deadline()) is not None and due <= end:
            self._move_to(due)
            await self.settle()
        self._move_to(end)
        await self.settle()

    async def settle(self) -> None:
        """Let tasks that can run do so, without moving time."""
        for _ in range(SETTLE_TURNS):
            await asyncio.sleep(0)

    def step_wall(self, milliseconds: int) -> None:
        """Set the wall clock forwards or backwards, as a time server would; nobody's wait changes."""
        self._wall_offset_ms += milliseconds

    @property
    def sleeping(self) -> int:
        """How many wait for this clock."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    def _next_deadline(self) -> int | None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def _move_to(self, elapsed_us: int) -> None:
        self._elapsed_us = max(self._elapsed_us, elapsed_us)
        while (due := self._next_deadline()) is not None and due <= self._elapsed_us:
            heapq.heappop(self._sleepers)[2].set_result(None)
