"""Time, as a port: core never reads a clock of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

Millis = int
"""Milliseconds since 1970-01-01T00:00:00Z. Every instant in the platform is one of these."""

SECOND: Millis = 1_000
MINUTE: Millis = 60 * SECOND
HOUR: Millis = 60 * MINUTE
DAY: Millis = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Wall time, elapsed time and waiting, so that tests and the simulation can own all three."""

    def now(self) -> Millis:
        """Wall time. May step backwards; never use it to measure a duration."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes backwards."""

    async def sleep(self, seconds: float) -> None:
        """Wait; zero yields to other tasks once."""


@lru_cache(maxsize=1_024)  # the instants of a payment are few, and each is shown many times
def rfc3339(at: Millis) -> str:
    """`at` as RFC 3339 UTC with milliseconds, e.g. 2026-11-21T08:00:00.000Z."""
    return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds")[:-6] + "Z"


def parse_rfc3339(text: str) -> Millis:
    """The instant `text` names. Raises ValueError if it is not RFC 3339 or has no offset."""
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError("a time needs an offset, such as Z")
    return (parsed - _EPOCH) // timedelta(milliseconds=1)


def utc_day(at: Millis) -> str:
    """The UTC calendar day of `at`, as YYYY-MM-DD."""
    return f"{(_EPOCH + timedelta(milliseconds=at)):%Y-%m-%d}"
