"""Counts made shorter: what is rare is no longer told apart, so that as many are kept as there is room for and no more."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from interlock.core.kernel.documents import Scalar, Tally


class Folding(NamedTuple):
    """How far. The other fields stay as they are, so it is for those to have few values."""

    fields: frozenset[str]
    """Whose rare values count as if they were not known: as None."""
    hour_max: int
    """Combinations kept of an hour."""
    day_max: int


def folded(counted: Sequence[Tally], places: Collection[int], rows_max: int) -> list[Tally]:
    """The same attempts in at most `rows_max` rows, as long as one of `places` has a value left to give up.

    The one with the most values loses the rarer half of them, again and again. Rare means few attempts, however they went:
    rates of what is left stay what they were, but for fields that only failed attempts have, which are not to be folded.
    """
    rows = list(counted)
    if len(rows) <= rows_max:
        return rows
    kept = {place: _commonest_first(rows, place) for place in places}
    while len(rows) > rows_max and any(kept.values()):
        widest = max(kept, key=lambda place: (len(kept[place]), place))
        kept[widest] = kept[widest][: len(kept[widest]) // 2]
        rows = _without_others(rows, widest, frozenset(kept[widest]))
    return rows


def _commonest_first(rows: Sequence[Tally], place: int) -> list[Scalar]:
    numbers: dict[Scalar, int] = {}
    for values, number, _ in rows:
        value = values[place]
        if value is not None:
            numbers[value] = numbers.get(value, 0) + number
    return sorted(numbers, key=lambda value: (-numbers[value], str(value)))


def _without_others(rows: Sequence[Tally], place: int, kept: frozenset[Scalar]) -> list[Tally]:
    found: dict[tuple[Scalar | None, ...], Tally] = {}
    for row in rows:
        values = row.values
        if values[place] is not None and values[place] not in kept:
            values = (*values[:place], None, *values[place + 1 :])
        known = found.get(values)
        number = row.number + (known.number if known else 0)
        sums = tuple(map(sum, zip(row.sums, known.sums, strict=True))) if known else row.sums
        found[values] = Tally(values, number, sums)
    return list(found.values())
