"""A worker process killed by the system in the middle of a step: the next one takes the work up."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from interlock.backends.asl.messages import QUEUE
from interlock.core.kernel.workflows import Status
from tests.workflows.runners import told
from tests.workflows.scripted import asked, script
from tests.workflows.worker_process import worker

PATIENCE_S = 30.0
ROOT = Path(__file__).parents[2]


async def holds(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "it never holds"
        await asyncio.sleep(0.02)


async def test_step_of_a_worker_killed_by_the_system_is_run_again_and_answered_once(tmp_path: Path) -> None:
    answers = {"first": [{"gives": 1}], "second": [{"hangs_s": 3_600}, {"gives": "done"}]}
    script(tmp_path, "s", answers)
    async with worker(tmp_path) as running:
        execution = await running.workflows.start("story", {}, id="s")
        command = [sys.executable, "-m", "tests.workflows.worker_process", str(tmp_path)]
        process = subprocess.Popen(command, cwd=ROOT)
        try:
            await holds(lambda: bool(asked(tmp_path, "s", "second")))
        finally:
            process.kill()
            process.wait()
        assert (await running.workflows.describe(execution)).status is Status.RUNNING
        await running.queue.end_leases(QUEUE)  # as a worker does that knows it is the only one
        while (done := await running.workflows.describe(execution)).status is Status.RUNNING:
            await running.worker.step()
            await asyncio.sleep(0.01)
        assert (done.status, done.output) == (Status.SUCCEEDED, "done")
        assert told(await running.workflows.history(execution)) == ["First: succeeded", "Second: succeeded"]
        assert [len(asked(tmp_path, "s", step)) for step in ("first", "second")] == [1, 2]
