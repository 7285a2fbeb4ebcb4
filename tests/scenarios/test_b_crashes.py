"""B. A process that ends, or stands still, at any point: nothing is lost, nothing happens twice."""

import asyncio

import pytest

from interlock.core.notifications.handlers import handle
from interlock.core.notifications.model import QUEUE as NOTIFICATIONS
from interlock.core.payments.states import State
from interlock.core.payments.sweeping import due_payments, sweep_payment
from tests.scenarios.node import Died, Node
from tests.scenarios.world import HOUR, MINUTE, World

CARD = {"type": "card", "token": "tok_approve"}
SALE = {"amount": 1000, "currency": "EUR", "payment_method": CARD}
HELD = SALE | {"capture_method": "manual"}


def with_token(token, **fields):
    return SALE | {"payment_method": {"type": "card", "token": token}} | fields


async def die_when(world, called, times=1):
    """Arm the node to end right before (or, with an even count, right after) the n-th such call."""
    seen = 0
    step = world.node.step

    async def counted(name):
        nonlocal seen
        if name == called:
            seen += 1
            if seen == times:
                world.node.kill_at = world.node.steps + 1
        await step(name)

    world.node.step = counted


async def test_death_before_the_call_ends_in_failed_with_nothing_charged():
    """11."""
    world = World()
    await die_when(world, "provider.send")
    with pytest.raises(Died):
        await world.pay()
    (payment,) = world.payments()
    assert payment.state is State.AUTHORIZING, "the attempt was on record before"
    answer = await world.insist("POST", "/v1/payments", SALE, key="k1")
    assert (answer.status, answer.json["status"], answer.json["decline"]["code"]) == (
        201,
        "failed",
        "provider_unavailable",
    )
    assert not world.instances["simulator_a"].books.requested
    await world.assert_invariants()


async def test_death_after_the_call_and_before_its_commit_is_finished_by_lookup_and_the_retry_gets_the_answer():
    """12."""
    world = World(notifications={"drop_rate": 1})
    await world.hook()
    await die_when(world, "provider.send", times=2)
    with pytest.raises(Died):
        await world.pay()
    assert world.instances["simulator_a"].books.requested, "the provider has charged"
    answer = await world.insist("POST", "/v1/payments", SALE, key="k1")
    assert (answer.status, answer.json["status"], answer.replayed) == (201, "succeeded", True)
    await world.assert_invariants()
    assert [row["times_requested"] for row in world.rows(answer.json["id"])] == [1]


async def test_death_after_the_commit_and_before_the_publication_still_tells_the_merchant():
    """13."""
    world = World()
    await world.hook()
    await die_when(world, "bus.publish")
    await world.sale()
    await world.work()
    assert world.node.dead and not world.merchant.posts
    await world.restart()
    await world.run(5)
    assert len(set(world.merchant.heard)) == 2
    await world.assert_invariants()


async def test_death_between_publication_and_position_publishes_twice_and_is_applied_once():
    """13, 57."""
    world = World()
    await world.hook()
    await die_when(world, "bus.publish", times=2)
    await world.sale()
    await world.work()
    assert world.node.dead
    await world.restart()
    await world.run(5)
    assert world.merchant.heard == list(dict.fromkeys(world.merchant.heard)), "a repeated event is no second delivery"
    await world.assert_invariants()


async def sale_and_refund(world):
    paid = await world.insist("POST", "/v1/payments", SALE, key="k1")
    if paid.json["status"] == "succeeded":
        await world.insist("POST", f"/v1/payments/{paid.json['id']}/refunds", {"amount": 300}, key="k2")


async def part_captured_and_released(world):
    held = await world.insist("POST", "/v1/payments", HELD, key="k1")
    if held.json["status"] == "requires_capture":
        path = f"/v1/payments/{held.json['id']}"
        await world.insist("POST", f"{path}/capture", {"amount": 400}, key="k2")
        await world.run(MINUTE)
        await world.insist("POST", f"{path}/cancel", None, key="k3")


async def timed_out_though_charged(world):
    await world.insist("POST", "/v1/payments", with_token("tok_timeout_after_accept"), key="k1")


async def failed_over(world):
    await world.insist("POST", "/v1/payments", with_token("tok_connect_refused-at-simulator_a"), key="k1")


async def declined_and_approved_late(world):
    await world.insist("POST", "/v1/payments", with_token("tok_late_approval"), key="k1")


async def told_before_the_answer(world):
    world.mail_at_once = True
    await world.insist("POST", "/v1/payments", with_token("tok_notification_before_answer"), key="k1")


async def disputed(world):
    await world.insist("POST", "/v1/payments", with_token("tok_dispute"), key="k1")


async def payer_acts(world):
    created = await world.insist("POST", "/v1/payments", with_token("tok_3ds"), key="k1")
    if created.json["status"] == "requires_action":
        world.complete_challenge(created.json["id"])


STORIES = [
    sale_and_refund,
    part_captured_and_released,
    timed_out_though_charged,
    failed_over,
    declined_and_approved_late,
    told_before_the_answer,
    disputed,
    payer_acts,
]


async def run_story(story, kill_at=None):
    world = World()
    await world.hook()
    world.node.steps, world.node.kill_at = 0, kill_at
    await story(world)
    for _ in range(20):
        await world.run(5)
        if world.node.dead:
            await world.restart()
    return world


