"""What bad input gets from the whole platform: a problem document that names the fault, and nothing is written or sent."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from interlock.core.kernel.ids import is_id
from tests.entrypoints.api.real import RealPlatform, Written, real_platform
from tests.entrypoints.http.example import Response, request, speak

pytestmark = pytest.mark.xdist_group("api-bad-input")

CARD = {"type": "card", "token": "tok_approve"}
GOOD: dict[str, Any] = {"amount": 1999, "currency": "EUR", "payment_method": CARD}
PROBLEM_MEMBERS = {"type", "title", "status", "detail", "code", "request_id", "errors"}
MEGABYTE = b'{"description":"' + b"x" * 1_000_000 + b'"}'
NO_PAYMENT = "pay_" + "0" * 26


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPlatform]:
    """Its providers tell nothing that their answers have said, so that nothing is written behind a test's back."""
    with real_platform(tmp_path_factory.mktemp("platform") / "data") as platform:
        for name in platform.providers:
            quiet = urllib.request.Request(
                f"{platform.simulator_url}/{name}/faults", method="PUT", data=b'{"notifications":{"of_answers":false}}'
            )
            with urllib.request.urlopen(quiet, timeout=10) as answer:
                assert answer.status == 200
        yield platform


def charges(real: RealPlatform) -> list[dict[str, Any]]:
    """In the books of all providers."""
    return [row for books in real.books().values() for row in books["charges"]]


def good(**changed: Any) -> dict[str, Any]:
    return {**GOOD, **changed}


def assert_problem(answer: Response, status: int, *faults: tuple[str, str]) -> dict[str, Any]:
    """A whole problem document, naming exactly `faults` as (pointer, code)."""
    problem: dict[str, Any] = answer.json
    assert (answer.status, problem["status"]) == (status, status), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(problem) == PROBLEM_MEMBERS
    assert problem["type"].startswith("urn:interlock:problem:")
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert [(fault["pointer"], fault["code"]) for fault in problem["errors"]] == list(faults)
    assert all(fault["detail"] for fault in problem["errors"])
    return problem


