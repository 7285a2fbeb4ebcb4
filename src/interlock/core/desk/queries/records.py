"""How saved queries stand in the store: one partition, by name."""

from __future__ import annotations

import msgspec

from interlock.core.desk.queries.model import SavedQuery
from interlock.core.kernel.store import Delete, Item, Key, Put

PARTITION = "~desk/queries"


def query_key(name: str) -> Key:
    return Key(PARTITION, name)


def query_write(query: SavedQuery, expected: int) -> Put:
    return Put(query_key(query.name), _encoder.encode(query), expected)


def query_removal(query: SavedQuery, expected: int) -> Delete:
    return Delete(query_key(query.name), expected)


def decode_query(item: Item) -> SavedQuery:
    return _decoder.decode(item.value)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(SavedQuery)
