"""The circuit breaker on time given by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.routing.breaker import Breaker, BreakerSettings, BreakerState

SETTINGS = BreakerSettings(
    window_s=10, slices=5, calls_min=4, failure_percent=50, open_s=2, open_max_s=5, probes_max=2, probes_to_close=3
)


def call(breaker, now, *, failed):
    ticket = breaker.admit(now)
    assert ticket is not None
    breaker.record(ticket, failed=failed, now=now)


def opened(now=0.0):
    breaker = Breaker(SETTINGS)
    for _ in range(4):
        call(breaker, now, failed=True)
    assert breaker.state(now) is BreakerState.OPEN
    return breaker


def test_failures_below_the_smallest_number_of_calls_do_not_open():
    breaker = Breaker(SETTINGS)
    for _ in range(3):
        call(breaker, 0, failed=True)
    assert breaker.state(0) is BreakerState.CLOSED


def test_half_of_the_calls_failing_opens_and_less_does_not():
    breaker = Breaker(SETTINGS)
    for failed in (False, False, False, True, True):
        call(breaker, 0, failed=failed)
    assert breaker.state(0) is BreakerState.CLOSED
    call(breaker, 0, failed=True)
    assert breaker.state(0) is BreakerState.OPEN


def test_failures_that_left_the_window_are_forgotten():
    breaker = Breaker(SETTINGS)
    for _ in range(3):
        call(breaker, 0, failed=True)
    call(breaker, 10.5, failed=True)
    assert breaker.state(10.5) is BreakerState.CLOSED
    for now in (11, 11.5, 12):
        call(breaker, now, failed=True)
    assert breaker.state(12) is BreakerState.OPEN


def test_failures_within_the_window_add_up_over_its_slices():
    breaker = Breaker(SETTINGS)
    for now in (0, 3, 6, 9):
        call(breaker, now, failed=True)
    assert breaker.state(9) is BreakerState.OPEN


def test_open_breaker_refuses_until_its_time_is_over():
    breaker = opened()
    assert breaker.admit(1.9) is None
    assert not breaker.is_available(1.9)
    assert breaker.state(2) is BreakerState.HALF_OPEN
    assert breaker.is_available(2)
    assert breaker.admit(2) is not None


def test_half_open_breaker_gives_away_a_limited_number_of_probes():
    breaker = opened()
    first, second = breaker.admit(2), breaker.admit(2)
    assert first is not None and second is not None
    assert breaker.admit(2) is None
    assert not breaker.is_available(2)
    breaker.record(first, failed=False, now=2)
    assert breaker.is_available(2)


def test_enough_good_probes_close_it():
    breaker = opened()
    for _ in range(3):
        assert breaker.state(2) is BreakerState.HALF_OPEN
        call(breaker, 2, failed=False)
    assert breaker.state(2) is BreakerState.CLOSED
    call(breaker, 2, failed=True)
    assert breaker.state(2) is BreakerState.CLOSED  # the old failures are gone


def test_failed_probe_opens_it_again_for_twice_as_long_up_to_a_limit():
    breaker = opened()
    waits, now = [], 0.0
    for _ in range(3):
        now = next(now + step / 10 for step in range(1_000) if breaker.is_available(now + step / 10))
        call(breaker, now, failed=True)
        assert breaker.state(now) is BreakerState.OPEN
        waits.append(next(step / 10 for step in range(1_000) if breaker.is_available(now + step / 10)))
    assert waits == [4, 5, 5]


def test_probe_given_up_hands_its_place_to_another():
    breaker = opened()
    tickets = [breaker.admit(2), breaker.admit(2)]
    breaker.release(tickets[0])
    assert breaker.admit(2) is not None
    assert breaker.admit(2) is None


def test_late_failures_of_calls_from_before_the_opening_count_for_nothing():
    breaker = Breaker(SETTINGS)
    late = [breaker.admit(0) for _ in range(10)]
    for _ in range(4):
        call(breaker, 0, failed=True)
    probe = breaker.admit(2)
    breaker.record(late.pop(), failed=True, now=2)
    assert breaker.state(2) is BreakerState.HALF_OPEN
    breaker.record(probe, failed=False, now=2)
    for _ in range(2):
        call(breaker, 2, failed=False)
    for ticket in late:
        breaker.record(ticket, failed=True, now=2)
    assert breaker.state(2) is BreakerState.CLOSED


def test_late_success_of_a_call_from_before_the_opening_does_not_close_it():
    breaker = Breaker(SETTINGS)
    late = [breaker.admit(0) for _ in range(10)]
    for _ in range(4):
        call(breaker, 0, failed=True)
    breaker.admit(2)
    for ticket in late:
        breaker.record(ticket, failed=False, now=2)
    assert breaker.state(2) is BreakerState.HALF_OPEN


def test_looking_at_the_state_takes_no_probe():
    breaker = opened()
    for _ in range(10):
        assert breaker.state(3) is BreakerState.HALF_OPEN
        assert breaker.is_available(3)
    assert breaker.admit(3) is not None


@pytest.mark.parametrize("wrong", [{"calls_min": 0}, {"failure_percent": 0}, {"failure_percent": 101}, {"open_s": -1}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError):
        BreakerSettings(**wrong)


@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["good", "bad", "lost"])), max_size=200))
def test_breaker_never_wedges_whatever_calls_do(steps):
    breaker, now = Breaker(SETTINGS), 0.0
    for pause, end in steps:
        now += pause
        state = breaker.state(now)
        ticket = breaker.admit(now)
        assert (ticket is None) == (state is BreakerState.OPEN)
        if ticket is not None and end == "lost":
            breaker.release(ticket)
        elif ticket is not None:
            breaker.record(ticket, failed=end == "bad", now=now)
    assert breaker.is_available(now + SETTINGS.open_max_s)
