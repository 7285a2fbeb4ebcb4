"""Log lines and spans of payments in a list: for tests, and where none are kept."""

from __future__ import annotations

from interlock.core.desk.explain.model import Observed, ObservedLine, ObservedSpan
from interlock.core.kernel.clock import Millis


class MemoryObservations:
    def __init__(self, note: str = "") -> None:
        """`note` is said with everything that is found."""
        self._note = note
        self._lines: list[tuple[str, ObservedLine]] = []
        self._spans: list[tuple[str, ObservedSpan]] = []

    def note_line(self, payment_id: str, line: ObservedLine) -> None:
        self._lines.append((payment_id, line))

    def note_span(self, payment_id: str, span: ObservedSpan) -> None:
        self._spans.append((payment_id, span))

    async def of_payment(self, payment_id: str, *, since: Millis, until: Millis, limit: int) -> Observed:
        lines = [line for owner, line in self._lines if owner == payment_id and since <= line.at < until]
        spans = [
            span
            for owner, span in self._spans
            if owner == payment_id and since * 1_000 <= span.start_us < until * 1_000
        ]
        lines.sort(key=lambda line: line.at)
        spans.sort(key=lambda span: span.start_us)
        more = len(lines) > limit or len(spans) > limit
        return Observed(tuple(lines[:limit]), tuple(spans[:limit]), more, self._note)
