"""Who gets in, and to what, over HTTP: every operation of the document, tokens of every kind, another tenant, and quotas."""

from __future__ import annotations

import asyncio
import re
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from interlock.core.access.claims import access_claims
from interlock.core.access.commands import CreateClient
from interlock.core.access.handlers import create_client
from interlock.core.access.scopes import SCOPES
from interlock.core.kernel.clock import HOUR, MINUTE
from interlock.entrypoints.http.api import described_routes
from interlock.entrypoints.http.routing import Route
from tests.backends.tokens.forging import with_claims, with_head
from tests.entrypoints.api.beside import CARD, Beside, beside
from tests.running import TENANT

pytestmark = pytest.mark.xdist_group("api-access")

SALE: dict[str, Any] = {"amount": 1999, "currency": "EUR", "payment_method": CARD}
PROTECTED = [route for route in described_routes() if route.scope is not None]
MERCHANTS = [route for route in PROTECTED if not str(route.scope).startswith("desk:")]
"""The desk's own see every merchant: that is what their scopes are for."""
IDS = {
    "payments": "pay_" + "0" * 26,
    "refunds": "ref_" + "0" * 26,
    "webhook_endpoints": "whe_" + "0" * 26,
    "webhook_deliveries": "dlv_" + "0" * 26,
    "events": "evt_" + "0" * 26,
    "alerts": "alr_" + "0" * 26,
    "repairs": "rpr_" + "0" * 26,
    "replays": "rpl_" + "0" * 26,
    "findings": "fnd_" + "0" * 26,
    "alert_sources": "nobody",
}
BODIES: dict[str, Any] = {
    "createPayment": SALE,
    "previewRouting": {"amount": 1, "currency": "EUR"},
    "putRoutingRules": {"rules": []},
    "createWebhookEndpoint": {"url": "http://127.0.0.1:9/hook", "events": ["*"]},
    "updateWebhookEndpoint": {"enabled": False},
}


def path_of(route: Route, ids: dict[str, str]) -> str:
    collection = route.path.partition("/{")[0].rpartition("/")[2]
    return re.sub(r"\{\w+\}", lambda _: ids[collection], route.path)


async def call(world: Beside, route: Route, token: str, ids: dict[str, str] = IDS) -> tuple[int, dict[str, str], Any]:
    body = BODIES.get(route.operation_id, {} if route.body is not None else None)
    key = f"key-{route.operation_id}-{token[-8:]}" if route.idempotent else None
    return await world.ask_whole(route.method, path_of(route, ids), body, key=key, token=token)


async def test_every_operation_needs_a_token_and_exactly_its_scope(tmp_path):
    async with beside(tmp_path) as world:
        without = {scope: await world.node.log_in(scopes=[one for one in SCOPES if one != scope]) for scope in SCOPES}
        alone = {scope: await world.node.log_in(scopes=[scope]) for scope in SCOPES}
        for route in PROTECTED:
            where = f"{route.method} {route.path}"
            status, headers, problem = await call(world, route, "nonsense")
            assert (status, problem["code"]) == (401, "token_malformed"), where
            assert headers["www-authenticate"] == 'Bearer realm="interlock", error="invalid_token"', where
            status, headers, problem = await call(world, route, without[route.scope])
            assert (status, problem["code"]) == (403, "insufficient_scope"), where
            assert headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="{route.scope}"', where
            assert route.scope in problem["detail"], where
        for route in PROTECTED:
            status, _, problem = await call(world, route, alone[route.scope])
            assert status not in (401, 403), (route.operation_id, problem)


async def test_request_without_any_token_is_told_how_to_get_in(tmp_path):
    async with beside(tmp_path) as world:
        for route in PROTECTED:
            url = f"{world.node.base_url}{path_of(route, IDS)}"
            async with world.node.session.request(route.method, url) as answer:
                assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="interlock"')
                assert answer.content_type == "application/problem+json"
        assert world.simulator.instances["simulator"].books.charges == {}


