"""What the desk's GraphQL shows: types, and the one schema of them. No mutation, so nothing that is asked changes anything."""

from __future__ import annotations

from typing import Any

import strawberry
from graphql import GraphQLError
from strawberry.extensions import MaskErrors, MaxAliasesLimiter, MaxTokensLimiter, QueryDepthLimiter
from strawberry.schema.exceptions import CannotGetOperationTypeError
from strawberry.types import ExecutionContext, Info

from interlock.bootstrap import Platform
from interlock.core.desk.explain.search import find_row, search
from interlock.core.desk.figures.model import DESK, PAYMENTS, PaymentRow, decode_row
from interlock.core.desk.overview.handlers import look
from interlock.core.desk.risk.handlers import at_risk
from interlock.core.desk.slo.handlers import load_slos, standing
from interlock.core.desk.slo.views import standing_view
from interlock.core.kernel.clock import HOUR, rfc3339
from interlock.core.kernel.errors import Fault, Invalid
from interlock.core.payments.timeline import Timeline
from interlock.entrypoints.explain import explain_payment

DEPTH_MAX, TOKENS_MAX, ALIASES_MAX = 8, 2_000, 20
STORIES_MAX = 200
"""Timelines of one question: each is read from the payment's own events, of which there is no list."""
FIRST_MAX = 100
HOURS_MAX = 24 * 31


