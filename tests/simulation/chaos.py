"""What goes wrong, when: drawn from a seed, counted, named, and left out again to find the few faults that matter.

Every place where something can go wrong has a stream of chance of its own, so that a fault left out changes no other draw.
A fault's name is its place, its number there and its kind: `api_1.2/store.commit#17:conflict`.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from itertools import accumulate

Rates = Mapping[str, float]
"""Fault -> its share of all calls at a place; together at most 1."""


class Chaos:
    """All chance of one run. `only` names the faults that may happen; None lets all."""

    def __init__(self, seed: int, *, only: Collection[str] | None = None) -> None:
        self.seed = seed
        self._only = None if only is None else frozenset(only)
        self.calm = False
        """Set once nothing may go wrong any more."""
        self.happened: list[str] = []
        self.counts: Counter[str] = Counter()
        self.note: Callable[[str], None] = lambda fault: None

    def stream(self, name: str) -> random.Random:
        """Chance for one purpose."""
        return random.Random(f"{self.seed}/{name}")

    def place(self, name: str, rates: Rates) -> Place:
        return Place(self, name, rates)

    def happens(self, fault: str) -> bool:
        """Whether a fault that was drawn may happen; if so it is on record."""
        if self.calm or (self._only is not None and fault not in self._only):
            return False
        self.happened.append(fault)
        self.counts[fault.partition(":")[2]] += 1
        self.note(fault)
        return True


class Place:
    """Somewhere something can go wrong."""

    __slots__ = ("_chaos", "_draw", "_kinds", "_name", "_number", "_shares", "random")

    def __init__(self, chaos: Chaos, name: str, rates: Rates) -> None:
        self._chaos, self._name = chaos, name
        wanted = {kind: rate for kind, rate in rates.items() if rate > 0}
        self._kinds = list(wanted)
        self._shares = list(accumulate(wanted.values()))
        self.random = chaos.stream(name)
        self._draw = self.random.random
        self._number = 0

    def draw(self) -> str | None:
        """What goes wrong this time, if anything."""
        if not self._shares:
            return None
        self._number += 1
        place = bisect_right(self._shares, self._draw())
        if place == len(self._kinds):
            return None
        kind = self._kinds[place]
        return kind if self._chaos.happens(f"{self._name}#{self._number}:{kind}") else None
