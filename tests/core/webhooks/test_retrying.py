"""When an endpoint fails: the schedule, and endpoints that go away."""

from __future__ import annotations

import itertools

import pytest

from interlock.core.kernel.clock import HOUR
from interlock.core.webhooks.commands import UpdateEndpoint
from interlock.core.webhooks.handlers import delete_endpoint, load_endpoint, update_endpoint
from interlock.core.webhooks.ports import Failure, SendResult
from interlock.core.webhooks.schedule import PAUSES_S
from tests.core.webhooks.world import OK, TENANT, World, request

DOWN = SendResult(503, None, 5, b"down")


@pytest.fixture
def world() -> World:
    return World()


async def test_failing_delivery_is_tried_on_schedule_with_fresh_timestamps_and_then_dies(world):
    await world.endpoint()
    world.merchant.otherwise = DOWN
    [event] = await world.happen()
    began = world.clock.now()
    await world.drain()
    while await world.messages_left():
        world.clock.advance(1 if world.clock.now() - began < 10 * 60_000 else 60)
        await world.drain()
    times = [(post.at - began) / 1000 for post in world.merchant.posts]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(pauses) == len(PAUSES_S)
    for pause, planned in zip(pauses, PAUSES_S, strict=True):
        assert planned * 1.06 <= pause <= planned * 1.06 + 60
    assert 74 * 3600 < times[-1] < 76 * 3600
    stamps = [post.headers["webhook-timestamp"] for post in world.merchant.posts]
    assert stamps == [str(post.at // 1000) for post in world.merchant.posts]
    assert len({post.headers["webhook-signature"] for post in world.merchant.posts}) == 12
    assert {post.body for post in world.merchant.posts} == {world.merchant.posts[0].body}
    [delivery] = await world.deliveries(status="dead")
    assert (delivery.event, delivery.attempts_total, delivery.reason) == (event.id, 12, "attempts_exhausted")


async def test_lane_goes_on_after_a_dead_delivery(world):
    await world.endpoint()
    world.merchant.script = [DOWN] * 12
    first, second = await world.happen(count=2)
    await world.run_for(80 * 3600, every=600)
    assert world.merchant.heard == [first.id] * 12 + [second.id]
    assert [delivery.state for delivery in await world.deliveries()] == ["dead", "delivered"]


@pytest.mark.parametrize(
    ("asked_s", "next_at_s"),
    [(None, 5.3), (1, 5.3), (90, 90), (100 * 86_400, 86_400)],
    ids=["none", "shorter than planned", "honoured", "huge"],
)
async def test_retry_after_lengthens_the_pause_within_a_bound(world, asked_s, next_at_s):
    await world.endpoint()
    world.merchant.script = [SendResult(429, None, 1, b"", asked_s)]
    await world.happen()
    await world.drain()
    [delivery] = await world.deliveries()
    assert delivery.due_at == world.clock.now() + round(next_at_s * 1000)
    await world.run_for(next_at_s + 60, every=30)
    assert len(world.merchant.posts) == 2


async def test_endpoint_that_always_asks_for_the_longest_pause_is_given_up_at_the_horizon(world):
    await world.endpoint()
    world.merchant.otherwise = SendResult(503, None, 1, b"", 1e9)
    await world.happen()
    await world.run_for(8 * 86_400, every=3600)
    [delivery] = await world.deliveries()
    assert (delivery.state, delivery.reason) == ("dead", "expired")
    assert delivery.finished_at - delivery.created_at <= 145 * HOUR
    assert await world.messages_left() == 0


@pytest.mark.parametrize("status", [100, 199, 300, 301, 302, 304, 307, 308, 400, 401, 404, 409, 429, 500, 599])
async def test_every_status_but_2xx_and_410_is_tried_again(world, status):
    await world.endpoint()
    world.merchant.script = [SendResult(status, None, 1)]
    await world.happen()
    await world.run_for(10)
    assert len(world.merchant.posts) == 2


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_every_2xx_is_success(world, status):
    await world.endpoint()
    world.merchant.script = [SendResult(status, None, 1)]
    await world.happen()
    await world.run_for(10)
    assert len(world.merchant.posts) == 1


@pytest.mark.parametrize("failure", list(Failure))
async def test_every_failure_to_connect_or_read_is_tried_again(world, failure):
    await world.endpoint()
    world.merchant.script = [SendResult(None, failure, 1)]
    await world.happen()
    await world.run_for(10)
    assert len(world.merchant.posts) == 2
    [delivery] = await world.deliveries()
    assert [attempt.failure for attempt in delivery.attempts] == [failure, None]


# -- endpoints that go away ---------------------------------------------------------------------------------------------


async def test_410_disables_the_endpoint_with_an_event_and_cancels_what_waits(world):
    endpoint = await world.endpoint()
    world.merchant.script = [SendResult(410, None, 1)]
    await world.happen(count=2)
    await world.happen(aggregate="pay_2")
    await world.drain()
    held = await load_endpoint(world.w, TENANT, endpoint.id)
    assert (held.endpoint.enabled, held.endpoint.disabled_reason) == (False, "gone")
    states = [(delivery.state, delivery.reason) for delivery in await world.deliveries()]
    assert sorted(states) == [("canceled", "endpoint_disabled")] * 2 + [("dead", "endpoint_gone")]
    assert len(world.merchant.posts) == 1
    history = await world.store.history(endpoint.id)
    assert [event.type for event in history] == ["webhook_endpoint.created", "webhook_endpoint.disabled"]
    await world.happen(aggregate="pay_3")
    assert len(await world.deliveries()) == 3


async def test_endpoint_deleted_while_a_delivery_waits_cancels_it(world):
    endpoint = await world.endpoint()
    world.merchant.script = [DOWN]
    await world.happen(count=2)
    await world.drain()
    await delete_endpoint(world.w, endpoint.id, request())
    await world.run_for(10)
    assert len(world.merchant.posts) == 1
    states = [(delivery.state, delivery.reason) for delivery in await world.deliveries()]
    assert states == [("canceled", "endpoint_deleted")] * 2
    assert await world.messages_left() == 0


async def test_endpoint_deleted_while_the_request_is_under_way_keeps_what_was_learned(world):
    endpoint = await world.endpoint()

    async def deleting():
        await delete_endpoint(world.w, endpoint.id, request())
        return OK

    world.merchant.script = [deleting]
    await world.happen(count=2)
    await world.drain()
    assert [delivery.state for delivery in await world.deliveries()] == ["delivered", "canceled"]


async def test_secret_rotated_while_a_delivery_waits_signs_the_next_attempt_with_both(world):
    endpoint = await world.endpoint()
    world.merchant.script = [DOWN]
    await world.happen()
    await world.drain()
    await update_endpoint(world.w, endpoint.id, UpdateEndpoint(rotate_secret=True), request())
    await world.run_for(10)
    assert [len(post.headers["webhook-signature"].split(" ")) for post in world.merchant.posts] == [1, 2]