@pytest.mark.parametrize("story", STORIES)
async def test_death_between_any_two_awaits_loses_and_doubles_nothing(story):
    """14."""
    world = await run_story(story)
    steps = world.node.steps
    await world.assert_invariants()
    busy = min(steps, 150)
    assert busy >= 60
    for kill_at in [*range(1, 40), *range(40, busy, 5)]:
        world = await run_story(story, kill_at)
        assert world.deaths == 1, kill_at
        try:
            await world.assert_invariants()
        except AssertionError as error:
            raise AssertionError(f"killed at step {kill_at}: {error}") from error


async def test_time_limit_hit_in_the_middle_of_a_call_is_finished_by_lookup():
    """15: the call is cancelled with its task; the process lives on."""
    world = World(notifications={"drop_rate": 1})
    task = world.begin("POST", "/v1/payments", with_token("tok_timeout_after_accept"), key="k1")
    await world.clock.run_for(3)
    task.cancel()
    stopped = await world.finish(task)
    assert (stopped.status, stopped.json["code"]) == (503, "stopped")
    again = await world.ask("POST", "/v1/payments", with_token("tok_timeout_after_accept"), key="k1")
    assert (again.status, again.json["code"]) == (409, "request_in_flight")
    await world.run(MINUTE)
    answer = await world.ask("POST", "/v1/payments", with_token("tok_timeout_after_accept"), key="k1")
    assert (answer.status, answer.json["status"]) == (201, "succeeded")
    await world.assert_invariants()


async def test_work_that_is_done_again_changes_nothing():
    """16: a sweep, a queue message and a batch of events, each a second time."""
    world = World(notifications={"drop_rate": 0})
    await world.hook()
    answer = await world.pay(token="tok_timeout_after_accept")
    world.mail_held = True
    world.clock.advance(3)
    (item,) = await due_payments(world.node.payments)
    await world.finish(asyncio.ensure_future(sweep_payment(world.node.payments, item)))
    events = await world.events(answer.json["id"])
    await world.finish(asyncio.ensure_future(sweep_payment(world.node.payments, item)))
    world.mail_held = False
    await world.post()
    for message in await world.queue.receive(NOTIFICATIONS):
        assert await handle(world.node.notifications, message)
        assert await handle(world.node.notifications, message)
    assert await world.events(answer.json["id"]) == events
    await world.run(2 * MINUTE)  # the messages received above come again when their lease ends
    await world.assert_invariants()


async def test_stale_worker_that_wakes_after_its_lease_changes_nothing():
    """17: its lookup hung; meanwhile another node has looked, and the merchant has refunded."""
    world = World(notifications={"drop_rate": 1})
    answer = await world.pay(token="tok_timeout_after_accept")
    payment_id = answer.json["id"]
    other = Node(world, "other")
    hangs = asyncio.get_running_loop().create_future()
    call = world.node.engine.call

    async def slow(*args, **kwargs):
        report = await call(*args, **kwargs)
        await hangs
        return report

    world.node.engine.call = slow
    world.clock.advance(3)
    (item,) = await due_payments(world.node.payments)
    stale = asyncio.ensure_future(sweep_payment(world.node.payments, item))
    await world.clock.settle()
    stalled, world.node = world.node, other
    await world.run(2 * MINUTE)
    assert world.payment(payment_id).state is State.SUCCEEDED
    assert (await world.act(payment_id, "refunds", {"amount": 400})).status == 201
    before = world.payment(payment_id)
    hangs.set_result(None)
    await world.finish(stale)
    assert world.payment(payment_id) == before
    stalled.die()
    await world.assert_invariants()


async def test_stale_request_that_wakes_after_it_was_given_up_has_its_approval_given_back():
    """17, 10: the caller slept between the provider's answer and its own commit."""
    world = World(notifications={"drop_rate": 1}, operations={"lookup": {"rate_limited": 0}})
    node = world.node
    hangs = asyncio.get_running_loop().create_future()
    call = node.engine.call

    async def slow(*args, **kwargs):
        await hangs
        return await call(*args, **kwargs)

    node.engine.call = slow
    task = world.begin("POST", "/v1/payments", SALE, key="k1")
    await world.clock.settle()
    world.node = Node(world, "other")
    await world.run(2 * MINUTE)
    (payment,) = world.payments()
    assert payment.state is State.FAILED
    hangs.set_result(None)
    answer = await world.finish(task)
    assert (answer.status, answer.json["status"]) == (201, "failed"), "as was answered meanwhile"
    await world.run(HOUR)
    assert [(a.late, a.reverses) for a in world.payment(payment.id).attempts] == [(True, False), (False, True)]
    await world.assert_invariants()


async def test_worker_that_sleeps_before_the_call_does_not_make_it():
    """17: by the time it wakes, the sweeper may have given the attempt up."""
    world = World()
    commit, world.store.commit = world.store.commit, None

    async def slow(writes, events=()):
        await commit(writes, events)
        if events and events[0].type == "payment.created":
            world.clock.advance(60)

    world.store.commit = slow
    answer = await world.ask("POST", "/v1/payments", SALE, key="k1")
    assert (answer.status, answer.json["code"]) == (409, "request_in_flight")
    await world.run(MINUTE)
    assert not world.instances["simulator_a"].books.requested
    assert world.payments()[0].state is State.FAILED
    await world.assert_invariants()
