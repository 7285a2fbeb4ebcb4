"""Records as a Lambda is given them by its event source mapping of a Kafka topic.

Source: https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html (shape as recorded in the tests)
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Any, NamedTuple

from interlock.backends.kafka.messages import decode
from interlock.core.kernel.bus import BusRecord


def bus_records(event: Mapping[str, Any], *, framed: bool = False) -> list[BusRecord]:
    """Of all partitions, each in its order. `framed`: values begin with a schema's id."""
    return [
        BusRecord(one["partition"], one["offset"], decode(_Polled.of(one), framed=framed))
        for records in event["records"].values()
        for one in records
    ]


class _Polled(NamedTuple):
    """A record in the shape of the library's own."""

    place: tuple[str, int, int]
    raw_key: bytes | None
    raw_value: bytes | None
    raw_headers: list[tuple[str, bytes]]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> _Polled:
        headers = [(name, bytes(value)) for header in record.get("headers", ()) for name, value in header.items()]
        place = record["topic"], record["partition"], record["offset"]
        return cls(place, _bytes(record.get("key")), _bytes(record.get("value")), headers)

    def topic(self) -> str:
        return self.place[0]

    def partition(self) -> int:
        return self.place[1]

    def offset(self) -> int:
        return self.place[2]

    def key(self) -> bytes | None:
        return self.raw_key

    def value(self) -> bytes | None:
        return self.raw_value

    def headers(self) -> list[tuple[str, bytes]]:
        return self.raw_headers


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)
