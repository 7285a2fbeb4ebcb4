"""The states of an alert, as a table."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

from interlock.core.kernel.errors import Conflict


class AlertState(StrEnum):
    OPEN = "open"
    """Somebody should look at it."""
    ACKNOWLEDGED = "acknowledged"
    """Somebody does."""
    SILENCED = "silenced"
    """It fires, and a silence or a maintenance window says that nobody wants to know. The end of that opens it."""
    HELD = "held"
    """It fires, and not often enough yet for the rule that asks for several occurrences."""
    RESOLVED = "resolved"


class Trigger(StrEnum):
    FIRED = "fired"
    """The tool says that it fires, and no rule objects."""
    MUTED = "muted"
    """It fires during a silence or a maintenance window."""
    HELD_BACK = "held_back"
    """It fires, and has not done so often enough."""
    RECOVERED = "recovered"
    """The last of what fired has stopped, says the tool."""
    ACKNOWLEDGED = "acknowledged"
    ASSIGNED = "assigned"
    CLOSED = "closed"
    """A person says that it is over."""


_S, _T = AlertState, Trigger
ACTIVE = frozenset({_S.OPEN, _S.ACKNOWLEDGED, _S.SILENCED, _S.HELD})
"""It fires, as far as anybody knows."""

TRANSITIONS = MappingProxyType(
    {
        (_S.OPEN, _T.FIRED): _S.OPEN,
        (_S.OPEN, _T.MUTED): _S.SILENCED,
        (_S.OPEN, _T.HELD_BACK): _S.OPEN,
        (_S.OPEN, _T.RECOVERED): _S.RESOLVED,
        (_S.OPEN, _T.ACKNOWLEDGED): _S.ACKNOWLEDGED,
        (_S.OPEN, _T.ASSIGNED): _S.OPEN,
        (_S.OPEN, _T.CLOSED): _S.RESOLVED,
        (_S.ACKNOWLEDGED, _T.FIRED): _S.ACKNOWLEDGED,
        (_S.ACKNOWLEDGED, _T.MUTED): _S.ACKNOWLEDGED,
        (_S.ACKNOWLEDGED, _T.HELD_BACK): _S.ACKNOWLEDGED,
        (_S.ACKNOWLEDGED, _T.RECOVERED): _S.RESOLVED,
        (_S.ACKNOWLEDGED, _T.ACKNOWLEDGED): _S.ACKNOWLEDGED,
        (_S.ACKNOWLEDGED, _T.ASSIGNED): _S.ACKNOWLEDGED,
        (_S.ACKNOWLEDGED, _T.CLOSED): _S.RESOLVED,
        (_S.SILENCED, _T.FIRED): _S.OPEN,
        (_S.SILENCED, _T.MUTED): _S.SILENCED,
        (_S.SILENCED, _T.HELD_BACK): _S.HELD,
        (_S.SILENCED, _T.RECOVERED): _S.RESOLVED,
        (_S.SILENCED, _T.ACKNOWLEDGED): _S.ACKNOWLEDGED,
        (_S.SILENCED, _T.ASSIGNED): _S.SILENCED,
        (_S.SILENCED, _T.CLOSED): _S.RESOLVED,
        (_S.HELD, _T.FIRED): _S.OPEN,
        (_S.HELD, _T.MUTED): _S.SILENCED,
        (_S.HELD, _T.HELD_BACK): _S.HELD,
        (_S.HELD, _T.RECOVERED): _S.RESOLVED,
        (_S.HELD, _T.ACKNOWLEDGED): _S.ACKNOWLEDGED,
        (_S.HELD, _T.ASSIGNED): _S.HELD,
        (_S.HELD, _T.CLOSED): _S.RESOLVED,
        (_S.RESOLVED, _T.FIRED): _S.OPEN,
        (_S.RESOLVED, _T.MUTED): _S.SILENCED,
        (_S.RESOLVED, _T.HELD_BACK): _S.HELD,
        (_S.RESOLVED, _T.CLOSED): _S.RESOLVED,
    }
)
"""A row from a state to itself means that the trigger may come again. An alert that nobody has seen before begins as a
resolved one would go on."""


def after(state: AlertState, trigger: Trigger) -> AlertState:
    """Raises Conflict if `trigger` cannot happen in `state`."""
    following = TRANSITIONS.get((state, trigger))
    if following is None:
        raise Conflict(f"an alert that is {state} cannot be {trigger}", code=f"alert_{state}")
    return following
