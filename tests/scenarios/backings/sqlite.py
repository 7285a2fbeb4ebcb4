"""Everything in one SQLite file, as on one machine: the adapters `make up` runs on."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import msgspec

from interlock.backends.local.secrets import FileSecrets
from interlock.backends.sqlite import bus as sqlite_bus
from interlock.backends.sqlite import queue as sqlite_queue
from interlock.backends.sqlite import store as sqlite_store
from interlock.backends.sqlite.bus import SqliteBus
from interlock.backends.sqlite.database import Database
from interlock.backends.sqlite.documents import SqliteDocuments
from interlock.backends.sqlite.documents import schema as documents_schema
from interlock.backends.sqlite.queue import SqliteQueue
from interlock.backends.sqlite.store import SqliteFeed, SqliteStore
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.events import Event, encode_event
from interlock.core.kernel.store import Item, Key, Put
from tests.scenarios.backing import Wanted
from tests.scenarios.backings.flights import Carried, Flights
from tests.scenarios.backings.mirror import Mirror, MirroredStore
from tests.scenarios.backings.watching import WatchedBus, WatchedQueue

IN_MEMORY = Path("/dev/shm")
"""Where a file system keeps its files in memory, `fsync` costs nothing."""


class SqliteBacking:
    kind = "sqlite"
    forwards = True

    def __init__(self, wanted: Wanted) -> None:
        flights = Flights(wanted.clock)
        clock, carry = flights.clock, flights.carry
        self._folder = Path(
            tempfile.mkdtemp(prefix="interlock-scenario-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None)
        )
        schemas = (sqlite_store.SCHEMA, sqlite_bus.SCHEMA, sqlite_queue.SCHEMA, documents_schema(wanted.collections))
        self._database = Database.open(self._folder / "interlock.db", schemas=schemas, clock=clock)
        self._store, self._mirror = SqliteStore(self._database), Mirror()
        self.store = MirroredStore(self._store, self._mirror, flights)
        self.feed = SqliteFeed(self._database, clock=clock)
        self.bus = WatchedBus(SqliteBus(self._database, clock), carry=carry, feed=self.feed)
        queue = SqliteQueue(self._database, wanted.queues, clock=clock, ids=wanted.ids)
        self.queue = WatchedQueue(queue, wanted.queues, clock=wanted.clock, carry=carry)
        self.documents = Carried(SqliteDocuments(self._database, wanted.collections), flights)
        self.secrets = FileSecrets(self._secrets(wanted))

    def _secrets(self, wanted: Wanted) -> Path:
        path = self._folder / "secrets.json"
        path.touch(mode=0o600)
        path.write_bytes(msgspec.json.encode({name: [value] for name, value in wanted.secrets.items()}))
        return path

    @property
    def adapters(self) -> Sequence[Any]:
        return (self._store, self.feed)

    @property
    def items(self) -> Mapping[Key, Item]:
        return self._mirror.items

    async def overwrite(self, item: Item) -> None:
        def job(db: Connection) -> None:
            _take_away(db, item.key)
            put = Put(item.key, item.value, 0, item.indexes, item.expires_at)
            sqlite_store._apply(db, writes=[put], events=[])
            db.execute("UPDATE items SET version = ? WHERE partition = ? AND sort = ?", (item.version, *item.key))

        await self._database.write(job)
        self._mirror.show(item)

    async def remove(self, key: Key) -> None:
        await self._database.write(lambda db: _take_away(db, key))
        self._mirror.forget(key)

    async def rewrite_event(self, event: Event) -> None:
        row = (encode_event(event), event.aggregate, event.version)
        await self._database.write(
            lambda db: db.execute("UPDATE events SET body = ? WHERE aggregate = ? AND version = ?", row)
        )
        self._mirror.histories[event.aggregate][event.version] = event

    async def drop_expired(self, *, now: Millis) -> int:
        expired = self._mirror.expired(now)
        dropped = await self._store.drop_expired(now=now)
        for item in expired:
            self._mirror.forget(item.key)
        return dropped

    async def assert_true(self) -> None:
        await self._mirror.assert_true(self._store)

    def restarted(self) -> None:
        """The adapters remember nothing beside the file."""

    async def close(self) -> None:
        await self._database.close()
        shutil.rmtree(self._folder)


def _take_away(db: Connection, key: Key) -> None:
    db.execute("DELETE FROM items WHERE partition = ? AND sort = ?", key)
    db.execute("DELETE FROM index_entries WHERE item_partition = ? AND item_sort = ?", key)
