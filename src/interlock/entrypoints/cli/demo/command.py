"""The command: drive the traffic, wait until all has settled, stop the platform, judge what it left behind."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import typer
import uvloop
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from interlock.config import Settings
from interlock.entrypoints.cli.demo.child import Child, PlatformDown, platform_process
from interlock.entrypoints.cli.demo.hook import Hook
from interlock.entrypoints.cli.demo.merchant import Merchant, Told
from interlock.entrypoints.cli.demo.proof import WRONG_SHOWN_MAX, Books, Check, prove, read_stored
from interlock.entrypoints.cli.demo.settling import Settling
from interlock.entrypoints.cli.demo.stories import stories
from interlock.entrypoints.cli.demo.summary import summarize
from interlock.entrypoints.cli.demo.traffic import tell_all
from interlock.entrypoints.cli.options import Json, err, fail, out
from interlock.entrypoints.cli.stored import opened

SETTLE_S = 180.0
QUIET_S = 3.5
"""Longer than anything the simulator does by itself later on."""
ENDPOINT = "interlock demo"
"""Description of the demo's webhook endpoint, by which one that was left behind is found."""
FAULTS = (
    *("timeout_before_accept", "reset_before_accept", "unavailable", "rate_limited", "late_accept"),
    *("timeout_after_accept", "reset_after_accept", "error_though_charged", "garbage", "truncated", "stalled"),
    *("wrong_amount", "pending"),
)
LOOKUP_FAULTS = ("unavailable", "garbage", "truncated", "wrong_amount")
Report = Callable[[str, int], None]
"""Told what is going on, and how many stories have come to an end since."""


class Run(NamedTuple):
    """What a demo is asked for."""

    folder: Path
    payments: int
    fault_rate: float
    seed: int
    name: str
    """Begins the reference of each of its payments."""


class Driven(NamedTuple):
    """What is left of the traffic when the platform has stopped."""

    told: Told
    hook: Hook
    books: Books
    unsettled: list[str]
    status: int | None
    """Exit status of the platform."""
    traffic_s: float


class Verdict(NamedTuple):
    checks: list[Check]
    summary: dict[str, Any]

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)


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
        verdict = uvloop.run(_demonstrate(run, quiet=as_json))
    except PlatformDown as error:
        fail(str(error))
    except (KeyboardInterrupt, asyncio.CancelledError):
        fail("interrupted: nothing is proved")
    if as_json:
        proof = [{**check._asdict(), "holds": check.holds} for check in verdict.checks]
        out.print_json(data={"holds": verdict.holds, **verdict.summary, "proof": proof})
    else:
        _show(verdict)
    if not verdict.holds:
        raise typer.Exit(1)


async def _demonstrate(run: Run, *, quiet: bool) -> Verdict:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=quiet) as progress:
        task = progress.add_task("", total=run.payments)
        report: Report = lambda doing, told: progress.update(task, description=doing, advance=told)  # noqa: E731
        report("starting the platform", 0)
        driven = await drive(run, report)
        report("counting rows", 0)
        return await judge(run, driven)


async def drive(run: Run, report: Report) -> Driven:
    """Start the platform, let all merchants tell their stories, wait until all has settled, stop it. Raises PlatformDown."""
    told = Told()
    async with Hook(seed=run.seed) as hook:
        async with platform_process(run.folder) as child:
            merchant = Merchant(child.ready, told)
            try:
                books, unsettled, traffic_s = await child.while_up(_traffic(run, child, merchant, told, hook, report))
            finally:
                await merchant.close()
        return Driven(told, hook, books, unsettled, child.status, traffic_s)


async def judge(run: Run, driven: Driven) -> Verdict:
    """Hold what is on disk against what merchants were told and what the provider's books say."""
    async with opened(Settings(data=str(run.folder))) as platform:
        stored = await read_stored(platform, run=run.name)
        checks = await prove(
            platform, stored, driven.books, told=driven.told, hook=driven.hook, unsettled=driven.unsettled
        )
    complaint = () if driven.status == 0 else (f"it ended with status {driven.status}",)
    checks.append(Check("the platform stopped when asked to", "SIGTERM", complaint))
    asked = {"data": str(run.folder), "run": run.name, "seed": run.seed, "fault_rate": run.fault_rate}
    return Verdict(checks, asked | summarize(stored, driven.told, driven.hook, driven.traffic_s))


async def _traffic(
    run: Run, child: Child, merchant: Merchant, told: Told, hook: Hook, report: Report
) -> tuple[Books, list[str], float]:
    simulator_url = child.ready.simulator_url
    assert simulator_url is not None
    endpoint = await _register(merchant, hook)
    await merchant.steer("PUT", f"{simulator_url}/faults", fault_plan(run.fault_rate, seed=run.seed))
    doing = f"merchants at work, {run.fault_rate:.0%} faults"
    report(doing, 0)
    began = time.monotonic()
    left = await tell_all(
        stories(run.payments, seed=run.seed, run=run.name),
        merchant,
        simulator_url=simulator_url,
        on_told=lambda: report(doing, 1),
    )
    traffic_s = time.monotonic() - began
    async with opened(Settings(data=str(run.folder))) as platform:
        settling = Settling(platform, hook, merchant, simulator_url=simulator_url, run=run.name, quiet_s=QUIET_S)
        unsettled = await settling.wait(
            timeout_s=SETTLE_S, on_look=lambda open_: report(f"settling: {open_} things under way", 0)
        )
    unsettled += left
    await merchant.steer("PUT", f"{simulator_url}/faults", {})
    books = await merchant.steer("GET", f"{simulator_url}/books")
    await merchant.administer("DELETE", f"/v1/webhook_endpoints/{endpoint}")
    return msgspec.convert(books, Books), unsettled, traffic_s


def fault_plan(rate: float, *, seed: int) -> dict[str, Any]:
    """Faults of both instances: `rate` of what moves money, evenly shared; half as many of the lookups."""
    return {
        "seed": seed,
        "rates": dict.fromkeys(FAULTS, rate / len(FAULTS)),
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


def _show(verdict: Verdict) -> None:
    summary = Table(box=None, show_header=False)
    for name, value in verdict.summary.items():
        shown = ", ".join(f"{key} {count}" for key, count in value.items()) if isinstance(value, dict) else str(value)
        summary.add_row(name.replace("_", " "), shown)
    out.print(summary)
    out.print()
    proof = Table("proof", "", "held against", box=None)
    for check in verdict.checks:
        proof.add_row(check.what, "yes" if check.holds else "NO", check.counted)
    out.print(proof)
    for check in verdict.checks:
        for line in check.wrong[:WRONG_SHOWN_MAX]:
            out.print(f"{check.what}: {line}", markup=False)
        if len(check.wrong) > WRONG_SHOWN_MAX:
            out.print(f"{check.what}: and {len(check.wrong) - WRONG_SHOWN_MAX} more", markup=False)
    out.print()
    good = "Ledger verified, the simulator's books equal, zero lost, zero doubled."
    out.print(good if verdict.holds else "NOT PROVED.")
    out.print(f"Look further: interlock payments list --data {verdict.summary['data']}", markup=False)
