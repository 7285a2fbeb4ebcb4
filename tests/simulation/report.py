"""What many runs add up to, and how a failure is told."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from tests.simulation.minimise import minimise
from tests.simulation.run import Run, simulate

LINES_SHOWN = 60
FAULTS_SHOWN = 16


class Sums(NamedTuple):
    """Of any number of runs; small enough to be sent from one process to another."""

    seeds: int = 0
    payments: int = 0
    requests: int = 0
    commits: int = 0
    webhooks: int = 0
    virtual_s: float = 0.0
    faults: Counter[str] = Counter()  # noqa: RUF012 - of a NamedTuple, and never changed
    checks: Counter[str] = Counter()  # noqa: RUF012
    failures: tuple[tuple[int, str, str], ...] = ()
    """Seed, rule and what was seen."""

    def plus(self, other: Sums) -> Sums:
        return Sums(*(mine + its for mine, its in zip(self, other, strict=True)))  # type: ignore[operator]


def sums_of(run: Run) -> Sums:
    failure = ((run.seed, run.rule, run.error),) if run.failed else ()
    return Sums(
        1,
        run.payments,
        run.requests,
        run.commits,
        run.webhooks,
        run.virtual_s,
        run.counts,
        run.checks,
        failure,
    )


def summary(sums: Sums, *, seconds: float, processes: int) -> str:
    rate = sums.payments / seconds * 60 if seconds else 0.0
    lines = [
        f"seeds       {sums.seeds:,} in {seconds:.1f} s on {processes} processes",
        f"payments    {sums.payments:,} ({rate:,.0f} a minute), {sums.requests:,} requests, {sums.commits:,} commits, "
        f"{sums.webhooks:,} webhooks taken, {sums.virtual_s / 86_400:,.0f} days of virtual time",
        f"checks      {sums.checks.total():,} of {len(sums.checks)} rules",
        f"faults      {sums.faults.total():,} of {len(sums.faults)} kinds",
    ]
    kinds = [f"{kind} {count:,}" for kind, count in sorted(sums.faults.items())]
    lines += ["            " + ", ".join(kinds[at : at + 6]) for at in range(0, len(kinds), 6)]
    lines.append(f"failures    {len(sums.failures)}")
    return "\n".join(lines)


def story(seed: int, *, whole: bool = False) -> str:
    """A failing seed told: what broke, the fewest faults it takes, and what happened then."""
    failed = simulate(seed)
    if not failed.failed:
        return f"seed {seed} holds: trace {failed.trace.hash()}"
    small, runs = minimise(failed)
    lines = [
        f"seed {seed} breaks a rule: {failed.rule}",
        f"  {failed.error[:2_000]}",
        f"  trace {failed.trace.hash()}; again: make sim SEED={seed}",
        f"  with {len(small.faults)} of its {len(failed.faults)} faults it breaks, too (found in {runs} runs):",
        *(f"    {fault}" for fault in small.faults[:FAULTS_SHOWN]),
    ]
    if len(small.faults) <= FAULTS_SHOWN:
        only = ",".join(small.faults)
        lines.append(f"  again: .venv/bin/python -m tests.simulation --seed {seed} --only '{only}'")
    else:
        lines.append(f"    and {len(small.faults) - FAULTS_SHOWN} more, found by the same search each time")
    lines.append("  what happened then:")
    subject = _subject(small.error)
    told = small.trace.lines(about="" if whole else subject, last=None if whole else LINES_SHOWN)
    return "\n".join([*lines, *(f"  {line[:240]}" for line in told)])


def _subject(error: str) -> str:
    """The payment it is about, if one is named."""
    at = error.find("pay_")
    return error[at : at + 30] if at >= 0 else ""
