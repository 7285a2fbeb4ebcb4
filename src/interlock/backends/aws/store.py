"""The Store port on DynamoDB: one table, conditional transactions, sparse indexes.

A commit of one write is a conditional PutItem or DeleteItem, which costs half of a transaction; any other is a
TransactWriteItems. Both can be repeated when nobody knows what became of them: a transaction by its token, a single write
by the commit's id, which it leaves in the item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from interlock.backends.aws.calls import Answer, Calls, Refused
from interlock.backends.aws.table import INDEXES, event_key, event_of, index_keys, index_name, item_key, item_of
from interlock.core.kernel.errors import Invalid, OutcomeUnknown, StoreUnavailable, WriteConflict
from interlock.core.kernel.events import Event
from interlock.core.kernel.store import (
    ABSENT,
    Delete,
    Item,
    Key,
    Page,
    Put,
    Store,
    Write,
    check_key,
    check_limit,
    check_texts,
    check_writes,
    checked_body,
)

GET_MOST = 100
"""Keys of one BatchGetItem."""
BATCH_TRIES = 8
SPENT_MS = 1_000
"""Milliseconds to the seconds DynamoDB drops items by."""
_CURSOR_SEPARATOR = "\0"
_ABSENT = "attribute_not_exists(pk)"
_AS_EXPECTED = "v = :expected"


class _Action(NamedTuple):
    """One part of a transaction, and what a failed condition of it is called."""

    kind: str
    """Put, Delete or ConditionCheck."""
    request: dict[str, Any]
    subject: Any


class DynamoStore:
    def __init__(
        self, calls: Calls, table: str, *, new_token: Callable[[], str], indexes: Sequence[str] = INDEXES
    ) -> None:
        """`new_token` gives commits their ids, of at most 36 characters. The table must have these indexes."""
        self._calls, self._table, self._new_token, self._indexes = calls, table, new_token, tuple(indexes)

    async def get(self, key: Key) -> Item | None:
        check_key(key)
        answer = await self._calls.read("get_item", TableName=self._table, Key=item_key(key), ConsistentRead=True)
        row = answer.get("Item")
        return None if row is None else item_of(row, self._indexes)

    async def query(
        self,
        partition: str,
        *,
        prefix: str = "",
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> Page:
        check_texts(partition, prefix, after or "")
        check_limit(limit)
        if not partition:
            return Page([], None)
        asked: dict[str, Any] = {
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": f"i/{partition}"}},
        }
        if prefix:
            asked["KeyConditionExpression"] += " AND begins_with(sk, :prefix)"
            asked["ExpressionAttributeValues"][":prefix"] = {"S": prefix}
        if after:
            if after.startswith(prefix):
                asked["ExclusiveStartKey"] = item_key(Key(partition, after))
            elif (after > prefix) is not newest_first:
                return Page([], None)  # all there is lies before it
        rows = await self._rows(asked, limit + 1, newest_first=newest_first, ConsistentRead=True)
        items = [item_of(row, self._indexes) for row in rows[:limit]]
        return Page(items, items[-1].key.sort if len(rows) > limit else None)

    async def query_index(
        self,
        index: str,
        partition: str,
        *,
        upto: str | None = None,
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> Page:
        check_texts(index, partition, upto or "", after or "")
        check_limit(limit)
        cursor = _cursor(after)
        if index not in self._indexes:
            raise Invalid(f"the table has no index {index}: declare it")
        if not partition or upto == "":
            return Page([], None)
        asked = _range(index, partition, upto, cursor, newest_first)
        if asked is None:
            return Page([], None)
        rows = await self._rows(asked | {"IndexName": index_name(index)}, limit + 1, newest_first=newest_first)
        place = index_keys(index)[1]
        items = await self._whole(rows[:limit])
        page = [item for item in items if item is not None and item.indexes.get(index, ("",))[0] == partition]
        if len(rows) <= limit:
            return Page(page, None)
        last = rows[limit - 1]
        return Page(page, _CURSOR_SEPARATOR.join((last[place]["S"], last["pk"]["S"][2:], last["sk"]["S"])))

    async def commit(self, writes: Sequence[Write], events: Sequence[Event] = ()) -> None:
        check_writes(writes, len(events))
        for write in writes:
            if type(write) is Put and not self._has(write.indexes):
                raise Invalid(f"the table has not all of the indexes {sorted(write.indexes)}: declare them")
        token = self._new_token()
        actions = [self._action(write, token) for write in writes]
        actions += self._recorded(events, token)
        if len(actions) == 1 and actions[0].kind != "ConditionCheck":
            await self._single(actions[0], token)
        else:
            await self._together(actions, token)

    async def history(self, aggregate: str, *, after_version: int = 0, limit: int = 1000) -> list[Event]:
        check_texts(aggregate)
        check_limit(limit)
        asked = {
            "KeyConditionExpression": "pk = :pk AND sk > :after",
            "ExpressionAttributeValues": {
                ":pk": event_key(aggregate, 0)["pk"],
                ":after": event_key(aggregate, max(after_version, 0))["sk"],
            },
        }
        return [event_of(row) for row in await self._rows(asked, limit, ConsistentRead=True)]

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _rows(
        self, asked: dict[str, Any], count: int, *, newest_first: bool = False, **more: Any
    ) -> list[Answer]:
        """Up to `count`, from as many pages as it takes: a page ends after a megabyte."""
        found: list[Answer] = []
        start = asked.get("ExclusiveStartKey")
        while True:
            if start is not None:
                more["ExclusiveStartKey"] = start
            answer = await self._calls.read(
                "query",
                **(asked | more),
                TableName=self._table,
                Limit=count - len(found),
                ScanIndexForward=not newest_first,
            )
            found += answer["Items"]
            start = answer.get("LastEvaluatedKey")
            if start is None or len(found) >= count:
                return found

    async def _whole(self, rows: Sequence[Answer]) -> list[Item | None]:
        """The items index entries point at, in their order; None for one that has gone meanwhile."""
        found: dict[tuple[str, str], Item] = {}
        for start in range(0, len(rows), GET_MOST):
            keys = [{"pk": row["pk"], "sk": row["sk"]} for row in rows[start : start + GET_MOST]]
            for row in await self._batch(keys):
                found[row["pk"]["S"], row["sk"]["S"]] = item_of(row, self._indexes)
        return [found.get((row["pk"]["S"], row["sk"]["S"])) for row in rows]

    async def _batch(self, keys: Sequence[Answer]) -> list[Answer]:
        """The rows of these keys that are there; those that DynamoDB leaves out are asked for again."""
        found: list[Answer] = []
        wanted: Any = {self._table: {"Keys": keys, "ConsistentRead": True}}
        for tries in range(BATCH_TRIES):
            answer = await self._calls.read("batch_get_item", RequestItems=wanted)
            found += answer["Responses"].get(self._table, ())
            wanted = answer.get("UnprocessedKeys")
            if not wanted:
                return found
            await self._calls.pause(tries)
        raise StoreUnavailable("DynamoDB leaves out part of a batch again and again: it throttles")

    # -- writing ------------------------------------------------------------------------------------------------------

    def _has(self, names: Iterable[str]) -> bool:
        return set(names) <= set(self._indexes)

    def _action(self, write: Write, token: str) -> _Action:
        if write.expected == ABSENT:
            condition: dict[str, Any] = {"ConditionExpression": _ABSENT}
        else:
            expected = {":expected": {"N": str(write.expected)}}
            condition = {"ConditionExpression": _AS_EXPECTED, "ExpressionAttributeValues": expected}
        if type(write) is Put:
            return _Action("Put", condition | {"Item": _row(write, token)}, write.key)
        # To delete what is, as expected, not there is to look that it is not.
        kind = "Delete" if type(write) is Delete and write.expected != ABSENT else "ConditionCheck"
        return _Action(kind, condition | {"Key": item_key(write.key)}, write.key)

    def _recorded(self, events: Sequence[Event], token: str) -> list[_Action]:
        """Raises WriteConflict for a version that is there twice, as a transaction cannot have an item twice."""
        if len({(event.aggregate, event.version) for event in events}) != len(events):
            raise WriteConflict(("event", events[0].aggregate))
        found = []
        for event in events:
            row = event_key(event.aggregate, event.version) | {"b": {"B": checked_body(event)}, "c": {"S": token}}
            subject = ("event", event.aggregate)
            found.append(_Action("Put", {"ConditionExpression": _ABSENT, "Item": row}, subject))
        return found

    async def _single(self, action: _Action, token: str) -> None:
        operation = "put_item" if action.kind == "Put" else "delete_item"
        request = action.request | {"TableName": self._table, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        try:
            await self._calls.write(operation, **request)
        except Refused as refused:
            if refused.is_in_passing:
                raise WriteConflict(action.subject) from refused
            _expect(refused, "ConditionalCheckFailedException")
            if refused.there.get("c", {}).get("S") == token:
                return  # an earlier try, whose answer was lost, has written it
            if refused.after_unclear:
                raise OutcomeUnknown("a try whose answer was lost may have been overtaken") from refused
            raise WriteConflict(action.subject) from refused

    async def _together(self, actions: Sequence[_Action], token: str) -> None:
        items = [{one.kind: one.request | {"TableName": self._table}} for one in actions]
        try:
            await self._calls.write("transact_write_items", TransactItems=items, ClientRequestToken=token)
        except Refused as refused:
            _expect(refused, "TransactionCanceledException")
            for reason in ("ConditionalCheckFailed", "TransactionConflict"):
                if reason in refused.reasons:
                    raise WriteConflict(actions[refused.reasons.index(reason)].subject) from refused
            raise StoreUnavailable(f"DynamoDB cancelled the commit: {refused.reasons}") from refused


def _expect(refused: Refused, code: str) -> None:
    if refused.code != code:
        raise StoreUnavailable(f"DynamoDB refused: {refused.code}") from refused


def _row(write: Put, token: str) -> dict[str, Any]:
    row: dict[str, Any] = item_key(write.key) | {
        "v": {"N": str(write.expected + 1)},
        "d": {"B": write.value},
        "c": {"S": token},
    }
    for name, place in write.indexes.items():
        partition, sort = index_keys(name)
        row[partition], row[sort] = {"S": place.partition}, {"S": place.sort}
    if write.expires_at is not None:
        row["e"] = {"N": str(write.expires_at)}
        row["ttl"] = {"N": str(-(-write.expires_at // SPENT_MS))}
    return row


def _cursor(after: str | None) -> tuple[str, ...] | None:
    """A sort key of the index, or that and the item's two keys."""
    if after is None:
        return None
    cursor = tuple(after.split(_CURSOR_SEPARATOR))
    if len(cursor) not in (1, 3):
        raise Invalid("`after` is not a position of this index", code="invalid_cursor")
    return cursor


