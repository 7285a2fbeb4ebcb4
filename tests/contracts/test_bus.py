"""The Bus port's promises, over every adapter: publishing, receiving, committing, sharing partitions, lag, retention."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple, Protocol

import pytest

from interlock.backends.memory.bus import MemoryBus
from interlock.backends.sqlite import bus as sqlite_bus
from interlock.backends.sqlite.bus import SqliteBus
from interlock.backends.sqlite.database import Database
from interlock.core.kernel.bus import Bus, BusMessage, BusRecord, Subscription
from interlock.core.kernel.clock import Millis
from tests.clocks import ManualClock
from tests.contracts.on_kafka import kafka_buses

TOPIC, GROUP = "events", "webhooks"
LEASE_S = 30.0


class PrunableBus(Bus, Protocol):
    async def prune(self, *, before: Millis) -> int: ...


class Buses(NamedTuple):
    """Two of them on the same topics, as two processes or two parts of one would have."""

    bus: Bus
    other: Bus


class PrunableBuses(NamedTuple):
    bus: PrunableBus
    other: PrunableBus


@asynccontextmanager
async def local_buses(kind: str, folder: Path, clock: ManualClock) -> AsyncIterator[PrunableBuses]:
    if kind == "memory":
        memory = MemoryBus(clock, member_lease_s=LEASE_S)
        yield PrunableBuses(memory, memory)
        return
    databases = [Database.open(folder / "b.db", schemas=[sqlite_bus.SCHEMA], clock=clock) for _ in range(2)]
    yield PrunableBuses(*(SqliteBus(database, clock, member_lease_s=LEASE_S) for database in databases))
    for database in databases:
        await database.close()


@pytest.fixture(
    params=[
        "memory",
        "sqlite",
        pytest.param("kafka", marks=[pytest.mark.aws, pytest.mark.timeout(900), pytest.mark.xdist_group("kafka")]),
    ]
)
async def buses(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Buses]:
    if request.param == "kafka":
        broker = request.getfixturevalue("kafka")
        async with kafka_buses(broker.bootstrap_servers, clock, member_lease_s=LEASE_S) as (one, two):
            yield Buses(one, two)
    else:
        async with local_buses(request.param, tmp_path, clock) as both:
            yield Buses(*both)


@pytest.fixture
def bus(buses: Buses) -> Bus:
    return buses.bus


@pytest.fixture
def marks(request: pytest.FixtureRequest, buses: Buses) -> int:
    """Offsets in each partition that a publish takes beyond those of its messages: the end of a transaction has one."""
    return 1 if request.node.callspec.params["buses"] == "kafka" else 0


@pytest.fixture(params=["memory", "sqlite"])
async def prunable(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[PrunableBuses]:
    """Those that keep messages until they are told. A Kafka topic has a time of retention of its own."""
    async with local_buses(request.param, tmp_path, clock) as both:
        yield both


def message(number: int, *, key: str = "pay_1") -> BusMessage:
    return BusMessage(f"evt_{number:06d}", key, f"value {number}".encode())


def spread(count: int, *, keys: int = 40, first: int = 0) -> list[BusMessage]:
    """Messages over enough keys to reach every partition."""
    return [message(number, key=f"pay_{number % keys}") for number in range(first, first + count)]


def ids(records: Iterable[BusRecord]) -> list[str]:
    return [record.message.id for record in records]


def partitions(records: Iterable[BusRecord]) -> set[int]:
    return {record.partition for record in records}


async def join(bus: Bus, member: str = "a", *, group: str = GROUP, topic: str = TOPIC) -> Subscription:
    return await bus.subscribe(topic, group=group, member=member)


async def drain(subscription: Subscription, *, limit: int = 100, commit: bool = True) -> list[BusRecord]:
    """Receive until there is nothing more."""
    received: list[BusRecord] = []
    for _ in range(1_000):
        records = await subscription.receive(limit=limit)
        if not records:
            return received
        received += records
        if commit:
            await subscription.commit(records)
    raise AssertionError("there is no end to it")


async def settle_shares(*subscriptions: Subscription) -> None:
    """Let members that have nothing uncommitted give and take until their shares are even."""
    for _ in range(3):
        for subscription in subscriptions:
            assert await subscription.receive() == []


def assert_ordered_per_key(records: Sequence[BusRecord]) -> None:
    by_key: dict[str, list[str]] = defaultdict(list)
    for record in records:
        by_key[record.message.key].append(record.message.id)
    for key, seen in by_key.items():
        assert seen == sorted(seen), key


# -- publish ------------------------------------------------------------------------------------------------------------


async def test_published_message_is_received_elsewhere_with_all_its_parts(buses: Buses) -> None:
    sent = BusMessage("evt_1", "pay_é", b"\x00\xff", {"traceparent": "00-ab", "content-type": "application/json"})
    await buses.bus.publish(TOPIC, [sent, BusMessage("evt_2", "", b"")])
    received = {record.message.id: record.message for record in await drain(await join(buses.other))}
    assert received == {"evt_1": sent, "evt_2": BusMessage("evt_2", "", b"", {})}


async def test_messages_of_one_key_come_in_the_order_they_were_published(bus: Bus) -> None:
    for first in range(0, 60, 20):
        await bus.publish(TOPIC, spread(20, keys=5, first=first))
    records = await drain(await join(bus), limit=7)
    assert len(records) == 60
    assert_ordered_per_key(records)


async def test_one_key_is_always_in_one_partition_and_keys_spread_over_eight(buses: Buses) -> None:
    for publisher in buses:
        await publisher.publish(TOPIC, spread(100, keys=50))
    records = await drain(await join(buses.bus))
    by_key: dict[str, set[int]] = defaultdict(set)
    for record in records:
        by_key[record.message.key].add(record.partition)
    assert all(len(held) == 1 for held in by_key.values())
    assert partitions(records) == set(range(8))


async def test_partition_of_a_key_stays_the_same_over_releases(bus: Bus) -> None:
    await bus.publish(TOPIC, [message(1, key="pay_1"), message(2, key="pay_2"), message(3, key="ten_x")])
    records = await drain(await join(bus))
    assert {record.message.key: record.partition for record in records} == {"pay_1": 2, "pay_2": 0, "ten_x": 4}


async def test_offsets_of_a_partition_grow_by_one(bus: Bus, marks: int) -> None:
    await bus.publish(TOPIC, [message(number) for number in range(5)])
    await bus.publish(TOPIC, [message(number) for number in range(5, 9)])
    records = await drain(await join(bus))
    second = 5 + marks
    assert [record.offset for record in records] == [*range(5), *range(second, second + 4)]


async def test_publishing_nothing_changes_nothing(bus: Bus) -> None:
    await bus.publish(TOPIC, [])
    assert await bus.lag(TOPIC, group=GROUP) == 0


async def test_publish_of_a_batch_with_one_impossible_message_publishes_none_of_it(bus: Bus) -> None:
    with pytest.raises(UnicodeEncodeError):
        await bus.publish(TOPIC, [message(1), message(2, key="half a surrogate pair \ud800"), message(3)])
    assert await bus.lag(TOPIC, group=GROUP) == 0
    assert await drain(await join(bus)) == []


async def test_publishing_again_duplicates(bus: Bus) -> None:
    await bus.publish(TOPIC, [message(1)])
    await bus.publish(TOPIC, [message(1)])
    assert ids(await drain(await join(bus))) == ["evt_000001", "evt_000001"]


async def test_concurrent_publishers_lose_nothing_and_keep_each_ones_order(buses: Buses) -> None:
    batches = [
        [message(number, key=f"pay_{first}") for number in range(first, first + 10)] for first in range(0, 80, 10)
    ]
    await asyncio.gather(*(buses[at % 2].publish(TOPIC, batch) for at, batch in enumerate(batches)))
    records = await drain(await join(buses.bus))
    assert sorted(ids(records)) == [f"evt_{number:06d}" for number in range(80)]
    assert len({(record.partition, record.offset) for record in records}) == 80
    assert_ordered_per_key(records)


async def test_topics_are_apart(bus: Bus) -> None:
    await bus.publish("other", [message(1)])
    assert await drain(await join(bus)) == []
    assert await bus.lag(TOPIC, group=GROUP) == 0
    assert ids(await drain(await join(bus, topic="other"))) == ["evt_000001"]


# -- subscribe ----------------------------------------------------------------------------------------------------------


async def test_new_group_starts_at_the_topics_beginning(bus: Bus) -> None:
    await bus.publish(TOPIC, spread(10))
    await drain(await join(bus, group="first"))
    await bus.publish(TOPIC, spread(10, first=10))
    assert len(await drain(await join(bus, group="second"))) == 20


async def test_groups_follow_a_topic_each_at_its_own_pace(bus: Bus) -> None:
    await bus.publish(TOPIC, spread(30))
    fast, slow = await join(bus, group="fast"), await join(bus, group="slow")
    assert len(await drain(fast)) == 30
    await slow.commit(await slow.receive(limit=10))
    assert (await bus.lag(TOPIC, group="fast"), await bus.lag(TOPIC, group="slow")) == (0, 20)
    assert len(await drain(slow)) == 20


async def test_group_that_returns_goes_on_where_it_stopped(buses: Buses) -> None:
    await buses.bus.publish(TOPIC, [message(number) for number in range(10)])
    first = await join(buses.bus)
    await first.commit(await first.receive(limit=4))
    await first.close()
    assert ids(await drain(await join(buses.other, "z"))) == [f"evt_{number:06d}" for number in range(4, 10)]


async def test_member_that_joins_again_replaces_itself_and_receives_what_it_had_not_committed(buses: Buses) -> None:
    await buses.bus.publish(TOPIC, [message(number) for number in range(6)])
    crashed = await join(buses.bus)
    await crashed.commit(await crashed.receive(limit=2))
    left = await crashed.receive()
    again = await join(buses.other)
    assert ids(await again.receive()) == ids(left) == [f"evt_{number:06d}" for number in range(2, 6)]


async def test_replaced_subscription_neither_receives_nor_commits_nor_takes_its_place_back(buses: Buses) -> None:
    await buses.bus.publish(TOPIC, [message(number) for number in range(6)])
    old = await join(buses.bus)
    left = await old.receive()
    new = await join(buses.other)
    assert await old.receive() == []
    await old.commit(left)
    assert await buses.bus.lag(TOPIC, group=GROUP) == 6
    assert len(await drain(new)) == 6
    await old.close()
    await buses.bus.publish(TOPIC, [message(7)])
    assert ids(await new.receive()) == ["evt_000007"]


async def test_replaced_subscription_does_not_keep_its_successor_alive(buses: Buses, clock: ManualClock) -> None:
    await buses.bus.publish(TOPIC, [message(number) for number in range(6)])
    old = await join(buses.bus, "a")
    vanished = await join(buses.other, "a")
    assert len(await vanished.receive()) == 6
    clock.advance(LEASE_S / 2)
    assert await old.receive() == []
    heir = await join(buses.other, "b")
    assert await heir.receive() == []
    clock.advance(LEASE_S / 2)
    assert await old.receive() == []
    assert len(await heir.receive()) == 6


# -- receive ------------------------------------------------------------------------------------------------------------


async def test_receive_goes_on_behind_what_was_received_without_a_commit(bus: Bus) -> None:
    await bus.publish(TOPIC, spread(50))
    subscription = await join(bus)
    assert len(set(ids(await drain(subscription, limit=8, commit=False)))) == 50
    assert await subscription.receive() == []


async def test_receive_gives_at_most_limit_records(bus: Bus) -> None:
    await bus.publish(TOPIC, spread(50))
    subscription = await join(bus)
    sizes = [len(await subscription.receive(limit=12)) for _ in range(6)]
    assert sizes == [12, 12, 12, 12, 2, 0]


async def test_busy_partition_does_not_keep_others_from_being_received(bus: Bus) -> None:
    await bus.publish(TOPIC, [message(number, key="busy") for number in range(1_000)])
    await bus.publish(TOPIC, [message(1_000 + number, key=f"pay_{number}") for number in range(40)])
    subscription = await join(bus)
    seen = [record for _ in range(9) for record in await subscription.receive(limit=50)]
    assert partitions(seen) == set(range(8))


async def test_receive_waits_for_the_first_record_and_returns_at_once_when_it_is_published(
    bus: Bus, clock: ManualClock
) -> None:
    subscription = await join(bus)
    waiting = asyncio.create_task(subscription.receive(wait_s=20))
    await clock.run_for(3)
    assert not waiting.done()
    await bus.publish(TOPIC, [message(1)])
    await clock.settle()
    assert waiting.done()
    assert ids(await waiting) == ["evt_000001"]


async def test_receive_returns_empty_once_its_wait_is_over(bus: Bus, clock: ManualClock) -> None:
    subscription = await join(bus)
    waiting = asyncio.create_task(subscription.receive(wait_s=20))
    await clock.run_for(19.9)
    assert not waiting.done()
    await clock.run_for(0.1)
    assert waiting.done()
    assert await waiting == []
    assert clock.sleeping == 0


async def test_waiting_member_notices_what_another_process_publishes_within_half_a_second(
    buses: Buses, clock: ManualClock
) -> None:
    subscription = await join(buses.bus)
    waiting = asyncio.create_task(subscription.receive(wait_s=20))
    await clock.run_for(3)
    await buses.other.publish(TOPIC, [message(1)])
    await clock.run_for(0.5)
    assert waiting.done()
    assert ids(await waiting) == ["evt_000001"]


async def test_member_that_waits_longer_than_its_lease_keeps_its_partitions(buses: Buses, clock: ManualClock) -> None:
    await buses.bus.publish(TOPIC, spread(40))
    first = await join(buses.bus, "a")
    held = await first.receive()
    waiting = asyncio.create_task(first.receive(wait_s=LEASE_S * 3))
    await clock.run_for(LEASE_S * 2)
    second = await join(buses.other, "b")
    assert await second.receive() == []
    await first.commit(held)
    assert await buses.bus.lag(TOPIC, group=GROUP) == 0
    assert not waiting.done()
    waiting.cancel()


async def test_uncommitted_records_come_again_after_the_member_closed(buses: Buses) -> None:
    await buses.bus.publish(TOPIC, [message(number) for number in range(6)])
    first = await join(buses.bus, "a")
    await first.commit(await first.receive(limit=2))
    assert len(await first.receive()) == 4
    await first.close()
    assert ids(await drain(await join(buses.other, "b"))) == [f"evt_{number:06d}" for number in range(2, 6)]


async def test_uncommitted_records_come_again_to_another_after_the_member_lost_its_lease(
    buses: Buses, clock: ManualClock
) -> None:
    await buses.bus.publish(TOPIC, spread(40))
    vanished = await join(buses.bus, "a")
    assert len(await vanished.receive()) == 40
    survivor = await join(buses.other, "b")
    clock.advance(LEASE_S - 0.001)
    assert await survivor.receive() == []
    clock.advance(0.001)
    assert len(await drain(survivor)) == 40


async def test_uncommitted_records_come_again_to_the_member_itself_after_it_lost_its_lease(
    bus: Bus, clock: ManualClock
) -> None:
    await bus.publish(TOPIC, spread(40))
    slow = await join(bus)
    first = await slow.receive()
    clock.advance(LEASE_S)
    assert sorted(ids(await slow.receive())) == sorted(ids(first))


async def test_receiving_renews_the_lease(buses: Buses, clock: ManualClock) -> None:
    await buses.bus.publish(TOPIC, spread(40))
    first = await join(buses.bus, "a")
    held = await first.receive()
    for _ in range(5):
        clock.advance(LEASE_S / 2)
        assert await first.receive() == []
    second = await join(buses.other, "b")
    assert await second.receive() == []
    await first.commit(held)
    assert await buses.bus.lag(TOPIC, group=GROUP) == 0


async def test_member_that_comes_back_after_a_long_sleep_takes_part_again(buses: Buses, clock: ManualClock) -> None:
    sleeper, other = await join(buses.bus, "a"), await join(buses.other, "b")
    await settle_shares(sleeper, other)
    clock.advance(LEASE_S * 50)
    await settle_shares(other)
    await settle_shares(sleeper, other, sleeper)
    await buses.bus.publish(TOPIC, spread(80))
    shares = [partitions(await drain(each)) for each in (sleeper, other)]
    assert sorted(len(share) for share in shares) == [4, 4]


# -- commit -------------------------------------------------------------------------------------------------------------


async def test_committed_records_never_come_again(buses: Buses, clock: ManualClock) -> None:
    await buses.bus.publish(TOPIC, spread(40))
    first = await join(buses.bus, "a")
    assert len(await drain(first)) == 40
    clock.advance(LEASE_S * 2)
    assert await drain(first) == []
    await first.close()
    assert await drain(await join(buses.other, "b")) == []


async def test_commit_moves_behind_the_records_given_and_no_further(buses: Buses) -> None:
    await buses.bus.publish(TOPIC, [message(number) for number in range(10)])
    first = await join(buses.bus)
    records = await first.receive()
    await first.commit(records[:4])
    await first.close()
    assert ids(await drain(await join(buses.other))) == ids(records[4:])


async def test_commit_of_nothing_moves_nothing(bus: Bus) -> None:
    await bus.publish(TOPIC, spread(10))
    subscription = await join(bus)
    await subscription.receive()
    await subscription.commit([])
    assert await bus.lag(TOPIC, group=GROUP) == 10


async def test_offset_never_moves_back(buses: Buses) -> None:
    await buses.bus.publish(TOPIC, [message(number) for number in range(10)])
    first = await join(buses.bus)
    records = await first.receive()
    await first.commit(records)
    await first.commit(records[:3])
    await first.commit(list(reversed(records[:5])))
    assert await buses.bus.lag(TOPIC, group=GROUP) == 0
    await first.close()
    assert await drain(await join(buses.other)) == []


async def test_order_of_the_records_given_to_commit_does_not_matter(bus: Bus) -> None:
    await bus.publish(TOPIC, spread(20))
    subscription = await join(bus)
    records = await subscription.receive()
    await subscription.commit(list(reversed(records)))
    assert await bus.lag(TOPIC, group=GROUP) == 0


async def test_commit_of_a_partition_lost_to_another_is_ignored_and_the_records_come_there(
    buses: Buses, clock: ManualClock
) -> None:
    await buses.bus.publish(TOPIC, spread(40))
    stale = await join(buses.bus, "a")
    held = await stale.receive()
    heir = await join(buses.other, "b")
    clock.advance(LEASE_S)
    inherited = await heir.receive(limit=40)
    assert sorted(ids(inherited)) == sorted(ids(held))
    await stale.commit(held)
    assert await buses.bus.lag(TOPIC, group=GROUP) == 40
    await heir.commit(inherited)
    assert await buses.bus.lag(TOPIC, group=GROUP) == 0


async def test_late_commit_does_not_skip_what_the_new_holder_has_not_done(buses: Buses, clock: ManualClock) -> None:
    await buses.bus.publish(TOPIC, [message(number) for number in range(10)])
    stale = await join(buses.bus, "a")
    held = await stale.receive()
    heir = await join(buses.other, "b")
    clock.advance(LEASE_S)
    await heir.commit((await heir.receive())[:2])
    await stale.commit(held)
    await heir.close()
    await stale.close()
    assert ids(await drain(await join(buses.bus, "c"))) == [f"evt_{number:06d}" for number in range(2, 10)]


# -- sharing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("members", "shares"), [(1, [8]), (2, [4, 4]), (3, [2, 3, 3]), (5, [1, 1, 2, 2, 2])])
async def test_members_share_the_partitions_evenly_and_none_is_left_out(
    buses: Buses, members: int, shares: list[int]
) -> None:
    group = [await join(buses[at % 2], f"m{at}") for at in range(members)]
    await settle_shares(*group)
    await buses.bus.publish(TOPIC, spread(80))
    received = [await drain(member) for member in group]
    assert sorted(len(partitions(records)) for records in received) == shares
    everything = Counter(one for records in received for one in ids(records))
    assert everything == Counter(ids_of(spread(80)))


def ids_of(messages: Iterable[BusMessage]) -> list[str]:
    return [one.id for one in messages]


async def test_more_members_than_partitions_leave_some_idle_and_lose_nothing(buses: Buses) -> None:
    group = [await join(buses[at % 2], f"m{at:02d}") for at in range(11)]
    await settle_shares(*group)
    await buses.bus.publish(TOPIC, spread(80))
    received = [await drain(member) for member in group]
    assert sorted(len(partitions(records)) for records in received) == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]
    assert sum(len(records) for records in received) == 80


async def test_partition_moves_only_when_its_records_are_committed(buses: Buses) -> None:
    await buses.bus.publish(TOPIC, spread(80))
    first = await join(buses.bus, "a")
    held = await first.receive(limit=100)
    second = await join(buses.other, "b")
    # Mid-batch: the first is still at work on everything, so nothing moves and nothing is worked on twice.
    assert await second.receive() == []
    assert await first.receive() == []
    assert await second.receive() == []
    await first.commit(held)
    await buses.bus.publish(TOPIC, spread(80, first=80))
    shares = [await drain(first), await drain(second), await drain(first)]
    assert [len(partitions(share)) for share in shares[:2]] == [4, 4]
    assert sorted(ids(shares[0] + shares[1])) == sorted(ids_of(spread(80, first=80)))


async def test_member_asked_to_give_up_a_partition_receives_nothing_more_from_it(buses: Buses) -> None:
    await buses.bus.publish(TOPIC, spread(80))
    first = await join(buses.bus, "a")
    held = await first.receive()
    await join(buses.other, "b")
    await buses.bus.publish(TOPIC, spread(80, first=80))
    more = await drain(first, commit=False)
    assert len(partitions(more)) == 4
    assert len(held) == 80


async def test_what_a_member_has_not_received_goes_to_the_other_with_its_partition(buses: Buses) -> None:
    await buses.bus.publish(TOPIC, spread(80))
    first = await join(buses.bus, "a")
    done = await first.receive(limit=10)
    second = await join(buses.other, "b")
    await first.commit(done)
    for _ in range(2):
        for member in (first, second):
            done += await drain(member)
    assert sorted(ids(done)) == sorted(ids_of(spread(80)))
    assert_ordered_per_key(done)
    assert await buses.bus.lag(TOPIC, group=GROUP) == 0


async def test_partition_whose_records_are_never_committed_moves_after_one_lease_all_the_same(
    buses: Buses, clock: ManualClock
) -> None:
    await buses.bus.publish(TOPIC, spread(80))
    stuck = await join(buses.bus, "a")
    assert len(await stuck.receive()) == 80
    second = await join(buses.other, "b")
    received: list[BusRecord] = []
    for _ in range(6):
        clock.advance(LEASE_S / 4)
        await stuck.receive()
        received += await drain(second)
    assert len(partitions(received)) == 4


async def test_order_per_key_holds_over_a_rebalance_mid_batch(buses: Buses) -> None:
    done: list[BusRecord] = []
    await buses.bus.publish(TOPIC, spread(120, keys=24))
    first = await join(buses.bus, "a")
    batch = await first.receive(limit=200)
    done += batch[:11]
    await first.commit(batch[:11])
    second = await join(buses.other, "b")
    await buses.bus.publish(TOPIC, spread(120, keys=24, first=120))
    ahead = await first.receive(limit=7)
    for _ in range(3):
        done += await drain(second, limit=7)
    for late in (batch[11:], ahead):
        done += late
        await first.commit(late)
    for _ in range(4):
        done += await drain(first, limit=7)
        done += await drain(second, limit=7)
    assert sorted(ids(done)) == sorted(ids_of(spread(240, keys=24)))
    assert_ordered_per_key(done)


async def test_waiting_member_makes_room_for_one_that_joins_within_half_a_second(
    buses: Buses, clock: ManualClock
) -> None:
    first = await join(buses.bus, "a")
    waiting = asyncio.create_task(first.receive(wait_s=LEASE_S))
    await clock.run_for(1)
    second = await join(buses.other, "b")
    await clock.run_for(0.5)
    waiting.cancel()
    await buses.bus.publish(TOPIC, spread(80))
    assert len(partitions(await drain(second))) == 4


async def test_waiting_member_takes_partitions_given_up_within_half_a_second(buses: Buses, clock: ManualClock) -> None:
    await buses.bus.publish(TOPIC, spread(80))
    first = await join(buses.bus, "a")
    held = await first.receive(limit=40)
    second = await join(buses.other, "b")
    waiting = asyncio.create_task(second.receive(wait_s=LEASE_S))
    await clock.run_for(1)
    assert not waiting.done()
    await first.commit(held)
    await first.receive(limit=1)
    await clock.run_for(0.5)
    assert waiting.done()
    assert await waiting


async def test_partitions_of_a_closed_member_go_to_the_others_at_once(buses: Buses) -> None:
    first, second = await join(buses.bus, "a"), await join(buses.other, "b")
    await settle_shares(first, second)
    await first.close()
    await buses.bus.publish(TOPIC, spread(80))
    assert len(await drain(second)) == 80


async def test_waiting_member_is_woken_by_another_that_closes(bus: Bus, clock: ManualClock) -> None:
    await bus.publish(TOPIC, spread(40))
    first = await join(bus, "a")
    held = await first.receive()
    second = await join(bus, "b")
    waiting = asyncio.create_task(second.receive(wait_s=20))
    await clock.settle()
    assert not waiting.done()
    await first.close()
    await clock.settle()
    assert waiting.done()
    assert sorted(ids(await waiting)) == sorted(ids(held))


async def test_waiting_member_takes_over_from_one_that_vanished(buses: Buses, clock: ManualClock) -> None:
    await buses.bus.publish(TOPIC, spread(40))
    vanished = await join(buses.bus, "a")
    await vanished.receive()
    survivor = await join(buses.other, "b")
    waiting = asyncio.create_task(survivor.receive(wait_s=LEASE_S * 3))
    await clock.run_for(LEASE_S * 1.5)
    assert waiting.done()
    assert len(await waiting) == 40


async def test_random_members_that_come_crash_stall_and_leave_lose_nothing_and_keep_the_order(
    buses: Buses, clock: ManualClock
) -> None:
    """Work is done right after it was received, so what comes again may repeat but never jump back over a commit."""
    rng = Random(20261121)
    alive: dict[str, Subscription] = {}
    in_hand: dict[str, list[BusRecord]] = {}
    committed_effects: dict[str, list[str]] = defaultdict(list)
    received: set[str] = set()
    published = 0
    for _ in range(300):
        action, name = rng.random(), f"m{rng.randrange(4)}"
        if action < 0.2:
            await buses.bus.publish(TOPIC, spread(6, keys=20, first=published))
            published += 6
        elif action < 0.3 or name not in alive:
            alive[name], in_hand[name] = await join(rng.choice(buses), name), []
        elif action < 0.35:
            await alive.pop(name).close()
        elif action < 0.4:
            del alive[name]
        elif action < 0.5:
            clock.advance(rng.choice([1, LEASE_S / 2, LEASE_S]))
        elif action < 0.75:
            in_hand[name] = await alive[name].receive(limit=5)
            received.update(ids(in_hand[name]))
        else:
            before = await buses.bus.lag(TOPIC, group=GROUP)
            await alive[name].commit(in_hand[name])
            if await buses.bus.lag(TOPIC, group=GROUP) == before - len(in_hand[name]):
                for record in in_hand[name]:
                    committed_effects[record.message.key].append(record.message.id)
            in_hand[name] = []
    for subscription in alive.values():
        await subscription.close()
    clock.advance(LEASE_S * 2)
    last = await join(buses.bus, "last")
    rest = await drain(last)
    assert published > 200
    assert len(received | set(ids(rest))) == published
    seen = [one for done in committed_effects.values() for one in done] + ids(rest)
    assert len(seen) == len(set(seen))
    assert await buses.bus.lag(TOPIC, group=GROUP) == 0
    for record in rest:
        committed_effects[record.message.key].append(record.message.id)
    for key, done in committed_effects.items():
        assert done == sorted(done), key


# -- close --------------------------------------------------------------------------------------------------------------


async def test_closing_twice_is_safe(buses: Buses) -> None:
    first, second = await join(buses.bus, "a"), await join(buses.other, "b")
    await first.close()
    await settle_shares(second)
    await first.close()
    await buses.bus.publish(TOPIC, spread(40))
    assert len(await drain(second)) == 40


async def test_closing_twice_or_late_leaves_other_members_alone(buses: Buses) -> None:
    replaced, other = await join(buses.bus, "a"), await join(buses.other, "b")
    successor = await join(buses.bus, "a")
    await settle_shares(successor, other)
    await replaced.close()
    await replaced.close()
    await buses.bus.publish(TOPIC, spread(80))
    assert [len(partitions(await drain(each))) for each in (other, successor)] == [4, 4]


async def test_closed_subscription_receives_and_commits_nothing(buses: Buses) -> None:
    await buses.bus.publish(TOPIC, spread(10))
    first = await join(buses.bus)
    held = await first.receive()
    await first.close()
    assert await first.receive() == []
    await first.commit(held)
    assert await buses.bus.lag(TOPIC, group=GROUP) == 10


async def test_close_ends_a_wait(bus: Bus, clock: ManualClock) -> None:
    subscription = await join(bus)
    waiting = asyncio.create_task(subscription.receive(wait_s=20))
    await clock.settle()
    await subscription.close()
    await clock.settle()
    assert waiting.done()
    assert await waiting == []


# -- lag ----------------------------------------------------------------------------------------------------------------


async def test_lag_counts_what_was_published_and_not_yet_committed(buses: Buses) -> None:
    assert await buses.bus.lag(TOPIC, group=GROUP) == 0
    await buses.bus.publish(TOPIC, spread(40))
    assert await buses.other.lag(TOPIC, group=GROUP) == 40
    subscription = await join(buses.bus)
    batch = await subscription.receive(limit=15)
    assert await buses.other.lag(TOPIC, group=GROUP) == 40
    await subscription.commit(batch)
    assert await buses.other.lag(TOPIC, group=GROUP) == 25
    assert await buses.other.lag(TOPIC, group="another") == 40


# -- retention ----------------------------------------------------------------------------------------------------------


async def test_prune_drops_what_every_group_has_committed_and_is_old_enough(
    prunable: PrunableBuses, clock: ManualClock
) -> None:
    await prunable.bus.publish(TOPIC, [message(number) for number in range(6)])
    clock.advance(100)
    cut = clock.now()
    await prunable.bus.publish(TOPIC, [message(number) for number in range(6, 10)])
    for group in ("one", "two"):
        await drain(await join(prunable.bus, group=group))
    assert await prunable.bus.prune(before=cut) == 6
    assert await prunable.bus.prune(before=cut) == 0
    late = await join(prunable.other, group="late")
    assert await prunable.bus.lag(TOPIC, group="late") == 4
    assert ids(await drain(late)) == [f"evt_{number:06d}" for number in range(6, 10)]


async def test_prune_keeps_what_one_group_has_not_committed(prunable: PrunableBuses, clock: ManualClock) -> None:
    await prunable.bus.publish(TOPIC, [message(number) for number in range(6)])
    await drain(await join(prunable.bus, group="fast"))
    slow = await join(prunable.bus, group="slow")
    await slow.commit(await slow.receive(limit=2))
    clock.advance(100)
    assert await prunable.bus.prune(before=clock.now()) == 2
    assert ids(await drain(slow)) == [f"evt_{number:06d}" for number in range(2, 6)]


async def test_prune_keeps_a_topic_that_nobody_follows_yet(prunable: PrunableBuses, clock: ManualClock) -> None:
    await prunable.bus.publish(TOPIC, spread(10))
    clock.advance(100)
    assert await prunable.bus.prune(before=clock.now()) == 0
    assert len(await drain(await join(prunable.bus))) == 10


async def test_offsets_go_on_after_everything_was_pruned(prunable: PrunableBuses, clock: ManualClock) -> None:
    await prunable.bus.publish(TOPIC, [message(number) for number in range(5)])
    subscription = await join(prunable.bus)
    await drain(subscription)
    clock.advance(100)
    assert await prunable.bus.prune(before=clock.now()) == 5
    await prunable.other.publish(TOPIC, [message(5)])
    records = await subscription.receive()
    assert [(record.offset, record.message.id) for record in records] == [(5, "evt_000005")]
    await subscription.commit(records)
    assert await prunable.bus.lag(TOPIC, group=GROUP) == 0
