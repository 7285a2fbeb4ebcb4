"""Places far ahead in time are parked: the row knows them, their index does not, until a schedule says that they are near.

Whoever is looked at in a week costs an index two units now, to move the entry from the moment it would have been looked at
first. Parked it costs one, for the entry that goes; and of those who are parked most are done long before their time.
A parked place is on the table's stream like any change: whoever follows the stream sets the schedule, at least once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple, Protocol

import msgspec

from interlock.backends.aws.calls import Answer, Calls, Refused
from interlock.backends.aws.schedules import OneTimeSchedules
from interlock.backends.aws.table import Row, index_keys
from interlock.core.kernel.clock import HOUR, Millis
from interlock.core.kernel.errors import Invalid

INDEX = "due"
"""Its places begin with an instant of fourteen digits."""
INSTANT_DIGITS = 14
FAR: Millis = 6 * HOUR
EARLY: Millis = HOUR
"""So long before its time a place is back in its index."""
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


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
        plain = f"{self.pk}.{self.sk}".replace("/", "-").rstrip("~")
        return plain if _NAME.fullmatch(plain) else sha256(plain.encode()).hexdigest()


class Wakes(Protocol):
    """The store that parked them."""

    async def wake(self, found: Parked) -> bool: ...


class Reminders:
    """Sets a schedule for each parked place that the stream tells of, and has the place back when the schedule says so."""

    def __init__(self, schedules: OneTimeSchedules, store: Wakes) -> None:
        self._schedules, self._store = schedules, store

    async def remind(self, records: Sequence[Answer]) -> int:
        """Of a stream's records, also as a function is given them; how many. May be repeated. Raises StoreUnavailable."""
        latest = {found.name: found for record in records if (found := parked_in(record)) is not None}
        for found in latest.values():
            body = msgspec.json.encode({"parked": found._asdict()})
            await self._schedules.set(found.name, at=found.at, body=body.decode())
        return len(latest)

    async def wake(self, said: Mapping[str, Any]) -> bool:
        """What such a schedule said. May be repeated. Raises Invalid, StoreUnavailable, OutcomeUnknown."""
        try:
            found = msgspec.convert(said["parked"], Parked)
        except (KeyError, msgspec.ValidationError) as error:
            raise Invalid("not what a schedule of a parked place says") from error
        return await self._store.wake(found)


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
