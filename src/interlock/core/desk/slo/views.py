"""What is shown: the standing of an objective as JSON has it, reports as Markdown and CSV, and the policy in words."""

from __future__ import annotations

import csv
from typing import NamedTuple

import msgspec

from interlock.core.desk.slo.handlers import Standing
from interlock.core.desk.slo.model import BURN_RULES, Measure, Ratio, Slo
from interlock.core.desk.slo.sla import Line, Report
from interlock.core.kernel.clock import rfc3339

# -- the standing ------------------------------------------------------------------------------------------------------


class BurnView(msgspec.Struct, frozen=True):
    window: str
    good: int
    total: int
    rate: str
    """Decimal, two places: times the pace that spends the budget in the objective's window."""
    spent_after_s: int | None


class FiringView(msgspec.Struct, frozen=True):
    rule: str
    severity: str
    windows: tuple[str, str]
    why: str


class StandingView(msgspec.Struct, frozen=True):
    slo: str
    title: str
    service: str
    measure: str
    unit: str
    """Of good, total and bad: attempts, or minor units of a currency."""
    at: str
    window: str
    target: str
    reached: str | None
    """None without traffic."""
    good: int
    total: int
    bad: int
    left_percent: str
    """Of the error budget; below zero when overspent."""
    step: str
    """Of the error-budget policy."""
    burns: list[BurnView]
    firing: list[FiringView]
    burn_down: list[tuple[str, str]]
    """Time, and percent of the budget left after the slot that begins then."""
    findings: list[dict[str, str]]


def standing_view(standing: Standing) -> StandingView:
    slo, counts = standing.slo, standing.budget.counts
    return StandingView(
        slo=slo.name,
        title=slo.title,
        service=slo.service,
        measure=slo.indicator.measure.value,
        unit=_unit(slo),
        at=rfc3339(standing.at),
        window=f"{slo.window_days}d",
        target=slo.target.exact_percent(),
        reached=Ratio(counts.total - counts.bad, counts.total).percent(4) if counts.total else None,
        good=counts.good,
        total=counts.total,
        bad=counts.bad,
        left_percent=standing.budget.left_share.percent(2),
        step=policy_step(standing.budget.left_share).name,
        burns=[
            BurnView(
                window,
                burn.counts.good,
                burn.counts.total,
                burn.rate.decimal(2),
                None if burn.spent_after_ms is None else burn.spent_after_ms // 1000,
            )
            for window, burn in standing.burns.items()
        ],
        firing=[FiringView(one.rule, one.severity.value, (one.short, one.long), one.why) for one in standing.firing],
        burn_down=[(rfc3339(point.at), point.left_share.percent(2)) for point in standing.points],
        findings=[{"code": finding.code, "detail": finding.detail} for finding in standing.findings],
    )


def _unit(slo: Slo) -> str:
    currency = slo.indicator.filter.currency
    return f"minor units of {currency}" if slo.indicator.measure is Measure.MONEY else "attempts"


# -- the error-budget policy -------------------------------------------------------------------------------------------


class Step(NamedTuple):
    """What holds while more than `above_percent` of the budget is left."""

    name: str
    above_percent: int
    rule: str


STEPS = (
    Step("free", 50, "Changes go out as usual."),
    Step("careful", 25, "Each change has somebody who watches its burn rate and can take it back."),
    Step("slow", 0, "Only changes that can be taken back within minutes; none before a night or a weekend."),
)
SPENT = Step("spent", 0, "Only repairs, security fixes and what the law asks for, until something is left again.")


def policy_step(left_share: Ratio) -> Step:
    return next((step for step in STEPS if left_share.is_above(Ratio(step.above_percent, 100))), SPENT)


