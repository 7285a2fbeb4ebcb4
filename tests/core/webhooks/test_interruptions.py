"""Two workers on one lane, and a platform that dies between any two steps."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from interlock.backends.sqlite.database import Database
from interlock.backends.sqlite.store import SCHEMA, SqliteStore
from interlock.core.kernel.errors import OutcomeUnknown
from interlock.core.webhooks.delivering import consume
from interlock.core.webhooks.handlers import retry_delivery
from interlock.core.webhooks.listing import Wanted, find_deliveries, find_delivery
from interlock.core.webhooks.ports import QUEUE, SendResult
from interlock.core.webhooks.records import delivery_write
from interlock.core.webhooks.states import DeliveryState
from tests.clocks import ManualClock
from tests.core.webhooks.world import OK, REFUSED, TENANT, Killed, World, records, request

LEASES_S = 400


async def story(world: World, events) -> None:
    """What the platform does, from the bus to the last attempt of a payment whose second event fails once."""
    await consume(world.w, records(events))
    await world.run_for(20)


async def prepared() -> tuple[World, list]:
    world = World()
    await world.endpoint()
    world.merchant.script = [OK, REFUSED]
    return world, [await world.commit(version=version) for version in (1, 2, 3)]


async def test_killed_at_any_step_every_event_still_arrives_in_order():
    world, events = await prepared()
    before = world.steps
    await story(world, events)
    steps = world.steps - before
    assert steps > 60
    doubled = 0
    for step in range(1, steps + 1):
        world, events = await prepared()
        world.steps, world.kill_at = 0, step
        with pytest.raises(Killed):
            await story(world, events)
        world.kill_at = None
        world.new_process()
        await consume(world.w, records(events))  # the bus gives again what was not committed
        await world.run_for(LEASES_S)
        firsts = list(dict.fromkeys(world.merchant.heard))
        assert firsts == [event.id for event in events], f"killed at step {step}"
        assert [delivery.state for delivery in await world.deliveries()] == ["delivered"] * 3, f"killed at step {step}"
        assert await world.messages_left() == 0, f"killed at step {step}"
        doubled += len(world.merchant.heard) > 4
    assert doubled, "killed between the request and its record, it must be sent again"


async def test_killed_at_any_step_without_the_bus_repeating_what_was_fanned_out_still_arrives():
    """Once fan-out has returned, the queue alone carries the work."""
    world, events = await prepared()
    await consume(world.w, records(events))
    before = world.steps
    await world.run_for(20)
    steps = world.steps - before
    for step in range(1, steps + 1):
        world, events = await prepared()
        await consume(world.w, records(events))
        world.steps, world.kill_at = 0, step
        with pytest.raises(Killed):
            await world.run_for(20)
        world.kill_at = None
        world.new_process()
        await world.run_for(LEASES_S)
        firsts = list(dict.fromkeys(world.merchant.heard))
        assert firsts == [event.id for event in events], f"killed at step {step}"
        assert [delivery.state for delivery in await world.deliveries()] == ["delivered"] * 3, f"killed at step {step}"
        assert await world.messages_left() == 0, f"killed at step {step}"


async def test_killed_at_any_step_of_a_retry_by_hand_leaves_it_as_it_was_or_sends_it():
    world = World()
    await world.endpoint()
    await world.happen()
    await world.drain()
    [delivery] = await world.deliveries()
    before = world.steps
    await retry_delivery(world.w, delivery.id, request())
    steps = world.steps - before
    for step in range(1, steps + 1):
        world = World()
        await world.endpoint()
        [event] = await world.happen()
        await world.drain()
        [delivery] = await world.deliveries()
        world.steps, world.kill_at = 0, step
        with pytest.raises(Killed):
            await retry_delivery(world.w, delivery.id, request())
        world.kill_at = None
        await retry_delivery(world.w, delivery.id, request())
        await world.drain()
        assert set(world.merchant.heard) == {event.id}
        assert len(world.merchant.heard) in (2, 3)
        assert [one.state for one in await world.deliveries()] == ["delivered"]


async def test_killed_at_any_step_of_a_retry_by_hand_that_nobody_repeats_blocks_no_lane():
    """Found by simulation: the delivery was open again, and no message of its own brought it up."""
    steps = 1
    for step in range(1, 100):
        world = World()
        await world.endpoint()
        events = [await world.commit(version=1)]
        await consume(world.w, records(events))
        await world.drain()
        [delivery] = await world.deliveries()
        world.steps, world.kill_at = 0, step
        try:
            await retry_delivery(world.w, delivery.id, request())
        except Killed:
            world.kill_at = None
        else:
            steps = step
            break
        events += [await world.commit(version=version) for version in (2, 3)]
        await consume(world.w, records(events))
        await world.run_for(LEASES_S)
        assert list(dict.fromkeys(world.merchant.heard)) == [event.id for event in events], f"killed at step {step}"
        assert {one.state for one in await world.deliveries()} == {"delivered"}, f"killed at step {step}"
    assert steps > 8


async def test_two_workers_with_the_same_lane_at_once_send_once():
    world = World()
    await world.endpoint()
    [event] = await world.happen()
    await consume(world.w, records([event]))  # a second message for the same delivery
    started, finish = asyncio.Event(), asyncio.Event()

    async def slow() -> SendResult:
        started.set()
        await finish.wait()
        return OK

    world.merchant.script = [slow]
    one, two = await world.queue.receive(QUEUE, limit=2)
    first = asyncio.create_task(world.handle(one))
    await started.wait()
    assert await world.handle(two)
    finish.set()
    assert await first
    assert world.merchant.heard == [event.id]
    await world.run_for(LEASES_S)  # somebody looks again when the lease is over, and finds nothing to do
    assert len(world.merchant.heard) == 1
    assert await world.messages_left() == 0


async def test_two_workers_that_read_the_lane_at_the_same_moment_send_once():
    world = World()
    await world.endpoint()
    events = await world.happen(count=2)
    await consume(world.w, records(events))

    async def yielding() -> SendResult:
        for _ in range(30):
            await asyncio.sleep(0)
        return OK

    world.merchant.script = [yielding] * 2
    gate = world.store.query

    async def query(*args, **kwargs):
        page = await gate(*args, **kwargs)
        await asyncio.sleep(0)
        return page

    world.store.query = query
    messages = await world.queue.receive(QUEUE, limit=4)
    assert len(messages) == 4
    await asyncio.gather(*(world.handle(message) for message in messages))
    await world.run_for(LEASES_S)
    assert world.merchant.heard == [event.id for event in events]
    assert "webhook_delivery.result_late" not in world.telemetry.lines
    assert await world.messages_left() == 0


async def test_worker_that_outlives_its_lease_changes_nothing_when_it_comes_back():
    world = World()
    await world.endpoint()
    [event] = await world.happen()
    started, finish = asyncio.Event(), asyncio.Event()

    async def stuck() -> SendResult:
        started.set()
        await finish.wait()
        return REFUSED

    world.merchant.script = [stuck]
    [message] = await world.queue.receive(QUEUE)
    stale = asyncio.create_task(world.handle(message))
    await started.wait()
    world.clock.advance(130)  # longer than both leases
    await world.drain()
    assert [delivery.state for delivery in await world.deliveries()] == ["delivered"]
    finish.set()
    await stale
    assert world.merchant.heard == [event.id, event.id]
    [delivery] = await world.deliveries()
    assert (delivery.state, delivery.attempts_total) == ("delivered", 1)
    assert "webhook_delivery.result_late" in world.telemetry.lines


async def die_while_sending(world: World) -> str:
    """The id of the event whose delivery a worker was at when it was killed."""
    await world.endpoint()
    [event] = await world.happen()

    async def never() -> SendResult:
        raise Killed

    world.merchant.script = [never]
    [message] = await world.queue.receive(QUEUE)
    with pytest.raises(Killed):
        await world.handle(message)
    await world.queue.release(QUEUE, message.receipt)  # as a worker does with what its predecessor had leased
    return event.id


async def test_only_worker_sends_at_once_what_its_dead_predecessor_was_sending():
    world = World()
    event_id = await die_while_sending(world)
    world.alone = True
    world.new_process()
    await world.drain()
    assert world.merchant.heard == [event_id, event_id]
    assert [delivery.state for delivery in await world.deliveries()] == ["delivered"]
    assert await world.messages_left() == 0


async def test_one_of_several_workers_waits_for_the_lease_of_a_dead_one():
    world = World()
    event_id = await die_while_sending(world)
    world.new_process()
    await world.drain()
    assert world.merchant.heard == [event_id]
    await world.run_for(LEASES_S)
    assert world.merchant.heard == [event_id, event_id]


async def test_message_that_comes_while_another_worker_fails_brings_the_delivery_up_when_the_lease_is_over():
    """Found by simulation: the one who had the lease failed with its message gone, and the other had left it to that one."""
    world = World()
    await world.endpoint()
    events = await world.happen()
    [delivery] = await world.deliveries()
    leased = msgspec.structs.replace(delivery, state=DeliveryState.SENDING, lease_until=world.clock.now() + 45_000)
    await world.store.commit([delivery_write(leased, 1)])  # its worker is gone, and so is its message
    await world.drain()
    assert world.merchant.heard == []
    await world.run_for(LEASES_S)
    assert world.merchant.heard == [events[0].id]
    assert await world.messages_left() == 0


async def test_only_worker_does_not_send_again_what_it_is_sending_itself():
    world = World()
    world.alone = True
    world.new_process()
    await world.endpoint()
    events = await world.happen()
    started, finish = asyncio.Event(), asyncio.Event()

    async def slow() -> SendResult:
        started.set()
        await finish.wait()
        return OK

    world.merchant.script = [slow]
    [message] = await world.queue.receive(QUEUE)
    sending = asyncio.create_task(world.handle(message))
    await started.wait()
    await consume(world.w, records(events))  # a second message for the same delivery
    await world.drain()
    finish.set()
    await sending
    assert world.merchant.heard == [events[0].id]
    await world.run_for(LEASES_S)  # somebody looks again when the lease is over, and finds nothing to do
    assert world.merchant.heard == [events[0].id]
    assert await world.messages_left() == 0


async def test_leftover_messages_do_not_multiply():
    """However often a waiting delivery's event is repeated, each attempt is made once and the queue empties."""
    world = World()
    await world.endpoint()
    world.merchant.script = [REFUSED] * 4
    events = await world.happen(count=2)
    for _ in range(20):
        await consume(world.w, records(events))
        await world.run_for(5)
        assert await world.messages_left() <= 1
    await world.run_for(1200)
    ids = [event.id for event in events]
    assert world.merchant.heard == [ids[0]] * 5 + [ids[1]]
    assert await world.messages_left() == 0