class Asked:
    """One question, and what it may still ask for."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self._stories_left = STORIES_MAX

    async def explain(self, merchant: str, payment: str) -> Timeline:
        if not self._stories_left:
            raise GraphQLError(f"no more than {STORIES_MAX} timelines at once")
        self._stories_left -= 1
        await self.platform.storage.clock.sleep(0)  # each takes a millisecond: payments go on between
        return await explain_payment(self.platform, merchant, payment)


@strawberry.type(description="One entry of a payment's story.")
class Entry:
    at: str
    kind: str
    title: str
    event: str | None
    state: str | None
    detail: str | None
    route: str | None


@strawberry.type(description="A payment, as the desk lists it. Amounts are minor units.")
class Payment:
    id: strawberry.ID
    merchant: str
    status: str
    state: str
    amount: float
    currency: str
    captured: float
    refunded: float
    disputed: float
    provider: str | None
    reference: str | None
    customer: str | None
    brand: str | None
    last4: str | None
    country: str | None
    bin: str | None
    version: str | None
    decline: str | None
    attempts: int
    attention: list[str]
    created_at: str
    updated_at: str

    @strawberry.field(description="Everything that happened to it, in order.")
    async def timeline(self, info: Info[Any, Any]) -> list[Entry]:
        story = await info.context.explain(self.merchant, str(self.id))
        return [
            Entry(
                at=one.at,
                kind=one.kind,
                title=one.title,
                event=one.event,
                state=one.state,
                detail=one.detail,
                route=one.route,
            )
            for one in story.entries
        ]


@strawberry.type(description="A page of payments, newest first.")
class Payments:
    nodes: list[Payment]
    next: str | None


@strawberry.type(description="Success and speed at one provider, with one method.")
class Lane:
    provider: str
    method: str
    attempts: int
    approved: int
    declined: int
    failed: int
    p95_ms: int | None


@strawberry.type(description="Why a payment needs somebody.")
class Risk:
    kind: str
    payment: strawberry.ID
    merchant: str
    amount: float
    currency: str
    since: str
    detail: str
    finding: strawberry.ID | None


@strawberry.type(description="How an objective stands.")
class Objective:
    slo: str
    title: str
    target: str
    reached: str | None
    left_percent: str
    firing: list[str]


@strawberry.type
class Query:
    @strawberry.field(description="One payment of any merchant.")
    async def payment(self, info: Info[Any, Any], id: strawberry.ID) -> Payment | None:
        row = await find_row(info.context.platform.storage.documents, str(id)[:64])
        return _payment(row) if row else None

    @strawberry.field(description="Payments that fit all that is given.")
    async def payments(
        self,
        info: Info[Any, Any],
        merchant: str | None = None,
        provider: str | None = None,
        status: str | None = None,
        first: int = 20,
        after: str | None = None,
    ) -> Payments:
        given = {"merchant": merchant, "provider": provider, "status": status}
        where = {name: value for name, value in given.items() if value is not None}
        first = max(1, min(first, FIRST_MAX))
        found = await info.context.platform.storage.documents.find(
            PAYMENTS.name, tenant=DESK, where=where, after=after, limit=first + 1
        )
        nodes = [_payment(decode_row(one.body)) for one in found[:first]]
        return Payments(nodes=nodes, next=found[first - 1].id if len(found) > first else None)

    @strawberry.field(description="Payments that a text may mean.")
    async def search(self, info: Info[Any, Any], text: str) -> list[Payment]:
        platform: Platform = info.context.platform
        hits = await search(
            platform.storage.documents, text, providers=platform.engine.names(), now=platform.storage.clock.now()
        )
        return [_payment(hit.payment) for hit in hits]

    @strawberry.field(description="The last hours, by provider and method.")
    async def lanes(self, info: Info[Any, Any], hours: int = 1) -> list[Lane]:
        platform: Platform = info.context.platform
        now = platform.storage.clock.now()
        seen = await look(platform.desk.tallies, since=now - max(1, min(hours, HOURS_MAX)) * HOUR, until=now)
        return [
            Lane(
                provider=one.provider,
                method=one.method,
                attempts=one.attempts,
                approved=one.approved,
                declined=one.declined,
                failed=one.failed,
                p95_ms=one.p95_ms,
            )
            for one in seen.lanes
        ]

    @strawberry.field(description="Payments that need somebody, longest waiting first.")
    async def risks(self, info: Info[Any, Any]) -> list[Risk]:
        platform: Platform = info.context.platform
        found = await at_risk(platform.storage.documents, platform.webhooks, platform.storage.clock.now())
        return [
            Risk(
                kind=one.kind,
                payment=strawberry.ID(one.payment),
                merchant=one.merchant,
                amount=one.amount,
                currency=one.currency,
                since=rfc3339(one.since),
                detail=one.detail,
                finding=strawberry.ID(one.finding) if one.finding else None,
            )
            for one in found.risks
        ]

    @strawberry.field(description="Every objective in use.")
    async def objectives(self, info: Info[Any, Any]) -> list[Objective]:
        platform: Platform = info.context.platform
        views = [
            standing_view(await standing(platform.desk.objectives, one))
            for one in await load_slos(platform.desk.objectives)
        ]
        return [
            Objective(
                slo=one.slo,
                title=one.title,
                target=one.target,
                reached=one.reached,
                left_percent=one.left_percent,
                firing=[rule.rule for rule in one.firing],
            )
            for one in views
        ]


def _payment(row: PaymentRow) -> Payment:
    return Payment(
        id=strawberry.ID(row.id),
        merchant=row.merchant,
        status=row.status,
        state=row.state,
        amount=row.amount,
        currency=row.currency,
        captured=row.captured,
        refunded=row.refunded,
        disputed=row.disputed,
        provider=row.provider,
        reference=row.reference,
        customer=row.customer,
        brand=row.brand,
        last4=row.last4,
        country=row.country,
        bin=row.bin,
        version=row.version,
        decline=row.decline,
        attempts=row.attempts,
        attention=sorted(row.attention),
        created_at=rfc3339(row.created_at),
        updated_at=rfc3339(row.updated_at),
    )


def _is_of_ours(error: GraphQLError) -> bool:
    """Something went wrong here, as against a question that asks too much."""
    return error.original_error is not None and not isinstance(error.original_error, GraphQLError)


class QuietSchema(strawberry.Schema):
    """Mistakes in questions are told to who asked, and to nobody else."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        return


def schema() -> strawberry.Schema:
    return QuietSchema(
        Query,
        extensions=[
            lambda: QueryDepthLimiter(max_depth=DEPTH_MAX),
            lambda: MaxTokensLimiter(max_token_count=TOKENS_MAX),
            lambda: MaxAliasesLimiter(max_alias_count=ALIASES_MAX),
            lambda: MaskErrors(should_mask_error=_is_of_ours),
        ],
    )


async def answer(
    asked: strawberry.Schema, query: str, variables: dict[str, Any] | None, name: str | None, platform: Platform
) -> Any:
    """Raises Invalid for the name of an operation that is not there."""
    try:
        return await asked.execute(query, variable_values=variables, operation_name=name, context_value=Asked(platform))
    except CannotGetOperationTypeError:
        fault = Fault("/operationName", "unknown_operation", "the text has no operation of this name")
        raise Invalid(faults=(fault,)) from None
