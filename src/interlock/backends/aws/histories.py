"""Every event there ever was, read from the table itself: for those who verify, archive or prove a backup.

A stream keeps a day; the table keeps all. Its order is the table's: each aggregate's events stand together and in theirs, but what
is committed while somebody reads may be passed over. So this is for looking at what there is, and not for following it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from interlock.backends.aws.calls import Answer, Calls
from interlock.backends.aws.drawers import drawer_in
from interlock.backends.aws.table import event_of, is_drawer
from interlock.core.kernel.errors import Invalid
from interlock.core.kernel.events import Event, decode_event
from interlock.core.kernel.feed import START, FeedRecord
from interlock.core.kernel.store import check_limit

Row = Answer


class _Place(msgspec.Struct, array_like=True):
    """Behind so many events of the row that follows this one."""

    pk: str = ""
    sk: str = ""
    count: int = 0


class TableHistories:
    """As a Feed, from START to the table's end."""

    def __init__(self, calls: Calls, table: str) -> None:
        self._calls, self._table = calls, table

    async def read(self, *, after: str, limit: int = 100) -> list[FeedRecord]:
        """Up to `limit` events behind a position. Raises Invalid for what is none, StoreUnavailable."""
        check_limit(limit)
        place = _decoded(after)
        found: list[FeedRecord] = []
        skip = place.count
        asked: dict[str, Any] = {}
        if place.pk:
            asked["ExclusiveStartKey"] = {"pk": {"S": place.pk}, "sk": {"S": place.sk}}
        while True:
            answer = await self._calls.read(
                "scan",
                TableName=self._table,
                FilterExpression="begins_with(pk, :events)",
                ExpressionAttributeValues={":events": {"S": "e/"}},
                ConsistentRead=True,
                **asked,
            )
            for row in answer["Items"]:
                for count, event in enumerate(_events(row), 1):
                    if count > skip:
                        found.append(FeedRecord(_encoded(_Place(place.pk, place.sk, count)), event))
                    if len(found) == limit:
                        return found
                place, skip = _Place(row["pk"]["S"], row["sk"]["S"]), 0
            if "LastEvaluatedKey" not in answer:
                return found
            asked["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    async def wait(self, *, after: str, timeout_s: float) -> bool:
        """Whether there is anything behind a position; nobody is waited for."""
        return bool(await self.read(after=after, limit=1))


def _events(row: Row) -> Iterator[Event]:
    if not is_drawer(row):
        yield event_of(row)
        return
    for _, body in sorted(drawer_in(row, ()).events.items()):
        yield decode_event(body)


def _encoded(place: _Place) -> str:
    return msgspec.json.encode(place).decode()


def _decoded(after: str) -> _Place:
    if after == START:
        return _Place()
    try:
        return msgspec.json.decode(after, type=_Place)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise Invalid("not a position of these histories", code="invalid_cursor") from error
