"""A drawer: an aggregate's item and its latest events, together in one compressed row.

DynamoDB charges by row and kilobyte, twice in a transaction. A payment and its events say much the same, so that together they
take less than one kilobyte where apart they take five; and a commit that touches only them is one conditional write.

A drawer is read, changed and written on condition that nobody wrote it meanwhile (`c`, the commit that wrote it last). When it
is full its oldest events move to rows of their own, in the same commit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from interlock.backends.aws.packing import pack, unpack
from interlock.backends.aws.table import Row, drawer_key, expiry_in, index_attributes, places_in
from interlock.core.kernel.store import ABSENT, Check, Item, Key, Put, Write

FULL_BYTES = 2_000
"""Above this a drawer gives events away ..."""
TIDY_BYTES = 900
"""... until it has at most this: with keys and index entry less than one kilobyte."""
ROW_BYTES_MAX = 401_000
"""A row of DynamoDB has 400 KiB, keys and index places among them."""
NEW = ""
"""As the commit that wrote a drawer: there is none yet."""


KNOWN_MAX, KNOWN_BYTES_MAX = 1_000, 16_000
"""How many drawers a process remembers, and of what size at most."""


class Drawer(NamedTuple):
    aggregate: str
    commit: str = NEW
    item: Item | None = None
    events: Mapping[int, bytes] = {}
    """Version -> body, of those that are here; others have rows of their own."""
    last: int = 0
    """The highest version that was ever here."""


class Change(NamedTuple):
    """What one commit wants of one drawer."""

    aggregate: str
    write: Write | None
    """Of its item."""
    events: Sequence[tuple[int, bytes]]


class Outcome(NamedTuple):
    after: Drawer
    row: dict[str, Any]
    moved: Sequence[tuple[int, bytes]]
    """Events that get rows of their own, and are no news."""
    apart: Sequence[tuple[int, bytes]]
    """Events that are news and have rows of their own: too large, or below the highest version, where only such a row
    tells whether it is taken."""


class Conflict(Exception):
    """The drawer, as it was read, contradicts the commit."""

    def __init__(self, subject: Any) -> None:
        super().__init__(subject)
        self.subject = subject


def changed(drawer: Drawer, change: Change, *, token: str) -> Outcome:
    """What the drawer becomes. Raises Conflict."""
    item = _item(drawer, change)
    events, apart = dict(drawer.events), []
    for version, body in change.events:
        if version in events:
            raise Conflict(("event", change.aggregate))
        if version > drawer.last:
            events[version] = body
        else:
            apart.append((version, body))
    last = max([drawer.last, *events])
    fresh = [version for version, _ in change.events if version in events]
    packed, moved = _tidied(item, events, keep=fresh)
    while len(packed) > ROW_BYTES_MAX and fresh:
        large = max(fresh, key=lambda version: len(events[version]))
        fresh.remove(large)
        apart.append((large, events.pop(large)))
        packed = _packed(item, events)
    after = Drawer(change.aggregate, token, item, events, last)
    row: dict[str, Any] = drawer_key(change.aggregate) | {"z": {"B": packed}, "c": {"S": token}, "l": {"N": str(last)}}
    if fresh:
        row["w"] = {"L": [{"N": str(version)} for version in fresh]}
    if item is not None:
        head = item.key.partition.removesuffix(change.aggregate)
        row |= {"k": {"S": head}, "n": {"S": item.key.sort}, "v": {"N": str(item.version)}}
        row |= index_attributes(item.indexes)
        if item.expires_at is not None:  # and no `ttl`: the events stay
            row["e"] = {"N": str(item.expires_at)}
    return Outcome(after, row, moved, apart)


def drawer_in(row: Row, names: Sequence[str]) -> Drawer:
    aggregate = row["pk"]["S"][2:]
    value, events = _Packed.decode(unpack(bytes(row["z"]["B"])))
    item = None
    if "v" in row:
        key = Key(row["k"]["S"] + aggregate, row["n"]["S"])
        item = Item(key, int(row["v"]["N"]), value, places_in(row, names), expiry_in(row))
    return Drawer(aggregate, row["c"]["S"], item, dict(events), int(row["l"]["N"]))


def news_in(row: Row) -> list[bytes]:
    """The events which the commit that wrote this drawer added, in its order."""
    versions = [int(one["N"]) for one in row.get("w", {}).get("L", ())]
    if not versions:
        return []
    events = dict(_Packed.decode(unpack(bytes(row["z"]["B"])))[1])
    return [events[version] for version in versions]


def _item(drawer: Drawer, change: Change) -> Item | None:
    """The item after the change. Raises Conflict."""
    write, held = change.write, drawer.item
    if write is None:
        return held
    there = held if held is not None and held.key == write.key else None
    if held is not there and isinstance(write, Put):
        raise Conflict(write.key)  # another tenant's, under the same id: there is one history, and it is not theirs
    if (ABSENT if there is None else there.version) != write.expected:
        raise Conflict(write.key)
    if isinstance(write, Check):
        return held
    if isinstance(write, Put):
        return Item(write.key, write.expected + 1, write.value, dict(write.indexes), write.expires_at)
    return None if there is not None else held


def _tidied(
    item: Item | None, events: dict[int, bytes], *, keep: Sequence[int]
) -> tuple[bytes, list[tuple[int, bytes]]]:
    """The drawer packed, and the events taken out of it because it is full: the oldest, and none of `keep`."""
    packed = _packed(item, events)
    moved: list[tuple[int, bytes]] = []
    if len(packed) > FULL_BYTES:
        for version in sorted(set(events) - set(keep)):
            if len(packed) <= TIDY_BYTES:
                break
            moved.append((version, events.pop(version)))
            packed = _packed(item, events)
    return packed, moved


def _packed(item: Item | None, events: Mapping[int, bytes]) -> bytes:
    return pack(_encode((b"" if item is None else item.value, sorted(events.items()))))


_encode = msgspec.msgpack.Encoder().encode
_Packed = msgspec.msgpack.Decoder(tuple[bytes, list[tuple[int, bytes]]])


class KnownDrawers:
    """The latest drawers this process read or wrote, so that the second commit of a payment need not read the first.

    What is remembered may be old: a commit made from it fails on its condition, and reads.
    """

    def __init__(self) -> None:
        self._drawers: OrderedDict[str, Drawer] = OrderedDict()

    def recall(self, change: Change) -> Drawer | None:
        """None: it must be read. A drawer that is to get its first item is taken to be new."""
        known = self._drawers.get(change.aggregate)
        if known is None and isinstance(change.write, Put) and change.write.expected == ABSENT:
            return Drawer(change.aggregate)
        return known

    def keep(self, drawer: Drawer) -> None:
        self.forget(drawer.aggregate)
        size = sum(map(len, drawer.events.values())) + (0 if drawer.item is None else len(drawer.item.value))
        if size > KNOWN_BYTES_MAX:
            return
        self._drawers[drawer.aggregate] = drawer
        if len(self._drawers) > KNOWN_MAX:
            self._drawers.popitem(last=False)

    def forget(self, aggregate: str) -> None:
        self._drawers.pop(aggregate, None)
