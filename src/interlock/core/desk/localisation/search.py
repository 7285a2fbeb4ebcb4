"""Candidates: every slice of up to three attributes that lost enough to matter, and how well each explains the loss."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from interlock.core.desk.localisation import chance, tally
from interlock.core.desk.localisation.model import Leaf
from interlock.core.desk.localisation.tally import Counts, Places, Single, Slice, Sums, Table

SLICE_MAX = 3
LOST_MIN = 8
"""Fewer payments are not worth a name."""
LOST_SHARE_MIN = 0.03
"""Of everything lost: a cause explains at least so much of it."""
EXPANDED = 12
"""So many of the best pairs are looked into for a third attribute."""
EXPANDED_AGAIN = 5
"""The same once a cause has been taken out, beside the slices known from before."""
GAIN_MIN = 3.0
"""Slices that explain less are forgotten: nobody would believe them, nor what could be said more precisely of them."""
ERROR_PRIOR = 0.02
"""Failure rate of an error nobody has seen before, as far as a few attempts can tell."""

NOTHING = Counts(0, 0, 0, 0)


class Candidate(NamedTuple):
    where: Slice
    counts: Counts
    expected: float
    """Failures to expect among `counts.now_total`."""
    score: float
    """What it explains, less the price of naming it: for choosing between slices."""
    belief: float
    """The same with drift allowed for: exp(-belief) bounds the probability of chance. For believing it at all."""

    @property
    def lost(self) -> float:
        return self.counts.now_bad - self.expected


class Ground:
    """What does not change while causes are taken out: the table, and which of its rows have which values."""

    def __init__(self, leaves: Sequence[Leaf], *, dimensions: int, outcome: int | None) -> None:
        whole = tally.turned(leaves, dimensions=dimensions)
        now_bad, now, before_bad, before = whole.counts.sum(axis=1).tolist()
        rate = chance.expected_rate(bad=before_bad, total=before, prior=chance.UNKNOWN_RATE)
        self.lost_min: float = max(LOST_MIN, LOST_SHARE_MIN * (now_bad - rate * now))
        self.doubt = chance.doubt(now_total=now, before_total=before)
        """The same for every slice when they are compared, lest a new one, however broken, loses to a wider one with a past."""
        self.outcome = outcome
        plain = [at for at in range(dimensions) if at != outcome]
        self._table = tally.table(whole, lost_min=self.lost_min, rates_by=plain)
        self.table = Table({at: self._table.columns[at] for at in plain}, self._table.counts)
        """Without the outcome, which is no attribute of attempts."""
        self._distinct = [len(np.unique(column.codes)) for column in whole.columns.values()]
        self._places = {at: tally.places(column) for at, column in self._table.columns.items()}
        self._rows_in: dict[Slice, Places] = {}

    def rows_in(self, where: Slice) -> Places:
        """Of a slice of one attribute or more."""
        found = self._rows_in.get(where)
        if found is None:
            (at, code), *others = sorted(where, key=self._size)
            found = self._places[at][code]
            for other, wanted in others:
                found = found[self._table.columns[other].codes.take(found) == wanted]
            self._rows_in[where] = found
        return found

    def errors(self) -> list[int]:
        """Their codes."""
        return list(range(1, len(self._places[self.outcome]))) if self.outcome is not None else []

    def named(self, where: Slice) -> tuple[tuple[int, str], ...]:
        """Dimensions and values instead of codes."""
        return tuple((at, self._table.columns[at].values[code - 1]) for at, code in where)

    def price(self, where: Slice) -> float:
        """Of naming the slice, by how many values there were to choose from."""
        return chance.price([self._distinct[at] for at, _ in where], len(self._distinct)) if where else 0.0

    def _size(self, single: Single) -> int:
        at, code = single
        return len(self._places[at][code])


class Remainder:
    """What is left to explain: everything at first, then without the causes taken out."""

    def __init__(
        self, ground: Ground, table: Table, *, slices: Sums | None = None, failing: Mapping[int, Sums] | None = None
    ) -> None:
        self._ground = ground
        self._table = table
        self._everything = table.total()
        self._slices = slices if slices is not None else {}
        """By one attribute and by more."""
        self._failing = failing if failing is not None else {}
        """Code of an error -> the failures with it, by no, one and two further attributes."""

    @classmethod
    def whole(cls, ground: Ground) -> Remainder:
        """All attempts."""
        table = ground.table
        slices: Sums = {}
        for at, column in table.columns.items():
            sums = np.stack([column.sums(numbers) for numbers in table.counts], axis=1)
            slices |= {((at, code),): Counts(*line) for code, line in enumerate(sums.tolist()) if code}
        among = {where[0] for where, counts in slices.items() if _may_hold(counts, ground.lost_min)}
        slices |= tally.pairs(table, among=among, bad_min=ground.lost_min)
        whole = cls(ground, table, slices=slices)
        whole._failing = whole._found_errors()
        return whole

    def without(self, where: Slice, *, known: Iterable[Slice]) -> Remainder:
        """Without the attempts of a cause; of a cause with an error, with its failures undone, as if they had succeeded.

        Only the slices `known` are followed, and what can be said more precisely of them.
        """
        ground = self._ground
        inside = ground.rows_in(where)
        fields = tally.FAILURES if any(at == ground.outcome for at, _ in where) else range(len(NOTHING))
        counts = self._table.counts.copy()
        for field in fields:
            counts[field, inside] = 0
        slices: Sums = {}
        failing: dict[int, Sums] = {}
        rest = Remainder(ground, Table(self._table.columns, counts), slices=slices, failing=failing)
        for slice_ in known:
            error = next((single for single in slice_ if single[0] == ground.outcome), None)
            within = tuple(single for single in slice_ if single != error)
            if within:
                rest._sum(within)
            if error is not None:
                sums = failing.setdefault(error[1], {})
                # Its expected rate leans on those of the error in wider slices.
                for wider in {(), *((single,) for single in within), within} - sums.keys():
                    sums[wider] = rest._table.total(ground.rows_in((error, *wider)))
        return rest

    def overall(self) -> Candidate:
        """Everything as one slice, which costs nothing to name."""
        return self._weighed((), self._everything)

    def candidates(self, expanded: int = EXPANDED) -> list[Candidate]:
        """Best score first. No slice that lost too little to matter, and none that holds the same attempts as a better one."""
        plain = self._distinct(self._plain())
        pairs = [one for one in plain if len(one.where) == 2]
        return self._distinct([*plain, *self._triples(pairs[:expanded]), *self._with_errors()])

    def _distinct(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Best score first, and of equals always the same; without those that hold the same attempts in more words."""
        found: list[Candidate] = []
        names: dict[Counts, list[Slice]] = {self._everything: [()]}
        for one in sorted(candidates, key=lambda one: (-one.score, one.where)):
            same = names.setdefault(one.counts, [])
            if not any(set(other) < set(one.where) for other in same):
                same.append(one.where)
                found.append(one)
        return found

    def _plain(self) -> Iterator[Candidate]:
        for where, counts in self._slices.items():
            if self._is_lossy(counts):
                yield self._weighed(where, counts)

    def _triples(self, pairs: Sequence[Candidate]) -> Iterator[Candidate]:
        seen: set[Slice] = set()
        for pair in pairs:
            rows, named = self._ground.rows_in(pair.where), [at for at, _ in pair.where]
            for single, counts in tally.split(self._table, rows, without=named, bad_min=self._ground.lost_min):
                where = tuple(sorted((*pair.where, single)))
                if where not in seen:
                    seen.add(where)
                    if self._is_lossy(counts):
                        yield self._weighed(where, counts)

    def _is_lossy(self, counts: Counts) -> bool:
        """Whether a slice has lost enough to be looked at."""
        lost_min = self._ground.lost_min
        lost = counts.now_bad - counts.now_total * _expected_rate(counts)
        return counts.now_bad >= lost_min and lost >= lost_min

    def _with_errors(self) -> Iterator[Candidate]:
        for error, sums in self._failing.items():
            rates: dict[Slice, float] = {}
            for within, failed in sums.items():
                if failed.now_bad < self._ground.lost_min:
                    continue
                whole = self._sum(within)
                rate = self._error_rate(within, sums, rates)
                expected = _trials(failed, whole)[0] * rate
                if failed.now_bad - expected >= self._ground.lost_min:
                    where = tuple(sorted((*within, (self._ground.outcome or 0, error))))
                    yield self._weighed_error(where, failed, whole, expected)

    def _weighed_error(self, where: Slice, failed: Counts, whole: Counts, expected: float) -> Candidate:
        counts = failed._replace(now_total=whole.now_total, before_total=whole.before_total)
        typical = expected / _trials(failed, whole)[0]
        return self._judged(where, counts, expected, trials=_trials(failed, whole)[0], typical=typical)

    def _error_rate(self, within: Slice, sums: Sums, known: dict[Slice, float]) -> float:
        """Of one error, whose failures are `sums`. What is rare leans on what is less so."""
        if within not in known:
            prior = ERROR_PRIOR
            if within:
                overall = self._error_rate((), sums, known)
                prior = overall
                for single in within if len(within) == 2 else ():
                    prior *= self._error_rate((single,), sums, known) / overall
            failed = sums.get(within, NOTHING)
            trials = _trials(failed, self._sum(within))[1]
            known[within] = chance.expected_rate(bad=failed.before_bad, total=trials, prior=min(prior, 1.0))
        return known[within]

    def _sum(self, within: Slice) -> Counts:
        if not within:
            return self._everything
        found = self._slices.get(within)
        if found is None:
            found = self._slices[within] = self._table.total(self._ground.rows_in(within))
        return found

    def _weighed(self, where: Slice, counts: Counts) -> Candidate:
        typical = math.exp(-counts.surprise / counts.now_bad) * _factor(counts) if counts.now_bad else 1.0
        expected = counts.now_total * _expected_rate(counts)
        return self._judged(where, counts, expected, trials=counts.now_total, typical=typical)

    def _judged(self, where: Slice, counts: Counts, expected: float, *, trials: float, typical: float) -> Candidate:
        rate = chance.within_bounds(expected / trials) if trials else chance.UNKNOWN_RATE
        gain = chance.gain(bad=counts.now_bad, total=trials, rate=rate, typical=chance.within_bounds(typical))
        contrast = chance.contrast(bad=counts.now_bad, total=trials, rate=rate, before_total=counts.before_total)
        belief = contrast / chance.dispersion(total=trials, rate=rate)
        price = self._ground.price(where)
        return Candidate(where, counts, expected, gain / self._ground.doubt - price, belief - price)

    def _found_errors(self) -> dict[int, Sums]:
        ground = self._ground
        found: dict[int, Sums] = {}
        for error in ground.errors():
            taken = self._table.only(ground.rows_in(((ground.outcome or 0, error),)))
            sums: Sums = {(): taken.total()}
            every = np.arange(taken.counts.shape[1])
            split = tally.split(taken, every, bad_min=ground.lost_min)
            sums |= {(single,): counts for single, counts in split}
            rates: dict[Slice, float] = {}
            among = {within[0] for within in sums if within and self._error_may_hold(within, sums, rates)}
            if len(among) > 1:
                sums |= tally.pairs(taken, among=among, bad_min=ground.lost_min)
            found[error] = sums
        return found

    def _error_may_hold(self, within: Slice, sums: Sums, rates: dict[Slice, float]) -> bool:
        failed = sums[within]
        trials = _trials(failed, self._sum(within))[0]
        rate = self._error_rate(within, sums, rates)
        return chance.gain(bad=failed.now_bad, total=trials, rate=rate, typical=rate) >= GAIN_MIN


def _trials(failed: Counts, whole: Counts) -> tuple[float, float]:
    """Attempts that failed with the error or succeeded, now and before: those that failed otherwise had no chance to."""
    return whole.now_total - whole.now_bad + failed.now_bad, whole.before_total - whole.before_bad + failed.before_bad


def _factor(counts: Counts) -> float:
    """How its rate before compares with that of its rows: what a slice has of its own, beyond its attributes."""
    leaning = chance.PRIOR_ATTEMPTS * counts.now_expected / counts.now_total if counts.now_total else 1.0
    return (counts.before_bad + leaning) / (counts.before_expected + leaning)


def _expected_rate(counts: Counts) -> float:
    if not counts.now_total:
        return chance.UNKNOWN_RATE
    return chance.within_bounds(_factor(counts) * counts.now_expected / counts.now_total)


def _may_hold(counts: Counts, lost_min: float) -> bool:
    """Whether some slice within may have lost enough: the rest of it may have done better by chance, but not by miracle."""
    expected = counts.now_total * _expected_rate(counts)
    return counts.now_bad >= lost_min and counts.now_bad - expected + 2 * math.sqrt(expected) >= lost_min
