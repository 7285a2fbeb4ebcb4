"""The Bus at a real broker, for the contract's tests.

They move a clock by hand and ask at once what follows. A broker and its clients take real moments for that: a rebalance, a
fetch. So each call waits until nothing is under way any more: the broker calls the group stable or a member withholds what
it is at work on, every member knows what the broker says it holds, and everything published was read. How long that takes
is no part of the contract; what is true then is. Leases are measured by the tests' clock in both worlds.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from interlock.backends.kafka.bus import KafkaBus, KafkaSubscription
from interlock.backends.kafka.config import KafkaConfig, TopicShape
from interlock.backends.kafka.standing import Standings
from interlock.backends.kafka.topics import ensure_topics
from interlock.core.kernel.bus import BusMessage, BusRecord
from tests.clocks import ManualClock

REST_S = 20.0
"""Real seconds after which a group that does not come to rest fails its test."""
LOOK_S = 0.03
NO_GROUP = KafkaError.GROUP_ID_NOT_FOUND

_numbers = itertools.count(1)


def new_config(bootstrap_servers: str) -> KafkaConfig:
    """With topics of its own, so that tests share a broker without meeting."""
    return KafkaConfig(
        bootstrap_servers,
        prefix=f"t{os.getpid()}-{next(_numbers)}.",
        heartbeat_s=0.1,
        fetch_wait_s=0.05,
        topic=TopicShape(partitions=8, replication=1, min_in_sync=1),
    )


def new_token() -> str:
    return os.urandom(8).hex()


class Member(NamedTuple):
    topic: str
    group: str
    name: str
    subscription: KafkaSubscription


class Rest:
    """Tells when the members of all groups have come to rest."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._admin = AdminClient(config.client())
        self._standings = Standings(config)
        self.members: list[Member] = []
        """In the order they joined."""
        self.gathering = 0
        """How many calls have received something and look whether there is more."""

    def hold(self, clock: ManualClock) -> None:
        """Have the clock call a moment settled only when the groups are at rest."""
        settle = clock.settle

        async def settle_at_rest() -> None:
            await settle()
            await self.come()
            await settle()
            while self.gathering:
                await asyncio.sleep(LOOK_S)
            await settle()

        clock.settle = settle_at_rest  # type: ignore[method-assign]

    async def come(self) -> None:
        ends_at = time.monotonic() + REST_S
        for group in {(one.topic, one.group) for one in self.members}:
            while why := await self._unrest(*group):
                assert time.monotonic() < ends_at, f"no rest: {why}"
                await asyncio.sleep(LOOK_S)

    async def close(self) -> None:
        await asyncio.gather(*(one.subscription.close() for one in self.members))
        await self._standings.close()
        # A client that is alive when the process ends may take it down.
        del self._admin

    async def _unrest(self, topic: str, group: str) -> str:
        """What is still under way, or nothing."""
        present: dict[str, KafkaSubscription] = {}
        for _, _, name, subscription in [one for one in self.members if one[:2] == (topic, group)]:
            former = present.pop(name, None)
            if former is not None and not former.standing().away:
                return f"{name} was not told that it was replaced"
            standing = subscription.standing()
            if standing.due and not subscription.closed:
                return f"{name} is about to act"
            if not (subscription.closed or standing.replaced or standing.away):
                present[name] = subscription
        if not any(one.standing().withholding for one in present.values()) and (
            why := await self._disagreement(self._config.group_name(topic, group), present)
        ):
            return why
        ends = await self._standings.ends(self._config.topic_name(topic))
        behind = [name for name, one in present.items() if not one.caught_up(ends)]
        return f"{behind} have not read everything" if behind else ""

    async def _disagreement(self, group: str, present: dict[str, KafkaSubscription]) -> str:
        """Between what the broker and what the members say."""
        asked = self._admin.describe_consumer_groups([group])[group]
        try:
            told = await asyncio.wrap_future(asked)
        except KafkaException as error:
            return "the group is not known" if present else "" if error.args[0].code() == NO_GROUP else str(error)
        if told.state not in (ConsumerGroupState.STABLE, ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD):
            return f"the group is {told.state}"
        if (names := {one.group_instance_id for one in told.members}) != set(present):
            return f"the broker knows of {names}, here are {set(present)}"
        for one in told.members:
            standing = present[one.group_instance_id].standing()
            held = {place.partition for place in one.assignment.topic_partitions}
            if not standing.joined or standing.member_id != one.member_id or standing.partitions != held:
                return f"{one.group_instance_id} holds {held} and knows {standing}"
        return ""


class RestingSubscription:
    def __init__(self, subscription: KafkaSubscription, rest: Rest) -> None:
        self._subscription, self._rest = subscription, rest

    async def receive(self, *, limit: int = 100, wait_s: float = 0.0) -> list[BusRecord]:
        """Who does not wait is given what is there once its own call has been taken note of: it may have had to join again."""
        if wait_s > 0:
            return await self._gather(limit, wait_s)
        records: list[BusRecord] = []
        for _ in range(2):
            await self._rest.come()
            records = records or await self._subscription.receive(limit=limit)
        return records

    async def _gather(self, limit: int, wait_s: float) -> list[BusRecord]:
        """What came first, and what was there to be read with it: partitions are read one after the other."""
        records = await self._subscription.receive(limit=limit, wait_s=wait_s)
        self._rest.gathering += 1
        try:
            if records:
                await self._rest.come()
                records += await self._subscription.receive(limit=limit - len(records))
            return records
        finally:
            self._rest.gathering -= 1

    async def commit(self, records: Sequence[BusRecord]) -> None:
        await self._rest.come()
        await self._subscription.commit(records)

    async def close(self) -> None:
        await self._subscription.close()


class RestingBus:
    """A KafkaBus whose every call begins when nothing is under way."""

    def __init__(self, bus: KafkaBus, rest: Rest) -> None:
        self._bus, self._rest = bus, rest

    async def publish(self, topic: str, messages: Sequence[BusMessage]) -> None:
        await self._rest.come()
        await self._bus.publish(topic, messages)

    async def subscribe(self, topic: str, *, group: str, member: str) -> RestingSubscription:
        await self._rest.come()
        subscription = await self._bus.subscribe(topic, group=group, member=member)
        self._rest.members.append(Member(topic, group, member, subscription))
        await self._rest.come()
        return RestingSubscription(subscription, self._rest)

    async def lag(self, topic: str, *, group: str) -> int:
        await self._rest.come()
        return await self._bus.lag(topic, group=group)


@asynccontextmanager
async def kafka_buses(
    bootstrap_servers: str, clock: ManualClock, *, member_lease_s: float
) -> AsyncIterator[tuple[RestingBus, RestingBus]]:
    config = new_config(bootstrap_servers)
    names = await ensure_topics(config, ["events", "other"])
    rest = Rest(config)
    rest.hold(clock)
    buses = [KafkaBus(config, clock, new_token=new_token, member_lease_s=member_lease_s) for _ in range(2)]
    yield RestingBus(buses[0], rest), RestingBus(buses[1], rest)
    await rest.close()
    for bus in buses:
        await bus.close()
    admin = AdminClient(config.client())
    for deleted in admin.delete_topics(names).values():
        await asyncio.wrap_future(deleted)
    del admin
