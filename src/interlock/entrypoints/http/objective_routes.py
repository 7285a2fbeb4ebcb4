"""Objectives over HTTP: how each stands, and the file they are written in."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from interlock.bootstrap import Platform
from interlock.core.desk.slo.handlers import load_slos, put_slos, slo_file, standing
from interlock.core.desk.slo.views import StandingView, standing_view
from interlock.entrypoints.http.desk_route import TAGS, WRITE, reads
from interlock.entrypoints.http.routing import Answer, Call, Route

FILE_CHARACTERS_MAX = 400_000


class ObjectivesView(msgspec.Struct, frozen=True):
    version: int
    data: list[StandingView]


class ObjectivesBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: Annotated[str, Meta(max_length=FILE_CHARACTERS_MAX)]
    """OpenSLO v1, YAML."""
    expected: Annotated[int, Meta(ge=0, le=2**31)] | None = None
    """The version it was made from; 0 for none."""


def objective_routes(platform: Platform) -> tuple[Route, ...]:
    objectives = platform.desk.objectives

    async def every(call: Call) -> Answer:
        slos = await load_slos(objectives)
        version = (await slo_file(objectives)).version if slos else 0
        return Answer(200, ObjectivesView(version, [standing_view(await standing(objectives, one)) for one in slos]))

    async def put(call: Call) -> Answer:
        body: ObjectivesBody = call.body
        await put_slos(objectives, body.text, call.principal.client_id, expected=body.expected)
        return await every(call)

    return (
        reads("/v1/slos", "listObjectives", "How each objective stands", every, ObjectivesView),
        Route(
            method="PUT",
            path="/v1/slos",
            endpoint=put,
            operation_id="putObjectives",
            summary="Use an OpenSLO file from now on; one with a mistake is refused, and the old one stays",
            scope=WRITE,
            body=ObjectivesBody,
            body_bytes_max=2 * FILE_CHARACTERS_MAX,
            answers={200: ObjectivesView},
            problems=(409, 503),
            tags=TAGS,
        ),
    )
