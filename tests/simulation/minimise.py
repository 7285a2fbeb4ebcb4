"""From a failing run to the few faults it takes: leave out whole kinds, whole places, halves, then single faults, while the
same rule breaks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from tests.simulation.run import Run, simulate

RUNS_MAX = 150


def minimise(failed: Run, *, runs_max: int = RUNS_MAX) -> tuple[Run, int]:
    """The smallest run found that breaks the same rule, and how many runs it took."""
    search = _Search(failed, runs_max)
    search.without(failed.faults)
    for key in (_kind, _place):
        for group in _groups(search.best.faults, key):
            search.without(group)
    size = len(search.best.faults) // 2
    while size and search.goes_on:
        left_out = [search.without(part) for part in _parts(search.best.faults, size)]
        if size > 1 or not any(left_out):  # single faults are gone through until none is left out
            size //= 2
    return search.best, search.runs


class _Search:
    def __init__(self, failed: Run, runs_max: int) -> None:
        self.best, self.runs, self._runs_max = failed, 0, runs_max

    @property
    def goes_on(self) -> bool:
        return self.runs < self._runs_max and bool(self.best.faults)

    def without(self, part: Iterable[str]) -> bool:
        """Leave these out, too, if the same rule breaks then."""
        left_out = set(part)
        left = tuple(fault for fault in self.best.faults if fault not in left_out)
        if not self.goes_on or len(left) == len(self.best.faults):
            return False
        self.runs += 1
        again = simulate(self.best.seed, only=left)
        if again.rule != self.best.rule or len(again.faults) >= len(self.best.faults):
            return False
        self.best = again
        return True


def _groups(faults: Sequence[str], key: object) -> list[list[str]]:
    """The largest first."""
    assert callable(key)
    return sorted((list(group) for _, group in groupby(sorted(faults, key=key), key)), key=len, reverse=True)


def _parts(faults: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """From behind: what happened last is needed least often."""
    for end in range(len(faults), 0, -size):
        yield faults[max(0, end - size) : end]


def _kind(fault: str) -> str:
    return fault.rpartition(":")[2]


def _place(fault: str) -> str:
    return fault.partition("#")[0]
