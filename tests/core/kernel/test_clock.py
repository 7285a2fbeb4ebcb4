"""Instants as text and as days."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.kernel.clock import DAY, HOUR, MINUTE, SECOND, parse_rfc3339, rfc3339, utc_day

INSTANTS = st.integers(min_value=0, max_value=253_402_300_799_999)
"""1970 to the end of the year 9999."""


@given(INSTANTS)
def test_text_of_an_instant_reads_back_as_the_instant(at: int) -> None:
    assert parse_rfc3339(rfc3339(at)) == at
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", rfc3339(at))


@given(INSTANTS, INSTANTS)
def test_text_sorts_as_time_does(a: int, b: int) -> None:
    assert (rfc3339(a) < rfc3339(b)) == (a < b)


@given(INSTANTS)
def test_day_is_the_beginning_of_the_text(at: int) -> None:
    assert rfc3339(at).startswith(utc_day(at) + "T")
    assert utc_day(at - at % DAY) == utc_day(at)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:00.000Z", 0),
        ("2026-11-21T08:00:00.000Z", 1_795_248_000_000),
        ("2028-02-29T23:59:59.999Z", 1_835_481_599_999),
    ],
)
def test_known_instants(text: str, at: int) -> None:
    assert rfc3339(at) == text
    assert parse_rfc3339(text) == at


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T08:00:00Z",
        "2026-11-21T10:00:00+02:00",
        "2026-11-21T03:00:00.000-05:00",
        "2026-11-21T08:00:00.000999Z",
    ],
)
def test_offsets_and_fractions_are_understood(text: str) -> None:
    assert parse_rfc3339(text) == 1_795_248_000_000


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-21T08:00:00", "2026-11-21", "2026-13-01T00:00:00Z"])
def test_text_without_an_offset_or_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_rfc3339(text)


def test_units_are_milliseconds() -> None:
    assert (SECOND, MINUTE, HOUR, DAY) == (1_000, 60_000, 3_600_000, 86_400_000)
