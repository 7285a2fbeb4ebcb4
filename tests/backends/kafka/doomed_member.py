"""A process that joins a group, receives, says what, and never commits: to be killed or put to sleep by a test."""

from __future__ import annotations

import asyncio
import sys

from interlock.backends.kafka.bus import KafkaBus
from interlock.backends.kafka.config import KafkaConfig
from interlock.backends.local.clock import SystemClock
from tests.contracts.on_kafka import new_token


async def main(bootstrap_servers: str, prefix: str, member: str, lease_s: str) -> None:
    config = KafkaConfig(bootstrap_servers, prefix=prefix, heartbeat_s=0.1)
    bus = KafkaBus(config, SystemClock(), new_token=new_token, member_lease_s=float(lease_s))
    subscription = await bus.subscribe("events", group="webhooks", member=member)
    while True:
        for record in await subscription.receive(wait_s=1.0):
            print(record.message.id, flush=True)


asyncio.run(main(*sys.argv[1:]))
