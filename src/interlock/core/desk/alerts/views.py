"""What is shown: alerts, sources without their secrets, rules, and what a dry run found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from interlock.core.desk.alerts.model import Alert, AlertFormat, AlertSeverity, Source, SourceProof
from interlock.core.desk.alerts.records import RuleSet
from interlock.core.desk.alerts.rules import AlertRule
from interlock.core.desk.alerts.states import AlertState
from interlock.core.desk.alerts.verdicts import AlertOutcome, Fate
from interlock.core.kernel.clock import Millis, rfc3339
from interlock.core.kernel.secrets import Secret


class AlertEntryView(msgspec.Struct, frozen=True):
    at: str
    what: str
    by: str
    note: str
    rules: list[str]


class AlertView(msgspec.Struct, frozen=True):
    id: str
    object: Literal["alert"]
    state: AlertState
    severity: AlertSeverity
    name: str
    source: str
    fingerprint: str
    """Of the signal that opened it."""
    labels: Mapping[str, str]
    """Those that all its members have in common."""
    summary: str
    runbook: str | None
    """A stranger's link, http or https."""
    link: str | None
    """Where the tool shows it."""
    count: int
    """How often it was said to fire, the tool's own repeats included."""
    members: int
    """How many fingerprints fire in it now."""
    first_at: str
    last_at: str
    starts_at: str | None
    """As the tool says."""
    ends_at: str | None
    noticed_at: str | None
    """When somebody was last told. null: it was silenced or held all the time."""
    resolved_at: str | None
    assignee: str | None
    history: list[AlertEntryView]
    """Oldest first, the last fifty."""


class AlertSourceView(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    object: Literal["alert_source"]
    name: str
    format: AlertFormat
    proof: SourceProof
    path: str
    """Where it is to send to."""
    topic_arn: str | None
    created_at: str
    token: str | msgspec.UnsetType = msgspec.UNSET
    """Bearer token, password, routing key or HMAC secret; only in the answer that made it."""


class AlertRulesView(msgspec.Struct, frozen=True):
    version: int
    """Give it back when replacing them."""
    rules: list[AlertRule]
    updated_at: str | None
    updated_by: str | None


class AlertFateView(msgspec.Struct, frozen=True):
    """What would have become of one signal."""

    at: str
    source: str
    fingerprint: str
    name: str
    signal: str
    """firing, resolved or acknowledged."""
    outcome: AlertOutcome
    told: bool
    """Whether anybody would have heard of it."""
    alert: str | None
    """The id it would have."""
    state: AlertState | None
    severity: AlertSeverity | None
    rules: list[str]


class AlertDryRunView(msgspec.Struct, frozen=True):
    since: str
    until: str
    signals: int
    complete: bool
    """false: there were more signals than are tried at once, and `until` is how far it came."""
    outcomes: Mapping[str, int]
    acted: Mapping[str, int]
    """Id of a rule -> how many signals it decided."""
    alerts: int
    """How many alerts there would have been."""
    told: int
    data: list[AlertFateView]
    """The last ones, oldest first."""


class AlertReceiptView(msgspec.Struct, frozen=True):
    received: int
    """Signals in the body."""
    result: str
    """accepted, duplicate (it was taken before), confirmed or unsubscribed (of Amazon SNS)."""


class PagerDutyReceiptView(msgspec.Struct, frozen=True):
    """What PagerDuty's Events API v2 answers, for clients that read it.

    Source: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/, and what PagerDuty/go-pagerduty reads
    (2026-11-27)
    """

    status: Literal["success"]
    message: Literal["Event processed"]
    dedup_key: str
    """With it the client acknowledges and resolves what it triggered; made here if the event had none."""


def receipt_view(format: AlertFormat, fates: Sequence[Fate], result: str) -> AlertReceiptView | PagerDutyReceiptView:
    if format is AlertFormat.PAGERDUTY and fates:
        key = fates[0].received.signal.fingerprint  # one event, one signal
        return PagerDutyReceiptView("success", "Event processed", key)
    return AlertReceiptView(len(fates), result)


def alert_view(alert: Alert) -> AlertView:
    return AlertView(
        id=alert.id,
        object="alert",
        state=alert.state,
        severity=alert.severity,
        name=alert.name,
        source=alert.source,
        fingerprint=alert.fingerprint,
        labels=alert.labels,
        summary=alert.summary,
        runbook=alert.runbook,
        link=alert.link,
        count=alert.count,
        members=len(alert.members),
        first_at=rfc3339(alert.first_at),
        last_at=rfc3339(alert.last_at),
        starts_at=_time(alert.starts_at),
        ends_at=_time(alert.ends_at),
        noticed_at=_time(alert.noticed_at or None),
        resolved_at=_time(alert.resolved_at),
        assignee=alert.assignee,
        history=[AlertEntryView(rfc3339(one.at), one.what, one.by, one.note, list(one.rules)) for one in alert.history],
    )


def source_view(source: Source, *, token: Secret | None = None) -> AlertSourceView:
    """`token` is shown if given: only ever in the answer to the request that made it."""
    return AlertSourceView(
        source.id,
        "alert_source",
        source.name,
        source.format,
        source.proof,
        f"/v1/alerts/in/{source.id}",
        source.topic_arn,
        rfc3339(source.created_at),
        msgspec.UNSET if token is None else token.reveal(),
    )


def rules_view(rules: RuleSet) -> AlertRulesView:
    is_there = rules.version > 0
    return AlertRulesView(
        rules.version,
        list(rules.rules),
        rfc3339(rules.updated_at) if is_there else None,
        rules.updated_by if is_there else None,
    )


def fate_view(fate: Fate) -> AlertFateView:
    signal, verdict = fate.received.signal, fate.verdict
    alert = verdict.alert
    return AlertFateView(
        rfc3339(fate.received.at),
        signal.source,
        signal.fingerprint,
        signal.name,
        signal.state,
        verdict.outcome,
        verdict.told,
        None if alert is None else alert.id,
        None if alert is None else alert.state,
        None if alert is None else alert.severity,
        list(verdict.rules),
    )


def _time(at: Millis | None) -> str | None:
    return None if at is None else rfc3339(at)
