"""A broker for the tests of this folder, and buses on it that keep real time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from interlock.backends.kafka.bus import KafkaBus
from interlock.backends.kafka.config import KafkaConfig
from interlock.backends.kafka.topics import ensure_topics
from interlock.backends.local.clock import SystemClock
from tests.contracts.on_kafka import new_config, new_token
from tests.counterparts.kafka import Broker, running_kafka

NewBus = Callable[..., Awaitable[KafkaBus]]


@pytest.fixture(scope="session")
def kafka() -> Iterator[Broker]:
    with running_kafka() as broker:
        yield broker


@pytest.fixture
def config(kafka: Broker) -> KafkaConfig:
    return new_config(kafka.bootstrap_servers)


@pytest.fixture
async def new_bus(config: KafkaConfig) -> AsyncIterator[NewBus]:
    """Makes a bus as one more process would, on a topic `events` and on others that are asked for."""
    made: list[KafkaBus] = []

    async def make(*topics: str, lease_s: float = 30.0, given: KafkaConfig = config) -> KafkaBus:
        await ensure_topics(given, ["events", *topics])
        made.append(KafkaBus(given, SystemClock(), new_token=new_token, member_lease_s=lease_s))
        return made[-1]

    yield make
    for bus in made:
        await bus.close()
