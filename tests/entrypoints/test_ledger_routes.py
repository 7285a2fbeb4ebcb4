from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import urlencode

import jsonschema
import msgspec
import pytest

from interlock.backends.memory.documents import MemoryDocuments
from interlock.core.access.model import Principal
from interlock.core.access.rates import Allowance
from interlock.core.kernel.clock import DAY, HOUR, rfc3339
from interlock.core.kernel.errors import Unauthenticated
from interlock.core.ledger.accounts import account_id
from interlock.core.ledger.projection import JOURNALS, fold, project
from interlock.entrypoints.http.app import Edge, HttpApp
from interlock.entrypoints.http.ledger_routes import ledger_routes
from interlock.entrypoints.http.openapi import loose_patterns, openapi_document
from tests.clocks import ManualClock
from tests.core.ledger.books import T0, make, memory, write
from tests.telemetry import RecordingTelemetry

CAPTURE = make(1, "capture", 1999, payment=1)
REFUND = make(2, "refund_reserved", 500, payment=1, at=T0 + HOUR)
YEN = make(3, "capture", 1500, payment=2, currency="JPY", at=T0 + DAY)
FOREIGN = make(4, "capture", 77, payment=3, tenant="ten_b")
PAYABLE = account_id("ten_a", "merchant_payable", "EUR")


class Reply(NamedTuple):
    status: int
    json: Any


class Desk:
    """The three routes over memory adapters, spoken to without a socket."""

    def __init__(self) -> None:
        self.store, self.documents = memory(), MemoryDocuments([JOURNALS])
        self.clock = ManualClock(T0 + 2 * DAY)
        self.routes = ledger_routes(self.store, self.documents, self.clock)
        edge = Edge(
            self._authenticate,
            lambda client: Allowance(True, 100, 99, 0.25, 0),
            RecordingTelemetry(),
            SimpleNamespace(new=lambda prefix: f"{prefix}_1"),
        )
        self.app = HttpApp(self.routes, edge)

    async def _authenticate(self, authorization: str) -> Principal:
        tokens = {
            "Bearer a": ("ten_a", {"ledger:read"}),
            "Bearer b": ("ten_b", {"ledger:read"}),
            "Bearer poor": ("ten_a", {"payments:read"}),
        }
        if authorization not in tokens:
            raise Unauthenticated("no such token")
        tenant, scopes = tokens[authorization]
        return Principal("cli_1", tenant, frozenset(scopes), "tok", 0)

    async def book(self, *journals) -> None:
        events = await write(self.store, journals)
        await fold(self.store, events)
        await project(self.documents, events)

    async def get(self, path: str, token: str = "a", **query: Any) -> Reply:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": urlencode(query).encode(),
            "headers": [(b"authorization", f"Bearer {token}".encode())],
        }
        await self.app(scope, receive, send)
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return Reply(sent[0]["status"], msgspec.json.decode(body))


@pytest.fixture
async def desk() -> Desk:
    desk = Desk()
    await desk.book(CAPTURE, REFUND, YEN, FOREIGN)
    return desk


def by_code(answer: Any) -> dict[tuple[str, str], int]:
    return {(line["code"], line["currency"]): line["balance"] for line in answer["data"]}


async def test_balances_are_positive_on_the_normal_side_of_each_account(desk):
    reply = await desk.get("/v1/balances")
    assert reply.status == 200
    assert by_code(reply.json) == {
        ("merchant_payable", "EUR"): 1499,
        ("provider_receivable:simulator_a", "EUR"): 1999,
        ("refunds_reserved", "EUR"): 500,
        ("merchant_payable", "JPY"): 1500,
        ("provider_receivable:simulator_a", "JPY"): 1500,
    }
    assert reply.json["as_of"] == rfc3339(YEN.at)
    assert reply.json["data"][0] == {
        "account": PAYABLE,
        "code": "merchant_payable",
        "currency": "EUR",
        "normal_side": "credit",
        "balance": 1499,
        "debits": 500,
        "credits": 1999,
    }


