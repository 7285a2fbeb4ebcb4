"""A payment's bundle, told again to a platform of its own: `interlock reproduce`."""

from __future__ import annotations

import asyncio

from interlock.bootstrap_desk import fresh_ids, scratch_payments
from interlock.core.desk.explain.bundle import Bundle, Ends
from interlock.core.desk.explain.replaying import ReplayGateway, ReplayIds, replay
from interlock.core.kernel.clock import Millis


class ToldClock:
    """Stands where the story stands."""

    def __init__(self, start: Millis) -> None:
        self._now = start

    def now(self) -> Millis:
        return self._now

    def monotonic(self) -> float:
        return self._now / 1000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)

    def set(self, at: Millis) -> None:
        self._now = max(self._now, at)


async def reproduce(bundle: Bundle) -> Ends:
    """Where the payment stands when everything has been told again."""
    clock = ToldClock(bundle.steps[0].at if bundle.steps else 0)
    gateway = ReplayGateway(bundle, clock.set)
    payments = scratch_payments(gateway, clock, ReplayIds(bundle, fresh_ids(clock).new))
    return await replay(bundle, payments, gateway, clock.set)
