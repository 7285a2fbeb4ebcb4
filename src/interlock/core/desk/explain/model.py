"""What was observed of a payment beside its own records: log lines, and spans of traces."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.telemetry import Field
from interlock.core.payments.timeline import Timeline

LINES_MAX = 500
"""Of log lines, and of spans, that a story shows."""


class ObservedLine(msgspec.Struct, frozen=True, array_like=True):
    at: Millis
    level: str
    event: str
    trace: str
    """32 hexadecimal digits; empty where nothing was traced."""
    fields: Mapping[str, Field]
    """From the vocabulary, so nothing in them is secret."""


class ObservedSpan(msgspec.Struct, frozen=True, array_like=True):
    trace: str
    span: str
    parent: str
    """Span it is part of, which may be somebody else's; empty for the first of a trace."""
    name: str
    start_us: int
    """Microseconds of the wall clock."""
    duration_us: int
    error: str
    """Name of what it ended with; empty if it ended well."""
    attributes: Mapping[str, Field]


class Observed(msgspec.Struct, frozen=True):
    """Both in the order of their times."""

    lines: tuple[ObservedLine, ...] = ()
    spans: tuple[ObservedSpan, ...] = ()
    more: bool = False
    """There are later ones that were left out."""
    note: str = ""
    """Where else to look, if they are not kept here."""


class LineView(msgspec.Struct, frozen=True):
    at: str
    level: str
    event: str
    trace: str
    fields: Mapping[str, Field]


class SpanView(msgspec.Struct, frozen=True):
    at: str
    name: str
    trace: str
    span: str
    parent: str
    start_us: int
    duration_us: int
    error: str
    attributes: Mapping[str, Field]


class ObservationsView(msgspec.Struct, frozen=True):
    lines: list[LineView]
    spans: list[SpanView]
    more: bool
    """There are later ones than these."""
    note: str
    """Why there may be none; empty where they were read."""


class Explained(Timeline, frozen=True, kw_only=True):
    """A payment's whole story, for people of the platform."""

    observations: ObservationsView
