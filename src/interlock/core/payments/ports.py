"""What the handlers of payments need from outside."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from interlock.core.kernel.clock import Clock
from interlock.core.kernel.ids import Ids
from interlock.core.kernel.providers import CallReport, Operation
from interlock.core.kernel.store import Store
from interlock.core.kernel.telemetry import Telemetry
from interlock.core.payments.decisions import Timing
from interlock.core.routing.handlers import Rules
from interlock.core.routing.model import Roster


class Gateway(Roster, Protocol):
    """The providers, behind the engine."""

    async def call(self, provider_name: str, op: Operation, *, resend: bool = False) -> CallReport:
        """Carry out one operation. Never raises for what a provider or network does: that is in the report's result."""


class Payments(NamedTuple):
    """The means of every handler here."""

    store: Store
    gateway: Gateway
    rules: Rules
    clock: Clock
    ids: Ids
    telemetry: Telemetry
    timing: Timing = Timing()
    release: str = ""
    """Name of the release that runs: attempts started now are marked with it."""
