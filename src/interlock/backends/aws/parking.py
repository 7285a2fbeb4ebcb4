"""Places far ahead in time are parked: the row knows them, their index does not, until a schedule says that they are near.

Whoever is looked at in a week costs an index two units now, to move the entry from the moment it would have been looked at
first. Parked it costs one, for the entry that goes; and of those who are parked most are done long before their time.
A parked place is on the table's stream like any change: whoever follows the stream sets the schedule, at least once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from interlock.backends.aws.calls import Answer, Calls, Refused
from interlock.backends.aws.table import Row, index_keys
from interlock.core.kernel.clock import HOUR, Millis

INDEX = "due"
"""Its places begin with an instant of fourteen digits."""
INSTANT_DIGITS = 14
FAR: Millis = 6 * HOUR
EARLY: Millis = HOUR
"""So long before its time a place is back in its index."""


class Parked(NamedTuple):
    """A row whose place is not in its index."""

    pk: str
    sk: str
    commit: str
    """That parked it: any later one has decided anew."""
    at: Millis
    """When it must be back."""

    @property
    def name(self) -> str:
        """Of the schedule: one for each row."""
        return self.pk.partition("/")[2]


class Parking:
    def __init__(self, now: Callable[[], Millis], *, far: Millis = FAR) -> None:
        self._now, self._far = now, far

    def park(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row as it is written: its place parked, if that is far ahead."""
        partition, sort = index_keys(INDEX)
        at = _instant(row[sort]["S"]) if sort in row else None
        if at is None or at <= self._now() + self._far:
            return row
        parked = {name: value for name, value in row.items() if name not in (partition, sort)}
        return parked | {"f": {"L": [{"S": INDEX}, row[partition], row[sort]]}}


def parked_in(record: Answer) -> Parked | None:
    """Of a stream's record: what must be scheduled."""
    row = record["dynamodb"].get("NewImage", {})
    if "f" not in row:
        return None
    at = _instant(row["f"]["L"][2]["S"])
    return None if at is None else Parked(row["pk"]["S"], row["sk"]["S"], row["c"]["S"], at - EARLY)


async def wake(calls: Calls, table: str, parked: Parked, row: Row) -> bool:
    """Put the place back into its index, if the row is still the one that was parked; whether it was. Safe to repeat.

    `row` is the row as it stands. Raises StoreUnavailable, OutcomeUnknown.
    """
    if "f" not in row or row["c"]["S"] != parked.commit:
        return False
    _, partition, sort = row["f"]["L"]
    names = dict(zip(("#p", "#s"), index_keys(INDEX), strict=True))
    try:
        await calls.write(
            "update_item",
            TableName=table,
            Key={"pk": {"S": parked.pk}, "sk": {"S": parked.sk}},
            UpdateExpression="SET #p = :p, #s = :s REMOVE f, w",
            ConditionExpression="c = :c",
            ExpressionAttributeNames=names,
            ExpressionAttributeValues={":p": partition, ":s": sort, ":c": {"S": parked.commit}},
        )
    except Refused as refused:
        if refused.code != "ConditionalCheckFailedException":
            raise
        return False
    return True


def _instant(sort: str) -> Millis | None:
    head = sort[:INSTANT_DIGITS]
    return int(head) if len(head) == INSTANT_DIGITS and head.isdigit() and head.isascii() else None
