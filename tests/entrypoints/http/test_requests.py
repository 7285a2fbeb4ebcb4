"""Headers, read strictly."""

from __future__ import annotations

import pytest

from interlock.core.kernel.errors import Invalid
from interlock.entrypoints.http.requests import content_length_of, idempotency_key_of, request_id_of, traceparent_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", True),
        (f"cc-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-01-more", False),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        (f"00-{TRACE}-{SPAN}-1", False),
        (f"00-{TRACE}-{SPAN}-01\n", False),
        (f"cc-{TRACE}-{SPAN}-01.", False),
        (f" 00-{TRACE}-{SPAN}-01", False),
        ("", False),
    ],
)
def test_traceparent_is_taken_only_as_the_standard_writes_it(sent, taken):
    assert traceparent_of({b"traceparent": sent.encode()}) == (sent[:55] if taken else "")


@pytest.mark.parametrize(
    ("sent", "taken"),
    [("a", True), ("A.b_c-9", True), ("x" * 64, True)]
    + [(bad, False) for bad in ("", "x" * 65, "a\n", "a b", "é", "a/b")],
)
def test_request_id_is_taken_only_if_it_is_harmless(sent, taken):
    assert request_id_of({b"x-request-id": sent.encode()}) == (sent if taken else "")


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ("k", "k"),
        ("a b", "a b"),
        ("x" * 255, "x" * 255),
        ("'q'", "'q'"),
        ('a"b\\c', 'a"b\\c'),
        ('"k"', "k"),
        ('"a \\"b\\" \\\\"', 'a "b" \\'),
        ('"' + "x" * 255 + '"', "x" * 255),
        ('"' + '\\"' * 255 + '"', '"' * 255),
    ],
)
def test_idempotency_key_is_plain_or_a_quoted_string(sent, key):
    assert idempotency_key_of({b"idempotency-key": sent.encode()}) == key


@pytest.mark.parametrize(
    "sent", ["", " ", "x" * 256, '"' + "x" * 256 + '"', '"a', '"a"b', '"a" ', '"\\a"', '""', "a\n", "a ", "\x7f", "é"]
)
def test_other_idempotency_key_is_refused(sent):
    with pytest.raises(Invalid):
        idempotency_key_of({b"idempotency-key": sent.encode()})


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({}, 0),
        ({b"content-length": b"0"}, 0),
        ({b"content-length": b"17"}, 17),
        ({b"transfer-encoding": b"chunked"}, None),
        ({b"content-length": b"-1"}, None),
    ],
)
def test_length_of_a_body_is_known_announced_or_open(headers, length):
    assert content_length_of(headers) == length
