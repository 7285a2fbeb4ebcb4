"""The workflows with their real steps, over the whole platform in one thread: two providers, ledger, no time but the test's."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

from interlock.backends.asl.definition import read_definition
from interlock.backends.asl.messages import QUEUE, QUEUE_SPEC
from interlock.backends.asl.workflows import LocalWorkflows
from interlock.backends.memory.blobs import MemoryBlobs
from interlock.backends.memory.queue import MemoryQueue
from interlock.core.kernel.alarms import Alarm
from interlock.core.kernel.errors import InterlockError
from interlock.core.kernel.workflows import Execution, Json, Status
from interlock.core.reconciliation.ports import Reconciliation
from interlock.entrypoints.steps import STEPS, runs_steps_of
from interlock.entrypoints.worker import QueueWorker
from tests.scenarios.world import World
from tests.workflows.runners import TEXTS, told

ROUNDS_MAX = 20_000


class NotedAlarms:
    def __init__(self) -> None:
        self.raised: list[Alarm] = []

    async def raise_alarm(self, alarm: Alarm) -> None:
        self.raised.append(alarm)


class Desk:
    """A world whose sweeper and other loops rest, unless a test lets them run: what happens, a workflow does."""

    def __init__(self, **faults: Any) -> None:
        world = self.world = World(**faults)
        self.blobs = MemoryBlobs()
        queue = MemoryQueue([QUEUE_SPEC], clock=world.clock, ids=world.ids)
        self.workflows = LocalWorkflows(
            world.store,
            queue,
            [read_definition(name, text, steps=STEPS) for name, text in TEXTS.items()],
            clock=world.clock,
            telemetry=world.telemetry,
            random=world.random.random,
            new_nonce=lambda: random.randbytes(16).hex(),
        )
        self.alarms = NotedAlarms()
        storage = SimpleNamespace(
            store=world.store, histories=world.feed, telemetry=world.telemetry, alarms=self.alarms
        )
        means = Reconciliation(world.store, self.blobs, world.clock, world.ids, world.telemetry)
        self.means: Any = SimpleNamespace(
            storage=storage, payments=world.node.payments, reconciliation=means, workflows=self.workflows
        )
        self._queue, self._run = queue, runs_steps_of(self.means)
        self.worker = QueueWorker(queue, QUEUE, lambda m: self.workflows.carry_on(m, self._run), wait_s=0.0)

    async def pause(self) -> None:
        busy = (await self._queue.depth(QUEUE)).ready
        await self.worker.step()
        await self.world.clock.run_for(0.0 if busy else 0.5)

    async def start(self, workflow: str, input: Json, id: str = "x1") -> str:
        return await self.workflows.start(workflow, {"tenant": "ten_1"} | input, id=id)

    async def finished(self, execution: str) -> Execution:
        for _ in range(ROUNDS_MAX):
            found = await self.workflows.describe(execution)
            if found.status is not Status.RUNNING:
                return found
            await self.pause()
        raise AssertionError(f"{execution} does not end: {await self.workflows.history(execution)}")

    async def history(self, execution: str) -> list[str]:
        return told(await self.workflows.history(execution))

    async def until(self, holds: Any) -> None:
        for _ in range(ROUNDS_MAX):
            if await holds():
                return
            await self.pause()
        raise AssertionError("it never comes to that")

    async def step(self, name: str, **given: Any) -> Json:
        """One step by itself."""
        return await STEPS[name](self.means, {"execution": "x1", "tenant": "ten_1"} | given)

    async def refusal(self, name: str, **given: Any) -> str:
        """The name of the error a step ends with."""
        try:
            await self.step(name, **given)
        except InterlockError as error:
            return type(error).__name__
        raise AssertionError("the step was done")
