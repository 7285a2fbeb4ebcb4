"""Idempotent requests: one record per key, written together with the first change the request makes.

The record is never updated. It says which aggregate the request works on; the stored answer is the snapshot in the event
that finished the request (`facts.answer.request` equals `request`). So an answer cannot exist without its change, nor a
change without its answer.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from interlock.core.kernel.clock import DAY, Millis
from interlock.core.kernel.store import ABSENT, Item, Key, Put

KEPT: Millis = 8 * DAY
"""The contract promises seven days; the eighth covers clocks that differ."""


class IdempotencyRecord(msgspec.Struct, frozen=True):
    fingerprint: str
    """Of the decoded body: the same meaning gives the same fingerprint, whatever the white space."""
    aggregate: str
    request: str
    created_at: Millis
    expires_at: Millis


class Request(msgspec.Struct, frozen=True):
    """The API request a command came in with."""

    tenant: str
    key: Key | None
    """Where its idempotency record stands; None for a request without a key."""
    fingerprint: str
    actor: str
    """client_id of the caller."""
    id: str
    """X-Request-Id."""
    trace: str = ""


def idempotency_key(tenant: str, method: str, path: str, key: str) -> Key:
    """Scope: tenant + method + path. Hashed, so that neither length nor content of a merchant's key matters."""
    digest = sha256(f"{method}\0{path}\0{key}".encode()).hexdigest()[:40]
    return Key(f"{tenant}/idem/{digest}", "record")


def fingerprint(body: bytes) -> str:
    return sha256(body).hexdigest()[:32]


def record_write(
    request: Request, *, aggregate: str, request_id: str, now: Millis, expected: int = ABSENT
) -> Put | None:
    """The write that claims the key, or None for a request without one."""
    if request.key is None:
        return None
    record = IdempotencyRecord(request.fingerprint, aggregate, request_id, now, now + KEPT)
    return Put(request.key, _encoder.encode(record), expected, {}, record.expires_at)


def decode_record(item: Item) -> IdempotencyRecord:
    return _decoder.decode(item.value)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(IdempotencyRecord)
