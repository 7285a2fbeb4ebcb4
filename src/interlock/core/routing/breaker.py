"""The circuit breaker: when to stop asking a provider that does not answer, and how to find out that it does again.

A pure state machine on time it is given (seconds that never go backwards). Closed: calls pass and are counted in a rolling
window. Open: no call passes until `open_s` is over. Half-open: `probes_max` calls may be under way at a time; `probes_to_close`
good ones in a row close it, one bad one opens it again for longer.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerSettings(msgspec.Struct, frozen=True):
    window_s: float = 30.0
    slices: int = 6
    """The window forgets one slice at a time."""
    calls_min: int = 20
    """Fewer calls in the window prove nothing."""
    failure_percent: int = 50
    """Opens at this share of failed calls in the window."""
    open_s: float = 5.0
    open_max_s: float = 60.0
    """Each failed probe doubles the wait up to this."""
    probes_max: int = 2
    """Calls under way at a time while half-open."""
    probes_to_close: int = 3

    def __post_init__(self) -> None:
        if min(self.window_s, self.slices, self.calls_min, self.open_s, self.probes_max, self.probes_to_close) <= 0:
            raise ValueError("breaker settings are positive")
        if not 1 <= self.failure_percent <= 100:
            raise ValueError("failure_percent is 1 to 100")


class Breaker:
    """One provider's breaker. Each `admit` that gives a ticket is followed by one `record` or `release` of it."""

    __slots__ = (
        "_bad",
        "_changes",
        "_good",
        "_open_until",
        "_probes",
        "_probes_good",
        "_settings",
        "_slice",
        "_state",
        "_wait_s",
    )

    def __init__(self, settings: BreakerSettings | None = None) -> None:
        self._settings = settings or BreakerSettings()
        self._state = BreakerState.CLOSED
        self._changes = 0
        self._slice = 0
        self._good = [0] * self._settings.slices
        self._bad = [0] * self._settings.slices
        self._open_until = 0.0
        self._wait_s = self._settings.open_s
        self._probes = 0
        self._probes_good = 0

    def state(self, now: float) -> BreakerState:
        """The state a call would meet at `now`; looking changes nothing."""
        if self._state is BreakerState.OPEN and now >= self._open_until:
            return BreakerState.HALF_OPEN
        return self._state

    def is_available(self, now: float) -> bool:
        """Whether `admit` would give a ticket."""
        state = self.state(now)
        if state is BreakerState.HALF_OPEN:
            return self._state is BreakerState.OPEN or self._probes < self._settings.probes_max
        return state is BreakerState.CLOSED

    def admit(self, now: float) -> int | None:
        """A ticket for one call, or None: do not call."""
        if self._state is BreakerState.CLOSED:
            return self._changes
        if not self.is_available(now):
            return None
        if self._state is BreakerState.OPEN:
            self._change(BreakerState.HALF_OPEN)
            self._probes = self._probes_good = 0
        self._probes += 1
        return self._changes

    def record(self, ticket: int, *, failed: bool, now: float) -> None:
        """How the call went. News from before the last change of state is old and counts for nothing."""
        if ticket != self._changes:
            return
        if self._state is BreakerState.CLOSED:
            self._count(failed, now)
        elif failed:
            self._wait_s = min(self._wait_s * 2, self._settings.open_max_s)
            self._open(now)
        else:
            self._probes -= 1
            self._probes_good += 1
            if self._probes_good >= self._settings.probes_to_close:
                self._change(BreakerState.CLOSED)
                self._wait_s = self._settings.open_s
                self._good = [0] * self._settings.slices
                self._bad = [0] * self._settings.slices

    def release(self, ticket: int) -> None:
        """The call was given up before anything was learned: hand its place to another."""
        if ticket == self._changes and self._state is BreakerState.HALF_OPEN:
            self._probes -= 1

    def _count(self, failed: bool, now: float) -> None:
        settings = self._settings
        current = int(now * settings.slices / settings.window_s)
        for stale in range(max(self._slice + 1, current - settings.slices + 1), current + 1):
            self._good[stale % settings.slices] = self._bad[stale % settings.slices] = 0
        self._slice = max(self._slice, current)
        if not failed:
            self._good[current % settings.slices] += 1
            return
        self._bad[current % settings.slices] += 1
        bad = sum(self._bad)
        calls = bad + sum(self._good)
        if calls >= settings.calls_min and bad * 100 >= calls * settings.failure_percent:
            self._open(now)

    def _open(self, now: float) -> None:
        self._change(BreakerState.OPEN)
        self._open_until = now + self._wait_s

    def _change(self, state: BreakerState) -> None:
        self._state = state
        self._changes += 1
