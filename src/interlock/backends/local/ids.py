"""Ids from this machine's clock and randomness."""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom

from interlock.core.kernel.clock import Clock, Millis
from interlock.core.kernel.ids import format_id

_UNIQUE_BITS = 80
_STEP_BITS = 40
"""Within a millisecond the next id is a random step further: still hard to guess, and there is room for 2^38 of them."""

_system_random_bits = SystemRandom().getrandbits


class SystemIds:
    """Within one process an id made later sorts later, also when the wall clock steps back."""

    def __init__(self, clock: Clock, *, random_bits: Callable[[int], int] = _system_random_bits) -> None:
        """`random_bits(n)` gives n random bits; a simulation passes `random.Random(seed).getrandbits`."""
        self._now = clock.now
        self._random_bits = random_bits
        self._at: Millis = -1
        self._unique = 0

    def new(self, prefix: str) -> str:
        at = self._now()
        if at > self._at:
            self._at = at
            # The top bit starts at zero, so that steps within the millisecond do not run out.
            self._unique = self._random_bits(_UNIQUE_BITS - 1)
        else:
            self._unique += 1 + self._random_bits(_STEP_BITS)
            if self._unique >> _UNIQUE_BITS:
                self._at += 1
                self._unique = self._random_bits(_UNIQUE_BITS - 1)
        return format_id(prefix, self._at, self._unique)
