"""Finding deliveries and events."""

from __future__ import annotations

from typing import NamedTuple

from interlock.core.kernel import ids
from interlock.core.kernel.errors import NotFound
from interlock.core.kernel.events import Event
from interlock.core.webhooks.events import EVENTS, decode_pointer
from interlock.core.webhooks.model import Delivery, delivery_ids_of
from interlock.core.webhooks.ports import Webhooks
from interlock.core.webhooks.records import (
    BY_STATUS,
    BY_TENANT,
    decode_delivery,
    deliveries_partition,
    status_partition,
)
from interlock.core.webhooks.states import STATUS, DeliveryStatus

EXAMINED_MAX = 1_000
"""Deliveries looked at for one page; a filter that few of them pass gives a short page and the means to go on."""
_STEP = 200


class Wanted(NamedTuple):
    """Filters of a list of deliveries; None does not filter."""

    endpoint: str | None = None
    status: DeliveryStatus | None = None
    event: str | None = None

    def fits(self, delivery: Delivery) -> bool:
        return (
            (self.endpoint is None or delivery.endpoint == self.endpoint)
            and (self.status is None or STATUS[delivery.state] == self.status)
            and (self.event is None or delivery.event == self.event)
        )


class Found(NamedTuple):
    deliveries: list[Delivery]
    """Newest first."""
    next: str | None
    """Cursor to go on with in the direction asked for; None at the end."""


async def find_deliveries(
    w: Webhooks, tenant: str, wanted: Wanted, *, limit: int, after: str | None = None, before: str | None = None
) -> Found:
    """Up to `limit` deliveries behind `after` (older), or just newer than `before`, newest first."""
    if wanted.event is not None and not ids.is_id(wanted.event, ids.EVENT):
        return Found([], None)
    index, partition = BY_TENANT, tenant
    if wanted.status is not None and wanted.status != "delivered":
        index, partition = BY_STATUS, status_partition(tenant, wanted.status)
    low, high = delivery_ids_of(wanted.event) if wanted.event is not None else ("", "~")
    backwards = before is not None
    found: list[Delivery] = []
    cursor = max(before or low, low) if backwards else min(after or high, high)
    examined = 0
    while examined < EXAMINED_MAX:
        page = await w.store.query_index(
            index, partition, after=cursor or None, limit=_STEP, newest_first=not backwards
        )
        for item in page.items:
            delivery = decode_delivery(item)
            if not low < delivery.id < high:
                return _result(found, None, backwards)
            if len(found) == limit:
                return _result(found, cursor, backwards)
            examined += 1
            cursor = delivery.id
            if wanted.fits(delivery):
                found.append(delivery)
        if page.next is None:
            return _result(found, None, backwards)
    return _result(found, cursor, backwards)


async def find_delivery(w: Webhooks, tenant: str, delivery_id: str) -> Delivery:
    """Raises NotFound, also for another tenant's. May be a moment old: re-read it before changing it."""
    if ids.is_id(delivery_id, ids.DELIVERY):
        page = await w.store.query_index(BY_TENANT, tenant, upto=delivery_id, limit=1, newest_first=True)
        for item in page.items:
            delivery = decode_delivery(item)
            if delivery.id == delivery_id:
                return delivery
    raise NotFound("no such webhook delivery")


async def deliveries_of(w: Webhooks, tenant: str, aggregate: str) -> list[Delivery]:
    """Every delivery of one payment's events, to whichever endpoint, in order of event: for its timeline."""
    found: list[Delivery] = []
    after: str | None = None
    while True:
        page = await w.store.query(deliveries_partition(tenant, aggregate), after=after)
        found.extend(map(decode_delivery, page.items))
        if page.next is None:
            return sorted(found, key=lambda delivery: (delivery.version, delivery.endpoint))
        after = page.next


async def find_events(
    w: Webhooks,
    tenant: str,
    *,
    type: str | None,
    aggregate: str | None,
    limit: int,
    after: str | None = None,
    before: str | None = None,
) -> list[Event]:
    """Newest first; a moment behind the latest commit."""
    where = {name: value for name, value in (("type", type), ("aggregate", aggregate)) if value is not None}
    documents = await w.documents.find(EVENTS.name, tenant=tenant, where=where, after=after, before=before, limit=limit)
    pointers = [decode_pointer(document) for document in documents]
    events = [await read_event(w, tenant, pointer.aggregate, pointer.version) for pointer in pointers]
    return [event for event in events if event is not None]


async def find_event(w: Webhooks, tenant: str, event_id: str) -> Event:
    """Raises NotFound, also for another tenant's."""
    if ids.is_id(event_id, ids.EVENT):
        document = await w.documents.get(EVENTS.name, event_id, tenant=tenant)
        if document is not None:
            pointer = decode_pointer(document)
            event = await read_event(w, tenant, pointer.aggregate, pointer.version)
            if event is not None and event.id == event_id:
                return event
    raise NotFound("no such event")


async def read_event(w: Webhooks, tenant: str, aggregate: str, version: int) -> Event | None:
    """From its aggregate's history; None if there is none, or it is another tenant's."""
    history = await w.store.history(aggregate, after_version=version - 1, limit=1)
    return history[0] if history and history[0].version == version and history[0].tenant == tenant else None


def _result(found: list[Delivery], cursor: str | None, backwards: bool) -> Found:
    return Found(found[::-1] if backwards else found, cursor)
