"""The OpenAPI 3.1 document, made from the routing table: what is enforced is what is described.

Patterns in our types end with \\Z, because Python's $ also matches before a final newline; the document says $, which
means the end in JSON Schema's dialect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from interlock.core.kernel.errors import Invalid
from interlock.entrypoints.http.openapi_components import CLIENT_BASIC_SCHEME, HEADERS, PARAMETERS
from interlock.entrypoints.http.problems import BY_STATUS, STATUSES, TYPE_PREFIX, Problem
from interlock.entrypoints.http.requests import API_VERSION
from interlock.entrypoints.http.routing import ANY_ID, CLIENT_BASIC, JSON, PROBLEM, Described, Link, Route

Json = dict[str, Any]

TITLE = "Interlock"
DESCRIPTION = """\
Payments over many providers that cannot move money twice.

Amounts are whole numbers of the currency's minor unit. Times are RFC 3339 in UTC. Ids are opaque. JSON bodies are UTF-8;
unknown fields and names that stand twice in an object are refused. Every POST that moves money needs an `Idempotency-Key`:
repeat a request whose answer was lost with the same key and the same body, and it has effect once.
"""
TAGS = {
    "payments": "Authorise, capture, cancel.",
    "refunds": "Give captured money back.",
    "disputes": "Payments that the payer's bank disputes.",
    "ledger": "Balances and the journals behind them.",
    "alerts": "Alerts of other tools: taken in, grouped, silenced, handled.",
    "desk": "What the platform's own people see across merchants, and how they repair it.",
    "webhooks": "Where events are delivered, and what became of each delivery.",
    "routing": "Which provider a payment goes to.",
    "notifications": "For providers.",
    "oauth": "Tokens and keys.",
    "events": "What happened, as webhooks tell it.",
    "operations": "Health, metrics and this document.",
}
WITH_RETRY_AFTER = frozenset({429, 503})
COUNTED = frozenset({400, 404, 409, 413, 415, 422, 500, 503})
"""Such an answer may come before the request was counted against the client's rate, or behind it."""
RATE_HEADERS = ("RateLimit", "RateLimit-Policy")
SECURITY_SCHEME = "oauth2"


def openapi_document(routes: Iterable[Route], *, version: str = API_VERSION) -> Json:
    """The document as plain data. The same routes always give the same document."""
    table = list(routes)
    _check_links(table)
    schemas = _Schemas(table)
    paths: Json = {}
    for route in table:
        item = paths.setdefault(route.path, {})
        item[route.method.lower()] = _operation(route, schemas)
    statuses = sorted({status for route in table for status in problem_statuses(route)})
    used = {tag for route in table for tag in route.tags}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": version,
            "summary": "Payments that happen once.",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "contact": {"name": TITLE},
        },
        "servers": [
            {
                "url": "/",
                "description": "Where this document came from: local, staging or production.",
                "x-internal": False,
            }
        ],
        "tags": [{"name": tag, "description": TAGS.get(tag, tag)} for tag in sorted(used)],
        "security": [],
        "paths": {path: paths[path] for path in sorted(paths)},
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "responses": {f"Problem{status}": _problem_response(status) for status in statuses},
            "securitySchemes": {SECURITY_SCHEME: _security_scheme(table), CLIENT_BASIC: CLIENT_BASIC_SCHEME},
        },
    }


def _check_links(routes: Sequence[Route]) -> None:
    known = {route.operation_id for route in routes}
    missing = {link.operation_id for route in routes for link in route.links} - known
    if missing:
        raise ValueError(f"links lead to operations that do not exist: {', '.join(sorted(missing))}")


def encode_document(document: Json) -> bytes:
    """As it is served and kept: indented, with a final newline."""
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def problem_statuses(route: Route) -> list[int]:
    """Every problem status a request to this route may be answered with."""
    statuses = {400, 500, 503} | set(route.problems)
    if route.scope is not None:
        statuses |= {401, 403, 429}
    if route.body is not None or route.reads_body:
        statuses.add(413)
        if route.body is not None or route.accepts:
            statuses.add(415)
    if "{" in route.path:
        statuses.add(404)
    if route.idempotent:
        statuses |= {409, 422}
    return sorted(statuses)


def loose_patterns(routes: Iterable[Route]) -> list[str]:
    """Patterns of requests that do not end with \\Z and so let a final newline through; a test wants none."""
    kinds = [kind for route in routes for kind in (route.body, route.query) if kind is not None]
    if not kinds:
        return []
    _, components = msgspec.json.schema_components(kinds)
    found = {pattern for schema in components.values() for pattern in _patterns(schema)}
    return sorted(pattern for pattern in found if not (pattern.startswith("^") and pattern.endswith("\\Z")))


