"""The Feed port's promises, over every adapter."""

from __future__ import annotations

import asyncio

import pytest

from interlock.core.kernel.errors import Invalid, WriteConflict
from interlock.core.kernel.events import Event
from interlock.core.kernel.feed import START, Feed, FeedRecord
from interlock.core.kernel.store import Key, Put, Store
from tests.clocks import ManualClock
from tests.contracts.conftest import Storage
from tests.contracts.test_store import event, outcomes


async def read_all(feed: Feed, *, after: str = START, limit: int = 100) -> list[FeedRecord]:
    found: list[FeedRecord] = []
    while records := await feed.read(after=found[-1].position if found else after, limit=limit):
        assert len(records) <= limit
        found += records
    return found


def named(records: list[FeedRecord]) -> list[tuple[str, int]]:
    return [(record.event.aggregate, record.event.version) for record in records]


async def record(store: Store, *events: Event) -> None:
    for one in events:
        await store.commit([], [one])


# -- read -----------------------------------------------------------------------------------------------------------


async def test_feed_of_an_empty_store_is_empty(feed: Feed) -> None:
    assert await feed.read(after=START) == []


async def test_every_committed_event_arrives_whole_and_in_the_order_of_commits(store: Store, feed: Feed) -> None:
    sent = [
        event(1),
        event(1, aggregate="pay_0", data=b'{"payment":{}}'),
        event(2),
        event(3, aggregate="pay_9"),
        event(3),
    ]
    await record(store, *sent)
    assert [one.event for one in await feed.read(after=START)] == sent


async def test_events_of_one_commit_arrive_in_their_order(store: Store, feed: Feed) -> None:
    await store.commit(
        [Put(Key("p", "a"), b"")], [event(2, aggregate="b"), event(1, aggregate="b"), event(1, aggregate="a")]
    )
    assert named(await feed.read(after=START)) == [("b", 2), ("b", 1), ("a", 1)]


async def test_events_of_a_refused_commit_never_arrive(store: Store, feed: Feed) -> None:
    await store.commit([Put(Key("p", "a"), b"")], [event(1)])
    results = await outcomes(
        store.commit([Put(Key("p", "b"), b"")], [event(2)]),
        store.commit([Put(Key("p", "c"), b""), Put(Key("p", "a"), b"")], [event(3)]),
        store.commit([Put(Key("p", "d"), b"")], [event(4), event(1)]),
        store.commit([Put(Key("p", "e"), b"")], [event(5)]),
    )
    assert [type(result) for result in results] == [type(None), WriteConflict, WriteConflict, type(None)]
    assert named(await read_all(feed)) == [("pay_1", 1), ("pay_1", 2), ("pay_1", 5)]


async def test_commit_without_events_adds_nothing(store: Store, feed: Feed) -> None:
    await store.commit([Put(Key("p", "a"), b"")])
    assert await feed.read(after=START) == []


async def test_event_is_there_once_its_commit_returned_whoever_committed(storage: Storage) -> None:
    await storage.other_store.commit([], [event(1)])
    assert named(await storage.feed.read(after=START)) == [("pay_1", 1)]


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 11, 1000])
async def test_reading_on_from_each_position_passes_every_event_exactly_once(
    store: Store, feed: Feed, limit: int
) -> None:
    await record(store, *(event(version) for version in range(1, 11)))
    assert named(await read_all(feed, limit=limit)) == [("pay_1", version) for version in range(1, 11)]


async def test_each_position_leads_to_what_is_behind_it_however_often_it_is_used(store: Store, feed: Feed) -> None:
    await record(store, *(event(version) for version in range(1, 13)))
    records = await read_all(feed)
    for place, one in enumerate(records):
        for _ in range(2):
            assert await read_all(feed, after=one.position) == records[place + 1 :]
    assert await read_all(feed) == records


async def test_reader_at_the_end_finds_what_is_committed_later(store: Store, feed: Feed) -> None:
    await record(store, event(1))
    (first,) = await feed.read(after=START)
    assert await feed.read(after=first.position) == []
    await record(store, event(2))
    assert named(await feed.read(after=first.position)) == [("pay_1", 2)]


