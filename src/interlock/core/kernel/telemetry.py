"""The telemetry port: how code says what it did, without knowing who listens.

Core does not log: it returns events. Engine, workers and entry points use this port at the edge. Names and fields are
literals from the allow-lists in `backends/telemetry`; anything else is dropped and counted, so no secret slips through.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

Field = str | int | float | bool | None


class Span(Protocol):
    """One timed piece of work in a trace."""

    def set(self, **attributes: Field) -> None: ...

    @property
    def traceparent(self) -> str:
        """W3C traceparent to hand on, or empty when this trace is not sampled."""


class Telemetry(Protocol):
    def info(self, event: str, **fields: Field) -> None:
        """A line for people: `noun.verb_past` and typed fields with units in their names."""

    def warning(self, event: str, **fields: Field) -> None: ...

    def error(self, event: str, **fields: Field) -> None:
        """Something a person must look at: also counted as `interlock_alarms_total{event}`."""

    def count(self, metric: str, amount: int = 1, **labels: str) -> None: ...

    def observe(self, metric: str, value: float, **labels: str) -> None:
        """One value of a histogram, in the unit the metric's name ends with."""

    def gauge(self, metric: str, value: float, **labels: str) -> None: ...

    def span(
        self, name: str, *, parent: str = "", links: tuple[str, ...] = (), **attributes: Field
    ) -> AbstractContextManager[Span]:
        """A span under `parent` (a traceparent), or under the current one."""

    def about(self, payment_id: str) -> None:
        """What is done now is about this payment: the current span and what is said in it belong to its story."""


Labels = Mapping[str, str]
