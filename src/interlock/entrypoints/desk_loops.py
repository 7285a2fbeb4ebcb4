"""What the desk has done by itself, as steps of the worker's loops: repairs, replays, silences, counts, exports for SQL."""

from __future__ import annotations

from interlock.bootstrap import Storage
from interlock.core.desk.alerts.ports import AlertDesk
from interlock.core.desk.alerts.silences import end_silences
from interlock.core.desk.figures.model import SPEEDS_MS
from interlock.core.desk.localisation.counting import leaves
from interlock.core.desk.overview.handlers import look
from interlock.core.desk.queries.following import follow, is_wanted
from interlock.core.desk.queries.ports import Exports
from interlock.core.desk.repair.ports import Repairs
from interlock.core.desk.repair.running import run_repairs
from interlock.core.desk.replay.ports import Replays, Tell
from interlock.core.desk.replay.running import run_replays
from interlock.core.desk.slo.handlers import count_hours, load_slos
from interlock.core.desk.slo.model import Counts, Filter, Measure
from interlock.core.desk.slo.ports import Objectives
from interlock.core.desk.slo.verdicts import increments
from interlock.core.kernel.clock import DAY, SECOND, Clock
from interlock.core.kernel.documents import Tallies

HOURS_AT_ONCE = 24
"""Of an objective: a month that nobody has counted is no reason to keep the disk busy."""
EVENTS_AT_ONCE = 200


class Repairer:
    """Repairs that somebody approved."""

    def __init__(self, repairs: Repairs, clock: Clock, *, interval_s: float = 2.0) -> None:
        self._repairs = repairs
        self._clock = clock
        self._interval_s = interval_s

    async def step(self) -> None:
        if not await run_repairs(self._repairs):
            await self._clock.sleep(self._interval_s)


class Unsilencer:
    """Opens alerts whose silence is over, a page of silenced ones at a time."""

    def __init__(self, alerts: AlertDesk, *, interval_s: float = 5.0) -> None:
        self._alerts = alerts
        self._interval_s = interval_s
        self._after: str | None = None

    async def step(self) -> None:
        self._after = (await end_silences(self._alerts, after=self._after)).next
        if self._after is None:
            await self._alerts.clock.sleep(self._interval_s)


class Replayer:
    """Replays, a turn of each whenever it is due."""

    def __init__(self, replays: Replays, tell: Tell, *, interval_s: float = 1.0) -> None:
        self._replays = replays
        self._tell = tell
        self._interval_s = interval_s

    async def step(self) -> None:
        ran = await run_replays(self._replays, self._tell)
        clock = self._replays.clock
        if ran.next_at is None:
            await clock.sleep(self._interval_s)
        elif (wait := ran.next_at - clock.now()) > 0:
            await clock.sleep(min(wait / SECOND, self._interval_s))


async def replay_for(replays: Replays, tell: Tell, *, seconds: float) -> int:
    """Turns of what is due, until nothing is being replayed or the time is over; how many items that were."""
    clock, items = replays.clock, 0
    until = clock.monotonic() + seconds
    while True:
        ran = await run_replays(replays, tell)
        items += ran.items
        wait_s = 0.0 if ran.next_at is None else max(0, ran.next_at - clock.now()) / SECOND
        if ran.next_at is None or clock.monotonic() + wait_s >= until:
            return items
        await clock.sleep(wait_s)


class HourCounter:
    """Has the counters of objectives stand at zero before anything counts, and puts hours on record when they have settled."""

    def __init__(self, objectives: Objectives, *, interval_s: float = 10.0, count_every_s: float = 600.0) -> None:
        self._objectives = objectives
        self._interval_s = interval_s
        self._count_every_s = count_every_s
        self._counted_at: float | None = None

    async def step(self) -> None:
        for slo in await load_slos(self._objectives):
            for metric, labels, amount in increments(slo, Counts(0, 0)):
                self._objectives.telemetry.count(metric, amount, **dict(labels))
        await self.count()
        await self._objectives.clock.sleep(self._interval_s)

    async def count(self) -> None:
        """The hours alone, for who is called every minute. Most calls find it too early."""
        now = self._objectives.clock.monotonic()
        if self._counted_at is None or now - self._counted_at >= self._count_every_s:
            slos = await load_slos(self._objectives)
            for slo in slos:
                await count_hours(self._objectives, slo, hours_max=HOURS_AT_ONCE)
            self._counted_at = now if slos else None


class Rememberer:
    """Has days counted before somebody looks at them: the newest first, then further back, and the newest again and again."""

    def __init__(
        self,
        tallies: Tallies,
        past: Tallies,
        objectives: Objectives,
        *,
        days: int = 31,
        pause_s: float = 0.5,
        interval_s: float = 300.0,
    ) -> None:
        self._tallies = tallies
        self._past = past
        self._counted = objectives.tallies
        self._clock = objectives.clock
        self._days = days
        self._pause_s = pause_s
        self._interval_s = interval_s
        self._back = 0

    async def step(self) -> None:
        begun = await self.count()
        await self._clock.sleep(self._pause_s if begun else self._interval_s)

    async def count(self) -> bool:
        """One day, asked for in every way that pages ask; whether the round goes on."""
        today = self._clock.now() // DAY * DAY
        since, until = today - self._back * DAY, today - self._back * DAY + DAY
        await look(self._tallies, since=since, until=until)
        await leaves(self._tallies, self._past, since=until, until=until, before_since=since, before_until=until)
        await self._counted.count(Measure.AVAILABILITY, Filter(), since, until)
        await self._counted.count(Measure.LATENCY, Filter(threshold_ms=SPEEDS_MS[-1]), since, until)
        begun = self._back + 1 < self._days
        # Hours end all the time: later rounds look at today and yesterday alone.
        self._back = self._back + 1 if begun else 0
        self._days = self._days if begun else 2
        return begun


class Exporter:
    """Keeps exports up while somebody asks for them."""

    def __init__(self, exports: Exports, storage: Storage, *, interval_s: float = 2.0) -> None:
        self._exports = exports
        self._storage = storage
        self._interval_s = interval_s

    async def step(self) -> None:
        storage = self._storage
        wanted = await is_wanted(storage.store, storage.clock.now())
        if not wanted or not await follow(self._exports, storage.store, storage.histories, limit=EVENTS_AT_ONCE):
            await storage.clock.sleep(self._interval_s)
