"""What becomes of a signal: one pure function, for what is received and for what is only tried out.

`key_of` says which alert a signal belongs to, `apply` what it does to that alert. Receiving loads the alerts and writes what
comes out; a dry run (`Rehearsal` in `rehearsing.py`) keeps them in a dictionary. Neither decides anything by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from msgspec.structs import replace

from interlock.core.desk.alerts.model import (
    BADNESS,
    HISTORY_MAX,
    MEMBERS_MAX,
    MUTED_CHARACTERS_MAX,
    MUTED_MAX,
    RECENT_MAX,
    REOPENS_WITHIN,
    Alert,
    AlertSeverity,
    Entry,
    Received,
    Signal,
    SignalState,
    alert_id,
)
from interlock.core.desk.alerts.rules import (
    AlertRule,
    DeduplicateAction,
    GroupAction,
    SetSeverityAction,
    ThresholdAction,
    first_of,
    group_key,
    quiet_rule,
)
from interlock.core.desk.alerts.states import AlertState, Trigger, after
from interlock.core.kernel.clock import SECOND, Millis


class AlertOutcome(StrEnum):
    """What became of a signal."""

    OPENED = "opened"
    REOPENED = "reopened"
    """It was resolved not long ago."""
    REPEATED = "repeated"
    """It is open or acknowledged, and fires again or one more joined it."""
    DEDUPLICATED = "deduplicated"
    """The same, counted and not told."""
    SILENCED = "silenced"
    HELD = "held"
    PARTLY_RESOLVED = "partly_resolved"
    """One of its members has stopped; others fire."""
    RESOLVED = "resolved"
    ACKNOWLEDGED = "acknowledged"
    IGNORED = "ignored"
    """It says that something is over, or looked after, that is not open here."""


class Known(NamedTuple):
    """The alert a signal belongs to, as far as there is one."""

    key: str
    alert: Alert | None


class Verdict(NamedTuple):
    outcome: AlertOutcome
    at: Millis
    """When it counts as received: never before what its alert knew already."""
    alert: Alert | None
    """As it is from now on. None: there is none, and none is made."""
    previous: Alert | None
    """As it was; another alert's if `alert` is a new one in its place."""
    told: bool
    """Whether it is an event, or only counted."""
    rules: tuple[str, ...]
    """Ids of the rules that made it so, in the order in which they acted."""

    @property
    def is_new(self) -> bool:
        return self.alert is not None and (self.previous is None or self.previous.id != self.alert.id)


class Fate(NamedTuple):
    """What became, or would have become, of one received signal."""

    received: Received
    verdict: Verdict


def key_of(rules: Sequence[AlertRule], signal: Signal, before: Alert | None) -> str:
    """The key of the alert the signal belongs to. `before` is the one that its own key was last put into.

    While it fires there it stays there, so that a change of rules never keeps an alert from being resolved.
    """
    if before is not None and ((before.is_active and signal.member in before.members) or not _fires(signal)):
        return before.key
    return _grouped(rules, with_severity(rules, signal)[0])[0]


def apply(rules: Sequence[AlertRule], signal: Signal, known: Known, now: Millis) -> Verdict:
    """What the signal does to the alert it belongs to."""
    at = now if known.alert is None else max(now, known.alert.last_at)
    if signal.state is SignalState.ACKNOWLEDGED:
        return _acknowledged(signal, known.alert, at)
    if signal.state is SignalState.RESOLVED:
        return _recovered(signal, known.alert, at)
    return _fired(rules, signal, known, at)


def with_severity(rules: Sequence[AlertRule], signal: Signal) -> tuple[Signal, tuple[str, ...]]:
    """The signal with the severity that a rule gives it, and that rule's id."""
    found = first_of(SetSeverityAction, rules, signal)
    if found is None:
        return signal, ()
    rule, action = found
    return replace(signal, severity=action.severity), (rule.id,)


def entry_added(alert: Alert, entry: Entry) -> Alert:
    return replace(alert, history=(*alert.history, entry)[-HISTORY_MAX:])


