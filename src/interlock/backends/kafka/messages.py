"""A bus message as a Kafka record: CloudEvents 1.0 in binary mode.

The attributes stand in headers that begin with `ce_`, the value is the message's own. Headers of the message stand beside
them and come back as they were. What somebody else wrote, without attributes, is received all the same.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md (checked 2026-11-27)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from interlock.core.kernel.bus import BusMessage
from interlock.core.kernel.clock import Millis, rfc3339
from interlock.core.kernel.errors import Invalid

MESSAGE_BYTES_MAX = 900_000
"""A broker takes 1 MiB for a batch unless told otherwise; below it is room for what a batch adds."""
OTHER_TYPE = "interlock.message"
"""CloudEvents' `type` of a message that is no event."""

_TYPED_HERE = "ce_contenttypeby"
"""An extension attribute: the content type was added here and is no header of the message."""


class _Outline(msgspec.Struct):
    """What an event says of itself."""

    id: str
    type: str
    tenant: str
    aggregate: str
    at: Millis


class Encoded(NamedTuple):
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


_outline = msgspec.json.Decoder(_Outline).decode


def encode(message: BusMessage, *, source: str, schema: str = "", prefix: bytes = b"") -> Encoded:
    """Raises Invalid if it is too large or has a header of ours, UnicodeEncodeError if it cannot be written at all."""
    attributes = {"ce_specversion": "1.0", "ce_id": message.id, "ce_source": source}
    if (event := _event_in(message.value)) is not None:
        attributes |= {"ce_type": event.type, "ce_subject": event.aggregate, "ce_time": rfc3339(event.at)}
        if schema:
            attributes["ce_dataschema"] = schema
        if "content-type" not in message.headers:
            attributes |= {"content-type": "application/json", _TYPED_HERE: "bus"}
    else:
        attributes["ce_type"] = OTHER_TYPE
    if ours := [name for name in message.headers if name.startswith("ce_")]:
        raise Invalid(f"headers that begin with ce_ are the bus's own: {ours[0][:64]!r}")
    headers = [(name, value.encode()) for name, value in (attributes | dict(message.headers)).items()]
    value = (prefix if event is not None else b"") + bytes(message.value)
    encoded = Encoded(message.key.encode(), value, headers)
    size = len(encoded.key) + len(encoded.value) + sum(len(name) + len(value) for name, value in headers)
    if size > MESSAGE_BYTES_MAX:
        raise Invalid(f"a message has at most {MESSAGE_BYTES_MAX} bytes with its headers, this one {size}")
    return encoded


def decode(record: Any, *, framed: bool = False) -> BusMessage:
    """`record` is the library's. Never raises: what cannot be read as text is shown escaped, a missing id is the place."""
    headers = {name: _text(value) for name, value in record.headers() or ()}
    message_id = headers.get("ce_id") or f"{record.topic()}/{record.partition()}/{record.offset()}"
    value = record.value() or b""
    if framed and value[:1] == b"\x00" and len(value) > 5:
        value = value[5:]
    return BusMessage(message_id, _text(record.key()), value, _own(headers))


def _own(headers: Mapping[str, str]) -> dict[str, str]:
    added = {"content-type"} if _TYPED_HERE in headers else set()
    return {name: value for name, value in headers.items() if not name.startswith("ce_") and name not in added}


def _event_in(value: bytes) -> _Outline | None:
    if value[:6] != b'{"id":':
        return None
    try:
        return _outline(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _text(raw: bytes | str | None) -> str:
    if raw is None or isinstance(raw, str):
        return raw or ""
    return raw.decode(errors="backslashreplace")
