"""Stands in for Lambda's event source mapping of a Kafka topic, which the emulator has not: reads a topic as a group, hands each
batch to the function in the shape Lambda does, and moves the group on only when the function did not fail."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from typing import Any

from confluent_kafka import Consumer, TopicPartition

BATCH, POLL_S = 100, 0.2


class KafkaMapping:
    def __init__(self, client: Any, function: str, *, servers: str, topic: str, group: str) -> None:
        self._lambda, self._function, self._topic = client, function, topic
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.failures: list[str] = []
        """What the function said of batches that came again."""

    def __enter__(self) -> KafkaMapping:
        self._consumer.subscribe([self._topic])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            records = [one for one in self._consumer.consume(BATCH, POLL_S) if one.error() is None]
            while records and not self._stop.is_set():
                answer = self._lambda.invoke(FunctionName=self._function, Payload=json.dumps(event_of(records)))
                if "FunctionError" not in answer:
                    self._consumer.commit(offsets=_behind(records), asynchronous=False)
                    break
                self.failures.append(answer["Payload"].read().decode())


def event_of(records: list[Any]) -> dict[str, Any]:
    """Source: https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html (checked 2026-11-27)"""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in records:
        found.setdefault(f"{one.topic()}-{one.partition()}", []).append(
            {
                "topic": one.topic(),
                "partition": one.partition(),
                "offset": one.offset(),
                "timestamp": one.timestamp()[1],
                "timestampType": "CREATE_TIME",
                "key": b64encode(one.key() or b"").decode(),
                "value": b64encode(one.value() or b"").decode(),
                "headers": [{name: list(value)} for name, value in one.headers() or ()],
            }
        )
    return {"eventSource": "SelfManagedKafka", "bootstrapServers": "", "records": found}


def _behind(records: list[Any]) -> list[TopicPartition]:
    places = {(one.topic(), one.partition()): one.offset() + 1 for one in records}
    return [TopicPartition(topic, partition, offset) for (topic, partition), offset in places.items()]
