"""Read-only GraphQL over what the desk knows: one endpoint, bounded in depth, size and time."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from interlock.bootstrap import Platform
from interlock.core.kernel.errors import Unavailable
from interlock.entrypoints.http.routing import Answer, Call, Route

ANSWER_S = 10.0


class GraphQLBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"operation_name": "operationName"}):
    query: Annotated[str, Meta(min_length=1, max_length=20_000)]
    variables: dict[str, Any] | None = None
    operation_name: Annotated[str, Meta(max_length=200)] | None = None


class GraphQLView(msgspec.Struct, frozen=True):
    data: dict[str, Any] | None
    errors: list[dict[str, Any]] | None = None


def graphql_routes(platform: Platform) -> tuple[Route, ...]:
    made: list[Any] = []

    async def ask(call: Call) -> Answer:
        body: GraphQLBody = call.body
        from interlock.entrypoints.http.graphql_schema import answer, schema  # long to load, and seldom asked

        if not made:
            made.append(schema())
        try:
            async with asyncio.timeout(ANSWER_S):
                result = await answer(made[0], body.query, body.variables, body.operation_name, platform)
        except TimeoutError:
            raise Unavailable("this question takes too long; ask for less", code="too_much_asked") from None
        errors = [dict(error.formatted) for error in result.errors] if result.errors else None
        return Answer(200, GraphQLView(result.data, errors))

    return (
        Route(
            method="POST",
            path="/v1/graphql",
            endpoint=ask,
            operation_id="askGraphQL",
            summary="Ask the desk by GraphQL; nothing can be changed",
            description="Errors of the question itself are in `errors`, with status 200.",
            scope="desk:read",
            body=GraphQLBody,
            answers={200: GraphQLView},
            problems=(503,),
            tags=("desk",),
            example={"query": "{ lanes(hours: 24) { provider attempts approved } }"},
        ),
    )
