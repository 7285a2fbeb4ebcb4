"""What Prometheus Alertmanager and Grafana send: webhooks, and the text of Alertmanager's Slack messages.

Sources: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config (version "4"), Alertmanager 0.25's own
requests as captured 2026-11-21, and
https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/
(checked 2026-11-27).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from interlock.core.desk.alerts.model import (
    LABEL_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
    SIGNALS_MAX,
    SUMMARY_CHARACTERS_MAX,
    AlertSeverity,
    Signal,
    SignalState,
)
from interlock.core.desk.alerts.reading import (
    Place,
    bounded_fingerprint,
    first_severity,
    labels_digest,
    safe_url,
    severity_of,
)

_STATES = {"firing": SignalState.FIRING, "resolved": SignalState.RESOLVED}
UNNAMED = "unnamed"
"""Alerts may come without an alertname, and must not be lost for it."""


def read_alertmanager(body: Place, source: str) -> list[Signal]:
    """Version 4 of the webhook: the only one there has been since 2016. Raises Invalid."""
    if body.at("version").value != "4":
        raise body.at("version").fault("not_allowed", 'Alertmanager\'s webhook says version "4"')
    return _read(body, source)


def read_grafana(body: Place, source: str) -> list[Signal]:
    """Grafana's unified alerting: the same shape with another version and more links. Raises Invalid."""
    return _read(body, source)


def _read(body: Place, source: str) -> list[Signal]:
    return [_alert(alert, source) for alert in body.at("alerts").items(most=SIGNALS_MAX)]


def _alert(alert: Place, source: str) -> Signal:
    labels, notes = alert.at("labels").labels(), alert.at("annotations").labels()
    state = alert.at("status").one_of(_STATES)
    name = labels.get("alertname") or UNNAMED
    given = alert.at("fingerprint").fingerprint()
    links = [alert.at(field).url() for field in ("dashboardURL", "generatorURL")]
    runbook = safe_url(notes.get("runbook_url", "")) or safe_url(notes.get("runbook", ""))
    summary = notes.get("summary") or notes.get("description") or notes.get("message") or name
    return Signal(
        source=source,
        fingerprint=given or labels_digest(labels),
        name=name[:NAME_CHARACTERS_MAX],
        severity=severity_of(labels.get("severity", "")),
        state=state,
        labels=labels,
        summary=summary[:SUMMARY_CHARACTERS_MAX],
        runbook=runbook,
        starts_at=alert.at("startsAt").time(),
        ends_at=alert.at("endsAt").time() if state is SignalState.RESOLVED else None,
        link=next((link for link in links if link), None),
    )


class Title(NamedTuple):
    """What Alertmanager's default title says. It speaks of a group of alerts, not of one."""

    state: SignalState
    group: str
    """The values of the labels it is grouped by: the same when the group fires and when it is resolved."""
    values: str
    """Values of other labels that all alerts of the group share."""


def read_title(text: str) -> Title | None:
    """`[FIRING:2] Name (value value)` or `[RESOLVED] Name`, the default of both the Slack and the PagerDuty sender."""
    found = _TITLE.fullmatch(text.strip())
    if found is None:
        return None
    state = SignalState.FIRING if found["firing"] else SignalState.RESOLVED
    # Only the last bracket belongs to the template: a label's value may have brackets, too.
    group, bracket, values = found["rest"].strip().rpartition(" (")
    if bracket and values.endswith(")"):
        return Title(state, group.strip(), values[:-1])
    return Title(state, found["rest"].strip(), "")


def read_slack(body: Place, source: str) -> list[Signal]:
    """A Slack message as Alertmanager's Slack sender writes it: one attachment for each group. Raises Invalid.

    A message names values and no labels, so what can be known is less than by the webhook. The group's own values are the
    fingerprint, because the others change while alerts join and leave the group.
    """
    return [_attachment(one, source) for one in body.at("attachments").items(most=SIGNALS_MAX)]


def _attachment(attachment: Place, source: str) -> Signal:
    place = attachment.at("title")
    title = read_title(place.text(most=SUMMARY_CHARACTERS_MAX))
    if title is None or not title.group:
        raise place.fault("bad_format", "a title such as [FIRING:1] name (labels) or [RESOLVED] name is needed here")
    words = title.values.split()
    labels = {"alertname": title.group[:LABEL_CHARACTERS_MAX]}
    if title.values:
        labels["values"] = title.values[:LABEL_CHARACTERS_MAX]
    return Signal(
        source=source,
        fingerprint=bounded_fingerprint(title.group),
        name=title.group[:NAME_CHARACTERS_MAX],
        severity=first_severity(words) or AlertSeverity.WARNING,
        state=title.state,
        labels=labels,
        summary=attachment.at("text").optional_text(most=SUMMARY_CHARACTERS_MAX)
        or attachment.at("fallback").optional_text(most=SUMMARY_CHARACTERS_MAX).partition(" | ")[0],
        link=attachment.at("title_link").url(),
    )


_TITLE = re.compile(r"\[(?:(?P<firing>FIRING)(?::[0-9]{1,6})?|RESOLVED(?::[0-9]{1,6})?)\] ?(?P<rest>.*)", re.DOTALL)
