"""`interlock demo`: a minute of mixed traffic through two faulty providers, and then the proof that every unit is accounted for."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import typer
import uvloop
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from interlock.config import PREFIX, Settings
from interlock.core.kernel.providers import Action, Outcome
from interlock.core.payments.events import decode_facts
from interlock.core.payments.states import STATUS
from interlock.entrypoints.cli.hook import Hook
from interlock.entrypoints.cli.merchant import Merchant, Told
from interlock.entrypoints.cli.options import Json, err, fail, out
from interlock.entrypoints.cli.proof import WRONG_SHOWN_MAX, Books, Check, Stored, prove, read_stored
from interlock.entrypoints.cli.settling import Settling
from interlock.entrypoints.cli.stored import opened
from interlock.entrypoints.cli.stories import stories
from interlock.entrypoints.cli.traffic import tell_all
from interlock.entrypoints.local import Ready

START_S = 30.0
STOP_S = 10.0
SETTLE_S = 240.0
QUIET_S = 3.5
"""Longer than anything the simulator does by itself later on."""
ATTEMPT_DEADLINE_S = 6.0
"""Of the platform in the demo: no answer here takes longer than a second, so nobody need wait a minute for a lost one."""
ENDPOINT = "interlock demo"
"""Description of the demo's webhook endpoints, by which one that was left behind is found."""
NOT_BOOKED = ("timeout_before_accept", "reset_before_accept", "unavailable", "rate_limited", "late_accept")
BOOKED = (
    "timeout_after_accept",
    "reset_after_accept",
    "error_though_charged",
    "garbage",
    "truncated",
    "stalled",
    "wrong_amount",
    "pending",
)
LOOKUP_FAULTS = ("unavailable", "garbage", "truncated", "wrong_amount")


class Run(NamedTuple):
    """What the demo was asked for."""

    folder: Path
    payments: int
    fault_rate: float
    seed: int
    name: str
    """Begins the reference of each of its payments."""


class Outcomes(NamedTuple):
    checks: list[Check]
    summary: dict[str, Any]

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)


class NotStarted(Exception):
    """The platform did not come up."""


def demo(
    data: Annotated[Path | None, typer.Option(help="Folder of the data.", show_default="a fresh temporary one")] = None,
    payments: Annotated[int, typer.Option(min=1, max=100_000, help="How many payments to make.")] = 400,
    fault_rate: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Share of requests at which a provider fails.")
    ] = 0.10,
    seed: Annotated[int, typer.Option(help="The same seed tells the same stories.")] = 1,
    as_json: Json = False,
) -> None:
    """Drive mixed traffic through two faulty providers, then prove that nothing was lost or doubled. Status 1 if not."""
    folder = data or Path(tempfile.mkdtemp(prefix="interlock-demo-"))
    run = Run(folder, payments, fault_rate, seed, f"demo-{secrets.token_hex(4)}")
    try:
        outcomes = uvloop.run(_run(run, quiet=as_json))
    except NotStarted as error:
        fail(str(error))
    except (KeyboardInterrupt, asyncio.CancelledError):
        fail("interrupted: nothing is proved")
    if as_json:
        proof = [{**check._asdict(), "holds": check.holds} for check in outcomes.checks]
        out.print_json(data={"holds": outcomes.holds, **outcomes.summary, "proof": proof})
    else:
        _show(outcomes)
    if not outcomes.holds:
        raise typer.Exit(1)


async def _run(run: Run, *, quiet: bool) -> Outcomes:
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        disable=quiet,
    )
    told, began = Told(), time.monotonic()
    with progress:
        task = progress.add_task("starting the platform", total=run.payments)
        async with Hook(seed=run.seed) as hook:
            async with _platform(run.folder) as (ready, child):
                merchant = Merchant(ready, told)
                try:
                    books, unsettled, lasted_s = await _traffic(run, ready, merchant, told, hook, progress, task)
                finally:
                    await merchant.close()
            stopped = child.returncode
        progress.update(task, description="counting rows")
        async with opened(Settings(data=str(run.folder))) as platform:
            stored = await read_stored(platform, run=run.name)
            checks = await prove(platform, stored, books, told=told, hook=hook, unsettled=unsettled)
    complaint = () if stopped == 0 else (f"it ended with status {stopped}",)
    checks.append(Check("the platform stopped when asked to", "SIGTERM", complaint))
    return Outcomes(checks, _summary(run, stored, told, hook, lasted_s, time.monotonic() - began))


