"""Alarms to people and machines, by one SNS topic: whoever subscribes chooses by attributes what to be told."""

from __future__ import annotations

import json
import re

from interlock.backends.aws.calls import Calls, Refused
from interlock.core.kernel.alarms import Alarm
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.errors import Invalid, OutcomeUnknown, StoreUnavailable

SUBJECT_MOST = 99
"""Characters; SNS takes fewer than 100."""
WHAT_MOST = 2_000
ATTRIBUTES_MOST = 8
"""Of the alarm's own, besides its name and severity; queues take ten in all."""
ATTRIBUTE_MOST = 256
NO_TOPIC = {"NotFound": "topic", "NotFoundException": "topic"}
"""For `Calls`."""
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class SnsAlarms:
    def __init__(self, calls: Calls, topic_arn: str, *, runbooks: str, clock: Clock) -> None:
        """`runbooks`: where the pages of docs/operations/alarms are read."""
        self._calls, self._topic_arn, self._runbooks, self._clock = calls, topic_arn, runbooks, clock

    async def raise_alarm(self, alarm: Alarm) -> None:
        _check(alarm)
        runbook = f"{self._runbooks}/{alarm.name}.md"
        what = alarm.what if len(alarm.what) <= WHAT_MOST else f"{alarm.what[: WHAT_MOST - 1]}…"
        said = {
            "alarm": alarm.name,
            "severity": alarm.severity,
            "what": what,
            "runbook": runbook,
            "at_ms": self._clock.now(),
            "attributes": dict(alarm.attributes),
        }
        for_people = f"{what}\n\nWhat to do: {runbook}\n"
        filtered_by = {"alarm": alarm.name, "severity": alarm.severity, **alarm.attributes}
        try:
            await self._calls.write(
                "publish",
                TopicArn=self._topic_arn,
                Subject=_subject(alarm),
                MessageStructure="json",
                Message=json.dumps({"default": json.dumps(said), "email": for_people}),
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": str(value)} for name, value in filtered_by.items()
                },
            )
        except Refused as refused:
            raise StoreUnavailable(f"SNS refused: {refused.code}") from refused
        except OutcomeUnknown as error:
            raise StoreUnavailable(error.detail) from error


def _subject(alarm: Alarm) -> str:
    line = _CONTROL.sub(" ", f"[{alarm.severity}] {alarm.name}: {alarm.what}")
    return line if len(line) <= SUBJECT_MOST else f"{line[: SUBJECT_MOST - 1]}…"


def _check(alarm: Alarm) -> None:
    if _NAME.fullmatch(alarm.name) is None:
        raise Invalid("an alarm's name has up to 64 small letters, digits, `_` and `-`, and begins with a letter")
    if not alarm.what:
        raise Invalid("an alarm says what is wrong")
    if len(alarm.attributes) > ATTRIBUTES_MOST or {"alarm", "severity"} & set(alarm.attributes):
        raise Invalid(f"an alarm has up to {ATTRIBUTES_MOST} attributes beside its name and severity")
    if not all(_NAME.fullmatch(name) and 0 < len(value) <= ATTRIBUTE_MOST for name, value in alarm.attributes.items()):
        raise Invalid(f"an alarm's attributes have small names, and values of 1 to {ATTRIBUTE_MOST} characters")