async def test_balances_at_an_instant_include_that_instant_and_nothing_later(desk):
    before = await desk.get("/v1/balances", at=rfc3339(REFUND.at - 1))
    on_time = await desk.get("/v1/balances", at="2027-01-15T10:00:00+01:00")
    assert by_code(before.json)["merchant_payable", "EUR"] == 1999
    assert by_code(on_time.json)["merchant_payable", "EUR"] == 1499
    assert on_time.json["as_of"] == "2027-01-15T09:00:00.000Z"
    assert ("merchant_payable", "JPY") not in by_code(on_time.json)


async def test_balances_of_an_instant_to_come_are_as_of_now(desk):
    reply = await desk.get("/v1/balances", at="9999-01-01T00:00:00Z")
    assert reply.json["as_of"] == rfc3339(desk.clock.now())
    assert by_code(reply.json) == by_code((await desk.get("/v1/balances")).json)


async def test_balances_before_anything_are_empty(desk):
    for at in ("0001-01-01T00:00:00+14:00", "2027-01-15T07:59:59.999Z"):
        assert (await desk.get("/v1/balances", at=at)).json["data"] == []


@pytest.mark.parametrize(
    "at", ["", "yesterday", "2027-01-15", "2027-01-15T08:00:00", "2027-02-30T00:00:00Z", "1800000000"]
)
async def test_instant_that_is_no_rfc_3339_time_is_refused_by_name(desk, at):
    reply = await desk.get("/v1/balances", at=at)
    assert reply.status == 400
    assert reply.json["errors"][0]["pointer"] == "/query/at"


async def test_balances_of_nothing_are_empty_and_as_of_nothing():
    reply = await Desk().get("/v1/balances")
    assert reply == (200, {"object": "balances", "as_of": None, "data": []})


async def test_balance_beyond_64_bits_goes_out_digit_by_digit():
    desk = Desk()
    await desk.book(*(make(n, amount=2**63 - 1) for n in range(3)))
    assert by_code((await desk.get("/v1/balances")).json)["merchant_payable", "EUR"] == 3 * (2**63 - 1)


async def test_one_tenant_sees_nothing_of_another(desk):
    assert by_code((await desk.get("/v1/balances", "b")).json)["merchant_payable", "EUR"] == 77
    assert [line["id"] for line in (await desk.get("/v1/ledger/journals", "b")).json["data"]] == [FOREIGN.id]
    assert (await desk.get("/v1/ledger/journals", "b", account=PAYABLE)).json["data"] == []
    assert (await desk.get("/v1/ledger/journals", "b", payment=CAPTURE.payment)).json["data"] == []
    assert len((await desk.get("/v1/ledger/accounts", "b")).json["data"]) == 2


@pytest.mark.parametrize("path", ["/v1/balances", "/v1/ledger/accounts", "/v1/ledger/journals"])
async def test_ledger_needs_its_scope(desk, path):
    assert (await desk.get(path, "nobody")).status == 401
    assert (await desk.get(path, "poor")).status == 403
    assert (await desk.get(path, surprise=1)).json["errors"][0]["pointer"] == "/query/surprise"


async def test_accounts_say_type_side_and_provider(desk):
    reply = await desk.get("/v1/ledger/accounts")
    assert [(line["code"], line["currency"]) for line in reply.json["data"]] == [
        ("merchant_payable", "EUR"),
        ("provider_receivable:simulator_a", "EUR"),
        ("refunds_reserved", "EUR"),
        ("merchant_payable", "JPY"),
        ("provider_receivable:simulator_a", "JPY"),
    ]
    assert reply.json["data"][1] == {
        "id": account_id("ten_a", "provider_receivable:simulator_a", "EUR"),
        "object": "account",
        "code": "provider_receivable:simulator_a",
        "type": "asset",
        "normal_side": "debit",
        "currency": "EUR",
        "provider": "simulator_a",
        "description": "What a provider holds and owes us.",
    }


