"""H. What is carried from one part to the next: leases, order, duplicates, dead letters, and merchants who do not listen."""

import msgspec
import pytest

from interlock.core.kernel.bus import BusMessage
from interlock.core.notifications.handlers import handle
from interlock.core.notifications.model import QUEUE
from interlock.core.payments.states import State
from interlock.core.webhooks.ports import QUEUE as WEBHOOKS
from interlock.core.webhooks.ports import Failure, SendResult
from tests.scenarios.node import Node
from tests.scenarios.world import HOUR, MINUTE, World

REFUSED = SendResult(None, Failure.CONNECT, 3)


async def test_notification_whose_worker_vanished_is_applied_when_its_lease_ends():
    """54."""
    world = World(operations={"lookup": {"unavailable": 1}})
    answer = await world.pay(token="tok_timeout_after_accept")
    await world.post()
    (message,) = await world.queue.receive(QUEUE)
    await world.run(50)
    assert world.payment(answer.json["id"]).state is State.UNCERTAIN, "leased, and nobody else may have it"
    await world.run(20)
    assert world.payment(answer.json["id"]).state is State.SUCCEEDED
    assert not await world.queue.ack(QUEUE, message.receipt), "its receipt is worth nothing any more"
    await world.assert_invariants()


async def test_notification_handled_by_two_workers_after_a_lost_lease_is_applied_once():
    """54."""
    world = World(operations={"lookup": {"unavailable": 1}})
    answer = await world.pay(token="tok_timeout_after_accept")
    await world.post()
    (slow,) = await world.queue.receive(QUEUE)
    world.clock.advance(61)
    (quick,) = await world.queue.receive(QUEUE)
    assert quick.attempts == 2
    assert await handle(world.node.notifications, quick)
    assert await handle(world.node.notifications, slow)
    events = await world.events(answer.json["id"])
    assert events == ["payment.created", "payment.processing", "payment.succeeded"]
    await world.queue.ack(QUEUE, quick.receipt)
    world.faults()
    await world.assert_invariants()


async def test_endpoint_that_refuses_one_payments_webhook_holds_up_that_payment_only():
    """55."""
    world = World()
    await world.hook()
    first = await world.sale(key="k1")
    poison = (await world.store.history(first))[0].id

    async def send(url, headers, body, *, timeout_s):
        world.merchant.posts.append((headers["webhook-id"], body))
        return REFUSED if headers["webhook-id"] == poison and world.clock.now() < until else SendResult(200, None, 1)

    world.merchant.send = send
    until = world.clock.now() + 60_000
    await world.run(1)
    second = await world.sale(key="k2")
    await world.run(1)

    def heard(payment_id):
        bodies = [msgspec.json.decode(body) for event, body in world.merchant.posts if event != poison]
        return [body["type"] for body in bodies if body["data"]["payment"]["id"] == payment_id]

    assert heard(second) == ["payment.created", "payment.succeeded"]
    assert heard(first) == [], "in order: the later event waits"
    await world.run(10 * MINUTE)
    assert heard(first) == ["payment.succeeded"]


async def test_message_no_consumer_can_read_stops_neither_webhooks_nor_balances():
    """55."""
    world = World()
    await world.hook()
    await world.bus.publish("events", [BusMessage("evt_bad", "pay_x", b"\xff not an event")])
    world.node._loops.pop("consumer.read_models")
    world.node._loops.pop("consumer.ledger_balances")
    await world.sale()
    await world.run(5)
    assert len(world.merchant.heard) == 2


async def test_member_that_joins_in_the_middle_of_a_batch_makes_nothing_count_twice():
    """56."""
    world = World(seed=9)
    await world.hook()
    joining = None
    for i in range(40):
        await world.pay(1000, key=f"k{i}")
        if i == 10:
            joining = Node(world, "joining")
        world.node.turn()
        if joining is not None:
            joining.turn()
        await world.clock.settle()
        if i == 25:
            joining.die()
            joining = None
    await world.run(2 * MINUTE)
    world.answered.clear()
    await world.assert_invariants()


async def test_event_published_twice_is_told_once_and_counted_once():
    """57."""
    world = World()
    await world.hook()
    await world.sale()
    await world.run(5)
    heard = list(world.merchant.heard)
    await world.bus.publish("events", list(reversed(world.bus.published)))
    await world.run(5)
    assert world.merchant.heard == heard
    await world.assert_invariants()


