"""Finding deliveries and events."""

from __future__ import annotations

import msgspec
import pytest

from interlock.core.kernel.errors import NotFound
from interlock.core.webhooks.events import project_events
from interlock.core.webhooks.listing import (
    Wanted,
    deliveries_of,
    find_deliveries,
    find_event,
    find_events,
)
from interlock.core.webhooks.model import Turn
from interlock.core.webhooks.ports import QUEUE, SendResult
from interlock.core.webhooks.records import encode_turn
from interlock.core.webhooks.views import delivery_view, event_body, event_view
from tests.core.webhooks.world import OK, REFUSED, TENANT, World

DOWN = SendResult(503, None, 5)


@pytest.fixture
def world() -> World:
    return World()


async def some_deliveries(world: World) -> list[str]:
    """Ten payments at two endpoints; those of every third payment fail and wait. Ids newest first."""
    await world.endpoint()
    await world.endpoint("payment.created", url="https://other.example.com/")
    for n in range(10):
        world.clock.advance(0.002)
        await world.happen(aggregate=f"pay_{n}")
        world.merchant.otherwise = DOWN if n % 3 == 0 else OK
        await world.drain()
    world.merchant.otherwise = OK
    return [delivery.id for delivery in (await find_deliveries(world.w, TENANT, Wanted(), limit=100)).deliveries]


async def test_deliveries_are_listed_newest_first_page_by_page_without_gap_or_repeat(world):
    ids = await some_deliveries(world)
    assert len(ids) == 20 and ids == sorted(ids, reverse=True)
    seen, cursor = [], None
    while True:
        page = await find_deliveries(world.w, TENANT, Wanted(), limit=3, after=cursor)
        seen += [delivery.id for delivery in page.deliveries]
        cursor = page.next
        if cursor is None:
            break
    assert seen == ids


async def test_deliveries_before_a_cursor_are_the_ones_just_newer_still_newest_first(world):
    ids = await some_deliveries(world)
    page = await find_deliveries(world.w, TENANT, Wanted(), limit=4, before=ids[10])
    assert [delivery.id for delivery in page.deliveries] == ids[6:10]
    page = await find_deliveries(world.w, TENANT, Wanted(), limit=10, before=page.next)
    assert [delivery.id for delivery in page.deliveries] == ids[:6]
    assert page.next is None


async def test_deliveries_are_filtered_by_endpoint_status_and_event(world):
    await some_deliveries(world)
    every = await world.deliveries()
    endpoint = every[0].endpoint
    assert await world.deliveries(endpoint=endpoint) == [one for one in every if one.endpoint == endpoint]
    pending = [one for one in every if one.state == "pending"]
    assert len(pending) == 8
    assert await world.deliveries(status="pending") == pending
    assert await world.deliveries(status="delivered") == [one for one in every if one.state == "delivered"]
    assert await world.deliveries(status="dead") == []
    event = every[7].event
    of_event = [one for one in every if one.event == event]
    assert len(of_event) == 2
    assert await world.deliveries(event=event) == of_event
    assert await world.deliveries(event=event, endpoint=endpoint) == [
        one for one in of_event if one.endpoint == endpoint
    ]
    assert await world.deliveries(event="evt_none") == []


async def test_filter_that_few_pass_gives_a_short_page_and_the_means_to_go_on(world, monkeypatch):
    ids = await some_deliveries(world)
    monkeypatch.setattr("interlock.core.webhooks.listing.EXAMINED_MAX", 4)
    monkeypatch.setattr("interlock.core.webhooks.listing._STEP", 2)
    oldest = (await world.store.query(f"{TENANT}/dlv/pay_0")).items[0]
    endpoint = oldest.key.sort.partition("/")[0]
    seen, cursor, pages = [], None, 0
    while True:
        page = await find_deliveries(world.w, TENANT, Wanted(endpoint=endpoint), limit=3, after=cursor)
        seen += [delivery.id for delivery in page.deliveries]
        cursor, pages = page.next, pages + 1
        if cursor is None:
            break
    assert pages >= 4
    assert len(seen) == 10 and set(seen) < set(ids)


async def test_deliveries_of_an_event_are_found_without_looking_at_others(world, monkeypatch):
    await some_deliveries(world)
    every = await world.deliveries()
    monkeypatch.setattr("interlock.core.webhooks.listing.EXAMINED_MAX", 3)
    monkeypatch.setattr("interlock.core.webhooks.listing._STEP", 1)
    for place in (0, 9, 19):
        page = await find_deliveries(world.w, TENANT, Wanted(event=every[place].event), limit=5)
        assert len(page.deliveries) == 2
        assert page.next is None


async def test_delivery_view_says_when_the_next_attempt_is_and_what_became_of_each(world):
    await world.endpoint()
    world.merchant.script = [REFUSED]
    await world.happen()
    await world.drain()
    [delivery] = await world.deliveries()
    view = msgspec.json.decode(msgspec.json.encode(delivery_view(delivery)))
    assert view["status"] == "pending"
    assert view["attempts"] == [
        {"at": "2027-01-15T08:00:00.000Z", "duration_ms": 3, "status": None, "failure": "connect", "excerpt": ""}
    ]
    assert view["next_attempt_at"] == "2027-01-15T08:00:05.300Z"
    await world.run_for(10)
    [delivery] = await world.deliveries()
    view = delivery_view(delivery)
    assert (view.status, view.next_attempt_at, view.delivered_at) == (
        "delivered",
        None,
        "2027-01-15T08:00:10.000Z",
    )


async def test_deliveries_of_a_payment_are_those_of_all_endpoints_in_order_of_its_events(world):
    await world.endpoint()
    await world.endpoint()
    await world.happen(count=3)
    await world.happen(aggregate="pay_2")
    found = await deliveries_of(world.w, TENANT, "pay_1")
    assert [delivery.version for delivery in found] == [1, 1, 2, 2, 3, 3]
    assert await deliveries_of(world.w, "ten_2", "pay_1") == []


async def test_events_are_listed_as_their_webhooks_carry_them_and_only_to_their_tenant(world):
    events = []
    for n in range(5):
        world.clock.advance(0.002)
        events.append(await world.commit(f"pay_{n % 2}", n // 2 + 1))
    endpoint = await world.endpoint()
    everything = [record.event for record in await world.store.read(after="")]
    await project_events(world.documents, everything)
    await project_events(world.documents, everything)
    found = await find_events(world.w, TENANT, type=None, aggregate=None, limit=100)
    assert [event.id for event in found[1:]] == [event.id for event in reversed(events)]
    assert (found[0].type, found[0].aggregate) == ("webhook_endpoint.created", endpoint.id)
    assert [e.id for e in await find_events(world.w, TENANT, type=None, aggregate="pay_1", limit=9)] == [
        events[3].id,
        events[1].id,
    ]
    assert await find_events(world.w, TENANT, type="payment.failed", aggregate=None, limit=9) == []
    event = await find_event(world.w, TENANT, events[2].id)
    assert msgspec.json.encode(event_view(event)) == event_body(events[2])
    with pytest.raises(NotFound):
        await find_event(world.w, "ten_2", events[2].id)
    assert await find_events(world.w, "ten_2", type=None, aggregate=None, limit=9) == []


async def test_message_for_a_lane_that_never_was_is_done(world):
    await world.queue.send(QUEUE, encode_turn(Turn(TENANT, "whe_x", "pay_x", 1)))
    assert await world.drain() == 1
    assert await world.messages_left() == 0
