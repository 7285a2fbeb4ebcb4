"""Webhooks over memory adapters, a scripted merchant, and a switch that kills the platform between any two steps."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import msgspec

from interlock.backends.local.ids import SystemIds
from interlock.backends.memory.documents import MemoryDocuments
from interlock.backends.memory.queue import MemoryQueue
from interlock.backends.memory.store import MemoryStore
from interlock.core.kernel.bus import BusMessage, BusRecord
from interlock.core.kernel.events import Event, encode_event
from interlock.core.kernel.idempotency import Request
from interlock.core.kernel.queue import QueueMessage
from interlock.core.kernel.store import Key, Put
from interlock.core.kernel.vault import Vault
from interlock.core.webhooks.commands import CreateEndpoint
from interlock.core.webhooks.delivering import consume, deliver
from interlock.core.webhooks.events import COLLECTIONS
from interlock.core.webhooks.handlers import create_endpoint
from interlock.core.webhooks.listing import Wanted, find_deliveries
from interlock.core.webhooks.model import Delivery, Endpoint
from interlock.core.webhooks.ports import QUEUE, QUEUE_SPEC, Failure, SendResult, Webhooks
from interlock.core.webhooks.sealing import Safe
from interlock.core.webhooks.subscriptions import Subscriptions
from interlock.core.webhooks.traffic import Traffic
from tests.clocks import ManualClock

TENANT = "ten_1"
URL = "https://shop.example.com/hooks"
OK = SendResult(200, None, 12, b"thanks")
REFUSED = SendResult(None, Failure.CONNECT, 3)


class Killed(Exception):
    """The process ended here."""


class Mortal:
    """Passes calls on, and ends the platform before or after the chosen one."""

    def __init__(self, world: World, inner: Any) -> None:
        self._world = world
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if not asyncio.iscoroutinefunction(attribute):
            return attribute

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._world.step()
            result = await attribute(*args, **kwargs)
            self._world.step()
            return result

        return call


class Post:
    """One request as the merchant got it."""

    def __init__(self, url: str, headers: dict[str, str], body: bytes, at: int) -> None:
        self.url, self.headers, self.body, self.at = url, headers, body, at
        self.event = headers["webhook-id"]


class Merchant:
    """Answers by the script, then always with `otherwise`. A script entry may be a coroutine function that makes the answer."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.posts: list[Post] = []
        self.script: list[SendResult | Callable[[], Any]] = []
        self.otherwise: SendResult = OK

    async def send(self, url: str, headers: Any, body: bytes, *, timeout_s: float) -> SendResult:
        self.posts.append(Post(url, dict(headers), body, self._clock.now()))
        answer = self.script.pop(0) if self.script else self.otherwise
        if callable(answer) and not isinstance(answer, SendResult):
            answer = await answer()
        return answer

    @property
    def heard(self) -> list[str]:
        return [post.event for post in self.posts]


class Telemetry:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.shown: list[str] = []

    def _line(self, event: str, **fields: Any) -> None:
        self.lines.append(event)
        self.shown.append(repr(fields))

    info = warning = error = _line

    def count(self, metric: str, amount: int = 1, **labels: str) -> None: ...
    def observe(self, metric: str, value: float, **labels: str) -> None: ...
    def gauge(self, metric: str, value: float, **labels: str) -> None: ...

    def about(self, payment_id: str) -> None: ...

    def span(self, name: str, **fields: Any) -> Any:
        return nullcontext(Span())


class Span:
    traceparent = ""

    def set(self, **fields: Any) -> None: ...


