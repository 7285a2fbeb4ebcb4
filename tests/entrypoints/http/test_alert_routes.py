"""Alerts over HTTP, through the real dispatcher."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interlock.core.access.model import Principal
from interlock.core.access.rates import Allowance
from interlock.core.kernel.errors import Unauthenticated
from interlock.entrypoints.http.alert_routes import alert_routes
from interlock.entrypoints.http.app import Edge, HttpApp
from interlock.entrypoints.http.openapi import openapi_document
from tests.core.desk.alerts.world import TOPIC, World
from tests.dispatching import Response, dispatched

CAPTURED = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "core/desk/alerts/captured.jsonl").read_text().splitlines()
]
TOKENS = {
    "Bearer writer": Principal("ada", "ten_1", frozenset({"desk:read", "desk:write"}), "tok", 0),
    "Bearer reader": Principal("bob", "ten_1", frozenset({"desk:read"}), "tok", 0),
    "Bearer payer": Principal("cli_3", "ten_1", frozenset({"payments:read", "payments:write"}), "tok", 0),
}
SILENCE = {"id": "quiet", "action": {"type": "silence", "until": "2100-01-01T00:00:00Z"}}


class Client:
    def __init__(self, world: World) -> None:
        async def authenticate(authorization: str) -> Principal:
            if authorization not in TOKENS:
                raise Unauthenticated("no such token")
            return TOKENS[authorization]

        edge = Edge(authenticate, lambda client: Allowance(True, 9, 9, 0.0, 0), world.telemetry, world.ids)
        self._app = HttpApp(alert_routes(world.d), edge)

    async def __call__(
        self, method: str, target: str, body: Any = None, *, token: str = "writer", kind: str = "application/json"
    ) -> Response:
        return await dispatched(self._app, method, target, body, token=token, kind=kind)

    async def source(self, id: str, format: str, proof: str = "bearer") -> str:
        """Make a source; its token."""
        made = await self("POST", "/v1/alert_sources", {"id": id, "name": id, "format": format, "proof": proof})
        assert made.status == 201
        token: str = made.json["token"]
        return token


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def client(world: World) -> Client:
    return Client(world)


async def test_all_captured_webhooks_are_accepted_and_tell_one_story(client, world):
    tokens = {
        "/ops/alerts": ("am", await client.source("am", "alertmanager")),
        "/slack": ("sl", await client.source("sl", "slack")),
        "/v2/enqueue": ("pd", await client.source("pd", "pagerduty", "routing_key")),
    }
    for one in CAPTURED:
        source, token = tokens[one["path"]]
        body = one["body"] | {"routing_key": token} if source == "pd" else one["body"]
        answer = await client("POST", f"/v1/alerts/in/{source}", body, token=token, kind=one["ct"])
        assert answer.status == 202
        if source == "pd":
            told = {"status": "success", "message": "Event processed", "dedup_key": body["dedup_key"]}
            assert answer.json == told
        else:
            assert answer.json == {"received": 1, "result": "accepted"}
        world.clock.advance(1)
    listed = (await client("GET", "/v1/alerts")).json["data"]
    assert sorted((one["source"], one["name"], one["state"]) for one in listed) == [
        ("am", "LedgerImbalance", "open"),
        ("am", "PaymentSuccessBurn", "resolved"),
        ("pd", "LedgerImbalance", "open"),
        ("pd", "PaymentSuccessBurn", "resolved"),
        ("sl", "LedgerImbalance", "open"),
        ("sl", "PaymentSuccessBurn", "resolved"),
    ]
    assert world.webhooks() == {("alertmanager", "accepted"): 3, ("slack", "accepted"): 3, ("pagerduty", "accepted"): 3}


async def test_pagerduty_event_without_a_key_is_answered_one_with_which_it_is_acknowledged_and_resolved(client):
    token = await client.source("pd", "pagerduty", "routing_key")
    event = {"routing_key": token, "payload": {"summary": "disk is full", "source": "db-1", "severity": "error"}}
    first, repeated = [await client("POST", "/v1/alerts/in/pd", event | {"event_action": "trigger"}) for _ in range(2)]
    key = first.json["dedup_key"]
    told = {"status": "success", "message": "Event processed", "dedup_key": key}
    assert (first.status, first.json) == (202, told)
    assert 0 < len(key) <= 255
    assert repeated.json["dedup_key"] == key
    for action, state in (("acknowledge", "acknowledged"), ("resolve", "resolved")):
        answer = await client(
            "POST", "/v1/alerts/in/pd", {"routing_key": token, "event_action": action, "dedup_key": key}
        )
        assert (answer.status, answer.json["dedup_key"]) == (202, key)
        (alert,) = (await client("GET", "/v1/alerts")).json["data"]
        assert (alert["state"], alert["count"]) == (state, 2)


async def test_alert_is_shown_taken_given_and_closed(client):
    token = await client.source("am", "alertmanager")
    await client("POST", "/v1/alerts/in/am", CAPTURED[0]["body"], token=token)
    (alert,) = (await client("GET", "/v1/alerts?state=open&severity=critical&name=Payment*")).json["data"]
    assert alert["runbook"] == "http://127.0.0.1:18080/runbooks/provider-degraded"
    path = f"/v1/alerts/{alert['id']}"
    taken = await client("POST", f"{path}/acknowledge")
    assert (taken.status, taken.json["state"], taken.json["assignee"]) == (200, "acknowledged", "ada")
    given = await client("POST", f"{path}/assign", {"assignee": "bob", "note": "your turn"})
    assert (given.json["assignee"], given.json["history"][-1]["note"]) == ("bob", "your turn")
    closed = await client("POST", f"{path}/resolve", {"note": "acme is back"})
    assert closed.json["state"] == "resolved"
    assert (await client("GET", path)).json == closed.json
    refused = await client("POST", f"{path}/acknowledge")
    assert (refused.status, refused.json["code"]) == (409, "alert_resolved")
    assert (await client("GET", "/v1/alerts?state=open")).json == {"data": [], "has_more": False, "next": None}


async def test_pages_of_alerts_go_on_where_they_ended(client, world):
    token = await client.source("g", "generic")
    for number in range(5):
        body = {"name": f"n{number}", "status": "firing"}
        await client("POST", "/v1/alerts/in/g", body, token=token)
        world.clock.advance(1)
    first = (await client("GET", "/v1/alerts?limit=2")).json
    second = (await client("GET", f"/v1/alerts?limit=2&after={first['next']}")).json
    last = (await client("GET", f"/v1/alerts?limit=2&after={second['next']}")).json
    names = [[one["name"] for one in page["data"]] for page in (first, second, last)]
    assert names == [["n4", "n3"], ["n2", "n1"], ["n0"]]
    assert (last["has_more"], last["next"]) == (False, None)
    back = (await client("GET", f"/v1/alerts?limit=2&before={last['data'][0]['id']}")).json
    assert [one["name"] for one in back["data"]] == ["n2", "n1"]
    wrong = await client("GET", "/v1/alerts?after=evt_" + "0" * 26)
    assert (wrong.status, wrong.json["errors"][0]["pointer"]) == (400, "/query/after")


async def test_webhook_that_proves_nothing_gets_401_and_one_that_says_nothing_400(client, world):
    token = await client.source("am", "alertmanager")
    refused = await client("POST", "/v1/alerts/in/am", CAPTURED[0]["body"], token="tok123")
    assert (refused.status, refused.headers[b"www-authenticate"]) == (401, b"Bearer")
    assert (await client("POST", "/v1/alerts/in/nobody", {}, token=token)).status == 401
    unread = await client("POST", "/v1/alerts/in/am", {"version": "4", "alerts": [{}]}, token=token)
    assert (unread.status, unread.json["errors"][0]["pointer"]) == (400, "/alerts/0/status")
    assert (await client("POST", "/v1/alerts/in/am", b"\xff\xfe", token=token)).status == 400
    assert (await client("GET", "/v1/alerts")).json["data"] == []
    assert world.webhooks() == {
        ("alertmanager", "unauthenticated"): 1, ("unknown", "unauthenticated"): 1, ("alertmanager", "invalid"): 2,
    }  # fmt: skip


async def test_sns_message_is_taken_as_the_plain_text_that_amazon_says_it_is(client, world):
    command = {"id": "aws", "name": "AWS", "format": "cloudwatch", "proof": "sns", "topic_arn": TOPIC}
    made = await client("POST", "/v1/alert_sources", command)
    assert (made.status, "token" in made.json) == (201, False)
    body = world.sns_body("x", kind="SubscriptionConfirmation")
    answer = await client("POST", "/v1/alerts/in/aws", body, kind="text/plain; charset=UTF-8")
    assert (answer.status, answer.json["result"]) == (202, "confirmed")


async def test_rules_are_tried_then_put_in_force_and_do_the_same(client, world):
    token = await client.source("g", "generic")
    body = {"name": "n", "status": "firing"}
    await client("POST", "/v1/alerts/in/g", body, token=token)
    world.clock.advance(1)
    tried = await client("POST", "/v1/alert_rules/dry_run", {"rules": [SILENCE]}, token="reader")
    assert tried.status == 200
    assert (tried.json["outcomes"], tried.json["acted"]) == ({"silenced": 1}, {"quiet": 1})
    assert (await client("GET", "/v1/alert_rules")).json["version"] == 0
    put = await client("PUT", "/v1/alert_rules", {"version": 0, "rules": [SILENCE]})
    assert (put.status, put.json["version"], put.json["updated_by"]) == (200, 1, "ada")
    assert (await client("GET", "/v1/alert_rules")).json == put.json
    assert put.json["rules"][0]["action"] == SILENCE["action"]
    overtaken = await client("PUT", "/v1/alert_rules", {"version": 0, "rules": []})
    assert (overtaken.status, overtaken.json["code"]) == (409, "rules_changed")
    await client("POST", "/v1/alerts/in/g", body, token=token)
    assert [one["state"] for one in (await client("GET", "/v1/alerts")).json["data"]] == ["silenced"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/alert_rules", {"version": 0, "rules": [SILENCE | {"action": {"type": "erase"}}]}),
        ("PUT", "/v1/alert_rules", {"rules": []}),
        ("PUT", "/v1/alert_rules", {"version": 0, "rules": [SILENCE, SILENCE]}),
        ("POST", "/v1/alert_sources", {"id": "A B", "name": "x", "format": "generic", "proof": "bearer"}),
        ("POST", "/v1/alert_sources", {"id": "a", "name": "x", "format": "generic", "proof": "sns"}),
        ("POST", "/v1/alert_sources", {"id": "a", "name": "x", "format": "generic", "proof": "bearer", "more": 1}),
        ("POST", "/v1/alerts/alr_00000000000000000000000000/assign", {}),
        ("POST", "/v1/alerts/alr_00000000000000000000000000/resolve", {"note": 1}),
    ],
)
async def test_command_of_a_wrong_form_is_refused_and_leaves_no_trace(client, world, method, path, body):
    answer = await client(method, path, body)
    assert answer.status == 400
    assert answer.json["errors"]
    assert world.items() == {}


async def test_reading_and_writing_need_their_scopes(client):
    alert = "/v1/alerts/alr_00000000000000000000000000"
    reads = ["/v1/alerts", alert, "/v1/alert_rules", "/v1/alert_sources"]
    assert {(await client("GET", path, token="payer")).status for path in reads} == {403}
    assert (await client("GET", "/v1/alerts", token="reader")).status == 200
    writes = [
        ("POST", f"{alert}/acknowledge", {}),
        ("POST", f"{alert}/assign", {"assignee": "bob"}),
        ("POST", f"{alert}/resolve", {}),
        ("PUT", "/v1/alert_rules", {"version": 0, "rules": []}),
        ("POST", "/v1/alert_sources", {}),
        ("DELETE", "/v1/alert_sources/am", None),
    ]
    assert {(await client(method, path, body, token="reader")).status for method, path, body in writes} == {403}
    assert (await client("GET", alert)).status == 404


async def test_sources_are_listed_without_their_tokens_and_deleted(client):
    token = await client.source("am", "alertmanager")
    listed = await client("GET", "/v1/alert_sources", token="reader")
    assert [one["path"] for one in listed.json["data"]] == ["/v1/alerts/in/am"]
    assert token.encode() not in listed.body
    assert (await client("DELETE", "/v1/alert_sources/am")).status == 204
    assert (await client("DELETE", "/v1/alert_sources/am")).status == 404
    assert (await client("POST", "/v1/alerts/in/am", CAPTURED[0]["body"], token=token)).status == 401


def test_document_describes_every_route_and_the_rules():
    document = openapi_document(alert_routes(None))
    assert sum(len(methods) for methods in document["paths"].values()) == 12
    actions = document["components"]["schemas"]["AlertRule"]["properties"]["action"]["discriminator"]["mapping"]
    assert sorted(actions) == [
        "deduplicate", "group", "maintenance", "set_severity", "silence", "threshold", "weekly_maintenance",
    ]  # fmt: skip
