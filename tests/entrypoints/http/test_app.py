"""What good requests get, and what happens when the platform itself is at fault."""

from __future__ import annotations

import asyncio

import pytest

from interlock.core.access.rates import Allowance
from interlock.core.kernel.errors import (
    Conflict,
    IdempotencyKeyReused,
    InterlockError,
    OutcomeUnknown,
    RequestInFlight,
    StoreUnavailable,
    Unauthenticated,
    WriteConflict,
)
from interlock.entrypoints.http.routing import Answer
from interlock.entrypoints.http.server import HttpServer
from tests.entrypoints.http.example import PARCEL_ID, CreateParcel, Example, read_response, request, speak

GOOD = b'{"weight":12,"country":"DE"}'


async def test_good_request_reaches_the_endpoint_with_everything_decoded(served):
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    sent = request(
        body=GOOD,
        headers={"X-Request-Id": "order-17", "traceparent": traceparent, "Interlock-Version": "2026-12-01"},
    )
    answer = await speak(served.port, sent)
    [call] = served.example.calls
    assert call.body == CreateParcel(weight=12, country="DE")
    assert (call.principal.client_id, call.principal.tenant) == ("cli_1", "ten_1")
    assert (call.idempotency_key, call.request_id, call.traceparent) == ("key-1", "order-17", traceparent)
    assert (answer.status, answer.json) == (201, {"id": PARCEL_ID, "weight": 12, "country": "DE"})


async def test_every_answer_names_its_request_and_is_not_to_be_stored(served):
    good = await speak(served.port, request(body=GOOD, headers={"X-Request-Id": "A.b_c-9"}))
    bad = await speak(served.port, request(body=b"{"))
    assert good.headers["x-request-id"] == "A.b_c-9"
    assert bad.headers["x-request-id"].startswith("req_")
    for answer in (good, bad):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers


async def test_answer_says_what_is_left_of_the_rate(served):
    answer = await speak(served.port, request(body=GOOD))
    assert answer.headers["ratelimit-policy"] == '"client";q=100'
    assert answer.headers["ratelimit"] == '"client";r=99;t=1'


async def test_client_above_its_rate_is_answered_429_and_reaches_nobody(served):
    served.example.allowance = Allowance(False, 100, 0, 2.5, 3)
    answer = await speak(served.port, request(body=GOOD))
    assert (answer.status, answer.json["code"]) == (429, "rate_limited")
    assert answer.headers["retry-after"] == "3"
    assert answer.headers["ratelimit"] == '"client";r=0;t=3'
    assert served.example.calls == []
    assert ("interlock_rate_limited_total", ("client", "cli_1")) in served.example.telemetry.counts


async def test_same_meaning_gives_the_same_fingerprint_and_another_meaning_another(served):
    spellings = [
        b'{"weight":12,"country":"DE","notes":{"a":"1","b":"2"}}',
        b'{ "notes": {"b": "2", "a": "1"},\n"country":"DE","weight":12, "fragile": false}',
    ]
    other = b'{"weight":13,"country":"DE","notes":{"a":"1","b":"2"}}'
    for body in (*spellings, other):
        await speak(served.port, request(body=body))
    first, second, third = (call.request() for call in served.example.calls)
    assert first.fingerprint == second.fingerprint
    assert first.key == second.key == third.key
    assert third.fingerprint != first.fingerprint


async def test_idempotency_key_is_scoped_by_path_and_the_quoted_form_is_the_same_key(served):
    await speak(served.port, request(body=GOOD, key="k 1"))
    await speak(served.port, request(body=GOOD, key='"k 1"'))
    await speak(served.port, request(path=f"/v1/parcels/{PARCEL_ID}/send", key="k 1"))
    plain, quoted, elsewhere = (call.request().key for call in served.example.calls)
    assert plain == quoted
    assert elsewhere != plain


async def test_optional_body_may_be_missing_or_empty_or_there(served):
    path = f"/v1/parcels/{PARCEL_ID}/send"
    bodies = (None, b"", b"{}", b'{"speed":3}')
    answers = [await speak(served.port, request(path=path, body=body)) for body in bodies]
    assert [answer.status for answer in answers] == [200, 200, 200, 200]
    assert [call.body.speed for call in served.example.calls] == [None, None, None, 3]
    assert served.example.calls[0].path_params == {"id": PARCEL_ID}


async def test_open_route_gets_any_bytes_and_headers_without_a_token(served):
    sent = request(
        path="/v1/news/acme?x=1", body=b"\xff\x00", token=None, key=None, media_type="text/x", headers={"Sig": "a"}
    )
    answer = await speak(served.port, sent)
    [call] = served.example.calls
    assert (answer.status, answer.body) == (204, b"")
    assert (call.raw, call.headers["sig"], call.path_params) == (b"\xff\x00", "a", {"source": "acme"})
    assert served.example.taken == []


