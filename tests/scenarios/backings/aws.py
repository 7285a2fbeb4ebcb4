"""Store and feed on DynamoDB and its streams, at the emulator; queue, bus, documents and secrets in memory.

A story asks a million times whether there is anything to do, and for all but a few thousand there is not. What cannot have
an answer, by what the mirror has seen, is answered here; everything else goes to the adapters.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from interlock.backends.aws.calls import Calls
from interlock.backends.aws.commits import aggregate_of
from interlock.backends.aws.drawers import Change, Drawer, changed, drawer_in
from interlock.backends.aws.feed import StreamFeed
from interlock.backends.aws.store import DynamoStore
from interlock.backends.aws.table import (
    DRAWERS,
    INDEXES,
    definition,
    drawer_key,
    event_key,
    event_row,
    item_key,
    item_row,
)
from interlock.backends.memory.bus import MemoryBus
from interlock.backends.memory.documents import MemoryDocuments
from interlock.backends.memory.queue import MemoryQueue
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.events import Event, encode_event
from interlock.core.kernel.feed import START, FeedRecord
from interlock.core.kernel.store import Delete, Item, Key, Page, Put
from tests.scenarios.backing import Wanted
from tests.scenarios.backings.clients import Clients
from tests.scenarios.backings.flights import Flights
from tests.scenarios.backings.memory import memory_secrets
from tests.scenarios.backings.mirror import Mirror, MirroredStore
from tests.scenarios.backings.watching import WatchedBus, WatchedQueue


class Table:
    """A world's table, made when it is first asked for anything."""

    def __init__(self, endpoint: str, clock: Any) -> None:
        self.name = f"interlock-{uuid.uuid4().hex}"
        self._clients, self._clock = Clients.here(endpoint), clock
        self._lock = asyncio.Lock()
        self._stream = ""

    async def client(self) -> Any:
        tables = await self._clients.of("dynamodb")
        async with self._lock:
            if not self._stream:
                made = await tables.create_table(**definition(self.name))
                self._stream = made["TableDescription"]["LatestStreamArn"]
        return tables

    async def store(self) -> DynamoStore:
        calls = Calls(await self.client(), clock=self._clock, random=random.random)
        return DynamoStore(calls, self.name, new_token=_new_token)

    async def feed(self) -> StreamFeed:
        await self.client()
        calls = Calls(await self._clients.of("dynamodbstreams"), clock=self._clock, random=random.random)
        return StreamFeed(calls, self._stream, clock=self._clock)

    async def close(self) -> None:
        if self._stream:
            await (await self._clients.of("dynamodb")).delete_table(TableName=self.name)


