"""Money: whole minor units, one currency, and splits that gain and lose nothing."""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.kernel.currencies import EXPONENTS
from interlock.core.kernel.money import AMOUNT_MAX, Money

AMOUNTS = st.integers(min_value=-(10**30), max_value=10**30)
CURRENCIES = st.sampled_from(sorted(EXPONENTS))
WEIGHTS = st.lists(st.integers(min_value=0, max_value=10**12), min_size=1, max_size=12).filter(any)


@pytest.mark.parametrize("amount", [19.99, 1.0, True, False, "1999", None, Decimal(1), Fraction(1)])
def test_amount_that_is_not_a_whole_number_is_refused(amount: Any) -> None:
    with pytest.raises(TypeError, match="whole number"):
        Money(amount, "EUR")


@pytest.mark.parametrize("currency", ["eur", "EURO", "", "XXX", "BTC", "XAU", "E\u00dcR"])
def test_unknown_currency_is_refused(currency: str) -> None:
    with pytest.raises(ValueError, match="ISO 4217"):
        Money(1, currency)


@pytest.mark.parametrize("raw", [b'{"amount":1.5,"currency":"EUR"}', b'{"amount":true,"currency":"EUR"}'])
def test_decoded_amount_is_checked_as_well(raw: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(raw, type=Money)


def test_decoded_currency_is_checked_as_well() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"amount":1,"currency":"XXX"}', type=Money)


def test_largest_amount_taken_from_outside_is_exact_as_a_double() -> None:
    assert AMOUNT_MAX == 2**53
    assert int(float(AMOUNT_MAX)) == AMOUNT_MAX
    assert int(float(AMOUNT_MAX + 1)) != AMOUNT_MAX + 1


@pytest.mark.parametrize(("currency", "exponent"), [("JPY", 0), ("EUR", 2), ("KWD", 3)])
def test_exponent_is_the_currencys(currency: str, exponent: int) -> None:
    assert Money(1, currency).exponent == exponent


@given(AMOUNTS, AMOUNTS, CURRENCIES)
def test_sum_difference_negation_and_order_are_those_of_the_amounts(a: int, b: int, currency: str) -> None:
    left, right = Money(a, currency), Money(b, currency)
    assert left + right == Money(a + b, currency)
    assert left - right == Money(a - b, currency)
    assert -left == Money(-a, currency)
    assert [left < right, left <= right, left > right, left >= right] == [a < b, a <= b, a > b, a >= b]
    assert (left == right) == (a == b)


@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.lt, operator.le, operator.gt, operator.ge])
def test_currencies_do_not_mix(operation: Callable[[Money, Money], object]) -> None:
    with pytest.raises(ValueError, match="USD and EUR do not mix"):
        operation(Money(0, "USD"), Money(0, "EUR"))


def test_equal_amounts_of_different_currencies_are_not_equal() -> None:
    assert Money(1, "EUR") != Money(1, "USD")
    assert len({Money(1, "EUR"), Money(1, "EUR"), Money(1, "USD")}) == 2


@pytest.mark.parametrize("other", [1, 1.0, None])
def test_money_is_not_added_to_a_number(other: Any) -> None:
    with pytest.raises((TypeError, AttributeError)):
        Money(1, "EUR") + other


def test_money_is_frozen() -> None:
    price: Any = Money(1, "EUR")
    with pytest.raises(AttributeError):
        price.amount = 2


@pytest.mark.parametrize("amount", [0, 1])
def test_truth_of_money_is_refused(amount: int) -> None:
    with pytest.raises(TypeError, match="compare money with money"):
        bool(Money(amount, "EUR"))


# -- allocate -----------------------------------------------------------------------------------------------------------


@given(AMOUNTS, CURRENCIES, WEIGHTS)
def test_parts_sum_to_the_whole(amount: int, currency: str, weights: list[int]) -> None:
    parts = Money(amount, currency).allocate(weights)
    assert sum(part.amount for part in parts) == amount
    assert {part.currency for part in parts} == {currency}
    assert len(parts) == len(weights)


@given(AMOUNTS, WEIGHTS)
def test_each_part_is_less_than_one_unit_from_its_exact_share(amount: int, weights: list[int]) -> None:
    for part, weight in zip(Money(amount, "EUR").allocate(weights), weights, strict=True):
        assert abs(part.amount - Fraction(amount * weight, sum(weights))) < 1


@given(AMOUNTS, WEIGHTS)
def test_units_left_over_go_to_the_largest_remainders_and_ties_to_the_earlier(amount: int, weights: list[int]) -> None:
    """Written from the definition with exact fractions, not from the code."""
    total = sum(weights)
    exact = [Fraction(abs(amount) * weight, total) for weight in weights]
    expected = [int(share) for share in exact]
    for _ in range(abs(amount) - sum(expected)):
        remainders = [share - part for share, part in zip(exact, expected, strict=True)]
        expected[remainders.index(max(remainders))] += 1
    sign = -1 if amount < 0 else 1
    assert [part.amount for part in Money(amount, "EUR").allocate(weights)] == [sign * part for part in expected]


@given(AMOUNTS, WEIGHTS)
def test_splitting_a_debt_mirrors_splitting_a_claim(amount: int, weights: list[int]) -> None:
    assert Money(-amount, "EUR").allocate(weights) == [-part for part in Money(amount, "EUR").allocate(weights)]


@given(AMOUNTS, WEIGHTS)
def test_weight_of_zero_gets_nothing(amount: int, weights: list[int]) -> None:
    for part, weight in zip(Money(amount, "EUR").allocate(weights), weights, strict=True):
        assert weight > 0 or part.amount == 0


@given(AMOUNTS, WEIGHTS, st.integers(min_value=1, max_value=10**6))
def test_only_the_proportion_of_weights_matters(amount: int, weights: list[int], factor: int) -> None:
    money = Money(amount, "EUR")
    assert money.allocate([weight * factor for weight in weights]) == money.allocate(weights)


@pytest.mark.parametrize(
    ("amount", "currency", "weights", "parts"),
    [
        (1999, "EUR", [971, 29], [1941, 58]),
        (100, "EUR", [1, 1, 1], [34, 33, 33]),
        (2, "EUR", [1, 1, 1], [1, 1, 0]),
        (1, "JPY", [1, 1], [1, 0]),
        (-100, "EUR", [1, 1, 1], [-34, -33, -33]),
        (1_000, "KWD", [1, 2, 4], [143, 286, 571]),
        (0, "EUR", [3, 1], [0, 0]),
        (5, "EUR", [0, 1, 0], [0, 5, 0]),
    ],
)
def test_known_splits(amount: int, currency: str, weights: list[int], parts: list[int]) -> None:
    assert [part.amount for part in Money(amount, currency).allocate(weights)] == parts


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [-1], [2, -1], [-1, -1]])
def test_no_negative_or_all_zero_weights_are_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        Money(100, "EUR").allocate(weights)