class World:
    def __init__(
        self, *, seed: int = 1, allow_loopback: bool = False, clock: ManualClock | None = None, store: Any = None
    ) -> None:
        self.clock = clock or ManualClock()
        self.random = random.Random(seed)
        self.store: Any = store or MemoryStore(self.clock)
        self.ids = SystemIds(self.clock, random_bits=self.random.getrandbits)
        self.queue = MemoryQueue([QUEUE_SPEC], clock=self.clock, ids=self.ids)
        self.documents = MemoryDocuments(COLLECTIONS)
        self.merchant = Merchant(self.clock)
        self.telemetry = Telemetry()
        self.allow_loopback = allow_loopback
        self.alone = False
        self.vault: Vault | None = None
        self.kill_at: int | None = None
        self.steps = 0
        self.w = self.new_process()

    def new_process(self) -> Webhooks:
        """What is in memory is gone; what is stored stays."""
        self.w = Webhooks(
            store=Mortal(self, self.store),
            queue=Mortal(self, self.queue),
            documents=self.documents,
            sender=Mortal(self, self.merchant),
            clock=self.clock,
            ids=self.ids,
            telemetry=self.telemetry,
            random=lambda: 0.5,
            random_bytes=self.random.randbytes,
            subscriptions=Subscriptions(Mortal(self, self.store)),
            traffic=Traffic(),
            allow_loopback=self.allow_loopback,
            alone=self.alone,
            safe=Safe(self.vault),
        )
        return self.w

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.kill_at:
            raise Killed

    async def endpoint(self, *events: str, url: str = URL, tenant: str = TENANT) -> Endpoint:
        endpoint, _ = await create_endpoint(self.w, CreateEndpoint(url, list(events or "*")), request(tenant))
        return endpoint

    async def commit(
        self, aggregate: str = "pay_1", version: int = 1, *, type: str = "payment.created", tenant: str = TENANT
    ) -> Event:
        """A change somewhere else in the platform, and its event."""
        event = Event(
            id=self.ids.new("evt"),
            type=type,
            tenant=tenant,
            aggregate=aggregate,
            version=version,
            at=self.clock.now(),
            data=msgspec.Raw(b'{"payment":{"id":"%s","version":%d}}' % (aggregate.encode(), version)),
        )
        await self.store.commit([Put(Key(f"{tenant}/pay/{aggregate}", "payment"), b"-", version - 1)], [event])
        return event

    async def happen(self, *, aggregate: str = "pay_1", count: int = 1, first: int = 1) -> list[Event]:
        """So many changes of one thing, fanned out."""
        events = [await self.commit(aggregate, version) for version in range(first, first + count)]
        await consume(self.w, records(events))
        return events

    async def drain(self) -> int:
        """Work on all that is receivable now, one message after the other; how many there were."""
        handled = 0
        while messages := await self.queue.receive(QUEUE, limit=1):
            await self.handle(messages[0])
            handled += 1
            assert handled < 10_000, "the queue never empties"
        return handled

    async def handle(self, message: QueueMessage) -> bool:
        done = False
        try:
            done = await deliver(self.w, message)
        except Killed:
            raise
        except Exception:
            await self.queue.release(QUEUE, message.receipt, delay_s=2.0)
            raise
        if done:
            await self.w.queue.ack(QUEUE, message.receipt)
        else:
            await self.queue.release(QUEUE, message.receipt, delay_s=min(2.0**message.attempts, 300))
        return done

    async def run_for(self, seconds: float, *, every: float = 5.0) -> None:
        """Time goes by, a worker working."""
        await self.drain()
        for _ in range(int(seconds / every)):
            self.clock.advance(every)
            await self.drain()

    async def deliveries(self, **wanted: Any) -> list[Delivery]:
        """Oldest first."""
        found = await find_deliveries(self.w, wanted.pop("tenant", TENANT), Wanted(**wanted), limit=100)
        return found.deliveries[::-1]

    async def messages_left(self) -> int:
        depth = await self.queue.depth(QUEUE)
        return depth.ready + depth.delayed + depth.leased


def request(tenant: str = TENANT) -> Request:
    return Request(tenant, None, "", "cli_1", "req_1")


def records(events: list[Event]) -> list[BusRecord]:
    return [
        BusRecord(0, place, BusMessage(event.id, event.aggregate, encode_event(event)))
        for place, event in enumerate(events)
    ]
