"""The audit trail as a chain: whatever is changed, taken out or added beside it shows."""

import random

import msgspec
import pytest

from interlock.backends.local.ids import SystemIds
from interlock.backends.memory.store import MemoryStore
from interlock.core.access.audit import audit_event, record_key
from interlock.core.access.audit_chain import HEAD, PARTITION, link, links, verify
from interlock.core.kernel.clock import utc_day
from interlock.core.kernel.store import Delete, Key, Put
from tests.clocks import ManualClock


async def trail(number: int = 6):
    clock = ManualClock()
    store = MemoryStore(clock)
    ids = SystemIds(clock, random_bits=random.Random(3).getrandbits)
    events = []
    for place in range(number):
        clock.advance(1)
        put, event = audit_event(
            ids, clock.now(), actor="ada", action="client.disabled", target=f"cli_{place}", tenant="~platform"
        )
        await store.commit([put], [event])
        events.append(event)
    return store, events


async def test_records_are_linked_in_order_and_the_chain_holds():
    store, events = await trail()
    await link(store, events)
    found = await verify(store)
    assert (found.links, found.breaks) == (6, ())
    assert [one.record async for one in links(store)] == [event.aggregate for event in events]


async def test_linking_twice_and_in_pieces_makes_the_same_chain():
    store, events = await trail()
    await link(store, events[:3])
    await link(store, events)
    await link(store, events[2:])
    assert (await verify(store)).links == 6
    other, same = await trail()
    await link(other, same)
    assert (await verify(store)).digest == (await verify(other)).digest


async def test_changed_record_is_found():
    store, events = await trail()
    await link(store, events)
    key = record_key("~platform", utc_day(events[2].at), events[2].aggregate)
    item = await store.get(key)
    await store.commit([Put(key, item.value.replace(b"ada", b"eve"), item.version)])
    (broken,) = (await verify(store)).breaks
    assert (broken.number, broken.record) == (3, events[2].aggregate)


async def test_record_that_was_taken_out_is_found():
    store, events = await trail()
    await link(store, events)
    key = record_key("~platform", utc_day(events[4].at), events[4].aggregate)
    await store.commit([Delete(key, 1)])
    assert [(one.number, one.why) for one in (await verify(store)).breaks] == [(5, "its record is gone")]


@pytest.mark.parametrize("number", [1, 3, 6])
async def test_link_that_was_taken_out_is_found(number):
    store, events = await trail()
    await link(store, events)
    await store.commit([Delete(Key(PARTITION, f"{number:015d}"), 1)])
    assert (await verify(store)).breaks


async def test_record_and_its_link_changed_together_are_found_by_the_next_one():
    store, events = await trail()
    await link(store, events)
    from interlock.core.access.audit_chain import Link, digest_of

    key = record_key("~platform", utc_day(events[2].at), events[2].aggregate)
    item = await store.get(key)
    forged = item.value.replace(b"ada", b"eve")
    before = [one async for one in links(store)]
    made = Link(3, before[2].record, "~platform", before[2].day, digest_of(before[1].digest, forged))
    await store.commit([Put(key, forged, item.version), Put(Key(PARTITION, f"{3:015d}"), msgspec.json.encode(made), 1)])
    assert [one.number for one in (await verify(store)).breaks] == [4]


async def test_end_that_was_cut_off_is_found_by_the_head():
    store, events = await trail()
    await link(store, events)
    await store.commit([Delete(Key(PARTITION, f"{6:015d}"), 1)])
    (broken,) = (await verify(store)).breaks
    assert "its head says 6" in broken.why


async def test_empty_trail_holds():
    store, _ = await trail(0)
    assert (await verify(store)).links == 0
    assert await store.get(HEAD) is None


class _Live:
    """A store that somebody else adds links to while it is read: `meanwhile` runs after each query."""

    def __init__(self, store, meanwhile):
        self._store, self._meanwhile = store, meanwhile

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def query(self, *given, **more):
        await self._meanwhile()
        return await self._store.query(*given, **more)


async def test_record_that_is_linked_during_the_reading_is_no_break():
    store, events = await trail()
    await link(store, events[:4])

    async def meanwhile():
        await link(store, events[4:5])

    found = await verify(_Live(store, meanwhile))
    assert (found.links, found.breaks) == (4, ())
    assert found.digest == [one.digest async for one in links(store)][3]


async def test_head_that_was_put_back_is_found_by_the_links_behind_it():
    store, events = await trail()
    await link(store, events[:4])
    before = await store.get(HEAD)
    await link(store, events)
    await store.commit([Put(HEAD, before.value, 6)])
    assert [one.number for one in (await verify(store)).breaks] == [5]
