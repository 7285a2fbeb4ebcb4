"""Which payment a piece of work is about, so that what is said in it can be kept with that payment.

Work names its payment by a field, or as soon as it knows (`Telemetry.about`). What was said before stands by until then;
where a payment is never named, it is let go. Inner work passes what it knows to the outer one when it ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from interlock.backends.telemetry.traceparent import Place
from interlock.backends.telemetry.vocabulary import SPAN_ATTRIBUTES
from interlock.core.desk.explain.model import ObservedLine, ObservedSpan
from interlock.core.desk.explain.ports import Observer
from interlock.core.kernel.telemetry import Field

PAYMENTS_MAX = 8
"""Payments that keep one span: work on more of them at once is no payment's story."""
WAITING_MAX = 50
"""Lines and inner spans that stand by."""
TEXT_MAX = 500
"""Characters of a field that are kept."""
_PAYMENT = "pay_"


class Watch:
    """One span, as it is observed."""

    __slots__ = (
        *("_above", "_attributes", "_began_ns", "_dropped", "_name", "_observer", "_parent", "_payments", "_place"),
        *("_start_us", "_waiting"),
    )

    def __init__(
        self,
        observer: Observer,
        name: str,
        place: Place,
        above: Place | None,
        around: Watch | None,
        dropped: Callable[[], None],
    ) -> None:
        """`above` is the span it is part of, `around` that one's watch if it is ours."""
        self._observer = observer
        self._name = name
        self._place = place
        self._parent = f"{above.span_id:016x}" if above is not None else ""
        self._above = around
        self._start_us = time.time_ns() // 1_000
        self._began_ns = time.perf_counter_ns()
        self._payments: list[str] = list(around._payments[-1:]) if around is not None else []
        self._waiting: list[ObservedLine | ObservedSpan] = []
        self._attributes: dict[str, Field] = {}
        self._dropped = dropped

    def set(self, attributes: Mapping[str, Field]) -> None:
        """Attributes in the vocabulary; others are dropped and counted."""
        for name, value in attributes.items():
            if name in SPAN_ATTRIBUTES:
                self._attributes[name] = value
            else:
                self._dropped()
        payment_id = payment_of(attributes)
        if payment_id:
            self.about(payment_id)

    def about(self, payment_id: str) -> None:
        """From now on this is about that payment, and so is what stood by."""
        payments = self._payments
        if payments and payments[-1] == payment_id:
            return
        if payment_id in payments:
            payments.remove(payment_id)
        elif len(payments) == PAYMENTS_MAX:
            payments.pop(0)
        payments.append(payment_id)
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                _note(self._observer, payment_id, one)

    def said(self, line: ObservedLine) -> None:
        """A line that names no payment itself."""
        if self._payments:
            self._observer.note_line(self._payments[-1], line)
        elif len(self._waiting) < WAITING_MAX:
            self._waiting.append(line)

    def end(self, error: str) -> None:
        place = self._place
        span = ObservedSpan(
            trace=f"{place.trace_id:032x}",
            span=f"{place.span_id:016x}",
            parent=self._parent,
            name=self._name,
            start_us=self._start_us,
            duration_us=(time.perf_counter_ns() - self._began_ns) // 1_000,
            error=error,
            attributes=kept(self._attributes),
        )
        above = self._above
        if self._payments:
            for payment_id in self._payments:
                self._observer.note_span(payment_id, span)
                if above is not None:
                    above.about(payment_id)
        elif above is not None:
            above._waiting += [*self._waiting, span][: WAITING_MAX - len(above._waiting)]


def payment_of(fields: Mapping[str, Field]) -> str:
    """The payment that fields name, or empty."""
    for name in ("payment_id", "aggregate"):
        value = fields.get(name)
        if type(value) is str and value.startswith(_PAYMENT):
            return value
    return ""


def kept(fields: Mapping[str, Field]) -> dict[str, Field]:
    """Without what has no value, and no text without end."""
    return {
        name: value[:TEXT_MAX] if type(value) is str and len(value) > TEXT_MAX else value
        for name, value in fields.items()
        if value is not None
    }


def _note(observer: Observer, payment_id: str, one: ObservedLine | ObservedSpan) -> None:
    if isinstance(one, ObservedLine):
        observer.note_line(payment_id, one)
    else:
        observer.note_span(payment_id, one)
