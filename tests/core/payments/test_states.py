"""The payment's table: every state with every trigger."""

import itertools

import pytest

from interlock.core.kernel.errors import Conflict
from interlock.core.payments.states import (
    REFUNDABLE,
    STATUS,
    TRANSITIONS,
    UNKNOWN_STATES,
    State,
    Trigger,
    next_state,
)

FINAL = {State.SUCCEEDED, State.CANCELED, State.FAILED}


@pytest.mark.parametrize(("state", "trigger"), list(itertools.product(State, Trigger)))
def test_every_state_with_every_trigger_moves_as_the_table_says_or_is_refused(state, trigger):
    expected = TRANSITIONS.get((state, trigger))
    if expected is None:
        with pytest.raises(Conflict):
            next_state(state, trigger)
    else:
        assert next_state(state, trigger) is expected


def test_final_states_have_no_way_out():
    assert {state for state, _ in TRANSITIONS} & FINAL == set()


def test_every_state_is_reached_from_a_new_payment():
    reached = {State.REQUIRES_PAYMENT_METHOD}
    while True:
        further = reached | {to for (state, _), to in TRANSITIONS.items() if state in reached}
        if further == reached:
            break
        reached = further
    assert reached == set(State)


def test_every_state_can_still_end():
    ends = set(FINAL)
    while True:
        more = ends | {state for (state, _), to in TRANSITIONS.items() if to in ends}
        if more == ends:
            break
        ends = more
    assert ends == set(State)


def test_every_trigger_is_used():
    assert {trigger for _, trigger in TRANSITIONS} == set(Trigger)


def test_every_state_has_a_public_status():
    assert set(STATUS) == set(State)


@pytest.mark.parametrize("state", sorted(UNKNOWN_STATES))
@pytest.mark.parametrize("command", [Trigger.CONFIRM, Trigger.CAPTURE, Trigger.CANCEL, Trigger.FAILED_OVER])
def test_nothing_new_starts_while_an_outcome_is_unknown(state, command):
    assert (state, command) not in TRANSITIONS


def test_refunds_only_where_no_capture_or_cancel_is_on_its_way():
    assert {State.AUTHORIZED, State.SUCCEEDED} == REFUNDABLE


def test_a_command_on_a_processing_payment_says_it_is_busy():
    with pytest.raises(Conflict) as refused:
        next_state(State.CAPTURING, Trigger.CAPTURE)
    assert refused.value.reason == "payment_busy"
