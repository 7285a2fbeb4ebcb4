"""Makes topics, for development and tests; where the platform has accounts, Terraform makes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from interlock.backends.kafka.config import KafkaConfig
from interlock.core.kernel.errors import StoreUnavailable


async def ensure_topics(config: KafkaConfig, topics: Iterable[str]) -> list[str]:
    """Create those that are not there, as `config.topic` says; their full names. What is there is left as it is.

    Raises Invalid for a name Kafka would not take, StoreUnavailable.
    """
    names = [config.topic_name(topic) for topic in topics]
    return await asyncio.to_thread(_create, config, names)


def _create(config: KafkaConfig, names: list[str]) -> list[str]:
    shape = config.topic
    settings = {
        "retention.ms": str(shape.retention_s * 1_000),
        "min.insync.replicas": str(min(shape.min_in_sync, shape.replication)),
        "cleanup.policy": "delete",
    }
    wanted = [NewTopic(name, shape.partitions, shape.replication, config=settings) for name in names]
    if not wanted:
        return []
    created = []
    # Kept in a name: answers of a client that is gone are lost.
    admin = AdminClient(config.client())
    answers = admin.create_topics(wanted, operation_timeout=config.answer_s)
    for name, answer in answers.items():
        try:
            answer.result(timeout=config.answer_s * 2)
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise StoreUnavailable(f"Kafka creates no topic {name}: {error.args[0].name()}") from error
    _await_visible(admin, names, config.answer_s)
    return created


def _await_visible(admin: AdminClient, names: list[str], timeout_s: float) -> None:
    """A topic is made before every broker knows of it."""
    ends_at = time.monotonic() + timeout_s
    while True:
        known: dict[str, Any] = admin.list_topics(timeout=timeout_s).topics
        if all(name in known and _led(known[name]) for name in names):
            return
        if time.monotonic() > ends_at:
            raise StoreUnavailable("Kafka does not announce its new topics")
        time.sleep(0.05)


def _led(topic: Any) -> bool:
    return bool(topic.partitions) and all(one.leader >= 0 for one in topic.partitions.values())