def _fires(signal: Signal) -> bool:
    return signal.state is SignalState.FIRING


def _grouped(rules: Sequence[AlertRule], signal: Signal) -> tuple[str, tuple[str, ...]]:
    """The key by the rules alone, and the id of the rule that groups it."""
    found = first_of(GroupAction, rules, signal)
    key = None if found is None else group_key(*found, signal)
    return (signal.own_key, ()) if found is None or key is None else (key, (found[0].id,))


def _acknowledged(signal: Signal, alert: Alert | None, at: Millis) -> Verdict:
    if alert is None or alert.state is not AlertState.OPEN:
        return Verdict(AlertOutcome.IGNORED, at, alert, alert, False, ())
    taken = replace(alert, state=after(alert.state, Trigger.ACKNOWLEDGED), last_at=at, version=alert.version + 1)
    entry = Entry(at, AlertOutcome.ACKNOWLEDGED, signal.source)
    return Verdict(AlertOutcome.ACKNOWLEDGED, at, entry_added(taken, entry), alert, True, ())


def _recovered(signal: Signal, alert: Alert | None, at: Millis) -> Verdict:
    if alert is None or not alert.is_active or signal.member not in alert.members:
        return Verdict(AlertOutcome.IGNORED, at, alert, alert, False, ())
    members = tuple(member for member in alert.members if member != signal.member)
    if members or alert.uncounted:
        fewer = replace(alert, members=members, muted=_without(alert.muted, signal), last_at=at)
        return Verdict(AlertOutcome.PARTLY_RESOLVED, at, fewer, alert, False, ())
    resolved = replace(
        alert,
        state=after(alert.state, Trigger.RECOVERED),
        members=(),
        muted=(),
        last_at=at,
        resolved_at=at,
        ends_at=signal.ends_at,
        version=alert.version + 1,
    )
    entry = Entry(at, AlertOutcome.RESOLVED, signal.source)
    return Verdict(AlertOutcome.RESOLVED, at, entry_added(resolved, entry), alert, True, ())


def _fired(rules: Sequence[AlertRule], given: Signal, known: Known, at: Millis) -> Verdict:
    signal, acted = with_severity(rules, given)
    key, grouping = _grouped(rules, signal)
    acted += grouping if key == known.key else ()
    previous = known.alert
    alert = _counted(signal, known.key, previous, at)
    state = AlertState.RESOLVED if previous is None else previous.state
    trigger = Trigger.FIRED
    quiet = quiet_rule(rules, signal, at)
    threshold = first_of(ThresholdAction, rules, signal)
    if quiet is not None:
        trigger = Trigger.MUTED
        acted += (quiet.id,)
    elif threshold is not None and occurrences(alert, threshold[1].within_s, at) < threshold[1].count:
        trigger = Trigger.HELD_BACK
    following = after(state, trigger)
    outcome = _outcome(previous, alert, following, trigger)
    if outcome is AlertOutcome.HELD and threshold is not None:
        acted += (threshold[0].id,)
    if outcome is AlertOutcome.REPEATED:
        window = first_of(DeduplicateAction, rules, signal)
        if window is not None and _is_duplicate(previous, signal, window[1].within_s, at):
            outcome, acted = AlertOutcome.DEDUPLICATED, (*acted, window[0].id)
    told = following is not state or outcome is AlertOutcome.REPEATED
    heard = outcome in (AlertOutcome.OPENED, AlertOutcome.REOPENED, AlertOutcome.REPEATED)
    fresh = previous is None or alert.id != previous.id
    changed = replace(
        alert,
        state=following,
        version=(0 if fresh else alert.version) + told,
        muted=_with(alert.muted, given) if following is AlertState.SILENCED else (),
        noticed_at=at if heard else alert.noticed_at,
    )
    if following is not state:
        changed = entry_added(changed, Entry(at, outcome, signal.source, rules=acted))
    return Verdict(outcome, at, changed, previous, told, acted)


