"""Records that fail: out of the way, tried again in order, put aside, redriven."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import pytest

from interlock.backends.kafka.bus import KafkaBus
from interlock.backends.kafka.retries import DeadLetters, RetryingConsumer, Topics
from interlock.backends.local.clock import SystemClock
from interlock.core.kernel.bus import BusMessage
from interlock.core.kernel.errors import StoreUnavailable
from tests.backends.kafka.conftest import NewBus

pytestmark = [pytest.mark.aws, pytest.mark.timeout(600), pytest.mark.xdist_group("kafka")]
TOPICS = Topics("events", "webhooks", delays_s=(0.3, 0.6))


@dataclass
class Work:
    """Handles messages, but for those whose value begins with `bad`, until it is healed."""

    healed: bool = False
    tries: Counter[str] = field(default_factory=Counter)
    done: list[str] = field(default_factory=list)
    store_is_down_for: str = ""

    async def __call__(self, message: BusMessage) -> None:
        self.tries[message.id] += 1
        if message.id == self.store_is_down_for:
            raise StoreUnavailable("full")
        if message.value.startswith(b"bad") and not self.healed:
            raise ValueError("card 4242424242424242 is not for logs")
        assert not [name for name in message.headers if name.startswith("interlock-")]
        self.done.append(message.id)


async def consumers(bus: KafkaBus, work: Work) -> list[RetryingConsumer]:
    made = []
    for stage in TOPICS.stages:
        subscription = await bus.subscribe(TOPICS.stage(stage), group=TOPICS.group, member="one")
        made.append(RetryingConsumer(bus, SystemClock(), TOPICS, work, stage=stage, subscription=subscription))
    return made


async def run(stages: list[RetryingConsumer], *, until: int) -> None:
    """All stages side by side, until so many records have gone through them."""
    through = 0

    async def loop(consumer: RetryingConsumer) -> None:
        nonlocal through
        while through < until:
            count = await consumer.step(wait_s=0.5)
            through += count

    await asyncio.wait_for(asyncio.gather(*map(loop, stages)), 60)


def one(number: int, key: str, value: bytes = b"good", **headers: str) -> BusMessage:
    return BusMessage(f"evt_{number}", key, value, headers)


async def test_poison_record_goes_through_every_retry_to_the_dead_letters_and_is_redriven(new_bus: NewBus):
    bus = await new_bus(*TOPICS.others)
    work = Work()
    stages = await consumers(bus, work)
    await bus.publish("events", [one(1, "pay_1", b"bad", traceparent="00-ab"), one(2, "pay_2"), one(3, "pay_3")])
    await run(stages, until=5)
    assert sorted(work.done) == ["evt_2", "evt_3"]
    assert work.tries == {"evt_1": 3, "evt_2": 1, "evt_3": 1}
    assert await bus.lag("events", group=TOPICS.group) == 0
    letters = DeadLetters(bus, TOPICS)
    (letter,) = await letters.list()
    assert letter.message == one(1, "pay_1", b"bad", traceparent="00-ab")
    assert (letter.error, letter.tries) == ("ValueError", 3)
    assert letter.origin.startswith("events/") and letter.origin.endswith("/0")
    (stored,) = (await bus.pending(TOPICS.dead, group="redrive", limit=5)).records
    assert "4242" not in str(stored)
    work.healed = True
    assert await letters.redrive(member="operator") == 1
    assert await letters.list() == []
    await run(stages, until=1)
    assert work.done[-1] == "evt_1"


async def test_later_records_of_a_key_wait_behind_the_one_that_failed_and_other_keys_go_on(new_bus: NewBus):
    bus = await new_bus(*TOPICS.others)
    work = Work()
    main, first, second = await consumers(bus, work)
    await bus.publish("events", [one(1, "pay_1", b"bad"), one(2, "pay_1"), one(3, "pay_2")])
    await run([main], until=3)
    await bus.publish("events", [one(4, "pay_1"), one(5, "pay_2")])
    await run([main], until=2)
    assert work.done == ["evt_3", "evt_5"]
    assert work.tries == {"evt_1": 1, "evt_3": 1, "evt_5": 1}
    # It fails once more: all of its key go on to the second retry, in their order.
    await run([first], until=3)
    assert work.tries["evt_1"] == 2
    assert work.done == ["evt_3", "evt_5"]
    await bus.publish("events", [one(6, "pay_1")])
    await run([main], until=1)
    await run([first], until=1)
    work.healed = True
    await run([second], until=4)
    assert work.done == ["evt_3", "evt_5", "evt_1", "evt_2", "evt_4", "evt_6"]
    # Nothing waits any more, so the key takes the straight way again.
    await bus.publish("events", [one(7, "pay_1")])
    await run([main], until=1)
    assert work.done[-1] == "evt_7"
    assert await DeadLetters(bus, TOPICS).list() == []


async def test_followers_of_a_dead_letter_are_handled(new_bus: NewBus):
    bus = await new_bus(*TOPICS.others)
    work = Work()
    stages = await consumers(bus, work)
    await bus.publish("events", [one(1, "pay_1", b"bad"), one(2, "pay_1")])
    await run(stages, until=6)
    assert work.done == ["evt_2"]
    assert [letter.message.id for letter in await DeadLetters(bus, TOPICS).list()] == ["evt_1"]


async def test_store_that_is_down_moves_no_record_and_the_next_step_goes_on_with_it(new_bus: NewBus):
    bus = await new_bus(*TOPICS.others)
    work = Work(store_is_down_for="evt_2")
    main, *_ = await consumers(bus, work)
    await bus.publish("events", [one(1, "pay_1"), one(2, "pay_1"), one(3, "pay_1")])
    with pytest.raises(StoreUnavailable):
        await run([main], until=3)
    assert work.done == ["evt_1"]
    assert await bus.lag("events", group=TOPICS.group) == 2
    assert await bus.lag(TOPICS.stage(1), group=TOPICS.group) == 0
    work.store_is_down_for = ""
    await run([main], until=2)
    assert work.done == ["evt_1", "evt_2", "evt_3"]
    assert await bus.lag("events", group=TOPICS.group) == 0
