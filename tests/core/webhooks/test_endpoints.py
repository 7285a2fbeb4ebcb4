"""Creating, changing and deleting endpoints; retries by hand; lists."""

from __future__ import annotations

import base64

import msgspec
import pytest

from interlock.core.access.audit import list_audit
from interlock.core.kernel.clock import utc_day
from interlock.core.kernel.errors import Conflict, Invalid, NotFound, WriteConflict
from interlock.core.webhooks.commands import CreateEndpoint, UpdateEndpoint
from interlock.core.webhooks.handlers import (
    create_endpoint,
    delete_endpoint,
    list_endpoints,
    load_endpoint,
    retry_delivery,
    update_endpoint,
)
from interlock.core.webhooks.listing import (
    find_delivery,
)
from interlock.core.webhooks.model import ENDPOINTS_MAX
from interlock.core.webhooks.ports import SendResult
from interlock.core.webhooks.records import REVISION
from interlock.core.webhooks.views import endpoint_view
from tests.core.webhooks.world import OK, TENANT, URL, World, request

DOWN = SendResult(503, None, 5)


@pytest.fixture
def world() -> World:
    return World()


async def test_created_endpoint_shows_its_secret_once_and_never_again(world):
    endpoint, secret = await create_endpoint(world.w, CreateEndpoint(URL, ["*"], "shop"), request())
    shown = msgspec.json.decode(msgspec.json.encode(endpoint_view(endpoint, secret=secret)))
    assert shown["secret"].startswith("whsec_")
    assert 24 <= len(base64.b64decode(shown["secret"].removeprefix("whsec_"))) <= 64
    held = await load_endpoint(world.w, TENANT, endpoint.id)
    assert held.endpoint == endpoint
    again = msgspec.json.encode(endpoint_view(held.endpoint))
    assert b"secret" not in again and secret.reveal().encode() not in again
    assert msgspec.json.decode(again) == {name: value for name, value in shown.items() if name != "secret"}


async def test_endpoint_cannot_be_encoded_by_anything_but_its_own_records(world):
    endpoint = await world.endpoint()
    with pytest.raises(TypeError):
        msgspec.json.encode(endpoint)


async def test_each_endpoint_has_a_secret_of_its_own(world):
    secrets = [(await world.endpoint()).secrets[0].value.reveal() for _ in range(5)]
    assert len(set(secrets)) == 5


@pytest.mark.parametrize(
    ("url", "events", "faults"),
    [
        ("http://shop.example.com/", ["*"], [("/url", "not_https")]),
        (URL, ["payment.exploded"], [("/events/0", "unknown_event_type")]),
        (URL, ["payment.created", "audit.recorded", "*"], [("/events/1", "unknown_event_type")]),
        ("https://10.0.0.1/", ["x.y"], [("/url", "forbidden_address"), ("/events/0", "unknown_event_type")]),
    ],
)
async def test_bad_endpoint_is_refused_naming_every_fault_and_nothing_is_written(world, url, events, faults):
    with pytest.raises(Invalid) as refused:
        await create_endpoint(world.w, CreateEndpoint(url, events), request())
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == faults
    assert await list_endpoints(world.w, TENANT) == []
    assert await world.store.get(REVISION) is None


async def test_bad_change_is_refused_and_nothing_is_written(world):
    endpoint = await world.endpoint()
    with pytest.raises(Invalid):
        await update_endpoint(world.w, endpoint.id, UpdateEndpoint(url="https://[::1]/"), request())
    assert (await load_endpoint(world.w, TENANT, endpoint.id)).endpoint == endpoint


async def test_loopback_url_is_taken_in_local_mode_only(world):
    with pytest.raises(Invalid):
        await world.endpoint(url="http://127.0.0.1:9999/hook")
    assert await World(allow_loopback=True).endpoint(url="http://127.0.0.1:9999/hook")


async def test_more_endpoints_than_the_limit_is_a_conflict(world):
    for _ in range(ENDPOINTS_MAX):
        await world.endpoint()
    with pytest.raises(Conflict) as refused:
        await world.endpoint()
    assert refused.value.reason == "too_many_endpoints"
    await world.endpoint(tenant="ten_2")


async def test_change_writes_what_is_named_and_nothing_else(world):
    endpoint = await world.endpoint()
    world.clock.advance(5)
    changed, secret = await update_endpoint(
        world.w, endpoint.id, UpdateEndpoint(events=["payment.failed", "payment.created"]), request()
    )
    assert secret is None
    assert changed.events == ("payment.created", "payment.failed")
    assert (changed.url, changed.secrets, changed.enabled, changed.version) == (URL, endpoint.secrets, True, 2)
    assert changed.updated_at == endpoint.updated_at + 5000


