"""Silences end by themselves: what still fires then is opened, whether or not its tool says so again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from interlock.core.access.audit import PLATFORM
from interlock.core.desk.alerts.events import Facts, alert_event
from interlock.core.desk.alerts.model import Alert, Entry, Signal, SignalState
from interlock.core.desk.alerts.ports import AlertDesk
from interlock.core.desk.alerts.records import BY_STATE, HeldAlert, alert_write, held_alert, state_partition
from interlock.core.desk.alerts.rule_set import load_rules
from interlock.core.desk.alerts.rules import (
    AlertRule,
    MaintenanceAction,
    SilenceAction,
    ThresholdAction,
    WeeklyMaintenanceAction,
    first_of,
    quiet_rule,
    quiet_until,
)
from interlock.core.desk.alerts.states import AlertState, Trigger, after
from interlock.core.desk.alerts.verdicts import AlertOutcome, Verdict, entry_added, occurrences, with_severity
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import WriteConflict

EXAMINED_AT_ONCE = 200
WINDOWS_MAX = 200
"""Times of maintenance after each other, without a moment between them."""
NOTE = "its silence is over"


class Looked(NamedTuple):
    opened: int
    """How many are silenced no more."""
    next: str | None
    """Where to go on; None: all were looked at."""


async def end_silences(d: AlertDesk, *, after: str | None = None, limit: int = EXAMINED_AT_ONCE) -> Looked:
    """Look at up to `limit` silenced alerts, and open those for which no rule in force is silent any more.

    Safe to repeat. One that somebody else changes at the same time is left for the next look. Raises Unavailable,
    OutcomeUnknown.
    """
    page = await d.store.query_index(BY_STATE, state_partition(AlertState.SILENCED), after=after, limit=limit)
    if not page.items:
        return Looked(0, None)
    rules = (await load_rules(d)).rules
    now, opened = d.clock.now(), 0
    for held in map(held_alert, page.items):
        verdict = silence_ended(rules, held.alert, now)
        if verdict is not None:
            opened += await _commit(d, held, verdict)
    return Looked(opened, page.next)


def silence_ended(rules: Sequence[AlertRule], alert: Alert, now: Millis) -> Verdict | None:
    """What becomes of a silenced alert at this moment. None: something is still silent about all that fires in it."""
    at = max(now, alert.last_at)
    heard = next((one for one in _muted(rules, alert) if quiet_rule(rules, one, at) is None), None)
    if heard is None:
        return None
    found = first_of(ThresholdAction, rules, heard)
    held_by: tuple[str, ...] = ()
    if found is not None and occurrences(alert, found[1].within_s, at) < found[1].count:
        held_by = (found[0].id,)
    outcome = AlertOutcome.HELD if held_by else AlertOutcome.OPENED
    changed = replace(
        alert,
        state=after(alert.state, Trigger.HELD_BACK if held_by else Trigger.FIRED),
        version=alert.version + 1,
        muted=(),
        noticed_at=alert.noticed_at if held_by else at,
    )
    entry = Entry(at, outcome, PLATFORM, NOTE, held_by)
    return Verdict(outcome, at, entry_added(changed, entry), alert, True, held_by)


def end_of_quiet(rules: Sequence[AlertRule], given: Signal, since: Millis) -> Millis | None:
    """The first moment from `since` on at which these rules are not silent about the signal; None: none of the near future."""
    signal, at = with_severity(rules, given)[0], since
    for _ in range(WINDOWS_MAX):
        rule = quiet_rule(rules, signal, at)
        if rule is None:
            return at
        assert isinstance(rule.action, SilenceAction | MaintenanceAction | WeeklyMaintenanceAction), "it is silent"
        at = quiet_until(rule.action, at)
    return None


def _muted(rules: Sequence[AlertRule], alert: Alert) -> list[Signal]:
    """What it is silenced for, as the rules see it. An alert of before this was remembered speaks for its signals."""
    itself = Signal(alert.source, alert.fingerprint, alert.name, alert.severity, SignalState.FIRING, alert.labels)
    return [with_severity(rules, one)[0] for one in alert.muted or (itself,)]


async def _commit(d: AlertDesk, held: HeldAlert, verdict: Verdict) -> bool:
    alert = verdict.alert
    assert alert is not None, "it was there before"
    event = alert_event(d.ids, alert, verdict.outcome, verdict.at, Facts(PLATFORM, note=NOTE, rules=verdict.rules))
    try:
        await d.store.commit([alert_write(alert, held.key, held.item_version)], [event])
    except WriteConflict:
        return False
    return True