async def test_reader_following_concurrent_writers_misses_and_repeats_nothing(
    storage: Storage, clock: ManualClock
) -> None:
    async def write(store: Store, aggregate: str) -> None:
        for version in range(1, 21):
            if version % 5 == 0:
                with pytest.raises(WriteConflict):
                    await store.commit(
                        [Put(Key("p", aggregate), b"", expected=99)], [event(version, aggregate=aggregate)]
                    )
            await store.commit([], [event(version, aggregate=aggregate)])
            await clock.sleep(0)

    async def follow() -> list[FeedRecord]:
        found: list[FeedRecord] = []
        while len(found) < 120:
            found += await storage.feed.read(after=found[-1].position if found else START, limit=7)
            await clock.sleep(0)
        return found

    follower = asyncio.create_task(follow())
    stores = [storage.store, storage.other_store]
    await asyncio.gather(*(write(stores[n % 2], f"pay_{n}") for n in range(6)))
    found = named(await follower)
    for n in range(6):
        assert [version for aggregate, version in found if aggregate == f"pay_{n}"] == list(range(1, 21))
    assert len(found) == 120
    assert named(await read_all(storage.feed)) == found


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_limit_out_of_range_is_invalid(feed: Feed, limit: int) -> None:
    with pytest.raises(Invalid):
        await feed.read(after=START, limit=limit)


@pytest.mark.parametrize("position", ["x", "-1", "1e3", " ", "٣" * 18, "9" * 40, "\ud800", "0x10", "1.0"])
async def test_position_that_is_none_is_invalid(feed: Feed, position: str) -> None:
    with pytest.raises(Invalid):
        await feed.read(after=position)
    with pytest.raises(Invalid):
        await feed.wait(after=position, timeout_s=1)


# -- wait -----------------------------------------------------------------------------------------------------------


async def test_wait_for_what_is_already_there_returns_at_once(store: Store, feed: Feed, clock: ManualClock) -> None:
    await record(store, event(1))
    assert await feed.wait(after=START, timeout_s=0) is True
    assert await feed.wait(after=START, timeout_s=60) is True
    assert clock.sleeping == 0


async def test_wait_with_no_time_and_nothing_new_is_false(store: Store, feed: Feed) -> None:
    await record(store, event(1))
    (first,) = await feed.read(after=START)
    assert await feed.wait(after=first.position, timeout_s=0) is False


async def test_wait_ends_with_false_when_its_time_is_over_and_not_before(feed: Feed, clock: ManualClock) -> None:
    waiting = asyncio.create_task(feed.wait(after=START, timeout_s=5))  # type: ignore[arg-type]
    await clock.run_for(4.9)
    assert not waiting.done()
    await clock.run_for(0.2)
    assert waiting.done() and waiting.result() is False
    assert clock.sleeping == 0


async def test_wait_is_woken_by_a_commit_without_time_passing(storage: Storage, clock: ManualClock) -> None:
    """But for what a stream needs to bring it."""
    waiting = [asyncio.create_task(storage.feed.wait(after=START, timeout_s=5)) for _ in range(3)]  # type: ignore[arg-type]
    await clock.settle()
    await record(storage.store, event(1))
    await clock.run_for(storage.notices_s)
    assert [task.done() and task.result() for task in waiting] == [True, True, True]
    assert clock.sleeping == 0


async def test_wait_behind_a_position_is_not_ended_by_older_events(storage: Storage, clock: ManualClock) -> None:
    store, feed = storage.store, storage.feed
    await record(store, event(1), event(2))
    last = (await feed.read(after=START))[-1].position
    waiting = asyncio.create_task(feed.wait(after=last, timeout_s=60))  # type: ignore[arg-type]
    await store.commit([Put(Key("p", "a"), b"")])
    await clock.run_for(1)
    assert not waiting.done()
    await record(store, event(3))
    await clock.run_for(storage.notices_s)
    assert waiting.done() and waiting.result() is True


async def test_wait_notices_what_somebody_else_committed(storage: Storage, clock: ManualClock) -> None:
    waiting = asyncio.create_task(storage.feed.wait(after=START, timeout_s=60))  # type: ignore[arg-type]
    await clock.settle()
    await storage.other_store.commit([], [event(1)])
    await clock.run_for(1)
    assert waiting.done() and waiting.result() is True


async def test_cancelled_wait_leaves_nothing_behind(store: Store, feed: Feed, clock: ManualClock) -> None:
    waiting = asyncio.create_task(feed.wait(after=START, timeout_s=60))  # type: ignore[arg-type]
    await clock.settle()
    waiting.cancel()
    await clock.settle()
    assert clock.sleeping == 0
    await record(store, event(1))
    assert await feed.wait(after=START, timeout_s=0) is True
