"""What localisation is compared with: two simple ways to answer the same question."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from interlock.core.desk.localisation.model import DIMENSIONS, Leaf, Where

Named = list[Where]
"""Best first. Empty: no drop."""
Z_MIN = 3.1
"""Of the success rate over everything, one-sided: one calm window in a thousand, were attempts independent."""

EXPLAINED_EACH = 0.1
EXPLAINED_TOGETHER = 0.67
"""Adtributor's thresholds of explanatory power, as its authors used them."""


class _Tally:
    """Failures by each attribute, and what the rate over everything would lead to expect of them."""

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        self.before_total = sum(leaf.before_total for leaf in leaves)
        self.now_total = sum(leaf.now_total for leaf in leaves)
        self.before_bad = self.before_total - sum(leaf.before_good for leaf in leaves)
        self.now_bad = self.now_total - sum(leaf.now_good for leaf in leaves)
        self.by_value: list[dict[str, list[int]]] = [{} for _ in DIMENSIONS]
        """For each dimension and value: attempts and failures before, attempts and failures now."""
        for attributes, before_total, before_good, now_total, now_good in leaves:
            for at, value in enumerate(attributes):
                if value is not None:
                    sums = self.by_value[at].setdefault(value, [0, 0, 0, 0])
                    sums[0] += before_total
                    sums[1] += before_total - before_good
                    sums[2] += now_total
                    sums[3] += now_total - now_good

    def has_dropped(self) -> bool:
        if not self.before_total or not self.now_total:
            return False
        rate = (self.before_bad + self.now_bad) / (self.before_total + self.now_total)
        spread = math.sqrt(rate * (1 - rate) * (1 / self.before_total + 1 / self.now_total))
        return self.now_bad / self.now_total - self.before_bad / self.before_total > Z_MIN * spread

    def slices(self) -> Iterator[tuple[int, str, float, int]]:
        """Dimension, value, failures expected and failures. Those of an error are expected by volume, others by rate."""
        for at, values in enumerate(self.by_value):
            for value, (before_total, before_bad, now_total, now_bad) in values.items():
                if DIMENSIONS[at] == "error":
                    yield at, value, before_bad * self.now_total / self.before_total, now_bad
                elif before_total:
                    yield at, value, now_total * before_bad / before_total, now_bad


def largest_loss(leaves: Sequence[Leaf]) -> Named:
    """Single attributes by the payments they lost, most first: what a dashboard sorted by one column shows."""
    tally = _Tally(leaves)
    if not tally.has_dropped():
        return []
    lost = [(bad - expected, at, value) for at, value, expected, bad in tally.slices()]
    return [((DIMENSIONS[at], value),) for _, at, value in sorted(lost, key=lambda one: -one[0])]


def adtributor(leaves: Sequence[Leaf]) -> Named:
    """After Bhagwan et al., NSDI 2014: for each dimension the fewest values that explain the change; surprise ranks them.

    It looks at failures, forecast from the day before, and answers with values of one dimension; each is a cause here.
    """
    tally = _Tally(leaves)
    if not tally.has_dropped():
        return []
    forecast_all = tally.before_bad * tally.now_total / tally.before_total
    change = tally.now_bad - forecast_all
    scale = tally.now_total / tally.before_total
    found: list[tuple[float, list[Where]]] = []
    for at, values in enumerate(tally.by_value):
        surprises = []
        for value, (_, before_bad, _, now_bad) in values.items():
            power = (now_bad - before_bad * scale) / change
            surprises.append((_surprise(before_bad * scale / forecast_all, now_bad / tally.now_bad), power, value))
        surprises.sort(reverse=True)
        chosen: list[Where] = []
        explained = total = 0.0
        for surprise, power, value in surprises:
            if power > EXPLAINED_EACH and explained <= EXPLAINED_TOGETHER:
                chosen.append(((DIMENSIONS[at], value),))
                explained += power
                total += surprise
        if explained > EXPLAINED_TOGETHER:
            found.append((total, chosen))
    return [cause for _, causes in sorted(found, key=lambda one: -one[0]) for cause in causes]


def _surprise(forecast: float, found: float) -> float:
    """One value's part of the Jensen-Shannon divergence."""
    mean = (forecast + found) / 2
    return 0.5 * sum(part * math.log(part / mean) for part in (forecast, found) if part > 0)
