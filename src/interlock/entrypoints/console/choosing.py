"""Which payments a repair is for: named one by one, at risk, or fitting a filter. What is not looked at is said."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from interlock.core.desk.explain.search import find_row
from interlock.core.desk.figures.model import PaymentRow
from interlock.core.desk.repair.model import ITEMS_MAX, Item
from interlock.core.desk.repair.planning import as_seen
from interlock.core.desk.risk.handlers import at_risk, matching
from interlock.core.kernel.documents import Documents
from interlock.core.kernel.errors import Fault, Invalid
from interlock.core.kernel.ids import PAYMENT, id_pattern
from interlock.entrypoints.console.desk import Desk
from interlock.entrypoints.console.pages import Asked
from interlock.entrypoints.console.risk_pages import filter_of

PREVIEWED_MAX = 2_000
UNKNOWN_CHARS_MAX = 60
LISTED_CHARS_MAX = 100_000
"""As many ids as a repair takes, each with its version and amount."""
_PREVIEWED = re.compile(rf"({id_pattern(PAYMENT)}):(\d{{1,9}}):(\d{{1,15}})", re.ASCII)


class Chosen(NamedTuple):
    rows: Sequence[PaymentRow]
    complete: bool
    """False: there are more, which were not looked at."""
    unknown: Sequence[str] = ()
    """Names that no payment has."""

    async def each(self) -> AsyncIterator[PaymentRow]:
        for row in self.rows:
            yield row


async def chosen(desk: Desk, asked: Asked, ids: str) -> Chosen:
    documents = desk.platform.storage.documents
    if ids:
        return await _named(documents, ids)
    if asked.query.get("risk"):
        return await _at_risk(desk, asked)
    found, complete = await matching(documents, filter_of(asked), limit=PREVIEWED_MAX)
    return Chosen(found, complete)


async def _named(documents: Documents, text: str) -> Chosen:
    names = list(dict.fromkeys(text.replace(",", " ").split()))
    rows, unknown = [], []
    for name in names[:PREVIEWED_MAX]:
        row = await find_row(documents, name)
        if row is None:
            unknown.append(name[:UNKNOWN_CHARS_MAX])
        else:
            rows.append(row)
    return Chosen(rows, len(names) <= PREVIEWED_MAX, unknown)


async def _at_risk(desk: Desk, asked: Asked) -> Chosen:
    documents = desk.platform.storage.documents
    every = await at_risk(documents, desk.platform.webhooks, asked.now)
    kind, merchant = asked.query["risk"], asked.query.get("merchant")
    wanted = dict.fromkeys(
        one.payment
        for one in every.risks
        if one.payment and kind in ("all", one.kind) and merchant in (None, one.merchant)
    )
    rows = [await find_row(documents, payment) for payment in list(wanted)[:PREVIEWED_MAX]]
    known = [row for row in rows if row is not None]
    return Chosen(known, every.complete and len(wanted) <= PREVIEWED_MAX)


async def previewed(desk: Desk, text: str) -> list[Item]:
    """Items as a preview showed them, from the `payment:version:amount` of each. Raises Invalid.

    They are not planned again: what has changed since is skipped when its turn comes, with the reason.
    """
    names = text.split()
    if len(names) > ITEMS_MAX:
        raise Invalid(faults=(Fault("/form/payments", "too_many", f"a repair is of 1 to {ITEMS_MAX} payments"),))
    items = []
    for name in names:
        found = _PREVIEWED.fullmatch(name)
        row = await find_row(desk.platform.storage.documents, found[1]) if found else None
        if found is None or row is None:
            detail = f"{name[:UNKNOWN_CHARS_MAX]} is no payment of a preview"
            raise Invalid(faults=(Fault("/form/payments", "malformed", detail),))
        items.append(as_seen(row, version=int(found[2]), amount=int(found[3])))
    return items
