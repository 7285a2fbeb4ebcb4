"""From an event to the merchant: in order, at least once, on schedule."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import msgspec
import pytest

from interlock.core.kernel.bus import BusMessage, BusRecord
from interlock.core.kernel.clock import DAY, rfc3339
from interlock.core.kernel.errors import StoreUnavailable
from interlock.core.webhooks.commands import UpdateEndpoint
from interlock.core.webhooks.delivering import consume, deliver, fan_out
from interlock.core.webhooks.handlers import load_endpoint, update_endpoint
from interlock.core.webhooks.model import delivery_id
from interlock.core.webhooks.ports import QUEUE, SendResult
from tests.core.webhooks.world import OK, REFUSED, TENANT, URL, World, records, request

DOWN = SendResult(503, None, 5, b"down")


@pytest.fixture
def world() -> World:
    return World()


async def test_event_reaches_the_endpoint_once_signed_with_the_exact_body(world):
    endpoint = await world.endpoint()
    [event] = await world.happen()
    await world.drain()
    [post] = world.merchant.posts
    assert post.url == URL
    expected = (
        f'{{"id":"{event.id}","type":"payment.created","created_at":"{rfc3339(event.at)}",'
        '"data":{"payment":{"id":"pay_1","version":1}}}'
    )
    assert post.body == expected.encode()
    key = base64.b64decode(endpoint.secrets[0].value.reveal().removeprefix("whsec_"))
    signed = f"{event.id}.{post.at // 1000}.".encode() + post.body
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert post.headers == {
        "content-type": "application/json",
        "user-agent": "Interlock-Webhooks/1",
        "webhook-id": event.id,
        "webhook-timestamp": str(post.at // 1000),
        "webhook-signature": f"v1,{signature}",
    }
    [delivery] = await world.deliveries()
    assert (delivery.state, delivery.delivered_at, delivery.attempts_total) == ("delivered", world.clock.now(), 1)
    assert (delivery.attempts[0].status, delivery.attempts[0].excerpt) == (200, "thanks")
    assert await world.messages_left() == 0


async def test_only_endpoints_that_want_the_type_get_it(world):
    wanting = await world.endpoint("payment.created", "payment.failed")
    await world.endpoint("refund.created")
    await world.endpoint(tenant="ten_2")
    await world.happen()
    [delivery] = await world.deliveries()
    assert delivery.endpoint == wanting.id
    assert await world.deliveries(tenant="ten_2") == []


async def test_news_of_endpoints_and_of_the_platform_is_never_delivered(world):
    await world.endpoint()
    for version, type in enumerate(("webhook_endpoint.created", "audit.recorded", "payment.invented"), 1):
        await fan_out(world.w, await world.commit("thing", version, type=type))
    assert await world.deliveries() == []


async def test_same_event_twice_makes_one_delivery(world):
    await world.endpoint()
    [event] = await world.happen()
    await consume(world.w, records([event, event]))
    await world.drain()
    await consume(world.w, records([event]))
    await world.drain()
    assert world.merchant.heard == [event.id]
    assert len(await world.deliveries()) == 1


async def test_repeated_event_in_a_batch_with_new_ones_does_not_hold_those_up(world):
    await world.endpoint()
    [first] = await world.happen()
    second, third = await world.commit(version=2), await world.commit(version=3)
    await consume(world.w, records([second, first, third]))
    await world.drain()
    assert world.merchant.heard == [first.id, second.id, third.id]


async def test_batch_larger_than_one_commit_is_fanned_out_whole(world):
    await world.endpoint()
    await world.endpoint()
    events = [await world.commit(f"pay_{n}") for n in range(40)]
    await consume(world.w, records(events))
    await world.drain()
    assert sorted(world.merchant.heard) == sorted(2 * [event.id for event in events])


async def test_unreadable_event_is_reported_and_passed_over(world):
    await world.endpoint()
    event = await world.commit()
    broken = BusRecord(0, 0, BusMessage("evt_broken", "pay_0", b"{"))
    await consume(world.w, [broken, *records([event])])
    await world.drain()
    assert world.merchant.heard == [event.id]
    assert "webhook.event_unreadable" in world.telemetry.lines


async def test_unreadable_queue_message_is_reported_and_done(world):
    await world.queue.send(QUEUE, b"\xff")
    assert await world.drain() == 1
    assert "webhook.turn_unreadable" in world.telemetry.lines
    assert await world.messages_left() == 0


async def test_event_older_than_the_endpoint_is_not_delivered_but_clocks_may_differ_by_a_minute(world):
    old = await world.commit(version=1)
    world.clock.advance(61)
    recent = await world.commit(version=2)
    world.clock.advance(30)
    await world.endpoint()
    await consume(world.w, records([old, recent]))
    await world.drain()
    assert world.merchant.heard == [recent.id]


async def test_endpoint_created_by_another_process_gets_the_next_event(world):
    await world.happen(aggregate="pay_0")
    here = world.w
    world.new_process()
    await world.endpoint()
    event = await world.commit()
    await fan_out(here, event)
    await world.drain()
    assert world.merchant.heard == [event.id]


async def test_endpoint_disabled_by_another_process_gets_no_further_event(world):
    endpoint = await world.endpoint()
    await world.happen(aggregate="pay_0")
    await world.drain()
    here = world.w
    world.new_process()
    await update_endpoint(world.w, endpoint.id, UpdateEndpoint(enabled=False), request())
    await fan_out(here, await world.commit())
    assert len(await world.deliveries()) == 1


async def test_tenant_without_endpoints_costs_one_read_for_a_whole_batch(world):
    events = [await world.commit(f"pay_{n}") for n in range(50)]
    await consume(world.w, records(events[:1]))
    before = world.steps
    await consume(world.w, records(events))
    assert world.steps - before == 2  # one call: before and after it


# -- order within a lane ------------------------------------------------------------------------------------------------


async def test_events_of_one_payment_arrive_in_order_and_wait_for_one_that_fails(world):
    await world.endpoint()
    world.merchant.script = [OK, REFUSED, REFUSED]
    events = await world.happen(count=4)
    await world.drain()
    assert world.merchant.heard == [events[0].id, events[1].id]
    await world.run_for(60)
    ids = [event.id for event in events]
    assert world.merchant.heard == [ids[0], ids[1], ids[1], ids[1], ids[2], ids[3]]
    assert await world.messages_left() == 0


async def test_other_payments_do_not_wait(world):
    await world.endpoint()
    world.merchant.script = [REFUSED]
    [first] = await world.happen(aggregate="pay_1")
    await world.drain()
    [other] = await world.happen(aggregate="pay_2")
    await world.drain()
    assert world.merchant.heard == [first.id, other.id]


async def test_event_while_an_earlier_one_waits_follows_it(world):
    await world.endpoint()
    world.merchant.script = [REFUSED]
    [first] = await world.happen()
    await world.drain()
    [second] = await world.happen(first=2)
    await world.drain()
    assert world.merchant.heard == [first.id]
    await world.run_for(10)
    assert world.merchant.heard == [first.id, first.id, second.id]


async def test_lower_version_that_comes_late_is_delivered_late_and_not_lost(world):
    await world.endpoint()
    first, second = await world.commit(version=1), await world.commit(version=2)
    await fan_out(world.w, second)
    await world.drain()
    await fan_out(world.w, first)
    await world.drain()
    assert world.merchant.heard == [second.id, first.id]


async def test_lower_version_that_comes_while_a_higher_one_waits_goes_first(world):
    await world.endpoint()
    world.merchant.script = [REFUSED]
    first, second = await world.commit(version=1), await world.commit(version=2)
    await fan_out(world.w, second)
    await world.drain()
    await fan_out(world.w, first)
    await world.run_for(10)
    assert world.merchant.heard == [second.id, first.id, second.id]
    assert await world.messages_left() == 0


async def test_long_lane_is_handed_on_before_the_messages_lease_ends(world):
    await world.endpoint()

    async def slow():
        world.clock.advance(14)
        return OK

    world.merchant.script = [slow] * 9
    events = await world.happen(count=9)
    [message, *_] = await world.queue.receive(QUEUE, limit=1)
    began = world.clock.now()
    assert await deliver(world.w, message)
    assert world.clock.now() - began < 60_000
    await world.drain()
    assert world.merchant.heard == [event.id for event in events]


# -- health and fairness ------------------------------------------------------------------------------------------------


async def test_endpoint_that_keeps_failing_is_marked_until_it_is_well(world):
    endpoint = await world.endpoint()
    world.merchant.otherwise = DOWN
    for n in range(5):
        await world.happen(aggregate=f"pay_{n}")
    await world.drain()
    held = await load_endpoint(world.w, TENANT, endpoint.id)
    assert held.endpoint.failing_since == world.clock.now()
    assert held.endpoint.enabled
    world.merchant.otherwise = OK
    await world.run_for(300)
    held = await load_endpoint(world.w, TENANT, endpoint.id)
    assert held.endpoint.failing_since is None
    assert {delivery.state for delivery in await world.deliveries()} == {"delivered"}


async def test_busy_endpoint_is_stood_back_from_and_nothing_is_lost(world):
    endpoint = await world.endpoint()
    events = [(await world.happen(aggregate=f"pay_{n}"))[0] for n in range(3)]
    for _ in range(8):
        assert world.w.traffic.enter(endpoint.id)
    await world.drain()
    assert world.merchant.posts == []
    assert [delivery.attempts_total for delivery in await world.deliveries()] == [0, 0, 0]
    for _ in range(8):
        world.w.traffic.leave(endpoint.id, succeeded=None)
    await world.run_for(5, every=1)
    assert sorted(world.merchant.heard) == sorted(event.id for event in events)
    assert await world.messages_left() == 0


async def test_excerpt_is_bounded_and_masked(world):
    await world.endpoint()
    leak = b"card 4242 4242 4242 4242 key whsec_abcdefgh Bearer abc.def-ghi \x00\xff " + b"x" * 5000
    world.merchant.script = [SendResult(200, None, 1, leak)]
    await world.happen()
    await world.drain()
    [delivery] = await world.deliveries()
    excerpt = delivery.attempts[0].excerpt
    assert excerpt.startswith("card [hidden] key [hidden] Bearer [hidden] ")
    assert len(excerpt.encode()) <= 1024
    assert "4242" not in excerpt and "abcdefgh" not in excerpt and "\x00" not in excerpt


async def test_finished_delivery_may_be_dropped_after_thirty_days_and_an_open_one_never(world):
    await world.endpoint()
    world.merchant.script = [OK, DOWN]
    await world.happen(aggregate="pay_1")
    await world.happen(aggregate="pay_2")
    await world.drain()
    [delivered, waiting] = [
        (await world.store.query(f"{TENANT}/dlv/{aggregate}")).items[0] for aggregate in ("pay_1", "pay_2")
    ]
    assert [delivered.expires_at, waiting.expires_at] == [world.clock.now() + 30 * DAY, None]
    assert sorted(delivered.indexes) == ["webhook_deliveries"]
    assert sorted(waiting.indexes) == ["webhook_deliveries", "webhook_deliveries_by_status"]


async def test_secret_is_in_no_log_repr_event_or_audit_record(world):
    endpoint = await world.endpoint()
    secret = endpoint.secrets[0].value.reveal()
    world.merchant.script = [DOWN, SendResult(410, None, 1)]
    await world.happen()
    await world.run_for(10)
    shown = "".join([*world.telemetry.lines, *world.telemetry.shown, repr(endpoint), str(endpoint)])
    for record in await world.store.read(after=""):
        shown += repr(record.event)
    assert secret not in shown
    assert secret.removeprefix("whsec_") not in shown
    with pytest.raises(TypeError):
        json.dumps(endpoint.secrets[0].value)


async def test_delivery_ids_are_the_same_every_time_and_sort_by_the_events_time(world):
    early = await world.commit(version=1)
    world.clock.advance(0.001)
    late = await world.commit(version=2)
    assert delivery_id("whe_a", early.id) == delivery_id("whe_a", early.id)
    assert delivery_id("whe_a", early.id) != delivery_id("whe_b", early.id)
    assert max(delivery_id(f"whe_{n}", early.id) for n in range(50)) < min(
        delivery_id(f"whe_{n}", late.id) for n in range(50)
    )


async def test_store_that_fails_when_recording_leaves_the_delivery_to_be_sent_again(world, monkeypatch):
    await world.endpoint()
    [event] = await world.happen()
    commit = world.store.commit
    calls = 0

    async def failing(writes, events=()):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise StoreUnavailable
        await commit(writes, events)

    monkeypatch.setattr(world.store, "commit", failing)
    with pytest.raises(StoreUnavailable):
        await world.drain()
    await world.run_for(120)
    assert world.merchant.heard == [event.id, event.id]
    [delivery] = await world.deliveries()
    assert delivery.state == "delivered"
    assert await world.messages_left() == 0


@pytest.mark.parametrize("damage", ["missing", "another event", "another tenant's"])
async def test_event_that_is_not_where_it_should_be_is_reported_and_does_not_block_the_lane(world, damage):
    await world.endpoint()
    first, second = await world.happen(count=2)
    history = world.store._histories["pay_1"]
    if damage == "missing":
        del history[1]
    elif damage == "another event":
        history[1] = msgspec.structs.replace(first, id=second.id)
    else:
        history[1] = msgspec.structs.replace(first, tenant="ten_2")
    await world.drain()
    assert world.merchant.heard == [second.id]
    assert "webhook.event_missing" in world.telemetry.lines
    assert [delivery.state for delivery in await world.deliveries()] == ["dead", "delivered"]
