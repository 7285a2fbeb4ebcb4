"""Telling people that somebody must look: more than a line in a log, less than an incident."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol


class Severity(StrEnum):
    CRITICAL = "critical"
    """Wakes somebody."""
    WARNING = "warning"
    """For working hours."""
    RESOLVED = "resolved"


class Alarm(NamedTuple):
    name: str
    """Also the name of its page in docs/operations/alarms."""
    severity: Severity
    what: str
    """A sentence for people, without secrets. An adapter may cut it."""
    attributes: Mapping[str, str] = {}
    """What subscriptions filter by, such as the region or the provider."""


class Alarms(Protocol):
    async def raise_alarm(self, alarm: Alarm) -> None:
        """Tell whoever asked to be told. Perhaps twice: whoever is told knows it by its name and attributes.

        Raises Invalid, StoreUnavailable.
        """
