"""The switch, and what a test may do behind the platform's back, on whatever the worlds stand."""

import pytest

from interlock.core.kernel.events import decode_event, encode_event
from interlock.core.kernel.store import Delete, Key, Put
from tests.scenarios.backing import KINDS, SWITCH, kind_in
from tests.scenarios.conftest import KIND
from tests.scenarios.world import MINUTE, World

THERE = Key("tenants/ten_1/things", "one")


def test_switch_that_is_not_set_means_memory():
    assert kind_in({}) == kind_in({SWITCH: ""}) == "memory"


@pytest.mark.parametrize("kind", KINDS)
def test_switch_names_what_the_worlds_stand_on(kind):
    assert kind_in({SWITCH: kind}) == kind


def test_switch_with_a_word_that_names_nothing_is_refused_by_all_that_would_do():
    with pytest.raises(ValueError, match="INTERLOCK_SCENARIOS_ON is one of memory, sqlite, aws, not 'postgres'"):
        kind_in({SWITCH: "postgres"})


async def test_world_says_what_it_stands_on_and_its_adapters_are_of_that_kind():
    world = World()
    await world.sale()
    assert world.backing.kind == KIND
    await world.run(1)
    for adapter in world.backing.adapters:
        assert type(adapter).__module__.startswith(f"interlock.backends.{KIND}."), adapter


async def test_items_are_what_the_store_returns_through_writes_and_deletes():
    world = World()
    await world.store.commit([Put(THERE, b"1", indexes={"due": Key("somebody", "5")}, expires_at=7)])
    await world.store.commit([Put(THERE, b"2", 1)])
    assert world.items[THERE] == await world.store.get(THERE)
    await world.backing.assert_true()
    await world.store.commit([Delete(THERE, 2)])
    assert THERE not in world.items
    await world.store.commit([Put(THERE, b"3")])
    assert world.items[THERE] == await world.store.get(THERE)
    await world.backing.assert_true()


async def test_what_was_overwritten_and_removed_is_read_from_the_store():
    world = World()
    payment_id = await world.sale()
    for key in [key for key in world.items if key.sort in ("payment", "record")]:
        item = world.items[key]._replace(value=b"other", version=9)
        await world.backing.overwrite(item)
        assert await world.store.get(key) == item == world.items[key]
        await world.backing.remove(key)
        assert await world.store.get(key) is None
        assert key not in world.items
    assert len(await world.store.history(payment_id)) == 2, "the events stay"


async def test_event_that_was_rewritten_is_read_from_the_store_and_is_no_news():
    world = World()
    payment_id = await world.authorize()
    await world.act(payment_id, "capture")
    await world.run(MINUTE)
    published = len(world.bus.published)
    for event in await world.store.history(payment_id):
        changed = decode_event(encode_event(event).replace(b'"amount":1000', b'"amount":1001'))
        assert changed != event
        await world.backing.rewrite_event(changed)
        assert changed in await world.store.history(payment_id)
    await world.run(MINUTE)
    assert len(world.bus.published) == published
