"""A worker in a process of its own, to be killed: `python -m tests.workflows.worker_process FOLDER`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from interlock.backends.asl.messages import QUEUE_SPEC
from interlock.backends.local.clock import SystemClock
from interlock.backends.local.ids import SystemIds
from interlock.backends.sqlite import queue as sqlite_queue
from interlock.backends.sqlite import store as sqlite_store
from interlock.backends.sqlite.database import Database
from interlock.backends.sqlite.queue import SqliteQueue
from interlock.backends.sqlite.store import SqliteStore
from tests.workflows.runners import Local


def step(name: str, **way_on: Any) -> dict[str, Any]:
    payload = {"execution": "{% $states.context.Execution.Name %}"}
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": f"${{step_{name}}}", "Payload": payload},
        "TimeoutSeconds": 600,
        "Output": "{% $states.result.Payload %}",
        **way_on,
    }


STORY = json.dumps(
    {
        "QueryLanguage": "JSONata",
        "StartAt": "First",
        "States": {"First": step("first", Next="Second"), "Second": step("second", End=True)},
    }
)


@asynccontextmanager
async def worker(folder: Path) -> AsyncIterator[Local]:
    clock: Any = SystemClock()
    schemas = [sqlite_store.SCHEMA, sqlite_queue.SCHEMA]
    database = Database.open(folder / "interlock.db", schemas=schemas, clock=clock)
    queue = SqliteQueue(database, [QUEUE_SPEC], clock=clock, ids=SystemIds(clock))
    yield Local(SqliteStore(database), queue, {"story": STORY}, clock, folder)
    await database.close()


async def work(folder: Path) -> None:
    async with worker(folder) as running:
        while True:
            await running.worker.step()
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1])))