async def test_endpoint_may_refuse_a_caller_by_its_own_challenge(served):
    served.example.then = Unauthenticated("bad signature", code="bad_signature")
    answer = await speak(served.port, request(path="/v1/news/acme", body=b"x", token=None))
    assert (answer.status, answer.json["code"]) == (401, "bad_signature")
    assert answer.headers["www-authenticate"] == "Signature"


async def test_head_is_get_without_a_body(served):
    got = await speak(served.port, request("GET", "/healthz", token=None))
    answer = await speak(served.port, request("HEAD", "/healthz", token=None), bodiless=True)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(len(got.body))


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (Conflict("no", code="parcel_state"), 409, "parcel_state", None),
        (WriteConflict(("p", "s")), 409, "write_conflict", "1"),
        (RequestInFlight("wait", retry_after_s=2), 409, "request_in_flight", "2"),
        (IdempotencyKeyReused("other body"), 422, "idempotency_key_reused", None),
        (StoreUnavailable("disk full", retry_after_s=5), 503, "store_unavailable", "5"),
        (StoreUnavailable("disk full", retry_after_s=0), 503, "store_unavailable", "1"),
        (OutcomeUnknown("who knows"), 503, "outcome_unknown", "2"),
    ],
)
async def test_error_of_an_endpoint_becomes_its_problem(served, error, status, code, retry_after):
    served.example.then = error
    answer = await speak(served.port, request(body=GOOD))
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.headers.get("retry-after") == retry_after


@pytest.mark.parametrize("error", [ZeroDivisionError("secret 4242424242424242"), InterlockError("secret")])
async def test_unexpected_error_is_500_that_says_nothing_but_where_to_look(served, error):
    served.example.then = error
    answer = await speak(served.port, request(body=GOOD, headers={"X-Request-Id": "r-1"}))
    assert answer.status == 500
    assert answer.json["code"] == "internal"
    assert answer.json["request_id"] == "r-1"
    assert b"secret" not in answer.body


async def test_unexpected_error_is_logged_by_place_without_its_text(served):
    served.example.then = ZeroDivisionError("secret 4242424242424242")
    await speak(served.port, request(body=GOOD, headers={"X-Request-Id": "r-1"}))
    [(level, event, fields)] = served.example.telemetry.lines
    assert (level, event, fields["request_id"], fields["route"]) == (
        "error",
        "http.request_failed",
        "r-1",
        "/v1/parcels",
    )
    assert fields["error"].startswith("ZeroDivisionError at example.py:")
    assert "4242" not in str(fields)


async def test_answer_that_cannot_be_sent_is_500_and_not_a_broken_connection(served):
    for broken in (Answer(200, {1j: object()}), Answer(200, b"", {"X-Note": "a\r\nSet-Cookie: b"})):
        served.example.then = broken
        answer = await speak(served.port, request(body=GOOD))
        assert (answer.status, answer.json["code"]) == (500, "internal")
        assert "set-cookie" not in answer.headers


async def test_client_that_leaves_before_its_body_is_complete_reaches_nobody(served):
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(request(body=GOOD, headers={"Content-Length": "1000"}))
    await writer.drain()
    writer.write_eof()
    writer.transport.abort()
    assert (await speak(served.port, request("GET", "/healthz", token=None))).status == 200
    assert served.example.calls == []
    assert served.example.telemetry.lines == []
    del reader


async def test_client_that_leaves_later_does_not_stop_its_request(served):
    gate, finished = asyncio.Event(), asyncio.Event()

    class Gate(asyncio.Event):
        async def wait(self):
            await gate.wait()
            finished.set()
            return True

    served.example.then = Gate()
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(request(body=GOOD))
    while not served.example.calls:
        await asyncio.sleep(0)
    writer.transport.abort()
    await asyncio.sleep(0)
    gate.set()
    await asyncio.wait_for(finished.wait(), 5)


async def test_connection_lives_on_after_a_refusal_with_an_unread_body(served):
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(request(body=b"x" * 1000, token="nobody") + request(body=GOOD))
    first, second = await read_response(reader), await read_response(reader)
    writer.close()
    assert (first.status, second.status) == (401, 201)


async def test_one_request_too_many_at_once_is_answered_503():
    example = Example(in_flight_max=1)
    server = HttpServer(example.app)
    port = await server.start()
    gate = asyncio.Event()
    example.then = gate
    first = asyncio.create_task(speak(port, request(body=GOOD)))
    while not example.calls:
        await asyncio.sleep(0)
    second = await speak(port, request(body=GOOD))
    gate.set()
    assert (second.status, second.json["code"], second.headers["retry-after"]) == (503, "overloaded", "1")
    assert (await first).status == 201
    assert (await speak(port, request(body=GOOD))).status == 201
    await server.stop()


async def test_endpoint_may_say_itself_how_its_answer_is_kept(served):
    served.example.then = Answer(200, b"{}", {"Cache-Control": "public, max-age=60"})
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(request(body=GOOD))
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert head.lower().count(b"cache-control:") == 1
    assert b"cache-control: public, max-age=60" in head
