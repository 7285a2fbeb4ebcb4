"""The document says what is enforced."""

from __future__ import annotations

from typing import Annotated, Any, cast

import msgspec
import pytest
from openapi_spec_validator import validate

from interlock.entrypoints.http.openapi import encode_document, loose_patterns, openapi_document, problem_statuses
from interlock.entrypoints.http.routing import Answer, Call, Link, Route
from tests.entrypoints.http.example import Example, request, speak


class Loose(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(pattern="^a$")]


async def _nothing(_: Call) -> Answer:
    return Answer(204)


def _route(**fields: Any) -> Route:
    given = {"method": "GET", "path": "/x", "endpoint": _nothing, "operation_id": "x", "summary": "x"} | fields
    return Route(**cast(Any, given))


DOCUMENT = msgspec.json.decode(Example().document)


def test_document_is_valid_openapi():
    validate(DOCUMENT)


def test_same_routes_give_the_same_bytes():
    assert Example().document == Example().document


def test_body_schema_carries_every_limit_that_is_enforced():
    schema = DOCUMENT["components"]["schemas"]["CreateParcel"]
    assert schema["additionalProperties"] is False
    assert sorted(schema["required"]) == ["country", "weight"]
    assert schema["properties"]["weight"] == {"type": "integer", "minimum": 1, "maximum": 2**53}
    assert schema["properties"]["country"] == {"type": "string", "pattern": "^[A-Z]{2}$"}
    assert schema["properties"]["notes"]["maxProperties"] == 3


def test_query_type_stands_as_parameters_and_not_as_a_schema():
    parameters = {
        parameter["name"]: parameter
        for parameter in DOCUMENT["paths"]["/v1/parcels"]["get"]["parameters"]
        if "name" in parameter
    }
    assert list(parameters) == ["limit", "after", "before", "country", "fragile"]
    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
    assert parameters["fragile"]["schema"] == {"type": "boolean"}
    assert "ParcelsQuery" not in DOCUMENT["components"]["schemas"]


@pytest.mark.parametrize(
    ("fields", "statuses"),
    [
        ({}, [400, 500, 503]),
        ({"scope": "a:read"}, [400, 401, 403, 429, 500, 503]),
        ({"path": "/x/{id}"}, [400, 404, 500, 503]),
        ({"body": dict[str, str]}, [400, 413, 415, 500, 503]),
        ({"reads_body": True, "accepts": ()}, [400, 413, 500, 503]),
        ({"idempotent": True, "problems": (404,)}, [400, 404, 409, 422, 500, 503]),
    ],
)
def test_every_problem_a_route_may_answer_with_is_listed(fields, statuses):
    assert problem_statuses(_route(**fields)) == statuses


def test_operation_needs_exactly_its_scope():
    assert DOCUMENT["paths"]["/v1/parcels"]["post"]["security"] == [{"oauth2": ["parcels:write"]}]
    assert DOCUMENT["paths"]["/healthz"]["get"]["security"] == []
    flow = DOCUMENT["components"]["securitySchemes"]["oauth2"]["flows"]["clientCredentials"]
    assert set(flow["scopes"]) == {"parcels:read", "parcels:write"}


def test_link_to_an_operation_that_does_not_exist_is_refused():
    link = Link("next", 200, "nowhere", {})
    with pytest.raises(ValueError, match="nowhere"):
        openapi_document([_route(links=(link,), answers={200: None})])


def test_pattern_that_lets_a_final_newline_through_is_found():
    assert loose_patterns([_route(body=Loose)]) == ["^a$"]
    assert loose_patterns(Example().routes) == []


async def test_every_documented_example_is_accepted(served):
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if "example" in content:
                body = msgspec.json.encode(content["example"])
                answer = await speak(served.port, request(method.upper(), path, body=body))
                assert str(answer.status) in operation["responses"]
                assert answer.status < 300


def test_document_ends_with_a_newline_and_is_readable():
    text = encode_document(DOCUMENT).decode()
    assert text.endswith("}\n")
    assert '\n "paths": {' in text


def test_status_that_is_an_answer_and_a_problem_shows_both_contents():
    document = openapi_document([_route(answers={200: None, 400: dict[str, str]}, operation_id="y")])
    content = document["paths"]["/x"]["get"]["responses"]["400"]["content"]
    assert set(content) == {"application/json", "application/problem+json"}
