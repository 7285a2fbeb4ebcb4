"""What bad input gets, over real sockets: a problem document that names the fault, and no endpoint runs."""

from __future__ import annotations

import asyncio

import pytest

from tests.entrypoints.http.example import READER, Response, read_response, request, speak

GOOD = b'{"weight":12,"country":"DE"}'

BAD_BODIES = {
    "unknown field": (b'{"weight":1,"country":"DE","wings":2}', [("/wings", "unknown_field")]),
    "unknown nested field": (
        b'{"weight":1,"country":"DE","label":{"kind":"paper","text":"a","x/y~z":1}}',
        [("/label/x~1y~0z", "unknown_field")],
    ),
    "wrong type": (b'{"weight":"12","country":"DE"}', [("/weight", "wrong_type")]),
    "boolean for a number": (b'{"weight":true,"country":"DE"}', [("/weight", "wrong_type")]),
    "fraction": (b'{"weight":1.5,"country":"DE"}', [("/weight", "wrong_type")]),
    "fraction below what a float can hold": (
        b'{"weight":1999.00000000000000000001,"country":"DE"}',
        [("/weight", "wrong_type")],
    ),
    "above 2^53, as a float would round it": (
        b'{"weight":9007199254740993.0,"country":"DE"}',
        [("/weight", "out_of_range")],
    ),
    "huge exponent": (b'{"weight":1e200,"country":"DE"}', [("/weight", "wrong_type")]),
    "exponent beyond numbers": (b'{"weight":1e999999999,"country":"DE"}', [("", "out_of_range")]),
    "lone surrogate beside a whole number": (b'{"weight":1.0,"country":"\\ud800"}', [("", "malformed_json")]),
    "malformed behind a fault": (b'{"weight":"1","country":', [("", "malformed_json")]),
    "name twice and a fault": (b'{"weight":0,"weight":1,"country":"DE"}', [("", "repeated_field")]),
    "null": (b'{"weight":null,"country":"DE"}', [("/weight", "wrong_type")]),
    "negative": (b'{"weight":-1,"country":"DE"}', [("/weight", "out_of_range")]),
    "zero": (b'{"weight":0,"country":"DE"}', [("/weight", "out_of_range")]),
    "above 2^53": (b'{"weight":9007199254740993,"country":"DE"}', [("/weight", "out_of_range")]),
    "astronomical": (b'{"weight":' + b"9" * 400 + b',"country":"DE"}', [("/weight", "out_of_range")]),
    "missing": (b'{"weight":1}', [("/country", "required")]),
    "missing nested": (b'{"weight":1,"country":"DE","label":{"kind":"paper"}}', [("/label/text", "required")]),
    "not in the list": (
        b'{"weight":1,"country":"DE","label":{"kind":"stone","text":"a"}}',
        [("/label/kind", "not_allowed")],
    ),
    "bad format": (b'{"weight":1,"country":"de"}', [("/country", "bad_format")]),
    "newline behind a good value": (b'{"weight":1,"country":"DE\\n"}', [("/country", "bad_format")]),
    "bad key": (b'{"weight":1,"country":"DE","notes":{"A":"b"}}', [("/notes/A", "bad_format")]),
    "bad value under a key": (b'{"weight":1,"country":"DE","notes":{"a":"bbbbbb"}}', [("/notes/a", "bad_length")]),
    "too many keys": (
        b'{"weight":1,"country":"DE","notes":{"a":"1","b":"1","c":"1","d":"1"}}',
        [("/notes", "bad_length")],
    ),
    "three faults": (
        b'{"weight":0,"country":7,"more":1}',
        [("/weight", "out_of_range"), ("/country", "wrong_type"), ("/more", "unknown_field")],
    ),
    "an array": (b"[]", [("", "wrong_type")]),
    "nothing at all": (b"null", [("", "wrong_type")]),
    "no body": (b"", [("", "required")]),
    "malformed": (b'{"weight":1,', [("", "malformed_json")]),
    "trailing characters": (GOOD + b"x", [("", "malformed_json")]),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, [("", "malformed_json")]),
    "not a number": (b'{"weight":NaN,"country":"DE"}', [("", "malformed_json")]),
    "invalid UTF-8": (b'{"weight":1,"country":"\xff\xfe"}', [("", "invalid_utf8")]),
    "lone surrogate": (b'{"weight":1,"country":"\\ud800"}', [("", "malformed_json")]),
    "name twice": (b'{"weight":1,"weight":2,"country":"DE"}', [("", "repeated_field")]),
    "name twice, escaped": (b'{"weight":1,"w\\u0065ight":2,"country":"DE"}', [("", "repeated_field")]),
    "nested deeply": (b'{"weight":' + b"[" * 30_000 + b"]" * 30_000 + b"}", [("", "nesting_too_deep")]),
    "nested deeply in an unknown field": (b'{"x":' * 9_000 + b"1" + b"}" * 9_000, [("", "nesting_too_deep")]),
}


