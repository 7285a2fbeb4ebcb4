"""A place in a trace, and how W3C writes it."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    trace_id: int
    span_id: int
    sampled: bool


def parsed(traceparent: str) -> Place | None:
    """None for what names no place."""
    parts = traceparent.split("-")
    if len(parts) != 4 or len(parts[1]) != 32 or len(parts[2]) != 16:
        return None
    try:
        trace_id, span_id, flags = int(parts[1], 16), int(parts[2], 16), int(parts[3], 16)
    except ValueError:
        return None
    return Place(trace_id, span_id, bool(flags & 1)) if trace_id and span_id else None


def written(place: Place) -> str:
    return f"00-{place.trace_id:032x}-{place.span_id:016x}-{'01' if place.sampled else '00'}"