BODIES: dict[str, tuple[Any, list[tuple[str, str]]]] = {
    "unknown field": (good(amont=1), [("/amont", "unknown_field")]),
    "unknown field within the payment method": (
        good(payment_method={**CARD, "number": "4242424242424242"}),
        [("/payment_method/number", "unknown_field")],
    ),
    "tenant in the body": (good(tenant="ten_other"), [("/tenant", "unknown_field")]),
    "no amount": ({"currency": "EUR", "payment_method": CARD}, [("/amount", "required")]),
    "no payment method to confirm with": ({"amount": 1, "currency": "EUR"}, [("/payment_method", "required")]),
    "amount as text": (good(amount="1999"), [("/amount", "wrong_type")]),
    "amount in major units": (good(amount=19.99), [("/amount", "wrong_type")]),
    "amount in major units as text": (good(amount="19.99"), [("/amount", "wrong_type")]),
    "amount as a boolean": (good(amount=True), [("/amount", "wrong_type")]),
    "amount null": (good(amount=None), [("/amount", "wrong_type")]),
    "amount as an object": (good(amount={"value": 1999}), [("/amount", "wrong_type")]),
    "fraction smaller than a float can tell": (
        b'{"amount":1999.00000000000000000001,"currency":"EUR","payment_method":{"type":"card","token":"tok_approve"}}',
        [("/amount", "wrong_type")],
    ),
    "negative amount": (good(amount=-1), [("/amount", "out_of_range")]),
    "zero amount": (good(amount=0), [("/amount", "out_of_range")]),
    "amount above 2^53": (good(amount=2**53 + 1), [("/amount", "out_of_range")]),
    "amount above 2^63": (good(amount=2**63), [("/amount", "out_of_range")]),
    "amount above 2^53 with an exponent": (
        b'{"amount":9.007199254740993e15,"currency":"EUR","payment_method":{"type":"card","token":"tok_approve"}}',
        [("/amount", "out_of_range")],
    ),
    "unknown currency": (good(currency="AAA"), [("/currency", "not_allowed")]),
    "unknown currency of a payment to confirm later": (
        {"amount": 1, "currency": "AAA", "confirm": False},
        [("/currency", "not_allowed")],
    ),
    "currency that no payment is made in": (good(currency="XAU"), [("/currency", "not_allowed")]),
    "currency in lower case": (good(currency="eur"), [("/currency", "not_allowed")]),
    "currency with a newline": (good(currency="EUR\n"), [("/currency", "not_allowed")]),
    "currency as its number": (good(currency=978), [("/currency", "wrong_type")]),
    "card number as the token": (
        good(payment_method={"type": "card", "token": "4242 4242 4242 4242"}),
        [("/payment_method/token", "bad_format")],
    ),
    "line break in the reference": (good(reference="a\r\nb"), [("/reference", "bad_format")]),
    "return URL of another scheme": (good(return_url="javascript:alert(1)"), [("/return_url", "bad_format")]),
    "return URL that readers would read differently": (
        good(return_url="https://shop.example.com/\u0085"),
        [("/return_url", "bad_format")],
    ),
    "metadata that is not text": (good(metadata={"a": 1}), [("/metadata/a", "wrong_type")]),
    "unknown routing rule": (good(routing={"rule": "nowhere"}), [("/routing/rule", "unknown_rule")]),
    "provider that is not configured": (
        good(routing={"provider": "nobody"}),
        [("/routing/provider", "provider_unusable")],
    ),
    "every fault at once": (
        good(amount=0, currency="eur", more=1),
        [("/amount", "out_of_range"), ("/currency", "not_allowed"), ("/more", "unknown_field")],
    ),
    "malformed JSON": (b'{"amount":1999,', [("", "malformed_json")]),
    "something behind the JSON": (msgspec.json.encode(GOOD) + b"}", [("", "malformed_json")]),
    "not JSON": (b"amount=1999&currency=EUR", [("", "malformed_json")]),
    "not a number": (b'{"amount":NaN}', [("", "malformed_json")]),
    "an array": ([GOOD], [("", "wrong_type")]),
    "empty body": (b"", [("", "required")]),
    "amount twice": (b'{"amount":1,' + msgspec.json.encode(GOOD)[1:], [("", "repeated_field")]),
    "nested deeply": (b'{"amount":' + b"[" * 30_000 + b"]" * 30_000 + b"}", [("", "nesting_too_deep")]),
    "nested deeply in a field we do not know": (b'{"x":' * 9_000 + b"1" + b"}" * 9_000, [("", "nesting_too_deep")]),
    "invalid UTF-8": (b'{"amount":1999,"currency":"EUR","description":"\xff\xfe"}', [("", "invalid_utf8")]),
    "half of a surrogate pair": (b'{"amount":1999,"description":"\\ud800"}', [("", "malformed_json")]),
}


@pytest.mark.parametrize(("body", "faults"), BODIES.values(), ids=BODIES)
async def test_bad_payment_is_answered_400_naming_each_fault_and_nothing_is_written(real, body, faults):
    before = real.written()
    key = real.new_key()
    answer = await real.ask("POST", "/v1/payments", body, key=key, media_type="application/json")
    assert_problem(answer, 400, *faults)
    assert real.written() == before
    corrected = await real.ask("POST", "/v1/payments", {**GOOD, "confirm": False}, key=key)
    assert corrected.status == 201, "the refused request must not have used up the key"


async def test_good_payment_is_seen_by_what_these_tests_count(real):
    before = real.written()
    assert (await real.ask("POST", "/v1/payments", GOOD)).status == 201
    after = real.written()
    assert (after.items - before.items, after.events - before.events) == (3, 2), "payment, key and journal; two commits"
    assert after.operations - before.operations == 1


async def test_whole_amount_written_with_a_fraction_of_zero_is_that_amount_and_no_other(real):
    body = msgspec.json.encode(GOOD).replace(b"1999", b"1999.0")
    answer = await real.ask("POST", "/v1/payments", body)
    assert (answer.status, answer.json["amount"], answer.json["amount_captured"]) == (201, 1999, 1999)
    [charge] = [one for one in charges(real) if one["payment_id"] == answer.json["id"]]
    assert charge["captured"] == 1999