async def test_change_to_what_it_already_is_writes_nothing(world):
    endpoint = await world.endpoint()
    same, _ = await update_endpoint(world.w, endpoint.id, UpdateEndpoint(url=URL, enabled=True), request())
    assert same == endpoint
    assert len(await world.store.history(endpoint.id)) == 1


async def test_disabled_endpoint_gets_nothing_and_enabled_again_gets_what_happens_then(world):
    endpoint = await world.endpoint()
    await update_endpoint(world.w, endpoint.id, UpdateEndpoint(enabled=False), request())
    await world.happen(aggregate="pay_1")
    held = await load_endpoint(world.w, TENANT, endpoint.id)
    assert held.endpoint.disabled_reason == "by_merchant"
    await update_endpoint(world.w, endpoint.id, UpdateEndpoint(enabled=True), request())
    [event] = await world.happen(aggregate="pay_2")
    await world.drain()
    assert world.merchant.heard == [event.id]
    assert (await load_endpoint(world.w, TENANT, endpoint.id)).endpoint.disabled_reason is None


async def test_rotated_secret_signs_along_with_the_old_one_for_a_day(world):
    endpoint = await world.endpoint()
    rotated, secret = await update_endpoint(world.w, endpoint.id, UpdateEndpoint(rotate_secret=True), request())
    old = endpoint.secrets[0].value
    assert secret is not None and secret != old
    now = world.clock.now()
    assert rotated.current_secrets(now) == [secret, old]
    assert rotated.current_secrets(now + 86_400_000 - 1) == [secret, old]
    assert rotated.current_secrets(now + 86_400_000) == [secret]


async def test_secret_rotated_twice_keeps_the_one_before_only(world):
    endpoint = await world.endpoint()
    _, first = await update_endpoint(world.w, endpoint.id, UpdateEndpoint(rotate_secret=True), request())
    rotated, second = await update_endpoint(world.w, endpoint.id, UpdateEndpoint(rotate_secret=True), request())
    assert rotated.current_secrets(world.clock.now()) == [second, first]


