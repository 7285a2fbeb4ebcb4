"""The Store port on DynamoDB: one table, conditional transactions, sparse indexes.

A commit of one write is a conditional PutItem or DeleteItem, which costs half of a transaction; any other is a
TransactWriteItems. Both can be repeated when nobody knows what became of them: a transaction by its token, a single write
by the commit's id, which it leaves in the item.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from interlock.backends.aws.calls import Answer, Calls, Refused
from interlock.backends.aws.commits import (
    Action,
    Step,
    aggregate_of,
    drawer_actions,
    has_drawer,
    parked,
    plain_action,
    refusal,
    steps,
)
from interlock.backends.aws.drawers import Change, Conflict, Drawer, KnownDrawers, drawer_in
from interlock.backends.aws.parking import Parked, Parking, wake
from interlock.backends.aws.table import (
    DRAWERS,
    INDEXES,
    DrawerRule,
    drawer_key,
    event_key,
    event_of,
    index_keys,
    index_name,
    is_drawer,
    item_key,
    item_of,
)
from interlock.core.kernel.errors import Invalid, OutcomeUnknown, StoreUnavailable, WriteConflict
from interlock.core.kernel.events import Event, decode_event
from interlock.core.kernel.store import (
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
)

GET_MOST = 100
"""Keys of one BatchGetItem."""
BATCH_TRIES = 8
DRAWER_TRIES = 20
"""Times a drawer is read and written before the commit gives way to others. With each try that fails, somebody else's
succeeds."""
_CURSOR_SEPARATOR = "\0"
_FAILED = "ConditionalCheckFailed"
_IN_PASSING = "TransactionConflict"


class DynamoStore:
    def __init__(
        self,
        calls: Calls,
        table: str,
        *,
        new_token: Callable[[], str],
        indexes: Sequence[str] = INDEXES,
        drawers: Sequence[DrawerRule] = DRAWERS,
        parking: Parking | None = None,
    ) -> None:
        """`new_token` gives commits their ids, of at most 36 characters. The table must have these indexes.

        Whoever writes one table must agree on `drawers`. With `parking` somebody must follow the stream and call `wake`.
        """
        self._calls, self._table, self._new_token, self._indexes = calls, table, new_token, tuple(indexes)
        self._rules, self._known, self._parking = tuple(drawers), KnownDrawers(), parking

    async def get(self, key: Key) -> Item | None:
        check_key(key)
        aggregate = aggregate_of(key, self._rules)
        if aggregate is not None:
            item = (await self._drawer(aggregate)).item
            return item if item is not None and item.key == key else None
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
        items = [item_of(row, self._indexes) for row in rows]
        held = await self._held(partition)
        if held is not None and held.key.sort.startswith(prefix):
            sort = held.key.sort
            if not after or (sort < after if newest_first else sort > after):
                items = sorted([*items, held], key=lambda item: item.key.sort, reverse=newest_first)
        return Page(items[:limit], items[limit - 1].key.sort if len(items) > limit else None)

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
        return Page(page, _CURSOR_SEPARATOR.join((last[place]["S"], last["pk"]["S"], last["sk"]["S"])))

    async def commit(self, writes: Sequence[Write], events: Sequence[Event] = ()) -> None:
        check_writes(writes, len(events))
        for write in writes:
            if type(write) is Put and not set(write.indexes) <= set(self._indexes):
                raise Invalid(f"the table has not all of the indexes {sorted(write.indexes)}: declare them")
        found = steps(writes, events, self._rules)
        for tries in range(DRAWER_TRIES):
            if await self._committed(found, fresh=tries > 0):
                return
        raise WriteConflict(writes[0].key if writes else ("event", events[0].aggregate))

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
        # The drawer first: what moves out of it meanwhile is then found twice, and not missed.
        has_some = has_drawer(aggregate, self._rules)
        kept = (await self._drawer(aggregate)).events if has_some else {}
        found = {version: decode_event(body) for version, body in kept.items() if version > after_version}
        for row in await self._rows(asked, limit + 1, ConsistentRead=True):
            if not is_drawer(row):
                event = event_of(row)
                found[event.version] = event
        return [found[version] for version in sorted(found)][:limit]

    async def wake(self, found: Parked) -> bool:
        """The place of this row is near: have it back in its index. False if the row was written since. Safe to repeat."""
        key = {"pk": {"S": found.pk}, "sk": {"S": found.sk}}
        answer = await self._calls.read("get_item", TableName=self._table, Key=key, ConsistentRead=True)
        return await wake(self._calls, self._table, found, answer.get("Item", {}))

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
        found: dict[tuple[str, str], Item | None] = {}
        for start in range(0, len(rows), GET_MOST):
            keys = [{"pk": row["pk"], "sk": row["sk"]} for row in rows[start : start + GET_MOST]]
            for row in await self._batch(keys):
                item = drawer_in(row, self._indexes).item if is_drawer(row) else item_of(row, self._indexes)
                found[row["pk"]["S"], row["sk"]["S"]] = item
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

    async def _held(self, partition: str) -> Item | None:
        """The item of this partition that is in a drawer, if there is one."""
        for rule in self._rules:
            key = Key(partition, rule.sort)
            if rule.aggregate_of(key) is not None:
                return await self.get(key)
        return None

    async def _drawer(self, aggregate: str) -> Drawer:
        answer = await self._calls.read(
            "get_item", TableName=self._table, Key=drawer_key(aggregate), ConsistentRead=True
        )
        row = answer.get("Item")
        drawer = Drawer(aggregate) if row is None else drawer_in(row, self._indexes)
        self._known.keep(drawer)
        return drawer

    # -- writing ------------------------------------------------------------------------------------------------------

    async def _committed(self, found: Sequence[Step], *, fresh: bool) -> bool:
        """Whether it was; False if a drawer was not as it had been read, and nothing was written.

        Raises WriteConflict, StoreUnavailable, OutcomeUnknown.
        """
        token = self._new_token()
        actions: list[Action] = []
        last: list[Action] = []
        """Refusals of events: a write that fails is named before them."""
        after: list[Drawer] = []
        for step in found:
            if not isinstance(step, Change):
                actions.append(plain_action(step, token))
                continue
            try:
                drawer = (None if fresh else self._known.recall(step)) or await self._drawer(step.aggregate)
                made, then = drawer_actions(drawer, step, token=token)
            except Conflict as conflict:
                if not fresh:
                    return False  # by what was remembered: look again
                (actions if isinstance(conflict.subject, Key) else last).append(refusal(step, conflict))
                continue
            actions += made
            after += [then] if then else []
        actions += last
        if self._parking is not None:
            actions = [parked(action, self._parking) for action in actions]
        done = await (self._single if _is_single(actions) else self._together)(actions, token)
        for drawer in after:
            self._known.keep(drawer) if done else self._known.forget(drawer.aggregate)
        return done

    async def _single(self, actions: Sequence[Action], token: str) -> bool:
        (action,) = actions
        operation = "put_item" if action.kind == "Put" else "delete_item"
        request = action.request | {"TableName": self._table, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        try:
            await self._calls.write(operation, **request)
        except Refused as refused:
            if refused.is_in_passing:
                raise WriteConflict(action.subject) from refused
            _expect(refused, "ConditionalCheckFailedException")
            if refused.there.get("c", {}).get("S") == token:
                return True  # an earlier try, whose answer was lost, has written it
            if refused.after_unclear:
                raise OutcomeUnknown("a try whose answer was lost may have been overtaken") from refused
            if action.drawer:
                return False
            raise WriteConflict(action.subject) from refused
        return True

    async def _together(self, actions: Sequence[Action], token: str) -> bool:
        items = [{one.kind: one.request | {"TableName": self._table}} for one in actions]
        try:
            await self._calls.write("transact_write_items", TransactItems=items, ClientRequestToken=token)
        except Refused as refused:
            _expect(refused, "TransactionCanceledException")
            failed = [one for one, reason in zip(actions, refused.reasons, strict=True) if reason == _FAILED]
            if any(one.drawer for one in failed):
                return False
            passing = [one for one, reason in zip(actions, refused.reasons, strict=True) if reason == _IN_PASSING]
            if failed or passing:
                raise WriteConflict((failed or passing)[0].subject) from refused
            raise StoreUnavailable(f"DynamoDB cancelled the commit: {refused.reasons}") from refused
        return True


def _is_single(actions: Sequence[Action]) -> bool:
    return len(actions) == 1 and actions[0].kind != "ConditionCheck"


def _expect(refused: Refused, code: str) -> None:
    if refused.code != code:
        raise StoreUnavailable(f"DynamoDB refused: {refused.code}") from refused


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
            asked["ExclusiveStartKey"] = {"pk": {"S": cursor[1]}, "sk": {"S": cursor[2]}} | entry
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
