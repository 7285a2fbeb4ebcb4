"""The table of an alert's states, every cell of it."""

import itertools

import pytest

from interlock.core.desk.alerts.states import ACTIVE, TRANSITIONS, AlertState, Trigger, after
from interlock.core.kernel.errors import Conflict

REFUSED = {
    (AlertState.RESOLVED, Trigger.RECOVERED),
    (AlertState.RESOLVED, Trigger.ACKNOWLEDGED),
    (AlertState.RESOLVED, Trigger.ASSIGNED),
}


@pytest.mark.parametrize(("state", "trigger"), [*itertools.product(AlertState, Trigger)])
def test_each_trigger_in_each_state_moves_or_is_a_conflict(state, trigger):
    if (state, trigger) in REFUSED:
        with pytest.raises(Conflict) as caught:
            after(state, trigger)
        assert caught.value.reason == f"alert_{state}"
    else:
        assert after(state, trigger) is TRANSITIONS[state, trigger]


def test_every_state_is_reached_from_every_other():
    for begin in AlertState:
        reached = {begin}
        while more := {to for (state, _), to in TRANSITIONS.items() if state in reached} - reached:
            reached |= more
        assert reached == set(AlertState)


@pytest.mark.parametrize("state", sorted(ACTIVE))
def test_whatever_is_active_ends_when_the_tool_or_a_person_says_so(state):
    assert after(state, Trigger.RECOVERED) is AlertState.RESOLVED
    assert after(state, Trigger.CLOSED) is AlertState.RESOLVED


def test_what_somebody_looks_after_is_never_taken_from_them_by_a_signal():
    firing = (Trigger.FIRED, Trigger.MUTED, Trigger.HELD_BACK)
    assert {after(AlertState.ACKNOWLEDGED, trigger) for trigger in firing} == {AlertState.ACKNOWLEDGED}
