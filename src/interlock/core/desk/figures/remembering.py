"""Attempts counted hour by hour and day by day, once: what is over is remembered, what is not is counted.

An hour that somebody counts has a mark. Whoever changes a row of that hour raises the mark afterwards, and what was counted
under a lower one is counted anew. The mark is read before the rows are, so a count that missed a change is never believed.
A day is remembered under the sum of its hours' marks, which only rise.
"""

from __future__ import annotations

from collections.abc import Collection as Bag
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2s
from typing import NamedTuple

import msgspec

from interlock.core.desk.figures.folding import Folding, folded
from interlock.core.desk.figures.model import ATTEMPTS, COUNTS, DESK
from interlock.core.kernel import ids
from interlock.core.kernel.clock import DAY, HOUR, MINUTE, Clock, Millis
from interlock.core.kernel.documents import Document, Documents, Scalar, Tallies, Tally

OVER: Millis = 5 * MINUTE
"""So long after its end most attempts of an hour have their outcome. A later one costs another count, no more."""
SINGLE = frozenset({"duration_ms"})
"""Nearly every attempt has a value of its own: remembering would be copying."""
WITHIN_HOURS = frozenset({"slot"})
"""Days are no shorter by these."""
AT_ONCE = 500
ROWS_MAX = 4_000
"""Of an hour or a day that has more combinations of values nothing is remembered: they are counted whenever somebody asks."""


async def recount(documents: Documents, attempt_ids: Iterable[str]) -> None:
    """To be called after the rows of these attempts were written. Safe to repeat."""
    for hour in {_hour_of(ids.instant_of(id)) for id in attempt_ids}:
        mark = await documents.get(COUNTS.name, _mark(hour), tenant=DESK)
        if mark is not None:
            # Somebody who raises it at the same moment has written their rows before, too: once is enough.
            await documents.upsert(COUNTS.name, [mark._replace(version=mark.version + 1)])