class _Schemas:
    """Schemas of every type the routes mention, and where each stands."""

    def __init__(self, routes: Sequence[Route]) -> None:
        kinds: list[Any] = [Problem]
        for route in routes:
            kinds += [route.body, route.query, route.raw_body]
            for answer in map(_described, route.answers.values()):
                kinds += [answer.schema, answer.or_schema]
        wanted = [kind for kind in kinds if kind is not None]
        try:
            schemas, components = msgspec.json.schema_components(wanted, ref_template="#/components/schemas/{name}")
        except TypeError as error:
            raise TypeError(f"{error}; a field that may be absent has the default msgspec.UNSET") from error
        names = {name: _short(name) for name in components if "." in name}
        self._by_kind = [(kind, _portable(schema, names)) for kind, schema in zip(wanted, schemas, strict=True)]
        self.components: Json = {names.get(name, name): _portable(schema, names) for name, schema in components.items()}
        queries = {route.query for route in routes if route.query is not None}
        # A query is not sent as an object: its type stands as parameters and nowhere else.
        self._queries = {query: self.components.pop(self.of(query)["$ref"].rpartition("/")[2]) for query in queries}

    def of(self, kind: Any) -> Json:
        return next(schema for known, schema in self._by_kind if known == kind)

    def parameters(self, query: Any) -> Iterator[Json]:
        schema = self._queries[query]
        required = schema.get("required", [])
        for name, parameter in schema["properties"].items():
            yield _query_parameter(name, parameter, required=name in required)


def _operation(route: Route, schemas: _Schemas) -> Json:
    operation: Json = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "description": _description(route),
        "tags": list(route.tags),
        "security": [{SECURITY_SCHEME: [route.scope]}]
        if route.scope
        else [{name: []} if name else {} for name in route.credentials],
        "parameters": list(_parameters(route, schemas)),
    }
    if (body := _request_body(route, schemas)) is not None:
        operation["requestBody"] = body
    links: dict[int, list[Link]] = {}
    for link in route.links:
        links.setdefault(link.status, []).append(link)
    responses = {
        str(status): _response(route, status, _described(answer), schemas, links.get(status, []))
        for status, answer in sorted(route.answers.items())
    }
    for status in problem_statuses(route):
        if status in route.answers:
            responses[str(status)].setdefault("content", {})[PROBLEM] = {
                "schema": {"$ref": "#/components/schemas/Problem"}
            }
        else:
            responses[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    operation["responses"] = responses
    return operation


def _description(route: Route) -> str:
    parts = [route.description or f"{route.summary}."]
    if route.scope:
        parts.append(f"Scope: `{route.scope}`.")
    if route.idempotent:
        parts.append("Moves money: safe to repeat with the same `Idempotency-Key`.")
    return " ".join(parts)


def _parameters(route: Route, schemas: _Schemas) -> Iterator[Json]:
    for name in re.findall(r"\{([a-z_]+)\}", route.path):
        pattern = route.path_patterns.get(name, ANY_ID)
        schema = {"type": "string", "pattern": f"^{pattern}$"}
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": f"The {name} in question.",
            "schema": schema,
        }
    if route.query is not None:
        yield from schemas.parameters(route.query)
    if route.idempotent:
        yield {"$ref": "#/components/parameters/IdempotencyKey"}
    for name in ("RequestId", "Traceparent", "Version"):
        yield {"$ref": f"#/components/parameters/{name}"}


def _query_parameter(name: str, schema: Json, *, required: bool) -> Json:
    """A parameter left out is how a query says null."""
    schema = dict(schema)
    description = schema.pop("description", f"Only those with this {name.replace('_', ' ')}.")
    if schema.get("default", 0) is None:
        del schema["default"]
    if "anyOf" in schema:
        kinds = [kind for kind in schema["anyOf"] if kind != {"type": "null"}]
        schema = (
            {**kinds[0], **{key: value for key, value in schema.items() if key != "anyOf"}}
            if len(kinds) == 1
            else schema
        )
    if "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]
    return {"name": name, "in": "query", "required": required, "description": description, "schema": schema}


