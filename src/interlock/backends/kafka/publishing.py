"""Publishing: a transaction for each call, by one producer on one thread.

Only the commit at the end can make a transaction count, and only this producer can ask for it. So whatever fails before that
is certain: nothing was published, although its records may stand in the log as aborted. What fails in the commit is unknown
unless the broker says that it refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from interlock.backends.kafka.config import KafkaConfig
from interlock.backends.kafka.messages import Encoded
from interlock.core.kernel.errors import Invalid, OutcomeUnknown, StoreUnavailable

MESSAGES_MAX = 10_000
TRANSACTION_S = 20
"""After this the broker gives up a transaction whose producer died; until then readers wait behind it."""

_NO_SUCH_TOPIC = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)


class Publisher:
    def __init__(self, config: KafkaConfig, *, new_token: Callable[[], str]) -> None:
        self._config = config
        self._new_token = new_token
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-publisher")
        self._producer: Producer | None = None

    async def publish(self, topic: str, messages: Sequence[Encoded]) -> None:
        """Raises as the port says, and Invalid if there is no such topic or there are too many messages."""
        if len(messages) > MESSAGES_MAX:
            raise Invalid(f"at most {MESSAGES_MAX} messages are published at once, not {len(messages)}")
        await asyncio.get_running_loop().run_in_executor(self._thread, self._publish, topic, messages)

    async def close(self) -> None:
        """What is under way is finished first."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown(wait=False)

    def _publish(self, topic: str, messages: Sequence[Encoded]) -> None:
        ends_at = time.monotonic() + self._config.publish_s
        producer = self._begun(ends_at)
        failures: list[KafkaError] = []
        try:
            for message in messages:
                _produce(producer, topic, message, failures, ends_at)
            waiting = producer.flush(_left(ends_at))
        except (KafkaException, BufferError) as error:
            self._abort()
            raise StoreUnavailable(f"Kafka took nothing: {_reason(error)}") from error
        if waiting or failures:
            # Looked at first: giving up adds failures of its own.
            first = failures[0] if failures else None
            self._abort()
            if first is not None and first.code() in _NO_SUCH_TOPIC:
                raise Invalid(f"there is no topic {topic}: create it, then publish again")
            raise StoreUnavailable(f"Kafka took nothing: {first.name() if first is not None else 'no answer in time'}")
        self._commit(producer, ends_at)

    def _begun(self, ends_at: float) -> Producer:
        try:
            if self._producer is None:
                self._producer = Producer(self._settings())
                self._producer.init_transactions(_left(ends_at))
            self._producer.begin_transaction()
        except KafkaException as error:
            self._drop()
            raise StoreUnavailable(f"Kafka begins no transaction: {_reason(error)}") from error
        return self._producer

    def _commit(self, producer: Producer, ends_at: float) -> None:
        while True:
            try:
                producer.commit_transaction(_left(ends_at))
                return
            except KafkaException as error:
                failure = error.args[0]
                if failure.txn_requires_abort() and self._abort():
                    raise StoreUnavailable(f"Kafka refused the transaction: {_reason(error)}") from error
                if failure.retriable() and time.monotonic() < ends_at:
                    continue
                self._drop()
                raise OutcomeUnknown(f"Kafka did not say whether the messages count: {_reason(error)}") from error

    def _abort(self) -> bool:
        """False if the broker did not say so; without its producer the transaction ends all the same."""
        assert self._producer is not None
        try:
            self._producer.purge()
            self._producer.abort_transaction(self._config.answer_s / 4)
        except KafkaException:
            self._drop()
            return False
        return True

    def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaException):
                producer.purge()
                producer.flush(0)

    def _settings(self) -> dict[str, Any]:
        return self._config.client() | {
            "transactional.id": f"{self._config.prefix}{self._new_token()}",
            "transaction.timeout.ms": max(TRANSACTION_S, round(self._config.publish_s) + 5) * 1_000,
            "delivery.timeout.ms": round(self._config.publish_s * 1_000),
            "enable.idempotence": True,
            # By the key's CRC-32, so that a key's partition is the same in every release and on every bus.
            "partitioner": "consistent",
            "linger.ms": 0,
            "compression.type": "zstd",
        }


def _produce(producer: Producer, topic: str, message: Encoded, failures: list[KafkaError], ends_at: float) -> None:
    def delivered(error: KafkaError | None, _: Any) -> None:
        if error is not None:
            failures.append(error)

    given: dict[str, Any] = {"headers": message.headers, "on_delivery": delivered}
    while True:
        try:
            producer.produce(topic, message.value, message.key, **given)
            return
        except BufferError:
            # The library's own queue is full: let it send.
            if time.monotonic() >= ends_at:
                raise
            producer.poll(0.05)


def _left(ends_at: float) -> float:
    return max(0.05, ends_at - time.monotonic())


def _reason(error: Exception) -> str:
    """The error's name: what it says besides may hold addresses and configuration."""
    failure = error.args[0] if error.args else None
    return failure.name() if isinstance(failure, KafkaError) else type(error).__name__
