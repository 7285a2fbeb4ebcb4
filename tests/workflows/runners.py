"""Every runner of workflows with steps that answer from a script, driven in one way: the same inputs, the same answers."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from interlock.backends.asl.definition import read_definition
from interlock.backends.asl.messages import QUEUE, QUEUE_SPEC
from interlock.backends.asl.workflows import LocalWorkflows
from interlock.backends.aws.step_functions import StepFunctionsWorkflows
from interlock.backends.local.clock import SystemClock
from interlock.backends.local.ids import SystemIds
from interlock.backends.memory.queue import MemoryQueue
from interlock.backends.memory.store import MemoryStore
from interlock.backends.sqlite import queue as sqlite_queue
from interlock.backends.sqlite import store as sqlite_store
from interlock.backends.sqlite.database import Database
from interlock.backends.sqlite.queue import SqliteQueue
from interlock.backends.sqlite.store import SqliteStore
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.queue import QueueMessage
from interlock.core.kernel.workflows import Execution, Happening, Json, Status, Workflows
from interlock.entrypoints.worker import QueueWorker
from tests.clocks import ManualClock
from tests.telemetry import RecordingTelemetry
from tests.workflows import scripted
from tests.workflows.on_emulator import deployed, steps_of

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "workflows"
TEXTS: Mapping[str, str] = {path.name.removesuffix(".asl.json"): path.read_text() for path in FOLDER.glob("*.asl.json")}
TURNS_MAX = 20_000
POLL_S = 0.05


STEPS = {step for text in TEXTS.values() for step in steps_of(text)}


def with_timeout(text: str, state: str, seconds: int) -> str:
    """The definition with another time-out, for runners whose seconds are real."""
    raw = json.loads(text)
    raw["States"][state]["TimeoutSeconds"] = seconds
    return json.dumps(raw)


class Runner(Protocol):
    """The port over scripted steps, and what makes it go."""

    workflows: Workflows
    scripts: Path

    def now(self) -> Millis: ...

    async def pause(self) -> None:
        """Let whatever can happen next happen."""
        ...


class Local:
    """One or two workers over one store and queue."""

    def __init__(self, store: Any, queue: Any, texts: Mapping[str, str], clock: ManualClock, scripts: Path) -> None:
        definitions = [read_definition(name, text) for name, text in texts.items()]
        self.clock, self.scripts, self.store, self.queue = clock, scripts, store, queue
        self.telemetry = RecordingTelemetry()
        self.workflows: LocalWorkflows = LocalWorkflows(
            store,
            queue,
            definitions,
            clock=clock,
            telemetry=self.telemetry,
            random=random.Random(1).random,
            new_nonce=lambda: random.randbytes(16).hex(),
        )
        self.worker = QueueWorker(queue, QUEUE, self.handle, wait_s=0.0)

    def now(self) -> Millis:
        return self.clock.now()

    async def handle(self, message: QueueMessage) -> bool:
        return await self.workflows.carry_on(message, self.run)

    async def run(self, step: str, payload: Json) -> Json:
        answer = scripted.take(self.scripts, step, payload)
        if "hangs_s" in answer:
            await self.clock.sleep(answer["hangs_s"])
        if "raises" in answer:
            raise scripted.raised(answer["raises"])
        return answer.get("gives")

    async def pause(self) -> None:
        before = (await self.queue.depth(QUEUE)).ready
        await self.worker.step()
        await self.clock.settle()
        if not before:
            self.clock.advance(1.0)


class Emulated:
    """Step Functions, whose waits are a hundredth of what they say."""

    def __init__(self, workflows: Workflows, scripts: Path) -> None:
        self.workflows, self.scripts = workflows, scripts

    def now(self) -> Millis:
        return SystemClock().now()

    async def pause(self) -> None:
        await asyncio.sleep(POLL_S)


@asynccontextmanager
async def memory_runner(texts: Mapping[str, str], scripts: Path, clock: ManualClock) -> AsyncIterator[Local]:
    queue = MemoryQueue([QUEUE_SPEC], clock=clock, ids=SystemIds(clock))
    yield Local(MemoryStore(clock), queue, texts, clock, scripts)


@asynccontextmanager
async def sqlite_runner(texts: Mapping[str, str], scripts: Path, clock: ManualClock) -> AsyncIterator[Local]:
    schemas = [sqlite_store.SCHEMA, sqlite_queue.SCHEMA]
    database = Database.open(scripts.parent / "interlock.db", schemas=schemas, clock=clock)
    queue = SqliteQueue(database, [QUEUE_SPEC], clock=clock, ids=SystemIds(clock))
    yield Local(SqliteStore(database), queue, texts, clock, scripts)
    await database.close()


@asynccontextmanager
async def emulated_runner(texts: Mapping[str, str], scripts: Path, endpoint: str) -> AsyncIterator[Emulated]:
    async with deployed(endpoint, texts, scripts) as (calls, machines):
        yield Emulated(StepFunctionsWorkflows(calls, machines), scripts)


async def finished(runner: Runner, execution: str) -> Execution:
    for _ in range(TURNS_MAX):
        found = await runner.workflows.describe(execution)
        if found.status is not Status.RUNNING:
            return found
        await runner.pause()
    raise AssertionError(f"{execution} does not end: {await runner.workflows.history(execution)}")


async def asked(runner: Runner, execution: str, step: str) -> Any:
    """What the step was asked first, once it was."""
    name = execution.partition("/")[2]
    for _ in range(TURNS_MAX):
        if (found := scripted.asked(runner.scripts, name, step)) and found[0] is not None:
            return found[0]
        await runner.pause()
    raise AssertionError(f"{step} is not asked")


def told(history: list[Happening]) -> list[str]:
    """One line for each visit of a state: `Refund: failed Unavailable, retried, succeeded`, with `...` where it was not left."""
    lines: list[str] = []
    for state, what, error in history:
        if what == "entered":
            lines.append(f"{state}: ...")
            continue
        assert lines[-1].startswith(f"{state}:") and lines[-1].endswith("...")
        open_line = lines[-1].removesuffix("...")
        if what == "left":
            lines[-1] = open_line.rstrip(" ,:")
        else:
            lines[-1] = f"{open_line}{what}{f' {error}' if error else ''}, ..."
    return [line.replace(", ...", " ...") for line in lines]
