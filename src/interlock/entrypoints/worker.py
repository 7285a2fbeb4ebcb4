"""The worker: what the platform does by itself. Relay, consumers, queues and sweeper, each a loop of small steps.

Every step may be interrupted anywhere and repeated by anyone: positions move only after effects are durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from interlock.bootstrap import Platform, Storage, queue_names
from interlock.core.kernel.bus import Bus, BusMessage, BusRecord, Forwards, Prunes, Subscription
from interlock.core.kernel.clock import MINUTE, Clock, Millis
from interlock.core.kernel.errors import InterlockError, WriteConflict
from interlock.core.kernel.events import Event, encode_event
from interlock.core.kernel.feed import START, Feed
from interlock.core.kernel.queue import Queue, QueueMessage
from interlock.core.kernel.store import ABSENT, DropsExpired, Item, Key, Put, Store
from interlock.core.kernel.telemetry import Telemetry
from interlock.core.notifications.handlers import handle as apply_notification
from interlock.core.notifications.model import QUEUE as NOTIFICATIONS
from interlock.core.payments.ports import Payments
from interlock.core.payments.sweeping import due_payments, oldest_unknown_s, sweep_payment
from interlock.core.webhooks.delivering import deliver
from interlock.core.webhooks.ports import QUEUE as WEBHOOKS
from interlock.entrypoints.desk_loops import Exporter, HourCounter, Rememberer, Repairer, Replayer, Unsilencer
from interlock.entrypoints.effects import EVENTS_TOPIC, effects, raise_worst, told_again
from interlock.entrypoints.steps import runs_steps_of

WORKFLOWS = "workflows"
RELAY_POSITION = Key("relay/events", "position")
BATCH = 200
PAUSE_AFTER_ERROR_S = 1.0
SWEEPS_AT_ONCE = 16
DRAIN_S = 2.0
EXPIRED_AT_ONCE = 200
MESSAGES_KEPT: Millis = 10 * MINUTE
"""On the bus, after every group has passed them: for people who look."""

Step = Callable[[], Awaitable[None]]
"""One bounded piece of work; waits a moment itself when there is none."""


class Loop(NamedTuple):
    name: str
    step: Step
    close: Callable[[], Awaitable[None]] | None = None


async def run(loops: Sequence[Loop], *, stop: asyncio.Event, clock: Clock, telemetry: Telemetry) -> None:
    """Run every loop until `stop`. Then each may finish its step within DRAIN_S; the rest is interrupted, which is safe."""
    tasks = [asyncio.create_task(_forever(loop, stop, clock, telemetry), name=loop.name) for loop in loops]
    try:
        await stop.wait()
        await asyncio.wait(tasks, timeout=DRAIN_S)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(loop.close() for loop in loops if loop.close is not None), return_exceptions=True)


async def _forever(loop: Loop, stop: asyncio.Event, clock: Clock, telemetry: Telemetry) -> None:
    while not stop.is_set():
        try:
            await loop.step()
        except InterlockError as error:
            telemetry.warning("worker.step_failed", loop=loop.name, code=error.code)
            await clock.sleep(PAUSE_AFTER_ERROR_S)
        except Exception as error:
            # A bug in one step must neither end the loop nor pass unseen: what it worked on comes again.
            telemetry.error("worker.step_crashed", loop=loop.name, error=type(error).__name__)
            await clock.sleep(PAUSE_AFTER_ERROR_S)


class Relay:
    """Feed -> bus. The position is kept in the store; between publishing and keeping it a crash publishes twice."""

    def __init__(
        self, store: Store, feed: Feed, bus: Bus, *, forwarding: Forwards | None = None, wait_s: float = 0.5
    ) -> None:
        """`forwarding`: the bus itself, if it can point at events instead of taking copies."""
        self._store = store
        self._feed = feed
        self._bus = bus
        self._forwarding = forwarding
        self._wait_s = wait_s
        self._position: str | None = None
        self._version = ABSENT

    async def step(self) -> None:
        if self._position is None:
            item = await self._store.get(RELAY_POSITION)
            self._position, self._version = (item.value.decode(), item.version) if item else (START, ABSENT)
        position = await self._publish(self._position)
        if position is None:
            await self._feed.wait(after=self._position, timeout_s=self._wait_s)
            return
        try:
            await self._store.commit([Put(RELAY_POSITION, position.encode(), self._version)])
        except WriteConflict:
            self._position = None  # another relay runs: take its position up
            return
        self._position, self._version = position, self._version + 1

    async def _publish(self, after: str) -> str | None:
        """The next events; the position behind them, None if there are none."""
        if self._forwarding is not None:
            return await self._forwarding.forward(EVENTS_TOPIC, after=after, limit=BATCH)
        records = await self._feed.read(after=after, limit=BATCH)
        if not records:
            return None
        await publish(self._bus, [record.event for record in records])
        return records[-1].position


async def publish(bus: Bus, events: Sequence[Event]) -> None:
    """Raises as `Bus.publish` does."""
    await bus.publish(EVENTS_TOPIC, [BusMessage(event.id, event.aggregate, encode_event(event)) for event in events])


class Consumer:
    """One consumer group's member: receive, have the effects made durable, move the offset."""

    def __init__(
        self,
        bus: Bus,
        *,
        group: str,
        member: str,
        consume: Callable[[list[BusRecord]], Awaitable[None]],
        wait_s: float = 0.5,
    ) -> None:
        self._bus = bus
        self._group = group
        self._member = member
        self._consume = consume
        self._wait_s = wait_s
        self._subscription: Subscription | None = None

    async def step(self) -> None:
        if self._subscription is None:
            self._subscription = await self._bus.subscribe(EVENTS_TOPIC, group=self._group, member=self._member)
        records = await self._subscription.receive(limit=BATCH, wait_s=self._wait_s)
        if not records:
            return
        try:
            await self._consume(records)
            await self._subscription.commit(records)
        except BaseException:
            # What was received and not committed must come again: leave the group and join anew.
            subscription, self._subscription = self._subscription, None
            await subscription.close()
            raise

    async def close(self) -> None:
        if self._subscription is not None:
            await self._subscription.close()


