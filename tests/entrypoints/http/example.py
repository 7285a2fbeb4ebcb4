"""A tiny table of routes and the means to speak to it: what the real ones rely on, without them."""

from __future__ import annotations

import asyncio
import itertools
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from interlock.core.access.model import Principal
from interlock.core.access.rates import Allowance
from interlock.core.kernel.errors import InterlockError, Unauthenticated
from interlock.core.kernel.ids import id_pattern
from interlock.entrypoints.http.app import Edge, HttpApp
from interlock.entrypoints.http.health import Readiness, health_routes
from interlock.entrypoints.http.openapi import encode_document, openapi_document
from interlock.entrypoints.http.pagination import ListQuery, Page, page_of
from interlock.entrypoints.http.routing import Answer, Call, Described, Link, Route
from tests.clocks import ManualClock
from tests.telemetry import RecordingTelemetry

WRITER, READER = "token-writer", "token-reader"
PARCEL_ID = "pcl_" + "0" * 26


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Literal["paper", "plastic"]
    text: Annotated[str, Meta(pattern=r"^[a-z ]{1,20}\Z")]


class CreateParcel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    weight: Annotated[int, Meta(ge=1, le=2**53)]
    country: Annotated[str, Meta(pattern=r"^[A-Z]{2}\Z")]
    label: Label | None = None
    notes: Annotated[
        dict[Annotated[str, Meta(pattern=r"^[a-z]{1,8}\Z")], Annotated[str, Meta(max_length=5)]], Meta(max_length=3)
    ] = {}
    fragile: bool = False


class SendParcel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    speed: Annotated[int, Meta(ge=1, le=9)] | None = None


class Parcel(msgspec.Struct, frozen=True):
    id: str
    weight: int
    country: str


class ParcelsQuery(ListQuery, frozen=True, forbid_unknown_fields=True):
    country: Annotated[str, Meta(pattern=r"^[A-Z]{2}\Z")] | None = None
    fragile: bool | None = None


class Example:
    """An application that remembers every call that got through, and does what `then` says."""

    def __init__(self, *, body_bytes_max: int = 65_536, in_flight_max: int = 100) -> None:
        self.calls: list[Call] = []
        self.telemetry = RecordingTelemetry()
        self.clock = ManualClock()
        self.allowance = Allowance(True, 100, 99, 0.25, 0)
        self.probe_error: Exception | None = None
        self.then: Any = None
        """Raised if an exception, awaited if an event, answered if an Answer."""
        self._numbers = itertools.count(1)
        path = {"id": id_pattern("pcl")}
        self.routes = (
            Route(
                method="POST",
                path="/v1/parcels",
                endpoint=self._create,
                operation_id="createParcel",
                summary="Create a parcel",
                scope="parcels:write",
                body=CreateParcel,
                idempotent=True,
                answers={201: Described(Parcel, "Created.")},
                tags=("parcels",),
                example={"weight": 12, "country": "DE"},
                links=(Link("get", 201, "getParcel", {"id": "$response.body#/id"}, "As it stands."),),
            ),
            Route(
                method="GET",
                path="/v1/parcels",
                endpoint=self._list,
                operation_id="listParcels",
                summary="Parcels",
                scope="parcels:read",
                query=ParcelsQuery,
                answers={200: Page[Parcel]},
                tags=("parcels",),
            ),
            Route(
                method="GET",
                path="/v1/parcels/{id}",
                endpoint=self._get,
                operation_id="getParcel",
                summary="A parcel",
                scope="parcels:read",
                path_patterns=path,
                answers={200: Parcel},
                tags=("parcels",),
            ),
            Route(
                method="POST",
                path="/v1/parcels/{id}/send",
                endpoint=self._send,
                operation_id="sendParcel",
                summary="Send a parcel",
                scope="parcels:write",
                body=SendParcel,
                body_optional=True,
                path_patterns=path,
                idempotent=True,
                answers={200: Parcel},
                tags=("parcels",),
            ),
            Route(
                method="POST",
                path="/v1/news/{source}",
                endpoint=self._news,
                operation_id="takeNews",
                summary="News",
                reads_body=True,
                body_optional=True,
                accepts=(),
                answers={204: None},
                problems=(401,),
                challenge="Signature",
                tags=("news",),
            ),
            *health_routes(Readiness(self._probe, self.clock), lambda: b"metric 1\n", lambda: self.document),
        )
        self.document = encode_document(openapi_document(self.routes))
        self.app = HttpApp(
            self.routes,
            Edge(self._authenticate, self._take, self.telemetry, self, body_bytes_max, in_flight_max),
        )
        self.taken: list[str] = []

    def new(self, prefix: str) -> str:
        return f"{prefix}_{next(self._numbers):026d}"

    async def _authenticate(self, authorization: str) -> Principal:
        scopes = {
            f"Bearer {WRITER}": frozenset({"parcels:write", "parcels:read"}),
            f"Bearer {READER}": frozenset({"parcels:read"}),
        }.get(authorization)
        if scopes is None:
            raise Unauthenticated("no such token", code="token_invalid")
        return Principal("cli_1", "ten_1", scopes, "tok", 0)

    def _take(self, client_id: str) -> Allowance:
        self.taken.append(client_id)
        return self.allowance

    async def _probe(self) -> None:
        if self.probe_error is not None:
            raise self.probe_error

    async def _arrived(self, call: Call) -> Answer | None:
        self.calls.append(call)
        then = self.then
        if isinstance(then, asyncio.Event):
            await then.wait()
        elif isinstance(then, Exception | InterlockError):
            raise then
        return then if isinstance(then, Answer) else None

    async def _create(self, call: Call) -> Answer:
        body: CreateParcel = call.body
        return await self._arrived(call) or Answer(201, Parcel(PARCEL_ID, body.weight, body.country))

    async def _list(self, call: Call) -> Answer:
        await self._arrived(call)
        return Answer(200, page_of([Parcel(PARCEL_ID, 1, "DE")], call.query, cursor_of=lambda parcel: parcel.id))

    async def _get(self, call: Call) -> Answer:
        return await self._arrived(call) or Answer(200, Parcel(call.path_params["id"], 1, "DE"))

    async def _send(self, call: Call) -> Answer:
        return await self._arrived(call) or Answer(200, Parcel(call.path_params["id"], 1, "DE"))

    async def _news(self, call: Call) -> Answer:
        return await self._arrived(call) or Answer(204)


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


def request(
    method: str = "POST",
    path: str = "/v1/parcels",
    *,
    body: bytes | None = None,
    token: str | None = WRITER,
    key: str | None = "key-1",
    media_type: str | None = "application/json",
    headers: dict[str, str] | None = None,
) -> bytes:
    """The bytes of a request. A None leaves that header out."""
    lines = {"Host": "test"}
    if token is not None:
        lines["Authorization"] = f"Bearer {token}"
    if key is not None:
        lines["Idempotency-Key"] = key
    if media_type is not None and body is not None:
        lines["Content-Type"] = media_type
    if body is not None:
        lines["Content-Length"] = str(len(body))
    lines |= headers or {}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + (body or b"")


async def read_response(reader: asyncio.StreamReader, *, bodiless: bool = False) -> Response:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split()[1])
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
    length = 0 if bodiless else int(headers.get("content-length", 0))
    return Response(status, headers, await reader.readexactly(length))


async def speak(port: int, sent: bytes, *, bodiless: bool = False) -> Response:
    """Send bytes on a connection of their own and read one answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        return await read_response(reader, bodiless=bodiless)
    finally:
        writer.close()