async def test_token_that_is_not_good_any_more_or_not_ours_is_refused(tmp_path):
    async with beside(tmp_path / "ours") as world, beside(tmp_path / "theirs") as theirs:
        good = await world.node.log_in()
        for token, code in [token async for token in bad_tokens(world, good, await theirs.node.log_in())]:
            status, headers, problem = await world.ask_whole("GET", "/v1/payments", token=token)
            assert (status, problem["code"]) == (401, code), code
            assert 'error="invalid_token"' in headers["www-authenticate"]
        status, _, _ = await world.ask_whole("GET", "/v1/payments", token=good)
        assert status == 200


async def bad_tokens(world: Beside, good: str, foreign: str):
    platform = world.node.platform
    made = await create_client(platform.access, CreateClient(TENANT, "late", ("payments:read",)), actor="test")
    now = platform.storage.clock.now()

    async def signed(at: int, **changes: Any) -> str:
        claims = access_claims(
            platform.access.own,
            client_id=made.client.id,
            tenant=TENANT,
            scopes=("payments:read",),
            token_id="atk_1",
            now=at,
            lifetime=15 * MINUTE,
        )
        return await platform.tokens.sign({**claims, **changes})

    yield await signed(now - HOUR), "token_expired"
    yield await signed(now, aud="somebody-else"), "token_audience"
    yield await signed(now, iss="https://issuer.example.com"), "token_issuer"
    yield foreign, "token_issuer"
    yield with_claims(good, tenant="ten_2"), "token_signature"
    yield with_claims(good, scope=" ".join(SCOPES)), "token_signature"
    yield with_head(good, alg="none"), "token_algorithm"


class Owned(NamedTuple):
    """One of everything that belongs to the first tenant."""

    ids: dict[str, str]
    journal: str


@pytest.fixture
async def hook():
    """A merchant's endpoint that takes everything; what came."""
    came: list[Any] = []

    async def take(asked: web.Request) -> web.Response:
        came.append(await asked.read())
        return web.Response(status=204)

    application = web.Application()
    application.router.add_post("/hook", take)
    async with TestServer(application) as server:
        yield str(server.make_url("/hook")), came


async def one_of_everything(world: Beside, url: str) -> Owned:
    _, _, endpoint = await world.ask_whole("POST", "/v1/webhook_endpoints", {"url": url, "events": ["*"]})
    _, _, payment = await world.ask_whole("POST", "/v1/payments", SALE, key="sale")
    path = f"/v1/payments/{payment['id']}"
    _, _, refund = await world.ask_whole("POST", f"{path}/refunds", {"amount": 500}, key="refund")
    assert refund["status"] == "succeeded"
    deliveries = await filled(world, "/v1/webhook_deliveries?status=delivered")
    events = await filled(world, f"/v1/events?aggregate={payment['id']}")
    journals = await filled(world, "/v1/ledger/journals")
    await filled(world, "/v1/payments")
    ids = {
        "payments": payment["id"],
        "refunds": refund["id"],
        "webhook_endpoints": endpoint["id"],
        "webhook_deliveries": deliveries[0]["id"],
        "events": events[0]["id"],
    }
    return Owned(ids, journals[0]["id"])


async def filled(world: Beside, path: str, token: str | None = None) -> list[Any]:
    """The list, once there is something in it."""
    async with asyncio.timeout(20):
        while True:
            _, _, page = await world.ask_whole("GET", path, token=token)
            if page["data"]:
                return list(page["data"])
            await asyncio.sleep(0.02)


async def snapshot(world: Beside, owned: Owned) -> list[Any]:
    """Everything the first tenant can see of its things."""
    seen = []
    for route in MERCHANTS:
        if route.method == "GET" and "{id}" in route.path:
            seen.append((await world.ask_whole("GET", path_of(route, owned.ids)))[2])
    return seen


