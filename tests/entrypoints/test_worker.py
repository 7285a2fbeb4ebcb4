"""The worker's loops: each step may be interrupted anywhere, repeated by anyone, and fail without stopping the others."""

import asyncio
import contextlib
import random
from types import SimpleNamespace

import msgspec
import pytest

from interlock.backends.local.ids import SystemIds
from interlock.backends.memory.bus import MemoryBus, MemorySubscription
from interlock.backends.memory.queue import MemoryQueue
from interlock.backends.memory.store import MemoryStore
from interlock.backends.outbound.sns import AiohttpSnsSignatures
from interlock.core.desk.alerts.ports import AlertDesk
from interlock.core.desk.repair.ports import Repairs
from interlock.core.desk.replay.ports import Replays
from interlock.core.desk.slo.counting import CountedAttempts
from interlock.core.desk.slo.ports import Objectives
from interlock.core.kernel.bus import BusMessage
from interlock.core.kernel.errors import Conflict, OutcomeUnknown, StoreUnavailable
from interlock.core.kernel.events import Event, decode_event
from interlock.core.kernel.queue import QueueSpec
from interlock.core.kernel.store import Key, Put
from interlock.core.payments.states import State
from interlock.entrypoints import worker
from interlock.entrypoints.effects import EVENTS_TOPIC
from interlock.entrypoints.worker import Consumer, Gauges, Janitor, Loop, QueueWorker, Relay, Sweeper
from tests.clocks import ManualClock
from tests.scenarios.world import World
from tests.telemetry import RecordingTelemetry

