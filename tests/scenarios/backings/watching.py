"""Queue and bus with a note of what the ports do not tell: when a message may be received next, who follows a topic."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from interlock.core.kernel.bus import BusMessage, BusRecord
from interlock.core.kernel.clock import Clock, Millis
from interlock.core.kernel.events import encode_event
from interlock.core.kernel.feed import Feed
from interlock.core.kernel.queue import DeadLetter, QueueDepth, QueueMessage, QueueSpec

T = TypeVar("T")
Carry = Callable[[Awaitable[T]], Awaitable[T]]


async def at_once(work: Awaitable[T]) -> T:
    """How calls are made to adapters in memory."""
    return await work


class WatchedQueue:
    def __init__(
        self,
        queue: Any,
        specs: Sequence[QueueSpec],
        *,
        clock: Clock,
        carry: Any = at_once,
        is_quiet: bool = False,
        step_s: float = 0.001,
    ) -> None:
        """One that `is_quiet` is not asked for messages when, by these notes, none can be ready.

        Its delays are whole `step_s`.
        """
        self._queue, self._clock, self._carry = queue, clock, carry
        self._is_quiet, self._step_ms = is_quiet, round(step_s * 1_000)
        self._specs = {spec.name: spec for spec in specs}
        self._ready_at: dict[str, dict[str, Millis]] = {spec.name: {} for spec in specs}
        """Queue -> message -> when its delay or its lease ends."""
        self._held: dict[str, QueueMessage] = {}
        """By receipt."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._specs)

    def next_ready_at(self) -> Millis | None:
        """When, by these notes, a message may be received next; an instant gone by if one is waiting."""
        return min((at for noted in self._ready_at.values() for at in noted.values()), default=None)

    async def open_messages(self) -> dict[str, int]:
        """Queue -> how many messages are neither done nor dead."""
        depths = {name: await self.depth(name) for name in self._specs}
        return {name: depth.ready + depth.delayed + depth.leased for name, depth in depths.items()}

    async def send(self, queue: str, body: bytes, *, delay_s: float = 0.0) -> str:
        async def call() -> str:
            message_id: str = await self._queue.send(queue, body, delay_s=delay_s)
            self._note(queue, message_id, delay_s)
            return message_id

        return await self._carry(call())

    async def receive(self, queue: str, *, limit: int = 10, wait_s: float = 0.0) -> list[QueueMessage]:
        async def call() -> list[QueueMessage]:
            now = self._clock.now()
            received: list[QueueMessage] = await self._queue.receive(queue, limit=limit, wait_s=wait_s)
            if not received:
                for message_id in [one for one, at in self._ready_at[queue].items() if at <= now]:
                    del self._ready_at[queue][message_id]  # dead
            for message in received:
                self._held[message.receipt] = message
                self._note(queue, message.id, self._specs[queue].lease_s)
            return received

        noted = self._ready_at[queue].values()
        if self._is_quiet and wait_s == 0 and not any(at <= self._clock.now() for at in noted):
            return []
        return await self._carry(call())

    async def ack(self, queue: str, receipt: str) -> bool:
        async def call() -> bool:
            done: bool = await self._queue.ack(queue, receipt)
            if done and (message := self._held.pop(receipt, None)) is not None:
                self._ready_at[queue].pop(message.id, None)
            return done

        return await self._carry(call())

    async def release(self, queue: str, receipt: str, *, delay_s: float = 0.0) -> bool:
        async def call() -> bool:
            done: bool = await self._queue.release(queue, receipt, delay_s=delay_s)
            if done and (message := self._held.pop(receipt, None)) is not None:
                if message.attempts >= self._specs[queue].attempts_max:
                    self._ready_at[queue].pop(message.id, None)
                else:
                    self._note(queue, message.id, delay_s)
            return done

        return await self._carry(call())

    async def depth(self, queue: str) -> QueueDepth:
        return await self._carry(self._queue.depth(queue))

    async def dead_letters(self, queue: str, *, limit: int = 100, after: str = "") -> list[DeadLetter]:
        return await self._carry(self._queue.dead_letters(queue, limit=limit, after=after))

    async def redrive(self, queue: str, ids: Sequence[str]) -> int:
        async def call() -> int:
            count: int = await self._queue.redrive(queue, ids)
            for message_id in ids:
                self._note(queue, message_id, 0)
            return count

        return await self._carry(call())

    def _note(self, queue: str, message_id: str, delay_s: float) -> None:
        steps = -int(-delay_s * 1_000 / self._step_ms // 1)
        self._ready_at[queue][message_id] = self._clock.now() + steps * self._step_ms


class WatchedBus:
    def __init__(self, bus: Any, *, carry: Any = at_once, feed: Feed | None = None) -> None:
        """`feed`: the one a bus that points at events forwards from."""
        self._bus, self._carry, self._feed = bus, carry, feed
        self.published: list[BusMessage] = []
        self._groups: dict[tuple[str, str], None] = {}

    async def behind(self) -> dict[str, int]:
        """Group -> how many messages it has not committed."""
        return {group: await self.lag(topic, group=group) for topic, group in self._groups}

    async def publish(self, topic: str, messages: Sequence[BusMessage]) -> None:
        async def call() -> None:
            await self._bus.publish(topic, messages)
            self.published += messages

        await self._carry(call())

    async def forward(self, topic: str, *, after: str, limit: int = 100) -> str | None:
        async def call() -> str | None:
            assert self._feed is not None
            records = await self._feed.read(after=after, limit=limit)
            position: str | None = await self._bus.forward(topic, after=after, limit=limit)
            passed = [record for record in records if position is not None and record.position <= position]
            self.published += [BusMessage(one.event.id, one.event.aggregate, encode_event(one.event)) for one in passed]
            return position

        return await self._carry(call())

    async def subscribe(self, topic: str, *, group: str, member: str) -> Any:
        self._groups[topic, group] = None
        subscription = await self._carry(self._bus.subscribe(topic, group=group, member=member))
        return subscription if self._carry is at_once else WatchedSubscription(subscription, self._carry)

    async def lag(self, topic: str, *, group: str) -> int:
        return await self._carry(self._bus.lag(topic, group=group))

    async def prune(self, *, before: Millis) -> int:
        return await self._carry(self._bus.prune(before=before))


class WatchedSubscription:
    def __init__(self, subscription: Any, carry: Any) -> None:
        self._subscription, self._carry = subscription, carry

    async def receive(self, *, limit: int = 100, wait_s: float = 0.0) -> list[BusRecord]:
        return await self._carry(self._subscription.receive(limit=limit, wait_s=wait_s))

    async def commit(self, records: Sequence[BusRecord]) -> None:
        await self._carry(self._subscription.commit(records))

    async def close(self) -> None:
        await self._carry(self._subscription.close())
