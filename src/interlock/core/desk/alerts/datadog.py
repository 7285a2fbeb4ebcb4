"""Datadog's webhooks. Their body is whatever template was typed in there; this is the one we read.

In Datadog: Integrations, Webhooks, New; a custom header {"Authorization": "Bearer TOKEN"}, and as payload:

    {"id": "$ID", "title": "$EVENT_TITLE", "transition": "$ALERT_TRANSITION", "alert_id": "$ALERT_ID",
     "alert_title": "$ALERT_TITLE", "alert_type": "$ALERT_TYPE", "priority": "$ALERT_PRIORITY", "scope": "$ALERT_SCOPE",
     "tags": "$TAGS", "message": "$TEXT_ONLY_MSG", "link": "$LINK", "date": "$DATE", "runbook": ""}

`title`, `transition` and `alert_id` are needed, everything else may be left out. Put the monitor's runbook into `runbook`.
Source: https://docs.datadoghq.com/integrations/webhooks/ (checked 2026-11-27; the words a transition can be are not all
listed there, and were taken from what the monitors' own pages call them)
"""

from __future__ import annotations

from interlock.core.desk.alerts.model import (
    LABEL_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
    SUMMARY_CHARACTERS_MAX,
    AlertSeverity,
    Signal,
    SignalState,
)
from interlock.core.desk.alerts.reading import Place, bounded_fingerprint, bounded_labels, epoch_time
from interlock.core.kernel.clock import Millis

TAGS_CHARACTERS_MAX = 20_000
_FIRING = ("Triggered", "Re-Triggered", "No Data", "Re-No Data", "Warn", "Re-Warn", "Renotify")
_TRANSITIONS = dict.fromkeys(_FIRING, SignalState.FIRING) | {"Recovered": SignalState.RESOLVED}
_PRIORITIES = {
    "P1": AlertSeverity.CRITICAL,
    "P2": AlertSeverity.ERROR,
    "P3": AlertSeverity.WARNING,
    "P4": AlertSeverity.INFO,
    "P5": AlertSeverity.INFO,
}
_TYPES = {"error": AlertSeverity.ERROR, "warning": AlertSeverity.WARNING, "info": AlertSeverity.INFO}


def read_datadog(body: Place, source: str) -> list[Signal]:
    """One webhook, one signal: a monitor and the group (scope) it is about. Raises Invalid."""
    transition = body.at("transition").text(most=NAME_CHARACTERS_MAX)
    state: SignalState = body.at("transition").one_of(_TRANSITIONS)
    title = body.at("title").text(most=SUMMARY_CHARACTERS_MAX)
    monitor = _filled(body, "alert_id", LABEL_CHARACTERS_MAX)
    if not monitor:
        raise body.at("alert_id").fault("required", "the monitor's id is needed here")
    scope = _filled(body, "scope", TAGS_CHARACTERS_MAX)
    tags = _filled(body, "tags", TAGS_CHARACTERS_MAX)
    labels = bounded_labels([("monitor", monitor), *_pairs(scope), *_pairs(tags)])
    at = _date(body.at("date"))
    return [
        Signal(
            source=source,
            fingerprint=bounded_fingerprint(monitor, scope),
            name=(_filled(body, "alert_title", NAME_CHARACTERS_MAX) or title)[:NAME_CHARACTERS_MAX],
            severity=_severity(body, transition),
            state=state,
            labels=labels,
            summary=title,
            runbook=body.at("runbook").url(),
            starts_at=at if state is SignalState.FIRING else None,
            ends_at=at if state is SignalState.RESOLVED else None,
            link=body.at("link").url(),
        )
    ]


def _severity(body: Place, transition: str) -> AlertSeverity:
    """The monitor's priority says most, then whether it only warns, then the event's type."""
    by_priority = _PRIORITIES.get(_filled(body, "priority", 20))
    if by_priority is not None:
        return by_priority
    if transition in ("Warn", "Re-Warn"):
        return AlertSeverity.WARNING
    return _TYPES.get(_filled(body, "alert_type", 20), AlertSeverity.ERROR)


def _filled(body: Place, name: str, most: int) -> str:
    """The field's text; empty for a variable that Datadog had nothing for and left standing."""
    if isinstance(body.at(name).value, int) and not isinstance(body.at(name).value, bool):
        return str(body.at(name).value)[:most]  # who leaves the quotes out of the template sends a number
    text = body.at(name).optional_text(most=most)
    return "" if text.startswith("$") and text[1:].replace("_", "").isupper() else text


def _pairs(text: str) -> list[tuple[str, str]]:
    """`name:value, name:value`; a tag without a value is a label that is `true`."""
    parted = (tag.strip().partition(":") for tag in text.split(","))
    return [(name, value.strip() if colon else "true") for name, colon, value in parted]


def _date(place: Place) -> Millis | None:
    value = place.value
    if isinstance(value, int) and not isinstance(value, bool):
        return epoch_time(str(value))
    return epoch_time(place.optional_text(most=40))