def assert_problem(answer: Response, status: int, code: str) -> None:
    problem = answer.json
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status, problem["status"], problem["code"]) == (status, status, code)
    assert set(problem) == {"type", "title", "status", "detail", "code", "request_id", "errors"}
    assert problem["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(("body", "faults"), BAD_BODIES.values(), ids=BAD_BODIES)
async def test_bad_body_is_answered_400_naming_each_fault_and_reaches_nobody(served, body, faults):
    answer = await speak(served.port, request(body=body))
    assert_problem(answer, 400, "invalid_request")
    assert [(fault["pointer"], fault["code"]) for fault in answer.json["errors"]] == faults
    assert all(fault["detail"] for fault in answer.json["errors"])
    assert served.example.calls == []


@pytest.mark.parametrize(
    ("text", "weight"), [(b"12.0", 12), (b"1.2e1", 12), (b"1E3", 1000), (b"9007199254740992.0", 2**53)]
)
async def test_whole_number_may_be_written_as_json_allows(served, text, weight):
    answer = await speak(served.port, request(body=b'{"weight":%s,"country":"DE"}' % text))
    assert (answer.status, answer.json["weight"]) == (201, weight)


async def test_at_most_twenty_faults_are_listed(served):
    body = b'{"weight":1,"country":"DE",%s}' % b",".join(b'"x%d":1' % n for n in range(50))
    answer = await speak(served.port, request(body=body))
    assert len(answer.json["errors"]) == 20


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/jsonp", "application/json; charset=latin-1", "application/json; a=b", "", None],
)
async def test_other_content_type_is_answered_415(served, media_type):
    answer = await speak(served.port, request(body=GOOD, media_type=media_type))
    assert_problem(answer, 415, "unsupported_media_type")
    assert served.example.calls == []


@pytest.mark.parametrize(
    "media_type", ["application/json", "Application/JSON ; charset=UTF-8", 'application/json;charset="utf-8"']
)
async def test_json_in_utf8_is_taken_however_it_is_written(served, media_type):
    answer = await speak(served.port, request(body=GOOD, media_type=media_type))
    assert answer.status == 201


async def test_body_announced_above_the_limit_is_answered_413_before_it_is_sent(served):
    sent = request(body=GOOD, headers={"Content-Length": "1048576"})
    answer = await speak(served.port, sent)
    assert_problem(answer, 413, "payload_too_large")
    assert answer.headers["connection"] == "close"
    assert served.example.calls == []


async def test_whole_megabyte_still_gets_its_413_and_not_a_reset(served):
    answer = await speak(served.port, request(body=b"x" * 1_048_576))
    assert_problem(answer, 413, "payload_too_large")


async def test_endless_chunked_body_is_answered_413_when_it_passes_the_limit(served):
    head = request(body=None, headers={"Transfer-Encoding": "chunked", "Content-Type": "application/json"})
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(head)
    for _ in range(20):
        writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
    answer = await read_response(reader)
    writer.close()
    assert_problem(answer, 413, "payload_too_large")
    assert served.example.calls == []


async def test_chunked_body_within_the_limit_is_taken(served):
    head = request(body=None, headers={"Transfer-Encoding": "chunked", "Content-Type": "application/json"})
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (GOOD[:7], GOOD[7:])) + b"0\r\n\r\n"
    answer = await speak(served.port, head + chunks)
    assert answer.status == 201
    assert served.example.calls[0].raw == GOOD


async def test_body_of_exactly_the_limit_is_taken(served):
    answer = await speak(served.port, request(body=GOOD + b" " * (65_536 - len(GOOD))))
    assert answer.status == 201
    answer = await speak(served.port, request(body=GOOD + b" " * (65_537 - len(GOOD))))
    assert answer.status == 413


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (None, "required"),
        ("", "bad_format"),
        ("x" * 256, "bad_format"),
        ("tab\there", "bad_format"),
        ("caf\xe9", "bad_format"),
        ('"unclosed', "bad_format"),
        ('""', "bad_format"),
        ('"bad \\escape"', "bad_format"),
    ],
)
async def test_bad_idempotency_key_is_answered_400(served, key, code):
    answer = await speak(served.port, request(body=GOOD, key=key))
    assert_problem(answer, 400, "invalid_request")
    assert [(fault["pointer"], fault["code"]) for fault in answer.json["errors"]] == [("/header/Idempotency-Key", code)]
    assert served.example.calls == []