async def _traffic(
    run: Run, ready: Ready, merchant: Merchant, told: Told, hook: Hook, progress: Progress, task: Any
) -> tuple[Books, list[str], float]:
    """The traffic itself, until all has settled: the simulator's books, what did not settle, and how long merchants were busy."""
    simulator_url = ready.simulator_url
    assert simulator_url is not None
    endpoint = await _register(merchant, hook)
    await merchant.control("PUT", f"{simulator_url}/faults", fault_plan(run.fault_rate, seed=run.seed))
    progress.update(task, description=f"merchants at work, {run.fault_rate:.0%} faults")
    began = time.monotonic()
    left = await tell_all(
        stories(run.payments, seed=run.seed, run=run.name),
        merchant,
        told,
        simulator_url=simulator_url,
        on_told=lambda: progress.advance(task),
    )
    lasted_s = time.monotonic() - began
    async with opened(Settings(data=str(run.folder))) as platform:
        settling = Settling(platform, hook, merchant, simulator_url=simulator_url, run=run.name, quiet_s=QUIET_S)
        unsettled = await settling.wait(
            timeout_s=SETTLE_S,
            on_look=lambda open_: progress.update(task, description=f"settling: {open_} things under way"),
        )
    if left:
        unsettled.append(f"{left} merchants waited in vain for a payment to come to rest")
    await merchant.control("PUT", f"{simulator_url}/faults", {})
    _, books = await merchant.control("GET", f"{simulator_url}/books")
    await merchant.administer("DELETE", f"/v1/webhook_endpoints/{endpoint}")
    return msgspec.convert(books, Books), unsettled, lasted_s


def fault_plan(rate: float, *, seed: int) -> dict[str, Any]:
    """Faults of both instances: `rate` of what moves money, evenly shared; half as many of the lookups."""
    kinds = (*NOT_BOOKED, *BOOKED)
    return {
        "seed": seed,
        "rates": dict.fromkeys(kinds, rate / len(kinds)),
        "operations": {"lookup": dict.fromkeys(LOOKUP_FAULTS, rate / 2 / len(LOOKUP_FAULTS))},
        "latency": {"kind": "log_normal", "median_ms": 60, "p99_ms": 500},
        "hang_s": 0.4,
        "pending_s": 1.5,
        "late_approval_s": 1.5,
        "late_accept_s": 1.0,
        "dispute_s": 0.8,
        "notifications": {"delay_ms": 10, "jitter_ms": 300, "duplicate_rate": 0.1},
    }


async def _register(merchant: Merchant, hook: Hook) -> str:
    """Have webhooks sent to us, and no more to a demo that was interrupted on this folder."""
    listed = await merchant.get("/v1/webhook_endpoints?limit=100")
    for known in listed["data"]:
        if known["description"] == ENDPOINT:
            await merchant.administer("DELETE", f"/v1/webhook_endpoints/{known['id']}")
    made = await merchant.administer(
        "POST", "/v1/webhook_endpoints", {"url": hook.url, "events": ["*"], "description": ENDPOINT}
    )
    hook.secret = made["secret"]
    return str(made["id"])


