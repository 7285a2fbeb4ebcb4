"""The one table: what stands where.

| pk | sk | what |
|---|---|---|
| `i/` + partition | sort | an item: `v` version, `d` value, `e` and `ttl` when it may be dropped |
| `e/` + aggregate | version, 19 digits | an event: `b` its body; `o` if it was moved here from its drawer and is no news |
| `e/` + aggregate | `~` | the aggregate's drawer: its item and its latest events in one row (`drawers.py`) |

`c` is the commit that wrote it. A row that stands in an index has the two keys of that index's global secondary index,
which is sparse: rows without them are not in it and cost it nothing. A place that is far ahead in time may be left out of its
index until it is near (`f`, see `parking.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from interlock.core.kernel.events import Event, decode_event
from interlock.core.kernel.store import Item, Key, Put

VERSION_DIGITS = 19
DRAWER = "~"
"""Behind every version, as digits sort before it."""
SPENT_MS = 1_000
"""Milliseconds to the seconds DynamoDB drops items by."""
INDEXES = (
    "due",
    "clients",
    "webhook_deliveries",
    "webhook_deliveries_by_status",
    "desk_alerts",
    "desk_alerts_by_state",
)
"""Each has a global secondary index of its name. A new one is declared here and in the table's Terraform module."""


class DrawerRule(NamedTuple):
    """Which item has its aggregate's events with it: the one at `{tenant}/{word}/{aggregate}`, `sort`."""

    prefix: str
    """What the aggregates' ids begin with."""
    word: str
    sort: str

    def aggregate_of(self, key: Key) -> str | None:
        if key.sort != self.sort:
            return None
        head, _, aggregate = key.partition.rpartition("/")
        is_ours = aggregate.startswith(self.prefix) and head.endswith(f"/{self.word}")
        return aggregate if is_ours else None


DRAWERS = (DrawerRule("pay_", "pay", "payment"),)
"""Payments are written twice or more within a second, each time with an event that repeats most of them."""

Row = Mapping[str, Any]


def item_key(key: Key) -> dict[str, Any]:
    return {"pk": {"S": f"i/{key.partition}"}, "sk": {"S": key.sort}}


def event_key(aggregate: str, version: int) -> dict[str, Any]:
    return {"pk": {"S": f"e/{aggregate}"}, "sk": {"S": f"{version:0{VERSION_DIGITS}d}"}}


def drawer_key(aggregate: str) -> dict[str, Any]:
    return {"pk": {"S": f"e/{aggregate}"}, "sk": {"S": DRAWER}}


def index_name(name: str) -> str:
    """The global secondary index of an index."""
    return f"by-{name}"


def index_keys(name: str) -> tuple[str, str]:
    """The attributes an index is keyed by."""
    return f"{name}_p", f"{name}_s"


def is_event(row: Row) -> bool:
    return str(row["pk"]["S"]).startswith("e/") and not is_drawer(row)


def is_drawer(row: Row) -> bool:
    return bool(row["sk"]["S"] == DRAWER) and str(row["pk"]["S"]).startswith("e/")


def event_of(row: Row) -> Event:
    return decode_event(bytes(row["b"]["B"]))


def event_row(aggregate: str, version: int, body: bytes, *, token: str, is_old: bool = False) -> dict[str, Any]:
    row = event_key(aggregate, version) | {"b": {"B": body}, "c": {"S": token}}
    return row | {"o": {"BOOL": True}} if is_old else row


def item_of(row: Row, names: Sequence[str]) -> Item:
    """Of a row that is no drawer."""
    key = Key(row["pk"]["S"][2:], row["sk"]["S"])
    return Item(key, int(row["v"]["N"]), bytes(row["d"]["B"]), places_in(row, names), expiry_in(row))


def item_row(write: Put, token: str) -> dict[str, Any]:
    row: dict[str, Any] = item_key(write.key) | {
        "v": {"N": str(write.expected + 1)},
        "d": {"B": write.value},
        "c": {"S": token},
        **index_attributes(write.indexes),
    }
    if write.expires_at is not None:
        row["e"] = {"N": str(write.expires_at)}
        row["ttl"] = {"N": str(-(-write.expires_at // SPENT_MS))}
    return row


def places_in(row: Row, names: Sequence[str]) -> dict[str, Key]:
    places: dict[str, Key] = {}
    if "f" in row:
        name, *place = (one["S"] for one in row["f"]["L"])
        places[name] = Key(*place)
    for name in names:
        partition, sort = index_keys(name)
        if partition in row:
            places[name] = Key(row[partition]["S"], row[sort]["S"])
    return places


def index_attributes(indexes: Mapping[str, Key]) -> dict[str, Any]:
    found = {}
    for name, place in indexes.items():
        partition, sort = index_keys(name)
        found[partition], found[sort] = {"S": place.partition}, {"S": place.sort}
    return found


def expiry_in(row: Row) -> int | None:
    expires = row.get("e")
    return None if expires is None else int(expires["N"])


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
