"""Places far ahead in time: out of their index until they are near, and never forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.backends.aws.parking import EARLY, FAR, Parked, Parking, parked_in
from interlock.backends.aws.table import DRAWERS
from interlock.core.kernel.store import Key, Put
from tests.backends.aws.test_drawers import OTHER, PAYMENT, event
from tests.clocks import ManualClock
from tests.contracts.on_aws import dynamo_stores

HERE = "due/1"


def place(at: int) -> dict[str, Key]:
    return {"due": Key(HERE, f"{at:014d}/ten_a/pay_1")}


async def records_of(feed: Any) -> list[Any]:
    """What the stream says, as whoever follows it sees it."""
    (shard,) = await feed._shards()
    answer = await feed._records(shard["ShardId"], "", await feed._iterator(shard["ShardId"], ""), 1_000)
    return list(answer["Records"])


async def parked_of(feed: Any) -> list[Parked]:
    return [found for record in await records_of(feed) if (found := parked_in(record)) is not None]


@pytest.mark.aws
@pytest.mark.parametrize("key", [PAYMENT, OTHER], ids=["in a drawer", "in a row"])
async def test_place_far_ahead_is_known_to_its_item_and_not_to_its_index(aws: str, key: Key):
    clock = ManualClock()
    at = clock.now() + FAR + 1
    async with dynamo_stores(aws, clock, drawers=DRAWERS, parking=Parking(clock.now)) as (store, feed, other):
        await store.commit([Put(key, b"1", indexes=place(at))])
        item = await other.get(key)
        assert item is not None and item.indexes == place(at)
        assert (await store.query_index("due", HERE)).items == []
        (found,) = await parked_of(feed)
        assert found.at == at - EARLY
        assert await other.wake(found)
        assert (await store.query_index("due", HERE)).items == [item]
        assert not await store.wake(found), "it is in its index"


@pytest.mark.aws
async def test_place_that_is_near_stands_in_its_index_at_once(aws: str):
    clock = ManualClock()
    async with dynamo_stores(aws, clock, drawers=DRAWERS, parking=Parking(clock.now)) as (store, feed, _):
        await store.commit([Put(PAYMENT, b"1", indexes=place(clock.now() + FAR))])
        await store.commit([Put(OTHER, b"1", indexes={"due": Key(HERE, "no instant")})])
        assert [item.key for item in (await store.query_index("due", HERE)).items] == [PAYMENT, OTHER]
        assert await parked_of(feed) == []


@pytest.mark.aws
async def test_row_written_since_it_was_parked_is_left_as_it_is(aws: str):
    clock = ManualClock()
    async with dynamo_stores(aws, clock, drawers=DRAWERS, parking=Parking(clock.now)) as (store, feed, other):
        await store.commit([Put(PAYMENT, b"1", indexes=place(clock.now() + 2 * FAR))])
        (found,) = await parked_of(feed)
        await other.commit([Put(PAYMENT, b"2", 1)])
        assert not await store.wake(found)
        assert (await store.query_index("due", HERE)).items == []
        assert not await store.wake(found._replace(pk="e/pay_9")), "a row that is not there"


@pytest.mark.aws
async def test_waking_tells_no_event_twice_and_the_next_commit_goes_through(aws: str):
    clock = ManualClock()
    async with dynamo_stores(aws, clock, drawers=DRAWERS, parking=Parking(clock.now)) as (store, feed, _):
        await store.commit([Put(PAYMENT, b"1", indexes=place(clock.now() + 2 * FAR))], [event(1)])
        (found,) = await parked_of(feed)
        assert await store.wake(found)
        await store.commit([Put(PAYMENT, b"2", 1)], [event(2)])
        assert [one.event.version for one in await feed.read(after="")] == [1, 2]
        assert (await store.query_index("due", HERE)).items == []