QUEUE = "errands"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Stopping waits in real time, for steps that stand still here."""
    monkeypatch.setattr(worker, "DRAIN_S", 0.02)


class Setting:
    def __init__(self):
        self.clock = ManualClock()
        self.telemetry = RecordingTelemetry()
        self.store = MemoryStore(self.clock)
        self.bus = MemoryBus(self.clock)
        ids = SystemIds(self.clock, random_bits=random.Random(3).getrandbits)
        self.queue = MemoryQueue([QueueSpec(QUEUE, lease_s=30.0, attempts_max=3)], clock=self.clock, ids=ids)

    async def happen(self, count, *, first=1, aggregate="pay_1"):
        for version in range(first, first + count):
            event = Event(
                f"evt_{aggregate}_{version}", "payment.created", "ten_1", aggregate, version, self.clock.now()
            )
            await self.store.commit([], [event])

    async def published(self):
        """The ids of all events on the bus, by order of arrival within their aggregate."""
        subscription = await self.bus.subscribe(EVENTS_TOPIC, group=f"look{self.clock.now()}", member="m")
        records = await subscription.receive(limit=1000)
        await subscription.close()
        return [record.message.id for record in records]

    async def run(self, *loops, seconds):
        """Run loops for so long, then stop them; how long stopping took."""
        stop = asyncio.Event()
        task = asyncio.create_task(
            worker.run(
                [Loop(f"loop{i}", one) for i, one in enumerate(loops)],
                stop=stop,
                clock=self.clock,
                telemetry=self.telemetry,
            )
        )
        await self.clock.run_for(seconds)
        stop.set()
        return task


# Loops


async def test_a_step_that_fails_is_reported_and_comes_again_after_a_pause():
    setting, calls = Setting(), []

    async def step():
        calls.append(setting.clock.monotonic())
        if len(calls) == 1:
            raise StoreUnavailable("the disk is full")
        if len(calls) == 2:
            raise RuntimeError("a bug")
        await setting.clock.sleep(10)

    await (await setting.run(step, seconds=5))
    assert calls == [0, 1, 2]
    assert [
        (level, event, fields.get("code") or fields.get("error")) for level, event, fields in setting.telemetry.lines
    ] == [
        ("warning", "worker.step_failed", "store_unavailable"),
        ("error", "worker.step_crashed", "RuntimeError"),
    ]


async def test_a_loop_that_fails_for_good_does_not_hold_up_another():
    setting, steps = Setting(), []

    async def broken():
        raise RuntimeError

    async def sound():
        steps.append(1)
        await setting.clock.sleep(1)

    await (await setting.run(broken, sound, seconds=10))
    assert len(steps) == 11


async def test_stopping_waits_a_moment_for_a_step_and_then_interrupts_it():
    setting, interrupted = Setting(), []

    async def hangs():
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            interrupted.append(1)
            raise

    await asyncio.wait_for(await setting.run(hangs, seconds=1), 1)
    assert interrupted == [1]


async def test_stopping_closes_what_has_something_to_close_also_when_one_of_them_fails():
    setting, closed = Setting(), []

    async def rests():
        await setting.clock.sleep(0.1)

    async def fails():
        raise StoreUnavailable

    async def closes():
        closed.append(1)

    stop = asyncio.Event()
    loops = [Loop("a", rests, fails), Loop("b", rests, closes)]
    task = asyncio.create_task(worker.run(loops, stop=stop, clock=setting.clock, telemetry=setting.telemetry))
    await setting.clock.run_for(1)
    stop.set()
    await setting.clock.run_for(1)
    await task
    assert closed == [1]


# Relay


async def test_relay_publishes_every_event_once_and_in_order():
    setting = Setting()
    relay = Relay(setting.store, setting.store, setting.bus, wait_s=0)
    await setting.happen(450)
    for _ in range(4):
        await relay.step()
    assert await setting.published() == [f"evt_pay_1_{version}" for version in range(1, 451)]


async def test_relay_that_starts_again_goes_on_where_the_last_one_stopped():
    setting = Setting()
    await setting.happen(3)
    await Relay(setting.store, setting.store, setting.bus, wait_s=0).step()
    await setting.happen(2, first=4)
    await Relay(setting.store, setting.store, setting.bus, wait_s=0).step()
    assert await setting.published() == [f"evt_pay_1_{version}" for version in range(1, 6)]


@pytest.mark.parametrize("error", [StoreUnavailable, OutcomeUnknown])
async def test_relay_that_cannot_keep_its_position_publishes_again_and_misses_nothing(error):
    setting = Setting()
    await setting.happen(3)
    relay = Relay(setting.store, setting.store, setting.bus, wait_s=0)
    commit = setting.store.commit

    async def fails(writes, events=()):
        if error is OutcomeUnknown:
            await commit(writes, events)
        raise error("commit")

    setting.store.commit = fails
    with pytest.raises(error):
        await relay.step()
    setting.store.commit = commit
    await setting.happen(1, first=4)
    for _ in range(4):
        await relay.step()
    published = await setting.published()
    assert list(dict.fromkeys(published)) == [f"evt_pay_1_{version}" for version in range(1, 5)]
    await relay.step()
    assert await setting.published() == published, "and then it rests"


async def test_two_relays_at_once_miss_nothing():
    setting = Setting()
    relays = [Relay(setting.store, setting.store, setting.bus, wait_s=0) for _ in range(2)]
    for round_ in range(5):
        await setting.happen(3, first=1 + 3 * round_)
        for relay in relays:
            await relay.step()
    for _ in range(3):
        for relay in relays:
            await relay.step()
    published = await setting.published()
    assert list(dict.fromkeys(published)) == [f"evt_pay_1_{version}" for version in range(1, 16)]


async def test_relay_waits_for_an_event_and_wakes_with_it():
    setting = Setting()
    relay = Relay(setting.store, setting.store, setting.bus, wait_s=60)
    step = asyncio.create_task(relay.step())
    await setting.clock.settle()
    assert not step.done()
    await setting.happen(1)
    await setting.clock.settle()
    assert step.done()


# Consumers


def consumer(setting, consume, *, member="m"):
    return Consumer(setting.bus, group="g", member=member, consume=consume, wait_s=0)


async def test_what_a_consumer_failed_on_comes_again_and_what_it_did_does_not():
    setting, seen, fail = Setting(), [], [True]
    await setting.happen(3)
    await Relay(setting.store, setting.store, setting.bus, wait_s=0).step()

    async def consume(records):
        seen.append([decode_event(record.message.value).version for record in records])
        if fail and fail.pop():
            raise StoreUnavailable("not now")

    follows = consumer(setting, consume)
    with pytest.raises(StoreUnavailable):
        await follows.step()
    await follows.step()
    await follows.step()
    assert seen == [[1, 2, 3], [1, 2, 3]]
    assert await setting.bus.lag(EVENTS_TOPIC, group="g") == 0


async def test_a_consumer_whose_position_was_not_kept_gets_the_batch_again_and_is_not_behind_for_good(monkeypatch):
    setting, seen = Setting(), []
    await setting.happen(1)
    await Relay(setting.store, setting.store, setting.bus, wait_s=0).step()

    async def consume(records):
        seen.extend(record.message.id for record in records)

    async def refuses(self, records):
        raise StoreUnavailable("throttled")

    follows = consumer(setting, consume)
    with monkeypatch.context() as broken:
        broken.setattr(MemorySubscription, "commit", refuses)
        with pytest.raises(StoreUnavailable):
            await follows.step()
    await follows.step()
    assert seen == ["evt_pay_1_1", "evt_pay_1_1"]
    assert await setting.bus.lag(EVENTS_TOPIC, group="g") == 0


async def test_a_consumer_that_is_interrupted_leaves_its_records_to_another_member():
    setting, seen = Setting(), []
    await setting.happen(2)
    await Relay(setting.store, setting.store, setting.bus, wait_s=0).step()

    async def hangs(records):
        await asyncio.get_running_loop().create_future()

    async def consume(records):
        seen.extend(record.message.id for record in records)

    task = asyncio.create_task(consumer(setting, hangs).step())
    await setting.clock.settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await consumer(setting, consume, member="other").step()
    assert seen == ["evt_pay_1_1", "evt_pay_1_2"]


async def test_a_closed_consumer_gives_its_partitions_back_at_once():
    setting, seen = Setting(), []

    async def consume(records):
        seen.extend(records)

    first = consumer(setting, consume)
    await first.step()
    await first.close()
    await setting.happen(1)
    await Relay(setting.store, setting.store, setting.bus, wait_s=0).step()
    await consumer(setting, consume, member="other").step()
    assert len(seen) == 1


# Queue workers


async def test_a_message_that_takes_long_holds_up_nobody_but_itself():
    setting, done, gate = Setting(), [], asyncio.get_running_loop().create_future()

    async def handle(message):
        if message.body == b"slow":
            await gate
        done.append(message.body)
        return True

    errands = QueueWorker(setting.queue, QUEUE, handle, at_once=2, wait_s=0)
    for body in (b"slow", b"one", b"two", b"three"):
        await setting.queue.send(QUEUE, body)
    for _ in range(8):
        await errands.step()
        await setting.clock.settle()
    assert done == [b"one", b"two", b"three"]
    gate.set_result(None)
    await setting.clock.settle()
    await errands.step()
    assert done[-1] == b"slow"
    assert (await setting.queue.depth(QUEUE)).leased == 0


async def test_no_more_messages_are_taken_than_there_is_room_for():
    setting, under_way = Setting(), []

    async def handle(message):
        under_way.append(message)
        await asyncio.get_running_loop().create_future()

    errands = QueueWorker(setting.queue, QUEUE, handle, at_once=3, wait_s=0)
    for _ in range(10):
        await setting.queue.send(QUEUE, b"x")
    step = asyncio.create_task(errands.step())
    await setting.clock.settle()
    await step
    waiting = asyncio.create_task(errands.step())
    await setting.clock.settle()
    assert (len(under_way), (await setting.queue.depth(QUEUE)).ready, waiting.done()) == (3, 7, False)
    waiting.cancel()


async def test_a_message_that_is_not_done_comes_again_with_growing_pauses_and_dies_in_the_end():
    setting, at = Setting(), []

    async def handle(message):
        at.append(setting.clock.monotonic())
        return False

    errands = QueueWorker(setting.queue, QUEUE, handle, wait_s=0)
    await setting.queue.send(QUEUE, b"x")
    for _ in range(40):
        await errands.step()
        await setting.clock.run_for(0.5)
    assert at == [0, 2, 6]
    assert (await setting.queue.depth(QUEUE)).dead == 1


class Refusing:
    """A queue on a disk that is full."""

    def __init__(self, queue) -> None:
        self.queue, self.full = queue, True

    def __getattr__(self, name):
        if self.full and name in ("ack", "release"):
            raise StoreUnavailable("the disk is full")
        return getattr(self.queue, name)


@pytest.mark.parametrize("done", [True, False])
async def test_message_that_could_not_be_given_back_on_a_full_disk_does_not_wait_for_its_lease(done):
    setting, heard = Setting(), []

    async def handle(message):
        heard.append(message.attempts)
        return done

    queue = Refusing(setting.queue)
    errands = QueueWorker(queue, QUEUE, handle, wait_s=0)
    await setting.queue.send(QUEUE, b"x")
    for _ in range(3):
        with contextlib.suppress(StoreUnavailable):
            await errands.step()
        await setting.clock.settle()
    assert (heard, (await setting.queue.depth(QUEUE)).leased) == ([1], 1)
    queue.full = False
    with pytest.raises(StoreUnavailable):
        await errands.step()  # what was raised before is told only now
    await setting.clock.run_for(2)
    await errands.step()
    await setting.clock.settle()
    assert heard == ([1] if done else [1, 2])
    assert (await setting.queue.depth(QUEUE)).leased == 0


async def test_an_error_is_seen_and_its_message_comes_again_and_the_others_are_done():
    setting, done = Setting(), []

    async def handle(message):
        if message.body == b"bad" and message.attempts == 1:
            raise Conflict("no")
        done.append(message.body)
        return True

    errands = QueueWorker(setting.queue, QUEUE, handle, wait_s=0)
    for body in (b"bad", b"good"):
        await setting.queue.send(QUEUE, body)
    await errands.step()
    await setting.clock.settle()
    with pytest.raises(Conflict):
        await errands.step()
    await setting.clock.run_for(2)
    await errands.step()
    await setting.clock.settle()
    assert done == [b"good", b"bad"]


async def test_of_several_errors_at_once_the_bug_is_seen_before_the_refusal():
    setting = Setting()

    async def handle(message):
        raise ZeroDivisionError if message.body == b"2" else Conflict("no")

    errands = QueueWorker(setting.queue, QUEUE, handle, wait_s=0)
    for body in (b"1", b"2", b"3"):
        await setting.queue.send(QUEUE, body)
    await errands.step()
    await setting.clock.settle()
    with pytest.raises(ZeroDivisionError):
        await errands.step()
    assert (await setting.queue.depth(QUEUE)).delayed == 3


async def test_closing_lets_quick_messages_finish_and_gives_the_others_back():
    setting, done = Setting(), []

    async def handle(message):
        if message.body == b"slow":
            await asyncio.get_running_loop().create_future()
        for _ in range(5):
            await asyncio.sleep(0)
        done.append(message.body)
        return True

    errands = QueueWorker(setting.queue, QUEUE, handle, wait_s=0)
    for body in (b"slow", b"quick"):
        await setting.queue.send(QUEUE, body)
    await errands.step()
    await errands.close()
    depth = await setting.queue.depth(QUEUE)
    assert (done, depth.leased, depth.delayed) == ([b"quick"], 0, 1)


# Sweeper, janitor, gauges


async def test_sweeper_finishes_everything_due_beside_a_payment_nobody_can_read():
    world = World(notifications={"drop_rate": 1})
    for i in range(40):
        await world.pay(token="tok_timeout_after_accept", key=f"k{i}")
    world.clock.advance(5)
    broken = world.payments()[0]
    key = next(key for key in world.items if key.partition.endswith(broken.id) and key.sort == "payment")
    item = world.items[key]
    await world.backing.overwrite(item._replace(value=b"{"))
    sweeper = Sweeper(world.node.payments, interval_s=0)
    step = asyncio.create_task(sweeper.step())
    with pytest.raises(msgspec.DecodeError):
        await world.finish(step)
    await world.backing.overwrite(item)
    others = [payment for payment in world.payments() if payment.id != broken.id]
    assert len(others) == 39
    assert all(payment.state is State.SUCCEEDED for payment in others)


async def test_sweeper_rests_when_nothing_is_due_and_says_that_it_does_not_lag():
    world = World()
    step = asyncio.create_task(Sweeper(world.node.payments, interval_s=7).step())
    await world.clock.run_for(6.9)
    assert not step.done()
    await world.clock.run_for(0.2)
    await step
    assert world.telemetry.gauges["interlock_sweeper_due"] == 0
    assert world.telemetry.gauges["interlock_sweeper_lag_seconds"] == 0


async def test_sweep_of_a_function_measures_what_it_finds_at_first():
    world = World(notifications={"drop_rate": 1})
    await world.pay(token="tok_timeout_after_accept")
    began = world.payments()[0].attempts[0].started_at
    world.clock.advance(600)
    due_s = (world.clock.now() - began) / 1000
    assert await world.finish(asyncio.create_task(worker.sweep(world.node.payments, seconds=50))) == 1
    assert world.telemetry.gauges["interlock_sweeper_due"] == 1
    assert 0 < world.telemetry.gauges["interlock_sweeper_lag_seconds"] < due_s
    assert world.telemetry.gauges["interlock_unknown_oldest_seconds"] == due_s
    assert world.payments()[0].state is State.SUCCEEDED


async def test_sweep_of_a_function_that_finds_nothing_says_that_nothing_is_late():
    world = World()
    assert await worker.sweep(world.node.payments, seconds=50) == 0
    gauges = ("interlock_sweeper_due", "interlock_sweeper_lag_seconds", "interlock_unknown_oldest_seconds")
    assert [world.telemetry.gauges[name] for name in gauges] == [0, 0, 0]


async def test_janitor_drops_what_expired_and_what_every_group_has_passed():
    setting = Setting()
    for i in range(450):
        await setting.store.commit(
            [Put(Key("p", str(i)), b"", expires_at=setting.clock.now() + (1000 if i % 2 else 10**9))]
        )
    await setting.happen(2)
    await Relay(setting.store, setting.store, setting.bus, wait_s=0).step()

    async def consume(records):
        pass

    await consumer(setting, consume).step()
    setting.clock.advance(3600)
    janitor = asyncio.create_task(Janitor(setting.clock, setting.store, setting.bus, interval_s=60).step())
    await setting.clock.run_for(60)
    await janitor
    assert len((await setting.store.query("p", limit=1000)).items) == 225
    assert await setting.published() == []


async def test_gauges_tell_depths_lags_and_the_oldest_unknown():
    world = World(notifications={"drop_rate": 1}, operations={"lookup": {"unavailable": 1}})
    await world.pay(token="tok_timeout_after_accept")
    await world.queue.send("notifications", b"{}")
    world.clock.advance(50)
    platform = SimpleNamespace(
        storage=SimpleNamespace(
            telemetry=world.telemetry, clock=world.clock, queue=world.queue, bus=world.bus, store=world.store
        ),
        engine=world.node.engine,
        payments=world.node.payments,
        desk=SimpleNamespace(replays=SimpleNamespace(queues=("notifications", "webhooks"))),
    )
    await world.node._loops["relay"]()
    labelled = {}
    world.telemetry.gauge = lambda metric, value, **labels: labelled.__setitem__((metric, *labels.values()), value)
    step = asyncio.create_task(Gauges(platform, groups=("read_models",), interval_s=5).step())
    await world.clock.run_for(5)
    await step
    assert labelled["interlock_queue_messages", "notifications", "ready"] == 1
    assert labelled["interlock_queue_oldest_ready_seconds", "notifications"] == 50
    assert labelled["interlock_bus_lag_messages", "read_models"] == 2
    assert labelled["interlock_provider_breaker_open", "simulator_a"] == 0
    assert labelled["interlock_unknown_oldest_seconds",] == pytest.approx(60, abs=1)


# All together


def platform_of(world):
    """The world's node as the worker wants it."""
    node = world.node
    storage = SimpleNamespace(
        telemetry=world.telemetry,
        clock=world.clock,
        ids=world.ids,
        queue=world.queue,
        bus=world.bus,
        store=world.store,
        feed=world.feed,
        documents=world.documents,
        expiring=world.store,
        pruning=world.bus,
        forwarding=None,
    )
    return SimpleNamespace(
        storage=storage,
        engine=node.engine,
        payments=node.payments,
        webhooks=node.webhooks,
        notifications=node.notifications,
        steps_here=None,  # nobody starts a workflow
        desk=SimpleNamespace(
            repairs=Repairs(node.payments, node.webhooks, world.documents),
            replays=Replays(
                store=world.store,
                clock=world.clock,
                ids=world.ids,
                documents=world.documents,
                webhooks=node.webhooks,
                queue=world.queue,
                queues=(),
                histories=world.feed,
            ),
            objectives=Objectives(
                world.store, world.clock, world.ids, world.telemetry, CountedAttempts(world.documents, world.documents)
            ),
            alerts=AlertDesk(world.store, world.clock, world.ids, world.telemetry, AiohttpSnsSignatures(), bytes),
            exports=None,
            tallies=world.documents,
            past=world.documents,
        ),
        settings=SimpleNamespace(sweep_interval_s=1.0),
    )


