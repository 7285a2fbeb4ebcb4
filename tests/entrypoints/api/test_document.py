"""The public document in the eyes of outside linters. Every warning counts; what is accepted is accepted with a reason."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from interlock.entrypoints.http.api import described_routes
from interlock.entrypoints.http.openapi import openapi_document
from tests.counterparts.paths import find, require

RULES = Path(__file__).parents[2] / "counterparts" / "spectral.yaml"
OWASP = "@stoplight/spectral-owasp-ruleset"
DOCUMENT: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(openapi_document(described_routes())))


class Finding(NamedTuple):
    code: str
    path: tuple[str, ...]
    message: str


def spectral(document: dict[str, Any], folder: Path) -> list[Finding]:
    """Everything it has to say."""
    program = require("spectral")
    package = program.parents[1] / OWASP / "dist" / "ruleset.mjs"
    rules, source, found = folder / "rules.yaml", folder / "openapi.json", folder / "found.json"
    rules.write_text(RULES.read_text().replace(OWASP, str(package)))
    source.write_text(json.dumps(document))
    node = find("node")
    path = f"{node.parent}{os.pathsep}{os.environ['PATH']}" if node is not None else os.environ["PATH"]
    command = [str(program), "lint", str(source), "--ruleset", str(rules), "--format", "json", "--output", str(found)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env={**os.environ, "PATH": path})
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return [Finding(one["code"], tuple(map(str, one["path"])), one["message"]) for one in json.loads(found.read_text())]


def within(document: Any, path: tuple[str, ...]) -> Any:
    """What stands at `path`, or None."""
    for step in path:
        if isinstance(document, list):
            document = document[int(step)]
        elif isinstance(document, dict) and step in document:
            document = document[step]
        else:
            return None
    return document


def taken() -> set[str]:
    """Names of the schemas that requests are read by, those within them included."""
    names: set[str] = set()
    waiting = [operation.get("requestBody") for path in DOCUMENT["paths"].values() for operation in path.values()]
    while waiting:
        for name in references(waiting.pop()):
            if name not in names:
                names.add(name)
                waiting.append(DOCUMENT["components"]["schemas"][name])
    return names


def references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and value.startswith("#/components/schemas/"):
                yield value.rpartition("/")[2]
            else:
                yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


TAKEN = taken()
UNBOUNDED = re.compile(r"(?<!\\)[*+]|\{\d+,\}")
"""A quantifier without an end."""


def is_answered(path: tuple[str, ...]) -> bool:
    if path[:2] == ("components", "schemas"):
        return path[2] not in TAKEN
    return "responses" in path or "headers" in path


def is_bounded(path: tuple[str, ...]) -> bool:
    schema = within(DOCUMENT, path)
    if not isinstance(schema, dict):
        return False
    return "format" in schema or ("pattern" in schema and not UNBOUNDED.search(schema["pattern"]))


def is_open(path: tuple[str, ...]) -> bool:
    """Within an operation that asks for no token."""
    operation = within(DOCUMENT, path[:3]) if path[0] == "paths" else None
    return operation is not None and not any("oauth2" in one for one in operation["security"])


def is_lenient(path: tuple[str, ...]) -> bool:
    return path[:3] in (("components", "parameters", "RequestId"), ("components", "parameters", "Traceparent"))


FREE_TEXTS = {
    *("description", "metadata", "note", "comment", "reason"),
    *("merchant", "provider", "status", "method", "brand", "country", "bin", "version", "currency", "decline"),
    *("query", "operationName", "sql", "text"),
}
"""People's words, values that are compared with what is stored, and texts in a language that is parsed: all bounded in length."""
NAMED_BY_PEOPLE = {("CreateAlertSource", "name"), ("AlertMatcher", "value")}


def is_free_text(path: tuple[str, ...]) -> bool:
    if path[:2] == ("components", "schemas"):
        return bool(FREE_TEXTS & set(path)) or (path[2], path[4] if len(path) > 4 else "") in NAMED_BY_PEOPLE
    return path[0] == "paths" and path[1] in ("/v1/alerts", "/v1/desk/search", "/v1/desk/overview")


def is_tuple(path: tuple[str, ...]) -> bool:
    return "prefixItems" in within(DOCUMENT, path[:-1])


def is_refused_unknown(path: tuple[str, ...]) -> bool:
    return path[:3] in (("components", "responses", "Problem401"), ("components", "responses", "Problem403"))


ANSWERS = "what we answer is made of what was taken within limits; a limit here would be one more promise to keep"
OPEN = "open on purpose, and without a quota: health, keys, this document, the token endpoint, signed notifications"
LENIENT = "taken in any form: what is malformed is replaced or passed over"

Accept = Callable[[tuple[str, ...]], bool]
ACCEPTED: Mapping[str, tuple[str, Accept]] = {
    "owasp:api4:2023-string-limit": (
        f"{ANSWERS}; a pattern or a format bounds, too; {LENIENT}",
        lambda at: is_answered(at) or is_bounded(at) or is_lenient(at),
    ),
    "owasp:api4:2023-string-restricted": (
        f"{ANSWERS}; the merchant's free text; {LENIENT}",
        lambda at: is_answered(at) or is_free_text(at) or is_lenient(at),
    ),
    "owasp:api4:2023-array-limit": (ANSWERS, is_answered),
    "array-items": ("the items of a tuple are in prefixItems, each by its place", is_tuple),
    "owasp:api4:2023-integer-limit": (ANSWERS, is_answered),
    "owasp:api4:2023-integer-format": ("amounts go to 2^53, and limits say more than a width", lambda at: True),
    "owasp:api2:2023-read-restricted": (OPEN, is_open),
    "owasp:api2:2023-write-restricted": (OPEN, is_open),
    "owasp:api2:2023-no-http-basic": (
        "RFC 6749 has every token endpoint take it, and it opens nothing else",
        lambda at: at[:3] == ("components", "securitySchemes", "client_basic"),
    ),
    "owasp:api4:2023-rate-limit": (
        f"{OPEN}; and who is refused has not been counted",
        lambda at: is_open(at) or is_refused_unknown(at),
    ),
    "owasp:api4:2023-rate-limit-responses-429": (OPEN, is_open),
    "owasp:api8:2023-define-error-responses-401": (OPEN, is_open),
}


def not_accepted(findings: list[Finding]) -> list[Finding]:
    return [one for one in findings if one.code not in ACCEPTED or not ACCEPTED[one.code][1](one.path)]


def test_document_is_valid_openapi_3_1():
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


@pytest.mark.timeout(120)
def test_linter_has_nothing_to_say_that_was_not_considered(tmp_path):
    findings = spectral(DOCUMENT, tmp_path)
    assert not_accepted(findings) == []
    assert set(ACCEPTED) <= {one.code for one in findings}, "an exception that nothing needs any more"


@pytest.mark.timeout(120)
def test_linter_finds_faults_put_into_the_document(tmp_path):
    document = json.loads(json.dumps(DOCUMENT))
    create = document["paths"]["/v1/payments"]["post"]
    create["security"] = []
    del create["operationId"]
    del document["paths"]["/v1/payments"]["get"]["responses"]["429"]
    document["components"]["schemas"]["CreatePayment"]["properties"]["reference"] = {"type": "string"}
    assert {one.code for one in not_accepted(spectral(document, tmp_path))} >= {
        "operation-operationId",
        "owasp:api2:2023-write-restricted",
        "owasp:api4:2023-rate-limit-responses-429",
        "owasp:api4:2023-string-limit",
    }