@pytest.mark.parametrize(("path", "expected"), [("/v1/ledger/accounts", 5), ("/v1/ledger/journals", 3)])
async def test_pages_forwards_and_backwards_show_everything_once(desk, path, expected):
    everything = (await desk.get(path)).json["data"]
    assert len(everything) == expected
    seen, query = [], {}
    while True:
        page = (await desk.get(path, limit=2, **query)).json
        seen += page["data"]
        assert page["has_more"] == (page["next"] is not None)
        if page["next"] is None:
            break
        query = {"after": page["next"]}
    assert seen == everything
    seen, query = [everything[-1]], {"before": everything[-1]["id"]}
    while True:
        page = (await desk.get(path, limit=2, **query)).json
        seen = page["data"] + seen
        if page["next"] is None:
            break
        query = {"before": page["next"]}
    assert seen == everything


async def test_cursor_of_no_account_here_ends_the_list(desk):
    elsewhere = account_id("ten_b", "fees", "USD")
    assert (await desk.get("/v1/ledger/accounts", after=elsewhere)).json == {
        "data": [],
        "has_more": False,
        "next": None,
    }


async def test_journals_are_listed_newest_first_with_their_postings(desk):
    reply = await desk.get("/v1/ledger/journals")
    assert [line["id"] for line in reply.json["data"]] == [YEN.id, REFUND.id, CAPTURE.id]
    assert reply.json["data"][2] == {
        "id": CAPTURE.id,
        "object": "journal",
        "kind": "capture",
        "currency": "EUR",
        "payment": CAPTURE.payment,
        "reference": CAPTURE.reference,
        "postings": [
            {
                "account": account_id("ten_a", "provider_receivable:simulator_a", "EUR"),
                "code": "provider_receivable:simulator_a",
                "side": "debit",
                "amount": 1999,
            },
            {"account": PAYABLE, "code": "merchant_payable", "side": "credit", "amount": 1999},
        ],
        "created_at": "2027-01-15T08:00:00.000Z",
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"account": PAYABLE}, [REFUND, CAPTURE]),
        ({"account": PAYABLE, "limit": 1}, [REFUND]),
        ({"account": account_id("ten_a", "fees", "EUR")}, []),
        ({"payment": CAPTURE.payment}, [REFUND, CAPTURE]),
        ({"payment": CAPTURE.payment, "account": account_id("ten_a", "refunds_reserved", "EUR")}, [REFUND]),
        ({"day": "2027-01-16"}, [YEN]),
        ({"day": "2027-01-14"}, []),
        ({"before": CAPTURE.id, "account": PAYABLE}, [REFUND]),
    ],
)
async def test_journals_are_filtered_by_account_payment_and_day(desk, query, expected):
    reply = await desk.get("/v1/ledger/journals", **query)
    assert [line["id"] for line in reply.json["data"]] == [journal.id for journal in expected]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("account", "acc_" + "z" * 26),
        ("account", "merchant_payable"),
        ("payment", CAPTURE.id),
        ("day", "2027-02-30"),
        ("day", "today"),
        ("limit", "0"),
        ("limit", "101"),
        ("after", "x"),
    ],
)
async def test_filter_that_cannot_match_anything_is_refused_by_name(desk, name, value):
    reply = await desk.get("/v1/ledger/journals", **{name: value})
    assert reply.status == 400
    assert reply.json["errors"][0]["pointer"] == f"/query/{name}"


async def test_answers_are_what_the_document_says(desk):
    document = openapi_document(desk.routes)
    assert loose_patterns(desk.routes) == []
    for path in ("/v1/balances", "/v1/ledger/accounts", "/v1/ledger/journals"):
        schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        reply = await desk.get(path)
        jsonschema.validate(reply.json, {**schema, "components": document["components"]})
