"""Finding alerts."""

from __future__ import annotations

from typing import NamedTuple

from interlock.core.desk.alerts.model import Alert, AlertSeverity, place_in
from interlock.core.desk.alerts.ports import AlertDesk
from interlock.core.desk.alerts.records import (
    ALL,
    BY_ID,
    BY_STATE,
    HeldAlert,
    current_key,
    decode_alert,
    held_alert,
    past_key,
    state_partition,
)
from interlock.core.desk.alerts.rules import glob
from interlock.core.desk.alerts.states import AlertState
from interlock.core.kernel.errors import NotFound

EXAMINED_MAX = 1_000
"""Alerts looked at for one page; a filter that few of them pass gives a short page and the means to go on."""
OPEN_MAX = 1_000
_STEP = 200


class Wanted(NamedTuple):
    """Filters of a list; None does not filter."""

    state: AlertState | None = None
    severity: AlertSeverity | None = None
    name: str | None = None
    """A pattern: * stands for any characters, ? for one."""

    def fits(self, alert: Alert) -> bool:
        return (
            (self.state is None or alert.state is self.state)
            and (self.severity is None or alert.severity is self.severity)
            and (self.name is None or glob(self.name, alert.name))
        )


class Found(NamedTuple):
    alerts: list[Alert]
    """Newest first."""
    next: str | None
    """Cursor to go on with in the direction asked for; None at the end."""


async def load_alert(d: AlertDesk, alert_id: str) -> HeldAlert:
    """Raises NotFound."""
    place = place_in(alert_id)
    if place:
        for key in (current_key(place), past_key(place, alert_id)):
            item = await d.store.get(key)
            if item is not None and (held := held_alert(item)).alert.id == alert_id:
                return held
    raise NotFound("no such alert")


async def find_alerts(
    d: AlertDesk, wanted: Wanted, *, limit: int, after: str | None = None, before: str | None = None
) -> Found:
    """Up to `limit` alerts behind `after` (older), or just newer than `before`, newest first. A moment behind the commits."""
    index, partition = (BY_ID, ALL) if wanted.state is None else (BY_STATE, state_partition(wanted.state))
    backwards = before is not None
    found: list[Alert] = []
    cursor = before if backwards else after
    examined = 0
    while examined < EXAMINED_MAX:
        page = await d.store.query_index(index, partition, after=cursor, limit=_STEP, newest_first=not backwards)
        for item in page.items:
            alert = decode_alert(item)
            if len(found) == limit:
                return _result(found, cursor, backwards)
            examined += 1
            cursor = alert.id
            if wanted.fits(alert):
                found.append(alert)
        if page.next is None:
            return _result(found, None, backwards)
    return _result(found, cursor, backwards)


async def list_open(d: AlertDesk) -> list[Alert]:
    """What is open or acknowledged, worst first and then newest first; OPEN_MAX of each state at most."""
    found: list[Alert] = []
    for state in (AlertState.OPEN, AlertState.ACKNOWLEDGED):
        page = await d.store.query_index(BY_STATE, state_partition(state), limit=OPEN_MAX, newest_first=True)
        found += map(decode_alert, page.items)
    worst_first = list(AlertSeverity)
    newest_first = sorted(found, key=lambda alert: alert.id, reverse=True)
    return sorted(newest_first, key=lambda alert: worst_first.index(alert.severity))


def _result(found: list[Alert], cursor: str | None, backwards: bool) -> Found:
    return Found(found[::-1] if backwards else found, cursor)
