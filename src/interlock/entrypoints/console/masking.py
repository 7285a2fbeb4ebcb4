"""What a role may not see is not there: neither on pages nor in what is taken away from them."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from interlock.core.desk.explain.model import Explained
from interlock.core.desk.figures.model import PaymentRow
from interlock.core.desk.operators.handlers import SignedIn
from interlock.core.desk.operators.roles import Permission
from interlock.core.payments.timeline import TimelineEntry

MASK = "•••"


def masked(row: PaymentRow, who: SignedIn) -> PaymentRow:
    """Without customer and reference, for who may not see customers. What was not there stays so."""
    if who.may(Permission.SEE_CUSTOMERS):
        return row
    return replace(
        row,
        customer=MASK if row.customer else None,
        reference=MASK if row.reference else None,
        last4=MASK if row.last4 else None,
        bin=MASK if row.bin else None,
    )


def masked_story(story: Explained, who: SignedIn) -> Explained:
    """Without what providers were told and what endpoints answered, for who may not see customers: both may speak of them."""
    if who.may(Permission.SEE_CUSTOMERS):
        return story
    return replace(story, entries=[_masked_entry(entry) for entry in story.entries])


def _masked_entry(entry: TimelineEntry) -> TimelineEntry:
    exchange, delivery = entry.exchange, entry.delivery
    if exchange is not None:
        exchange = replace(exchange, request=exchange.request and MASK, reply=exchange.reply and MASK)
    if delivery is not None:
        attempts: list[dict[str, Any]] = delivery["attempts"]
        delivery = delivery | {"attempts": [one | {"excerpt": MASK} for one in attempts]}
    return replace(entry, exchange=exchange, delivery=delivery)
