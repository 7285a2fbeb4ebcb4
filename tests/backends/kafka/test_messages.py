"""CloudEvents in binary mode around a message, and what is received of others' records."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from interlock.backends.kafka.messages import MESSAGE_BYTES_MAX, decode, encode
from interlock.core.kernel.bus import BusMessage
from interlock.core.kernel.errors import Invalid
from interlock.core.kernel.events import Event, encode_event

EVENT = Event("evt_1", "payment.succeeded", "ten_1", "pay_1", 3, 1_800_000_000_123, msgspec.Raw(b'{"amount":5}'))
MESSAGE = BusMessage("evt_1", "pay_1", encode_event(EVENT), {"traceparent": "00-ab"})


class Record:
    """As the library gives it."""

    def __init__(self, key: bytes | None, value: bytes | None, headers: list[tuple[str, Any]] | None) -> None:
        self.key, self.value, self.headers = (lambda: key), (lambda: value), (lambda: headers)

    def topic(self) -> str:
        return "events"

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 17


def test_event_has_the_attributes_of_cloudevents_and_its_own_headers_beside_them():
    encoded = encode(MESSAGE, source="/interlock/production", schema="https://registry/schemas/ids/7")
    assert dict(encoded.headers) == {
        "ce_specversion": b"1.0",
        "ce_id": b"evt_1",
        "ce_source": b"/interlock/production",
        "ce_type": b"payment.succeeded",
        "ce_subject": b"pay_1",
        "ce_time": b"2027-01-15T08:00:00.123Z",
        "ce_dataschema": b"https://registry/schemas/ids/7",
        "content-type": b"application/json",
        "ce_contenttypeby": b"bus",
        "traceparent": b"00-ab",
    }
    assert (encoded.key, encoded.value) == (b"pay_1", MESSAGE.value)


@pytest.mark.parametrize(
    "message",
    [
        MESSAGE,
        MESSAGE._replace(headers={}),
        MESSAGE._replace(headers={"content-type": "application/json"}),
        BusMessage("m", "", b"", {}),
        BusMessage("m", "k\u00e9", b'{"id": broken', {"content-type": "text/plain", "x": "\u00e9"}),
        BusMessage("m", "k", b'{"id":"evt_2","type":7}', {}),
    ],
)
@pytest.mark.parametrize("prefix", [b"", b"\x00\x00\x00\x00\x07"])
def test_message_comes_back_as_it_was(message: BusMessage, prefix: bytes):
    encoded = encode(message, source="/interlock", prefix=prefix)
    assert decode(Record(*encoded), framed=bool(prefix)) == message


def test_what_is_no_event_is_typed_as_a_message():
    headers = dict(encode(BusMessage("m", "k", b"plain"), source="/interlock").headers)
    assert headers == {
        "ce_specversion": b"1.0", "ce_id": b"m", "ce_source": b"/interlock", "ce_type": b"interlock.message"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Record(None, None, None), BusMessage("events/3/17", "", b"", {})),
        (
            Record(b"\xff", b"v", [("a", b"\xfe"), ("b", None)]),
            BusMessage("events/3/17", "\\xff", b"v", {"a": "\\xfe", "b": ""}),
        ),
        (Record(b"k", b"v", [("ce_id", b"theirs"), ("ce_other", b"1")]), BusMessage("theirs", "k", b"v", {})),
    ],
)
def test_record_that_somebody_else_wrote_is_received_all_the_same(record: Record, message: BusMessage):
    assert decode(record) == message


def test_header_that_would_be_taken_for_an_attribute_is_invalid():
    with pytest.raises(Invalid, match="ce_type"):
        encode(BusMessage("m", "k", b"", {"ce_type": "payment.succeeded"}), source="/interlock")


def test_message_that_no_broker_takes_is_invalid():
    encode(BusMessage("m", "k", b"x" * (MESSAGE_BYTES_MAX - 200)), source="/interlock")
    with pytest.raises(Invalid, match=str(MESSAGE_BYTES_MAX)):
        encode(BusMessage("m", "k", b"x" * MESSAGE_BYTES_MAX), source="/interlock")
