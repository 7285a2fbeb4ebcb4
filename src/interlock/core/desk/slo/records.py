"""How the file of objectives and the hours counted for them stand in the store."""

from __future__ import annotations

import msgspec

from interlock.core.desk.slo.model import Counts, Indicator
from interlock.core.kernel.clock import DAY, HOUR, Millis
from interlock.core.kernel.store import ABSENT, Item, Key, Put

PARTITION = "~desk/slo"
"""No tenant can be called so."""
FILE_KEY = Key(PARTITION, "file")
KEPT: Millis = 100 * DAY
"""Hours: longer than the longest window."""


class SloFile(msgspec.Struct, frozen=True):
    """The objectives as somebody put them, word for word."""

    text: str
    version: int
    """1, 2, 3 ... without gaps; each stays readable."""
    put_by: str
    put_at: Millis


class HourCounts(msgspec.Struct, frozen=True):
    """What was counted in one UTC hour of one objective's measurement."""

    slo: str
    indicator: str
    """The fingerprint of what was measured: a changed definition starts anew."""
    hour: Millis
    """Its start."""
    counts: Counts
    """As they were when it had settled: what nobody knew by then, the payer did not know either."""
    counted_at: Millis


def version_key(version: int) -> Key:
    return Key(f"{PARTITION}/versions", f"{version:010d}")


def file_writes(file: SloFile, expected: int) -> tuple[Put, Put]:
    """The file in use, and the same among its versions. `expected` is the version of the item in use, ABSENT without one."""
    value = _encoder.encode(file)
    return Put(FILE_KEY, value, expected), Put(version_key(file.version), value, ABSENT)


def decode_file(item: Item) -> SloFile:
    return _file_decoder.decode(item.value)


def hours_partition(slo: str, indicator: Indicator) -> str:
    return f"{PARTITION}/hours/{slo}/{indicator.fingerprint}"


def hour_sort(hour: Millis) -> str:
    return f"{hour // HOUR:010d}"


def hour_key(slo: str, indicator: Indicator, hour: Millis) -> Key:
    return Key(hours_partition(slo, indicator), hour_sort(hour))


def hour_write(key: Key, counted: HourCounts, expected: int) -> Put:
    return Put(key, _encoder.encode(counted), expected, {}, counted.hour + KEPT)


def decode_hour(item: Item) -> HourCounts:
    return _hour_decoder.decode(item.value)


_encoder = msgspec.json.Encoder()
_file_decoder = msgspec.json.Decoder(SloFile)
_hour_decoder = msgspec.json.Decoder(HourCounts)
