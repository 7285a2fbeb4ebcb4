"""The Bus on Kafka: topics are Kafka's, groups are consumer groups, members are static members.

A publish is a transaction (`publishing.py`). A subscription is two clients, each on a thread of its own: one is the group's member
(`membership.py`), the other reads what that one holds (`reading.py`); `holdings.py` is between them. The event loop never
waits for the library.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from interlock.backends.kafka.config import KafkaConfig, Login, member_name
from interlock.backends.kafka.holdings import Holdings
from interlock.backends.kafka.membership import Membership, Standing
from interlock.backends.kafka.messages import encode
from interlock.backends.kafka.publishing import Publisher
from interlock.backends.kafka.reading import Reader
from interlock.backends.kafka.schemas import EventSchema
from interlock.backends.kafka.standing import Pending, Standings
from interlock.core.kernel.bus import BusMessage, BusRecord
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.errors import StoreUnavailable

CLOSE_S = 10.0
"""How long `close` waits for the cluster; after that the member's session ends by itself."""


class KafkaBus:
    """`new_token` gives something that no other process has ever had: it names this process's transactions.

    `login` is asked for once, before the first call, and stands in for the config's.
    """

    def __init__(
        self,
        config: KafkaConfig,
        clock: Clock,
        *,
        new_token: Callable[[], str],
        member_lease_s: float = 30.0,
        schema: EventSchema | None = None,
        login: Callable[[], Awaitable[Login | None]] | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._lease_s = member_lease_s
        self._schema = schema
        self._new_token = new_token
        self._login = login
        self._opened: _Opened | None = None
        self._known: set[str] = set()
        """Topics that were there when they were first published to."""
        self._subscriptions: list[KafkaSubscription] = []

    async def publish(self, topic: str, messages: Sequence[BusMessage]) -> None:
        """As the port says; Invalid for a topic that does not exist and for messages that are too large or too many."""
        name = self._config.topic_name(topic)
        schema = "" if self._schema is None else self._schema.url
        prefix = b"" if self._schema is None else self._schema.prefix
        # Whatever is wrong with a message shows here, before anything is published.
        encoded = [encode(one, source=self._config.source, schema=schema, prefix=prefix) for one in messages]
        if encoded:
            cluster = await self._open()
            if name not in self._known:
                # Asked once, because the library would look for a topic that is not there until its time is up.
                await cluster.standings.partitions(name)
                self._known.add(name)
            await cluster.publisher.publish(name, encoded)

    async def subscribe(self, topic: str, *, group: str, member: str) -> KafkaSubscription:
        """As the port says. Returns when the topic is known to exist; the group takes its members in when it can."""
        name, consumers = self._config.topic_name(topic), self._config.group_name(topic, group)
        place = (name, consumers, member_name(member))
        cluster = await self._open()
        await cluster.standings.partitions(name)
        framed = self._schema is not None and bool(self._schema.prefix)
        subscription = KafkaSubscription(cluster.config, self._clock, place, lease_s=self._lease_s, framed=framed)
        self._subscriptions = [one for one in self._subscriptions if not one.closed] + [subscription]
        return subscription

    async def lag(self, topic: str, *, group: str) -> int:
        """As the port says; of a backlog above `COUNTED_MAX` an upper bound, which counts the ends of transactions, too."""
        cluster = await self._open()
        return await cluster.standings.lag(self._config.topic_name(topic), self._config.group_name(topic, group))

    async def pending(self, topic: str, *, group: str, limit: int) -> Pending:
        """What `group` has not committed yet, in its order per partition, without taking any of it."""
        framed = self._schema is not None and bool(self._schema.prefix)
        names = self._config.topic_name(topic), self._config.group_name(topic, group)
        cluster = await self._open()
        return await cluster.standings.pending(*names, limit=limit, framed=framed)

    async def close(self) -> None:
        """Leave all groups and let what is being published finish."""
        await asyncio.gather(*(subscription.close() for subscription in self._subscriptions))
        if self._opened is not None:
            await self._opened.publisher.close()
            await self._opened.standings.close()

    async def _open(self) -> _Opened:
        if self._opened is None:
            config = self._config if self._login is None else replace(self._config, login=await self._login())
            if self._opened is None:  # nobody else did, meanwhile
                self._opened = _Opened(config, Publisher(config, new_token=self._new_token), Standings(config))
        return self._opened


class _Opened(NamedTuple):
    config: KafkaConfig
    publisher: Publisher
    standings: Standings


class KafkaSubscription:
    def __init__(
        self, config: KafkaConfig, clock: Clock, place: tuple[str, str, str], *, lease_s: float, framed: bool
    ) -> None:
        topic, group, _ = place
        self._config = config
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._closed = False
        self._closing: asyncio.Task[None] | None = None
        self._holdings = Holdings(self._wake)
        self._reader = Reader(config, topic, group, self._holdings, changed=self._wake, framed=framed)
        self._membership = Membership(config, clock, place, self._holdings, self._reader, lease_s=lease_s)
        self._reader.start()
        self._membership.start()

    async def receive(self, *, limit: int = 100, wait_s: float = 0.0) -> list[BusRecord]:
        """As the port says. Raises StoreUnavailable if this member cannot go on: close it and subscribe anew."""
        deadline = self._clock.monotonic() + wait_s
        self._membership.waiting += 1
        try:
            while not self._closed and not self._membership.replaced:
                self._membership.renew()
                self._news.clear()
                if self._has_failed():
                    break
                if records := self._holdings.take(limit):
                    return records
                left_s = deadline - self._clock.monotonic()
                if left_s <= 0:
                    break
                await self._wait(left_s)
            if self._has_failed():
                raise StoreUnavailable("the client library failed this member: close it and subscribe anew")
            return []
        finally:
            self._membership.renew()
            self._membership.waiting -= 1

    async def commit(self, records: Sequence[BusRecord]) -> None:
        """As the port says. Raises StoreUnavailable; it may be repeated."""
        if self._closed or not records:
            return
        kept = list(records)
        asked = self._membership.commit(lambda: self._holdings.behind(kept), timeout_s=self._config.answer_s)
        try:
            await asyncio.wait_for(asyncio.wrap_future(asked), self._config.answer_s * 1.5)
        except TimeoutError as late:
            raise StoreUnavailable("Kafka does not answer about the offsets") from late

    async def close(self) -> None:
        self._closed = True
        self._wake()
        if self._closing is None:
            self._closing = asyncio.create_task(self._leave())
        await asyncio.shield(self._closing)

    def holds(self, record: BusRecord) -> bool:
        """Whether a commit of it would count now: its partition has been this member's ever since, and it is not committed."""
        return not self._closed and bool(self._holdings.behind([record]))

    @property
    def closed(self) -> bool:
        return self._closed

    def standing(self) -> Standing:
        return self._membership.standing()

    def caught_up(self, ends: dict[int, int]) -> bool:
        """Whether everything before those offsets was read, or as much as is read ahead."""
        held = self._holdings.all()
        return all(h.giving_up or not h.has_room or (h.reading and h.read >= ends.get(h.partition, 0)) for h in held)

    def _has_failed(self) -> bool:
        ended = not (self._membership.is_alive and self._reader.is_alive)
        return ended and not self._closed and not self._membership.replaced

    async def _leave(self) -> None:
        self._membership.stop()
        self._reader.stop()

        def wait() -> None:
            self._membership.join(CLOSE_S)
            self._reader.join(CLOSE_S)

        with ThreadPoolExecutor(1) as thread:
            await self._loop.run_in_executor(thread, wait)

    async def _wait(self, timeout_s: float) -> None:
        """Until there is news, at the latest after `timeout_s`."""
        timer = asyncio.ensure_future(self._clock.sleep(timeout_s))
        news = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait({timer, news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            news.cancel()

    def _wake(self) -> None:
        """From any thread."""
        with suppress(RuntimeError):  # the loop has ended, and nobody waits in it
            self._loop.call_soon_threadsafe(self._news.set)
