"""Telemetry that keeps what must never be said, and lets the rest go by."""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from interlock.core.kernel.telemetry import Field

DEFECTS = frozenset(
    {"worker.step_crashed", "provider.adapter_failed", "ledger.journal_refused", "worker.event_unreadable"}
)
"""Alarms that no fault from outside explains."""


class _Span:
    traceparent = ""

    def set(self, **_: Field) -> None: ...


_SPAN = nullcontext(_Span())


class SimulationTelemetry:
    """Implements `Telemetry`."""

    def __init__(self, defect: Callable[[str], None]) -> None:
        self._defect = defect
        self.alarms: Counter[str] = Counter()

    def info(self, event: str, **fields: Field) -> None: ...

    def warning(self, event: str, **fields: Field) -> None: ...

    def error(self, event: str, **fields: Field) -> None:
        self.alarms[event] += 1
        if event in DEFECTS:
            shown = "".join(traceback.format_exc()) if sys.exc_info()[0] else ""
            self._defect(f"{event} {fields} {shown}")

    def count(self, metric: str, amount: int = 1, **labels: str) -> None: ...

    def observe(self, metric: str, value: float, **labels: str) -> None: ...

    def gauge(self, metric: str, value: float, **labels: str) -> None: ...

    def span(
        self, name: str, *, parent: str = "", links: tuple[str, ...] = (), **attributes: Field
    ) -> AbstractContextManager[_Span]:
        return _SPAN

    def about(self, payment_id: str) -> None: ...
