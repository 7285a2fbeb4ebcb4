"""Repairs over HTTP: planned, asked for by one client, approved by another."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from interlock.bootstrap import Platform
from interlock.core.desk.bulk.model import REASON_MAX
from interlock.core.desk.explain.search import find_row
from interlock.core.desk.repair.handlers import ask_for_repair, decide_repair, stop_repair
from interlock.core.desk.repair.model import ITEMS_MAX, Action, Item, Planned, Repair
from interlock.core.desk.repair.planning import as_seen, plan
from interlock.core.desk.repair.records import REPAIR, list_repairs, load_page, see_repair
from interlock.core.kernel.errors import Fault, Invalid, NotFound
from interlock.core.kernel.ids import PaymentId, id_pattern
from interlock.entrypoints.http.desk_route import APPROVE, asker, reads, writes
from interlock.entrypoints.http.routing import Answer, Call, Route

REPAIR_PATH = {"id": id_pattern(REPAIR)}
SEEN_MAX = 2**53
ASKED_BYTES_MAX = 160 * ITEMS_MAX + 16_384
"""Every item with spaces between, and a reason of characters that are written with escapes."""


class RepairBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    action: Action
    payments: Annotated[tuple[PaymentId, ...], Meta(min_length=1, max_length=ITEMS_MAX)]


class SeenItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One payment as a plan showed it."""

    payment: PaymentId
    version: Annotated[int, Meta(ge=0, le=SEEN_MAX)]
    amount: Annotated[int, Meta(ge=0, le=SEEN_MAX)]


class AskBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    action: Action
    items: Annotated[tuple[SeenItem, ...], Meta(min_length=1, max_length=ITEMS_MAX)]
    """Nothing is planned again: what has changed since is skipped when its turn comes, with the reason."""
    reason: Annotated[str, Meta(min_length=1, max_length=REASON_MAX)]


class RepairView(msgspec.Struct, frozen=True):
    repair: Repair
    items: list[Item]
    """Of the page asked for."""


class RepairsView(msgspec.Struct, frozen=True):
    data: list[Repair]


class PageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    page: Annotated[int, Meta(ge=1, le=100)] = 1


def repair_routes(platform: Platform) -> tuple[Route, ...]:
    store = platform.storage.store

    async def planned(call: Call) -> Answer:
        body: RepairBody = call.body
        return Answer(200, await plan(platform.desk.repairs, body.action, _rows(platform, body.payments)))

    async def ask(call: Call) -> Answer:
        body: AskBody = call.body
        seen = {one.payment: one for one in body.items}
        rows = [row async for row in _rows(platform, tuple(seen))]
        if len(rows) != len(body.items):
            raise Invalid(faults=(Fault("/items", "repeated", "each payment once"),))
        items = [as_seen(row, version=seen[row.id].version, amount=seen[row.id].amount) for row in rows]
        repair = await ask_for_repair(platform.desk.repairs, body.action, items, reason=body.reason, by=asker(call))
        return Answer(201, repair)

    async def every(call: Call) -> Answer:
        return Answer(200, RepairsView(await list_repairs(store, limit=100)))

    async def one(call: Call) -> Answer:
        query: PageQuery = call.query
        repair = await see_repair(store, call.path_params["id"])
        items, _ = await load_page(store, repair.id, query.page - 1)
        return Answer(200, RepairView(repair, items))

    async def decide(call: Call, *, approve: bool) -> Answer:
        repair = call.path_params["id"]
        return Answer(200, await decide_repair(platform.desk.repairs, repair, by=asker(call), approve=approve))

    async def approve(call: Call) -> Answer:
        return await decide(call, approve=True)

    async def reject(call: Call) -> Answer:
        return await decide(call, approve=False)

    async def stop(call: Call) -> Answer:
        return Answer(200, await stop_repair(platform.desk.repairs, call.path_params["id"], by=asker(call)))

    return (
        writes(
            "/v1/desk/repairs/plan",
            "planRepair",
            "What a repair would do; nothing is done",
            planned,
            {200: Planned},
            body=RepairBody,
            problems=(404, 503),
        ),
        writes(
            "/v1/desk/repairs",
            "askForRepair",
            "Ask for a repair of what a plan showed; another client approves it",
            ask,
            {201: Repair},
            body=AskBody,
            body_bytes_max=ASKED_BYTES_MAX,
            problems=(404, 503),
        ),
        reads("/v1/desk/repairs", "listRepairs", "Repairs, newest first", every, RepairsView),
        reads(
            "/v1/desk/repairs/{id}",
            "getRepair",
            "A repair with a page of its payments",
            one,
            RepairView,
            path_patterns=REPAIR_PATH,
            query=PageQuery,
        ),
        writes(
            "/v1/desk/repairs/{id}/approve",
            "approveRepair",
            "Approve a repair that another client asked for",
            approve,
            {200: Repair},
            scope=APPROVE,
            path_patterns=REPAIR_PATH,
            problems=(409, 503),
        ),
        writes(
            "/v1/desk/repairs/{id}/reject",
            "rejectRepair",
            "Reject a repair: nothing is done",
            reject,
            {200: Repair},
            scope=APPROVE,
            path_patterns=REPAIR_PATH,
            problems=(409, 503),
        ),
        writes(
            "/v1/desk/repairs/{id}/stop",
            "stopRepair",
            "Begin no further payment of a repair",
            stop,
            {200: Repair},
            path_patterns=REPAIR_PATH,
            problems=(409, 503),
        ),
    )


async def _rows(platform: Platform, payments: tuple[str, ...]) -> Any:
    for payment in payments:
        row = await find_row(platform.storage.documents, payment)
        if row is None:
            raise NotFound(f"there is no payment {payment}")
        yield row
