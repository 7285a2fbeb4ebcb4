"""What telling a payment's story needs from outside: log lines and spans, and who keeps them."""

from __future__ import annotations

from typing import Protocol

from interlock.core.desk.explain.model import Observed, ObservedLine, ObservedSpan
from interlock.core.kernel.clock import Millis


class Observations(Protocol):
    """What telemetry said of payments. It is kept for a while, may be lost, and no money depends on it."""

    async def of_payment(self, payment_id: str, *, since: Millis, until: Millis, limit: int) -> Observed:
        """Lines that name the payment or were said in work on it, and that work's spans, from `since` until before `until`.

        The earliest `limit` of each, a moment behind what happened. Raises StoreUnavailable when they cannot be read.
        """


class Observer(Protocol):
    """Takes what is said of a payment. Neither call waits or raises: what cannot be kept is lost, and counted."""

    def note_line(self, payment_id: str, line: ObservedLine) -> None:
        """One that was written to the log just now."""

    def note_span(self, payment_id: str, span: ObservedSpan) -> None:
        """One that has ended."""