@pytest.mark.parametrize("seed", range(12))
async def test_many_workers_with_random_interruptions_lose_nothing_and_keep_each_lanes_order(seed):
    world = World(seed=seed)
    await world.endpoint()
    await world.endpoint(url="https://other.example.com/hooks")
    rng = world.random
    expected: dict[str, list[str]] = {}
    for n in range(6):
        events = await world.happen(aggregate=f"pay_{n}", count=rng.randint(1, 4))
        expected[f"pay_{n}"] = [event.id for event in events]
    world.merchant.script = [rng.choice((OK, REFUSED, SendResult(500, None, 1))) for _ in range(30)]
    for _ in range(60):
        world.steps, world.kill_at = 0, rng.choice((None, rng.randint(1, 200)))
        try:
            messages = await world.queue.receive(QUEUE, limit=rng.randint(1, 5))
            await asyncio.gather(*(world.handle(message) for message in messages), return_exceptions=False)
        except Killed:
            world.new_process()
        world.clock.advance(rng.choice((0.5, 5, 60)))
    world.kill_at = None
    world.new_process()
    await world.run_for(8 * 3600, every=60)
    deliveries = await world.deliveries()
    assert {delivery.state for delivery in deliveries} == {"delivered"}
    for url in ("https://shop.example.com/hooks", "https://other.example.com/hooks"):
        heard = [post.event for post in world.merchant.posts if post.url == url]
        for ids in expected.values():
            assert list(dict.fromkeys(event for event in heard if event in ids)) == ids
    assert await world.messages_left() == 0