class StoreMadeLate:
    """The adapter, made anew for each process, which remembers drawers."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.made: DynamoStore | None = None

    def restarted(self) -> None:
        self.made = None

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            if self.made is None:
                self.made = await self._table.store()
            return await getattr(self.made, name)(*args, **kwargs)

        return call


class QuietStore(MirroredStore):
    """Does not ask an index in which nothing stands."""

    async def query_index(self, index: str, partition: str, **asked: Any) -> Page:
        if "after" not in asked and not self._mirror.has_place(index, partition, upto=asked.get("upto")):
            return Page([], None)
        return await super().query_index(index, partition, **asked)


class QuietFeed:
    """Does not ask for events behind a position that all events are known to be before."""

    def __init__(self, table: Table, mirror: Mirror, flights: Flights) -> None:
        self._table, self._mirror, self._flights = table, mirror, flights
        self.made: StreamFeed | None = None
        self._passed = {START: 0}
        """Position -> how many events are before it."""

    def restarted(self) -> None:
        self.made = None

    async def read(self, *, after: str, limit: int = 100) -> list[FeedRecord]:
        if self._is_end(after):
            return []
        with self._flights.call():
            records = await (await self._adapter()).read(after=after, limit=limit)
        if after in self._passed:
            for count, record in enumerate(records, self._passed[after] + 1):
                self._passed[record.position] = count
        return records

    async def wait(self, *, after: str, timeout_s: float) -> bool:
        if timeout_s == 0 and self._is_end(after):
            return False
        with self._flights.call():
            return await (await self._adapter()).wait(after=after, timeout_s=timeout_s)

    def _is_end(self, position: str) -> bool:
        return self._passed.get(position) == self._mirror.events

    async def _adapter(self) -> StreamFeed:
        if self.made is None:
            self.made = await self._table.feed()
        return self.made


class AwsBacking:
    kind = "aws"
    forwards = False

    def __init__(self, wanted: Wanted, endpoint: str) -> None:
        flights = Flights(wanted.clock)
        self._table, self._mirror = Table(endpoint, flights.clock), Mirror()
        self._store = StoreMadeLate(self._table)
        self.store = QuietStore(self._store, self._mirror, flights)
        self.feed = QuietFeed(self._table, self._mirror, flights)
        self.bus = WatchedBus(MemoryBus(wanted.clock))
        queue = MemoryQueue(wanted.queues, clock=wanted.clock, ids=wanted.ids)
        self.queue = WatchedQueue(queue, wanted.queues, clock=wanted.clock)
        self.documents = MemoryDocuments(wanted.collections)
        self.secrets = memory_secrets(wanted)

    @property
    def adapters(self) -> Sequence[Any]:
        return (self._store.made, self.feed.made)

    @property
    def items(self) -> Mapping[Key, Item]:
        return self._mirror.items

    async def overwrite(self, item: Item) -> None:
        put = Put(item.key, item.value, item.version - 1, item.indexes, item.expires_at)
        aggregate = aggregate_of(item.key, DRAWERS)
        if aggregate is None:
            await self._put(item_row(put, _new_token()))
        else:
            drawer = await self._drawer(aggregate)
            await self._change(drawer._replace(item=item._replace(version=put.expected)), Change(aggregate, put, ()))
        self._mirror.show(item)

    async def remove(self, key: Key) -> None:
        aggregate = aggregate_of(key, DRAWERS)
        if aggregate is None:
            await (await self._table.client()).delete_item(TableName=self._table.name, Key=item_key(key))
        else:
            await self._change(
                await self._drawer(aggregate), Change(aggregate, Delete(key, self.items[key].version), ())
            )
        self._mirror.forget(key)

    async def rewrite_event(self, event: Event) -> None:
        drawer = await self._drawer(event.aggregate)
        if event.version in drawer.events:
            events = {**drawer.events, event.version: encode_event(event)}
            await self._change(drawer._replace(events=events), Change(event.aggregate, None, ()))
        else:
            row = await self._row(event_key(event.aggregate, event.version))
            await self._put({**row, "b": {"B": encode_event(event)}})
        self._mirror.histories[event.aggregate][event.version] = event

    async def drop_expired(self, *, now: Millis) -> int:
        """As DynamoDB does by each row's time to live; what is in a drawer has none."""
        expired = [item for item in self._mirror.expired(now) if aggregate_of(item.key, DRAWERS) is None]
        for item in expired:
            await self.remove(item.key)
        return len(expired)

    async def assert_true(self) -> None:
        await self._mirror.assert_true(self._store)

    def restarted(self) -> None:
        self._store.restarted()
        self.feed.restarted()

    async def close(self) -> None:
        await self._table.close()

    async def _drawer(self, aggregate: str) -> Drawer:
        row = await self._row(drawer_key(aggregate))
        return drawer_in(row, INDEXES) if row else Drawer(aggregate)

    async def _change(self, drawer: Drawer, change: Change) -> None:
        """The drawer as any commit would leave it, which has no news and asks for nothing to be as it was."""
        outcome = changed(drawer, change, token=_new_token())
        for version, body in outcome.moved:
            await self._put(event_row(drawer.aggregate, version, body, token=_new_token(), is_old=True))
        await self._put(outcome.row)

    async def _row(self, key: dict[str, Any]) -> dict[str, Any]:
        client = await self._table.client()
        answer = await client.get_item(TableName=self._table.name, Key=key, ConsistentRead=True)
        return dict(answer.get("Item", {}))

    async def _put(self, row: Mapping[str, Any]) -> None:
        await (await self._table.client()).put_item(TableName=self._table.name, Item=row)


def _new_token() -> str:
    return uuid.uuid4().hex
