"""An aggregate's item and events in one row: the same answers as from rows of their own, whoever else writes."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.backends.aws.drawers import FULL_BYTES, Change, Drawer, changed, drawer_in, news_in
from interlock.backends.aws.packing import pack, unpack
from interlock.backends.aws.table import DRAWERS
from interlock.backends.memory.store import MemoryStore
from interlock.core.kernel.errors import StoreUnavailable
from interlock.core.kernel.events import Event, encode_event
from interlock.core.kernel.feed import START
from interlock.core.kernel.store import VALUE_BYTES_MAX, Check, Delete, Key, Put, Write
from tests.clocks import ManualClock
from tests.contracts.on_aws import dynamo_stores
from tests.contracts.test_store_properties import committed

PAYMENT, BESIDE, OTHER = Key("ten_a/pay/pay_1", "payment"), Key("ten_a/pay/pay_1", "notes"), Key("p", "a")
SAME_ID = Key("ten_b/pay/pay_1", "payment")


def noise(size: int, seed: int = 1) -> bytes:
    """What does not get smaller."""
    return random.Random(seed).randbytes(size)


def event(version: int, *, aggregate: str = "pay_1", size: int = 0) -> Event:
    return Event(
        id=f"evt_{aggregate}_{version}",
        type="payment.created",
        tenant="ten_a",
        aggregate=aggregate,
        version=version,
        at=version,
        data=msgspec.Raw(msgspec.json.encode({"noise": noise(size, version).hex()})),
    )


def body(version: int, size: int = 0) -> tuple[int, bytes]:
    return version, encode_event(event(version, size=size))


# -- one drawer


def test_drawer_written_and_read_is_the_same():
    put = Put(PAYMENT, b"value", indexes={"due": Key("due/1", "7")}, expires_at=9)
    outcome = changed(Drawer("pay_1"), Change("pay_1", put, (body(1), body(2))), token="c1")
    assert drawer_in(outcome.row, ("due",)) == outcome.after
    assert outcome.after.item is not None
    assert (outcome.after.item.key, outcome.after.item.version) == (PAYMENT, 1)
    assert "ttl" not in outcome.row
    assert news_in(outcome.row) == [body(1)[1], body(2)[1]]


def test_write_without_events_is_no_news():
    first = changed(Drawer("pay_1"), Change("pay_1", Put(PAYMENT, b"1"), (body(1),)), token="c1").after
    second = changed(first, Change("pay_1", Put(PAYMENT, b"2", 1), ()), token="c2")
    assert news_in(second.row) == []
    assert second.after.events == dict([body(1)])


def test_full_drawer_gives_its_oldest_events_away_and_keeps_the_new_one():
    drawer = changed(Drawer("pay_1"), Change("pay_1", Put(PAYMENT, b"1"), (body(1, 450),)), token="c1").after
    drawer = changed(drawer, Change("pay_1", Put(PAYMENT, b"2", 1), (body(2, 450),)), token="c2").after
    outcome = changed(drawer, Change("pay_1", Put(PAYMENT, b"3", 2), (body(3, 1_000),)), token="c3")
    assert [version for version, _ in outcome.moved] == [1, 2]
    assert news_in(outcome.row) == [body(3, 1_000)[1]]
    assert outcome.after.last == 3
    assert len(outcome.row["z"]["B"]) <= FULL_BYTES


def test_event_too_large_to_stand_beside_its_item_stands_apart_and_is_still_news():
    put = Put(PAYMENT, noise(VALUE_BYTES_MAX))
    outcome = changed(Drawer("pay_1"), Change("pay_1", put, (body(1, 2_000),)), token="c1")
    assert outcome.apart == [body(1, 2_000)]
    assert (news_in(outcome.row), outcome.after.last) == ([], 1)


def test_payment_and_its_two_events_take_less_than_a_kilobyte():
    samples = (event(1), event(2))
    value = b'{"id":"pay_1","state":"succeeded"}'
    change = Change("pay_1", Put(PAYMENT, value), tuple((one.version, encode_event(one)) for one in samples))
    assert len(changed(Drawer("pay_1"), change, token="c").row["z"]["B"]) < 1_000


# -- packing


@given(st.binary(max_size=2_000))
def test_packed_content_comes_back(content: bytes):
    assert unpack(pack(content)) == content


@pytest.mark.parametrize("packed", [b"", b"\xff123"])
def test_what_a_later_release_packed_is_refused_and_the_error_says_what_to_do(packed: bytes):
    with pytest.raises(StoreUnavailable, match="upgrade"):
        unpack(packed)


# -- the whole store

VERSIONS = st.sampled_from([0, 0, 1, 1, 2, 3, 4])
KEYS = st.sampled_from([PAYMENT, PAYMENT, PAYMENT, BESIDE, OTHER])
WRITES = st.one_of(
    st.builds(
        lambda key, size, expected, due: Put(key, noise(size), expected, {"due": Key("due/1", due)} if due else {}),
        KEYS,
        st.sampled_from([3, 3, 300, 3_000]),
        VERSIONS,
        st.sampled_from(["", "a", "b"]),
    ),
    st.builds(Delete, KEYS, VERSIONS),
    st.builds(Check, KEYS, VERSIONS),
)
EVENTS = st.builds(
    lambda aggregate, version, size: event(version, aggregate=aggregate, size=size),
    st.sampled_from(["pay_1", "pay_1", "pay_2", "whe_1"]),
    st.integers(1, 8),
    st.sampled_from([0, 0, 500]),
)
# An event that is twice in one commit is refused before anything is asked, so what else is wrong is not named.
COMMITS = st.lists(
    st.tuples(
        st.booleans(),
        st.lists(WRITES, max_size=3),
        st.lists(EVENTS, max_size=2, unique_by=lambda one: (one.aggregate, one.version)),
    ),
    min_size=1,
    max_size=15,
)


async def play(endpoint: str, commits: list[tuple[bool, list[Write], list[Event]]]) -> None:
    clock = ManualClock()
    memory = MemoryStore(clock)
    async with dynamo_stores(endpoint, clock, drawers=DRAWERS) as (store, feed, other):
        for is_other, writes, events in commits:
            one: Any = other if is_other else store
            assert named(await committed(one, [(writes, events)])) == named(await committed(memory, [(writes, events)]))
        for key in (PAYMENT, SAME_ID, BESIDE, OTHER):
            assert await store.get(key) == await memory.get(key)
        for asked in (
            {},
            {"limit": 1},
            {"after": "notes"},
            {"prefix": "p"},
            {"newest_first": True, "after": "payment"},
        ):
            found = await other.query(PAYMENT.partition, **asked)
            assert found == await memory.query(PAYMENT.partition, **asked)
        assert await store.query_index("due", "due/1") == await memory.query_index("due", "due/1")
        for aggregate in ("pay_1", "pay_2", "whe_1"):
            for asked in ({}, {"after_version": 2}, {"limit": 1}, {"limit": 2, "after_version": 1}):
                assert await other.history(aggregate, **asked) == await memory.history(aggregate, **asked)
        fed = [record.event for record in await feed.read(after=START, limit=1_000)]
        told = [record.event for record in await memory.read(after=START, limit=1_000)]
        for aggregate in ("pay_1", "pay_2", "whe_1"):
            assert in_order(aggregate, fed) == in_order(aggregate, told)
        assert await one_by_one(feed) == fed


def named(answers: list[Any]) -> list[Any]:
    """Of several events that are taken, the contract does not say which is named."""
    return [(kind, ("event",) if key and key[0] == "event" else key) for kind, key in answers]


def in_order(aggregate: str, events: list[Event]) -> tuple[list[Event], list[Event]]:
    """Those that went on, and those that came after a higher version: such a row stands apart, and a stream does not order
    the rows of one transaction. No payment writes one."""
    onward, behind = [], []
    for one in (event for event in events if event.aggregate == aggregate):
        (behind if onward and one.version < onward[-1].version else onward).append(one)
    return onward, behind


async def one_by_one(feed: Any) -> list[Event]:
    found, at = [], START
    while records := await feed.read(after=at, limit=1):
        (record,) = records
        found.append(record.event)
        at = record.position
    return found


@pytest.mark.aws
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(commits=COMMITS)
def test_any_run_of_commits_by_two_processes_gives_the_answers_of_the_store_in_memory(aws: str, commits: Any):
    asyncio.run(play(aws, commits))


@pytest.mark.aws
async def test_same_id_of_another_tenant_is_neither_read_nor_written(aws: str):
    async with dynamo_stores(aws, ManualClock(), drawers=DRAWERS) as (store, _, other):
        await store.commit([Put(PAYMENT, b"theirs")], [event(1)])
        assert await other.get(SAME_ID) is None
        assert (await committed(other, [([Put(SAME_ID, b"ours")], [])]))[0] != (type(None), None)
        await other.commit([Check(SAME_ID, 0), Put(OTHER, b"")])
        item = await store.get(PAYMENT)
        assert item is not None and item.value == b"theirs"


@pytest.mark.aws
async def test_of_many_writers_of_one_drawer_each_wins_once(aws: str):
    async with dynamo_stores(aws, ManualClock(), drawers=DRAWERS) as (store, feed, other):
        await asyncio.gather(*((store, other)[n % 2].commit([], [event(n)]) for n in range(1, 9)))
        assert [one.version for one in await store.history("pay_1")] == list(range(1, 9))
        assert sorted(one.event.version for one in await feed.read(after=START)) == list(range(1, 9))
