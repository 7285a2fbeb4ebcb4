"""From a commit of the port to what DynamoDB is asked to do: conditional actions, one for each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from interlock.backends.aws.drawers import NEW, Change, Conflict, Drawer, Outcome, changed
from interlock.backends.aws.parking import Parking
from interlock.backends.aws.table import DrawerRule, drawer_key, event_row, item_key, item_row
from interlock.core.kernel.errors import WriteConflict
from interlock.core.kernel.events import Event
from interlock.core.kernel.store import ABSENT, Check, Delete, Key, Put, Write, checked_body

_ABSENT = "attribute_not_exists(pk)"
_AS_EXPECTED = "v = :expected"
_AS_READ = "c = :read"
_NEVER = "attribute_exists(pk) AND attribute_not_exists(pk)"
"""So that DynamoDB names the first of several conflicts itself."""


class Action(NamedTuple):
    """One part of a transaction, and what a failed condition of it is called."""

    kind: str
    """Put, Delete or ConditionCheck."""
    request: dict[str, Any]
    subject: Any
    drawer: str = ""
    """The aggregate whose drawer this writes as it was read: if the condition fails, it has only to be read again."""


Step = Write | Change | Event
"""A write or an event with a row of its own, or all that is wanted of one drawer."""


def steps(writes: Sequence[Write], events: Sequence[Event], rules: Sequence[DrawerRule]) -> list[Step]:
    """A commit by the rows it touches, in its order.

    Raises WriteConflict for what is there twice, Invalid for an event that cannot be kept.
    """
    if len({(event.aggregate, event.version) for event in events}) != len(events):
        raise WriteConflict(("event", events[0].aggregate))
    found: list[Step] = []
    drawers: dict[str, int] = {}
    for write in writes:
        aggregate = aggregate_of(write.key, rules)
        if aggregate is None:
            found.append(write)
        elif aggregate in drawers:  # two tenants' items of one id: at most one of them has this history
            raise WriteConflict(write.key)
        else:
            drawers[aggregate] = len(found)
            found.append(Change(aggregate, write, ()))
    for event in events:
        if not has_drawer(event.aggregate, rules):
            found.append(event)
            continue
        if event.aggregate not in drawers:
            drawers[event.aggregate] = len(found)
            found.append(Change(event.aggregate, None, ()))
        place = drawers[event.aggregate]
        change = found[place]
        assert isinstance(change, Change)
        found[place] = change._replace(events=(*change.events, (event.version, checked_body(event))))
    return found


def aggregate_of(key: Key, rules: Sequence[DrawerRule]) -> str | None:
    """Whose drawer holds the item at this key, if one does."""
    return next((found for rule in rules if (found := rule.aggregate_of(key)) is not None), None)


def has_drawer(aggregate: str, rules: Sequence[DrawerRule]) -> bool:
    return any(aggregate.startswith(rule.prefix) for rule in rules)


def plain_action(step: Write | Event, token: str) -> Action:
    if isinstance(step, Event):
        return _event(step.aggregate, step.version, checked_body(step), token=token)
    return _plain(step, token)


def drawer_actions(drawer: Drawer, change: Change, *, token: str) -> tuple[list[Action], Drawer | None]:
    """What to do at and around a drawer as it was read, and what it is then. Raises Conflict."""
    if isinstance(change.write, Check) and not change.events:
        return [_checked(change.aggregate, change.write)], None
    outcome = changed(drawer, change, token=token)
    subject = change.write.key if change.write is not None else ("event", change.aggregate)
    condition = _condition(drawer)
    actions = [Action("Put", {"Item": outcome.row, **condition}, subject, change.aggregate)]
    return [*actions, *_rows(change.aggregate, outcome, token)], outcome.after


def parked(action: Action, parking: Parking) -> Action:
    """The action with a place that is far ahead parked."""
    if "Item" not in action.request:
        return action
    return action._replace(request=action.request | {"Item": parking.park(action.request["Item"])})


def refusal(change: Change, conflict: Conflict) -> Action:
    """Stands in for a drawer that contradicts the commit."""
    request = {"Key": drawer_key(change.aggregate), "ConditionExpression": _NEVER}
    return Action("ConditionCheck", request, conflict.subject)


def _rows(aggregate: str, outcome: Outcome, token: str) -> Iterator[Action]:
    for version, body in outcome.moved:
        yield _event(aggregate, version, body, token=token, is_old=True)
    for version, body in outcome.apart:
        yield _event(aggregate, version, body, token=token)


def _condition(drawer: Drawer) -> dict[str, Any]:
    if drawer.commit == NEW:
        return {"ConditionExpression": _ABSENT}
    return {"ConditionExpression": _AS_READ, "ExpressionAttributeValues": {":read": {"S": drawer.commit}}}


def _plain(write: Write, token: str) -> Action:
    if write.expected == ABSENT:
        condition: dict[str, Any] = {"ConditionExpression": _ABSENT}
    else:
        expected = {":expected": {"N": str(write.expected)}}
        condition = {"ConditionExpression": _AS_EXPECTED, "ExpressionAttributeValues": expected}
    if isinstance(write, Put):
        return Action("Put", condition | {"Item": item_row(write, token)}, write.key)
    # To delete what is, as expected, not there is to look that it is not.
    kind = "Delete" if isinstance(write, Delete) and write.expected != ABSENT else "ConditionCheck"
    return Action(kind, condition | {"Key": item_key(write.key)}, write.key)


def _event(aggregate: str, version: int, body: bytes, *, token: str, is_old: bool = False) -> Action:
    """One that moves out of its drawer needs no condition: the drawer's own says that it was there, and only there."""
    row = {"Item": event_row(aggregate, version, body, token=token, is_old=is_old)}
    condition = {} if is_old else {"ConditionExpression": _ABSENT}
    return Action("Put", row | condition, ("event", aggregate))


def _checked(aggregate: str, write: Write) -> Action:
    values = {":k": {"S": write.key.partition.removesuffix(aggregate)}, ":n": {"S": write.key.sort}}
    if write.expected == ABSENT:
        condition = "attribute_not_exists(v) OR k <> :k OR n <> :n"
    else:
        condition = "v = :expected AND k = :k AND n = :n"
        values[":expected"] = {"N": str(write.expected)}
    request = {
        "Key": drawer_key(aggregate),
        "ConditionExpression": condition,
        "ExpressionAttributeValues": values,
    }
    return Action("ConditionCheck", request, write.key)
