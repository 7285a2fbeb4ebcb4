"""One box: whatever somebody has in hand, to the payments it may mean."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from interlock.core.desk.figures.model import (
    ATTEMPTS,
    DESK,
    MERCHANTS,
    PAYMENTS,
    POINTERS,
    PaymentRow,
    card_day,
    decode_pointer,
    decode_row,
)
from interlock.core.kernel import ids
from interlock.core.kernel.clock import DAY, Millis, utc_day
from interlock.core.kernel.currencies import EXPONENTS
from interlock.core.kernel.documents import Document, Documents
from interlock.core.ledger.projection import JOURNALS
from interlock.core.payments.projection import locate
from interlock.core.webhooks.events import EVENTS
from interlock.core.webhooks.events import decode_pointer as decode_event_pointer

TEXT_MAX = 200
FOUND_MAX = 50
MERCHANTS_MAX = 20_000
MERCHANTS_AT_ONCE = 1_000
"""Ids that only their merchant's lists know are looked for in so many of them."""


class Hit(NamedTuple):
    payment: PaymentRow
    matched: str
    """What of it was asked for."""


async def search(
    documents: Documents,
    text: str,
    *,
    providers: Sequence[str],
    now: Millis,
    merchant: str | None = None,
    customers: bool = True,
) -> list[Hit]:
    """Payments that `text` may mean, best first, at most FOUND_MAX. With `merchant`, only that one's.

    Without `customers`, for who may not see them: only by what platform and providers call things.

    An id of a payment, attempt, refund, dispute, journal or event; a provider's reference; a reference or customer of the
    merchant's; or `last4 amount day`, as in `4242 19.99 2026-11-27` (also `today`, `yesterday`).
    """
    text = text.strip()[:TEXT_MAX]
    if not text:
        return []
    found = await _by_id(documents, text)
    if found is None:
        found = await _by_reference(documents, text, providers)
        if customers:
            found = [
                *await _by_field(documents, "reference", text),
                *found,
                *await _by_field(documents, "customer", text),
                *await _by_card(documents, text, now),
            ]
    unique = {hit.payment.id: hit for hit in reversed(found) if merchant in (None, hit.payment.merchant)}
    return list(reversed(unique.values()))[:FOUND_MAX]


async def find_row(documents: Documents, payment_id: str) -> PaymentRow | None:
    """A moment behind the latest commit."""
    document = await documents.get(PAYMENTS.name, payment_id, tenant=DESK)
    return decode_row(document.body) if document else None


async def merchants(documents: Documents, *, limit: int = MERCHANTS_MAX) -> list[str]:
    """Every merchant with a payment, in order; the first `limit` of them."""
    found: list[str] = []
    while len(found) < limit:
        page = await documents.find(
            MERCHANTS.name, tenant=DESK, before=found[-1] if found else "", limit=MERCHANTS_AT_ONCE
        )
        found += [one.id for one in reversed(page)]
        if len(page) < MERCHANTS_AT_ONCE:
            break
    return found[:limit]


async def _by_id(documents: Documents, text: str) -> list[Hit] | None:
    """None if `text` is no id that we look up."""
    if ids.is_id(text, ids.PAYMENT):
        return await _rows(documents, [text], "payment")
    for prefix, collection, kind in (
        (ids.ATTEMPT, ATTEMPTS, "attempt"),
        (ids.REFUND, POINTERS, "refund"),
        (ids.DISPUTE, POINTERS, "dispute"),
    ):
        if ids.is_id(text, prefix):
            document = await documents.get(collection.name, text, tenant=DESK)
            return await _rows(documents, [decode_pointer(document.body).payment] if document else [], kind)
    for prefix, name, kind in ((ids.EVENT, EVENTS.name, "event"), (ids.JOURNAL, JOURNALS.name, "journal")):
        if ids.is_id(text, prefix):
            for merchant in await merchants(documents):
                document = await documents.get(name, text, tenant=merchant)
                if document is not None:
                    return await _rows(documents, [_payment_of(document, kind)], kind)
            return []
    return None


def _payment_of(document: Document, kind: str) -> str:
    return decode_event_pointer(document).aggregate if kind == "event" else str(document.fields["payment"])


async def _by_field(documents: Documents, field: str, text: str) -> list[Hit]:
    found = await documents.find(PAYMENTS.name, tenant=DESK, where={field: text}, limit=FOUND_MAX)
    return [Hit(decode_row(one.body), field) for one in found]


async def _by_reference(documents: Documents, text: str, providers: Sequence[str]) -> list[Hit]:
    located = [await locate(documents, provider, text) for provider in providers]
    return await _rows(documents, [one.payment for one in located if one], "provider reference")


async def _by_card(documents: Documents, text: str, now: Millis) -> list[Hit]:
    return [
        Hit(decode_row(one.body), "card, amount and day")
        for card in card_days(text, now)
        for one in await documents.find(PAYMENTS.name, tenant=DESK, where={"card": card}, limit=FOUND_MAX)
    ]


def card_days(text: str, now: Millis) -> list[str]:
    """What `last4 amount [currency] day` may mean: without a currency, an amount may have none, two or three decimals."""
    parts = _CARD.fullmatch(text)
    if parts is None:
        return []
    last4, whole, decimals, currency, day = parts["last4"], parts["whole"], parts["decimals"] or "", *parts.groups()[3:]
    day = {"today": utc_day(now), "yesterday": utc_day(now - DAY)}.get(day.lower(), day)
    amounts = sorted(set(_amounts(whole, decimals, (currency or "").upper())))
    return [card_day(last4=last4, amount=amount, day=day) for amount in amounts]


def _amounts(whole: str, decimals: str, currency: str) -> Iterator[int]:
    exponents = (EXPONENTS[currency],) if currency in EXPONENTS else (0, 2, 3)
    for exponent in exponents:
        if len(decimals) <= exponent:
            yield int(whole + decimals.ljust(exponent, "0"))


async def _rows(documents: Documents, payment_ids: Sequence[str], matched: str) -> list[Hit]:
    rows = [await find_row(documents, payment_id) for payment_id in payment_ids]
    return [Hit(row, matched) for row in rows if row is not None]


_CARD = re.compile(
    r"(?P<last4>\d{4})\s+(?P<whole>\d{1,12})(?:[.,](?P<decimals>\d{1,3}))?(?:\s*(?P<currency>[A-Za-z]{3}))?"
    r"\s+(?P<day>\d{4}-\d{2}-\d{2}|today|yesterday)",
    re.IGNORECASE,
)