@pytest.mark.parametrize("currency", ["JPY", "EUR", "KWD"])
async def test_amount_is_minor_units_whatever_the_exponent(real, currency):
    answer = await real.ask("POST", "/v1/payments", good(currency=currency, amount=1999))
    [charge] = [one for one in charges(real) if one["payment_id"] == answer.json["id"]]
    assert (charge["captured"], charge["currency"]) == (1999, currency)


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/xml", "application/x-www-form-urlencoded", "application/json; charset=utf-16", None],
)
async def test_other_content_type_is_answered_415_and_nothing_is_written(real, media_type):
    before = real.written()
    answer = await real.ask("POST", "/v1/payments", GOOD, media_type=media_type)
    assert_problem(answer, 415)
    assert real.written() == before


async def test_body_of_a_megabyte_is_answered_413_and_nothing_is_written(real):
    before = real.written()
    assert_problem(await real.ask("POST", "/v1/payments", MEGABYTE), 413)
    assert real.written() == before


async def test_chunked_body_of_a_megabyte_is_answered_413_and_nothing_is_written(real):
    before = real.written()
    head = request("POST", "/v1/payments", token=real.token, headers={"Transfer-Encoding": "chunked"})
    head = head.replace(b"\r\n\r\n", b"\r\nContent-Type: application/json\r\n\r\n")
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (MEGABYTE[:500_000], MEGABYTE[500_000:]))
    assert_problem(await speak(real.port, head + chunks + b"0\r\n\r\n"), 413)
    assert real.written() == before


async def test_missing_idempotency_key_is_answered_400_and_nothing_is_written(real):
    before = real.written()
    for path in ("/v1/payments", *(f"/v1/payments/{NO_PAYMENT}/{name}" for name in POSTS_ON_A_PAYMENT)):
        answer = await real.ask("POST", path, GOOD if path == "/v1/payments" else {}, key=None)
        assert_problem(answer, 400, ("/header/Idempotency-Key", "required"))
    assert real.written() == before


POSTS_ON_A_PAYMENT = ("confirm", "capture", "cancel", "refunds")

SMUGGLED = {
    "line break": "key\r\nX-Injected: 1",
    "line feed": "key\nX-Injected: 1",
    "carriage return": "key\rX-Injected: 1",
    "zero byte": "key\x00",
    "letter outside ASCII": "key\xe4",
    "256 characters": "k" * 256,
    "nothing": "",
}


@pytest.mark.parametrize("key", SMUGGLED.values(), ids=SMUGGLED)
async def test_idempotency_key_that_could_break_out_is_refused_or_cut_and_never_comes_back(real, key):
    """A line break ends the header, so the server sees a shorter key and one header more: the request may go through."""
    before = real.written()
    answer = await real.ask("POST", "/v1/payments", good(confirm=False), key=key)
    assert "x-injected" not in answer.headers
    assert b"X-Injected" not in answer.body
    if key.startswith("key\r\n"):
        assert answer.status == 201
        return
    assert answer.status == 400
    assert real.written() == before
    if answer.body and answer.headers.get("content-type") == "application/problem+json":
        assert_problem(answer, 400, ("/header/Idempotency-Key", "bad_format"))


@pytest.mark.parametrize("value", ["a b", "x" * 65, "<script>", "a\r\nX-Injected: 1", "a\nX-Injected: 1", "ä", ""])
async def test_request_id_that_could_break_out_is_replaced_and_never_comes_back(real, value):
    answer = await real.ask("GET", "/v1/payments", headers={"X-Request-Id": value})
    assert "x-injected" not in answer.headers
    if answer.status == 400:
        assert value not in answer.body.decode()
        return
    assert answer.status == 200
    assert is_id(answer.headers["x-request-id"], "req") or answer.headers["x-request-id"] == "a"


async def payment(real: RealPlatform, **more: Any) -> dict[str, Any]:
    answer = await real.ask("POST", "/v1/payments", good(**more))
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.json
    return made


