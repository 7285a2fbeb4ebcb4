"""The desk over HTTP: find payments, see how they go, what is at risk and what an incident touched; ask in SQL.

Who has these scopes sees every merchant's payments: they are for the platform's own people and programs.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from interlock.bootstrap import Platform
from interlock.core.desk.explain.bundle import bundle_of, encode_bundle
from interlock.core.desk.explain.model import Explained
from interlock.core.desk.explain.search import find_row, search
from interlock.core.desk.figures.model import PaymentRow
from interlock.core.desk.localisation.handlers import WINDOW, find_causes
from interlock.core.desk.localisation.views import FindingView, finding_view
from interlock.core.desk.overview.handlers import RANGE_MAX, look
from interlock.core.desk.overview.model import Overview
from interlock.core.desk.queries.following import want
from interlock.core.desk.queries.handlers import run_query
from interlock.core.desk.queries.model import SQL_MAX
from interlock.core.desk.risk.commands import ExplainFinding
from interlock.core.desk.risk.handlers import at_risk, blast_radius, explain_finding
from interlock.core.desk.risk.model import BlastRadius, Exposure, Filter, Risk, exposures
from interlock.core.desk.risk.records import FINDING, Finding
from interlock.core.kernel import ids
from interlock.core.kernel.clock import DAY, parse_rfc3339, rfc3339
from interlock.core.kernel.errors import Fault, Invalid, NotFound, Unavailable
from interlock.core.kernel.ids import id_pattern
from interlock.core.payments.handlers import load_payment
from interlock.entrypoints.effects import watch_of
from interlock.entrypoints.explain import explain_with_observations
from interlock.entrypoints.http.desk_route import READ, TAGS, reads, writes
from interlock.entrypoints.http.routing import Answer, Call, Route

PAYMENT_PATH = {"id": id_pattern(ids.PAYMENT)}
Text = Annotated[str, Meta(min_length=1, max_length=200)]
Instant = Annotated[str, Meta(max_length=40, extra_json_schema={"format": "date-time"})]


class SearchQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    q: Text
    merchant: Text | None = None


class Found(msgspec.Struct, frozen=True):
    matched: str
    payment: PaymentRow


class SearchView(msgspec.Struct, frozen=True):
    data: list[Found]


class OverviewQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    since: Instant | None = None
    """A day before `until`, if absent."""
    until: Instant | None = None
    merchant: Text | None = None


class CausesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    since: Instant | None = None
    """Three hours before `until`, if absent; at most a day."""
    until: Instant | None = None


class RisksView(msgspec.Struct, frozen=True):
    data: list[Risk]
    exposures: list[Exposure]
    complete: bool
    """False: more wait than are looked at; those of newer payments are missing."""


class QueryBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sql: Annotated[str, Meta(min_length=1, max_length=SQL_MAX)]


class TableView(msgspec.Struct, frozen=True):
    columns: list[dict[str, str]]
    rows: list[list[str | int | float | bool | None]]
    truncated: bool
    seconds: float
    exported_to: str | None
    """When the newest event happened that the answer could know of."""


def desk_routes(platform: Platform) -> tuple[Route, ...]:
    return (*_seeing(platform), *_explaining(platform), *_asking(platform))


def _seeing(platform: Platform) -> tuple[Route, ...]:
    async def find(call: Call) -> Answer:
        query: SearchQuery = call.query
        storage = platform.storage
        hits = await search(
            storage.documents,
            query.q,
            providers=platform.engine.names(),
            now=storage.clock.now(),
            merchant=query.merchant,
        )
        return Answer(200, SearchView([Found(hit.matched, hit.payment) for hit in hits]))

    async def overview(call: Call) -> Answer:
        query: OverviewQuery = call.query
        until = _instant(query.until, platform.storage.clock.now(), "until")
        since = _instant(query.since, until - DAY, "since")
        if not until - RANGE_MAX <= since < until:
            raise Invalid(faults=(Fault("/query/since", "bad_range", "at most 31 days before `until`"),))
        return Answer(200, await look(platform.desk.tallies, since=since, until=until, merchant=query.merchant))

    async def causes(call: Call) -> Answer:
        query: CausesQuery = call.query
        until = _instant(query.until, platform.storage.clock.now(), "until")
        since = _instant(query.since, until - WINDOW, "since")
        found = await find_causes(platform.desk.tallies, platform.desk.past, since=since, until=until)
        return Answer(200, finding_view(found, since=since, until=until))

    async def risks(call: Call) -> Answer:
        found = await at_risk(platform.storage.documents, platform.webhooks, platform.storage.clock.now())
        return Answer(200, RisksView(found.risks, exposures(found.risks), found.complete))

    async def blast(call: Call) -> Answer:
        return Answer(200, await blast_radius(platform.storage.documents, call.body))

    async def explain(call: Call) -> Answer:
        row = await _row(platform, call)
        return Answer(200, await explain_with_observations(platform, row.merchant, row.id))

    async def reproduction(call: Call) -> Answer:
        row = await _row(platform, call)
        held = await load_payment(platform.payments, row.merchant, row.id)
        return Answer(200, encode_bundle(bundle_of(held.payment, await platform.storage.store.history(row.id))))

    return (
        reads(
            "/v1/desk/search",
            "searchPayments",
            "Payments that a text may mean, of every merchant",
            find,
            SearchView,
            query=SearchQuery,
        ),
        reads(
            "/v1/desk/overview",
            "getOverview",
            "How payments go: success, speed and money by provider",
            overview,
            Overview,
            query=OverviewQuery,
        ),
        reads(
            "/v1/desk/causes",
            "findCauses",
            "What explains that fewer authorisations succeed than in the week before",
            causes,
            FindingView,
            query=CausesQuery,
        ),
        reads("/v1/desk/risks", "listRisks", "Payments that need somebody, longest waiting first", risks, RisksView),
        reads(
            "/v1/desk/payments/{id}",
            "explainPayment",
            "Everything about a payment of any merchant",
            explain,
            Explained,
            path_patterns=PAYMENT_PATH,
        ),
        reads(
            "/v1/desk/payments/{id}/reproduction",
            "getReproduction",
            "A payment to tell again elsewhere, without anybody's data",
            reproduction,
            Any,
            path_patterns=PAYMENT_PATH,
        ),
        Route(
            method="POST",
            path="/v1/desk/blast_radius",
            endpoint=blast,
            operation_id="getBlastRadius",
            summary="What a filter or a time window touched; an order tried again counts once",
            scope=READ,
            body=Filter,
            answers={200: BlastRadius},
            problems=(503,),
            tags=TAGS,
            example={"created_from": 1_795_000_000_000, "created_before": 1_795_003_600_000, "provider": "simulator"},
        ),
    )


def _explaining(platform: Platform) -> tuple[Route, ...]:
    async def explain(call: Call) -> Answer:
        watch = watch_of(platform.storage)
        return Answer(200, await explain_finding(watch, call.path_params["id"], call.body, call.request()))

    return (
        writes(
            "/v1/desk/findings/{id}/explain",
            "explainFinding",
            "Say why a provider contradicts: it is at risk no more, until something new is said",
            explain,
            {200: Finding},
            body=ExplainFinding,
            path_patterns={"id": id_pattern(FINDING)},
            problems=(404, 409, 503),
        ),
    )


def _asking(platform: Platform) -> tuple[Route, ...]:
    async def run(call: Call) -> Answer:
        body: QueryBody = call.body
        if platform.desk.queries is None:
            raise Unavailable("SQL for debugging is not installed here", retry_after_s=3600)
        store, now = platform.storage.store, platform.storage.clock.now()
        await want(store, now)
        table = await run_query(platform.desk.queries, body.sql, actor=call.principal.client_id)
        columns = [{"name": one.name, "type": one.type} for one in table.columns]
        exported_to = rfc3339(table.exported_to) if table.exported_to is not None else None
        rows = [list(row) for row in table.rows]
        return Answer(200, TableView(columns, rows, table.truncated, table.cost.seconds, exported_to))

    return (
        writes(
            "/v1/desk/sql",
            "runSql",
            "Read-only SQL over exported payments, events and journals; within limits of time, memory and rows",
            run,
            {200: TableView},
            body=QueryBody,
            problems=(422, 503),
        ),
    )


async def _row(platform: Platform, call: Call) -> PaymentRow:
    row = await find_row(platform.storage.documents, call.path_params["id"])
    if row is None:
        raise NotFound("no such payment, or it has just been made")
    return row


def _instant(text: str | None, otherwise: int, name: str) -> int:
    if text is None:
        return otherwise
    try:
        return parse_rfc3339(text)
    except ValueError:
        raise Invalid(faults=(Fault(f"/query/{name}", "bad_time", "a time is RFC 3339"),)) from None
