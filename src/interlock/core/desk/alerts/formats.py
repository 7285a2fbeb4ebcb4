"""Which reader reads which format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from interlock.core.desk.alerts.alertmanager import read_alertmanager, read_grafana, read_slack
from interlock.core.desk.alerts.cloudwatch import read_alarm
from interlock.core.desk.alerts.datadog import read_datadog
from interlock.core.desk.alerts.generic import read_generic
from interlock.core.desk.alerts.model import AlertFormat, Signal
from interlock.core.desk.alerts.pagerduty import read_pagerduty
from interlock.core.desk.alerts.reading import Place, decoded
from interlock.core.desk.alerts.sns import read_envelope


def _read_cloudwatch(body: Place, source: str) -> list[Signal]:
    """The alarm of a notification; a confirmation holds none."""
    message = read_envelope(body)
    return read_alarm(message, source) if message.is_notification else []


READERS: Mapping[AlertFormat, Callable[[Place, str], list[Signal]]] = MappingProxyType(
    {
        AlertFormat.ALERTMANAGER: read_alertmanager,
        AlertFormat.CLOUDWATCH: _read_cloudwatch,
        AlertFormat.DATADOG: read_datadog,
        AlertFormat.GENERIC: read_generic,
        AlertFormat.GRAFANA: read_grafana,
        AlertFormat.PAGERDUTY: read_pagerduty,
        AlertFormat.SLACK: read_slack,
    }
)


def parse(format: AlertFormat, raw: bytes, *, source: str) -> list[Signal]:
    """The signals in a body, in its order. Raises Invalid with a pointer for anything that is not of the form; nothing else.

    It believes what it reads: who sent it is `proofs.py`'s question.
    """
    return READERS[format](decoded(raw), source)