def _counted(signal: Signal, key: str, previous: Alert | None, at: Millis) -> Alert:
    """The alert with one more occurrence; a new one if there is none, or the one there has been over for long."""
    over = previous is not None and previous.resolved_at is not None and not previous.is_active
    if previous is None or (over and at - (previous.resolved_at or 0) > REOPENS_WITHIN):
        return Alert(
            id=alert_id(key, at),
            key=key,
            fingerprint=signal.fingerprint,
            source=signal.source,
            name=signal.name,
            severity=signal.severity,
            labels=signal.labels,
            state=AlertState.RESOLVED,
            version=0,
            count=1,
            first_at=at,
            last_at=at,
            summary=signal.summary,
            runbook=signal.runbook,
            link=signal.link,
            starts_at=signal.starts_at,
            members=(signal.member,),
            recent=(at,),
        )
    others = tuple(member for member in previous.members if member != signal.member)
    is_known = len(others) < len(previous.members)
    full = not is_known and len(others) >= MEMBERS_MAX
    uncounted = previous.uncounted and not over
    alone = not others and not uncounted
    return replace(
        previous,
        severity=signal.severity if alone else worst(previous.severity, signal.severity),
        labels=signal.labels if alone else _common(previous, signal),
        summary=signal.summary or previous.summary,
        runbook=signal.runbook or previous.runbook,
        link=signal.link or previous.link,
        starts_at=signal.starts_at if over else previous.starts_at,
        ends_at=None,
        count=previous.count + 1,
        last_at=at,
        members=previous.members if is_known or full else (*others, signal.member),
        uncounted=uncounted or full,
        recent=(*previous.recent, at)[-RECENT_MAX:],
        noticed_at=0 if over else previous.noticed_at,
        resolved_at=None,
    )


def _outcome(previous: Alert | None, alert: Alert, following: AlertState, trigger: Trigger) -> AlertOutcome:
    if trigger is Trigger.MUTED:
        return AlertOutcome.SILENCED
    if following is AlertState.HELD:
        return AlertOutcome.HELD
    if previous is not None and previous.state in (AlertState.OPEN, AlertState.ACKNOWLEDGED):
        return AlertOutcome.REPEATED
    was_heard = previous is not None and previous.noticed_at > 0
    is_back = was_heard and previous is not None and previous.id == alert.id and not previous.is_active
    return AlertOutcome.REOPENED if is_back else AlertOutcome.OPENED


def _is_duplicate(previous: Alert | None, signal: Signal, within_s: int, at: Millis) -> bool:
    return (
        previous is not None
        and at - previous.noticed_at < within_s * SECOND
        and BADNESS[signal.severity] <= BADNESS[previous.severity]
    )


def _with(muted: tuple[Signal, ...], signal: Signal) -> tuple[Signal, ...]:
    """The newest as far as there is room, the signal itself always."""
    known = Signal(signal.source, signal.fingerprint, signal.name, signal.severity, signal.state, signal.labels)
    kept = [known]
    room = MUTED_CHARACTERS_MAX - _characters(known)
    for one in reversed(muted):
        if one.member == signal.member:
            continue
        room -= _characters(one)
        if room < 0 or len(kept) == MUTED_MAX:
            break
        kept.append(one)
    return tuple(reversed(kept))


def _without(muted: tuple[Signal, ...], signal: Signal) -> tuple[Signal, ...]:
    """The last one stays: others of the group may have been silenced with it."""
    return tuple(one for one in muted if one.member != signal.member) or muted


def _characters(signal: Signal) -> int:
    return sum(len(name) + len(text) for name, text in signal.labels.items())


def occurrences(alert: Alert, within_s: int, at: Millis) -> int:
    return sum(at - one < within_s * SECOND for one in alert.recent)


def worst(*severities: AlertSeverity) -> AlertSeverity:
    return max(severities, key=BADNESS.__getitem__)


def _common(alert: Alert, signal: Signal) -> dict[str, str]:
    """Labels that all members have in common."""
    return {name: value for name, value in alert.labels.items() if signal.labels.get(name) == value}
