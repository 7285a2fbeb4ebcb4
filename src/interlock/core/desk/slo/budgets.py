"""Burn rates, error budgets and the alerts that follow. Every decision compares whole numbers; nothing is rounded before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from interlock.core.desk.slo.model import (
    NOTHING,
    WHOLE,
    WINDOWS,
    BurnRule,
    Counts,
    Finding,
    Ratio,
    Severity,
    Slo,
    counts_findings,
    ratio,
    total_of,
)
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import Fault, Invalid


class Budget(msgspec.Struct, frozen=True):
    """The error budget of a window. Bad events are attempts, or minor units for money."""

    counts: Counts
    allowed: Ratio
    """Bad events that the target allows among those seen so far."""
    spent: int
    """Bad events."""
    left: Ratio
    """`allowed` without `spent`; below zero when overspent."""
    left_share: Ratio
    """`left` of `allowed`: 1 when nothing is spent or nothing happened yet, below 0 when overspent."""
    findings: tuple[Finding, ...] = ()

    @property
    def is_overspent(self) -> bool:
        """The target is missed. A budget spent to the last event is not overspent."""
        return self.left.over < 0


class Point(msgspec.Struct, frozen=True):
    """One step of a burn-down."""

    at: Millis
    """Start of the slot; the figures are those after it."""
    left_share: Ratio
    counts: Counts
    """Of the slot alone."""


class Firing(msgspec.Struct, frozen=True):
    """A burn rule that holds now."""

    rule: str
    severity: Severity
    short: str
    long: str
    short_burn: Ratio
    long_burn: Ratio
    why: str
    """For the person who is woken."""


def burn_rate(counts: Counts, target: Ratio) -> Ratio:
    """How many times faster than allowed the budget is spent: 1 spends all of it in exactly the objective's window.

    0 without traffic. Raises Invalid for a target that is not between 0 and 1.
    """
    spare = _spare(target)
    return ratio(counts.bad * spare.under, counts.total * spare.over) if counts.total else NOTHING


def burns_above(counts: Counts, target: Ratio, burn_tenths: int) -> bool:
    """Whether the burn rate is strictly above `burn_tenths / 10`, in whole numbers."""
    spare = _spare(target)
    return counts.bad * spare.under * 10 > burn_tenths * counts.total * spare.over


def budget(counts: Counts, target: Ratio) -> Budget:
    """Raises Invalid for a target that is not between 0 and 1."""
    spare = _spare(target)
    allowed = ratio(counts.total * spare.over, spare.under)
    left = ratio(allowed.over - counts.bad * allowed.under, allowed.under)
    share = ratio(left.over * allowed.under, left.under * allowed.over) if allowed.over else WHOLE
    findings = list(counts_findings(counts))
    if counts.total and not Ratio(allowed.over, allowed.under).is_above(WHOLE):
        detail = f"of {counts.total} the target allows no more than one bad one: the share left says little yet"
        findings.append(Finding("few_events", detail))
    return Budget(counts, allowed, counts.bad, left, share, tuple(findings))


def burn_down(
    series: Sequence[tuple[Millis, Counts]], target: Ratio, *, window: Millis, now: Millis
) -> tuple[Point, ...]:
    """How the budget of the whole window was spent, slot by slot.

    `series` holds each slot's start and counts, in any order. What starts before `now - window`, or after `now`, is left out.
    The allowance is the whole window's from the first point on, so the line only falls, and ends where `budget` of the sum
    stands. Raises Invalid for two slots of one start.
    """
    spare = _spare(target)
    slots = sorted((slot for slot in series if now - window <= slot[0] <= now), key=_start)
    if len({at for at, _ in slots}) != len(slots):
        raise Invalid("two slots of a burn-down start at the same time", code="repeated")
    allowed = total_of(counts for _, counts in slots).total * spare.over
    points, spent = [], 0
    for at, counts in slots:
        spent += counts.bad * spare.under
        points.append(Point(at, ratio(allowed - spent, allowed) if allowed else WHOLE, counts))
    return tuple(points)


def alerts(windows: Mapping[str, Counts], slo: Slo) -> tuple[Firing, ...]:
    """The burn rules that hold, pages first. `windows` has the counts of each of `WINDOWS` up to now, by name.

    Raises Invalid naming each window that is missing.
    """
    missing = tuple(
        Fault(f"/{name}", "missing", f"the window {name} was not measured") for name in WINDOWS if name not in windows
    )
    if missing:
        raise Invalid(faults=missing)
    return tuple(_firing(rule, windows, slo) for rule in slo.burn_rules if holds(rule, windows, slo.target))


def holds(rule: BurnRule, windows: Mapping[str, Counts], target: Ratio) -> bool:
    """Both windows burn too fast, and the long one has seen enough attempts, and enough bad ones, to be believed."""
    long = windows[rule.long]
    return (
        long.seen >= rule.events_min
        and long.seen_bad >= rule.bad_min
        and burns_above(long, target, rule.burn_tenths)
        and burns_above(windows[rule.short], target, rule.burn_tenths)
    )


def spent_after(left_share: Ratio, burn: Ratio, window: Millis) -> Millis | None:
    """In how long the rest of the budget is spent if it goes on like that; 0 if it is spent already, None if it never is."""
    if left_share.over <= 0:
        return 0
    if burn.over <= 0:
        return None
    return window * left_share.over * burn.under // (left_share.under * burn.over)


def _firing(rule: BurnRule, windows: Mapping[str, Counts], slo: Slo) -> Firing:
    short, long = windows[rule.short], windows[rule.long]
    short_burn, long_burn = burn_rate(short, slo.target), burn_rate(long, slo.target)
    why = (
        f"{long.seen_bad} of {long.seen} attempts in {rule.long} were bad; the budget of {slo.window_days} days burns "
        f"{long_burn.decimal(1)} times too fast over {rule.long} and {short_burn.decimal(1)} times over {rule.short} "
        f"(alert above {rule.burn_tenths // 10}.{rule.burn_tenths % 10})"
    )
    return Firing(rule.name, rule.severity, rule.short, rule.long, short_burn, long_burn, why)


def _spare(target: Ratio) -> Ratio:
    if not 0 < target.over < target.under:
        raise Invalid("a target lies between 0 and 1, neither included", code="target_out_of_range")
    return target.less_than_one_by()


def _start(slot: tuple[Millis, Counts]) -> Millis:
    return slot[0]