async def test_another_tenants_endpoint_is_not_found(world):
    endpoint = await world.endpoint()
    other = request("ten_2")
    for attempt in (
        load_endpoint(world.w, "ten_2", endpoint.id),
        update_endpoint(world.w, endpoint.id, UpdateEndpoint(enabled=False), other),
        delete_endpoint(world.w, endpoint.id, other),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert (await load_endpoint(world.w, TENANT, endpoint.id)).endpoint == endpoint


@pytest.mark.parametrize("name", ["", "whe_", "whe_short", "pay_00000000000000000000000000", "../x"])
async def test_what_is_no_endpoints_id_is_not_found(world, name):
    with pytest.raises(NotFound):
        await load_endpoint(world.w, TENANT, name)


async def test_deleted_endpoint_is_gone_with_its_last_event(world):
    endpoint = await world.endpoint()
    await delete_endpoint(world.w, endpoint.id, request())
    assert await list_endpoints(world.w, TENANT) == []
    with pytest.raises(NotFound):
        await delete_endpoint(world.w, endpoint.id, request())
    assert [event.type for event in await world.store.history(endpoint.id)] == [
        "webhook_endpoint.created",
        "webhook_endpoint.deleted",
    ]


async def test_every_privileged_action_is_in_the_audit_trail(world):
    endpoint = await world.endpoint()
    world.clock.advance(1)
    await update_endpoint(world.w, endpoint.id, UpdateEndpoint(rotate_secret=True, description="x"), request())
    world.clock.advance(1)
    world.merchant.script = [OK, SendResult(410, None, 1)]
    await world.happen(aggregate="pay_1")
    await world.drain()
    [delivery] = await world.deliveries()
    await retry_delivery(world.w, delivery.id, request())
    world.clock.advance(1)
    await world.drain()
    world.clock.advance(1)
    await delete_endpoint(world.w, endpoint.id, request())
    page = await list_audit(world.store, tenant=TENANT, day=utc_day(world.clock.now()))
    assert [(record.action, record.actor, record.target) for record in page.records][::-1] == [
        ("webhook_endpoint.created", "cli_1", endpoint.id),
        ("webhook_endpoint.updated", "cli_1", endpoint.id),
        ("webhook_delivery.retry_requested", "cli_1", delivery.id),
        ("webhook_endpoint.disabled", "platform", endpoint.id),
        ("webhook_endpoint.deleted", "cli_1", endpoint.id),
    ]
    assert page.records[3].detail["changed"] == "description secret"


async def test_two_tenants_changing_endpoints_at_once_both_succeed(world, monkeypatch):
    commit = world.store.commit
    refused = 0

    async def contended(writes, events=()):
        nonlocal refused
        if refused < 3:
            refused += 1
            raise WriteConflict(REVISION)
        await commit(writes, events)

    monkeypatch.setattr(world.store, "commit", contended)
    endpoint = await world.endpoint()
    assert [one.id for one in await list_endpoints(world.w, TENANT)] == [endpoint.id]


# -- retry by hand ------------------------------------------------------------------------------------------------------


async def dead_delivery(world: World):
    await world.endpoint()
    world.merchant.script = [DOWN] * 12
    await world.happen()
    await world.run_for(80 * 3600, every=600)
    [delivery] = await world.deliveries()
    assert delivery.state == "dead"
    return delivery


async def test_dead_delivery_retried_by_hand_is_delivered(world):
    delivery = await dead_delivery(world)
    asked = await retry_delivery(world.w, delivery.id, request())
    assert asked.state == "pending"
    await world.drain()
    [delivery] = await world.deliveries()
    assert (delivery.state, delivery.attempts_total, delivery.reason) == ("delivered", 13, "")


async def test_dead_delivery_retried_by_hand_and_failing_is_dead_again_at_once(world):
    delivery = await dead_delivery(world)
    world.merchant.script = [DOWN]
    await retry_delivery(world.w, delivery.id, request())
    await world.run_for(60)
    [delivery] = await world.deliveries()
    assert (delivery.state, delivery.attempts_total) == ("dead", 13)
    assert await world.messages_left() == 0


async def test_delivered_event_is_sent_again_on_request_and_stays_delivered_if_that_fails(world):
    await world.endpoint()
    [event] = await world.happen()
    await world.drain()
    [delivery] = await world.deliveries()
    world.clock.advance(10)
    world.merchant.script = [DOWN]
    await retry_delivery(world.w, delivery.id, request())
    await world.drain()
    assert world.merchant.heard == [event.id, event.id]
    [after] = await world.deliveries()
    assert (after.state, after.delivered_at, after.attempts_total) == ("delivered", delivery.delivered_at, 2)


async def test_waiting_delivery_retried_by_hand_goes_now_and_keeps_its_schedule(world):
    await world.endpoint()
    world.merchant.script = [DOWN, DOWN]
    await world.happen()
    await world.drain()
    [delivery] = await world.deliveries()
    await retry_delivery(world.w, delivery.id, request())
    await world.drain()
    assert len(world.merchant.posts) == 2
    await world.run_for(25)
    assert len(world.merchant.posts) == 2
    await world.run_for(15)
    assert len(world.merchant.posts) == 3
    [delivery] = await world.deliveries()
    assert delivery.state == "delivered"
    assert await world.messages_left() == 0


async def test_retry_by_hand_again_and_again_leaves_one_message_with_an_effect(world):
    await world.endpoint()
    world.merchant.otherwise = DOWN
    await world.happen()
    await world.drain()
    [delivery] = await world.deliveries()
    for _ in range(10):
        await retry_delivery(world.w, delivery.id, request())
    await world.drain()
    assert len(world.merchant.posts) == 2


async def test_delivery_being_sent_cannot_be_retried(world):
    await world.endpoint()
    refusals = []

    async def meanwhile():
        [delivery] = await world.deliveries()
        with pytest.raises(Conflict) as refused:
            await retry_delivery(world.w, delivery.id, request())
        refusals.append(refused.value)
        return OK

    world.merchant.script = [meanwhile]
    await world.happen()
    await world.drain()
    assert len(refusals) == 1
    assert len(world.merchant.posts) == 1


@pytest.mark.parametrize(("gone", "code"), [("deleted", "endpoint_deleted"), ("disabled", "endpoint_disabled")])
async def test_delivery_whose_endpoint_is_gone_cannot_be_retried(world, gone, code):
    endpoint = await world.endpoint()
    await world.happen()
    await world.drain()
    [delivery] = await world.deliveries()
    if gone == "deleted":
        await delete_endpoint(world.w, endpoint.id, request())
    else:
        await update_endpoint(world.w, endpoint.id, UpdateEndpoint(enabled=False), request())
    with pytest.raises(Conflict) as refused:
        await retry_delivery(world.w, delivery.id, request())
    assert refused.value.reason == code
    assert await world.deliveries() == [delivery]


async def test_another_tenants_delivery_is_not_found(world):
    await world.endpoint()
    await world.happen()
    [delivery] = await world.deliveries()
    for attempt in (
        find_delivery(world.w, "ten_2", delivery.id),
        retry_delivery(world.w, delivery.id, request("ten_2")),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_delivered_event_requested_again_after_its_endpoint_went_stays_delivered(world):
    endpoint = await world.endpoint()
    await world.happen()
    await world.drain()
    [delivery] = await world.deliveries()
    await retry_delivery(world.w, delivery.id, request())
    await delete_endpoint(world.w, endpoint.id, request())
    await world.drain()
    assert [one.state for one in await world.deliveries()] == ["delivered"]