def _request_body(route: Route, schemas: _Schemas) -> Json | None:
    if route.body is not None:
        content: Json = {"schema": schemas.of(route.body)}
        if route.example is not None:
            content["example"] = route.example
        return {"required": not route.body_optional, "content": {JSON: content}}
    if not route.reads_body:
        return None
    schema = schemas.of(route.raw_body) if route.raw_body is not None else {}
    content = {"schema": schema} | ({"example": route.example} if route.example is not None else {})
    return {
        "required": not route.body_optional,
        "content": dict.fromkeys(route.accepts or ("*/*",), content),
    }


def _response(route: Route, status: int, answer: Described, schemas: _Schemas, links: Sequence[Link]) -> Json:
    headers: Json = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
    if route.scope is not None:
        headers |= {name: {"$ref": f"#/components/headers/{name}"} for name in RATE_HEADERS}
    for name, text in answer.headers.items():
        headers[name] = {"description": text, "schema": {"type": "string"}}
    response: Json = {"description": answer.description or HTTPStatus(status).phrase, "headers": headers}
    if answer.schema is not None:
        content: Json = {"schema": schemas.of(answer.schema)}
        if answer.or_schema is not None:
            content["schema"] = {"anyOf": [content["schema"], schemas.of(answer.or_schema)]}
        if answer.example is not None:
            content["example"] = answer.example
        response["content"] = {answer.media_type.partition(";")[0]: content}
    if links:
        response["links"] = {
            link.name: {
                "operationId": link.operation_id,
                "parameters": dict(link.parameters),
                "description": link.description,
            }
            for link in links
        }
    return response


def _problem_response(status: int) -> Json:
    kinds = BY_STATUS[status]
    first = Invalid if status == 400 else kinds[0]
    row = STATUSES[first]
    headers: Json = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
    if status in WITH_RETRY_AFTER:
        headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
    if status == 429:
        headers |= {name: {"$ref": f"#/components/headers/{name}"} for name in RATE_HEADERS}
    elif status in COUNTED:
        headers |= {name: {**HEADERS[name], "required": False} for name in RATE_HEADERS}
    if status == 401:
        headers["WWW-Authenticate"] = {"$ref": "#/components/headers/WWW-Authenticate"}
    example = {
        "type": TYPE_PREFIX + first.code,
        "title": row.title,
        "status": status,
        "detail": row.advice,
        "code": first.code,
        "request_id": "req_01kam1v8yk7x5n4q2w9c3d6e8f",
        "errors": [{"pointer": "/amount", "code": "out_of_range", "detail": "Expected `int` >= 1"}]
        if status == 400
        else [],
    }
    description = " ".join(f"{STATUSES[kind].title}: {STATUSES[kind].advice}" for kind in kinds)
    return {
        "description": description,
        "headers": headers,
        "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}},
    }


def _security_scheme(routes: Sequence[Route]) -> Json:
    scopes: dict[str, list[str]] = {}
    for route in routes:
        if route.scope:
            scopes.setdefault(route.scope, []).append(route.operation_id)
    return {
        "type": "oauth2",
        "description": "RFC 9068 access tokens, verified as RFC8725 advises. The tenant comes from the token.",
        "flows": {
            "clientCredentials": {
                "tokenUrl": "/oauth/token",
                "scopes": {scope: ", ".join(operations) for scope, operations in sorted(scopes.items())},
            }
        },
    }


def _described(answer: Any) -> Described:
    return answer if isinstance(answer, Described) else Described(answer)


def _portable(schema: Any, names: Mapping[str, str]) -> Any:
    """The schema with patterns as other languages read them, and `names` of components replaced."""
    if isinstance(schema, Mapping):
        return {key: _portable_member(key, value, names) for key, value in schema.items()}
    if isinstance(schema, list | tuple):
        return [_portable(value, names) for value in schema]
    return schema


def _portable_member(key: str, value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str) and key == "pattern":
        return value.replace("\\Z", "$")
    if isinstance(value, str) and key == "$ref":
        head, _, name = value.rpartition("/")
        return f"{head}/{names.get(name, name)}"
    return _portable(value, names)


def _short(name: str) -> str:
    """Two types of one name are told apart by their feature: interlock.core.payments.views.X is PaymentsX."""
    modules, _, kind = name.rpartition(".")
    feature = [word for word in modules.split(".") if word not in ("interlock", "core", "views")]
    return "".join(word.title().replace("_", "") for word in feature) + kind


def _patterns(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            if key == "pattern" and isinstance(value, str):
                yield value
            else:
                yield from _patterns(value)
    elif isinstance(schema, list | tuple):
        for value in schema:
            yield from _patterns(value)
