"""The audit trail as a chain: each link holds the digest of the one before, so nothing can be changed or taken out unseen.

Records are written with what they tell of, and nobody waits for anybody. Linking them is a consumer's work: it follows the
events in their order, so a record is in the chain a moment after it is in the trail. Whoever holds a digest from somewhere
else (a log line, a file) can tell whether the chain still leads to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import msgspec

from interlock.core.access.audit import AUDIT_RECORDED, AuditRecord, decode_record, record_key
from interlock.core.kernel.clock import utc_day
from interlock.core.kernel.errors import WriteConflict
from interlock.core.kernel.events import Event
from interlock.core.kernel.store import ABSENT, Key, Put, Store

PARTITION = "~platform/audit_chain"
HEAD = Key("~platform/audit_chain_head", "head")
START = "0" * 64
PAGE = 500


class Link(msgspec.Struct, frozen=True):
    number: int
    record: str
    """Id of the audit record."""
    tenant: str
    day: str
    digest: str
    """SHA-256 over the digest before and the record's bytes as they are stored."""


class Head(msgspec.Struct, frozen=True):
    number: int
    digest: str


class Break(NamedTuple):
    """Where the chain does not hold."""

    number: int
    record: str
    why: str


class Verified(NamedTuple):
    links: int
    digest: str
    """Of the last link that holds: write it down elsewhere."""
    breaks: tuple[Break, ...]


async def link(store: Store, events: Sequence[Event]) -> None:
    """Add the audit records among these events to the chain. Safe to repeat: a record is in it once."""
    for event in events:
        if event.type == AUDIT_RECORDED:
            record = decode_record(bytes(event.facts))
            while not await _link(store, record, bytes(event.facts)):
                pass


async def _link(store: Store, record: AuditRecord, raw: bytes) -> bool:
    """False: somebody else added another one meanwhile."""
    if await store.get(_place(record.id)) is not None:
        return True
    item = await store.get(HEAD)
    head = _head.decode(item.value) if item else Head(0, START)
    made = Link(head.number + 1, record.id, record.tenant, utc_day(record.at), digest_of(head.digest, raw))
    try:
        await store.commit(
            [
                Put(HEAD, _encoder.encode(Head(made.number, made.digest)), item.version if item else ABSENT),
                Put(Key(PARTITION, _sort(made.number)), _encoder.encode(made), ABSENT),
                Put(_place(record.id), str(made.number).encode(), ABSENT),
            ]
        )
    except WriteConflict:
        return False
    return True


def digest_of(before: str, raw: bytes) -> str:
    return hashlib.sha256(before.encode() + b"\n" + raw).hexdigest()


async def verify(store: Store) -> Verified:
    """Read the whole chain again and hold it against the records and its own head, as that stood at the beginning."""
    head = await _head_now(store)
    digest, number, breaks = START, 0, []
    async for found in links(store):
        if found.number > head.number:
            breaks += await _ahead(store, found)
            break
        number += 1
        item = await store.get(record_key(found.tenant, found.day, found.record))
        if found.number != number:
            breaks.append(Break(number, found.record, f"link {number} is missing: the next one is {found.number}"))
            number = found.number
        if item is None:
            breaks.append(Break(found.number, found.record, "its record is gone"))
        elif digest_of(digest, item.value) != found.digest:
            breaks.append(Break(found.number, found.record, "its record, or a link before it, was changed"))
        digest = found.digest
    if (head.number, head.digest) != (number, digest):
        breaks.append(Break(number + 1, "", f"the chain ends at {number}, and its head says {head.number}"))
    return Verified(number, digest, tuple(breaks))


async def _ahead(store: Store, found: Link) -> list[Break]:
    """A link behind the head: made while we read, and then the head has moved on with it."""
    head = await _head_now(store)
    if head.number >= found.number:
        return []
    return [Break(found.number, found.record, f"there is a link {found.number}, and the head says {head.number}")]


async def _head_now(store: Store) -> Head:
    item = await store.get(HEAD)
    return _head.decode(item.value) if item else Head(0, START)


async def links(store: Store) -> AsyncIterator[Link]:
    """From the first."""
    after: str | None = None
    while True:
        page = await store.query(PARTITION, after=after, limit=PAGE)
        for item in page.items:
            yield _link_decoder.decode(item.value)
        if page.next is None:
            return
        after = page.next


async def is_linked(store: Store, record_id: str) -> bool:
    return await store.get(_place(record_id)) is not None


def _place(record_id: str) -> Key:
    """From a record to its link, so that none is linked twice."""
    return Key(f"~platform/audit_linked/{record_id}", "link")


def _sort(number: int) -> str:
    return f"{number:015d}"


_encoder = msgspec.json.Encoder()
_head = msgspec.json.Decoder(Head)
_link_decoder = msgspec.json.Decoder(Link)
