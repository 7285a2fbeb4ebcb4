"""Waiting until nothing is under way any more: at the provider, in the platform, at the merchant."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from interlock.bootstrap import QUEUES, Platform
from interlock.core.kernel.events import Event
from interlock.core.kernel.feed import START
from interlock.core.payments.model import Payment, decode_payment
from interlock.core.payments.records import DUE_INDEX, DUE_SHARDS
from interlock.core.payments.states import State
from interlock.core.webhooks.events import DELIVERABLE
from interlock.entrypoints import worker
from interlock.entrypoints.cli.demo.hook import Hook
from interlock.entrypoints.cli.demo.merchant import Merchant
from interlock.entrypoints.effects import EVENTS_TOPIC

LOOK_EVERY_S = 0.5
NAMED_MAX = 10


class Settling:
    """Looks at everything that may still be under way. Reads beside the running platform, and writes nothing."""

    def __init__(
        self, platform: Platform, hook: Hook, merchant: Merchant, *, simulator_url: str, run: str, quiet_s: float
    ) -> None:
        """`quiet_s`: no event for so long means that the provider has nothing up its sleeve, either."""
        self._platform = platform
        self._hook = hook
        self._merchant = merchant
        self._simulator_url = simulator_url
        self._run = run
        self._quiet_s = quiet_s
        self._position = START
        self._last_event_at = time.monotonic()
        self._ours: set[str] = set()
        self._expected: set[str] = set()
        """Ids of the events our endpoint is to get."""
        loops = worker.loops(platform, member="demo")
        self._groups = [loop.name.partition(".")[2] for loop in loops if loop.name.startswith("consumer.")]

    async def wait(self, *, timeout_s: float, on_look: Callable[[int], None]) -> list[str]:
        """What is still under way when time is up; nothing, usually. `on_look` hears how much is left."""
        until = time.monotonic() + timeout_s
        while True:
            left = await self._left()
            on_look(len(left))
            if not left or time.monotonic() > until:
                return left
            await asyncio.sleep(LOOK_EVERY_S)

    async def _left(self) -> list[str]:
        await self._follow()
        left = [*await self._due(), *await self._waiting(), *await self._at_provider()]
        missing = self._expected - self._hook.events
        left += [f"webhook {event} has not come" for event in sorted(missing)[:NAMED_MAX]]
        if not left and time.monotonic() - self._last_event_at < self._quiet_s:
            left.append("it has not been quiet for long enough")
        return left

    async def _follow(self) -> None:
        """Take in the events since the last look."""
        while records := await self._platform.storage.feed.read(after=self._position, limit=1000):
            self._position = records[-1].position
            self._last_event_at = time.monotonic()
            for record in records:
                self._expect(record.event)

    def _expect(self, event: Event) -> None:
        if event.version == 1 and f'"reference":"{self._run}-'.encode() in bytes(event.data):
            self._ours.add(event.aggregate)
        if event.aggregate in self._ours and event.type in DELIVERABLE:
            self._expected.add(event.id)

    async def _due(self) -> list[str]:
        """Payments with an operation that is not over. A payer's or a merchant's time to act is no such thing."""
        found = []
        for shard in range(DUE_SHARDS):
            after: str | None = None
            while True:
                page = await self._platform.storage.store.query_index(
                    DUE_INDEX, f"due/{shard}", after=after, limit=1000
                )
                payments = (decode_payment(item.value) for item in page.items)
                found += [f"{payment.id} is {payment.state}" for payment in payments if _is_under_way(payment)]
                if page.next is None:
                    break
                after = page.next
        return found

    async def _waiting(self) -> list[str]:
        """Queues that are not empty, and consumers that are behind."""
        storage = self._platform.storage
        found = []
        for spec in QUEUES:
            depth = await storage.queue.depth(spec.name)
            if waiting := depth.ready + depth.delayed + depth.leased:
                found.append(f"{waiting} messages in queue {spec.name}")
        position = await storage.store.get(worker.RELAY_POSITION)
        if position is None or await storage.feed.read(after=position.value.decode(), limit=1):
            found.append("the relay is behind")
        for group in self._groups:
            if lag := await storage.bus.lag(EVENTS_TOPIC, group=group):
                found.append(f"consumers {group} are {lag} events behind")
        return found

    async def _at_provider(self) -> list[str]:
        notifications = await self._merchant.steer("GET", f"{self._simulator_url}/notifications")
        return [f"{notifications['open']} notifications on their way"] if notifications["open"] else []


def _is_under_way(payment: Payment) -> bool:
    if payment.state is State.REQUIRES_ACTION:
        return False
    return any(attempt.deadline is not None for attempt in payment.attempts)
