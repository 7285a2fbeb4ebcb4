"""Approved work stands in the index of what is due, so that it is found behind any number of newer ones."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.core.desk.bulk.model import Bulk
from interlock.core.desk.bulk.states import Stage
from interlock.core.kernel.store import Key, Store
from interlock.core.payments.records import DUE_INDEX

AT_ONCE = 100


def due_place(head: Bulk) -> Mapping[str, Key]:
    """For the write of a head: the longest asked for comes first."""
    if head.stage is not Stage.APPROVED:
        return {}
    return {DUE_INDEX: Key(_partition(head.NOUN), f"{head.requested_at:014d}/{head.id}")}


async def approved(store: Store, noun: str) -> list[str]:
    """Ids of all that is to be carried out. The index may lag: their heads say."""
    found: list[str] = []
    after = None
    while True:
        page = await store.query_index(DUE_INDEX, _partition(noun), after=after, limit=AT_ONCE)
        found += [item.key.sort for item in page.items]
        if (after := page.next) is None:
            return found


def _partition(noun: str) -> str:
    return f"due/{noun}"
