"""What people do with an alert: take it, give it to somebody, close it.

All three are safe to repeat: what changes nothing is no change.
"""

from __future__ import annotations

from msgspec.structs import replace

from interlock.core.desk.alerts.commands import AcknowledgeAlert, AssignAlert, ResolveAlert
from interlock.core.desk.alerts.events import Facts, alert_event
from interlock.core.desk.alerts.listing import load_alert
from interlock.core.desk.alerts.model import Alert, Entry
from interlock.core.desk.alerts.ports import AlertDesk
from interlock.core.desk.alerts.reading import clean
from interlock.core.desk.alerts.records import alert_write
from interlock.core.desk.alerts.states import AlertState, Trigger, after
from interlock.core.desk.alerts.verdicts import entry_added
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import Unavailable, WriteConflict
from interlock.core.kernel.idempotency import Request

CONFLICTS_MAX = 8
_VERBS = {Trigger.ACKNOWLEDGED: "acknowledged", Trigger.ASSIGNED: "assigned", Trigger.CLOSED: "resolved"}


async def acknowledge(d: AlertDesk, alert_id: str, command: AcknowledgeAlert, request: Request) -> Alert:
    """Somebody looks after it. Whoever acknowledges what nobody has becomes its assignee.

    Raises NotFound, and Conflict for one that is resolved.
    """
    return await _change(d, alert_id, Trigger.ACKNOWLEDGED, request, note=command.note, assignee=request.actor)


async def assign(d: AlertDesk, alert_id: str, command: AssignAlert, request: Request) -> Alert:
    """Somebody else is to look after it, or nobody. Raises NotFound, and Conflict for one that is resolved."""
    return await _change(d, alert_id, Trigger.ASSIGNED, request, note=command.note, assignee=command.assignee)


async def resolve(d: AlertDesk, alert_id: str, command: ResolveAlert, request: Request) -> Alert:
    """It is over, whatever the tool says. If it fires again within a day it is reopened. Raises NotFound."""
    return await _change(d, alert_id, Trigger.CLOSED, request, note=command.note, assignee=None)


async def _change(
    d: AlertDesk, alert_id: str, trigger: Trigger, request: Request, *, note: str, assignee: str | None
) -> Alert:
    for _ in range(CONFLICTS_MAX):
        held = await load_alert(d, alert_id)
        at = max(d.clock.now(), held.alert.last_at)
        entry = Entry(at, _VERBS[trigger], request.actor, clean(note))
        alert = _changed(held.alert, trigger, entry, assignee, at)
        if alert is held.alert:
            return alert
        event = alert_event(d.ids, alert, entry.what, at, Facts(request.actor, request.id, entry.note))
        try:
            await d.store.commit([alert_write(alert, held.key, held.item_version)], [event])
        except WriteConflict:
            continue
        return alert
    raise Unavailable("others are changing this alert at the same time; repeat", retry_after_s=1)


def _changed(alert: Alert, trigger: Trigger, entry: Entry, assignee: str | None, at: Millis) -> Alert:
    """`alert` itself if nothing changes. Raises Conflict if it cannot."""
    following = after(alert.state, trigger)
    holder = alert.assignee
    if trigger is Trigger.ASSIGNED or (trigger is Trigger.ACKNOWLEDGED and holder is None):
        holder = assignee
    is_news = following is not alert.state or holder != alert.assignee
    if not is_news and (not entry.note or _said_already(alert, entry)):
        return alert
    changed = replace(alert, state=following, assignee=holder, version=alert.version + 1)
    if following is not AlertState.SILENCED:
        changed = replace(changed, muted=())
    if trigger is Trigger.CLOSED and alert.state is not AlertState.RESOLVED:
        changed = replace(changed, members=(), uncounted=False, resolved_at=at)
    return entry_added(changed, entry)


def _said_already(alert: Alert, entry: Entry) -> bool:
    """The same person, the same words, and nothing in between: a repeated request."""
    last = alert.history[-1] if alert.history else None
    return last is not None and (last.what, last.by, last.note) == (entry.what, entry.by, entry.note)
