"""Queues in memory: a heap of messages by the instant each may next be received."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from interlock.backends.memory.wakeups import Wakeups
from interlock.core.kernel.clock import Clock, Millis
from interlock.core.kernel.errors import Invalid
from interlock.core.kernel.ids import Ids
from interlock.core.kernel.queue import DELAY_MAX_S, DeadLetter, QueueDepth, QueueMessage, QueueSpec


@dataclass(slots=True)
class _Message:
    id: str
    body: bytes
    sent_at: Millis
    ready_at: Millis
    """When it may be received next: the end of its delay or of its lease."""
    attempts: int = 0
    receipt: str | None = None
    """None: nobody has it."""


@dataclass(slots=True)
class _Queue:
    spec: QueueSpec
    messages: dict[str, _Message] = field(default_factory=dict)
    by_ready_at: list[tuple[Millis, str]] = field(default_factory=list)
    """A heap; an entry whose instant is no longer the message's own is void."""
    by_receipt: dict[str, _Message] = field(default_factory=dict)
    dead: dict[str, DeadLetter] = field(default_factory=dict)

    def stand(self, message: _Message) -> None:
        self.messages[message.id] = message
        heapq.heappush(self.by_ready_at, (message.ready_at, message.id))

    def forget(self, message: _Message) -> None:
        del self.messages[message.id]
        self.end_lease(message)

    def end_lease(self, message: _Message) -> None:
        if message.receipt is not None:
            del self.by_receipt[message.receipt]
            message.receipt = None

    def die(self, message: _Message, at: Millis) -> None:
        self.forget(message)
        self.dead[message.id] = DeadLetter(message.id, message.body, message.attempts, message.sent_at, at)

    def next_ready_at(self) -> Millis | None:
        heap = self.by_ready_at
        while heap:
            at, message_id = heap[0]
            message = self.messages.get(message_id)
            if message is not None and message.ready_at == at:
                return at
            heapq.heappop(heap)
        return None

    def next_ready(self, now: Millis) -> _Message | None:
        """Take the next message that may be received off the heap; those whose last lease has ended die instead."""
        while (at := self.next_ready_at()) is not None and at <= now:
            message = self.messages[heapq.heappop(self.by_ready_at)[1]]
            if not self.lease_was_last(message):
                return message
            self.die(message, at)
        return None

    def lease_was_last(self, message: _Message) -> bool:
        return message.receipt is not None and message.attempts >= self.spec.attempts_max

    def bury(self, now: Millis) -> None:
        """Move messages whose last lease has ended to the dead letters."""
        ended = [m for m in self.by_receipt.values() if m.ready_at <= now and self.lease_was_last(m)]
        for message in ended:
            self.die(message, message.ready_at)


class MemoryQueue:
    def __init__(self, specs: Sequence[QueueSpec], *, clock: Clock, ids: Ids) -> None:
        self._queues = {spec.name: _Queue(spec) for spec in specs}
        self._clock = clock
        self._ids = ids
        self._wakeups = Wakeups(clock)

    async def send(self, queue: str, body: bytes, *, delay_s: float = 0.0) -> str:
        kept, now = self._queues[queue], self._clock.now()
        message = _Message(self._ids.new("msg"), bytes(body), now, now + _delay_ms(delay_s))
        kept.stand(message)
        self._wakeups.wake(queue)
        return message.id

    async def receive(self, queue: str, *, limit: int = 10, wait_s: float = 0.0) -> list[QueueMessage]:
        kept = self._queues[queue]
        deadline = self._clock.monotonic() + wait_s
        while True:
            if received := self._lease(kept, limit):
                return received
            left_s = deadline - self._clock.monotonic()
            if left_s <= 0:
                return []
            if (ready_at := kept.next_ready_at()) is not None:
                left_s = min(left_s, max(1, ready_at - self._clock.now()) / 1_000)
            await self._wakeups.wait(queue, timeout_s=left_s)

    async def ack(self, queue: str, receipt: str) -> bool:
        kept = self._queues[queue]
        kept.bury(self._clock.now())
        message = kept.by_receipt.get(receipt)
        if message is None:
            return False
        kept.forget(message)
        return True

    async def release(self, queue: str, receipt: str, *, delay_s: float = 0.0) -> bool:
        kept, now = self._queues[queue], self._clock.now()
        delay_ms = _delay_ms(delay_s)
        kept.bury(now)
        message = kept.by_receipt.get(receipt)
        if message is None:
            return False
        if kept.lease_was_last(message):
            kept.die(message, now)
        else:
            kept.end_lease(message)
            message.ready_at = now + delay_ms
            kept.stand(message)
            self._wakeups.wake(queue)
        return True

    async def depth(self, queue: str) -> QueueDepth:
        kept, now = self._queues[queue], self._clock.now()
        kept.bury(now)
        ready = [message.ready_at for message in kept.messages.values() if message.ready_at <= now]
        leased = sum(message.ready_at > now for message in kept.by_receipt.values())
        delayed = len(kept.messages) - len(ready) - leased
        return QueueDepth(len(ready), delayed, leased, len(kept.dead), min(ready, default=None))

    async def dead_letters(self, queue: str, *, limit: int = 100, after: str = "") -> list[DeadLetter]:
        kept = self._queues[queue]
        kept.bury(self._clock.now())
        ids = sorted(kept.dead)
        start = bisect_right(ids, after)
        return [kept.dead[message_id] for message_id in ids[start : start + limit]]

    async def redrive(self, queue: str, ids: Sequence[str]) -> int:
        kept, now = self._queues[queue], self._clock.now()
        kept.bury(now)
        letters = [letter for message_id in ids if (letter := kept.dead.pop(message_id, None)) is not None]
        for letter in letters:
            kept.stand(_Message(letter.id, letter.body, letter.sent_at, now))
        if letters:
            self._wakeups.wake(queue)
        return len(letters)

    def _lease(self, kept: _Queue, limit: int) -> list[QueueMessage]:
        now = self._clock.now()
        lease_ends_at = now + round(kept.spec.lease_s * 1_000)
        received: list[QueueMessage] = []
        while len(received) < limit and (message := kept.next_ready(now)) is not None:
            kept.end_lease(message)
            message.attempts += 1
            message.receipt = receipt = self._ids.new("lse")
            message.ready_at = lease_ends_at
            kept.by_receipt[receipt] = message
            kept.stand(message)
            received.append(QueueMessage(message.id, message.body, message.attempts, receipt, message.sent_at))
        return received


def _delay_ms(delay_s: float) -> Millis:
    if not 0 <= delay_s <= DELAY_MAX_S:
        raise Invalid(f"a delay is 0 to {DELAY_MAX_S} seconds")
    return -int(-delay_s * 1_000 // 1)