@pytest.mark.parametrize(
    "header", ["Idempotency-Key: other", "Authorization: Bearer token-reader", "Interlock-Version: x"]
)
async def test_header_sent_twice_is_answered_400(served, header):
    sent = request(body=GOOD, headers={"Interlock-Version": "2026-12-01"})
    answer = await speak(served.port, sent.replace(b"Host: test\r\n", b"Host: test\r\n" + header.encode() + b"\r\n"))
    assert_problem(answer, 400, "invalid_request")
    assert answer.json["errors"][0]["code"] == "repeated"
    assert served.example.calls == []


async def test_unknown_version_is_answered_400(served):
    answer = await speak(served.port, request(body=GOOD, headers={"Interlock-Version": "2025-01-01"}))
    assert_problem(answer, 400, "invalid_request")
    assert answer.json["errors"][0]["pointer"] == "/header/Interlock-Version"


@pytest.mark.parametrize("value", ["a b", "a" * 65, "x\x01y", "\xff", "semi;colon", "a/../b"])
async def test_request_id_that_could_break_out_is_replaced_not_echoed(served, value):
    answer = await speak(served.port, request(body=GOOD, headers={"X-Request-Id": value}))
    if answer.headers.get("x-request-id") is not None:
        assert answer.headers["x-request-id"].startswith("req_")
    assert value not in answer.headers.values()


async def test_carriage_return_smuggled_into_a_header_adds_no_header(served):
    sent = request(body=GOOD).replace(b"key-1", b"key-1\r\nX-Request-Id: mine\r\n injected: yes")
    answer = await speak(served.port, sent)
    assert answer.status == 400
    assert "injected" not in answer.headers


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ("limit=0", "/query/limit", "out_of_range"),
        ("limit=101", "/query/limit", "out_of_range"),
        ("limit=ten", "/query/limit", "wrong_type"),
        ("limit=1.0", "/query/limit", "wrong_type"),
        ("limit=%D9%A3", "/query/limit", "wrong_type"),
        ("limit=", "/query/limit", "wrong_type"),
        ("limit=5&limit=6", "/query/limit", "repeated"),
        ("size=5", "/query/size", "unknown_field"),
        ("after=../../etc", "/query/after", "bad_format"),
        ("country=DE%0A", "/query/country", "bad_format"),
        ("fragile=1", "/query/fragile", "wrong_type"),
        ("country=%FF", "/query", "malformed"),
        ("country", "/query", "malformed"),
    ],
)
async def test_bad_query_is_answered_400_naming_the_parameter(served, query, pointer, code):
    answer = await speak(served.port, request("GET", f"/v1/parcels?{query}", key=None))
    assert_problem(answer, 400, "invalid_request")
    assert [(fault["pointer"], fault["code"]) for fault in answer.json["errors"]] == [(pointer, code)]
    assert served.example.calls == []


async def test_query_on_a_route_without_parameters_is_answered_400(served):
    answer = await speak(served.port, request(path="/v1/parcels?dry_run=true", body=GOOD))
    assert_problem(answer, 400, "invalid_request")
    assert answer.json["errors"][0]["pointer"] == "/query/dry_run"
    assert served.example.calls == []


async def test_text_that_reads_null_is_a_value_and_not_the_absence_of_one(served):
    answer = await speak(served.port, request("GET", "/v1/parcels?country=null", key=None))
    assert_problem(answer, 400, "invalid_request")


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/parcels/", "/v1/parcels//send", "/v1/parcels/pcl_1", "/v1/parcels/..%2fx", "/V1/parcels"]
)
async def test_unknown_path_is_answered_404(served, path):
    answer = await speak(served.port, request("GET", path))
    assert_problem(answer, 404, "not_found")


async def test_unknown_method_is_answered_405_with_what_is_allowed(served):
    answer = await speak(served.port, request("DELETE", "/v1/parcels"))
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, POST"
    answer = await speak(served.port, request("PATCH", "/v1/parcels/pcl_" + "0" * 26))
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer nope", "Basic dTpw", "bearer\xff"])
async def test_unknown_caller_is_answered_401_and_reaches_nobody(served, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = await speak(served.port, request(body=GOOD, token=None, headers=headers))
    assert_problem(answer, 401, "token_invalid")
    challenge = 'Bearer realm="interlock"' + ("" if authorization is None else ', error="invalid_token"')
    assert answer.headers["www-authenticate"] == challenge
    assert served.example.calls == []
    assert served.example.taken == []


async def test_missing_scope_is_answered_403_naming_it(served):
    answer = await speak(served.port, request(body=GOOD, token=READER))
    assert_problem(answer, 403, "insufficient_scope")
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="parcels:write"'
    assert served.example.calls == []