@asynccontextmanager
async def _platform(folder: Path) -> AsyncIterator[tuple[Ready, asyncio.subprocess.Process]]:
    """`interlock up` as a child, with settings of the demo's own: never the user's providers."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment[f"{PREFIX}ATTEMPT_DEADLINE_S"] = str(ATTEMPT_DEADLINE_S)
    with tempfile.TemporaryDirectory(prefix="interlock-") as scratch:
        ready, complaints = Path(scratch, "ready.json"), Path(scratch, "stderr")
        with complaints.open("wb") as stderr:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "interlock.entrypoints.cli", "up"),
                *("--data", str(folder), "--port", "0", "--ready-file", str(ready)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=stderr,
                env=environment,
                start_new_session=True,
            )
        try:
            yield await _when_ready(child, ready, complaints), child
        finally:
            await _stop(child)


async def _when_ready(child: asyncio.subprocess.Process, ready: Path, complaints: Path) -> Ready:
    with suppress(TimeoutError):
        async with asyncio.timeout(START_S):
            while child.returncode is None:
                if ready.exists():
                    return msgspec.json.decode(ready.read_bytes(), type=Ready)
                await asyncio.sleep(0.05)
    said = complaints.read_text(errors="replace").strip()
    raise NotStarted(said or f"the platform was not ready within {START_S:g} s")


async def _stop(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    child.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(child.wait(), STOP_S)
    except TimeoutError:
        child.kill()
        await child.wait()


def _summary(run: Run, stored: Stored, told: Told, hook: Hook, lasted_s: float, took_s: float) -> dict[str, Any]:
    ours = stored.ours.values()
    attempts = [attempt for payment in ours for attempt in payment.attempts]
    events = [event for payment in ours for event in stored.events[payment.id]]
    doubtful = {
        facts.attempt for facts in (decode_facts(event.facts) for event in events) if "outcome_unknown" in facts.alarms
    }
    known = {one.id for one in attempts if one.outcome in (Outcome.APPROVED, Outcome.DECLINED, Outcome.NOT_SENT)}
    types = Counter(event.type for event in events)
    failovers = sum(
        max(0, sum(1 for one in payment.attempts if one.operation is Action.AUTHORIZE) - 1) for payment in ours
    )
    latencies_ms = sorted(1000 * latency for latency in told.latencies_s)
    return {
        "data": str(run.folder),
        "seed": run.seed,
        "fault_rate": run.fault_rate,
        "run": run.name,
        "seconds": round(took_s, 1),
        "payments": len(ours),
        "payments_by_status": dict(sorted(Counter(STATUS[payment.state] for payment in ours).items())),
        "payments_by_currency": dict(sorted(Counter(payment.currency for payment in ours).items())),
        "attempts_by_outcome": dict(sorted(Counter(f"{one.operation} {one.outcome}" for one in attempts).items())),
        "refusals": dict(sorted(told.refusals.items())),
        "failovers": failovers,
        "unknown_outcomes": len(doubtful),
        "unknown_outcomes_resolved": len(doubtful & known),
        "late_approvals": types["payment.late_approval"],
        "late_approvals_reversed": types["payment.late_approval_reversed"],
        "disputes": types["dispute.opened"],
        "refunds": types["refund.succeeded"],
        "requests": told.requests,
        "given_up_early": told.given_up_early,
        "answers_replayed": told.replays,
        "webhooks_taken": hook.accepted,
        "webhooks_repeated": hook.repeated,
        "latency_p50_ms": round(_quantile(latencies_ms, 0.50), 1),
        "latency_p99_ms": round(_quantile(latencies_ms, 0.99), 1),
        "payments_per_s": round(len(ours) / lasted_s, 1) if lasted_s else 0.0,
    }


def _quantile(ordered: list[float], share: float) -> float:
    if len(ordered) < 2:
        return ordered[0] if ordered else 0.0
    return statistics.quantiles(ordered, n=100, method="inclusive")[round(share * 100) - 1]


def _show(outcomes: Outcomes) -> None:
    summary = Table("", "", box=None, show_header=False)
    for name, value in outcomes.summary.items():
        shown = ", ".join(f"{key} {count}" for key, count in value.items()) if isinstance(value, dict) else str(value)
        summary.add_row(name.replace("_", " "), shown)
    out.print(summary)
    out.print()
    proof = Table("proof", "", "held against", box=None)
    for check in outcomes.checks:
        proof.add_row(check.what, "yes" if check.holds else "NO", check.counted)
    out.print(proof)
    for check in outcomes.checks:
        for line in check.wrong[:WRONG_SHOWN_MAX]:
            out.print(f"{check.what}: {line}", markup=False)
        if len(check.wrong) > WRONG_SHOWN_MAX:
            out.print(f"{check.what}: and {len(check.wrong) - WRONG_SHOWN_MAX} more", markup=False)
    folder = outcomes.summary["data"]
    out.print()
    out.print(
        "Ledger verified, the simulator's books equal, zero lost, zero doubled." if outcomes.holds else "NOT PROVED."
    )
    out.print(f"Look further: interlock payments list --data {folder}", markup=False)
