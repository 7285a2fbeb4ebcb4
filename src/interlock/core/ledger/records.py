"""How journals stand in the store and travel in events.

A journal is kept as one item `{"digest": ..., "journal": {...}}`, spread over partitions by tenant, UTC day and payment,
so that no partition is hot. The same bytes travel in the event's facts, so either copy can be held against the other.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple
from zlib import crc32

import msgspec

from interlock.core.kernel.clock import DAY, Millis, utc_day
from interlock.core.kernel.events import Event
from interlock.core.kernel.store import Item, Key, Put
from interlock.core.ledger.model import Journal

SHARDS = 16
"""Partitions of one tenant's day."""


class StoredJournal(NamedTuple):
    raw: bytes
    """The journal as JSON, exactly as it was written."""
    digest: str
    """SHA-256 of those bytes, as it was written beside them."""

    @property
    def is_intact(self) -> bool:
        return digest(self.raw) == self.digest

    @property
    def journal(self) -> Journal:
        """Raises ValueError if it is not a journal."""
        return decode_journal(self.raw)


def encode_journal(journal: Journal) -> bytes:
    """Canonical JSON: the same journal always gives the same bytes."""
    return _encode(journal)


def decode_journal(raw: bytes | memoryview | msgspec.Raw) -> Journal:
    """Raises ValueError if it is not a journal."""
    return _decode(raw)


def digest(raw: bytes) -> str:
    return sha256(raw).hexdigest()


def journal_write(journal: Journal) -> Put:
    """The write that appends the journal; it fails if the id was used before."""
    raw = _encode(journal)
    value = b'{"digest":"%b","journal":%b}' % (sha256(raw).hexdigest().encode(), raw)
    return Put(journal_key(journal), value)


def journal_key(journal: Journal) -> Key:
    return Key(journal_partition(journal.tenant, day_of(journal.at), shard_of(journal.payment)), journal.id)


def journal_partition(tenant: str, day: str, shard: int) -> str:
    """`day` is YYYY-MM-DD in UTC, `shard` 0 to SHARDS - 1."""
    return f"{tenant}/jrn/{day}/{shard:x}"


def shard_of(payment: str) -> int:
    """All journals of one payment stand in the same shard of their day."""
    return crc32(payment.encode()) % SHARDS


def day_of(at: Millis) -> str:
    """The UTC day a journal belongs to; there is no other calendar in the ledger, so no daylight saving."""
    return _day(at // DAY)


@lru_cache(maxsize=512)
def _day(days: int) -> str:
    return utc_day(days * DAY)


def stored_journal(item: Item) -> StoredJournal:
    """Raises ValueError if the item is not one that `journal_write` made."""
    stored = _decode_stored(item.value)
    return StoredJournal(bytes(stored.journal), stored.digest)


def raw_journal_of(event: Event) -> bytes | None:
    """The journal in an event's facts, as it stands there."""
    if b'"journal"' not in bytes(event.facts):
        return None
    raw = bytes(_decode_facts(event.facts).journal)
    return None if raw in (b"", b"null") else raw


def journal_of(event: Event) -> Journal | None:
    """The journal an event carries, if any. Raises ValueError if it is not a journal."""
    raw = raw_journal_of(event)
    return None if raw is None else _decode(raw)


def journal_facts(journal: Journal) -> dict[str, msgspec.Raw]:
    """How a journal is put among an event's facts."""
    return {"journal": msgspec.Raw(_encode(journal))}


class _Stored(msgspec.Struct):
    digest: str
    journal: msgspec.Raw


_ABSENT = msgspec.Raw()


class _Facts(msgspec.Struct):
    journal: msgspec.Raw = _ABSENT


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Journal).decode
_decode_stored = msgspec.json.Decoder(_Stored).decode
_decode_facts = msgspec.json.Decoder(_Facts).decode
