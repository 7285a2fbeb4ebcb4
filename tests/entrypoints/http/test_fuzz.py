"""Whatever comes in, the answer is never a fault of ours."""

from __future__ import annotations

import asyncio
import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.core.kernel.errors import Invalid
from interlock.entrypoints.http.bodies import BodyDecoder
from tests.entrypoints.http.example import PARCEL_ID, CreateParcel, Example, request, speak

GOOD = b'{"weight":12,"country":"DE","label":{"kind":"paper","text":"a"},"notes":{"a":"b"}}'
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NEAR_PARCELS = st.fixed_dictionaries(
    {},
    optional={
        "weight": st.integers() | JSON,
        "country": st.sampled_from(["DE", "de", "DE\n", ""]) | JSON,
        "label": st.fixed_dictionaries({}, optional={"kind": st.sampled_from(["paper", "x"]), "text": JSON}) | JSON,
        "notes": st.dictionaries(st.text(max_size=10), JSON, max_size=4),
        "fragile": JSON,
        "other": JSON,
    },
)


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """A good body with bytes put in, taken out or changed."""
    raw = bytearray(GOOD)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    return bytes(raw)


@given(st.binary(max_size=200) | broken() | NEAR_PARCELS.map(lambda value: json.dumps(value).encode()))
def test_body_is_decoded_or_refused_with_pointers_that_lead_somewhere(raw):
    try:
        body = BodyDecoder(CreateParcel).decode(raw)
    except Invalid as refusal:
        assert refusal.faults
        for fault in refusal.faults:
            assert fault.pointer == "" or fault.pointer.startswith("/")
            assert fault.code
            assert len(fault.detail) <= 300
    else:
        assert 1 <= body.weight <= 2**53
        assert len(body.country) == 2


async def _ask(example: Example, scope: dict[str, object], body: bytes) -> int:
    """One request straight to the application, its body in two pieces; the status."""
    pieces = [body[: len(body) // 2], body[len(body) // 2 :]]
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await example.app({"type": "http", "query_string": b"", **scope}, receive, send)
    status = sent[0]["status"]
    assert isinstance(status, int)
    return status


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"authorization",
                b"content-type",
                b"content-length",
                b"idempotency-key",
                b"interlock-version",
                b"x-request-id",
                b"traceparent",
                b"transfer-encoding",
                b"expect",
            ]
        ),
        st.sampled_from([b"Bearer token-writer", b"application/json", b"2026-12-01", b"0", b"10", b"chunked", b"k"])
        | st.binary(max_size=30),
    ),
    max_size=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=300)
@given(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "TRACE", "BREW"]),
    st.sampled_from(["/v1/parcels", f"/v1/parcels/{PARCEL_ID}", f"/v1/parcels/{PARCEL_ID}/send", "/v1/news/a"])
    | st.text(max_size=20).map(lambda text: "/" + text),
    st.binary(max_size=30)
    | st.sampled_from([b"limit=5", b"limit=x", b"after=" + PARCEL_ID.encode(), b"a=%", b"&&", b"fragile=true"]),
    HEADERS,
    st.binary(max_size=60) | st.just(GOOD),
)
def test_no_request_whatever_its_parts_is_answered_with_a_fault_of_ours(method, path, query, headers, body):
    example = Example()
    scope = {"method": method, "path": path, "query_string": query, "headers": headers}
    status = asyncio.run(_ask(example, scope, body))
    assert status < 500
    assert example.telemetry.lines == []


@pytest.mark.parametrize("seed", range(8))
async def test_mutilated_requests_leave_the_server_well(served, seed):
    chance = random.Random(seed)
    for _ in range(25):
        raw = bytearray(request(body=GOOD))
        for _ in range(chance.randint(1, 6)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(bytes(raw))
        await writer.drain()
        writer.close()
    assert (await speak(served.port, request(body=GOOD))).status == 201
    assert served.example.telemetry.lines == []
