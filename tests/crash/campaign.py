"""A campaign: rounds of one blow each under load, on one folder of data; checked every few rounds, and wholly at the end."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from interlock.config import Settings
from interlock.entrypoints.cli.demo.command import fault_plan
from interlock.entrypoints.cli.demo.hook import Hook
from interlock.entrypoints.cli.demo.merchant import Told
from interlock.entrypoints.cli.demo.settling import Settling
from interlock.entrypoints.cli.demo.stories import stories
from interlock.entrypoints.cli.demo.traffic import tell_all
from interlock.entrypoints.cli.stored import opened
from interlock.entrypoints.local import Ready
from tests.crash.blows import Blows
from tests.crash.checks import WRONG, Check, judge
from tests.crash.disk import Disk, disk
from tests.crash.evidence import Evidence, Gathering, Witness
from tests.crash.processes import Ended, Processes
from tests.crash.stepped_clock import SteppedClock

FAULT_RATE = 0.06
COME_TO_REST_S = 180.0
"""So long a merchant waits for a payment, with a blow every few seconds that interrupts whatever would move it."""
SETTLE_S = 120.0
QUIET_S = 3.0
OLD_KEYS = 40
"""Answers of earlier rounds that are asked for again at each check; at the end all are."""
Report = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    rounds: int
    seed: int
    payments: int = 24
    """Begun in each round."""
    check_every: int = 10
    mount: bool = True
    """Give the data a file system of its own, if we may. Else it lies on the disk of temporary files."""


@dataclass
class Outcome:
    """The figures."""

    plan: Plan
    disk: str = ""
    rounds: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    tries: int = 0
    acknowledged: int = 0
    replays: int = 0
    given_up_early: int = 0
    payments: int = 0
    charges: int = 0
    operations: int = 0
    events: int = 0
    webhooks: int = 0
    webhooks_repeated: int = 0
    restarts: int = 0
    recovery_s: list[float] = field(default_factory=list)
    drain_s: list[float] = field(default_factory=list)
    full_noticed: int = 0
    clock_offset_s: int = 0
    checks: int = 0
    seconds: float = 0.0
    failed: list[Check] = field(default_factory=list)
    kept: str = ""
    """Where a copy of everything is, to look into what failed."""
    evidence: Evidence | None = None
    """The last that was gathered, over everything."""


async def run(plan: Plan, report: Report) -> Outcome:
    """All rounds, or as many as pass: a check that fails ends the campaign."""
    began = time.monotonic()
    outcome = Outcome(plan)
    with tempfile.TemporaryDirectory(prefix="interlock-crash-") as scratch:
        folder = Path(scratch)
        ground = disk(folder / "data", mount=plan.mount)
        try:
            await _run_on(plan, folder, ground, outcome, report)
        finally:
            if outcome.failed:
                outcome.kept = shutil.copytree(
                    folder, tempfile.mkdtemp(prefix="interlock-crash-kept-"), dirs_exist_ok=True
                )
            ground.remove()
    outcome.seconds = time.monotonic() - began
    return outcome


async def _run_on(plan: Plan, folder: Path, ground: Disk, outcome: Outcome, report: Report) -> None:
    clock = SteppedClock(folder)
    told = Told()
    processes = Processes(folder, ground, clock.environment, fault_plan(FAULT_RATE, seed=plan.seed))
    async with Hook(seed=plan.seed, now=clock.now) as hook, processes:
        ready = msgspec.json.decode((ground.folder / "ready.json").read_bytes(), type=Ready)
        witness = Witness(ready, told)
        blows = Blows(processes, clock, random.Random(f"blows/{plan.seed}"))
        try:
            made = await witness.administer("POST", "/v1/webhook_endpoints", {"url": hook.url, "events": ["*"]})
            hook.secret = made["secret"]
            campaign = Campaign(plan, blows, witness, told, hook, outcome)
            await campaign.run(report)
        finally:
            await witness.close()
            _count(outcome, blows, told, hook)


class Campaign:
    def __init__(self, plan: Plan, blows: Blows, witness: Witness, told: Told, hook: Hook, outcome: Outcome) -> None:
        self._plan, self._blows, self._outcome = plan, blows, outcome
        self._witness, self._told, self._hook = witness, told, hook
        self._gathering = Gathering(blows.processes, witness, told, hook)
        self._dice = random.Random(f"campaign/{plan.seed}")
        self._load: list[asyncio.Task[list[str]]] = []
        self._looked_into: list[str] = []

    async def run(self, report: Report) -> None:
        kinds = self._blows.kinds()
        order = in_turns(list(kinds), self._plan.rounds, self._dice)
        for number, kind in enumerate(order, 1):
            report(f"round {number} of {len(order)}: {kind}")
            try:
                await self._round(number, kinds[kind])
            except (Ended, TimeoutError) as error:
                await self._give_up(f"round {number}, {kind}: {error or 'not up again in time'}")
                return
            self._outcome.rounds[kind] += 1
            last = number == len(order) or bool(self._blows.complaints)
            if last or number % self._plan.check_every == 0:
                report(f"round {number} of {len(order)}: settling and checking")
                await self._check(everything=last)
            if self._outcome.failed or last:
                return

    async def _round(self, number: int, blow: Callable[[], Awaitable[None]]) -> None:
        chosen = stories(self._plan.payments, seed=self._plan.seed * 10_000 + number, run=f"crash-{number}")
        simulator_url = self._blows.processes.simulator_url
        self._load.append(
            asyncio.create_task(
                tell_all(
                    chosen, self._witness, simulator_url=simulator_url, on_told=lambda: None, wait_s=COME_TO_REST_S
                )
            )
        )
        await asyncio.sleep(self._dice.uniform(0.1, 1.0))
        await blow()
        await asyncio.sleep(self._dice.uniform(0.1, 0.5))

    async def _give_up(self, why: str) -> None:
        """Nobody answers any more, so there is nothing to hold the answers against."""
        for load in self._load:
            load.cancel()
        await asyncio.gather(*self._load, return_exceptions=True)
        self._outcome.failed = [Check("the platform comes up again", WRONG, (why, *self._blows.complaints))]

    async def _check(self, *, everything: bool) -> None:
        """Let all merchants come to their end, wait until nothing is under way, and judge."""
        left = [one for told in await asyncio.gather(*self._load) for one in told]
        self._load.clear()
        processes = self._blows.processes
        async with opened(Settings(data=str(processes.data))) as platform:
            settling = Settling(
                platform,
                self._hook,
                self._witness,
                simulator_url=processes.simulator_url,
                run="crash",
                quiet_s=QUIET_S,
            )
            unsettled = await settling.wait(timeout_s=SETTLE_S, on_look=lambda _: None)
        fresh = [key for key in self._told.acknowledged if key not in set(self._looked_into)]
        old = self._looked_into
        if not everything and len(old) > OLD_KEYS:
            old = self._dice.sample(old, OLD_KEYS)
        evidence = await self._gathering.gather(
            [*old, *fresh], complaints=[*self._blows.complaints, *left, *_crashed(processes)], unsettled=unsettled
        )
        self._looked_into += fresh
        self._outcome.checks += 1
        self._outcome.evidence = evidence
        self._outcome.failed = [check for check in judge(evidence) if check.complaints]


def in_turns(kinds: Sequence[str], rounds: int, dice: random.Random) -> list[str]:
    """Every kind once before any comes again, in an order of its own each time."""
    order: list[str] = []
    while len(order) < rounds:
        order += dice.sample(kinds, len(kinds))
    return order[:rounds]


def _crashed(processes: Processes) -> list[str]:
    """What is a bug wherever it shows: a traceback, a loop's step that raised what nobody expected."""
    found = [f"the {one.name} wrote a traceback: {one.said()}" for one in processes.roles if "Traceback" in one.said()]
    steps: Counter[str] = Counter()
    for line in (processes.data / "interlock.log").read_bytes().splitlines():
        if b'"worker.step_crashed"' in line or b'"http.request_crashed"' in line:
            told = _read(line)
            steps[f"{told.get('event')}: {told.get('loop') or told.get('route')}: {told.get('error')}"] += 1
    return [*found, *(f"{count} times {step}" for step, count in steps.items())]


def _read(line: bytes) -> dict[str, str]:
    try:
        return msgspec.json.decode(line, type=dict[str, str])
    except msgspec.DecodeError:  # torn when the disk was full
        return {}


def _count(outcome: Outcome, blows: Blows, told: Told, hook: Hook) -> None:
    evidence = outcome.evidence or Evidence()
    processes = blows.processes
    outcome.disk = processes.disk.kind
    outcome.left_out = blows.left_out
    outcome.requests, outcome.tries = told.requests, told.tries
    outcome.acknowledged, outcome.replays = len(told.acknowledged), told.replays
    outcome.given_up_early = told.given_up_early
    outcome.payments = len(evidence.payments)
    outcome.charges, outcome.operations = len(evidence.charges), len(evidence.operations)
    outcome.events = len(evidence.events)
    outcome.webhooks, outcome.webhooks_repeated = hook.accepted, hook.repeated
    outcome.restarts = sum(one.starts - 1 for one in (*processes.roles, processes.simulator))
    outcome.recovery_s, outcome.drain_s = blows.recovery_s, blows.drain_s
    outcome.full_noticed = blows.full_noticed
    outcome.clock_offset_s = blows.clock.offset_s
