"""Ids sort by time, then by their unique bits, and are told from other text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.kernel.ids import ID_LENGTH, format_id, instant_of, is_id

AT = st.integers(min_value=0, max_value=2**48 - 1)
UNIQUE = st.integers(min_value=0, max_value=2**80 - 1)


@given(AT, UNIQUE)
def test_formatted_id_is_an_id_of_its_prefix_only(at: int, unique: int) -> None:
    made = format_id("pay", at, unique)
    assert is_id(made, "pay")
    assert not is_id(made, "att")
    assert len(made) == len("pay_") + ID_LENGTH


@given(st.tuples(AT, UNIQUE), st.tuples(AT, UNIQUE))
def test_ids_sort_by_time_then_by_unique_bits(a: tuple[int, int], b: tuple[int, int]) -> None:
    assert (format_id("pay", *a) < format_id("pay", *b)) == (a < b)
    assert (format_id("pay", *a) == format_id("pay", *b)) == (a == b)


@given(AT, UNIQUE)
def test_an_id_tells_when_it_was_made(at: int, unique: int) -> None:
    assert instant_of(format_id("att", at, unique)) == at


def test_only_eighty_unique_bits_are_used() -> None:
    assert format_id("pay", 7, 2**80 + 5) == format_id("pay", 7, 5)


@pytest.mark.parametrize(
    ("at", "unique", "made"),
    [
        (0, 0, "pay_00000000000000000000000000"),
        (0, 1, "pay_00000000000000000000000001"),
        (0, 31, "pay_0000000000000000000000000z"),
        (1, 0, "pay_00000000010000000000000000"),
        (2**48 - 1, 2**80 - 1, "pay_7zzzzzzzzzzzzzzzzzzzzzzzzz"),
    ],
)
def test_known_ids(at: int, unique: int, made: str) -> None:
    assert format_id("pay", at, unique) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pay",
        "pay_",
        "pay_0000000000000000000000000",
        "pay_000000000000000000000000000",
        "pay_0000000000000000000000000A",
        "pay_0000000000000000000000000u",
        "pay_0000000000000000000000000\n",
        "att_00000000000000000000000000",
        " pay_00000000000000000000000000",
        "pay-00000000000000000000000000",
        "pay_pay_0000000000000000000000",
        "pay_000000000000000000000000é0",
    ],
)
def test_other_text_is_not_an_id(text: str) -> None:
    assert not is_id(text, "pay")
