"""What may be kept of a card's issuer, as providers tell it: its country, and the first digits of the card's number.

What does not look like one or the other is not known: a provider's odd word is no reason to fail, nor is it shown.
Source: PCI DSS 4 requirements 3.4.1 and 3.5.1; for each length of number, the council's FAQ 1091 (checked 2026-11-27)
"""

from __future__ import annotations

import re
from typing import Any

SIXTEEN_DIGITS = frozenset({"visa", "mastercard", "cartes_bancaires", "discover", "jcb", "unionpay"})
"""Brands whose numbers are long enough for eight digits beside the last four. Of all others six are kept."""
BIN_SHORT = 6
_COUNTRY = re.compile("[A-Z]{2}", re.ASCII)
_BIN = re.compile("[0-9]{6}|[0-9]{8}", re.ASCII)


def country_of(told: Any) -> str | None:
    """Two letters as in ISO 3166, or None."""
    return told if isinstance(told, str) and _COUNTRY.fullmatch(told) else None


def bin_of(told: Any, *, brand: str) -> str | None:
    """Six or eight digits, no more than may stand beside the last four; None for anything else, above all for more digits."""
    if not isinstance(told, str) or not _BIN.fullmatch(told):
        return None
    return told if brand in SIXTEEN_DIGITS else told[:BIN_SHORT]