async def test_the_loops_of_a_node_carry_a_payment_to_its_webhook_and_stop():
    world = World()
    await world.hook()
    stop = asyncio.Event()
    loops = worker.loops(platform_of(world), member="node")
    task = asyncio.create_task(worker.run(loops, stop=stop, clock=world.clock, telemetry=world.telemetry))
    answer = await world.pay(token="tok_timeout_after_accept")
    await world.post()
    await world.clock.run_for(5)
    assert world.payment(answer.json["id"]).state is State.SUCCEEDED
    assert len(set(world.merchant.heard)) == 3
    stop.set()
    await world.clock.run_for(3)
    await asyncio.wait_for(task, 5)
    assert not [line for line in world.telemetry.lines if line[1].startswith("worker.")]
    await world.assert_invariants()


async def test_a_message_that_is_no_event_is_passed_over_by_every_group_and_seen():
    world = World()
    await world.hook()
    bad = BusMessage("evt_bad", "pay_x", b"\xff not an event")
    await world.bus.publish(EVENTS_TOPIC, [bad])
    loops = worker.loops(platform_of(world), member="node")
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(loops, stop=stop, clock=world.clock, telemetry=world.telemetry))
    await world.sale()
    await world.clock.run_for(3)
    stop.set()
    await world.clock.run_for(3)
    await asyncio.wait_for(task, 5)
    assert not [line for line in world.telemetry.lines if line[1] == "worker.step_crashed"]
    for group in ("read_models", "ledger_balances", "webhooks", "desk", "log"):
        assert await world.bus.lag(EVENTS_TOPIC, group=group) == 0, group
    assert sorted(set(world.alarms())) == [
        "ledger.journal_refused",
        "webhook.event_unreadable",
        "worker.event_unreadable",
    ]
