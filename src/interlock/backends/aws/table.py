"""The one table: what stands where.

| pk | sk | what |
|---|---|---|
| `i/` + partition | sort | an item: `v` version, `d` value, `i` its index places, `e` and `ttl` when it may be dropped |
| `e/` + aggregate | version, 19 digits | an event: `b` its body |

`c` is the commit that wrote it. An item that stands in an index has the two keys of that index's global secondary index,
which is sparse: items without them are not in it and cost it nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from interlock.core.kernel.events import Event, decode_event
from interlock.core.kernel.store import Item, Key

VERSION_DIGITS = 19
INDEXES = ("due", "clients")
"""Each has a global secondary index of its name. A new one is declared here and in the table's Terraform module."""


def item_key(key: Key) -> dict[str, Any]:
    return {"pk": {"S": f"i/{key.partition}"}, "sk": {"S": key.sort}}


def event_key(aggregate: str, version: int) -> dict[str, Any]:
    return {"pk": {"S": f"e/{aggregate}"}, "sk": {"S": f"{version:0{VERSION_DIGITS}d}"}}


def index_name(name: str) -> str:
    """The global secondary index of an index."""
    return f"by-{name}"


def index_keys(name: str) -> tuple[str, str]:
    """The attributes an index is keyed by."""
    return f"{name}_p", f"{name}_s"


def item_of(row: Mapping[str, Any], names: Sequence[str]) -> Item:
    key = Key(row["pk"]["S"][2:], row["sk"]["S"])
    places: dict[str, Key] = {}
    for name in names:
        partition, sort = index_keys(name)
        if partition in row:
            places[name] = Key(row[partition]["S"], row[sort]["S"])
    expires = row.get("e")
    return Item(key, int(row["v"]["N"]), bytes(row["d"]["B"]), places, None if expires is None else int(expires["N"]))


def is_event(row: Mapping[str, Any]) -> bool:
    return str(row["pk"]["S"]).startswith("e/")


def event_of(row: Mapping[str, Any]) -> Event:
    return decode_event(bytes(row["b"]["B"]))


def definition(table: str, names: Sequence[str] = INDEXES) -> dict[str, Any]:
    """Of `CreateTable`, for the local emulator and for tests; accounts get the same by Terraform."""
    keyed = [attribute for name in names for attribute in index_keys(name)]
    return {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": attribute, "AttributeType": "S"} for attribute in ("pk", "sk", *keyed)
        ],
        "KeySchema": _schema("pk", "sk"),
        "GlobalSecondaryIndexes": [
            {
                "IndexName": index_name(name),
                "KeySchema": _schema(*index_keys(name)),
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
            for name in names
        ],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    }


def _schema(partition: str, sort: str) -> list[dict[str, str]]:
    return [{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]
