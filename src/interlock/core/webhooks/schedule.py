"""When to try again."""

from __future__ import annotations

from interlock.core.kernel.clock import HOUR, Millis

_MINUTE_S, _HOUR_S = 60.0, 3_600.0
PAUSES_S = (
    5.0,
    30.0,
    2 * _MINUTE_S,
    10 * _MINUTE_S,
    30 * _MINUTE_S,
    _HOUR_S,
    3 * _HOUR_S,
    6 * _HOUR_S,
    12 * _HOUR_S,
    24 * _HOUR_S,
    24 * _HOUR_S,
)
"""After the first, second ... failed attempt. Twelve attempts in all."""
JITTER = 0.12
"""A pause is longer by up to this share: 70.7 to 79.2 hours in all, 75 on average."""
RETRY_AFTER_MAX_S = 24 * _HOUR_S
"""An endpoint cannot ask for a longer pause."""
HORIZON: Millis = 120 * HOUR
"""A delivery that old gets no further attempt, however long it was put off."""
POSTPONE_MAX_S = 128.0


def retry_pause_s(tries: int, *, random: float, retry_after_s: float | None = None) -> float | None:
    """The pause after `tries` (1, 2 ...) failed attempts; None: give up. `random` is in [0, 1).

    An endpoint's own wish lengthens the pause, up to a limit; it never shortens it.
    """
    if tries > len(PAUSES_S):
        return None
    pause_s = PAUSES_S[tries - 1] * (1 + JITTER * random)
    if retry_after_s is not None:
        pause_s = max(pause_s, min(retry_after_s, RETRY_AFTER_MAX_S))
    return pause_s


def postpone_s(postponed: int, *, random: float) -> float:
    """How long to stand back from a busy endpoint, having done so `postponed` times: twice as long each time."""
    return min(2.0 ** min(postponed, 10), POSTPONE_MAX_S) * (0.5 + 0.5 * random)