def policy_text(slo: Slo) -> str:
    """The error-budget policy of an objective, as Markdown."""
    spare = slo.target.less_than_one_by()
    lines = [
        f"# Error-budget policy: {_inline(slo.title)}",
        "",
        f"Target: {slo.target.exact_percent()} of {_unit(slo)} good over the last {slo.window_days} days, "
        f"so {spare.exact_percent()} may be bad.",
        "",
        "| budget left | step | what holds |",
        "|---|---|---|",
        *(f"| above {step.above_percent} % | {step.name} | {step.rule} |" for step in STEPS),
        f"| nothing | {SPENT.name} | {SPENT.rule} |",
        "",
        "| alert | when both windows burn faster than | windows | and the long one has seen |",
        "|---|---|---|---|",
        *(
            f"| {rule.severity.value} | {rule.burn_tenths // 10}.{rule.burn_tenths % 10} times the budget's pace "
            f"| {rule.short}, {rule.long} | {rule.events_min} attempts, {rule.bad_min} of them bad |"
            for rule in BURN_RULES
            if rule in slo.burn_rules
        ),
        "",
        "A page is worked on at once, a ticket on the next working day. An incident that took more than a fifth of the budget is "
        "written up, with what will keep it from coming back. A missed measurement is an incident of its own.",
    ]
    return "\n".join(lines) + "\n"


# -- reports -----------------------------------------------------------------------------------------------------------

_VERDICTS = {
    "met": "met",
    "missed": "**missed**",
    "no_traffic": "no traffic",
    "doubtful": "**doubtful: more good than total**",
    "": "",
}
CSV_COLUMNS = (
    *("month", "merchant", "provider", "measure", "good", "total", "reached_percent", "target_percent", "verdict"),
    *("bad", "bad_allowed", "budget_left_percent"),
)


def report_markdown(report: Report) -> str:
    merchants = len({line.merchant for line in report.lines})
    lines = [
        f"# Service levels, {report.month}",
        "",
        f"{merchants} merchants, {len(report.merchants_missed)} with a target missed.",
    ]
    if report.merchants_doubtful:
        named = ", ".join(map(_inline, report.merchants_doubtful))
        lines += ["", f"Not to be sent before it is settled: {named} were counted with more good than total."]
    lines += [
        "",
        "| merchant | provider | measure | good | total | reached | target | | budget left |",
        "|---|---|---|---:|---:|---:|---:|---|---:|",
    ]
    lines += [_row(line) for line in report.lines]
    return "\n".join(lines) + "\n"


def _row(line: Line) -> str:
    cells = (
        _inline(line.merchant),
        _inline(line.provider or "all"),
        line.measure.value,
        str(line.counts.good),
        str(line.counts.total),
        line.reached.percent(3) if line.reached else "",
        line.target.percent(3) if line.target else "",
        _VERDICTS[line.verdict],
        line.budget.left_share.percent(1) if line.budget else "",
    )
    return f"| {' | '.join(cells)} |"


def report_csv(report: Report) -> str:
    """Comma-separated, with a head, figures with a point. Opened as a spreadsheet, no cell is taken for a formula."""
    pieces = _Pieces()
    rows = csv.writer(pieces, lineterminator="\n")
    rows.writerow(CSV_COLUMNS)
    for line in report.lines:
        left = line.budget
        rows.writerow(
            (
                report.month,
                defused(line.merchant),
                defused(line.provider or ""),
                line.measure.value,
                line.counts.good,
                line.counts.total,
                _percent(line.reached, 4),
                _percent(line.target, 4),
                line.verdict,
                line.counts.bad,
                left.allowed.decimal(2) if left else "",
                _percent(left.left_share, 2) if left else "",
            )
        )
    return "".join(pieces.written)


def defused(cell: str) -> str:
    """Text that a spreadsheet would run is led by an apostrophe, also behind white space. Our own numbers are not text."""
    return f"'{cell}" if cell.lstrip()[:1] in _FORMULA or cell[:1] in ("\t", "\r", "\n") else cell


_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""The wide forms, too: spreadsheets read them alike."""


def _percent(share: Ratio | None, places: int) -> str:
    return "" if share is None else Ratio(share.over * 100, share.under).decimal(places)


def _inline(text: str) -> str:
    """Somebody else's words in a line of Markdown."""
    kept = "".join(c if c.isprintable() else " " for c in text)
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in kept)


class _Pieces:
    """Where the csv module writes."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, text: str) -> int:
        self.written.append(text)
        return len(text)
