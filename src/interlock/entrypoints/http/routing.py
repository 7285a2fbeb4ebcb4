"""The routing table as data: what a route takes and answers, and how a path finds its route.

A route module offers a function that takes what its endpoints need and returns `tuple[Route, ...]`. It must not use its
arguments before an endpoint is called, so that the OpenAPI document can be made without a running platform.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from interlock.core.access.model import Principal
from interlock.core.kernel.errors import MethodNotAllowed, NotFound
from interlock.core.kernel.idempotency import Request, fingerprint, idempotency_key

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
CLIENT_BASIC = "client_basic"
"""Security scheme: client id and secret by HTTP Basic."""
PROBLEM = "application/problem+json"
ANY_ID = "[A-Za-z0-9_-]{1,64}"


class Answer(NamedTuple):
    """What an endpoint returns. Bytes go out as they are, anything else as JSON, None as no body at all."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = {}
    media_type: str = JSON


class Call:
    """One request that passed every check: caller known and allowed, body and query decoded."""

    __slots__ = (
        "_principal",
        "body",
        "header_pairs",
        "idempotency_key",
        "method",
        "path",
        "path_params",
        "query",
        "raw",
        "request_id",
        "traceparent",
    )

    def __init__(
        self,
        *,
        method: str,
        path: str,
        path_params: Mapping[str, str],
        header_pairs: list[tuple[bytes, bytes]],
        request_id: str,
        traceparent: str = "",
        principal: Principal | None = None,
        query: Any = None,
        body: Any = None,
        raw: bytes = b"",
        idempotency_key: str = "",
    ) -> None:
        self.method = method
        self.path = path
        """As asked for, percent-decoded."""
        self.path_params = path_params
        self.header_pairs = header_pairs
        self.request_id = request_id
        self.traceparent = traceparent
        """W3C traceparent of this request's span, or the caller's if the request is not sampled; may be empty."""
        self._principal = principal
        self.query = query
        """An instance of the route's `query`."""
        self.body = body
        """An instance of the route's `body`."""
        self.raw = raw
        """The body as it came."""
        self.idempotency_key = idempotency_key

    @property
    def principal(self) -> Principal:
        """The caller. Only routes with a scope have one."""
        assert self._principal is not None, "a route without a scope knows no caller"
        return self._principal

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case; values of a repeated header are joined by a comma."""
        headers: dict[str, str] = {}
        for name, value in self.header_pairs:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        return headers

    def request(self) -> Request:
        """This call as core's commands want it: who, with which idempotency key, and what exactly was asked."""
        principal = self.principal
        tenant, key = principal.tenant, self.idempotency_key
        return Request(
            tenant,
            idempotency_key(tenant, self.method, self.path, key) if key else None,
            fingerprint(self.raw if self.body is None else _canonical(self.body)),
            principal.client_id,
            self.request_id,
            self.traceparent,
        )


Endpoint = Callable[[Call], Awaitable[Answer]]


class Described(NamedTuple):
    """An answer that is more than a JSON schema. `schema` None: no body."""

    schema: Any = None
    description: str = ""
    media_type: str = JSON
    headers: Mapping[str, str] = {}
    """Header name -> description; always text."""
    example: Any = None
    or_schema: Any = None
    """Another body that it may have."""


class Link(NamedTuple):
    """An OpenAPI link: which operation follows from an answer, and where its parameters are found in it."""

    name: str
    status: int
    """The answer that carries it."""
    operation_id: str
    parameters: Mapping[str, str]
    """Parameter of the target -> runtime expression, e.g. {"id": "$response.body#/id"}."""
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    method: str
    path: str
    """A template such as /v1/payments/{id}; each parameter is one whole segment."""
    endpoint: Endpoint
    operation_id: str
    summary: str
    scope: str | None = None
    """OAuth scope a token needs, such as payments:write. None: open, no token is read."""
    body: Any = None
    """msgspec Struct the JSON body is decoded into; it should forbid unknown fields. None: no body is decoded."""
    body_optional: bool = False
    """An empty body counts as {}."""
    accepts: tuple[str, ...] = (JSON,)
    """Media types taken when there is no `body`; the endpoint finds the bytes in `call.raw`. Empty: any."""
    reads_body: bool = False
    """Read the raw body although there is no `body`."""
    body_bytes_max: int | None = None
    """None: as for every other route."""
    raw_body: Any = None
    """With `reads_body`: what the body looks like, for the document only."""
    query: Any = None
    """msgspec Struct of the query parameters; it should forbid unknown fields."""
    path_patterns: Mapping[str, str] = field(default_factory=dict)
    """Parameter -> regular expression of the whole segment; ANY_ID if not given. See `id_pattern`."""
    idempotent: bool = False
    """An Idempotency-Key is required."""
    answers: Mapping[int, Any] = field(default_factory=dict)
    """Status -> schema type, None for no body, or Described. Problems need not be listed, see `problems`."""
    problems: tuple[int, ...] = ()
    """Problem statuses beside those that follow from scope, body, query, path and idempotency, e.g. 409."""
    tags: tuple[str, ...] = ()
    description: str = ""
    example: Any = None
    """Of the body."""
    links: tuple[Link, ...] = ()
    credentials: tuple[str, ...] = ()
    """Without a scope: security schemes of the document, any one of which proves the caller; "" stands for none of them."""
    challenge: str = 'Bearer realm="interlock"'
    """WWW-Authenticate of a 401."""


