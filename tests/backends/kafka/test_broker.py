"""A broker that goes away and comes back, in the middle of work."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from interlock.backends.kafka.bus import KafkaBus
from interlock.backends.kafka.config import KafkaConfig
from interlock.core.kernel.bus import BusMessage
from interlock.core.kernel.errors import OutcomeUnknown, StoreUnavailable
from tests.backends.kafka.conftest import NewBus
from tests.backends.kafka.test_groups import receive
from tests.counterparts.kafka import Broker

pytestmark = [pytest.mark.aws, pytest.mark.timeout(600), pytest.mark.xdist_group("kafka")]
GROUP = "webhooks"


def numbered(first: int, count: int) -> list[BusMessage]:
    return [BusMessage(f"evt_{n:06d}", f"pay_{n % 5}", b"v") for n in range(first, first + count)]


async def test_publish_to_a_broker_that_is_down_ends_in_time_and_nothing_of_it_ever_shows(
    kafka: Broker, config: KafkaConfig, new_bus: NewBus
):
    hasty = replace(config, publish_s=3.0, answer_s=3.0)
    bus = await new_bus(given=hasty)
    await bus.publish("events", numbered(0, 10))
    subscription = await bus.subscribe("events", group=GROUP, member="a")
    held = await receive(subscription, 10)
    await asyncio.to_thread(kafka.stop)
    try:
        for call in (
            lambda: bus.publish("events", numbered(10, 10)),
            lambda: subscription.commit(held),
            lambda: bus.lag("events", group=GROUP),
            lambda: bus.subscribe("events", group=GROUP, member="b"),
        ):
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await call()
            assert time.monotonic() - started < 10
    finally:
        await asyncio.to_thread(kafka.start)
    await until_up(bus)
    assert await bus.lag("events", group=GROUP) in (0, 10), "the commit may have been carried out later"
    await until_published(bus, numbered(20, 10))
    seen = {record.message.id for record in await receive(subscription, 10)}
    assert seen & {one.id for one in numbered(10, 10)} == set()
    assert seen == {one.id for one in numbered(20, 10)}


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
async def test_broker_restarted_while_publishing_and_consuming_loses_and_doubles_nothing(
    kafka: Broker, new_bus: NewBus, kill: bool
):
    bus, other = await new_bus(), await new_bus()
    subscription = await other.subscribe("events", group=GROUP, member="a")
    published: list[str] = []
    unknown: list[str] = []
    seen: list[tuple[str, str]] = []
    going_on, all_published = True, False

    async def publish() -> None:
        number = 0
        while going_on:
            batch = numbered(number, 10)
            try:
                await bus.publish("events", batch)
                published.extend(one.id for one in batch)
                number += 10
            except StoreUnavailable:
                pass
            except OutcomeUnknown:
                unknown.extend(one.id for one in batch)
                number += 10

    async def consume() -> None:
        while not all_published or not set(published) <= {one for _, one in seen}:
            records = await subscription.receive(limit=50, wait_s=1.0)
            seen.extend((record.message.key, record.message.id) for record in records)
            with suppress(StoreUnavailable):
                await subscription.commit(records)

    consuming = asyncio.create_task(consume())
    publishing = asyncio.create_task(publish())
    while len(seen) < 50:
        await asyncio.wait({consuming, publishing}, timeout=0.1)
    before = len(published)
    await asyncio.to_thread(kafka.restart, kill=kill)
    until = time.monotonic() + 60
    while len(published) < before + 100:
        assert time.monotonic() < until, "it did not go on"
        await asyncio.wait({consuming, publishing}, timeout=0.1)
    going_on = False
    await publishing
    all_published = True
    await asyncio.wait_for(consuming, 60)
    first_time: dict[str, list[str]] = {}
    for key, one in dict.fromkeys(seen):
        first_time.setdefault(key, []).append(one)
    assert {one for _, one in seen} - set(unknown) == set(published)
    assert all(order == sorted(order) for order in first_time.values())
    # Each stands in the log once: what was read again by a member that could not commit is no second copy.
    everything = await bus.pending("events", group="auditors", limit=100_000)
    stored = [record.message.id for record in everything.records]
    assert everything.complete
    assert len(stored) == len(set(stored))
    assert set(stored) - set(unknown) == set(published)


async def until_up(bus: KafkaBus) -> None:
    for _ in range(50):
        with suppress(StoreUnavailable):
            await bus.lag("events", group=GROUP)
            return
    raise AssertionError("the broker did not come back")


async def until_published(bus: KafkaBus, messages: list[BusMessage]) -> None:
    """Nothing happened is what StoreUnavailable says, so it is repeated."""
    for _ in range(20):
        with suppress(StoreUnavailable):
            await bus.publish("events", messages)
            return
    raise AssertionError("it was never published")
