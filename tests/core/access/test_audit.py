"""The audit trail: every record is there, once, by day, and cannot be written over."""

import msgspec
import pytest

from interlock.core.access.audit import AuditRecord, audit_event, list_audit
from interlock.core.kernel.errors import WriteConflict
from tests.core.access.world import make_world


def record(world, **changes):
    fields = {"actor": "ops", "action": "queue.redriven", "target": "webhooks", "tenant": "ten_a"} | changes
    return audit_event(world.access.ids, world.clock.now(), **fields)


async def test_record_is_listed_by_its_day_newest_first_and_only_for_its_tenant():
    world = await make_world()
    at = world.clock.now()
    for action, tenant in [("one.done", "ten_a"), ("two.done", "ten_a"), ("three.done", "ten_b")]:
        put, event = record(world, action=action, tenant=tenant, detail={"count": 3})
        await world.store.commit([put], [event])
        world.clock.advance(1)
    page = await list_audit(world.store, tenant="ten_a", day="2027-01-15")
    assert [(one.action, one.tenant, one.at, one.detail) for one in page.records] == [
        ("two.done", "ten_a", at + 1000, {"count": 3}),
        ("one.done", "ten_a", at, {"count": 3}),
    ]
    assert (await list_audit(world.store, tenant="ten_a", day="2027-01-16")).records == []


async def test_pages_hold_every_record_once():
    world = await make_world()
    for _ in range(5):
        put, event = record(world)
        await world.store.commit([put], [event])
    seen, after = [], None
    while True:
        page = await list_audit(world.store, tenant="ten_a", day="2027-01-15", after=after, limit=2)
        seen += [one.id for one in page.records]
        after = page.next
        if after is None:
            break
    assert len(seen) == len(set(seen)) == 5


async def test_record_cannot_be_written_over():
    world = await make_world()
    put, event = record(world)
    await world.store.commit([put], [event])
    _, other = record(world)
    with pytest.raises(WriteConflict):
        await world.store.commit([put], [other])


async def test_event_carries_the_record_for_operators_and_nothing_for_merchants():
    world = await make_world()
    put, event = record(world)
    assert (event.type, event.version, event.tenant, bytes(event.data)) == ("audit.recorded", 1, "ten_a", b"{}")
    assert msgspec.json.decode(event.facts, type=AuditRecord) == msgspec.json.decode(put.value, type=AuditRecord)
    assert event.aggregate == put.key.sort


async def test_records_share_no_item_and_no_aggregate():
    world = await make_world()
    (put, event), (other_put, other_event) = record(world), record(world)
    await world.store.commit([put, other_put], [event, other_event])
    assert put.key != other_put.key
    assert event.aggregate != other_event.aggregate
