"""CloudWatch alarms, as SNS carries them in `Message`.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html; the fields were compared
with the alarm payloads in aws-lambda-go's events/testdata (checked 2026-11-27).
"""

from __future__ import annotations

import re
from urllib.parse import quote

from interlock.core.desk.alerts.model import (
    LABEL_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
    SUMMARY_CHARACTERS_MAX,
    AlertSeverity,
    Signal,
    SignalState,
)
from interlock.core.desk.alerts.reading import Place, bounded_fingerprint, bounded_labels, decoded, safe_url
from interlock.core.desk.alerts.sns import MESSAGE_CHARACTERS_MAX, SnsMessage
from interlock.core.kernel.errors import Fault, Invalid

DIMENSIONS_MAX = 30
_STATES = {"ALARM": SignalState.FIRING, "INSUFFICIENT_DATA": SignalState.FIRING, "OK": SignalState.RESOLVED}


def read_alarm(message: SnsMessage, source: str) -> list[Signal]:
    """Metric and composite alarms; one message, one signal. Raises Invalid pointing into /Message.

    INSUFFICIENT_DATA fires as a warning: it is sent only if somebody asked for it, and an alarm that cannot see is not fine.
    CloudWatch knows no severities; ALARM is an error until a rule says otherwise. The first link in the description is the
    runbook, as is the custom.
    """
    try:
        alarm = Place(decoded(message.message.encode("utf-8", "surrogatepass")).value, "/Message")
    except Invalid as error:
        raise Invalid(faults=tuple(Fault("/Message", one.code, one.detail) for one in error.faults)) from None
    word = alarm.at("NewStateValue").text(most=40)
    state: SignalState = alarm.at("NewStateValue").one_of(_STATES)
    name = alarm.at("AlarmName").text(most=LABEL_CHARACTERS_MAX)
    arn = alarm.at("AlarmArn").optional_text(most=2 * LABEL_CHARACTERS_MAX)
    account = alarm.at("AWSAccountId").optional_text(most=40)
    region = alarm.at("Region").optional_text(most=80)
    description = alarm.at("AlarmDescription").optional_text(most=MESSAGE_CHARACTERS_MAX)
    changed_at = alarm.at("StateChangeTime").time()
    reason = alarm.at("NewStateReason").optional_text(most=SUMMARY_CHARACTERS_MAX)
    return [
        Signal(
            source=source,
            fingerprint=bounded_fingerprint(arn) if arn else bounded_fingerprint(account, region, name),
            name=name[:NAME_CHARACTERS_MAX],
            severity=AlertSeverity.ERROR if word == "ALARM" else AlertSeverity.WARNING,
            state=state,
            labels=_labels(alarm, name, account, region),
            summary=reason or description[:SUMMARY_CHARACTERS_MAX] or name,
            runbook=next(filter(None, map(safe_url, _URLS.findall(description))), None),
            starts_at=changed_at if state is SignalState.FIRING else None,
            ends_at=changed_at if state is SignalState.RESOLVED else None,
            link=_console(arn, name),
        )
    ]


def _labels(alarm: Place, name: str, account: str, region: str) -> dict[str, str]:
    pairs = [("alarm", name), ("account", account), ("region", region)]
    trigger = alarm.at("Trigger")
    if isinstance(trigger.value, dict):  # a composite alarm has a rule instead
        for label, field in (("namespace", "Namespace"), ("metric", "MetricName")):
            pairs.append((label, trigger.at(field).optional_text(most=LABEL_CHARACTERS_MAX)))
        dimensions = trigger.at("Dimensions")
        for one in dimensions.items(most=DIMENSIONS_MAX) if dimensions.value else ():
            pairs.append(
                (one.at("name").text(most=LABEL_CHARACTERS_MAX), one.at("value").text(most=LABEL_CHARACTERS_MAX))
            )
    return bounded_labels((label, value) for label, value in pairs if value)


def _console(arn: str, name: str) -> str | None:
    """The alarm's page in the AWS console."""
    found = _ARN.match(arn)
    if found is None:
        return None
    region = found[1]
    page = f"cloudwatch/home?region={region}#alarmsV2:alarm/{quote(name, safe='', errors='replace')}"
    return f"https://{region}.console.aws.amazon.com/{page}"


_URLS = re.compile(r"https?://[!#-;=?-Z_a-z~\[\]]{3,2000}")
_ARN = re.compile(r"arn:aws:cloudwatch:([a-z]{2}(?:-[a-z]+){1,3}-[0-9]{1,2}):")
