"""How exported rows are named, and which segments have to be read.

A segment is `desk/exports/<table>/<day>/<first event>-<last event>-<count>-<digest>.parquet`, where the digest is that of the
ids of the batch's events: the same batch makes the same name, and another one never does. A merged segment is called
`merged-<digest>` and has a list beside it, the manifest, of the segments whose rows it holds.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from interlock.core.desk.queries.tables import TABLES
from interlock.core.kernel.events import Event

ROOT = "desk/exports/"
ROWS, MANIFEST = ".parquet", ".json"
_KEY = re.compile(r"desk/exports/([a-z_]+)/(\d{4}-\d{2}-\d{2})/([\w-]+)(\.parquet|\.json)", re.ASCII)
_MERGED = "merged-"


class Segment(NamedTuple):
    """What a key says. The key of a merged segment and that of its manifest differ in `suffix` alone."""

    table: str
    day: str
    name: str
    suffix: str

    @property
    def key(self) -> str:
        return f"{ROOT}{self.table}/{self.day}/{self.name}{self.suffix}"

    @property
    def is_merged(self) -> bool:
        return self.name.startswith(_MERGED)


def parse(key: str) -> Segment | None:
    """None for what is no segment or manifest of a table that there is."""
    found = _KEY.fullmatch(key)
    return Segment(*found.groups()) if found and found[1] in TABLES else None


def segment_of(table: str, day: str, events: Sequence[Event]) -> Segment:
    """Where the rows of a batch go. The order of the events does not matter. `events` is not empty."""
    ids = sorted({event.id for event in events})
    return Segment(table, day, f"{ids[0]}-{ids[-1]}-{len(ids)}-{_digest(ids)}", ROWS)


def merged_of(table: str, day: str, keys: Sequence[str]) -> Segment:
    """Where the rows of these segments go together."""
    return Segment(table, day, f"{_MERGED}{_digest(sorted(keys))}", ROWS)


def manifest_of(merged: Segment) -> Segment:
    return merged._replace(suffix=MANIFEST)


def encode_manifest(keys: Sequence[str]) -> bytes:
    return msgspec.json.encode(sorted(keys))


def decode_manifest(raw: bytes) -> list[str]:
    """Raises ValueError if it is none."""
    return _manifest.decode(raw)


def standing(keys: Collection[str], manifests: Mapping[str, Sequence[str]]) -> list[str]:
    """The segments that hold everything between them: those that no merged one has taken in.

    `manifests` maps a manifest's key to what it lists. A merged segment without a manifest is not finished and counts for nothing.
    """
    taken = {key for listed in manifests.values() for key in listed}
    found = []
    for key in sorted(keys):
        segment = parse(key)
        if segment is None or segment.suffix != ROWS or key in taken:
            continue
        if segment.is_merged and manifest_of(segment).key not in manifests:
            continue
        found.append(key)
    return found


def unread(keys: Collection[str], manifests: Mapping[str, Sequence[str]], read: Collection[str]) -> list[str]:
    """The segments whose rows somebody who has read `read` does not know yet."""
    known = set(read)
    found = []
    for key in standing(keys, manifests):
        segment = parse(key)
        if key in known or segment is None:
            continue
        if segment.is_merged and known.issuperset(_leaves(key, manifests)):
            continue
        found.append(key)
    return found


def _leaves(key: str, manifests: Mapping[str, Sequence[str]]) -> list[str]:
    """What is in a merged segment, through other merged ones, down to what was exported."""
    found: list[str] = []
    left, seen = [key], {key}
    while left:
        listed = manifests.get(left.pop().removesuffix(ROWS) + MANIFEST, ())
        for one in listed:
            if one in seen:
                continue
            seen.add(one)
            segment = parse(one)
            (left if segment is not None and segment.is_merged else found).append(one)
    return found


def _digest(parts: Sequence[str]) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()[:16]


_manifest = msgspec.json.Decoder(list[str])