def _range(
    index: str, partition: str, upto: str | None, cursor: tuple[str, ...] | None, newest_first: bool
) -> dict[str, Any] | None:
    """What to ask an index for; None if nothing can be in it."""
    partition_name, sort_name = index_keys(index)
    conditions, values = [f"{partition_name} = :p"], {":p": {"S": partition}}
    asked: dict[str, Any] = {}
    low, high, below = "", upto, False
    if cursor is not None and cursor[0]:
        sort = cursor[0]
        is_inside = upto is None or sort <= upto
        if len(cursor) == 3 and is_inside:
            entry = {partition_name: {"S": partition}, sort_name: {"S": sort}}
            asked["ExclusiveStartKey"] = item_key(Key(*cursor[1:])) | entry
        elif newest_first and is_inside:
            high, below = sort, True
        elif not newest_first:
            low = sort + "\0"  # keys hold no NUL, so this is the smallest text behind it
    if low and high is not None:
        if low > high:
            return None
        conditions.append(f"{sort_name} BETWEEN :low AND :high")
        values |= {":low": {"S": low}, ":high": {"S": high}}
    elif low:
        conditions.append(f"{sort_name} >= :low")
        values[":low"] = {"S": low}
    elif high is not None:
        conditions.append(f"{sort_name} {'<' if below else '<='} :high")
        values[":high"] = {"S": high}
    return asked | {"KeyConditionExpression": " AND ".join(conditions), "ExpressionAttributeValues": values}


_port: type[Store] = DynamoStore
"""Held against its port here until a bootstrap joins them."""
