"""One payment held against its journals: where the two differ, and how much money that is.

They are written in one commit, so they differ by a defect, a restored backup or somebody's hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from interlock.core.kernel.events import Event
from interlock.core.kernel.store import Store
from interlock.core.ledger.model import Journal
from interlock.core.ledger.records import decode_journal, journal_key, journal_write, raw_journal_of
from interlock.core.ledger.totals import payment_totals
from interlock.core.payments.model import Payment, decode_payment
from interlock.core.payments.records import payment_key
from interlock.core.payments.verification import against_journals, booked_amounts

SEEN_HERE = frozenset({"payment_differs", "journal_missing", "journal_differs", "journal_unreadable"})
"""Of the codes of `ledger verify` those that a look at one payment can find, and so can find gone."""


class Difference(NamedTuple):
    code: str
    detail: str
    amount: int
    """Minor units that hang on it."""


class Books(NamedTuple):
    """What a look at one payment found."""

    payment: Payment | None
    currency: str
    differences: tuple[Difference, ...]


async def look_at_books(store: Store, events: Sequence[Event], *, since_version: int = 0) -> Books | None:
    """Hold a payment against its events and journals; None if it has changed meanwhile, and its next event will tell.

    `events` is its history from the beginning. Each journal that came with `since_version` or later is also looked for in the
    store. Reads the payment, and a journal each.
    """
    first, last = events[0], events[-1]
    item = await store.get(payment_key(first.tenant, first.aggregate))
    if item is None:
        snapshot = _data.decode(last.data).payment
        lost = Difference("payment_differs", "its events are there and the payment is not", snapshot.amount)
        return Books(None, snapshot.currency, (lost,))
    payment = decode_payment(item.value)
    if payment.version > last.version:
        return None
    found: list[Difference] = []
    if payment.version < last.version:
        older = f"it stands at version {payment.version} and its events go on to {last.version}"
        found.append(Difference("payment_differs", older, payment.amount))
    journals: list[Journal] = []
    for event in events:
        try:
            raw = raw_journal_of(event)
            journal = None if raw is None else decode_journal(raw)
        except ValueError:
            found.append(Difference("journal_unreadable", f"in event {event.id}", payment.amount))
            continue
        if journal is not None:
            journals.append(journal)
            if event.version >= since_version:
                found += await _against_store(store, journal)
    return Books(payment, payment.currency, (*found, *_against_totals(payment, journals)))


async def _against_store(store: Store, journal: Journal) -> list[Difference]:
    item = await store.get(journal_key(journal))
    amount = sum(posting.amount for posting in journal.postings if posting.amount > 0)
    if item is None:
        return [Difference("journal_missing", f"{journal.kind} {journal.id} is not in the ledger", amount)]
    if item.value != journal_write(journal).value:
        return [Difference("journal_differs", f"{journal.kind} {journal.id} is another in the ledger", amount)]
    return []


def _against_totals(payment: Payment, journals: Sequence[Journal]) -> list[Difference]:
    try:
        totals = payment_totals(journals)
    except ValueError as error:
        return [Difference("payment_differs", str(error), payment.amount)]
    wrong = against_journals(payment, totals)
    if not wrong:
        return []
    amount = max(abs(expected - getattr(totals, name)) for name, expected in booked_amounts(payment).items())
    return [Difference("payment_differs", "; ".join(wrong), amount or payment.amount)]


class _Snapshot(msgspec.Struct):
    amount: int
    currency: str


class _Data(msgspec.Struct):
    payment: _Snapshot


_data = msgspec.json.Decoder(_Data)
