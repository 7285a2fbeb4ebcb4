"""Findings in sentences, for people, and as JSON has them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from interlock.core.desk.localisation.model import Cause, Evidence, Finding, Verdict, Where
from interlock.core.kernel.clock import Millis, rfc3339


def cause(where: Where, evidence: Evidence, *, lost: float, of: float, counts_one_error: bool) -> str:
    """One cause. `counts_one_error`: its failures are those with one error, so that no success rate can be told."""
    name = " and ".join(f"{dimension}={value}" for dimension, value in where)
    explains = f"explains {min(round(lost), round(of))} of {_payments(of)}"
    total = evidence.now_total
    if counts_one_error:
        now = _percent(total - evidence.now_good, total)
        before = _percent(evidence.before_total - evidence.before_good, evidence.before_total)
        return f"{name}: {now} of {total} attempts failed so, {before} before; {explains}"
    before = _percent(evidence.before_good, evidence.before_total)
    return f"{name}: {_percent(evidence.now_good, total)} of {total} succeeded, {before} before; {explains}"


def summary(verdict: Verdict, drop: Evidence, lost: float, causes: Sequence[Cause], *, alike: bool) -> str:
    """The whole finding. `alike`: some slices have dropped, and none more than everything has."""
    now, before = _percent(drop.now_good, drop.now_total), _percent(drop.before_good, drop.before_total)
    rates = f"{now} of {drop.now_total} succeeded, {before} before"
    if not drop.now_total or not drop.before_total:
        return "no attempts to compare" if not drop.now_total else f"{rates}: nothing to compare with"
    if verdict == "calm":
        return f"{rates}: no drop beyond chance and the usual ups and downs"
    if verdict == "inconclusive":
        why = "everything drops alike" if alike else "the numbers are too few to say where"
        return f"{rates}: {_payments(lost)}, and {why}"
    together = [one for one in causes if not one.alternative]
    names = ", ".join(" and ".join(f"{dimension}={value}" for dimension, value in one.where) for one in together)
    share = _percent(round(1000 * min(1.0, sum(one.share for one in together))), 1000)
    return f"{rates}: {_payments(lost)}, {share} of them in {names}"


def _payments(lost: float) -> str:
    count = max(0, round(lost))
    return "1 lost payment" if count == 1 else f"{count} lost payments"


def _percent(part: int, whole: int) -> str:
    """Whole percents; a decimal where 0 or 100 would say too much."""
    if not whole:
        return "none"
    percent = 100 * part / whole
    is_fine = 0 < percent < 1 or 99 < percent < 100
    return f"{percent:.1f} %" if is_fine else f"{percent:.0f} %"


class EvidenceView(msgspec.Struct, frozen=True):
    before_total: int
    before_good: int
    now_total: int
    now_good: int
    expected_good: float
    """Of `now_total`, had nothing changed."""
    significance: float
    """How probable so large a drop is by chance, somewhere among all that was searched: 0 to 1."""


class CauseView(msgspec.Struct, frozen=True):
    where: dict[str, str]
    """Dimension -> value: all of them at once."""
    statement: str
    evidence: EvidenceView
    lost: float
    share: float
    """Of everything lost, 0 to 1."""
    alternative: bool
    """Another reading of the same loss."""


class FindingView(msgspec.Struct, frozen=True):
    since: str
    until: str
    verdict: Verdict
    statement: str
    drop: EvidenceView
    """Over all attempts."""
    lost: float
    causes: list[CauseView]
    """Those that hold together first, then other readings."""


def finding_view(finding: Finding, *, since: Millis, until: Millis) -> FindingView:
    causes = [
        CauseView(dict(one.where), one.statement, _shown(one.evidence), round(one.lost, 1), one.share, one.alternative)
        for one in finding.causes
    ]
    return FindingView(
        rfc3339(since),
        rfc3339(until),
        finding.verdict,
        finding.statement,
        _shown(finding.drop),
        round(finding.lost, 1),
        causes,
    )


def _shown(evidence: Evidence) -> EvidenceView:
    return EvidenceView(*evidence)
