"""Money: a whole number of minor units and the ISO 4217 currency they are units of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import msgspec

from interlock.core.kernel.currencies import EXPONENTS

AMOUNT_MAX = 2**53
"""Largest amount taken from outside: above it, JSON numbers lose units in other languages."""


class Money(msgspec.Struct, frozen=True, order=False):
    """`Money(1999, "EUR")` is 19.99 EUR. Refuses float, bool and unknown currencies; never mixes currencies."""

    amount: int
    """Minor units: cents for EUR, yen for JPY, fils for KWD (thousandths)."""
    currency: str

    def __post_init__(self) -> None:
        if type(self.amount) is not int:
            raise TypeError(f"an amount is a whole number of minor units, not {type(self.amount).__name__}")
        if self.currency not in EXPONENTS:
            raise ValueError(f"{self.currency!r} is not an ISO 4217 currency in use")

    @property
    def exponent(self) -> int:
        """How many decimal digits the currency has: 0 for JPY, 2 for EUR, 3 for KWD."""
        return EXPONENTS[self.currency]

    def __add__(self, other: Money) -> Money:
        return Money(self.amount + self._same(other).amount, self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.amount - self._same(other).amount, self.currency)

    def __neg__(self) -> Money:
        return Money(-self.amount, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.amount < self._same(other).amount

    def __le__(self, other: Money) -> bool:
        return self.amount <= self._same(other).amount

    def __gt__(self, other: Money) -> bool:
        return self.amount > self._same(other).amount

    def __ge__(self, other: Money) -> bool:
        return self.amount >= self._same(other).amount

    def __bool__(self) -> NoReturn:
        raise TypeError("compare money with money: `amount > Money(0, currency)`")

    def allocate(self, weights: Sequence[int]) -> list[Money]:
        """Split by `weights` so that the parts sum to the whole: each unit left over goes to the largest remainder.

        Ties go to the earlier part. Raises ValueError for no, negative or all-zero weights.
        """
        total = sum(weights)
        if not weights or total <= 0 or min(weights) < 0:
            raise ValueError("weights must be non-negative whole numbers with a positive sum")
        sign = -1 if self.amount < 0 else 1
        shares = [divmod(abs(self.amount) * weight, total) for weight in weights]
        parts = [whole for whole, _ in shares]
        by_remainder = sorted(range(len(shares)), key=lambda i: (-shares[i][1], i))
        for i in by_remainder[: abs(self.amount) - sum(parts)]:
            parts[i] += 1
        return [Money(sign * part, self.currency) for part in parts]

    def _same(self, other: Money) -> Money:
        if other.currency != self.currency:
            raise ValueError(f"{self.currency} and {other.currency} do not mix")
        return other
