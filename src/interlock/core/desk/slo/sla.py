"""A month's service levels as agreed with merchants: figures, whether they were met, and what was left to spend."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from interlock.core.desk.slo.budgets import Budget, budget
from interlock.core.desk.slo.model import Counts, Measure, Ratio, ratio, total_of
from interlock.core.kernel.errors import Fault, Invalid

EVERYONE = ""
"""As a merchant among the agreed targets: those without their own."""


class SlaRow(NamedTuple):
    """What was counted in the month. Without a provider: over all of them."""

    merchant: str
    provider: str | None
    availability: Counts
    latency: Counts | None = None


class Agreed(msgspec.Struct, frozen=True):
    availability: Ratio
    latency: Ratio | None = None
    """None: nothing is promised, and the figure is only shown."""


class Line(msgspec.Struct, frozen=True):
    """One figure of one merchant."""

    merchant: str
    provider: str | None
    """With one: where the merchant's figure comes from. It carries no verdict: the promise is for the whole."""
    measure: Measure
    counts: Counts
    reached: Ratio | None
    """None without traffic."""
    target: Ratio | None
    verdict: str
    """met, missed, no_traffic, doubtful (more good than total) or empty: nothing was promised."""
    budget: Budget | None
    """None where nothing was promised."""


class Report(msgspec.Struct, frozen=True):
    month: str
    """YYYY-MM, UTC."""
    lines: tuple[Line, ...]
    """By merchant; the whole before its providers, availability before latency."""
    merchants_missed: tuple[str, ...]
    """Those with a figure that missed its target."""
    merchants_doubtful: tuple[str, ...]
    """Those with a figure that cannot be right: settle these before the report goes out."""


def sla_report(month: str, rows: Sequence[SlaRow], agreed: Mapping[str, Agreed]) -> Report:
    """A merchant with rows by provider only is judged by their sum; with a row over all, by that one.

    Targets are the merchant's own or those of `EVERYONE`. Raises Invalid naming a bad month, each merchant and provider that is
    there twice, each merchant to whom nothing was promised, and targets that are not between 0 and 1.
    """
    faults = [*_faults(month, rows, agreed)]
    if faults:
        raise Invalid(faults=tuple(faults))
    lines: list[Line] = []
    by_merchant: dict[str, list[SlaRow]] = {}
    for row in rows:
        by_merchant.setdefault(row.merchant, []).append(row)
    for merchant in sorted(by_merchant):
        own = sorted(by_merchant[merchant], key=_by_provider)
        targets = agreed.get(merchant) or agreed[EVERYONE]
        whole = own[0] if own[0].provider is None else _summed(merchant, own)
        lines += _lines(whole, targets)
        lines += [line for row in own if row.provider is not None for line in _lines(row, None)]
    return Report(month, tuple(lines), _merchants(lines, "missed"), _merchants(lines, "doubtful"))


def _faults(month: str, rows: Sequence[SlaRow], agreed: Mapping[str, Agreed]) -> list[Fault]:
    faults = []
    if not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", month):
        faults.append(Fault("/month", "bad_month", "a month is YYYY-MM"))
    seen: set[tuple[str, str | None]] = set()
    for place, row in enumerate(rows):
        who = (row.merchant, row.provider)
        if who in seen:
            faults.append(
                Fault(f"/rows/{place}", "repeated", f"{row.merchant} at {row.provider or 'all'} is there twice")
            )
        seen.add(who)
        if not row.merchant:
            faults.append(Fault(f"/rows/{place}/merchant", "missing", "whose figures these are"))
        elif row.merchant not in agreed and EVERYONE not in agreed:
            faults.append(Fault(f"/rows/{place}/merchant", "no_target", f"nothing was agreed with {row.merchant}"))
    for merchant, targets in agreed.items():
        for measure, target in (("availability", targets.availability), ("latency", targets.latency)):
            if target is not None and not 0 < target.over < target.under:
                pointer = f"/agreed/{merchant}/{measure}"
                faults.append(Fault(pointer, "target_out_of_range", "a target lies between 0 and 1, neither included"))
    return faults


def _summed(merchant: str, rows: Sequence[SlaRow]) -> SlaRow:
    latencies = [row.latency for row in rows if row.latency is not None]
    return SlaRow(
        merchant, None, total_of(row.availability for row in rows), total_of(latencies) if latencies else None
    )


def _lines(row: SlaRow, agreed: Agreed | None) -> list[Line]:
    lines = [_line(row, Measure.AVAILABILITY, row.availability, agreed.availability if agreed else None)]
    if row.latency is not None:
        lines.append(_line(row, Measure.LATENCY, row.latency, agreed.latency if agreed else None))
    return lines


def _line(row: SlaRow, measure: Measure, counts: Counts, target: Ratio | None) -> Line:
    good = counts.total - counts.bad
    reached = ratio(good, counts.total) if counts.total else None
    left = budget(counts, target) if target is not None else None
    return Line(row.merchant, row.provider, measure, counts, reached, target, _verdict(counts, left), left)


def _verdict(counts: Counts, left: Budget | None) -> str:
    if counts.excess:
        return "doubtful"
    if left is None:
        return ""
    if not counts.total:
        return "no_traffic"
    return "missed" if left.is_overspent else "met"


def _merchants(lines: Sequence[Line], verdict: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line.merchant for line in lines if line.verdict == verdict))


def _by_provider(row: SlaRow) -> tuple[bool, str]:
    return row.provider is not None, row.provider or ""
