"""Every payment held against its events and its journals: the other half of `ledger verify`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from interlock.core.kernel.events import Event
from interlock.core.kernel.providers import Action, Outcome
from interlock.core.kernel.store import Store
from interlock.core.ledger.totals import PaymentTotals
from interlock.core.ledger.verification import CheckPayment, Finding
from interlock.core.payments.model import Payment, decode_payment
from interlock.core.payments.records import payment_key
from interlock.core.payments.states import DisputeState
from interlock.core.payments.views import encode_view, payment_view


def payment_check(store: Store) -> CheckPayment:
    """The check that `ledger.verification.verify` makes of each payment."""

    async def check(events: Sequence[Event], totals: PaymentTotals) -> Iterable[Finding]:
        first = events[0]
        item = await store.get(payment_key(first.tenant, first.aggregate))
        if item is None:
            return [_finding(first, "its events are there and the payment is not")]
        payment = decode_payment(item.value)
        if payment.version > events[-1].version:
            return []  # it changed while this was read: the next verification sees it whole
        return [
            _finding(first, wrong) for wrong in (*_against_events(payment, events), *against_journals(payment, totals))
        ]

    return check


def _finding(event: Event, detail: str) -> Finding:
    return Finding("payment_differs", event.tenant, event.aggregate, detail, event.aggregate)


def _against_events(payment: Payment, events: Sequence[Event]) -> list[str]:
    """One event for each version, and the last snapshot is the payment."""
    wrong = []
    if [event.version for event in events] != list(range(1, payment.version + 1)):
        wrong.append(f"version {payment.version} has {len(events)} events")
    snapshot = _members.decode(events[-1].data).get("payment", msgspec.Raw())
    if bytes(snapshot) != encode_view(payment_view(payment)):
        wrong.append("the last event's snapshot is not the payment")
    return wrong


def booked_amounts(payment: Payment) -> dict[str, int]:
    """What the payment's journals must add up to, by the names of `PaymentTotals`."""
    late = [attempt for attempt in payment.attempts if attempt.late and _took_money(payment, attempt.id)]
    given_back = {
        attempt.target
        for attempt in payment.attempts
        if attempt.reverses and attempt.operation is Action.REFUND and attempt.outcome is Outcome.APPROVED
    }
    open_disputes = [dispute for dispute in payment.disputes if dispute.state is not DisputeState.WON]
    return {
        "captured": payment.amount_captured,
        "refunded": payment.amount_refunded,
        "reserved": payment.amount_reserved - payment.amount_refunded,
        "disputed": payment.amount_disputed,
        "excess": sum(dispute.excess for dispute in open_disputes),
        "late": sum(attempt.amount for attempt in late if attempt.id not in given_back),
    }


def against_journals(payment: Payment, totals: PaymentTotals) -> list[str]:
    """Where a payment's amounts differ from what its journals add up to. They agree after every commit."""
    wrong = [
        f"{name} {amount} and its journals say {getattr(totals, name)}"
        for name, amount in booked_amounts(payment).items()
        if amount != getattr(totals, name)
    ]
    if totals.currency not in ("", payment.currency):
        wrong.append(f"in {payment.currency} with journals in {totals.currency}")
    if not 0 <= payment.amount_captured <= payment.amount_authorized <= payment.amount or payment.refundable < 0:
        wrong.append("its amounts break captured <= authorised or refunded + disputed <= captured")
    return wrong


def _took_money(payment: Payment, attempt_id: str) -> bool:
    """Whether a late approval was given back by a refund, which it is only when money was taken."""
    reversals = [attempt for attempt in payment.attempts if attempt.reverses and attempt.target == attempt_id]
    return any(attempt.operation is Action.REFUND for attempt in reversals)


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
