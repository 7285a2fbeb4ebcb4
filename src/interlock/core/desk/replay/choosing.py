"""What fits a replay, page by page from a cursor, oldest first: so that it can stop anywhere and go on from there.

A page looks at a bounded number of things, of which few or none may fit. A cursor stands behind what was looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from interlock.core.desk.figures.model import DESK, MERCHANTS
from interlock.core.desk.replay.model import Candidate, Kind, Wanted
from interlock.core.desk.replay.ports import Replays
from interlock.core.kernel import ids
from interlock.core.kernel.events import Event
from interlock.core.kernel.feed import START
from interlock.core.kernel.queue import DeadLetter
from interlock.core.kernel.store import Item
from interlock.core.webhooks.model import Delivery
from interlock.core.webhooks.records import (
    BY_STATUS,
    BY_TENANT,
    decode_delivery,
    deliveries_partition,
    status_partition,
)
from interlock.core.webhooks.states import STATUS

LOOKED_AT = 500
"""Things of one page."""
_BETWEEN = "\n"
"""Stands in neither a merchant's name nor an id."""
_BEFORE_ALL = "!"
"""Sorts before every merchant's name."""

Thing = Delivery | Event | DeadLetter


class Fit(NamedTuple):
    thing: Thing
    cursor: str
    """Behind this one."""


class Page(NamedTuple):
    fits: list[Fit]
    cursor: str
    """Behind everything that was looked at."""
    looked_at: int
    ended: bool


async def next_page(r: Replays, wanted: Wanted, cursor: str, *, limit: int) -> Page:
    """Up to `limit` things that fit, behind `cursor`; empty for the beginning."""
    if wanted.kind is Kind.DEAD_LETTERS:
        return await _letters(r, wanted, cursor, limit)
    if wanted.kind is Kind.EVENTS:
        return await (_feed(r, wanted, cursor, limit) if wanted.payment is None else _history(r, wanted, cursor, limit))
    if wanted.payment is not None:
        return await _deliveries_of_payment(r, wanted, wanted.payment, cursor, limit)
    return await _deliveries(r, wanted, cursor, limit)


async def _letters(r: Replays, wanted: Wanted, cursor: str, limit: int) -> Page:
    assert wanted.queue is not None
    letters = await r.queue.dead_letters(wanted.queue, limit=LOOKED_AT, after=cursor)
    looked = [(one, one.id, wanted.holds(one.died_at) and wanted.text in text_of(one)) for one in letters]
    return _page(looked, cursor, limit, ended=len(letters) < LOOKED_AT)


async def _feed(r: Replays, wanted: Wanted, cursor: str, limit: int) -> Page:
    records = await r.histories.read(after=cursor or START, limit=LOOKED_AT)
    looked = [(one.event, one.position, fits_event(wanted, one.event)) for one in records]
    return _page(looked, cursor, limit, ended=not records)


async def _history(r: Replays, wanted: Wanted, cursor: str, limit: int) -> Page:
    assert wanted.payment is not None
    events = await r.store.history(wanted.payment, after_version=int(cursor or "0"), limit=LOOKED_AT)
    looked = [(one, str(one.version), fits_event(wanted, one)) for one in events]
    return _page(looked, cursor, limit, ended=len(events) < LOOKED_AT)


async def _deliveries_of_payment(r: Replays, wanted: Wanted, payment: str, cursor: str, limit: int) -> Page:
    assert wanted.merchant is not None, "handlers have found out whose it is"
    partition = deliveries_partition(wanted.merchant, payment)
    found = await r.store.query(partition, after=cursor or None, limit=LOOKED_AT)
    looked = [_looked_at(wanted, item, item.key.sort) for item in found.items]
    return _page(looked, cursor, limit, ended=found.next is None)


async def _deliveries(r: Replays, wanted: Wanted, cursor: str, limit: int) -> Page:
    """Merchant after merchant, each one's in the order of their events. Those that arrived are in one index only."""
    merchant, _, behind = cursor.partition(_BETWEEN)
    if not merchant:
        first = await _merchant_after(r, wanted, "")
        if first is None:
            return Page([], cursor, 0, ended=True)
        merchant = first
    low, high = _bounds(wanted)
    index, partition = BY_TENANT, merchant
    if wanted.status is not None and wanted.status != "delivered":
        index, partition = BY_STATUS, status_partition(merchant, wanted.status)
    found = await r.store.query_index(index, partition, after=max(behind, low), upto=high, limit=LOOKED_AT)
    looked = [_looked_at(wanted, item, f"{merchant}{_BETWEEN}{item.indexes[index].sort}") for item in found.items]
    page = _page(looked, cursor, limit, ended=found.next is None)
    if not page.ended:
        return page
    following = await _merchant_after(r, wanted, merchant)
    if following is None:
        return page
    return page._replace(cursor=f"{following}{_BETWEEN}", ended=False)


async def _merchant_after(r: Replays, wanted: Wanted, merchant: str) -> str | None:
    """Every merchant with a payment, in order of their names; or the one that is wanted."""
    if wanted.merchant is not None:
        return None if merchant else wanted.merchant
    found = await r.documents.find(MERCHANTS.name, tenant=DESK, before=merchant or _BEFORE_ALL, limit=1)
    return found[0].id if found else None


def _bounds(wanted: Wanted) -> tuple[str, str]:
    """Between which ids the deliveries of that time stand: they sort by the time of their event."""
    return ids.format_id(ids.DELIVERY, wanted.since, 0), ids.format_id(ids.DELIVERY, wanted.before, 0)


def _looked_at(wanted: Wanted, item: Item, cursor: str) -> tuple[Delivery, str, bool]:
    delivery = decode_delivery(item)
    return delivery, cursor, fits_delivery(wanted, delivery)


def _page(looked: Sequence[tuple[Thing, str, bool]], cursor: str, limit: int, *, ended: bool) -> Page:
    fits: list[Fit] = []
    for count, (thing, behind, fitting) in enumerate(looked, 1):
        cursor = behind
        if fitting:
            fits.append(Fit(thing, behind))
            if len(fits) == limit and count < len(looked):
                return Page(fits, cursor, count, ended=False)
    return Page(fits, cursor, len(looked), ended)


def text_of(letter: DeadLetter) -> str:
    """The body as people read it; JSON is laid out."""
    try:
        return msgspec.json.format(letter.body, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return letter.body.decode("utf-8", "replace")


def fits_event(wanted: Wanted, event: Event) -> bool:
    return (
        wanted.holds(event.at)
        and wanted.merchant in (None, event.tenant)
        and wanted.type in (None, event.type)
        and wanted.payment in (None, event.aggregate)
    )


def fits_delivery(wanted: Wanted, delivery: Delivery) -> bool:
    low, high = _bounds(wanted)
    return (
        low <= delivery.id < high
        and wanted.endpoint in (None, delivery.endpoint)
        and wanted.type in (None, delivery.type)
        and wanted.payment in (None, delivery.aggregate)
        and wanted.status in (None, STATUS[delivery.state])
    )


def candidate_of(thing: Thing) -> Candidate:
    if isinstance(thing, Delivery):
        return Candidate(
            thing.id, thing.created_at, thing.tenant, thing.endpoint, thing.type, thing.aggregate, STATUS[thing.state]
        )
    if isinstance(thing, Event):
        payment = thing.aggregate if ids.is_id(thing.aggregate, ids.PAYMENT) else ""
        return Candidate(thing.id, thing.at, thing.tenant, type=thing.type, payment=payment)
    return Candidate(thing.id, thing.died_at, status="dead")
