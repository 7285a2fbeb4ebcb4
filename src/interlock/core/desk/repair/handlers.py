"""Asking for a repair, deciding about it, stopping it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from interlock.core.desk.bulk.handlers import audit_of, decided, faults_of_reason, stopped
from interlock.core.desk.bulk.states import Stage
from interlock.core.desk.repair.model import ITEMS_MAX, Action, Item, Repair
from interlock.core.desk.repair.ports import Repairs
from interlock.core.desk.repair.records import (
    REPAIR,
    counted,
    counts_of,
    head_write,
    load_repair,
    page_write,
    pages_of,
    tallies_of,
)
from interlock.core.kernel.errors import Fault, Invalid
from interlock.core.kernel.events import Event
from interlock.core.kernel.store import Put


async def ask_for_repair(r: Repairs, action: Action, items: Sequence[Item], *, reason: str, by: str) -> Repair:
    """Keep what was previewed for somebody else to approve. Nothing is done yet. Raises Invalid."""
    faults = []
    if not 1 <= len(items) <= ITEMS_MAX:
        faults.append(Fault("/items", "bad_number", f"a repair is of 1 to {ITEMS_MAX} payments"))
    faults += faults_of_reason(reason)
    if len({item.payment for item in items}) != len(items):
        faults.append(Fault("/items", "repeated", "each payment once"))
    if faults:
        raise Invalid(faults=tuple(faults))
    p = r.payments
    repair = Repair(
        id=p.ids.new(REPAIR),
        action=action,
        reason=reason.strip(),
        requested_by=by,
        requested_at=p.clock.now(),
        items=len(items),
    )
    pages = [page_write(repair.id, number, page) for number, page in enumerate(pages_of(items))]
    put, event = _audit(r, repair, by, "requested", {"items": len(items), "reason": repair.reason})
    await p.store.commit([head_write(repair), *pages, put], [event])
    return repair


async def decide_repair(r: Repairs, repair_id: str, *, by: str, approve: bool) -> Repair:
    """Approve or reject it. Raises Forbidden for the approval of who asked for it, Conflict when it is decided already."""
    repair, version = await load_repair(r.payments.store, repair_id)
    head = decided(repair, by=by, approve=approve, now=r.payments.clock.now())
    put, event = _audit(r, head, by, head.stage.value, {"items": head.items})
    await r.payments.store.commit([head_write(head, version), put], [event])
    return head


async def stop_repair(r: Repairs, repair_id: str, *, by: str) -> Repair:
    """No further item is begun. Safe to repeat. Raises Conflict when it is over."""
    repair, version = await load_repair(r.payments.store, repair_id)
    if repair.stage is Stage.STOPPED:
        return repair
    so_far = counted(repair, await tallies_of(r.payments.store, repair))
    head = replace(stopped(so_far, r.payments.clock.now()), lease_until=0)
    put, event = _audit(r, head, by, "stopped", {**counts_of(head), "left": head.left})
    await r.payments.store.commit([head_write(head, version), put], [event])
    return head


def _audit(
    r: Repairs, repair: Repair, by: str, verb: str, detail: Mapping[str, str | int | bool | None]
) -> tuple[Put, Event]:
    return audit_of(r.payments.ids, r.payments.clock.now(), repair, by, verb, {"action": repair.action, **detail})
