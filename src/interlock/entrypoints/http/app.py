"""The dispatcher: one request from its headers to its answer, every refusal a problem document.

The order of the checks: path, method, version, token, scope, rate, idempotency key, query, media type, size, body.
An endpoint runs only after all of them, and then to its end even if the client goes away: what has begun is finished.
"""

from __future__ import annotations

import asyncio
import re
import traceback
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from math import ceil
from pathlib import PurePath
from time import perf_counter
from typing import Any, NamedTuple

import msgspec

from interlock.core.access.model import Principal
from interlock.core.access.rates import Allowance
from interlock.core.kernel import ids
from interlock.core.kernel.errors import (
    Fault,
    Forbidden,
    InterlockError,
    Invalid,
    MethodNotAllowed,
    OutcomeUnknown,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from interlock.core.kernel.ids import Ids
from interlock.core.kernel.telemetry import Telemetry
from interlock.entrypoints.http.bodies import BodyDecoder, Disconnected, read_body, too_large
from interlock.entrypoints.http.problems import encode_problem, problem_of, row_of
from interlock.entrypoints.http.requests import (
    Headers,
    QueryDecoder,
    check_media_type,
    check_version,
    content_length_of,
    idempotency_key_of,
    refuse_query,
    refuse_repeated,
    request_id_of,
    traceparent_of,
)
from interlock.entrypoints.http.routing import JSON, PROBLEM, Answer, Call, Match, Route, RouteTable

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_BYTES_MAX = 65_536
IN_FLIGHT_MAX = 2_000
"""Requests worked on at once; one more is asked to come back."""
LINGER_BYTES_MAX = 4_194_304
"""Of a refused body so much is read and thrown away: closing at once would reset the connection and lose the answer."""
LINGER_S = 2.0
UNKNOWN_RETRY_AFTER_S = 2


class Edge(NamedTuple):
    """What the dispatcher works with."""

    authenticate: Callable[[str], Awaitable[Principal]]
    """Value of the Authorization header (empty if there is none) -> the caller. Raises Unauthenticated, Unavailable."""
    take: Callable[[str], Allowance]
    """Count one request of this client_id."""
    telemetry: Telemetry
    ids: Ids
    body_bytes_max: int = BODY_BYTES_MAX
    in_flight_max: int = IN_FLIGHT_MAX


class _ReadyRoute:
    """A route, made ready."""

    __slots__ = ("accepts", "decode_body", "decode_query", "route", "takes_body")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.decode_body = BodyDecoder(route.body).decode if route.body is not None else None
        self.decode_query = QueryDecoder(route.query).decode if route.query is not None else None
        self.takes_body = route.body is not None or route.reads_body
        self.accepts = (JSON,) if route.body is not None else route.accepts


class _Exchange:
    """What is learned of one request on its way, for the answer's head."""

    __slots__ = ("headers", "match", "may_be_cached", "more", "request_id", "trace_id", "unread")

    def __init__(self, headers: dict[bytes, bytes], request_id: str) -> None:
        self.headers = headers
        self.request_id = request_id
        self.more: Headers = []
        """Headers of the answer, whatever it will be."""
        self.match: Match | None = None
        self.trace_id = ""
        self.unread = True
        self.may_be_cached = False
        """The endpoint said itself how its answer may be kept."""


class HttpApp:
    """The ASGI application over a table of routes."""

    def __init__(self, routes: Iterable[Route], edge: Edge) -> None:
        self.table = RouteTable(routes)
        self._services = {route.operation_id: _ReadyRoute(route) for route in self.table.routes}
        self._edge = edge
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _refuse_protocol(scope, receive, send)
            return
        started = perf_counter()
        headers = dict(scope["headers"])
        exchange = _Exchange(headers, request_id_of(headers) or self._edge.ids.new(ids.REQUEST))
        self._in_flight += 1
        try:
            status = await self._exchange(exchange, scope, receive, send)
        finally:
            self._in_flight -= 1
        match = exchange.match
        self._edge.telemetry.observe(
            "interlock_http_request_duration_seconds",
            perf_counter() - started,
            route=match.route.path if match is not None else "none",
            method=scope["method"] if match is not None else "other",
            status=str(status),
        )

    async def _exchange(self, exchange: _Exchange, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer; the status sent, 499 if nobody was there to send it to."""
        try:
            answer = await self._answer(exchange, scope, receive)
            status, body, media_type = answer.status, answer.body, answer.media_type
            if answer.headers:
                own = _safe(answer.headers.items())
                exchange.may_be_cached = any(name == b"cache-control" for name, _ in own)
                exchange.more += own
            if body is not None and type(body) is not bytes:
                body = _encode(body)
        except Disconnected:
            return 499
        except InterlockError as error:
            status, body, media_type = self._refusal(exchange, scope, error)
        except asyncio.CancelledError:
            # The server stops and will not wait longer. With the answer this task is over, as was asked.
            stopped = OutcomeUnknown("the platform stopped before this request was finished", code="stopped")
            status, body, media_type = self._refusal(exchange, scope, stopped)
        except Exception as error:  # a fault of ours, whatever it is: reported here, and nothing of it shown outside
            self._report(exchange, scope, error)
            status, body, media_type = self._refusal(exchange, scope, InterlockError())
        await _send(send, status, body, media_type, exchange, receive, self._edge.body_bytes_max)
        return status

    async def _answer(self, exchange: _Exchange, scope: Scope, receive: Receive) -> Answer:
        edge, headers = self._edge, exchange.headers
        if self._in_flight > edge.in_flight_max:
            raise Unavailable("too many requests are being worked on", code="overloaded")
        method: str = scope["method"]
        match = exchange.match = self.table.match("GET" if method == "HEAD" else method, scope["path"])
        service = self._services[match.route.operation_id]
        if len(headers) != len(scope["headers"]):
            refuse_repeated(scope["headers"])
        if b"interlock-version" in headers:
            check_version(headers)
        parent = traceparent_of(headers)
        with edge.telemetry.span(
            "http.request", parent=parent, route=match.route.path, method=method, request_id=exchange.request_id
        ) as span:
            exchange.trace_id = span.traceparent[3:35]
            if match.params and match.route.method != "GET":
                _name_payment(edge.telemetry, match)
            principal = await self._admit(exchange, service)
            call = Call(
                method=method,
                path=scope["path"],
                path_params=match.params,
                header_pairs=scope["headers"],
                request_id=exchange.request_id,
                traceparent=span.traceparent or parent,
                principal=principal,
                idempotency_key=idempotency_key_of(headers) if match.route.idempotent else "",
            )
            if service.decode_query is not None:
                call.query = service.decode_query(scope["query_string"])
            elif scope["query_string"] and match.route.scope is not None:
                refuse_query(scope["query_string"])
            if service.takes_body:
                await self._take_body(exchange, service, call, receive)
            answer = await match.route.endpoint(call)
            span.set(status=answer.status)
            return answer

    async def _admit(self, exchange: _Exchange, service: _ReadyRoute) -> Principal | None:
        """The caller, if the route has a scope: known, allowed, and within its rate."""
        scope = service.route.scope
        if scope is None:
            return None
        edge = self._edge
        principal = await edge.authenticate(exchange.headers.get(b"authorization", b"").decode("latin-1"))
        if scope not in principal.scopes:
            raise Forbidden(f"the token lacks the scope {scope}", scope=scope, code="insufficient_scope")
        allowance = edge.take(principal.client_id)
        exchange.more += (
            (b"ratelimit-policy", b'"client";q=%d' % allowance.limit),
            (b"ratelimit", b'"client";r=%d;t=%d' % (allowance.remaining, ceil(allowance.reset_s))),
        )
        if not allowance.allowed:
            edge.telemetry.count("interlock_rate_limited_total", client=principal.client_id)
            raise RateLimited("this client has used up its requests", retry_after_s=allowance.retry_after_s)
        return principal

    async def _take_body(self, exchange: _Exchange, service: _ReadyRoute, call: Call, receive: Receive) -> None:
        limit = service.route.body_bytes_max or self._edge.body_bytes_max
        length = content_length_of(exchange.headers)
        raw = b""
        if length != 0:
            if service.accepts:
                check_media_type(exchange.headers.get(b"content-type"), service.accepts)
            if length is not None and length > limit:
                raise too_large(limit)
            raw = await read_body(receive, limit)
        exchange.unread = False
        call.raw = raw
        if service.decode_body is not None:
            if not raw and not service.route.body_optional:
                raise Invalid(faults=(Fault("", "required", "this request needs a JSON body"),))
            call.body = service.decode_body(raw or b"{}")

    def _refusal(self, exchange: _Exchange, scope: Scope, error: InterlockError) -> tuple[int, bytes, str]:
        """The problem document, and the headers that belong to its kind."""
        more = exchange.more
        if isinstance(error, Unauthenticated):
            more.append((b"www-authenticate", _challenge(exchange)))
            self._edge.telemetry.count("interlock_auth_failures_total", reason=error.reason)
        elif isinstance(error, Forbidden):
            if error.scope:
                more += _safe([("WWW-Authenticate", f'Bearer error="insufficient_scope", scope="{error.scope}"')])
        elif isinstance(error, MethodNotAllowed):
            more.append((b"allow", ", ".join(self.table.allowed(scope["path"])).encode()))
        elif isinstance(error, Unavailable):
            more.append((b"retry-after", b"%d" % max(1, error.retry_after_s)))
        elif isinstance(error, OutcomeUnknown):
            more.append((b"retry-after", b"%d" % UNKNOWN_RETRY_AFTER_S))
        return row_of(error).status, encode_problem(problem_of(error, exchange.request_id)), PROBLEM

    def _report(self, exchange: _Exchange, scope: Scope, error: Exception) -> None:
        """A fault of ours: where it was raised, never what was in the request."""
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        self._edge.telemetry.error(
            "http.request_failed",
            request_id=exchange.request_id,
            route=exchange.match.route.path if exchange.match is not None else "none",
            method=scope["method"],
            error=f"{type(error).__name__} at {place}",
            trace_id=exchange.trace_id,
        )


def _name_payment(telemetry: Telemetry, match: Match) -> None:
    """Also for a request that will be refused: it is part of the payment's story. Who only looks is not."""
    asked = match.params.get("id", "")
    if ids.is_id(asked, ids.PAYMENT):
        telemetry.about(asked)


async def _send(
    send: Send,
    status: int,
    body: bytes | None,
    media_type: str,
    exchange: _Exchange,
    receive: Receive,
    limit: int,
) -> None:
    more = exchange.more
    more.append((b"x-request-id", exchange.request_id.encode()))
    more += _ALWAYS
    if not exchange.may_be_cached:
        more.append((b"cache-control", b"no-store"))
    if body is not None:
        more.append((b"content-type", _MEDIA_TYPES.get(media_type) or media_type.encode("latin-1")))
        more.append((b"content-length", b"%d" % len(body)))
    elif status >= 200 and status not in (204, 304):
        more.append((b"content-length", b"0"))
    lingers = exchange.unread and _unread_is_large(exchange, limit)
    if lingers:
        more.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": more})
    if lingers:
        await send({"type": "http.response.body", "body": body or b"", "more_body": True})
        if b"expect" not in exchange.headers:
            await _discard(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    await send({"type": "http.response.body", "body": body or b"", "more_body": False})


def _unread_is_large(exchange: _Exchange, limit: int) -> bool:
    """A body that nobody has read and that is too long, or of unknown length: the connection ends with the answer."""
    length = content_length_of(exchange.headers)
    return length is None or length > limit


async def _discard(receive: Receive) -> None:
    discarded = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while discarded < LINGER_BYTES_MAX:
                message = await receive()
                discarded += len(message.get("body", b""))
                if not message.get("more_body"):
                    return


def _challenge(exchange: _Exchange) -> bytes:
    """What a 401 asks for. RFC 6750 names an error only if a token was presented."""
    route = exchange.match.route if exchange.match is not None else None
    challenge = route.challenge if route is not None else 'Bearer realm="interlock"'
    if route is not None and route.scope is not None and b"authorization" in exchange.headers:
        challenge += ', error="invalid_token"'
    return challenge.encode("latin-1")


_UNSAFE = re.compile(r"[^\x20-\x7e]")


def _safe(headers: Iterable[tuple[str, str]]) -> Headers:
    """Raises ValueError for a header that could break out of its line."""
    pairs = []
    for name, value in headers:
        if _UNSAFE.search(name) or _UNSAFE.search(value):
            raise ValueError(f"unsafe value of header {name!r}")
        pairs.append((name.lower().encode(), value.encode()))
    return pairs


async def _refuse_protocol(scope: Scope, receive: Receive, send: Send) -> None:
    """Start and stop are somebody else's; other protocols are not spoken."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})


_ALWAYS: Headers = [(b"x-content-type-options", b"nosniff")]
_MEDIA_TYPES = {JSON: JSON.encode(), PROBLEM: PROBLEM.encode()}
_encode = msgspec.json.Encoder().encode
