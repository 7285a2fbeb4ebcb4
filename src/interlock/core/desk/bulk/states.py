"""The stages of bulk work, as a table."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType


class Stage(StrEnum):
    WAITING = "waiting"
    """For somebody else's approval."""
    APPROVED = "approved"
    """Being carried out."""
    PAUSED = "paused"
    """By a person, or because it cannot go on; it goes on where it was."""
    REJECTED = "rejected"
    STOPPED = "stopped"
    """By a person, while it was being carried out: what was done stays done."""
    DONE = "done"


class Move(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"
    PAUSE = "pause"
    CONTINUE = "continue"
    STOP = "stop"
    END = "end"
    """Nothing is left of it."""


_S, _M = Stage, Move
TRANSITIONS = MappingProxyType(
    {
        (_S.WAITING, _M.APPROVE): _S.APPROVED,
        (_S.WAITING, _M.REJECT): _S.REJECTED,
        (_S.WAITING, _M.STOP): _S.STOPPED,
        (_S.APPROVED, _M.PAUSE): _S.PAUSED,
        (_S.APPROVED, _M.STOP): _S.STOPPED,
        (_S.APPROVED, _M.END): _S.DONE,
        (_S.PAUSED, _M.CONTINUE): _S.APPROVED,
        (_S.PAUSED, _M.STOP): _S.STOPPED,
    }
)
OPEN = frozenset({_S.WAITING, _S.APPROVED, _S.PAUSED})
"""It may still be stopped."""
