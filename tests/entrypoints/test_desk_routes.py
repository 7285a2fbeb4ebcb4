"""The desk over HTTP and GraphQL, at a real platform with a simulated provider beside it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from interlock.core.desk.risk.looking import prove
from interlock.core.desk.risk.model import Kind
from interlock.core.desk.risk.records import Finding, open_write
from interlock.core.kernel.store import Delete
from interlock.core.ledger.records import journal_key, journal_of, journal_write
from interlock.entrypoints.effects import watch_of
from interlock.entrypoints.http import graphql_schema
from tests.entrypoints.api.beside import CARD, beside

SALE = {"amount": 1999, "currency": "EUR", "payment_method": CARD, "reference": "order-17", "customer": "cus_9"}


@asynccontextmanager
async def sold(folder):
    """A payment that the desk has heard of."""
    async with beside(folder) as world:
        status, _, payment = await world.ask_whole("POST", "/v1/payments", SALE, key="sale")
        assert status == 201, payment
        async with asyncio.timeout(20):
            while not (await world.ask_whole("GET", f"/v1/desk/search?q={payment['id']}"))[2]["data"]:
                await asyncio.sleep(0.05)
        yield world, payment


async def journals_of(store, payment):
    return [one for event in await store.history(payment) if (one := journal_of(event)) is not None]


async def graphql(world, query: str, **more):
    status, _, answer = await world.ask_whole("POST", "/v1/graphql", {"query": query} | more)
    return status, answer


async def test_payment_is_found_explained_counted_and_bundled(tmp_path):
    async with sold(tmp_path) as (world, payment):
        _, _, found = await world.ask_whole("GET", "/v1/desk/search?q=order-17")
        assert [(one["matched"], one["payment"]["id"]) for one in found["data"]] == [("reference", payment["id"])]
        _, _, story = await world.ask_whole("GET", f"/v1/desk/payments/{payment['id']}")
        assert (story["state"], story["may"]) == ("succeeded", ["refund"])
        assert {"event", "exchange", "journal"} <= {entry["kind"] for entry in story["entries"]}
        _, _, seen = await world.ask_whole("GET", "/v1/desk/overview")
        assert [(one["currency"], one["payments"], one["amount"]) for one in seen["flows"]] == [("EUR", 1, 1999)]
        _, _, bundle = await world.ask_whole("GET", f"/v1/desk/payments/{payment['id']}/reproduction")
        assert bundle["ends"]["captured"] == 1999
        assert "order-17" not in str(bundle) and "cus_9" not in str(bundle)
        wanted = {"created_from": 0, "created_before": 2**45, "currency": "EUR"}
        _, _, touched = await world.ask_whole("POST", "/v1/desk/blast_radius", wanted)
        assert (touched["payments"], touched["orders"], touched["touched"][0]["amount"]) == (1, 1, 1999)
        _, _, risks = await world.ask_whole("GET", "/v1/desk/risks")
        assert risks == {"data": [], "exposures": [], "complete": True}


async def test_payment_whose_journal_is_lost_is_at_risk_until_it_is_back(tmp_path):
    async with sold(tmp_path) as (world, payment):
        storage = world.node.platform.storage
        async with asyncio.timeout(20):
            while not (journals := await journals_of(storage.store, payment["id"])):
                await asyncio.sleep(0.05)
        (journal,) = journals
        item = await storage.store.get(journal_key(journal))
        await storage.store.commit([Delete(item.key, item.version)])
        report = await prove(watch_of(storage), storage.histories)
        assert not report.sound
        _, _, seen = await world.ask_whole("GET", "/v1/desk/risks")
        (risk,) = seen["data"]
        assert (risk["kind"], risk["payment"], risk["amount"]) == ("captured_not_posted", payment["id"], 1999)
        assert seen["exposures"] == [{"merchant": risk["merchant"], "currency": "EUR", "amount": 1999, "payments": 1}]
        _, answer = await graphql(world, "{ risks { kind payment amount detail finding } }")
        (same,) = answer["data"]["risks"]
        assert (same["kind"], same["finding"]) == ("captured_not_posted", risk["finding"])
        assert journal.id in same["detail"]
        path = f"/v1/desk/findings/{risk['finding']}/explain"
        status, _, refused = await world.ask_whole("POST", path, {"reason": "it is fine"})
        assert (status, refused["code"]) == (409, "not_explainable")
        await storage.store.commit([journal_write(journal)])
        assert (await prove(watch_of(storage), storage.histories)).sound
        assert (await world.ask_whole("GET", "/v1/desk/risks"))[2] == {"data": [], "exposures": [], "complete": True}


async def test_contradiction_of_a_provider_is_explained_over_http_once(tmp_path):
    async with sold(tmp_path) as (world, _):
        store, now = world.node.platform.storage.store, world.node.platform.storage.clock.now()
        whose = {"merchant": "ten_1", "amount": 2099, "currency": "EUR", "provider": "simulator"}
        found = Finding(
            kind=Kind.DRIFT, subject="stranger", about="x/y", payment="", since=now, seen="evt_1", detail="d", **whose
        )
        await store.commit([open_write(found)])
        path = f"/v1/desk/findings/{found.id}/explain"
        for body, status in (
            ({"reason": " "}, 400),
            ({"reason": "a test charge of theirs"}, 200),
            ({"reason": "x"}, 404),
        ):
            answered, _, answer = await world.ask_whole("POST", path, body)
            assert answered == status, answer
        assert (await world.ask_whole("GET", "/v1/desk/risks"))[2]["data"] == []
        reader = await world.node.log_in(scopes=("desk:read",))
        assert (await world.ask_whole("POST", path, {"reason": "x"}, token=reader))[0] == 403


async def test_causes_are_asked_for_a_window_and_refused_for_one_that_is_none(tmp_path):
    async with sold(tmp_path) as (world, _):
        _, _, found = await world.ask_whole("GET", "/v1/desk/causes")
        assert (found["verdict"], found["drop"]["now_total"], found["causes"]) == ("calm", 1, [])
        assert found["statement"].endswith("nothing to compare with")
        for window in ("since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "since=2026-01-01T00:00:00Z"):
            status, _, refused = await world.ask_whole("GET", f"/v1/desk/causes?{window}")
            assert (status, [fault["code"] for fault in refused["errors"]]) == (400, ["bad_range"])


async def test_repair_over_http_is_approved_by_another_client_only(tmp_path):
    async with sold(tmp_path) as (world, payment):
        plan = {"action": "refund", "payments": [payment["id"]]}
        _, _, planned = await world.ask_whole("POST", "/v1/desk/repairs/plan", plan)
        assert [(one["payment"], one["amount"]) for one in planned["items"]] == [(payment["id"], 1999)]
        (seen,) = ({name: one[name] for name in ("payment", "version", "amount")} for one in planned["items"])
        ask = {"action": "refund", "items": [seen, seen], "reason": "charged twice"}
        status, _, refused = await world.ask_whole("POST", "/v1/desk/repairs", ask)
        assert (status, refused["errors"][0]["code"]) == (400, "repeated")
        status, _, repair = await world.ask_whole("POST", "/v1/desk/repairs", ask | {"items": [seen]})
        assert (status, repair["stage"]) == (201, "waiting")
        path = f"/v1/desk/repairs/{repair['id']}"
        status, _, refused = await world.ask_whole("POST", f"{path}/approve")
        assert (status, refused["code"]) == (403, "own_request")
        writer = await world.node.log_in(scopes=["desk:read", "desk:write"])
        status, _, refused = await world.ask_whole("POST", f"{path}/approve", token=writer)
        assert (status, refused["code"]) == (403, "insufficient_scope")
        other = await world.node.log_in(scopes=["desk:approve"])
        status, _, approved = await world.ask_whole("POST", f"{path}/approve", token=other)
        assert (status, approved.get("stage")) == (200, "approved"), approved
        async with asyncio.timeout(30):
            while (await world.ask_whole("GET", path))[2]["repair"]["stage"] != "done":
                await asyncio.sleep(0.1)
        _, _, held = await world.ask_whole("GET", f"/v1/payments/{payment['id']}")
        assert held["amount_refunded"] == 1999


async def test_graphql_answers_what_is_asked_and_nothing_more(tmp_path):
    async with sold(tmp_path) as (world, payment):
        query = "query One($id: ID!) { payment(id: $id) { status amount merchant timeline { kind } } }"
        status, answer = await graphql(world, query, variables={"id": payment["id"]}, operationName="One")
        assert (status, answer["errors"]) == (200, None)
        found = answer["data"]["payment"]
        assert (found["status"], found["amount"]) == ("succeeded", 1999)
        assert {entry["kind"] for entry in found["timeline"]} >= {"event", "journal"}
        _, page = await graphql(world, "{ payments(first: 1) { nodes { id } next } }")
        assert page["data"]["payments"] == {"nodes": [{"id": payment["id"]}], "next": None}
        _, nobody = await graphql(world, '{ payment(id: "pay_none") { id } }')
        assert nobody["data"] == {"payment": None}


async def test_graphql_changes_nothing_and_goes_no_deeper_than_it_may(tmp_path):
    async with sold(tmp_path) as (world, _):
        for query, word in (
            ("mutation { refund }", "mutation"),
            ("{ nope }", "nope"),
            ("{" + " ".join(f"a{n}: risks {{ kind }}" for n in range(30)) + "}", "aliases"),
            ("{" + " risks { kind }" * 900 + "}", "tokens"),
        ):
            status, answer = await graphql(world, query)
            assert status == 200 and answer["data"] is None
            assert word in answer["errors"][0]["message"].lower(), answer["errors"]
        status, refused = await graphql(world, "{ risks { kind } }", operationName="Other")
        assert (status, refused["errors"][0]["pointer"]) == (400, "/operationName")
        reader = await world.node.log_in(scopes=("payments:read",))
        status, _, _ = await world.ask_whole("POST", "/v1/graphql", {"query": "{ risks { kind } }"}, token=reader)
        assert status == 403


async def test_graphql_tells_no_more_stories_than_it_may(tmp_path, monkeypatch):
    monkeypatch.setattr(graphql_schema, "STORIES_MAX", 2)
    async with sold(tmp_path) as (world, _):
        query = "{ payments { nodes { a: timeline { kind } b: timeline { kind } c: timeline { kind } } } }"
        status, answer = await graphql(world, query)
        assert (status, answer["data"]) == (200, None)
        assert [error["message"] for error in answer["errors"]] == ["no more than 2 timelines at once"]
        _, answer = await graphql(world, query.replace("c: timeline { kind }", ""))
        assert answer["errors"] is None


async def test_objectives_are_put_read_and_refused_with_the_line(tmp_path):
    async with sold(tmp_path) as (world, _):
        _, _, empty = await world.ask_whole("GET", "/v1/slos")
        assert empty == {"version": 0, "data": []}
        status, _, refused = await world.ask_whole("PUT", "/v1/slos", {"text": "kind: Nothing"})
        assert status == 400 and "line 1" in refused["errors"][0]["detail"]


async def test_sql_over_http_is_read_only_and_within_limits(tmp_path):
    async with sold(tmp_path) as (world, _):
        status, _, table = await world.ask_whole("POST", "/v1/desk/sql", {"sql": "SELECT 1 + 1 AS two"})
        assert (status, table["rows"], table["columns"][0]["name"]) == (200, [[2]], "two")
        status, _, refused = await world.ask_whole("POST", "/v1/desk/sql", {"sql": "COPY payments TO '/tmp/x'"})
        assert (status, refused["code"]) == (400, "sql_not_allowed")


async def test_replay_over_http_is_previewed_carried_out_and_paused_stopped_or_approved_by_another_client(tmp_path):
    async with sold(tmp_path) as (world, payment):
        hook = {"url": "http://127.0.0.1:9/hook", "events": ["*"]}
        for _ in range(4):
            assert (await world.ask_whole("POST", "/v1/webhook_endpoints", hook))[0] == 201
        wanted = {"kind": "events", "group": "webhooks", "payment": payment["id"]}
        _, _, planned = await world.ask_whole("POST", "/v1/desk/replays/plan", {"wanted": wanted})
        assert planned["items"] == len(planned["first"]) >= 2
        assert planned["needs_approval"] is True and planned["by_merchant"][0]["name"] == planned["wanted"]["merchant"]
        ask = {"wanted": wanted, "rate": 50, "reason": "they were not subscribed yet"}
        status, _, replay = await world.ask_whole("POST", "/v1/desk/replays", ask)
        assert (status, replay["stage"], replay["items"]) == (201, "waiting", planned["items"])
        path = f"/v1/desk/replays/{replay['id']}"
        status, _, refused = await world.ask_whole("POST", f"{path}/approve")
        assert (status, refused["code"]) == (403, "own_request")
        other = await world.node.log_in()
        assert (await world.ask_whole("POST", f"{path}/approve", token=other))[2]["stage"] == "approved"
        async with asyncio.timeout(30):
            while (held := (await world.ask_whole("GET", path))[2])["stage"] != "done":
                await asyncio.sleep(0.1)
        assert (held["done"], held["skipped"], held["failed"]) == (replay["items"], 0, 0)
        _, _, deliveries = await world.ask_whole("GET", "/v1/webhook_deliveries")
        assert len(deliveries["data"]) >= 4
        # One a second, so that there is time to pause and stop it.
        again = {"wanted": {"kind": "webhooks"}, "rate": 1, "reason": "once more"}
        status, _, slow = await world.ask_whole("POST", "/v1/desk/replays", again)
        assert (status, slow["stage"]) == (201, "approved")
        path = f"/v1/desk/replays/{slow['id']}"
        for verb, stage in (("pause", "paused"), ("continue", "approved"), ("pause", "paused"), ("stop", "stopped")):
            status, _, moved = await world.ask_whole("POST", f"{path}/{verb}")
            assert (status, moved["stage"]) == (200, stage)
        status, _, refused = await world.ask_whole("POST", f"{path}/continue")
        assert (status, refused["code"]) == (409, "replay_decided")
        _, _, every = await world.ask_whole("GET", "/v1/desk/replays")
        assert [one["id"] for one in every["data"]] == [slow["id"], replay["id"]]


async def test_replay_of_nonsense_over_http_is_refused_naming_the_field(tmp_path):
    async with sold(tmp_path) as (world, _):
        for wanted, pointer in (
            ({"kind": "events"}, "/wanted/group"),
            ({"kind": "events", "group": "log"}, "/wanted/group"),
            ({"kind": "dead_letters", "queue": "nope"}, "/wanted/queue"),
            ({"kind": "webhooks", "amount": 3}, "/wanted/amount"),
        ):
            status, _, refused = await world.ask_whole("POST", "/v1/desk/replays/plan", {"wanted": wanted})
            assert (status, refused["errors"][0]["pointer"]) == (400, pointer), refused
        nothing = {"wanted": {"kind": "webhooks", "status": "dead"}, "reason": "x"}
        status, _, refused = await world.ask_whole("POST", "/v1/desk/replays", nothing)
        assert (status, refused["errors"][0]["code"]) == (400, "nothing_fits")
        assert (await world.ask_whole("GET", "/v1/desk/replays"))[2] == {"data": []}


async def test_events_are_told_to_every_group_there_is_over_the_real_file_and_nothing_changes(tmp_path):
    async with sold(tmp_path) as (world, payment):
        other = await world.node.log_in()
        looked_at = ("/v1/balances", f"/v1/payments/{payment['id']}", "/v1/payments", "/v1/ledger/journals")

        async def seen():
            return [(await world.ask_whole("GET", path))[2] for path in looked_at]

        async with asyncio.timeout(20):
            while not (await seen())[0]["data"]:
                await asyncio.sleep(0.05)
        before = await seen()
        for group in ("read_models", "desk", "ledger_balances", "webhooks", "outside"):
            ask = {"wanted": {"kind": "events", "group": group}, "rate": 200, "reason": "to be sure"}
            status, _, replay = await world.ask_whole("POST", "/v1/desk/replays", ask)
            assert (status, replay["stage"]) == (201, "waiting"), replay
            path = f"/v1/desk/replays/{replay['id']}"
            assert (await world.ask_whole("POST", f"{path}/approve", token=other))[0] == 200
            async with asyncio.timeout(30):
                while (held := (await world.ask_whole("GET", path))[2])["stage"] != "done":
                    await asyncio.sleep(0.05)
            assert (held["done"], held["skipped"], held["failed"]) == (replay["items"], 0, 0), group
        assert await seen() == before
