"""What a serverless function keeps between its calls: one event loop and one platform, made at the first call.

A function's module does nothing but make one of these, so that a cold start loads little. Between two calls everything stands
still; a call that is killed leaves what a killed process leaves, and what it worked on comes again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from interlock.bootstrap import Platform
from interlock.core.kernel.bus import BusRecord
from interlock.core.kernel.events import Event, encode_event
from interlock.core.kernel.queue import QueueMessage

if TYPE_CHECKING:
    from interlock.entrypoints.desk_loops import HourCounter, Rememberer

T = TypeVar("T")
App = Callable[..., Coroutine[Any, Any, None]]


class Function:
    """One function's state. Its environment holds the settings, as INTERLOCK_ variables."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        self._platform: Platform | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._counters: tuple[HourCounter, Rememberer] | None = None

    def run(self, work: Callable[[Platform], Awaitable[T]]) -> T:
        """Do this with the platform, and wait for it. One call at a time, as functions are called."""
        return self.loop().run_until_complete(self._within(work))

    async def _within(self, work: Callable[[Platform], Awaitable[T]]) -> T:
        platform = await self.platform()
        try:
            return await work(platform)
        finally:
            platform.storage.telemetry.flush()

    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop everything of this function runs in, also what others start in it."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop

    async def platform(self) -> Platform:
        if self._platform is None:
            from interlock.bootstrap_aws import open_platform_on_aws
            from interlock.config import Settings

            settings = Settings.load(file=None, environment=self._environment)
            self._platform = await open_platform_on_aws(settings)
        return self._platform

    def close(self) -> None:
        """Let go of everything: for tests, as a function is never told that it ends."""
        if self._platform is not None:
            self.loop().run_until_complete(self._platform.close())
        if self._loop is not None:
            self._loop.close()
            asyncio.set_event_loop(None)
        self._platform = self._loop = self._counters = None

    # What the functions do, one method for each kind of trigger

    def asgi(self, *, prefix: str = "/") -> App:
        """The API as an ASGI application; only the paths that begin with `prefix`."""

        def make(platform: Platform) -> App:
            from interlock.entrypoints.http.api import api

            return api(platform, prefix=prefix)

        return self._served(make)

    def console(self) -> App:
        """The desk's console as an ASGI application. Its answers end at once: API Gateway passes nothing on before that."""

        def make(platform: Platform) -> App:
            from interlock.entrypoints.console.console import console

            return console(platform, streams=False)

        return self._served(make)

    def _served(self, make: Callable[[Platform], App]) -> App:
        """An application that is made at the first request."""
        made: list[App] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def answer(platform: Platform) -> None:
                if not made:
                    made.append(make(platform))
                await made[0](scope, receive, send)

            await self._within(answer)

        return app

    def publish(self, events: Sequence[Event]) -> None:
        """From the store's stream to the bus. All of them are on the bus when this returns; repeated, some are there twice."""
        from interlock.entrypoints.worker import publish

        if events:
            self.run(lambda platform: publish(platform.storage.bus, events))

    def remind(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Of the store's stream: set schedules for what it has parked."""

        async def work(platform: Platform) -> None:
            if platform.storage.reminders is not None:
                await platform.storage.reminders.remind(records)

        self.run(work)

    def wake(self, said: Mapping[str, Any]) -> bool:
        """Such a schedule's time has come: whether what was parked is back."""

        async def work(platform: Platform) -> bool:
            reminders = platform.storage.reminders
            return reminders is not None and await reminders.wake(said)

        return self.run(work)

    def put_aside(self, what: str, unreadable: Mapping[str, bytes]) -> None:
        """Keep, by name, what nobody here can read: it must hold up nothing, and must not be lost."""

        async def work(platform: Platform) -> None:
            for name, content in unreadable.items():
                await platform.storage.blobs.put(f"unreadable/{what}/{name}", content)
                platform.storage.telemetry.error("worker.event_unreadable", event_id=name)

        if unreadable:
            self.run(work)

    def follow(self, records: Sequence[BusRecord]) -> None:
        """Every effect of these events, each of which is idempotent. Raises if one failed, after the others had their turn."""
        from interlock.entrypoints.effects import effects, together

        async def work(platform: Platform) -> None:
            await together([effect(list(records)) for effect in effects(platform).values()])

        self.run(work)

    def share(self, records: Sequence[BusRecord]) -> None:
        """Put these events where others have rules for them. What nobody can read, or is too large for that, is kept by name."""
        from interlock.entrypoints.effects import EventReader

        async def work(platform: Platform) -> dict[str, bytes]:
            storage = platform.storage
            if storage.sharing is None:
                return {}
            events = EventReader(storage.telemetry).readable(records)
            return {f"{event.id}.json": encode_event(event) for event in await storage.sharing.put(events)}

        self.put_aside("sharing", self.run(work))

    async def deliver(self, record: Mapping[str, Any]) -> None:
        """A record of the webhooks queue. Raises NotDone: it comes again when it should."""
        from interlock.core.webhooks.delivering import deliver
        from interlock.core.webhooks.ports import QUEUE

        await self._within(lambda p: _settled(p, QUEUE, record, lambda message: deliver(p.webhooks, message)))

    async def take_notification(self, record: Mapping[str, Any]) -> None:
        """A record of the notifications queue. Raises NotDone: it comes again when it should."""
        from interlock.core.notifications.handlers import handle
        from interlock.core.notifications.model import QUEUE

        await self._within(lambda p: _settled(p, QUEUE, record, lambda message: handle(p.notifications, message)))

    def sweep(self, *, seconds: float) -> int:
        """Look at payments whose deadline has passed until there are none, or the time is over; how many it were."""
        from interlock.entrypoints.worker import sweep

        return self.run(lambda platform: sweep(platform.payments, seconds=seconds))

    def tend_desk(self, *, seconds: float) -> int:
        """Carry repairs on that somebody approved until they are done, or the time is over; how many payments it were.

        Replays go on as far as they come; alerts whose silence is over are opened, hours of objectives that have settled put
        on record, attempts counted ahead.
        """
        from interlock.core.desk.alerts.silences import end_silences
        from interlock.core.desk.repair.running import run_repairs
        from interlock.entrypoints.desk_loops import HourCounter, Rememberer, replay_for
        from interlock.entrypoints.effects import together, told_again

        async def work(platform: Platform) -> int:
            desk, clock, repaired = platform.desk, platform.storage.clock, 0
            self._counters = self._counters or (
                HourCounter(desk.objectives),
                Rememberer(desk.tallies, desk.past, desk.objectives),
            )
            hours, days = self._counters

            async def repair() -> None:
                nonlocal repaired
                repaired = await run_repairs(desk.repairs, until=clock.monotonic() + seconds)

            async def unsilence() -> None:
                looked = await end_silences(desk.alerts)
                while looked.next is not None:
                    looked = await end_silences(desk.alerts, after=looked.next)

            replay = replay_for(desk.replays, told_again(platform), seconds=seconds)
            await together([repair(), replay, unsilence(), hours.count(), days.count()])
            return repaired

        return self.run(work)

    def step(self, name: str, given: Mapping[str, Any]) -> Any:
        """A task of a workflow. Raises an error whose class name the workflow knows."""
        from interlock.entrypoints.steps import STEPS

        return self.run(lambda platform: STEPS[name](platform, dict(given)))

    def caller(self, authorization: str) -> Mapping[str, str] | None:
        """Who calls with this header, for an authoriser: client, tenant and scopes, or None if it is nobody."""
        from interlock.core.kernel.errors import Unauthenticated

        async def work(platform: Platform) -> Mapping[str, str] | None:
            try:
                principal = await platform.callers.authenticate(authorization)
            except Unauthenticated:
                return None
            scopes = " ".join(sorted(principal.scopes))
            return {"client": principal.client_id, "tenant": principal.tenant, "scope": scopes}

        return self.run(work)


class NotDone(Exception):
    """A message that must come again."""


async def _settled(
    platform: Platform, queue: str, record: Mapping[str, Any], handle: Callable[[QueueMessage], Awaitable[bool]]
) -> None:
    """Whoever called forgets the message if this returns. Raises NotDone once it is known when the message comes again."""
    from interlock.entrypoints.worker import retry_s

    storage = platform.storage
    assert storage.records is not None  # the queue on AWS has them
    message = await storage.records.take_record(queue, record)
    if message is None:
        raise NotDone("not to be handled now")
    done = False
    try:
        done = await handle(message)
    finally:
        if not done:
            await storage.queue.release(queue, message.receipt, delay_s=retry_s(message.attempts))
    if not done:
        raise NotDone(message.id)
