"""What of a payment is not settled, and how much money hangs on it: for people who look after payments."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from interlock.core.kernel.providers import Action, Outcome
from interlock.core.payments.model import Attempt, Payment
from interlock.core.payments.states import RefundState


class Attention(StrEnum):
    """Kinds, worst first."""

    LATE_APPROVAL = "late_approval"
    """A provider took or holds money for a payment that had gone on without it, and it is not given back yet."""
    UNCERTAIN = "uncertain"
    """It is not known whether an operation happened."""
    REFUND_OPEN = "refund_open"
    """A refund's amount is reserved, and whether it went out is not known yet."""


def attention_of(payment: Payment) -> Mapping[str, int]:
    """Kind -> minor units of the payment's currency that hang on it. Empty for nearly every payment."""
    found: dict[str, int] = {}
    # Late voids and late refunds moved money the payer's way: nothing is to be given back.
    taken = (Action.AUTHORIZE, Action.CAPTURE)
    late = sum(
        one.amount for one in payment.attempts if one.late and one.operation in taken and not _given_back(payment, one)
    )
    if late:
        found[Attention.LATE_APPROVAL] = late
    unknown = sum(one.amount for one in payment.attempts if one.outcome is Outcome.UNKNOWN)
    if unknown:
        found[Attention.UNCERTAIN] = unknown
    refunds = sum(one.amount for one in payment.refunds if one.state is RefundState.PENDING)
    if refunds:
        found[Attention.REFUND_OPEN] = refunds
    return found


def _given_back(payment: Payment, late: Attempt) -> bool:
    return any(one.reverses and one.target == late.id and one.outcome is Outcome.APPROVED for one in payment.attempts)
