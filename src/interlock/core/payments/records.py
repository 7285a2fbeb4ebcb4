"""How payments stand in the store: keys, index entries, and nothing else."""

from __future__ import annotations

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.store import ABSENT, Key, Put
from interlock.core.payments.model import Payment, encode_payment
from interlock.core.payments.states import State

DUE_INDEX = "due"
DUE_SHARDS = 8
"""The due index is spread over so many partitions, so that no one of them is hot."""


def payment_key(tenant: str, payment_id: str) -> Key:
    return Key(f"{tenant}/pay/{payment_id}", "payment")


def payment_write(payment: Payment, expected: int) -> Put:
    due = next_due(payment)
    indexes = {} if due is None else {DUE_INDEX: Key(due_partition(payment.id), due_sort(due, payment))}
    return Put(payment_key(payment.tenant, payment.id), encode_payment(payment), expected, indexes)


def next_due(payment: Payment) -> Millis | None:
    """When somebody must look at the payment next, if ever: the earliest deadline, or the authorisation's end.

    An authorisation is not released while some outcome is unknown: the unknown one has a deadline of its own.
    """
    times = [attempt.deadline for attempt in payment.attempts if attempt.deadline is not None]
    if payment.state is State.AUTHORIZED and payment.authorization_expires_at is not None and not payment.has_unknown:
        times.append(max(payment.authorization_expires_at, payment.release_after or 0))
    return min(times, default=None)


def due_partition(payment_id: str) -> str:
    return f"due/{ord(payment_id[-1]) % DUE_SHARDS}"


def due_sort(due: Millis, payment: Payment) -> str:
    return f"{due:014d}/{payment.tenant}/{payment.id}"


def due_until(now: Millis) -> str:
    """The largest sort key that is due at `now`."""
    return f"{now:014d}/\x7f"


def refund_pointer(tenant: str, refund_id: str, payment_id: str) -> Put:
    """From a refund's id to its payment, written with the refund."""
    return Put(refund_key(tenant, refund_id), payment_id.encode(), ABSENT)


def refund_key(tenant: str, refund_id: str) -> Key:
    return Key(f"{tenant}/ref/{refund_id}", "refund")
