"""What is asked and answered: attempts tallied by their attributes in two windows, and the slices that explain a drop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from interlock.core.kernel.errors import Fault, Invalid

DIMENSIONS = ("provider", "method", "brand", "country", "bin", "error", "version", "merchant")
OUTCOME = "error"
"""The dimension that only failed attempts have. It is a way to fail, so it has a count and no success rate."""
ATTEMPTS_MAX = 1 << 26
"""In one window, over all leaves."""

Pair = tuple[str, str]
"""Dimension and value."""
Where = tuple[Pair, ...]
"""One to three pairs, in the order of the dimensions. All of them hold at once."""
Verdict = Literal["drop", "calm", "inconclusive"]


class Leaf(NamedTuple):
    """Attempts with the same attributes. Several leaves may have the same ones; they add up."""

    attributes: tuple[str | None, ...]
    """A value for each dimension, in their order. None: not known, or not there. No slice is ever named by None."""
    before_total: int
    before_good: int
    now_total: int
    now_good: int


class Evidence(NamedTuple):
    """Counts behind a claim. For a slice with an error, `good` counts the attempts that did not fail with that error."""

    before_total: int
    before_good: int
    now_total: int
    now_good: int
    expected_good: float
    """Of `now_total`, had nothing changed: by the rate before, drawn towards coarser slices where that rests on few attempts."""
    significance: float
    """How probable a drop this large is by chance, somewhere among all slices searched; rather too high than too low. 0 to 1."""

    @property
    def lost(self) -> float:
        """Payments that should have succeeded and did not. Negative when more succeeded than expected."""
        return self.expected_good - self.now_good


class Cause(NamedTuple):
    where: Where
    score: float
    """Natural logarithm of how much likelier the counts are with this slice broken, less the price of naming it."""
    statement: str
    evidence: Evidence
    lost: float
    """Payments lost in this slice, without those that causes further up already explain."""
    share: float
    """Of everything lost, 0 to 1."""
    alternative: bool
    """False: holds together with the other causes. True: another reading of the same loss, less likely than they are."""


class Finding(NamedTuple):
    verdict: Verdict
    drop: Evidence
    """Over all attempts."""
    lost: float
    """All that was lost: over all attempts, or in the causes together where gains elsewhere hide them."""
    causes: tuple[Cause, ...]
    """Those that hold together first, largest loss first; then alternatives, best score first."""
    statement: str


def refuse_faulty(leaves: Sequence[Leaf], dimensions: Sequence[str], outcome: str) -> None:
    """Raises Invalid and names the first faulty leaf: attributes that do not fit the dimensions, or counts that cannot be."""
    if len(set(dimensions)) != len(dimensions):
        raise Invalid(faults=(Fault("/dimensions", "repeated", "each dimension once"),))
    width = len(dimensions)
    failed_at = dimensions.index(outcome) if outcome in dimensions else None
    before = now = 0
    for i, (attributes, before_total, before_good, now_total, now_good) in enumerate(leaves):
        if len(attributes) != width:
            raise Invalid(faults=(Fault(f"/leaves/{i}", "width", f"{len(attributes)} attributes, {width} dimensions"),))
        if not (0 <= before_good <= before_total and 0 <= now_good <= now_total):
            raise Invalid(faults=(Fault(f"/leaves/{i}", "counts", "0 <= good <= total does not hold"),))
        if (before_good or now_good) and failed_at is not None and attributes[failed_at] is not None:
            raise Invalid(faults=(Fault(f"/leaves/{i}", "outcome", "succeeded with an error"),))
        before += before_total
        now += now_total
    if max(before, now) > ATTEMPTS_MAX:
        raise Invalid(faults=(Fault("/leaves", "too_many", f"more than {ATTEMPTS_MAX} attempts"),))