async def test_dead_letters_brought_back_in_any_order_come_to_the_same_end():
    """58: everything about one payment died while its store was unreachable, and is redriven backwards."""
    world = World()
    payment_id = await world.sale()
    await world.run(1)
    world.mail_held = True
    world.faults(operations={"refund": {"timeout_after_accept": 1}, "lookup": {"unavailable": 1}})
    assert (await world.act(payment_id, "refunds", {"amount": 400})).status == 202
    for status in ("opened", "won"):
        world.control("POST", "/disputes", {"payment_id": payment_id, "amount": 300, "status": status})
    world.mail_held = False
    await world.post()
    for _ in range(25):
        for message in await world.queue.receive(QUEUE, limit=10):
            await world.queue.release(QUEUE, message.receipt)
    dead = [letter.id for letter in await world.queue.dead_letters(QUEUE)]
    assert len(dead) == 3
    for letter in reversed(dead):
        assert await world.queue.redrive(QUEUE, [letter]) == 1
        await world.work()
    payment = world.payment(payment_id)
    assert (payment.amount_refunded, [dispute.state for dispute in payment.disputes]) == (400, ["won"])
    world.faults()
    await world.assert_invariants()


async def test_slow_endpoint_is_tried_again_and_nobody_else_waits_for_it():
    """59."""
    world = World()
    await world.hook()

    async def times_out():
        await world.clock.sleep(15)
        return SendResult(None, Failure.TIMEOUT, 15_000)

    world.merchant.script = [times_out] * 2
    payment_id = await world.sale()
    await world.run(2)
    assert world.payment(payment_id).state is State.SUCCEEDED
    assert (await world.sale(key="k2")) is not None
    await world.run(5 * MINUTE)
    await world.assert_invariants()


@pytest.mark.parametrize("status", [301, 302, 307, 400, 500, 503])
async def test_redirect_and_error_are_failures_and_come_again_to_the_same_address(status):
    """59: a redirect is never followed."""
    world = World()
    await world.hook()
    world.merchant.script = [SendResult(status, None, 3)]
    await world.sale()
    await world.run(2 * MINUTE)
    assert {post.url for post in world.merchant.posts} == {"https://shop.example.com/hooks"}
    assert len(world.merchant.posts) == 3
    await world.assert_invariants()


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example.com/hooks",
        "https://127.0.0.1/hooks",
        "https://10.1.2.3/hooks",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/hooks",
        "https://[fd00::1]/hooks",
        "https://localhost/hooks",
        "https://user:pass@shop.example.com/hooks",
    ],
)
async def test_endpoint_on_a_private_address_is_refused_and_nothing_is_written(url):
    """59."""
    world = World()
    refused = await world.ask("POST", "/v1/webhook_endpoints", {"url": url, "events": ["*"]})
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (400, "/url")
    assert not world.items


async def test_name_that_turns_private_later_is_retried_as_a_failure_and_dies_in_the_end():
    """59: the sender refuses the address; the delivery says so."""
    world = World()
    await world.hook()
    world.merchant.otherwise = SendResult(None, Failure.FORBIDDEN_ADDRESS, 1)
    await world.sale()
    await world.run(150 * HOUR)
    deliveries = (await world.ask("GET", "/v1/webhook_deliveries?status=dead")).json["data"]
    assert len(deliveries) == 2
    assert (await world.queue.depth(WEBHOOKS)).ready == 0


@pytest.mark.parametrize("nth", range(4))
async def test_conflict_in_passing_loses_no_webhook(nth):
    """A transaction that met another one, though no condition failed, says nothing of what is there."""
    world = World()
    await world.hook()
    world.fail(*[None] * nth, "conflict", holds=lambda args: any("/dlv/" in write.key.partition for write in args[0]))
    await world.sale()
    await world.run(200)
    await world.assert_invariants()
    assert len(set(world.merchant.heard)) == 2


async def test_conflict_in_passing_loses_no_notification():
    world = World()
    payment_id = (await world.pay(token="tok_pending")).json["id"]
    world.fail("conflict", holds=lambda args: "notification" in args[0][0].key.sort)
    await world.run(10)
    assert not world.instances["simulator_a"].books.untold
    assert world.payment(payment_id).state == "succeeded"
    await world.assert_invariants()
