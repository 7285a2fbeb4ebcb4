"""The table has what the features ask of it."""

from __future__ import annotations

import importlib
import pkgutil

import interlock.core
from interlock.backends.aws.table import INDEXES, definition
from interlock.core.kernel.store import Put
from tests.scenarios.world import World


def test_every_index_a_feature_names_is_declared():
    named = {
        value
        for found in pkgutil.walk_packages(interlock.core.__path__, "interlock.core.")
        if found.name.endswith(".records")
        for name, value in vars(importlib.import_module(found.name)).items()
        if name.endswith("_INDEX") or name.startswith("BY_")
    }
    assert named == set(INDEXES)


async def test_no_story_writes_to_an_index_that_is_not_declared():
    world = World()
    commit, used = world.store.commit, set[str]()

    async def watched(writes, events=()):
        used.update(name for write in writes if isinstance(write, Put) for name in write.indexes)
        await commit(writes, events)

    world.store.commit = watched
    await world.hook()
    await world.authorize(key="k1")
    await world.sale(key="k2")
    await world.run(60)
    assert used >= {"due", "webhook_deliveries", "webhook_deliveries_by_status"}
    assert used <= set(INDEXES)


def test_table_of_the_emulator_has_an_index_for_each_and_streams_what_is_written():
    made = definition("t")
    assert {one["IndexName"] for one in made["GlobalSecondaryIndexes"]} == {f"by-{name}" for name in INDEXES}
    assert made["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
