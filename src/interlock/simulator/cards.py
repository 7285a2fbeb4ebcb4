"""The cards whose tokens the simulated provider issues: a table by the first digits of their numbers. They are nobody's."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

MARK = "-card-"
"""`tok_X-card-BIN` does what `tok_X` does, with the card of that BIN."""


class Card(msgspec.Struct, frozen=True):
    brand: str = "visa"
    last4: str = "4242"
    exp_month: int = 12
    exp_year: int = 2031
    country: str = "US"
    bin: str = "424242"


USUAL = Card()
"""Of every token that names none."""
CARDS: Mapping[str, Card] = MappingProxyType(
    {
        card.bin: card
        for card in (
            USUAL,
            Card("visa", "0015", 3, 2030, "FR", "497010"),
            Card("visa", "0823", 7, 2029, "FR", "497355"),
            Card("visa", "3009", 1, 2032, "DE", "40126310"),
            Card("visa", "1117", 9, 2030, "GB", "453978"),
            Card("visa", "6640", 5, 2031, "ES", "454881"),
            Card("mastercard", "4444", 10, 2030, "US", "555555"),
            Card("mastercard", "1205", 2, 2031, "FR", "513283"),
            Card("mastercard", "7796", 6, 2029, "DE", "52007810"),
            Card("mastercard", "3352", 8, 2032, "NL", "530125"),
            Card("amex", "0005", 4, 2030, "US", "378282"),
            Card("amex", "1004", 11, 2031, "GB", "374245"),
        )
    }
)


def split(token: str) -> tuple[str, Card | None]:
    """The token without its card, and the card; None for a card that nobody has."""
    base, marked, number = token.partition(MARK)
    return base, CARDS.get(number) if marked else USUAL
