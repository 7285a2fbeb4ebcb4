"""Idempotency records: where they stand, what they hold, when they end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.kernel.clock import DAY
from interlock.core.kernel.idempotency import (
    KEPT,
    Request,
    decode_record,
    fingerprint,
    idempotency_key,
    record_write,
)
from interlock.core.kernel.store import ABSENT, Item, Key

NOW = 1_800_000_000_000
KEY = idempotency_key("ten_1", "POST", "/v1/payments", "k1")
REQUEST = Request("ten_1", KEY, fingerprint(b"{}"), "cli_1", "rid-1")


def test_scope_is_tenant_method_path_and_key():
    others = [
        idempotency_key("ten_2", "POST", "/v1/payments", "k1"),
        idempotency_key("ten_1", "PUT", "/v1/payments", "k1"),
        idempotency_key("ten_1", "POST", "/v1/payments/pay_1/capture", "k1"),
        idempotency_key("ten_1", "POST", "/v1/payments", "k2"),
    ]
    assert len({KEY, *others}) == 5
    assert idempotency_key("ten_1", "POST", "/v1/payments", "k1") == KEY


printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)


@given(one=st.tuples(printable, printable, printable), other=st.tuples(printable, printable, printable))
def test_no_two_scopes_share_a_place_however_their_parts_are_cut(one, other):
    assert (idempotency_key("ten_1", *one) == idempotency_key("ten_1", *other)) == (one == other)


@pytest.mark.parametrize("key", ["k", "k" * 255, "../../ten_2/pay/x", "\u00e4\u20ac\u2603", "a\0b"])
def test_whatever_a_merchants_key_is_its_place_is_short_plain_and_within_the_tenant(key):
    place = idempotency_key("ten_1", "POST", "/v1/payments", key)
    assert place.partition.startswith("ten_1/idem/")
    assert len(place.partition) == len("ten_1/idem/") + 40
    assert place.partition.removeprefix("ten_1/idem/").isalnum()
    assert key not in place.partition or len(key) == 1


def test_record_says_what_was_asked_and_where_its_answer_is():
    write = record_write(REQUEST, aggregate="pay_1", request_id="req_1", now=NOW)
    assert (write.key, write.expected, write.indexes) == (KEY, ABSENT, {})
    record = decode_record(Item(KEY, 1, write.value, {}, write.expires_at))
    assert (record.fingerprint, record.aggregate, record.request) == (REQUEST.fingerprint, "pay_1", "req_1")
    assert (record.created_at, record.expires_at) == (NOW, NOW + KEPT)


def test_record_is_kept_longer_than_the_week_that_is_promised_and_the_store_may_drop_it_then():
    write = record_write(REQUEST, aggregate="pay_1", request_id="req_1", now=NOW)
    assert write.expires_at == NOW + KEPT
    assert KEPT == 8 * DAY


def test_expired_record_is_replaced_at_the_version_it_was_read_at():
    assert record_write(REQUEST, aggregate="pay_1", request_id="req_1", now=NOW, expected=7).expected == 7


def test_request_without_a_key_has_no_record():
    silent = Request("ten_1", None, "", "cli_1", "rid-1")
    assert record_write(silent, aggregate="pay_1", request_id="req_1", now=NOW) is None


def test_fingerprints_tell_bodies_apart():
    assert fingerprint(b'{"amount":1}') != fingerprint(b'{"amount":2}')
    assert fingerprint(b"") == fingerprint(b"")
    assert len(fingerprint(b"x")) == 32


def test_place_is_a_key_of_the_store():
    assert isinstance(KEY, Key)
    assert KEY.sort == "record"
