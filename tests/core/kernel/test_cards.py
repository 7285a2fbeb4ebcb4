"""What of a card's issuer is kept, and what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.kernel.cards import SIXTEEN_DIGITS, bin_of, country_of
from interlock.core.kernel.providers import Card


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ("FR", "FR"),
        ("fr", None),
        ("FRA", None),
        ("F1", None),
        ("ＦＲ", None),
        ("FR\n", None),
        ("", None),
        (None, None),
        (33, None),
        (["FR"], None),
    ],
)
def test_country_is_two_letters_or_not_known(told, known):
    assert country_of(told) == known


@pytest.mark.parametrize(
    ("told", "brand", "known"),
    [
        ("424242", "visa", "424242"),
        ("42424242", "visa", "42424242"),
        ("22210012", "mastercard", "22210012"),
        ("37828224", "amex", "378282"),
        ("30569309", "diners", "305693"),
        ("50181234", "maestro", "501812"),
        ("42424242", "unknown", "424242"),
        ("4242424", "visa", None),
        ("424242424", "visa", None),
        ("4242424242424242", "visa", None),
        ("4242XX", "visa", None),
        ("４２４２４２", "visa", None),
        (" 424242", "visa", None),
        ("424242\n", "visa", None),
        (424242, "visa", None),
        (True, "visa", None),
        (None, "visa", None),
    ],
)
def test_bin_is_six_or_eight_digits_as_the_length_of_the_number_allows(told, brand, known):
    assert bin_of(told, brand=brand) == known


@given(st.text(alphabet="0123456789", max_size=24), st.sampled_from([*SIXTEEN_DIGITS, "amex", "diners", "x"]))
def test_never_more_digits_are_kept_than_may_stand_beside_the_last_four(told, brand):
    kept = bin_of(told, brand=brand)
    assert kept is None or (told.startswith(kept) and len(kept) in (6, 8))
    assert kept is None or len(kept) + 4 <= (12 if brand in SIXTEEN_DIGITS else 10)


def test_card_told_again_without_its_issuer_keeps_what_was_known():
    earlier = Card("visa", "4242", 12, 2031, "FR", "497010")
    assert Card("visa", "4242", 12, 2031).with_issuer_of(earlier) == earlier
    assert Card("visa", "4242", 12, 2031, "DE").with_issuer_of(earlier) == Card(
        "visa", "4242", 12, 2031, "DE", "497010"
    )
    assert Card("visa", "4242", 12, 2031).with_issuer_of(None) == Card("visa", "4242", 12, 2031)


def test_another_card_takes_nothing_over():
    other = Card("visa", "1111", 12, 2031)
    assert other.with_issuer_of(Card("visa", "4242", 12, 2031, "FR", "497010")) == other
