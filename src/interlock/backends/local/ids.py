"""Ids from this machine's clock and randomness."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator

from interlock.core.kernel.clock import Clock, Millis
from interlock.core.kernel.ids import format_id

_UNIQUE_BITS = 80
_STEP_BITS = 40
"""Within a millisecond the next id is a random step further: still hard to guess, and there is room for 2^38 of them."""

_DRAWN_AT_ONCE = 256


class SystemBits:
    """Random bits of the system, drawn for many ids at once: a call to it lets go of the interpreter, and waits to have it back."""

    def __init__(self, draw: Callable[[int], bytes] = os.urandom) -> None:
        self._draw = draw
        self._chunks: Iterator[tuple[bytes]] = iter(())
        # Two processes must not go on from the same place.
        os.register_at_fork(after_in_child=self.forget)

    def __call__(self, bits: int) -> int:
        """Up to 80 of them, none twice. Threads may share it: a step of the iterator is one that C takes, whole."""
        while (chunk := next(self._chunks, None)) is None:
            self._chunks = struct.iter_unpack(f"{_UNIQUE_BITS // 8}s", self._draw(_UNIQUE_BITS // 8 * _DRAWN_AT_ONCE))
        return int.from_bytes(chunk[0]) >> (_UNIQUE_BITS - bits)

    def forget(self) -> None:
        self._chunks = iter(())


_system_random_bits = SystemBits()


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