class Match(NamedTuple):
    route: Route
    params: Mapping[str, str]


_NONE: Mapping[str, str] = {}
_PARAMETER = re.compile(r"\{([a-z_]+)\}")


class _Place:
    """Where a path of some segments ends up: what comes next, and who answers here."""

    __slots__ = ("literal", "methods", "parameters")

    def __init__(self) -> None:
        self.literal: dict[str, _Place] = {}
        self.parameters: list[tuple[re.Pattern[str], _Place]] = []
        self.methods: dict[str, tuple[Route, tuple[str, ...]]] = {}


class RouteTable:
    """Finds the route of a method and a path. Paths without parameters cost one dictionary look-up."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._fixed: dict[str, dict[str, Match]] = {}
        self._root = _Place()
        operations: set[str] = set()
        for route in self.routes:
            if route.operation_id in operations:
                raise ValueError(f"two routes are called {route.operation_id}")
            operations.add(route.operation_id)
            self._add(route)

    def match(self, method: str, path: str) -> Match:
        """Raises NotFound for a path nobody has, MethodNotAllowed for a method the path does not have."""
        by_method = self._fixed.get(path)
        if by_method is not None:
            found = by_method.get(method)
            if found is None:
                raise MethodNotAllowed(f"{path} does not take this method")
            return found
        place, values = self._walk(path)
        if place is None or not place.methods:
            raise NotFound("there is nothing at this path")
        entry = place.methods.get(method)
        if entry is None:
            raise MethodNotAllowed("this path does not take this method")
        route, names = entry
        return Match(route, dict(zip(names, values, strict=True)))

    def allowed(self, path: str) -> tuple[str, ...]:
        """Methods the path has, sorted, HEAD along with GET."""
        methods: set[str] = set(self._fixed.get(path, ()))
        if not methods:
            place, _ = self._walk(path)
            methods = set(place.methods) if place is not None else set()
        return tuple(sorted(methods | {"HEAD"} if "GET" in methods else methods))

    def _walk(self, path: str) -> tuple[_Place | None, list[str]]:
        place, values = self._root, []
        for segment in path.split("/")[1:]:
            following = place.literal.get(segment)
            if following is None:
                for pattern, candidate in place.parameters:
                    if pattern.fullmatch(segment):
                        following = candidate
                        values.append(segment)
                        break
                else:
                    return None, values
            place = following
        return place, values

    def _add(self, route: Route) -> None:
        names = tuple(_PARAMETER.findall(route.path))
        if not names:
            methods = self._fixed.setdefault(route.path, {})
            if route.method in methods:
                raise ValueError(f"two routes for {route.method} {route.path}")
            methods[route.method] = Match(route, _NONE)
            return
        place = self._root
        for segment in route.path.split("/")[1:]:
            parameter = _PARAMETER.fullmatch(segment)
            if parameter is None:
                place = place.literal.setdefault(segment, _Place())
            else:
                place = _parameter_place(place, route.path_patterns.get(parameter[1], ANY_ID))
        if route.method in place.methods:
            raise ValueError(f"two routes for {route.method} {route.path}")
        place.methods[route.method] = (route, names)


def _parameter_place(place: _Place, pattern: str) -> _Place:
    for known, following in place.parameters:
        if known.pattern == pattern:
            return following
    following = _Place()
    place.parameters.append((re.compile(pattern), following))
    return following


_canonical = msgspec.json.Encoder(order="deterministic").encode
"""The same meaning gives the same bytes, whatever the order of a mapping's keys."""