@pytest.mark.parametrize("seed", range(3))
async def test_on_the_embedded_store_deliveries_arrive_and_are_found_all_the_same(tmp_path, seed):
    clock = ManualClock()
    database = Database.open(tmp_path / "interlock.db", schemas=[SCHEMA], clock=clock)
    world = World(seed=seed, clock=clock, store=SqliteStore(database))
    await world.endpoint()
    world.merchant.script = [OK, REFUSED, OK, REFUSED, REFUSED]
    events = [event for n in range(4) for event in await world.happen(aggregate=f"pay_{n}", count=2)]
    await world.drain()
    every = await world.deliveries()
    assert len(every) == 8
    pending = [delivery for delivery in every if delivery.is_open]
    assert pending and await world.deliveries(status="pending") == pending
    assert await world.deliveries(event=events[3].id) == [one for one in every if one.event == events[3].id]
    newer = await find_deliveries(world.w, TENANT, Wanted(), limit=2, before=every[3].id)
    assert newer.deliveries == every[4:6][::-1]
    older = await find_deliveries(world.w, TENANT, Wanted(), limit=2, after=every[3].id)
    assert older.deliveries == every[1:3][::-1]
    assert await find_delivery(world.w, TENANT, every[5].id) == every[5]
    await world.run_for(300)
    assert [delivery.state for delivery in await world.deliveries()] == ["delivered"] * 8
    await database.close()


async def test_worker_that_fails_in_a_later_delivery_than_its_message_names_does_not_lose_the_lane():
    world = World()
    await world.endpoint()
    events = await world.happen(count=2)
    first, second = await world.queue.receive(QUEUE, limit=2)
    assert await world.handle(second), "the first delivery is due before its own"

    async def broken():
        world.merchant.script.append(fails)
        return OK

    async def fails():
        raise OutcomeUnknown("the process is about to end")

    world.merchant.script.append(broken)
    with pytest.raises(OutcomeUnknown):
        await world.handle(first)
    assert world.merchant.heard == [events[0].id, events[1].id]
    await world.run_for(300)
    assert [delivery.state for delivery in await world.deliveries()] == ["delivered"] * 2
    assert await world.messages_left() == 0
