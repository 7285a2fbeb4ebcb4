"""The states of a payment, a refund and a dispute, as tables.

From the payment's table come the guard (`next_state`), the diagram in the reference, and the exhaustive test.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

from interlock.core.kernel.errors import Conflict


class State(StrEnum):
    """Where a payment stands. Finer than the public `status`, see STATUS."""

    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_CONFIRMATION = "requires_confirmation"
    AUTHORIZING = "authorizing"
    """An authorise attempt is recorded and has no answer yet."""
    PENDING = "pending"
    """The provider has it and will say later."""
    UNCERTAIN = "uncertain"
    """The authorise attempt's outcome is unknown: nothing else may start until it is looked up."""
    REQUIRES_ACTION = "requires_action"
    AUTHORIZED = "authorized"
    """Authorised, perhaps captured in part; more can be captured."""
    CAPTURING = "capturing"
    CAPTURE_UNCERTAIN = "capture_uncertain"
    CANCELING = "canceling"
    CANCEL_UNCERTAIN = "cancel_uncertain"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"
    FAILED = "failed"


class Trigger(StrEnum):
    """What moves a payment. Commands first, then what providers answer."""

    METHOD_GIVEN = "method_given"
    CONFIRM = "confirm"
    CAPTURE = "capture"
    CANCEL = "cancel"
    ABANDON = "abandon"
    """Cancelled before any provider was called."""
    AUTHORIZED = "authorized"
    CAPTURED_PART = "captured_part"
    CAPTURED_ALL = "captured_all"
    PENDED = "pended"
    ACTION_REQUIRED = "action_required"
    FAILED_OVER = "failed_over"
    """Declined or not sent, and the next provider's attempt is recorded."""
    DECLINED = "declined"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"
    CAPTURE_REFUSED = "capture_refused"
    VOIDED = "voided"
    """Everything was released; nothing had been captured."""
    RELEASED = "released"
    """What was left was released; something had been captured."""
    VOID_REFUSED = "void_refused"
    """Not released; the authorisation stands."""
    VOID_REFUSED_UNAUTHORIZED = "void_refused_unauthorized"
    """Not released; the payer may still complete the action."""
    VOID_FOUND_CAPTURED = "void_found_captured"
    """Not released, because the money had been taken in the meantime."""


S, T = State, Trigger

TRANSITIONS = MappingProxyType(
    {
        (S.REQUIRES_PAYMENT_METHOD, T.METHOD_GIVEN): S.REQUIRES_CONFIRMATION,
        (S.REQUIRES_PAYMENT_METHOD, T.ABANDON): S.CANCELED,
        (S.REQUIRES_CONFIRMATION, T.CONFIRM): S.AUTHORIZING,
        (S.REQUIRES_CONFIRMATION, T.ABANDON): S.CANCELED,
        **{
            (waiting, trigger): state
            for waiting in (S.AUTHORIZING, S.PENDING, S.UNCERTAIN, S.REQUIRES_ACTION)
            for trigger, state in {
                T.AUTHORIZED: S.AUTHORIZED,
                T.CAPTURED_ALL: S.SUCCEEDED,
                T.PENDED: S.PENDING,
                T.ACTION_REQUIRED: S.REQUIRES_ACTION,
                T.DECLINED: S.FAILED,
                T.NOT_SENT: S.FAILED,
            }.items()
        },
        (S.AUTHORIZING, T.FAILED_OVER): S.AUTHORIZING,
        (S.AUTHORIZING, T.UNKNOWN): S.UNCERTAIN,
        (S.REQUIRES_ACTION, T.CANCEL): S.CANCELING,
        (S.AUTHORIZED, T.CAPTURE): S.CAPTURING,
        (S.AUTHORIZED, T.CANCEL): S.CANCELING,
        **{
            (capturing, trigger): state
            for capturing in (S.CAPTURING, S.CAPTURE_UNCERTAIN)
            for trigger, state in {
                T.CAPTURED_PART: S.AUTHORIZED,
                T.CAPTURED_ALL: S.SUCCEEDED,
                T.CAPTURE_REFUSED: S.AUTHORIZED,
                T.PENDED: S.CAPTURING,
            }.items()
        },
        (S.CAPTURING, T.UNKNOWN): S.CAPTURE_UNCERTAIN,
        **{
            (canceling, trigger): state
            for canceling in (S.CANCELING, S.CANCEL_UNCERTAIN)
            for trigger, state in {
                T.VOIDED: S.CANCELED,
                T.RELEASED: S.SUCCEEDED,
                T.VOID_REFUSED: S.AUTHORIZED,
                T.VOID_REFUSED_UNAUTHORIZED: S.REQUIRES_ACTION,
                T.VOID_FOUND_CAPTURED: S.SUCCEEDED,
                T.DECLINED: S.FAILED,
                T.PENDED: S.CANCELING,
            }.items()
        },
        (S.CANCELING, T.UNKNOWN): S.CANCEL_UNCERTAIN,
        # A void that was given up for refused and turns out done after all.
        (S.AUTHORIZED, T.VOIDED): S.CANCELED,
        (S.AUTHORIZED, T.RELEASED): S.SUCCEEDED,
    }
)
"""(state, trigger) -> state. A pair that is not here is refused and changes nothing."""

STATUS = MappingProxyType(
    {
        S.REQUIRES_PAYMENT_METHOD: "requires_payment_method",
        S.REQUIRES_CONFIRMATION: "requires_confirmation",
        S.AUTHORIZING: "processing",
        S.PENDING: "processing",
        S.UNCERTAIN: "processing",
        S.REQUIRES_ACTION: "requires_action",
        S.AUTHORIZED: "requires_capture",
        S.CAPTURING: "processing",
        S.CAPTURE_UNCERTAIN: "processing",
        S.CANCELING: "processing",
        S.CANCEL_UNCERTAIN: "processing",
        S.SUCCEEDED: "succeeded",
        S.CANCELED: "canceled",
        S.FAILED: "failed",
    }
)
"""What the public contract calls each state."""

UNKNOWN_STATES = frozenset({S.UNCERTAIN, S.CAPTURE_UNCERTAIN, S.CANCEL_UNCERTAIN})
REFUNDABLE = frozenset({S.AUTHORIZED, S.SUCCEEDED})
"""States in which captured money may be given back."""


def next_state(state: State, trigger: Trigger) -> State:
    """The state after `trigger`. Raises Conflict if the table has no such move."""
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise Conflict(
            f"a payment that is {STATUS[state]} cannot take {trigger.value.replace('_', ' ')}",
            code="payment_busy" if STATUS[state] == "processing" else "payment_state",
        ) from None


class RefundState(StrEnum):
    PENDING = "pending"
    """Reserved; the provider was asked or is about to be, or has not said the last word."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class DisputeState(StrEnum):
    OPENED = "opened"
    WON = "won"
    LOST = "lost"


DISPUTE_TRANSITIONS = frozenset({(DisputeState.OPENED, DisputeState.WON), (DisputeState.OPENED, DisputeState.LOST)})
"""Moves of a dispute; news that is none of these, such as `opened` after `won`, is old and changes nothing."""
