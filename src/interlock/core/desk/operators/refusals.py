"""Which refusals go on record: strangers choose how many there are, and records stay for ever. Metrics count all."""

from __future__ import annotations

from interlock.core.access.rates import RateLimit
from interlock.core.kernel.clock import HOUR, Millis

ON_RECORD = RateLimit(per_s=1 / 60, burst=100)
"""Of all names together."""
NAMES_MAX = 1_000


class Refusals:
    """Of each name the first in an hour goes on record, with how many were only counted since the one before.

    In the memory of one process: another one has a first one of its own.
    """

    def __init__(self) -> None:
        self._of: dict[str, tuple[int, int]] = {}
        """Name -> hour of the last one on record, and how many were counted since."""

    def count(self, name: str, now: Millis) -> int | None:
        """One more. How many were counted only, if this one goes on record; None: it was counted, too."""
        hour = now // HOUR
        last, counted = self._of.pop(name, (None, 0))
        if last is None and len(self._of) >= NAMES_MAX:
            del self._of[next(iter(self._of))]  # refused longest ago
        goes_on_record = hour != last
        self._of[name] = (hour, 0 if goes_on_record else counted + 1)
        return counted if goes_on_record else None
