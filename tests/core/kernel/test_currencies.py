"""The currency table against the list that ISO 4217's maintenance agency publishes."""

from __future__ import annotations

import pytest
from iso4217 import Currency

from interlock.core.kernel.currencies import EXPONENTS

FUNDS_AND_UNITS_OF_ACCOUNT = {"BOV", "CHE", "CHW", "CLF", "COU", "MXV", "USN", "UYI", "UYW", "XAD"}
"""Published with an exponent, and never what a card is charged in."""


def test_table_is_the_published_list_without_funds_codes_metals_and_tests() -> None:
    published = {currency.code: currency.exponent for currency in Currency if currency.exponent is not None}
    assert published.keys() >= FUNDS_AND_UNITS_OF_ACCOUNT
    assert {
        code: exponent for code, exponent in published.items() if code not in FUNDS_AND_UNITS_OF_ACCOUNT
    } == EXPONENTS


@pytest.mark.parametrize(("code", "exponent"), [("JPY", 0), ("KRW", 0), ("EUR", 2), ("USD", 2), ("KWD", 3), ("BHD", 3)])
def test_well_known_exponents(code: str, exponent: int) -> None:
    assert EXPONENTS[code] == exponent


@pytest.mark.parametrize("code", ["XXX", "XTS", "XAU", "DEM", "HRK", "BGN", "eur", "BTC", ""])
def test_codes_no_payment_is_made_in_are_not_in_the_table(code: str) -> None:
    assert code not in EXPONENTS
