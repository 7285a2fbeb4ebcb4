"""Where groups stand: offsets of topics and groups, and what is between them. Joins no group."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from interlock.backends.kafka.config import KafkaConfig
from interlock.backends.kafka.messages import decode
from interlock.backends.kafka.reading import reading_settings
from interlock.core.kernel.bus import BusRecord
from interlock.core.kernel.errors import Invalid, StoreUnavailable

_START, _END = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]

COUNTED_MAX = 5_000
"""Offsets that are looked at one by one: the ends of transactions stand between messages and are none."""
MARKS_S = 2.0
"""How long a transaction that has been committed may take to show in all its partitions."""

_IN_PASSING = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)
"""A topic just made, a broker just started: who leads what is not known everywhere yet."""


class Pending(NamedTuple):
    records: list[BusRecord]
    complete: bool
    """False if there were more than was asked for, or a transaction goes on whose messages cannot be read yet."""


class _Span(NamedTuple):
    first: int
    end: int


class Standings:
    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-standings")
        self._admin: AdminClient | None = None
        self._followers: dict[str, Consumer] = {}
        """By group: they ask in its name and belong to none."""

    async def partitions(self, topic: str) -> list[int]:
        """Raises Invalid if there is no such topic, StoreUnavailable."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._partitions, topic)

    async def lag(self, topic: str, group: str) -> int:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._lag, topic, group)

    async def pending(self, topic: str, group: str, *, limit: int, framed: bool) -> Pending:
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._thread, lambda: self._pending(topic, group, limit, framed))

    async def ends(self, topic: str) -> dict[int, int]:
        """Partition -> the offset behind everything that counts."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ends, topic)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown(wait=False)

    def _drop(self) -> None:
        """A client has threads of its own, which may not outlive the process: without a name it ends."""
        self._admin = None
        while self._followers:
            self._followers.popitem()[1].close()

    def _client(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient(self._config.client())
        return self._admin

    def _follower(self, group: str) -> Consumer:
        if group not in self._followers:
            self._followers[group] = Consumer(reading_settings(self._config, group))
        return self._followers[group]

    def _partitions(self, topic: str) -> list[int]:
        try:
            found = self._client().list_topics(topic, timeout=self._config.answer_s).topics[topic]
        except KafkaException as error:
            raise StoreUnavailable(f"Kafka does not answer: {error.args[0].name()}") from error
        if found.error is not None:
            if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise Invalid(f"there is no topic {topic}: create it, then start again")
            raise StoreUnavailable(f"Kafka does not know the topic's partitions: {found.error.name()}")
        return sorted(found.partitions)

    def _lag(self, topic: str, group: str) -> int:
        self._await_marks(topic)
        spans = self._spans(topic, group)
        size = sum(span.end - span.first for span in spans.values())
        return size if size > COUNTED_MAX else len(self._read(topic, group, spans, size, framed=False).records)

    def _pending(self, topic: str, group: str, limit: int, framed: bool) -> Pending:
        settled = self._await_marks(topic)
        found = self._read(topic, group, self._spans(topic, group), limit, framed=framed)
        return found if settled else found._replace(complete=False)

    def _ends(self, topic: str) -> dict[int, int]:
        self._await_marks(topic)
        return self._offsets(topic, self._partitions(topic), _END)

    def _await_marks(self, topic: str) -> bool:
        """Wait a moment for transactions that end: one is committed before its end stands in every partition.

        False if one goes on: what it holds, and what stands behind it, nobody can read yet.
        """
        numbers = self._partitions(topic)
        written = self._offsets(topic, numbers, _END, IsolationLevel.READ_UNCOMMITTED)
        ends_at = time.monotonic() + MARKS_S
        while True:
            readable = self._offsets(topic, numbers, _END)
            if all(readable[number] >= written[number] for number in numbers):
                return True
            if time.monotonic() > ends_at:
                return False
            time.sleep(0.01)

    def _spans(self, topic: str, group: str) -> dict[int, _Span]:
        """Of each partition with anything behind the group's offset."""
        numbers = self._partitions(topic)
        # The group first: what is published in between is counted, and nothing comes out negative.
        committed = self._committed(topic, group, numbers)
        firsts = self._offsets(topic, numbers, _START)
        ends = self._offsets(topic, numbers, _END)
        spans = {number: _Span(max(committed.get(number, -1), firsts[number]), ends[number]) for number in numbers}
        return {number: span for number, span in spans.items() if span.end > span.first}

    def _committed(self, topic: str, group: str, numbers: list[int]) -> dict[int, int]:
        """Asked by a consumer: the library's admin client dies of a group whose coordinator has moved (2.16.0)."""
        asked = [TopicPartition(topic, number) for number in numbers]
        ends_at = time.monotonic() + self._config.answer_s
        while True:
            try:
                found = self._follower(group).committed(asked, timeout=self._config.answer_s)
                if failed := next((one.error for one in found if one.error is not None), None):
                    raise KafkaException(failed)
                return {one.partition: one.offset for one in found if one.offset >= 0}
            except KafkaException as error:
                if error.args[0].code() in _IN_PASSING and time.monotonic() < ends_at:
                    time.sleep(0.05)
                    continue
                raise StoreUnavailable(f"Kafka does not tell the group's offsets: {error.args[0].name()}") from error

    def _offsets(
        self, topic: str, numbers: list[int], which: OffsetSpec, level: IsolationLevel = IsolationLevel.READ_COMMITTED
    ) -> dict[int, int]:
        asked = {TopicPartition(topic, number): which for number in numbers}
        ends_at = time.monotonic() + self._config.answer_s
        while True:
            try:
                answers = self._client().list_offsets(
                    asked, isolation_level=level, request_timeout=self._config.answer_s
                )
                return {one.partition: answer.result().offset for one, answer in answers.items()}
            except KafkaException as error:
                if error.args[0].code() in _IN_PASSING and time.monotonic() < ends_at:
                    time.sleep(0.05)
                    continue
                raise StoreUnavailable(f"Kafka does not tell the topic's offsets: {error.args[0].name()}") from error

    def _read(self, topic: str, group: str, spans: dict[int, _Span], limit: int, *, framed: bool) -> Pending:
        """What counts within the spans, partition by partition."""
        if not spans:
            return Pending([], True)
        records: list[BusRecord] = []
        unread = {number: span.end for number, span in spans.items()}
        ends_at = time.monotonic() + self._config.answer_s
        client = self._follower(group)
        try:
            client.assign([TopicPartition(topic, number, span.first) for number, span in spans.items()])
            while unread and len(records) <= limit:
                if time.monotonic() > ends_at:
                    raise StoreUnavailable("Kafka does not send what it has, in time")
                for one in client.consume(500, 0.1):
                    number, offset, error = one.partition(), one.offset(), one.error()
                    if number is None or offset is None or number not in unread:
                        continue
                    if error is None and offset < spans[number].end:
                        records.append(BusRecord(number, offset, decode(one, framed=framed)))
                    at_end = error is not None and error.code() == KafkaError._PARTITION_EOF
                    if (at_end or error is None) and offset + (not at_end) >= unread[number]:
                        del unread[number]
        finally:
            client.unassign()
        records.sort(key=lambda record: (record.partition, record.offset))
        return Pending(records[:limit], not unread and len(records) <= limit)