def retry_s(attempts: int) -> float:
    """How long a message waits that could not be dealt with."""
    return min(2.0**attempts, 300.0)


class QueueWorker:
    """Messages of one queue, several at a time. `handle` says whether the message is done."""

    def __init__(
        self,
        queue: Queue,
        name: str,
        handle: Callable[[QueueMessage], Awaitable[bool]],
        *,
        at_once: int = 16,
        wait_s: float = 0.5,
        retry_s: Callable[[int], float] = retry_s,
    ) -> None:
        self._queue = queue
        self._name = name
        self._handle = handle
        self._at_once = at_once
        self._wait_s = wait_s
        self._retry_s = retry_s

        self._under_way: set[asyncio.Task[None]] = set()
        self._left: dict[str, tuple[QueueMessage, bool]] = {}
        """By receipt: messages that could be neither acknowledged nor given back, and whether they are done."""

    async def step(self) -> None:
        """Take as many messages as there is room for. One that takes long holds up nobody but itself."""
        for message, done in list(self._left.values()):
            await self._settle(message, done=done)  # while the store takes nothing, nothing more is taken on
        room = self._at_once - len(self._under_way)
        if room == 0:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        else:
            for message in await self._queue.receive(self._name, limit=room, wait_s=self._wait_s):
                self._under_way.add(asyncio.create_task(self._one(message)))
        self._reap()

    async def close(self) -> None:
        """What is under way may finish within DRAIN_S; the rest comes again when its lease ends."""
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=DRAIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _reap(self) -> None:
        """Forget who is done. Raises the worst of what they raised; all their messages come again."""
        done = {task for task in self._under_way if task.done()}
        self._under_way -= done
        errors = [error for task in done if not task.cancelled() and isinstance(error := task.exception(), Exception)]
        raise_worst(errors)

    async def _one(self, message: QueueMessage) -> None:
        done = False
        try:
            done = await self._handle(message)
        finally:
            self._left[message.receipt] = (message, done)
            await self._settle(message, done=done)

    async def _settle(self, message: QueueMessage, *, done: bool) -> None:
        """Acknowledge it or give it back. Safe to repeat; not done at all, it would lie idle for the rest of its lease."""
        if done:
            await self._queue.ack(self._name, message.receipt)
        else:
            await self._queue.release(self._name, message.receipt, delay_s=self._retry_s(message.attempts))
        self._left.pop(message.receipt, None)


class Sweeper:
    """Payments whose deadline has passed, a bounded number at once."""

    def __init__(self, payments: Payments, *, interval_s: float) -> None:
        self._payments = payments
        self._interval_s = interval_s

    async def step(self) -> None:
        p = self._payments
        items = await due_payments(p, limit=SWEEPS_AT_ONCE)
        _measure(p, items)
        if not items:
            await p.clock.sleep(self._interval_s)
            return
        await _swept(p, items)


def _measure(payments: Payments, items: Sequence[Item]) -> None:
    now = payments.clock.now()
    oldest = min((int(item.indexes["due"].sort.partition("/")[0]) for item in items), default=now)
    payments.telemetry.gauge("interlock_sweeper_due", float(len(items)))
    payments.telemetry.gauge("interlock_sweeper_lag_seconds", max(0.0, (now - oldest) / 1000))


