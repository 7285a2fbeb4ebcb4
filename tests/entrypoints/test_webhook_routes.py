"""Webhook endpoints, deliveries and events over HTTP, through the real dispatcher."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from interlock.core.access.model import Principal
from interlock.core.access.rates import Allowance
from interlock.core.kernel.clock import rfc3339
from interlock.core.kernel.errors import Unauthenticated
from interlock.core.webhooks.events import project_events
from interlock.core.webhooks.ports import SendResult
from interlock.entrypoints.http.app import Edge, HttpApp
from interlock.entrypoints.http.webhook_routes import webhook_routes
from tests.core.webhooks.world import URL, World
from tests.dispatching import Response, dispatched

TOKENS = {
    "Bearer writer": Principal("cli_1", "ten_1", frozenset({"webhooks:read", "webhooks:write"}), "tok", 0),
    "Bearer reader": Principal("cli_2", "ten_1", frozenset({"webhooks:read"}), "tok", 0),
    "Bearer payer": Principal("cli_3", "ten_1", frozenset({"payments:read", "payments:write"}), "tok", 0),
    "Bearer other": Principal("cli_4", "ten_2", frozenset({"webhooks:read", "webhooks:write"}), "tok", 0),
}
PATHS = "/v1/webhook_endpoints"


class Client:
    def __init__(self, world: World) -> None:
        async def authenticate(authorization: str) -> Principal:
            if authorization not in TOKENS:
                raise Unauthenticated("no such token")
            return TOKENS[authorization]

        edge = Edge(authenticate, lambda client: Allowance(True, 9, 9, 0.0, 0), world.telemetry, world.ids)
        self._app = HttpApp(webhook_routes(world.w), edge)

    async def __call__(self, method: str, target: str, body: Any = None, *, token: str = "writer") -> Response:
        return await dispatched(self._app, method, target, body, token=token)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def call(world: World) -> Client:
    return Client(world)


async def test_created_endpoint_answers_201_with_a_secret_that_verifies_what_it_then_gets(world, call):
    created = await call("POST", PATHS, {"url": URL, "events": ["*"], "description": "shop"})
    assert created.status == 201
    secret = created.json["secret"]
    assert created.json == {
        "id": created.json["id"],
        "object": "webhook_endpoint",
        "url": URL,
        "events": ["*"],
        "description": "shop",
        "enabled": True,
        "disabled_reason": None,
        "failing_since": None,
        "created_at": rfc3339(world.clock.now()),
        "updated_at": rfc3339(world.clock.now()),
        "secret": secret,
    }
    got = await call("GET", f"{PATHS}/{created.json['id']}", token="reader")
    assert (got.status, "secret" in got.json) == (200, False)
    [event] = await world.happen()
    await world.drain()
    [post] = world.merchant.posts
    # The verifier takes no other clock than the machine's: compare its own signature instead.
    at = datetime.fromtimestamp(int(post.headers["webhook-timestamp"]), tz=UTC)
    assert post.headers["webhook-signature"] == Webhook(secret).sign(event.id, at, post.body.decode())


async def test_endpoint_is_changed_rotated_listed_and_deleted(world, call):
    first = (await call("POST", PATHS, {"url": URL, "events": ["*"]})).json
    world.clock.advance(1)
    second = (await call("POST", PATHS, {"url": URL, "events": ["refund.created"]})).json
    changed = await call("PATCH", f"{PATHS}/{first['id']}", {"enabled": False, "events": ["payment.created"]})
    assert (changed.status, changed.json["enabled"], changed.json["disabled_reason"]) == (200, False, "by_merchant")
    assert "secret" not in changed.json
    rotated = await call("PATCH", f"{PATHS}/{first['id']}", {"rotate_secret": True})
    assert rotated.json["secret"] not in (first["secret"], None)
    page = (await call("GET", f"{PATHS}?limit=1", token="reader")).json
    assert ([one["id"] for one in page["data"]], page["has_more"], page["next"]) == ([second["id"]], True, second["id"])
    page = (await call("GET", f"{PATHS}?limit=1&after={page['next']}")).json
    assert ([one["id"] for one in page["data"]], page["has_more"], page["next"]) == ([first["id"]], False, None)
    page = (await call("GET", f"{PATHS}?before={first['id']}")).json
    assert [one["id"] for one in page["data"]] == [second["id"]]
    deleted = await call("DELETE", f"{PATHS}/{first['id']}")
    assert (deleted.status, deleted.body) == (204, b"")
    assert (await call("GET", f"{PATHS}/{first['id']}")).status == 404
    assert (await call("DELETE", f"{PATHS}/{first['id']}")).status == 404


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"events": ["*"]}, "/url", "required"),
        ({"url": URL}, "/events", "required"),
        ({"url": URL, "events": []}, "/events", "bad_length"),
        ({"url": URL, "events": "*"}, "/events", "wrong_type"),
        ({"url": 7, "events": ["*"]}, "/url", "wrong_type"),
        ({"url": URL, "events": ["*"], "secret": "whsec_x"}, "/secret", "unknown_field"),
        ({"url": URL, "events": ["*"], "tenant": "ten_2"}, "/tenant", "unknown_field"),
        ({"url": "https://" + "a" * 2048, "events": ["*"]}, "/url", "bad_length"),
        ({"url": "http://shop.example.com", "events": ["*"]}, "/url", "not_https"),
        ({"url": "https://169.254.169.254/", "events": ["*"]}, "/url", "forbidden_address"),
        ({"url": URL, "events": ["payment.created", "nope"]}, "/events/1", "unknown_event_type"),
    ],
)
async def test_bad_endpoint_is_400_naming_the_pointer_and_nothing_is_written(call, body, pointer, code):
    answer = await call("POST", PATHS, body)
    assert answer.status == 400
    assert (answer.json["errors"][0]["pointer"], answer.json["errors"][0]["code"]) == (pointer, code)
    assert (await call("GET", PATHS)).json["data"] == []


async def test_reading_token_cannot_write_and_a_token_for_payments_cannot_read(world, call):
    endpoint = await world.endpoint()
    await world.happen()
    [delivery] = await world.deliveries()
    for method, path, body in (
        ("POST", PATHS, {"url": URL, "events": ["*"]}),
        ("PATCH", f"{PATHS}/{endpoint.id}", {"enabled": False}),
        ("DELETE", f"{PATHS}/{endpoint.id}", None),
        ("POST", f"/v1/webhook_deliveries/{delivery.id}/retry", None),
    ):
        assert (await call(method, path, body, token="reader")).status == 403
    for path in (PATHS, f"{PATHS}/{endpoint.id}", "/v1/webhook_deliveries", "/v1/events"):
        assert (await call("GET", path, token="payer")).status == 403
        assert (await call("GET", path, token="nobody")).status == 401
    assert (await call("GET", f"{PATHS}/{endpoint.id}")).json["enabled"]


async def test_another_tenant_finds_nothing(world, call):
    endpoint = await world.endpoint()
    [event] = await world.happen()
    await project_events(world.documents, [event])
    [delivery] = await world.deliveries()
    for method, path, body in (
        ("GET", f"{PATHS}/{endpoint.id}", None),
        ("PATCH", f"{PATHS}/{endpoint.id}", {"enabled": False}),
        ("DELETE", f"{PATHS}/{endpoint.id}", None),
        ("GET", f"/v1/webhook_deliveries/{delivery.id}", None),
        ("POST", f"/v1/webhook_deliveries/{delivery.id}/retry", None),
        ("GET", f"/v1/events/{event.id}", None),
    ):
        assert (await call(method, path, body, token="other")).status == 404
    for path in (PATHS, "/v1/webhook_deliveries", f"/v1/webhook_deliveries?event={event.id}", "/v1/events"):
        assert (await call("GET", path, token="other")).json == {"data": [], "has_more": False, "next": None}


async def test_deliveries_are_listed_filtered_and_retried(world, call):
    endpoint = await world.endpoint()
    world.merchant.otherwise = SendResult(500, None, 4, b"oops")
    [first] = await world.happen(aggregate="pay_1")
    await world.drain()
    world.clock.advance(0.01)
    world.merchant.otherwise = SendResult(200, None, 4)
    [second] = await world.happen(aggregate="pay_2")
    await world.drain()
    page = (await call("GET", "/v1/webhook_deliveries?limit=1")).json
    assert [one["event"] for one in page["data"]] == [second.id]
    assert (page["has_more"], page["next"]) == (True, page["data"][0]["id"])
    page = (await call("GET", f"/v1/webhook_deliveries?after={page['next']}")).json
    [waiting] = page["data"]
    assert (waiting["event"], waiting["status"], waiting["endpoint"]) == (first.id, "pending", endpoint.id)
    assert [(one["status"], one["excerpt"]) for one in waiting["attempts"]] == [(500, "oops")]
    for query, ids in (
        ("status=pending", [first.id]),
        ("status=delivered", [second.id]),
        ("status=dead", []),
        (f"event={second.id}", [second.id]),
        (f"endpoint={endpoint.id}", [second.id, first.id]),
        ("endpoint=whe_other", []),
    ):
        page = (await call("GET", f"/v1/webhook_deliveries?{query}")).json
        assert [one["event"] for one in page["data"]] == ids, query
    assert (await call("GET", "/v1/webhook_deliveries?status=lost")).status == 400
    assert (await call("GET", "/v1/webhook_deliveries?colour=red")).status == 400
    retried = await call("POST", f"/v1/webhook_deliveries/{waiting['id']}/retry")
    assert (retried.status, retried.json["status"]) == (202, "pending")
    await world.drain()
    got = await call("GET", f"/v1/webhook_deliveries/{waiting['id']}")
    assert (got.json["status"], got.json["attempts_total"]) == ("delivered", 2)
    await call("DELETE", f"{PATHS}/{endpoint.id}")
    conflict = await call("POST", f"/v1/webhook_deliveries/{waiting['id']}/retry")
    assert (conflict.status, conflict.json["code"]) == (409, "endpoint_deleted")


async def test_event_is_shown_with_the_very_bytes_its_webhook_has(world, call):
    await world.endpoint()
    [event] = await world.happen()
    await project_events(world.documents, [event])
    await world.drain()
    got = await call("GET", f"/v1/events/{event.id}")
    assert (got.status, got.body) == (200, world.merchant.posts[0].body)
    page = (await call("GET", "/v1/events?type=payment.created&aggregate=pay_1")).json
    assert [one["id"] for one in page["data"]] == [event.id]
    assert (await call("GET", "/v1/events?type=payment.failed")).json["data"] == []
    assert (await call("GET", "/v1/events/evt_00000000000000000000000000")).status == 404


async def test_events_are_paged_without_gap_or_repeat(world, call):
    events = []
    for n in range(5):
        world.clock.advance(0.01)
        events.append(await world.commit(f"pay_{n}"))
    await project_events(world.documents, events)
    seen, target = [], "/v1/events?limit=2"
    while target:
        page = (await call("GET", target)).json
        seen += [one["id"] for one in page["data"]]
        target = f"/v1/events?limit=2&after={page['next']}" if page["has_more"] else ""
    assert seen == [event.id for event in reversed(events)]
