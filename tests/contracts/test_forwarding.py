"""The promise of buses that point at the store's events, over every adapter that has it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from interlock.backends.sqlite import bus as sqlite_bus
from interlock.backends.sqlite import store as sqlite_store
from interlock.backends.sqlite.bus import SqliteBus
from interlock.backends.sqlite.database import Database
from interlock.backends.sqlite.store import SqliteFeed, SqliteStore
from interlock.core.kernel.bus import Bus, BusMessage, BusRecord, Forwards
from interlock.core.kernel.errors import Invalid
from interlock.core.kernel.events import Event, encode_event
from interlock.core.kernel.feed import START, Feed
from interlock.core.kernel.store import Store
from tests.clocks import ManualClock

TOPIC, GROUP = "events", "readers"


class House(NamedTuple):
    store: Store
    feed: Feed
    bus: Bus
    forwarding: Forwards
    other: Bus
    """On the same topics, as another process would have it."""


@pytest.fixture(params=["sqlite"])
async def house(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[House]:
    schemas = [sqlite_store.SCHEMA, sqlite_bus.SCHEMA]
    databases = [Database.open(tmp_path / "house.db", schemas=schemas, clock=clock) for _ in range(2)]
    bus, other = (SqliteBus(database, clock) for database in databases)
    yield House(SqliteStore(databases[0]), SqliteFeed(databases[0], clock=clock), bus, bus, other)
    for database in databases:
        await database.close()


def event(number: int, *, aggregate: str = "pay_1", version: int | None = None) -> Event:
    data = msgspec.Raw(b'{"number":%d,"text":"\\u00e9 \xc3\xa9"}' % number)
    return Event(f"evt_{number:06d}", "payment.created", "ten_1", aggregate, version or number, 1, data)


async def happen(house: House, events: Sequence[Event]) -> None:
    for one in events:
        await house.store.commit((), (one,))


async def received(bus: Bus, group: str = GROUP) -> list[BusRecord]:
    subscription = await bus.subscribe(TOPIC, group=group, member="one")
    records = []
    while batch := await subscription.receive(limit=3):
        records += batch
        await subscription.commit(batch)
    await subscription.close()
    return records


async def test_forwarded_events_are_received_as_if_they_had_been_published(house: House) -> None:
    events = [event(number, aggregate=f"pay_{number % 5}", version=1 + number // 5) for number in range(1, 21)]
    await happen(house, events)
    assert await house.forwarding.forward(TOPIC, after=START, limit=1_000)
    forwarded = await received(house.bus)
    await house.bus.publish("copies", [BusMessage(one.id, one.aggregate, encode_event(one)) for one in events])
    subscription = await house.bus.subscribe("copies", group=GROUP, member="one")
    published = []
    while batch := await subscription.receive():
        published += batch
    by_place = {(record.partition, record.offset): record.message for record in published}
    assert {(record.partition, record.offset): record.message for record in forwarded} == by_place
    assert len(forwarded) == 20


async def test_position_returned_is_the_feeds_and_nothing_behind_it_is_left_out(house: House) -> None:
    await happen(house, [event(number) for number in range(1, 8)])
    position, seen = START, []
    while (after := await house.forwarding.forward(TOPIC, after=position, limit=3)) is not None:
        position = after
        seen.append(len(await house.feed.read(after=position)))
    assert seen == [4, 1, 0]
    assert [record.message.id for record in await received(house.bus)] == [f"evt_{n:06d}" for n in range(1, 8)]


async def test_nothing_behind_the_position_is_none_and_publishes_nothing(house: House) -> None:
    assert await house.forwarding.forward(TOPIC, after=START) is None
    await happen(house, [event(1)])
    position = await house.forwarding.forward(TOPIC, after=START)
    assert position is not None
    assert await house.forwarding.forward(TOPIC, after=position) is None
    assert len(await received(house.bus)) == 1


async def test_forwarding_again_from_the_same_position_duplicates(house: House) -> None:
    await happen(house, [event(1), event(2)])
    assert await house.forwarding.forward(TOPIC, after=START) == await house.forwarding.forward(TOPIC, after=START)
    ids = [record.message.id for record in await received(house.bus)]
    assert ids == ["evt_000001", "evt_000002", "evt_000001", "evt_000002"]


async def test_forwarded_and_published_messages_keep_their_order_per_key(house: House) -> None:
    await happen(house, [event(1)])
    position = await house.forwarding.forward(TOPIC, after=START)
    assert position is not None
    await house.bus.publish(TOPIC, [BusMessage("evt_x", "pay_1", b"\x00copy", {"a": "b"})])
    await happen(house, [event(2)])
    await house.forwarding.forward(TOPIC, after=position)
    messages = [record.message for record in await received(house.bus)]
    assert [message.id for message in messages] == ["evt_000001", "evt_x", "evt_000002"]
    assert messages[1] == BusMessage("evt_x", "pay_1", b"\x00copy", {"a": "b"})


async def test_every_group_and_process_receives_them_and_lag_counts_them(house: House) -> None:
    await happen(house, [event(1), event(2)])
    await house.forwarding.forward(TOPIC, after=START)
    assert await house.other.lag(TOPIC, group=GROUP) == 2
    assert len(await received(house.other)) == 2
    assert len(await received(house.bus, "others")) == 2
    assert await house.bus.lag(TOPIC, group=GROUP) == 0


async def test_pruning_drops_messages_and_keeps_events(house: House, clock: ManualClock) -> None:
    await happen(house, [event(1), event(2)])
    await house.forwarding.forward(TOPIC, after=START)
    await received(house.bus)
    assert isinstance(house.bus, SqliteBus)
    assert await house.bus.prune(before=clock.now() + 1) == 2
    assert [one.id for one in await house.store.history("pay_1")] == ["evt_000001", "evt_000002"]


async def test_what_is_no_position_is_invalid_and_publishes_nothing(house: House) -> None:
    await happen(house, [event(1)])
    with pytest.raises(Invalid):
        await house.forwarding.forward(TOPIC, after="soon")
    assert await received(house.bus) == []
