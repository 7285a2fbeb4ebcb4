"""Put the file of objectives, read it, count their hours, and say how each stands now."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import msgspec

from interlock.core.access.audit import PLATFORM, audit_event
from interlock.core.desk.slo.budgets import Budget, Firing, Point, alerts, budget, burn_down, burn_rate, spent_after
from interlock.core.desk.slo.model import WINDOWS, Counts, Finding, Ratio, Slo, counts_findings, total_of
from interlock.core.desk.slo.openslo import read_slos
from interlock.core.desk.slo.ports import Objectives
from interlock.core.desk.slo.records import (
    FILE_KEY,
    HourCounts,
    SloFile,
    decode_file,
    decode_hour,
    file_writes,
    hour_key,
    hour_sort,
    hour_write,
    hours_partition,
    version_key,
)
from interlock.core.kernel.clock import HOUR, Millis
from interlock.core.kernel.errors import Conflict, Fault, Invalid, NotFound, WriteConflict
from interlock.core.kernel.store import ABSENT, LIMIT_MAX, VALUE_BYTES_MAX

ACTOR_MAX = 200
SETTLES: Millis = 2 * HOUR
"""Hours that ended within this are not on record yet: attempts under way are still finding their end. They are counted anew."""
STRETCH: Millis = 6 * HOUR
"""A stretch that is not on record is counted hour by hour up to this length, and at once beyond."""
FILE_CHANGED = "slo_file_changed"


class Burn(msgspec.Struct, frozen=True):
    """One window up to now."""

    counts: Counts
    rate: Ratio
    spent_after_ms: Millis | None
    """In how long the rest of the budget is gone at this rate; None if never, 0 if it is gone."""


class Standing(msgspec.Struct, frozen=True):
    """How one objective stands."""

    slo: Slo
    at: Millis
    budget: Budget
    burns: Mapping[str, Burn]
    """By the name of the window."""
    firing: tuple[Firing, ...]
    points: tuple[Point, ...]
    """The burn-down, hour by hour."""
    findings: tuple[Finding, ...]
    """What must be known before a figure above is believed."""


# -- the file ----------------------------------------------------------------------------------------------------------


async def put_slos(d: Objectives, text: str, actor: str, *, expected: int | None = None) -> SloFile:
    """Use `text` from now on. The same text again changes nothing.

    `expected` is the version the change was made from, 0 for none. Raises Invalid naming every fault of the file, which leaves
    the old one in use; Conflict if somebody else put another one meanwhile, WriteConflict if just now.
    """
    if not actor or len(actor) > ACTOR_MAX:
        raise Invalid(faults=(Fault("/actor", "missing", "who puts the file is on record"),))
    read_slos(text)
    item = await d.store.get(FILE_KEY)
    held = decode_file(item) if item else None
    version = held.version if held else 0
    if expected is not None and expected != version:
        raise Conflict(f"the file in use is version {version}, not {expected}", code=FILE_CHANGED)
    if held is not None and held.text == text:
        return held
    now = d.clock.now()
    file = SloFile(text, version + 1, actor, now)
    writes = file_writes(file, item.version if item else ABSENT)
    size = len(writes[0].value)
    if size > VALUE_BYTES_MAX:
        raise Invalid(faults=(Fault("", "too_large", f"line 1: {size} bytes as kept; {VALUE_BYTES_MAX} is the most"),))
    record, recorded = audit_event(
        d.ids,
        now,
        actor=actor,
        action="slo_file.put",
        target=FILE_KEY.partition,
        tenant=PLATFORM,
        detail={"version": file.version},
    )
    await d.store.commit([*writes, record], [recorded])
    d.telemetry.info("slo_file.put", version=file.version)
    return file


async def slo_file(d: Objectives, version: int | None = None) -> SloFile:
    """The file in use, or an earlier one. Raises NotFound."""
    item = await d.store.get(FILE_KEY if version is None else version_key(version))
    if item is None:
        raise NotFound("no file of objectives was put" if version is None else f"there is no version {version}")
    return decode_file(item)


async def load_slos(d: Objectives) -> tuple[Slo, ...]:
    """The objectives in use; none before a file is put."""
    item = await d.store.get(FILE_KEY)
    return read_slos(decode_file(item).text) if item else ()


# -- hours -------------------------------------------------------------------------------------------------------------


async def count_hours(d: Objectives, slo: Slo, *, hours_max: int = 48) -> int:
    """Count the settled hours of the window that are not on record, newest first, and put them there.

    An hour waits until later attempts are counted: rows that are behind would have it on record as a quiet one.

    Safe to repeat and to run twice at once. Returns how many were written; call again while it is `hours_max`. `standing` counts
    what is missing by itself, so this is speed, not truth.
    """
    now = d.clock.now()
    end = _settled_until(min(now, await d.tallies.latest()))
    first = -(-(now - slo.window) // HOUR) * HOUR
    known = await _hours(d, slo, first, end)
    missing = [hour for hour in range(end - HOUR, first - HOUR, -HOUR) if hour not in known][:hours_max]
    return sum([await count_hour(d, slo, hour) for hour in missing])


async def count_hour(d: Objectives, slo: Slo, hour: Millis) -> bool:
    """Count one settled hour (again) and put it on record; False if it stands there just so.

    Raises Invalid for what is no full hour or has not settled.
    """
    now = d.clock.now()
    if hour % HOUR or hour + HOUR > _settled_until(now):
        raise Invalid("the start of a UTC hour that ended two hours ago or earlier", code="not_a_settled_hour")
    key = hour_key(slo.name, slo.indicator, hour)
    counts = await _count(d, slo, hour, hour + HOUR)
    item = await d.store.get(key)
    if item is not None and decode_hour(item).counts == counts:
        return False
    counted = HourCounts(slo.name, slo.indicator.fingerprint, hour, counts, now)
    try:
        await d.store.commit([hour_write(key, counted, item.version if item else ABSENT)])
    except WriteConflict:
        return False  # another worker counted the same hour at the same time
    return True


def _settled_until(now: Millis) -> Millis:
    return now - now % HOUR - SETTLES


# -- how it stands -----------------------------------------------------------------------------------------------------


async def standing(d: Objectives, slo: Slo) -> Standing:
    """Budget, burn rates, alerts and burn-down up to now, from hours on record and the rest counted now.

    Stretches are counted one after the other, so an attempt that ends meanwhile may be in one window and not in another.
    Raises Unavailable when it cannot be counted now.
    """
    now = d.clock.now()
    figures = _Figures(d, slo, await _hours(d, slo, now - slo.window, now))
    slots = await figures.slots(now - slo.window, now)
    left = budget(total_of(counts for _, counts in slots), slo.target)
    windows = {name: await figures.window(now - length, now) for name, length in WINDOWS.items()}
    burns = {name: _burn(counts, slo, left) for name, counts in windows.items()}
    findings = (*left.findings, *slo.findings)
    if not left.counts.excess:
        # What is wrong in five minutes may not show in the hour that was counted as one.
        findings = (*islice((f for counts in windows.values() for f in counts_findings(counts)), 1), *findings)
    points = burn_down(slots, slo.target, window=slo.window, now=now)
    return Standing(slo, now, left, burns, alerts(windows, slo), points, findings)


def _burn(counts: Counts, slo: Slo, left: Budget) -> Burn:
    rate = burn_rate(counts, slo.target)
    return Burn(counts, rate, spent_after(left.left_share, rate, slo.window))


class _Figures:
    """Hours on record, and what was counted for one standing: each stretch once, so that windows which share it agree on it."""

    def __init__(self, d: Objectives, slo: Slo, on_record: Mapping[Millis, Counts]) -> None:
        self._d = d
        self._slo = slo
        self._on_record = on_record
        self._counted: dict[tuple[Millis, Millis], Counts] = {}

    async def window(self, start: Millis, end: Millis) -> Counts:
        """What is on record saves nothing where it is at most one hour."""
        if end - start <= SETTLES:
            return await self._count(start, end)
        return total_of(counts for _, counts in await self.slots(start, end))

    async def slots(self, start: Millis, end: Millis) -> list[tuple[Millis, Counts]]:
        """[start, end) in pieces: hours on record, and the stretches between them counted now."""
        slots: list[tuple[Millis, Counts]] = []
        reached = start
        hours = sorted(hour for hour in self._on_record if start <= hour and hour + HOUR <= end)
        for hour in (*hours, end):
            hourly = hour - reached <= STRETCH
            while reached < hour:
                upto = min(hour, reached - reached % HOUR + HOUR) if hourly else hour
                slots.append((reached, await self._count(reached, upto)))
                reached = upto
            if hour < end:
                slots.append((hour, self._on_record[hour]))
                reached = hour + HOUR
        return slots

    async def _count(self, start: Millis, end: Millis) -> Counts:
        if (start, end) not in self._counted:
            self._counted[start, end] = await _count(self._d, self._slo, start, end)
        return self._counted[start, end]


async def _hours(d: Objectives, slo: Slo, start: Millis, end: Millis) -> dict[Millis, Counts]:
    """Hours on record that lie within [start, end), by their start."""
    found: dict[Millis, Counts] = {}
    after: str | None = hour_sort(start - HOUR)
    partition = hours_partition(slo.name, slo.indicator)
    while after is not None:
        page = await d.store.query(partition, after=after, limit=LIMIT_MAX)
        for counted in map(decode_hour, page.items):
            if start <= counted.hour and counted.hour + HOUR <= end:
                found[counted.hour] = counted.counts
        after = page.next
    return found


async def _count(d: Objectives, slo: Slo, start: Millis, end: Millis) -> Counts:
    return await d.tallies.count(slo.indicator.measure, slo.indicator.filter, start, end)
