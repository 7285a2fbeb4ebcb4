"""Waiting for news of a topic, by a clock, without threads."""

from __future__ import annotations

import asyncio

from interlock.core.kernel.clock import Clock


class Wakeups:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Dicts for sets: they keep order, so the same seed wakes the same tasks in the same order.
        self._waiters: dict[str, dict[asyncio.Future[None], None]] = {}

    def wake(self, topic: str) -> None:
        for waiter in self._waiters.pop(topic, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, topic: str, *, timeout_s: float) -> None:
        """Return at the next `wake`, at the latest after `timeout_s`. Registers before its first await."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(topic, {})
        waiters[waiter] = None
        timer = asyncio.ensure_future(self._clock.sleep(timeout_s))
        timer.add_done_callback(lambda _: None if waiter.done() else waiter.set_result(None))
        try:
            await waiter
        finally:
            timer.cancel()
            waiters.pop(waiter, None)
