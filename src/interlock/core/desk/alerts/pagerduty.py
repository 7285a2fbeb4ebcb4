"""Events of PagerDuty's Events API v2, for tools that can speak to nothing else.

Source: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/ (read from PagerDuty/developer-docs, 2026-11-27)
"""

from __future__ import annotations

from interlock.core.desk.alerts.alertmanager import read_title
from interlock.core.desk.alerts.model import (
    LABEL_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
    SUMMARY_CHARACTERS_MAX,
    AlertSeverity,
    Signal,
    SignalState,
)
from interlock.core.desk.alerts.reading import ITEMS_MAX, Place, bounded_labels, digest_of, safe_url

LINKS_MAX = 100
DETAIL_CHARACTERS_MAX = 20_000
_ACTIONS = {
    "trigger": SignalState.FIRING,
    "acknowledge": SignalState.ACKNOWLEDGED,
    "resolve": SignalState.RESOLVED,
}
_SEVERITIES = {severity.value: severity for severity in AlertSeverity}


def routing_key_in(body: Place) -> str:
    """The credential of the event. Raises Invalid if there is none."""
    return body.at("routing_key").text(most=256)


def read_pagerduty(body: Place, source: str) -> list[Signal]:
    """One event, one signal. Raises Invalid.

    A trigger without a `dedup_key` makes an alert of its own at PagerDuty each time. Here the same summary from the same
    place gets the same key and is the same alert, so that a repeat after a lost answer opens nothing twice, and a client
    that forgets the key it is answered does not leave an alert behind for each time.
    """
    state: SignalState = body.at("event_action").one_of(_ACTIONS)
    given = body.at("dedup_key").fingerprint()
    if state is not SignalState.FIRING and not given:
        raise body.at("dedup_key").fault("required", "an acknowledge or resolve names what it is about")
    payload = body.at("payload")
    if state is not SignalState.FIRING and payload.value is None:
        return [Signal(source, given, given[:NAME_CHARACTERS_MAX], AlertSeverity.WARNING, state)]
    summary = payload.at("summary").text(most=SUMMARY_CHARACTERS_MAX)
    origin = payload.at("source").text(most=LABEL_CHARACTERS_MAX)
    severity: AlertSeverity = payload.at("severity").one_of(_SEVERITIES)
    labels = _labels(payload, origin)
    runbook, link = _links(body)
    title = read_title(summary)
    name = labels.get("class") or (title.group if title is not None and title.group else summary)
    return [
        Signal(
            source=source,
            fingerprint=given or digest_of(origin, summary),
            name=name[:NAME_CHARACTERS_MAX],
            severity=severity,
            state=state,
            labels=labels,
            summary=summary,
            runbook=runbook or safe_url(labels.get("runbook_url", "")),
            starts_at=payload.at("timestamp").time() if state is SignalState.FIRING else None,
            ends_at=payload.at("timestamp").time() if state is SignalState.RESOLVED else None,
            link=link or body.at("client_url").url(),
        )
    ]


def _labels(payload: Place, origin: str) -> dict[str, str]:
    """Where it comes from, and those of the details that are text. What has a field of its own is not overwritten."""
    pairs = [("source", origin)]
    for field in ("component", "group", "class"):
        text = payload.at(field).optional_text(most=LABEL_CHARACTERS_MAX)
        if text:
            pairs.append((field, text))
    details = payload.at("custom_details")
    if not isinstance(details.value, dict):
        return bounded_labels(pairs)
    if len(details.value) > ITEMS_MAX:
        raise details.fault("bad_length", f"at most {ITEMS_MAX} details are read")
    listed = details.value.get("firing") or details.value.get("resolved")
    if isinstance(listed, str) and listed.startswith("Labels:\n"):
        return bounded_labels(pairs + _listed(listed[:DETAIL_CHARACTERS_MAX]))
    return bounded_labels(pairs + sorted((name, text) for name, text in details.value.items() if isinstance(text, str)))


def _listed(text: str) -> list[tuple[str, str]]:
    """Labels and annotations of the first alert in what Alertmanager's sender puts under `firing` and `resolved`."""
    first = text.partition("\nSource:")[0]
    pairs = (line[3:].partition(" = ") for line in first.split("\n") if line.startswith(" - "))
    return [(name, value) for name, equals, value in pairs if equals]


def _links(body: Place) -> tuple[str | None, str | None]:
    """The link whose text speaks of a runbook, and the first of the others."""
    runbook: str | None = None
    other: str | None = None
    if body.at("links").value:
        for link in body.at("links").items(most=LINKS_MAX):
            url = link.at("href").url()
            if "runbook" in link.at("text").optional_text(most=NAME_CHARACTERS_MAX).lower():
                runbook = runbook or url
            else:
                other = other or url
    return runbook, other
