"""The simulation's time, as nodes see it: each by a clock of its own that is wrong by some seconds."""

from __future__ import annotations

import asyncio

from interlock.core.kernel.clock import Millis
from tests.simulation.loop import SimulatedLoop

BEGINNING: Millis = 1_800_000_000_000


class TrueClock:
    """Implements `Clock`. Who sleeps on it wakes at that instant."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self.ahead_ms: Millis = 0

    def now(self) -> Millis:
        # A hair is added so that who slept for whole milliseconds has really slept that long.
        return BEGINNING + self.ahead_ms + int(self._loop.time() * 1_000 + 1e-5)

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0))


class RestingClock(TrueClock):
    """For whoever sleeps only in order to look again whether there is work."""

    def __init__(self, loop: SimulatedLoop, shown: TrueClock | None = None) -> None:
        super().__init__(loop)
        self._shown = shown

    def now(self) -> Millis:
        return super().now() if self._shown is None else self._shown.now()

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
        else:
            woken = self._loop.create_future()
            self._loop.rest(woken, self._loop.time() + seconds)
            await woken
