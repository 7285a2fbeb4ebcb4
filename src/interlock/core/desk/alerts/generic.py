"""Our own form, for tools that can be told what to send.

    {"name": "DiskFull", "status": "firing", "fingerprint": "db-1/disk", "severity": "critical", "labels": {"host": "db-1"},
     "summary": "98 % used", "runbook_url": "https://...", "link": "https://...", "starts_at": "2026-11-21T08:00:00Z"}

or {"alerts": [...]} with up to 500 of them. `name` and `status` (firing, resolved) are needed. Without a fingerprint, name
and labels together are it. `severity` is critical, error, warning or info. No other field is taken.
"""

from __future__ import annotations

from interlock.core.desk.alerts.model import (
    NAME_CHARACTERS_MAX,
    SIGNALS_MAX,
    SUMMARY_CHARACTERS_MAX,
    AlertSeverity,
    Signal,
    SignalState,
)
from interlock.core.desk.alerts.reading import Place, digest_of, labels_digest

FIELDS = frozenset(
    {"name", "status", "fingerprint", "severity", "labels", "summary", "runbook_url", "link", "starts_at", "ends_at"}
)
_STATES = {"firing": SignalState.FIRING, "resolved": SignalState.RESOLVED}
_SEVERITIES = {severity.value: severity for severity in AlertSeverity}


def read_generic(body: Place, source: str) -> list[Signal]:
    """Raises Invalid."""
    if "alerts" not in body.mapping():
        return [_alert(body, source)]
    _refuse_others(body, frozenset({"alerts"}))
    return [_alert(alert, source) for alert in body.at("alerts").items(most=SIGNALS_MAX)]


def _alert(alert: Place, source: str) -> Signal:
    _refuse_others(alert, FIELDS)
    name = alert.at("name").text(most=NAME_CHARACTERS_MAX)
    labels = alert.at("labels").labels()
    given = alert.at("fingerprint").fingerprint()
    severity = alert.at("severity")
    return Signal(
        source=source,
        fingerprint=given or digest_of(name, labels_digest(labels)),
        name=name,
        severity=AlertSeverity.WARNING if severity.value is None else severity.one_of(_SEVERITIES),
        state=alert.at("status").one_of(_STATES),
        labels=labels,
        summary=alert.at("summary").optional_text(most=SUMMARY_CHARACTERS_MAX),
        runbook=alert.at("runbook_url").url(),
        starts_at=alert.at("starts_at").time(),
        ends_at=alert.at("ends_at").time(),
        link=alert.at("link").url(),
    )


def _refuse_others(place: Place, known: frozenset[str]) -> None:
    for name in place.mapping():
        if name not in known:
            raise place.at(name[:100].replace("~", "~0").replace("/", "~1")).fault("unknown_field", "no such field")