async def refused(real: RealPlatform, path: str, body: Any, *faults: tuple[str, str]) -> None:
    before: Written = real.written()
    assert_problem(await real.ask("POST", path, body), 400, *faults)
    assert real.written() == before


async def test_capture_above_what_is_authorised_is_refused_and_nothing_is_written(real):
    made = await payment(real, capture_method="manual")
    path = f"/v1/payments/{made['id']}"
    await refused(real, f"{path}/capture", {"amount": 2000}, ("/amount", "amount_too_large"))
    assert (await real.ask("POST", f"{path}/capture", {"amount": 1999})).json["amount_captured"] == 1999


async def test_second_capture_above_what_is_left_is_refused_and_nothing_is_written(real):
    made = await payment(real, capture_method="manual")
    path = f"/v1/payments/{made['id']}"
    assert (await real.ask("POST", f"{path}/capture", {"amount": 1000, "final": False})).status == 200
    await refused(real, f"{path}/capture", {"amount": 1000}, ("/amount", "amount_too_large"))
    assert (await real.ask("GET", path)).json["amount_captured"] == 1000


async def test_refund_above_what_was_captured_is_refused_and_nothing_is_written(real):
    made = await payment(real)
    path = f"/v1/payments/{made['id']}"
    await refused(real, f"{path}/refunds", {"amount": 2000}, ("/amount", "amount_too_large"))
    assert (await real.ask("GET", path)).json["amount_refunded"] == 0


async def test_second_refund_above_what_is_left_is_refused_and_nothing_is_written(real):
    made = await payment(real)
    path = f"/v1/payments/{made['id']}"
    assert (await real.ask("POST", f"{path}/refunds", {"amount": 1500})).status == 201
    await refused(real, f"{path}/refunds", {"amount": 500}, ("/amount", "amount_too_large"))
    assert (await real.ask("POST", f"{path}/refunds", {"amount": 499})).status == 201
    assert (await real.ask("GET", path)).json["amount_refunded"] == 1999


@pytest.mark.parametrize("amount", [0, -1, 19.99, "5", 2**53 + 1])
@pytest.mark.parametrize("name", ["capture", "refunds"])
async def test_bad_amount_of_a_capture_or_refund_is_refused_and_nothing_is_written(real, name, amount):
    made = await payment(real, capture_method="manual" if name == "capture" else "automatic")
    code = "wrong_type" if isinstance(amount, float | str) else "out_of_range"
    path = f"/v1/payments/{made['id']}/{name}"
    await refused(real, path, {"amount": amount}, ("/amount", code))


PREVIEWS: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "unknown currency": ({"amount": 1, "currency": "AAA"}, ("/currency", "not_allowed")),
    "unknown rule": (
        {"amount": 1, "currency": "EUR", "routing": {"rule": "nowhere"}},
        ("/routing/rule", "unknown_rule"),
    ),
}


@pytest.mark.parametrize(("body", "fault"), PREVIEWS.values(), ids=PREVIEWS)
async def test_preview_refuses_what_the_payment_would_be_refused_for(real, body, fault):
    await refused(real, "/v1/routing/preview", body, fault)
    await refused(real, "/v1/payments", {**body, "payment_method": CARD}, fault)


async def test_query_that_cannot_be_met_is_answered_400_naming_the_parameter(real):
    for query, pointer, code in (
        ("limit=0", "/query/limit", "out_of_range"),
        ("limit=101", "/query/limit", "out_of_range"),
        ("limit=ten", "/query/limit", "wrong_type"),
        ("status=lost", "/query/status", "not_allowed"),
        ("created_after=yesterday", "/query/created_after", "bad_format"),
        ("created_after=2026-11-21", "/query/created_after", "bad_format"),
        ("created_after=2026-11-21T08:00:00", "/query/created_after", "bad_format"),
        ("after=1", "/query/after", "bad_format"),
        ("tenant=ten_other", "/query/tenant", "unknown_field"),
    ):
        assert_problem(await real.ask("GET", f"/v1/payments?{query}"), 400, (pointer, code))
