"""Reading: a client of its own, which is told what to read and from where, and knows of no group.

So a member can go on reading what it keeps while, as the group's member, it is held up by what it must give up.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from interlock.backends.kafka.config import KafkaConfig
from interlock.backends.kafka.holdings import Holding, Holdings
from interlock.backends.kafka.messages import decode
from interlock.core.kernel.bus import BusRecord

TURN_S = 0.05
"""How long a new order may wait for the reader."""
RECORDS_PER_TURN = 500


class Reader:
    """All calls of its client are made on its thread: the library serves one at a time."""

    def __init__(
        self,
        config: KafkaConfig,
        topic: str,
        group: str,
        holdings: Holdings,
        *,
        changed: Callable[[], None],
        framed: bool,
    ) -> None:
        self._config = config
        self._topic = topic
        self._group = group
        self._holdings = holdings
        self._changed = changed
        self._framed = framed
        self._orders: queue.SimpleQueue[Callable[[Consumer], None]] = queue.SimpleQueue()
        self._stopping = False
        self._paused: dict[int, Holding] = {}
        self._thread = Thread(target=self._run, name=f"kafka-reader {topic}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self._stopping = True

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def read(self, holding: Holding) -> None:
        def order(client: Consumer) -> None:
            if self._holdings.take_up(holding):
                start = holding.committed or OFFSET_BEGINNING
                client.incremental_assign([TopicPartition(self._topic, holding.partition, start)])
                # It may have been paused when we held it before.
                client.resume([TopicPartition(self._topic, holding.partition)])

        self._orders.put(order)

    def leave(self, partitions: list[int]) -> None:
        def order(client: Consumer) -> None:
            going = [one for one in client.assignment() if one.partition in partitions]
            client.incremental_unassign(going)
            for number in partitions:
                self._paused.pop(number, None)

        self._orders.put(order)

    def _run(self) -> None:
        client = Consumer(reading_settings(self._config, self._group))
        while not self._stopping:
            while not self._orders.empty():
                # An order that fails is about a partition that is gone; the member finds out by itself.
                with suppress(KafkaException):
                    self._orders.get()(client)
            self._resume(client)
            for record in client.consume(RECORDS_PER_TURN, TURN_S):
                self._take(client, record)
        client.close()

    def _take(self, client: Consumer, record: Any) -> None:
        if (error := record.error()) is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._holdings.reached(record.partition(), record.offset())
            # Others pass by themselves or show at the member: the library goes on trying.
            return
        message = decode(record, framed=self._framed)
        full = self._holdings.put(BusRecord(record.partition(), record.offset(), message))
        if full is not None and full.partition not in self._paused:
            # What was fetched already comes all the same, once: nothing may be thrown away here.
            self._paused[full.partition] = full
            with suppress(KafkaException):
                client.pause([TopicPartition(self._topic, full.partition)])
        self._changed()

    def _resume(self, client: Consumer) -> None:
        for number, holding in list(self._paused.items()):
            if holding.has_room:
                del self._paused[number]
                with suppress(KafkaException):
                    client.resume([TopicPartition(self._topic, number)])


def reading_settings(config: KafkaConfig, group: str) -> dict[str, Any]:
    """Of a client that reads what it is told to, and only what was committed by its publisher."""
    return config.client() | {
        "group.id": group,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": round(config.fetch_wait_s * 1_000),
        "queued.max.messages.kbytes": 16_384,
        "check.crcs": True,
    }