async def _swept(payments: Payments, items: Sequence[Item]) -> None:
    """Raises the worst of what went wrong, when every payment has had its turn."""
    errors: list[Exception] = []
    for start in range(0, len(items), SWEEPS_AT_ONCE):
        batch = items[start : start + SWEEPS_AT_ONCE]
        outcomes = await asyncio.gather(*(sweep_payment(payments, item) for item in batch), return_exceptions=True)
        errors += [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    raise_worst(errors)


async def sweep(payments: Payments, *, seconds: float) -> int:
    """One sweep after the other until nothing is due or the time is over, for who is called now and then; how many it were.

    Measures what it finds at first: where no worker runs, nobody else does.
    """
    until, count = payments.clock.monotonic() + seconds, 0
    items = await due_payments(payments, limit=SWEEPS_AT_ONCE)
    _measure(payments, items)
    payments.telemetry.gauge("interlock_unknown_oldest_seconds", await oldest_unknown_s(payments))
    while items:
        await _swept(payments, items)
        count += len(items)
        if payments.clock.monotonic() >= until:
            break
        items = await due_payments(payments, limit=SWEEPS_AT_ONCE)
    return count


def loops(platform: Platform, *, member: str) -> tuple[Loop, ...]:
    """Everything one node does by itself. `member` names the node within the consumer groups."""
    storage, webhooks, notifications = platform.storage, platform.webhooks, platform.notifications
    groups, run_step = effects(platform), runs_steps_of(platform)
    consumers = {
        group: Consumer(storage.bus, group=group, member=member, consume=consume) for group, consume in groups.items()
    }
    queues = {
        NOTIFICATIONS: QueueWorker(
            storage.queue, NOTIFICATIONS, lambda message: apply_notification(notifications, message)
        ),
        WEBHOOKS: QueueWorker(storage.queue, WEBHOOKS, lambda message: deliver(webhooks, message), at_once=64),
    }
    if (runner := platform.steps_here) is not None:
        queues[WORKFLOWS] = QueueWorker(storage.queue, WORKFLOWS, lambda message: runner.carry_on(message, run_step))
    exports = platform.desk.exports
    exporting = () if exports is None else (Loop("exports", Exporter(exports, storage).step),)
    return (
        Loop("relay", Relay(storage.store, storage.feed, storage.bus, forwarding=storage.forwarding).step),
        *(Loop(f"consumer.{group}", consumer.step, consumer.close) for group, consumer in consumers.items()),
        *(Loop(f"queue.{name}", queue.step, queue.close) for name, queue in queues.items()),
        Loop("sweeper", Sweeper(platform.payments, interval_s=platform.settings.sweep_interval_s).step),
        Loop("repairs", Repairer(platform.desk.repairs, storage.clock).step),
        Loop("silences", Unsilencer(platform.desk.alerts).step),
        Loop("replays", Replayer(platform.desk.replays, told_again(platform)).step),
        Loop("objectives", HourCounter(platform.desk.objectives).step),
        Loop("counts", Rememberer(platform.desk.tallies, platform.desk.past, platform.desk.objectives).step),
        *exporting,
        *_janitor(storage),
        Loop("gauges", Gauges(platform, groups=tuple(groups)).step),
    )


def _janitor(storage: Storage) -> tuple[Loop, ...]:
    """None where stores and buses drop by themselves."""
    if storage.expiring is None or storage.pruning is None:
        return ()
    return (Loop("janitor", Janitor(storage.clock, storage.expiring, storage.pruning).step),)


class Janitor:
    """Drops what nobody needs any more: expired items, and messages every group has passed."""

    def __init__(self, clock: Clock, expiring: DropsExpired, pruning: Prunes, *, interval_s: float = 60.0) -> None:
        self._clock = clock
        self._expiring = expiring
        self._pruning = pruning
        self._interval_s = interval_s

    async def step(self) -> None:
        while await self._expiring.drop_expired(now=self._clock.now(), limit=EXPIRED_AT_ONCE) == EXPIRED_AT_ONCE:
            await self._clock.sleep(0)
        await self._pruning.prune(before=self._clock.now() - MESSAGES_KEPT)
        await self._clock.sleep(self._interval_s)


class Gauges:
    """Measures that nobody passes by: depths, lags, the oldest unknown."""

    def __init__(self, platform: Platform, *, groups: Sequence[str], interval_s: float = 5.0) -> None:
        self._platform = platform
        self._groups = groups
        self._interval_s = interval_s

    async def step(self) -> None:
        storage, telemetry = self._platform.storage, self._platform.storage.telemetry
        now = storage.clock.now()
        for queue in queue_names(self._platform):
            depth = await storage.queue.depth(queue)
            for state in ("ready", "delayed", "leased", "dead"):
                telemetry.gauge("interlock_queue_messages", float(getattr(depth, state)), queue=queue, state=state)
            waiting = 0.0 if depth.oldest_ready_at is None else max(0.0, (now - depth.oldest_ready_at) / 1000)
            telemetry.gauge("interlock_queue_oldest_ready_seconds", waiting, queue=queue)
        for group in self._groups:
            telemetry.gauge(
                "interlock_bus_lag_messages", float(await storage.bus.lag(EVENTS_TOPIC, group=group)), group=group
            )
        engine = self._platform.engine
        for provider in engine.names():
            telemetry.gauge(
                "interlock_provider_breaker_open", float(not engine.is_available(provider)), provider=provider
            )
        telemetry.gauge("interlock_unknown_oldest_seconds", await oldest_unknown_s(self._platform.payments))
        await storage.clock.sleep(self._interval_s)
