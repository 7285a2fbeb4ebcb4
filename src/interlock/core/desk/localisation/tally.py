"""Sums over slices: attempts and failures, before and now, by one attribute and by two.

A table is laid out in columns of numbers, because adding up tens of thousands of rows is nearly all of the work here.
What is counted is whole, or whole 1024ths, so a sum is exact and the same in any order.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from interlock.core.desk.localisation import chance
from interlock.core.desk.localisation.expectation import Codes, Numbers, expected_rates
from interlock.core.desk.localisation.model import Leaf

_SCALE = 1024
"""What is not whole is counted in 1024ths."""
VALUES_FEW = 8
"""A dimension with no more values is not worth thinning out."""
_KEY_MAX = 1 << 62

Single = tuple[int, int]
"""Index of a dimension and the code of a value of it."""
Slice = tuple[Single, ...]
"""In the order of the dimensions; empty: everything."""
Places = NDArray[np.intp]
"""Which rows, in order."""


class Counts(NamedTuple):
    now_bad: float
    now_total: float
    before_bad: float
    before_total: float
    now_expected: float = 0.0
    """Failures that the rates of its rows lead to expect."""
    before_expected: float = 0.0
    surprise: float = 0.0
    """Minus the logarithm of the expected rate, added up over the failures now."""


Sums = dict[Slice, Counts]

FAILURES = [Counts._fields.index(name) for name in ("now_bad", "before_bad", "surprise")]
"""Only what failures add to a sum: without it they count as successes."""


class Column(NamedTuple):
    """One dimension: the code of its value in each row, 0 where there is none to tell."""

    codes: Codes
    values: tuple[str, ...]
    """In order; the first has code 1."""

    def only(self, rows: Places) -> Column:
        return Column(self.codes.take(rows), self.values)

    def holding(self, kept: Collection[int]) -> Column:
        """With those values alone. The rows of others have none to tell."""
        new = np.zeros(len(self.values) + 1, np.intp)
        ordered = sorted(kept)
        new[ordered] = range(1, len(ordered) + 1)
        return Column(new[self.codes], tuple(self.values[code - 1] for code in ordered))

    def sums(self, numbers: Numbers) -> Numbers:
        """By code."""
        return added(self.codes, numbers, len(self.values) + 1)


class Table(NamedTuple):
    columns: Mapping[int, Column]
    """By the index of their dimension."""
    counts: Numbers
    """One line for each field of `Counts`, one place in it for each row."""

    def only(self, rows: Places) -> Table:
        return Table({at: column.only(rows) for at, column in self.columns.items()}, self.counts.take(rows, axis=1))

    def total(self, rows: Places | None = None) -> Counts:
        counts = self.counts if rows is None else self.counts.take(rows, axis=1)
        return Counts(*counts.sum(axis=1).tolist())


def added(codes: Codes, numbers: Numbers, size: int) -> Numbers:
    """Sums by code, of which there are `size`."""
    return np.bincount(codes, numbers, size).astype(np.float64, copy=False)


def coded(values: Sequence[str | None]) -> Column:
    known = sorted({value for value in values if value is not None})
    code_of: dict[str | None, int] = {value: code for code, value in enumerate(known, 1)}
    code_of[None] = 0
    return Column(np.fromiter(map(code_of.__getitem__, values), np.intp, len(values)), tuple(known))


def turned(leaves: Sequence[Leaf], *, dimensions: int) -> Table:
    """Leaves as a table of attempts, nothing expected of them yet."""
    if not leaves:
        return Table({at: coded(()) for at in range(dimensions)}, np.zeros((4, 0)))
    attributes, *counts = zip(*leaves, strict=True)
    before_total, before_good, now_total, now_good = np.array(counts, np.float64)
    columns = {at: coded(values) for at, values in enumerate(zip(*attributes, strict=True))}
    return Table(columns, np.stack([now_total - now_good, now_total, before_total - before_good, before_total]))


def table(whole: Table, *, lost_min: float, rates_by: Collection[int]) -> Table:
    """One row for each combination of attributes worth telling apart, with what to expect of it.

    A value in which nothing can have lost `lost_min` is told no more, and rows that are the same then become one. That
    removes the long tail of merchants and BINs. Each row's expected rate follows from its values of the dimensions
    `rates_by`.
    """
    everything = whole.total()
    kept = {}
    for at, column in whole.columns.items():
        # Failures with an error count against all attempts, those with any other value against its own.
        volume = None if at in rates_by else everything
        kept[at] = column.holding(_lossy(column, whole.counts, volume, lost_min))
    columns, (bad, total, before_bad, before_total) = merged(kept, whole.counts)
    rates = expected_rates([columns[at].codes for at in rates_by], before_bad, before_total)
    uncounted = np.stack([total * rates, before_total * rates, bad * -np.log(rates)])
    counts: Numbers = np.stack([bad, total, before_bad, before_total, *np.floor(uncounted * _SCALE) / _SCALE])
    return Table(columns, counts)


def merged(columns: Mapping[int, Column], counts: Numbers) -> Table:
    """Rows with the same values are one."""
    key = np.zeros(counts.shape[1], np.intp)
    keys = 1
    for column in columns.values():
        if keys * (len(column.values) + 1) > _KEY_MAX:
            distinct, key = np.unique(key, return_inverse=True)
            keys = len(distinct)
        keys *= len(column.values) + 1
        key = key * (len(column.values) + 1) + column.codes
    _, first, row = np.unique(key, return_index=True, return_inverse=True)
    sums = np.stack([added(row, numbers, len(first)) for numbers in counts])
    return Table({at: column.only(first) for at, column in columns.items()}, sums)


def _lossy(column: Column, counts: Numbers, volume: Counts | None, lost_min: float) -> list[int]:
    """Those values of a dimension within which some slice may have lost enough.

    `volume`: all attempts, which failures with an error are counted against; None: each value's own attempts.
    """
    bad = column.sums(counts[0])
    found = [int(code) for code in np.flatnonzero(bad >= lost_min) if code]
    if len(found) <= VALUES_FEW:
        return found
    sums = np.stack([column.sums(numbers) for numbers in counts])
    return [code for code in found if _may_hold(own := Counts(*sums[:, code].tolist()), volume or own, lost_min)]


def _may_hold(own: Counts, volume: Counts, lost_min: float) -> bool:
    """Whether a part of it may have lost enough: the rest may have done better by chance, but not by miracle."""
    prior = own.now_bad / volume.now_total
    rate = chance.expected_rate(bad=own.before_bad, total=volume.before_total, prior=prior)
    expected = volume.now_total * rate
    return own.now_bad - expected + 2 * math.sqrt(expected) >= lost_min


def places(column: Column) -> list[Places]:
    """By code, the rows with each value; those without one come first."""
    ordered = np.argsort(column.codes, kind="stable")
    return np.split(ordered, np.bincount(column.codes, minlength=len(column.values) + 1).cumsum()[:-1])


def pairs(table: Table, *, among: Collection[Single], bad_min: float) -> Sums:
    """Slices of two attributes, both of them `among` those given, with `bad_min` failures now."""
    sums: Sums = {}
    wanted = [at for at in table.columns if any(single[0] == at for single in among)]
    kept = {at: _marked(len(table.columns[at].values), [code for one, code in among if one == at]) for at in wanted}
    for number, first in enumerate(wanted):
        for second in wanted[number + 1 :]:
            width = len(kept[second])
            both = table.columns[first].codes * width + table.columns[second].codes
            size = len(kept[first]) * width
            found = np.flatnonzero(added(both, table.counts[0], size) >= bad_min)
            found = found[kept[first][found // width] & kept[second][found % width]]
            for code, counts in _each(table.counts, both, size, found):
                sums[(first, code // width), (second, code % width)] = counts
    return sums


def split(
    table: Table, rows: Places, *, without: Collection[int] = (), bad_min: float
) -> Iterator[tuple[Single, Counts]]:
    """Sums over the chosen rows by each value of each other dimension that has `bad_min` failures now."""
    counts = table.counts.take(rows, axis=1)
    for at, column in table.columns.items():
        if at in without:
            continue
        codes, size = column.codes.take(rows), len(column.values) + 1
        found = np.flatnonzero(added(codes, counts[0], size) >= bad_min)
        for code, sums in _each(counts, codes, size, found[found > 0]):
            yield (at, code), sums


def _marked(values: int, codes: Sequence[int]) -> NDArray[np.bool_]:
    marks = np.zeros(values + 1, np.bool_)
    marks[codes] = True
    return marks


def _each(counts: Numbers, codes: Codes, size: int, found: Codes) -> Iterable[tuple[int, Counts]]:
    """Those sums by code that were `found` worth it."""
    if not len(found):
        return ()
    sums = np.stack([added(codes, numbers, size).take(found) for numbers in counts], axis=1)
    return zip(found.tolist(), (Counts(*line) for line in sums.tolist()), strict=True)
