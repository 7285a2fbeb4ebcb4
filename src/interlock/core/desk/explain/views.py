"""Observations as a story shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from interlock.core.desk.explain.model import (
    Explained,
    LineView,
    ObservationsView,
    Observed,
    ObservedLine,
    ObservedSpan,
    SpanView,
)
from interlock.core.kernel.clock import rfc3339
from interlock.core.payments.timeline import Timeline

APART_US = 10_000_000
"""Spans of a trace with a longer pause between them are drawn apart: a webhook tried again hours later would squeeze all else."""
DEPTH_MAX = 8
NARROWEST = 0.6
"""Per cent of the width: what took no time is to be seen, too."""


def explained(story: Timeline, observed: Observed, note: str = "") -> Explained:
    """`note`: why there is nothing, if whoever keeps them could not say so."""
    observations = ObservationsView(
        [_line(line) for line in observed.lines],
        [_span(span) for span in observed.spans],
        observed.more,
        note or observed.note,
    )
    return Explained(
        payment=story.payment,
        status=story.status,
        state=story.state,
        why=story.why,
        next_at=story.next_at,
        may=story.may,
        entries=story.entries,
        observations=observations,
    )


def _line(line: ObservedLine) -> LineView:
    return LineView(rfc3339(line.at), line.level, line.event, line.trace, line.fields)


def _span(span: ObservedSpan) -> SpanView:
    return SpanView(
        at=rfc3339(span.start_us // 1_000),
        name=span.name,
        trace=span.trace,
        span=span.span,
        parent=span.parent,
        start_us=span.start_us,
        duration_us=span.duration_us,
        error=span.error,
        attributes=span.attributes,
    )


class Bar(NamedTuple):
    span: SpanView
    depth: int
    """So many spans above it are drawn, too."""
    left: float
    """Per cent of the waterfall's width, as `width`."""
    width: float


class Waterfall(NamedTuple):
    """Spans of one trace that belong together in time."""

    at: str
    trace: str
    duration_us: int
    bars: tuple[Bar, ...]


def waterfalls(spans: Sequence[SpanView]) -> list[Waterfall]:
    """In the order in which they begin."""
    traces: dict[str, list[SpanView]] = {}
    for span in sorted(spans, key=lambda one: one.start_us):
        traces.setdefault(span.trace, []).append(span)
    found = [_waterfall(part) for ones in traces.values() for part in _parts(ones)]
    return sorted(found, key=lambda one: one.bars[0].span.start_us)


def _parts(spans: Sequence[SpanView]) -> list[list[SpanView]]:
    parts: list[list[SpanView]] = []
    end = 0
    for span in spans:
        if not parts or span.start_us - end > APART_US:
            parts.append([])
        parts[-1].append(span)
        end = max(end, span.start_us + span.duration_us)
    return parts


def _waterfall(spans: Sequence[SpanView]) -> Waterfall:
    start = spans[0].start_us
    whole = max(1, max(span.start_us + span.duration_us for span in spans) - start)
    parents = {span.span: span.parent for span in spans}
    bars = []
    for span in spans:
        width = max(NARROWEST, 100 * span.duration_us / whole)
        left = min(100 * (span.start_us - start) / whole, 100 - width)
        bars.append(Bar(span, _depth(span, parents), round(left, 2), round(width, 2)))
    return Waterfall(spans[0].at, spans[0].trace, whole, tuple(bars))


def _depth(span: SpanView, parents: dict[str, str]) -> int:
    depth, above = 0, span.parent
    while above in parents and depth < DEPTH_MAX:
        depth, above = depth + 1, parents[above]
    return depth
