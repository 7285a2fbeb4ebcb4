"""The states of a delivery, as a table."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from interlock.core.kernel.errors import Conflict

DeliveryStatus = Literal["pending", "delivered", "dead", "canceled"]


class DeliveryState(StrEnum):
    PENDING = "pending"
    """Waits for its turn in the lane, or for its next attempt."""
    SENDING = "sending"
    """A worker holds the lease; the request may be on its way."""
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up; a person may ask for another attempt."""
    CANCELED = "canceled"
    """The endpoint was disabled or deleted before it arrived."""


class Trigger(StrEnum):
    TAKEN = "taken"
    ACCEPTED = "accepted"
    FAILED = "failed"
    """And there will be another attempt."""
    EXHAUSTED = "exhausted"
    ENDPOINT_GONE = "endpoint_gone"
    REQUESTED = "requested"
    """By hand: one more attempt, now."""
    REPEAT_FAILED = "repeat_failed"
    """The attempt asked for by hand failed or cannot be made, but an earlier one had arrived."""


_S, _T = DeliveryState, Trigger
TRANSITIONS = MappingProxyType(
    {
        (_S.PENDING, _T.TAKEN): _S.SENDING,
        (_S.PENDING, _T.EXHAUSTED): _S.DEAD,
        (_S.PENDING, _T.ENDPOINT_GONE): _S.CANCELED,
        (_S.PENDING, _T.REQUESTED): _S.PENDING,
        (_S.PENDING, _T.REPEAT_FAILED): _S.DELIVERED,
        (_S.SENDING, _T.TAKEN): _S.SENDING,
        (_S.SENDING, _T.ACCEPTED): _S.DELIVERED,
        (_S.SENDING, _T.FAILED): _S.PENDING,
        (_S.SENDING, _T.EXHAUSTED): _S.DEAD,
        (_S.SENDING, _T.ENDPOINT_GONE): _S.CANCELED,
        (_S.SENDING, _T.REPEAT_FAILED): _S.DELIVERED,
        (_S.DELIVERED, _T.REQUESTED): _S.PENDING,
        (_S.DEAD, _T.REQUESTED): _S.PENDING,
        (_S.CANCELED, _T.REQUESTED): _S.PENDING,
    }
)

OPEN = frozenset({_S.PENDING, _S.SENDING})
"""Not finished: it holds up what comes behind it in its lane."""

STATUS: MappingProxyType[DeliveryState, DeliveryStatus] = MappingProxyType(
    {
        _S.PENDING: "pending",
        _S.SENDING: "pending",
        _S.DELIVERED: "delivered",
        _S.DEAD: "dead",
        _S.CANCELED: "canceled",
    }
)
"""What the outside sees."""


def after(state: DeliveryState, trigger: Trigger) -> DeliveryState:
    """Raises Conflict if `trigger` cannot happen in `state`."""
    following = TRANSITIONS.get((state, trigger))
    if following is None:
        raise Conflict(f"a delivery that is {state} cannot be {trigger}")
    return following