async def test_another_tenant_finds_none_of_ours_and_changes_nothing(tmp_path, hook):
    url, came = hook
    async with beside(tmp_path) as world:
        owned = await one_of_everything(world, url)
        other = await world.node.log_in("ten_2")
        before, told = await snapshot(world, owned), len(came)
        by_id = [route for route in MERCHANTS if "{id}" in route.path]
        assert {route.operation_id for route in by_id} >= {
            "getPayment", "getPaymentTimeline", "capturePayment", "cancelPayment", "confirmPayment", "refundPayment",
            "getRefund", "getWebhookEndpoint", "updateWebhookEndpoint", "deleteWebhookEndpoint", "getWebhookDelivery",
            "retryWebhookDelivery", "getEvent",
        }  # fmt: skip
        for route in by_id:
            theirs = await call(world, route, other, owned.ids)
            nobodys = await call(world, route, other)
            assert theirs[0] == 404, route.operation_id
            assert without_request_id(theirs[2]) == without_request_id(nobodys[2]), (
                "it must look as if it were not there"
            )
        for path in ("payments", "disputes", "ledger/journals", "ledger/accounts", "webhook_endpoints",
                     "webhook_deliveries", "events", "balances"):  # fmt: skip
            _, _, page = await world.ask_whole("GET", f"/v1/{path}", token=other)
            assert page["data"] == [], path
        _, _, page = await world.ask_whole("GET", f"/v1/ledger/journals?payment={owned.ids['payments']}", token=other)
        assert page["data"] == []
        assert (await snapshot(world, owned), len(came)) == (before, told)


def without_request_id(problem: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in problem.items() if name != "request_id"}


async def test_tenancy_comes_from_the_token_whatever_the_request_says(tmp_path):
    async with beside(tmp_path) as world:
        other = await world.node.log_in("ten_2")
        status, _, problem = await world.ask_whole(
            "POST", "/v1/payments", {**SALE, "tenant": TENANT}, key="k1", token=other
        )
        assert (status, problem["errors"][0]["pointer"]) == (400, "/tenant")
        status, _, problem = await world.ask_whole("GET", f"/v1/payments?tenant={TENANT}", token=other)
        assert (status, problem["errors"][0]["pointer"]) == (400, "/query/tenant")
        headers = {"X-Tenant": TENANT, "X-Tenant-Id": TENANT, "Tenant": TENANT}
        body = {**SALE, "metadata": {"tenant": TENANT}}
        status, _, payment = await world.ask_whole("POST", "/v1/payments", body, key="k1", token=other, **headers)
        assert status == 201
        ours, _, _ = await world.ask_whole("GET", f"/v1/payments/{payment['id']}")
        theirs, _, _ = await world.ask_whole("GET", f"/v1/payments/{payment['id']}", token=other)
        assert (ours, theirs) == (404, 200)


async def test_same_idempotency_key_of_two_tenants_is_two_payments(tmp_path):
    async with beside(tmp_path) as world:
        other = await world.node.log_in("ten_2")
        _, _, ours = await world.ask_whole("POST", "/v1/payments", SALE, key="k1")
        status, headers, theirs = await world.ask_whole(
            "POST", "/v1/payments", {**SALE, "amount": 5}, key="k1", token=other
        )
        assert (status, theirs["amount"], "idempotency-replayed" in headers) == (201, 5, False)
        assert theirs["id"] != ours["id"]


async def test_client_above_its_rate_gets_429_and_others_do_not(tmp_path):
    async with beside(tmp_path, rate_limit_per_s=0.01, rate_limit_burst=3) as world:
        for left in (2, 1, 0):
            status, headers, _ = await world.ask_whole("GET", "/v1/payments")
            assert (status, headers["ratelimit-policy"]) == (200, '"client";q=3')
            assert headers["ratelimit"].startswith(f'"client";r={left};t=')
        status, headers, problem = await world.ask_whole("POST", "/v1/payments", SALE, key="k1")
        assert (status, problem["code"]) == (429, "rate_limited")
        assert 1 <= int(headers["retry-after"]) <= 100
        assert headers["ratelimit"].startswith('"client";r=0;t=')
        assert world.simulator.instances["simulator"].books.charges == {}
        assert await world.metric("interlock_rate_limited_total") == 1
        status, _, _ = await world.ask_whole("POST", "/v1/payments", SALE, key="k1", token=await world.node.log_in())
        assert status == 201, "the refused request used up neither the key nor another client's quota"
