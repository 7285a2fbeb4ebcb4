"""Stripe's published OpenAPI contract as a judge of requests: path, method, query and form against the schema."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

import jsonschema

from tests.counterparts.paths import require


@cache
def load() -> dict[str, Any]:
    return json.loads(require("stripe-contract").read_bytes())


def check_request(request) -> None:
    """Raises AssertionError, or jsonschema.ValidationError, for a request the contract does not know."""
    path, _, query = request.path.partition("?")
    template, operation = _operation(request.method.lower(), path)
    parameters = [parameter for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]
    schema = {
        "type": "object",
        "properties": {parameter["name"]: parameter["schema"] for parameter in parameters},
        "required": [parameter["name"] for parameter in parameters if parameter.get("required")],
        "additionalProperties": False,
    }
    validate(schema, parse_qsl(query, strict_parsing=True) if query else [])
    body = operation.get("requestBody", {}).get("content", {}).get("application/x-www-form-urlencoded")
    if request.body:
        assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
        assert body is not None, f"{template} takes no form"
        validate(body["schema"], parse_qsl(request.body.decode(), strict_parsing=True, keep_blank_values=True))
    else:
        assert not operation.get("requestBody", {}).get("required"), f"{template} wants a form"


def validate(schema: dict[str, Any], fields: list[tuple[str, str]]) -> None:
    jsonschema.Draft7Validator(schema).validate(_typed(schema, _nested(fields)))


def enum_of(schema: str, field: str) -> set[str]:
    return set(load()["components"]["schemas"][schema]["properties"][field]["enum"])


def _operation(method: str, path: str) -> tuple[str, dict[str, Any]]:
    """The most literal template that fits, as servers route."""
    fitting = [
        template
        for template, methods in load()["paths"].items()
        if method in methods and re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path)
    ]
    assert fitting, f"{method} {path} is not in the contract"
    template = min(fitting, key=lambda template: template.count("{"))
    return template, load()["paths"][template][method]


def _nested(fields: list[tuple[str, str]]) -> dict[str, Any]:
    """`a[b][c]=1&d[]=2` as {"a": {"b": {"c": "1"}}, "d": ["2"]}."""
    result: dict[str, Any] = {}
    for name, value in fields:
        words = re.findall(r"[^\[\]]+|\[\]", name)
        if words[-1] == "[]":
            assert len(words) == 2, name
            result.setdefault(words[0], []).append(value)
            continue
        place = result
        for word in words[:-1]:
            place = place.setdefault(word, {})
        assert words[-1] not in place, f"{name} twice"
        place[words[-1]] = value
    return result


def _typed(schema: dict[str, Any], value: Any) -> Any:
    """Form values are text; read each as the type its schema asks for."""
    for option in schema.get("anyOf", ()):
        typed = _typed(option, value)
        if jsonschema.Draft7Validator(option).is_valid(typed):
            return typed
    if isinstance(value, dict):
        known = schema.get("properties", {})
        other = schema.get("additionalProperties", {})
        rest = other if isinstance(other, dict) else {}
        return {name: _typed(known.get(name, rest), inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_typed(schema.get("items", {}), inner) for inner in value]
    if schema.get("type") == "integer" and re.fullmatch(r"-?\d+", value):
        return int(value)
    if schema.get("type") == "boolean" and value in ("true", "false"):
        return value == "true"
    return value
