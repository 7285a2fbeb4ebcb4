"""What is kept when there are more combinations of values than room for them."""

from __future__ import annotations

import random

import pytest

from interlock.core.desk.figures.folding import folded
from interlock.core.kernel.documents import Tally


def rows(seed: int, number: int) -> list[Tally]:
    """Merchants and BINs as there are: a few with much, many with little."""
    dice = random.Random(seed)
    found: dict[tuple[str | None, ...], int] = {}
    for _ in range(number):
        merchant, bin = (min(int(dice.paretovariate(0.7)), size) for size in (90, 400))
        values = (f"m{merchant}", f"{400_000 + bin}" if bin % 7 else None, dice.choice(("approved", "declined")))
        found[values] = found.get(values, 0) + 1
    return [Tally(values, count, (10 * count,)) for values, count in found.items()]


def test_few_rows_stay_as_they_are():
    counted = rows(1, 50)
    assert folded(counted, (0, 1), len(counted)) == counted


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("rows_max", [2, 10, 100, 400])
def test_many_rows_become_so_few_and_no_attempt_is_lost(seed: int, rows_max: int):
    counted = rows(seed, 3_000)
    kept = folded(counted, (0, 1), rows_max)
    assert len(counted) > rows_max >= len(kept)
    assert len({row.values for row in kept}) == len(kept)
    for outcome in ("approved", "declined"):
        of = [[row for row in table if row.values[2] == outcome] for table in (counted, kept)]
        assert sum(row.number for row in of[0]) == sum(row.number for row in of[1])
        assert sum(row.sums[0] for row in of[0]) == sum(row.sums[0] for row in of[1])


def test_what_is_kept_of_a_dimension_is_what_it_has_most_of_and_is_counted_in_full():
    counted = rows(3, 3_000)
    kept = folded(counted, (0, 1), 200)
    for place in (0, 1):
        before: dict[object, int] = {}
        after: dict[object, int] = {}
        for table, sums in ((counted, before), (kept, after)):
            for row in table:
                sums[row.values[place]] = sums.get(row.values[place], 0) + row.number
        named = after.keys() - {None}
        assert {value: after[value] for value in named} == {value: before[value] for value in named}
        assert named and min(after[value] for value in named) >= max(before[v] for v in before.keys() - after.keys())


def test_fields_that_are_not_to_be_folded_keep_their_values_even_where_there_is_no_room():
    counted = [Tally((f"m{number % 5}", f"o{number}"), 1, ()) for number in range(30)]
    assert folded(counted, (0,), 10) == [Tally((None, f"o{number}"), 1, ()) for number in range(30)]
