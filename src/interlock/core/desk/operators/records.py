"""Operators, sessions and errands as items. A session's key is the digest of its cookie: who reads the store cannot use it."""

from __future__ import annotations

import hashlib

import msgspec

from interlock.core.desk.operators.model import Errand, Operator, Session
from interlock.core.kernel.store import ABSENT, Key, Put, Store

PARTITION = "~desk/operators"


def operator_key(name: str) -> Key:
    return Key(PARTITION, name.lower())


def operator_write(operator: Operator, expected: int = ABSENT) -> Put:
    return Put(operator_key(operator.name), _encoder.encode(operator), expected)


async def find_operator(store: Store, name: str) -> tuple[Operator, int] | None:
    """With the version its next write expects."""
    item = await store.get(operator_key(name))
    return (_operator.decode(item.value), item.version) if item else None


async def list_operators(store: Store) -> list[Operator]:
    page = await store.query(PARTITION, limit=1_000)
    return [_operator.decode(item.value) for item in page.items]


def session_key(cookie: str) -> Key:
    return Key("~desk/session/" + digest_of_text(cookie), "session")


def session_write(key: Key, session: Session, expected: int = ABSENT) -> Put:
    return Put(key, _encoder.encode(session), expected, {}, session.ends_at())


async def find_session(store: Store, key: Key) -> tuple[Session, int] | None:
    item = await store.get(key)
    return (_session.decode(item.value), item.version) if item else None


def digest_of_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def errand_key(state: str) -> Key:
    return Key("~desk/errand/" + digest_of_text(state), "errand")


def errand_write(key: Key, errand: Errand) -> Put:
    return Put(key, _encoder.encode(errand), ABSENT, {}, errand.ends_at())


async def find_errand(store: Store, key: Key) -> tuple[Errand, int] | None:
    item = await store.get(key)
    return (_errand.decode(item.value), item.version) if item else None


_encoder = msgspec.json.Encoder()
_operator = msgspec.json.Decoder(Operator)
_errand = msgspec.json.Decoder(Errand)
_session = msgspec.json.Decoder(Session)