class RememberedTallies:
    """`Tallies` over another one. Of anything but attempts, and of less than an hour, it is the other one.

    With a `folding` it remembers hours and days of any number of combinations, and tells rare values of them no longer apart.
    """

    def __init__(self, documents: Documents, counting: Tallies, clock: Clock, folding: Folding | None = None) -> None:
        self._documents = documents
        self._counting = counting
        self._clock = clock
        self._folding = folding

    async def tally(
        self,
        collection: str,
        *,
        tenant: str,
        by: Sequence[str],
        sums: Sequence[str] = (),
        where: Mapping[str, Scalar] | None = None,
        id_from: str = "",
        id_before: str = "~",
    ) -> list[Tally]:
        where = where or {}
        shape = _Shape.of(by, sums, where, self._folding)
        hours = self._hours(id_from, id_before)
        is_kept = SINGLE.isdisjoint(shape.by) and shape.folds.isdisjoint(where)
        if (collection, tenant) != (ATTEMPTS.name, DESK) or not hours or not is_kept:
            return await self._counting.tally(
                collection, tenant=tenant, by=by, sums=sums, where=where, id_from=id_from, id_before=id_before
            )
        first, behind = hours
        known = await self._remembered(shape, first, behind)
        known += await self._count(shape, id_from, _id_at(first))
        known += await self._count(shape, _id_at(behind), id_before)
        return shape.answer(known, by, sums, where)

    def _hours(self, id_from: str, id_before: str) -> tuple[Millis, Millis] | None:
        """The first whole hour of the range, and the end of its last one that is over."""
        try:
            start, end = ids.instant_of(id_from), ids.instant_of(id_before)
        except ValueError:
            return None
        first = -(-start // HOUR) * HOUR
        if _id_at(first) < id_from:
            first += HOUR
        behind = min(_hour_of(end), _hour_of(self._clock.now() - OVER))
        return (first, behind) if ids.is_id(id_from, ids.ATTEMPT) and first < behind else None

    async def _remembered(self, shape: _Shape, first: Millis, behind: Millis) -> list[Tally]:
        """Of whole hours. Days first, and hours where there is no whole day, or none that is still true."""
        marks = {_at(one): one.version for one in await self._find("mark", first, behind)}
        first_day, behind_day = -(-first // DAY) * DAY, behind // DAY * DAY
        if first_day >= behind_day or not WITHIN_HOURS.isdisjoint(shape.by):
            return await self._by_the_hour(shape, first, behind, marks)
        found = await self._by_the_hour(shape, first, first_day, marks)
        known = {_at(one): one for one in await self._find(f"{shape.name}.day", first_day, behind_day)}
        for day in range(first_day, behind_day, DAY):
            under = sum(marks.get(hour, 0) for hour in range(day, day + DAY, HOUR))
            if day in known and known[day].version == under:
                found += _decode(known[day].body)
            else:
                found += await self._whole_day(shape, day, marks)
        return found + await self._by_the_hour(shape, behind_day, behind, marks)

    async def _whole_day(self, shape: _Shape, day: Millis, marks: dict[Millis, int]) -> list[Tally]:
        counted = shape.answer(await self._by_the_hour(shape, day, day + DAY, marks), shape.by, shape.sums, {})
        if self._folding:
            counted = shape.folded(counted, self._folding.day_max)
        under = sum(marks[hour] for hour in range(day, day + DAY, HOUR))
        await self._remember(f"{shape.name}.day", day, under, counted)
        return counted

    async def _by_the_hour(self, shape: _Shape, first: Millis, behind: Millis, marks: dict[Millis, int]) -> list[Tally]:
        """Adds the marks of hours that nobody had counted."""
        if first >= behind:
            return []
        known = {_at(one): one for one in await self._find(f"{shape.name}.hour", first, behind)}
        found: list[Tally] = []
        for hour in range(first, behind, HOUR):
            if hour in known and known[hour].version == marks.get(hour):
                found += _decode(known[hour].body)
                continue
            if hour not in marks:
                marks[hour] = await self._marked(hour)
            counted = await self._count(shape, _id_at(hour), _id_at(hour + HOUR))
            if self._folding:
                counted = shape.folded(counted, self._folding.hour_max)
            await self._remember(f"{shape.name}.hour", hour, marks[hour], counted)
            found += counted
        return found

    async def _marked(self, hour: Millis) -> int:
        await self._documents.upsert(COUNTS.name, [Document(_mark(hour), DESK, 1, {}, b"{}")])
        mark = await self._documents.get(COUNTS.name, _mark(hour), tenant=DESK)
        assert mark is not None, "marks are never deleted"
        return mark.version

    async def _remember(self, kind: str, at: Millis, under: int, counted: Sequence[Tally]) -> None:
        if len(counted) > ROWS_MAX:
            return
        document = Document(_name(kind, at), DESK, under, {}, _encode(counted))
        await self._documents.upsert(COUNTS.name, [document])

    async def _count(self, shape: _Shape, id_from: str, id_before: str) -> list[Tally]:
        if id_from >= id_before:
            return []
        return await self._counting.tally(
            ATTEMPTS.name, tenant=DESK, by=shape.by, sums=shape.sums, id_from=id_from, id_before=id_before
        )

    async def _find(self, kind: str, first: Millis, behind: Millis) -> list[Document]:
        found: list[Document] = []
        after = _name(kind, behind)
        while True:
            page = await self._documents.find(
                COUNTS.name, tenant=DESK, id_from=_name(kind, first), after=after, limit=AT_ONCE
            )
            found += page
            if len(page) < AT_ONCE:
                return found
            after = page[-1].id


class _Shape(NamedTuple):
    """What is remembered for a question: its fields and those it filters by, so that one count answers for every filter."""

    name: str
    by: tuple[str, ...]
    sums: tuple[str, ...]
    folds: frozenset[str]
    """Those of its fields whose rare values are not kept."""

    @classmethod
    def of(cls, by: Sequence[str], sums: Sequence[str], where: Bag[str], folding: Folding | None) -> _Shape:
        fields, added = tuple(sorted({*by, *where})), tuple(sorted(set(sums)))
        folds = folding.fields & set(fields) if folding else frozenset[str]()
        told = f"{','.join(fields)}+{','.join(added)}"
        if folding:
            told += f"-{','.join(sorted(folds))}<{folding.hour_max},{folding.day_max}"
        return cls(blake2s(told.encode(), digest_size=8).hexdigest(), fields, added, folds)

    def folded(self, counted: Sequence[Tally], rows_max: int) -> list[Tally]:
        return folded(counted, [self.by.index(field) for field in self.folds], rows_max)

    def answer(
        self, counted: Iterable[Tally], by: Sequence[str], sums: Sequence[str], where: Mapping[str, Scalar]
    ) -> list[Tally]:
        """What was asked, out of counts of this shape, which may repeat themselves."""
        places = [self.by.index(field) for field in by]
        added = [self.sums.index(field) for field in sums]
        wanted = [(self.by.index(field), value) for field, value in where.items()]
        found: dict[tuple[Scalar | None, ...], list[int]] = {}
        for values, number, totals in counted:
            if any(values[place] != value for place, value in wanted):
                continue
            key = tuple([values[place] for place in places])
            row = found.get(key)
            if row is None:
                row = found[key] = [0] * (1 + len(added))
            row[0] += number
            for at, place in enumerate(added, 1):
                row[at] += totals[place]
        return [Tally(key, row[0], tuple(row[1:])) for key, row in found.items()]


def _hour_of(at: Millis) -> Millis:
    return at // HOUR * HOUR


def _id_at(at: Millis) -> str:
    return ids.format_id(ids.ATTEMPT, at, 0)


def _mark(hour: Millis) -> str:
    return _name("mark", hour)


def _name(kind: str, at: Millis) -> str:
    return f"{kind}.{at:013d}"


def _at(document: Document) -> Millis:
    return int(document.id.rpartition(".")[2])


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Tally]).decode
