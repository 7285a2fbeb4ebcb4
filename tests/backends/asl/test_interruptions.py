"""Workers that are killed anywhere, that race, that get old messages: a step is run once or more and answered once."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from interlock.backends.asl.messages import QUEUE, QUEUE_SPEC
from interlock.backends.local.ids import SystemIds
from interlock.backends.memory.queue import MemoryQueue
from interlock.backends.memory.store import MemoryStore
from interlock.backends.sqlite import queue as sqlite_queue
from interlock.backends.sqlite import store as sqlite_store
from interlock.backends.sqlite.database import Database
from interlock.backends.sqlite.queue import SqliteQueue
from interlock.backends.sqlite.store import SqliteStore
from interlock.core.kernel.errors import OutcomeUnknown, StoreUnavailable, WriteConflict
from interlock.core.kernel.queue import DELAY_MAX_S
from interlock.core.kernel.workflows import Status
from tests.backends.asl.machines import task, text
from tests.clocks import ManualClock
from tests.workflows.runners import Local, asked, finished, told
from tests.workflows.scripted import asked as all_asked
from tests.workflows.scripted import script

OF_EXECUTION = {"execution": "{% $states.context.Execution.Name %}"}
OF_ITEM = {**OF_EXECUTION, "item": "{% $states.input %}"}
PAUSE = {"Type": "Wait", "Seconds": 5, "Next": "Each"}
LONG_S = 4 * QUEUE_SPEC.lease_s
"""So that a step comes again before its time is over."""
RETRY = [{"ErrorEquals": ["Unavailable"], "IntervalSeconds": 1, "MaxAttempts": 2}]
EACH = {
    "Type": "Map",
    "Items": "{% [1, 2, 3] %}",
    "MaxConcurrency": 2,
    "ItemProcessor": {
        "StartAt": "Do",
        "States": {"Do": task("work", payload=OF_ITEM, Retry=RETRY, TimeoutSeconds=LONG_S)},
    },
    "Output": "{% $sum($states.result.Payload) %}",
    "Next": "Mend",
}
ASK = task("ask", payload=OF_EXECUTION, Next="Pause", TimeoutSeconds=LONG_S)
MEND = task(
    "mend",
    payload={**OF_EXECUTION, "sum": "{% $states.input %}"},
    TimeoutSeconds=LONG_S,
    Retry=RETRY,
    Output="{% $states.result.Payload %}",
)
STORY = text({"Ask": ASK, "Pause": PAUSE, "Each": EACH, "Mend": MEND})
ANSWERS = {
    "ask": [{"gives": 0}],
    "work:1": [{"gives": 10}],
    "work:2": [{"raises": "Unavailable"}, {"gives": 20}],
    "work:3": [{"gives": 30}],
    "mend": [{"gives": "mended"}],
}
HISTORY = ["Ask: succeeded", "Pause", "Each", "Mend: succeeded"]


class Died(asyncio.CancelledError):
    """The process ended here."""


class Dying:
    """Passes calls on until the process ends, before or after the effect of one of them. Or a fault is met."""

    def __init__(self, life: Life, inner: Any) -> None:
        self._life, self._inner = life, inner

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._inner, name)
        if not asyncio.iscoroutinefunction(inner):
            return inner

        async def call(*args: Any, **given: Any) -> Any:
            await self._life.others_go_first()
            self._life.tick()
            fault = self._life.fault(name)
            if fault is not None and fault != "unknown, done":
                raise {"unavailable": StoreUnavailable(name), "unknown": OutcomeUnknown(name)}[fault]
            result = await inner(*args, **given)
            await self._life.others_go_first()
            self._life.tick()
            if fault is not None:
                raise OutcomeUnknown(name)
            return result

        return call


class Life:
    def __init__(self, *, ends_at: int | None = None) -> None:
        self.ticks, self.ends_at, self.over = 0, ends_at, False
        self.faults: list[str] = []
        self.dice = random.Random(1)

    async def others_go_first(self) -> None:
        """Between two awaits anybody may run."""
        for _ in range(self.dice.randrange(3)):
            await asyncio.sleep(0)

    def tick(self) -> None:
        if self.over:
            raise Died
        self.ticks += 1
        if self.ticks == self.ends_at:
            self.over = True
            raise Died

    def fault(self, name: str) -> str | None:
        return self.faults.pop(0) if name == "commit" and self.faults else None


class World:
    """What outlives every worker."""

    def __init__(self, scripts: Path, *, story: str = STORY, on_disk: bool = False) -> None:
        self.clock, self.scripts, self.story = ManualClock(), scripts, story
        scripts.mkdir(parents=True, exist_ok=True)
        ids = SystemIds(self.clock)
        self.store: Any = MemoryStore(self.clock)
        self.queue: Any = MemoryQueue([QUEUE_SPEC], clock=self.clock, ids=ids)
        self.database: Database | None = None
        if on_disk:
            schemas = [sqlite_store.SCHEMA, sqlite_queue.SCHEMA]
            self.database = Database.open(scripts / "interlock.db", schemas=schemas, clock=self.clock)
            self.store = SqliteStore(self.database)
            self.queue = SqliteQueue(self.database, [QUEUE_SPEC], clock=self.clock, ids=ids)

    def worker(self, life: Life | None = None) -> Local:
        life = life or Life()
        return Local(Dying(life, self.store), Dying(life, self.queue), {"story": self.story}, self.clock, self.scripts)


async def until_dead(worker: Local, life: Life) -> None:
    """A process, from the request that starts the execution on."""
    try:
        execution = await worker.workflows.start("story", {}, id="s")
        for _ in range(2_000):
            if (await worker.workflows.describe(execution)).status is not Status.RUNNING:
                return
            await worker.pause()
    except Died:
        pass
    finally:
        life.over = True
        for running in worker.worker._under_way:
            running.cancel()
        await asyncio.gather(*worker.worker._under_way, return_exceptions=True)


async def assert_told_once(world: World, worker: Local) -> None:
    done = await finished(worker, "story/s")
    assert (done.status, done.output) == (Status.SUCCEEDED, "mended")
    assert told(await worker.workflows.history("story/s")) == HISTORY
    assert all_asked(world.scripts, "s", "mend")[-1]["sum"] == 60


async def test_worker_killed_on_disk_loses_nothing_either(tmp_path):
    for ends_at in range(5, 200, 13):
        world = World(tmp_path / str(ends_at), on_disk=True)
        script(world.scripts, "s", ANSWERS)
        life = Life(ends_at=ends_at)
        await until_dead(world.worker(life), life)
        assert life.ticks == ends_at
        await world.database.close()
        reopened = World(world.scripts, on_disk=True)
        reopened.clock.advance(2 * QUEUE_SPEC.lease_s)
        second = reopened.worker()
        assert await second.workflows.start("story", {}, id="s") == "story/s"
        await assert_told_once(reopened, second)
        await reopened.database.close()


async def ticks_of_one_life(scripts: Path) -> int:
    world, life = World(scripts), Life()
    script(scripts, "s", ANSWERS)
    await until_dead(world.worker(life), life)
    return life.ticks


async def test_worker_killed_before_or_after_any_call_loses_nothing_and_answers_nothing_twice(tmp_path):
    most = await ticks_of_one_life(tmp_path / "whole")
    assert most > 200
    repeated = 0
    for ends_at in range(1, most + 1, 3):
        world = World(tmp_path / str(ends_at))
        script(world.scripts, "s", ANSWERS)
        life = Life(ends_at=ends_at)
        await until_dead(world.worker(life), life)
        world.clock.advance(QUEUE_SPEC.lease_s)
        second = world.worker()
        assert await second.workflows.start("story", {}, id="s") == "story/s"
        await assert_told_once(world, second)
        repeated += len(all_asked(world.scripts, "s", "mend")) > 1
    assert repeated > 0, "no life ended between a step and its answer: the test proves nothing"


async def test_lease_that_ends_by_itself_brings_the_step_again(tmp_path):
    world = World(tmp_path / "x")
    script(world.scripts, "s", ANSWERS | {"ask": [{"hangs_s": 10_000}, {"gives": 0}]})
    life = Life()
    first = world.worker(life)
    await first.workflows.start("story", {}, id="s")
    await asked(first, "story/s", "ask")
    life.over = True
    await assert_told_once(world, world.worker())
    assert len(all_asked(world.scripts, "s", "ask")) == 2


@pytest.mark.parametrize("seed", range(12))
async def test_two_workers_at_one_execution_advance_it_as_one_would(tmp_path, seed):
    world = World(tmp_path / "x")
    script(world.scripts, "s", ANSWERS)
    dice = random.Random(seed)
    lives = [Life(), Life()]
    for n, life in enumerate(lives):
        life.dice = random.Random(100 * seed + n)
    workers = [world.worker(life) for life in lives]
    await asyncio.gather(*(worker.workflows.start("story", {}, id="s") for worker in workers))
    while (await workers[0].workflows.describe("story/s")).status is Status.RUNNING:
        await asyncio.gather(*(worker.worker.step() for worker in workers if dice.random() < 0.8))
        await world.clock.settle()
        world.clock.advance(dice.choice([0.0, 0.3, 1.0]))
    await assert_told_once(world, workers[1])
    assert [len(all_asked(world.scripts, "s", f"work:{n}")) for n in (1, 2, 3)] == [1, 2, 1]


@pytest.mark.parametrize("fault", ["unavailable", "unknown", "unknown, done"])
async def test_commit_that_fails_or_is_not_known_of_is_made_good(tmp_path, fault):
    for at in range(2, 20):
        world, life = World(tmp_path / str(at)), Life()
        script(world.scripts, "s", ANSWERS)
        worker = world.worker(life)
        await worker.workflows.start("story", {}, id="s")
        for _ in range(2_000):
            if (await worker.workflows.describe("story/s")).status is not Status.RUNNING:
                break
            if life.ticks > at * 10 and life.faults == [] and not getattr(life, "met", False):
                life.faults, life.met = [fault], True
            try:
                await worker.pause()
            except StoreUnavailable:
                world.clock.advance(1.0)
        await assert_told_once(world, worker)


async def test_message_that_comes_again_when_all_is_done_does_nothing(tmp_path):
    world = World(tmp_path / "x")
    script(world.scripts, "s", ANSWERS)
    worker = world.worker()
    seen: list[Any] = []
    handle = worker.workflows.carry_on

    async def carry_on(message, run):
        seen.append(message)
        return await handle(message, run)

    worker.workflows.carry_on = carry_on  # type: ignore[method-assign]
    await worker.workflows.start("story", {}, id="s")
    await assert_told_once(world, worker)
    before = sorted(path.name for path in world.scripts.iterdir())
    for message in seen:
        assert await handle(message, worker.run) is True
    assert sorted(path.name for path in world.scripts.iterdir()) == before
    await assert_told_once(world, worker)


async def test_message_of_a_turn_that_was_never_written_is_given_back(tmp_path):
    world, life = World(tmp_path / "x"), Life()
    worker = world.worker(life)
    await worker.workflows.start("story", {}, id="other")
    await world.queue.receive(QUEUE)
    life.faults = ["unavailable"]
    with pytest.raises(StoreUnavailable):
        await worker.workflows.start("story", {}, id="s")
    (message, *_) = await world.queue.receive(QUEUE)
    asking = asyncio.ensure_future(worker.workflows.carry_on(message, worker.run))
    await world.clock.run_for(1.0)
    assert await asking is False
    assert all_asked(world.scripts, "s", "ask") == []


async def test_message_that_cannot_be_read_is_an_alarm_and_holds_up_nobody(tmp_path):
    world = World(tmp_path / "x")
    script(world.scripts, "s", ANSWERS)
    worker = world.worker()
    await world.queue.send(QUEUE, b"\xff")
    await worker.workflows.start("story", {}, id="s")
    await assert_told_once(world, worker)
    assert worker.telemetry.alarms().count("workflow.message_unreadable") == 1


async def test_wait_longer_than_a_queue_delays_ends_at_its_time_and_no_earlier(tmp_path):
    seconds = int(DELAY_MAX_S * 2.5)
    world = World(tmp_path / "x", story=text({"Wait": {"Type": "Wait", "Seconds": seconds, "End": True}}))
    worker = world.worker()
    await worker.workflows.start("story", {}, id="s")

    async def look() -> Status:
        for _ in range(3):
            await worker.worker.step()
            await world.clock.settle()
        return (await worker.workflows.describe("story/s")).status

    for _ in range(2):
        world.clock.advance(DELAY_MAX_S)
        assert await look() is Status.RUNNING
    world.clock.advance(DELAY_MAX_S / 2 - 0.001)
    assert await look() is Status.RUNNING
    world.clock.advance(0.001)
    assert await look() is Status.SUCCEEDED


async def test_execution_goes_on_with_the_definition_it_began_with(tmp_path):
    world = World(tmp_path / "x")
    script(world.scripts, "s", ANSWERS)
    await world.worker().workflows.start("story", {}, id="s")
    world.story = text({"Other": {"Type": "Pass", "End": True}})
    newer = world.worker()
    await assert_told_once(world, newer)
    assert (await finished(newer, await newer.workflows.start("story", {}, id="t"))).output == {}
    assert told(await newer.workflows.history("story/t")) == ["Other"]


async def test_execution_that_has_grown_too_large_ends_and_says_so(tmp_path):
    grow = {"Type": "Pass", "Assign": {"a": "{% $states.input %}", "b": "{% $states.input %}"}, "Next": "Ask"}
    world = World(tmp_path / "x", story=text({"Grow": grow, "Ask": task("ask", payload=OF_EXECUTION)}))
    worker = world.worker()
    execution = await worker.workflows.start("story", "x" * 200_000, id="s")
    found = await worker.workflows.describe(execution)
    assert (found.status, found.error) == (Status.FAILED, "States.DataLimitExceeded")
    assert worker.telemetry.alarms() == ["workflow.failed"]


async def test_bug_in_a_step_is_an_alarm_and_its_words_go_nowhere(tmp_path):
    world = World(tmp_path / "x", story=text({"Ask": task("ask", payload=OF_EXECUTION)}))
    script(world.scripts, "s", {"ask": [{"raises": "LookupError"}]})
    worker = world.worker()
    done = await finished(worker, await worker.workflows.start("story", {}, id="s"))
    assert done.error == "LookupError"
    assert json.loads(done.cause) == {"errorType": "LookupError", "errorMessage": ""}
    assert ("error", "workflow.step_crashed", {"name": "ask", "error": "LookupError"}) in worker.telemetry.lines


async def test_conflict_that_never_ends_leaves_the_message_for_later(tmp_path):
    world = World(tmp_path / "x")
    script(world.scripts, "s", ANSWERS)
    worker = world.worker()
    await worker.workflows.start("story", {}, id="s")
    commit, worker.workflows._store = world.store.commit, Refusing(world.store)
    messages = await world.queue.receive(QUEUE)
    step = next(message for message in messages if json.loads(message.body)["runs_step"])
    with pytest.raises(Exception, match="changing too fast"):
        await worker.workflows.carry_on(step, worker.run)
    worker.workflows._store = world.store
    assert await worker.workflows.carry_on(step, worker.run) is True
    assert told(await worker.workflows.history("story/s"))[0] == "Ask: succeeded"
    assert commit == world.store.commit


class Refusing:
    """A store in which somebody else is always faster."""

    def __init__(self, inner: MemoryStore) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def commit(self, writes: Any, events: Any = ()) -> None:
        raise WriteConflict(writes[0].key)
