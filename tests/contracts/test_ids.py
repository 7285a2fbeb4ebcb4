"""The Ids port's promises, over every source of randomness."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from random import Random

import pytest

from interlock.backends.local.clock import SystemClock
from interlock.backends.local.ids import SystemIds
from interlock.core.kernel.ids import ID_LENGTH, Ids, format_id, is_id
from tests.clocks import ManualClock

MakeIds = Callable[[ManualClock], Ids]


def all_ones(bits: int) -> int:
    return (1 << bits) - 1


@pytest.fixture(params=["system", "seeded", "worst"])
def make_ids(request: pytest.FixtureRequest) -> MakeIds:
    """The last source always draws the largest number, so that every carry and overflow is met."""
    if request.param == "system":
        return lambda clock: SystemIds(clock)
    if request.param == "seeded":
        return lambda clock: SystemIds(clock, random_bits=Random(3).getrandbits)
    return lambda clock: SystemIds(clock, random_bits=all_ones)


def number_of(made: str) -> int:
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    number = 0
    for letter in made.partition("_")[2]:
        number = number * 32 + alphabet.index(letter)
    return number


def at_of(made: str) -> int:
    """The milliseconds an id says it was made at."""
    return number_of(made) >> 80


def test_id_is_its_prefix_and_twenty_six_characters(make_ids: MakeIds, clock: ManualClock) -> None:
    ids = make_ids(clock)
    for prefix in ("pay", "att", "whe", "x"):
        made = ids.new(prefix)
        assert made.startswith(f"{prefix}_")
        assert len(made) == len(prefix) + 1 + ID_LENGTH
        assert is_id(made, prefix)


def test_first_48_bits_are_the_clocks_milliseconds(make_ids: MakeIds, clock: ManualClock) -> None:
    ids = make_ids(clock)
    assert at_of(ids.new("pay")) == clock.now()
    clock.advance(1.5)
    assert at_of(ids.new("pay")) == clock.now()


def test_ids_are_unique_within_one_millisecond_whatever_the_prefix(make_ids: MakeIds, clock: ManualClock) -> None:
    ids = make_ids(clock)
    tails = [ids.new(prefix).partition("_")[2] for _ in range(5_000) for prefix in ("pay", "att")]
    assert len(set(tails)) == 10_000


def test_id_made_later_sorts_later_within_one_millisecond(make_ids: MakeIds, clock: ManualClock) -> None:
    ids = make_ids(clock)
    made = [ids.new("pay") for _ in range(5_000)]
    assert made == sorted(made)


def test_id_made_later_sorts_later_over_time_and_over_a_clock_that_steps_back(
    make_ids: MakeIds, clock: ManualClock
) -> None:
    ids, random = make_ids(clock), Random(5)
    made = []
    for _ in range(500):
        made.append(ids.new("pay"))
        step = random.choice(["stay", "advance", "back"])
        if step == "advance":
            clock.advance(random.random())
        elif step == "back":
            clock.step_wall(-random.randrange(5_000))
    assert made == sorted(made)
    assert len(set(made)) == 500


def test_ids_stay_unique_and_in_order_when_the_steps_of_a_millisecond_run_out(clock: ManualClock) -> None:
    ids = SystemIds(clock, random_bits=lambda bits: all_ones(79))
    made = [ids.new("pay") for _ in range(20)]
    assert made == sorted(set(made))
    assert at_of(made[0]) == clock.now()
    assert at_of(made[-1]) > clock.now()


def test_two_makers_at_the_same_instant_make_different_ids(clock: ManualClock) -> None:
    makers = [SystemIds(clock) for _ in range(50)]
    assert len({maker.new("pay") for maker in makers}) == 50


def test_next_id_does_not_follow_from_the_last(clock: ManualClock) -> None:
    ids = SystemIds(clock)
    numbers = [number_of(ids.new("pay")) for _ in range(20)]
    steps = {later - earlier for earlier, later in itertools.pairwise(numbers)}
    assert len(steps) == 19
    assert max(steps) > 2**32


def test_seeded_ids_are_the_same_each_time(clock: ManualClock) -> None:
    runs = [[SystemIds(clock, random_bits=Random(9).getrandbits).new("pay")] for _ in range(2)]
    assert runs[0] == runs[1]


def test_system_clock_gives_ids_of_today() -> None:
    clock = SystemClock()
    before = clock.now()
    made = SystemIds(clock).new("evt")
    assert before <= at_of(made) <= clock.now()
    assert made > format_id("evt", before - 1, all_ones(80))
