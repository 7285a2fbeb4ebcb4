"""What is done to the platform while it works. Each blow ends with everything up again, and says what was odd about it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.crash.processes import LOOK_EVERY_S, Process, Processes
from tests.crash.stepped_clock import SteppedClock

DRAIN_MAX_S = 10.0
START_MAX_S = 1.6
"""A process that starts is up after about this time: killed before, it dies in its start or its recovery."""
FULL_S = (1.5, 3.0)
FORWARD_S = (15, 90)
BACK_S = (2, 6)
"""What is due waits longer by as much as the clock goes back."""
STEP_ERROR_S = 1.5
"""The clock is read to the second."""
STEP_SEEN_S = 10.0


@dataclass
class Blows:
    processes: Processes
    clock: SteppedClock
    dice: random.Random
    recovery_s: list[float] = field(default_factory=list)
    """From the moment processes are started again until all answer."""
    drain_s: list[float] = field(default_factory=list)
    full_noticed: int = 0
    """How often the API said that it could take no work while the disk was full."""
    complaints: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Blows that cannot be dealt here, and why."""

    def kinds(self) -> dict[str, Callable[[], Awaitable[None]]]:
        p, disk = self.processes, self.processes.disk
        every: dict[str, Callable[[], Awaitable[None]]] = {
            "kill API": lambda: self._kill(p.api),
            "kill worker": lambda: self._kill(p.worker),
            "kill both": lambda: self._kill(*p.roles),
            "kill at start": self._kill_at_start,
            "kill in recovery": self._kill_in_recovery,
            "SIGTERM": self._terminate,
            "disk full": self._fill_disk,
            "read-only": self._turn_read_only,
            "clock forward": lambda: self._step_clock(self.dice.randint(*FORWARD_S)),
            "clock back": lambda: self._step_clock(-self.dice.randint(*BACK_S)),
            "kill simulator": lambda: self._kill(p.simulator),
        }
        if not disk.can_be_read_only:
            self.left_out["read-only"] = "root ignores file modes, and no file system could be mounted"
        if not self.clock.can_step:
            for kind in ("clock forward", "clock back"):
                self.left_out[kind] = "libfaketime is not installed"
        return {kind: blow for kind, blow in every.items() if kind not in self.left_out}

    # -- kills ----------------------------------------------------------------------------------------------------

    async def _kill(self, *victims: Process) -> None:
        for one in victims:
            one.kill()
        await self._pause(0.0, 0.3)
        await self._up(victims)

    async def _kill_at_start(self) -> None:
        for one in self.processes.roles:
            one.kill()
        for _ in range(2):
            for one in self.processes.roles:
                one.start()
            await self._pause(0.1, START_MAX_S)
            for one in self.processes.roles:
                one.kill()
        await self._up(self.processes.roles)

    async def _kill_in_recovery(self) -> None:
        """Killed again as soon as it answers, with what the first kill left open still open."""
        await self._kill(*self.processes.roles)
        await self._pause(0.0, 0.3)
        await self._kill(*self.processes.roles)

    async def _terminate(self) -> None:
        p = self.processes
        victims = self.dice.choice(((p.api,), (p.worker,), p.roles))
        for (status, took_s), one in zip(await asyncio.gather(*(v.terminate() for v in victims)), victims, strict=True):
            self.drain_s.append(took_s)
            if status != 0 or took_s > DRAIN_MAX_S:
                self.complaints.append(
                    f"SIGTERM: the {one.name} ended with {status} after {took_s:.1f} s: {one.said()}"
                )
        await self._up(victims)

    # -- disk and clock -------------------------------------------------------------------------------------------

    async def _fill_disk(self) -> None:
        """What is refused meanwhile is asked for again by the merchants; nobody may end because of it.

        As long as the log's file has room that was used before, little traffic still fits and nobody need notice.
        """
        p = self.processes
        pids = [one.pid for one in p.roles]
        until = time.monotonic() + self.dice.uniform(*FULL_S)
        noticed = False
        p.disk.fill(pids)
        try:
            while time.monotonic() < until:
                noticed = not await p.is_ready() or noticed
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            ended = [one for one in p.roles if not one.runs]
            p.disk.free([one.pid for one in p.roles if one.runs])
        for one in ended:
            self.complaints.append(f"disk full: the {one.name} ended: {one.said()}")
        self.full_noticed += noticed
        await self._up(ended)

    async def _turn_read_only(self) -> None:
        """Killed, and started where nothing can be written: each must say so and end, and be whole once it can."""
        p = self.processes
        for one in p.roles:
            one.kill()
        p.disk.read_only(True)
        try:
            for one in p.roles:
                one.start()
            for one in p.roles:
                if (status := await one.ended()) != 1:
                    self.complaints.append(f"read-only: the {one.name} ended with {status}: {one.said()}")
        finally:
            for one in p.roles:
                one.kill()
            p.disk.read_only(False)
        await self._up(p.roles)

    async def _step_clock(self, seconds: int) -> None:
        self.clock.step(seconds)
        async with asyncio.timeout(STEP_SEEN_S):
            while abs(await self.processes.date() - self.clock.now()) > STEP_ERROR_S:
                await asyncio.sleep(0.1)

    # -- means ----------------------------------------------------------------------------------------------------

    async def _up(self, victims: tuple[Process, ...] | list[Process]) -> None:
        began = time.monotonic()
        for one in victims:
            one.start()
        await self.processes.ready()
        if victims:
            self.recovery_s.append(time.monotonic() - began)

    async def _pause(self, least_s: float, most_s: float) -> None:
        await asyncio.sleep(self.dice.uniform(least_s, most_s))
