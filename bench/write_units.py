"""What a payment's commits would cost as writes to DynamoDB, counted beneath the platform's own Store port.

The model: an item written in a transaction costs two write units for each 1 kB begun, a condition check as much, a delete
as much as the item it removes; each event is an item of its own in the same transaction. An index that holds the item is
written once more, outside the transaction: one unit for each kB begun when an entry appears, changes or goes, and two
when its key changes (the old entry is deleted, a new one put). Entries hold the whole item, as `query_index` returns it.
Item sizes are those of keys, value, version and expiry with one- or two-letter attribute names.
Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/provisioned-capacity-mode.html and
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html (checked 2026-11-26).

Not counted: reads, the feed (a stream costs no write units), the bus, queues and read models, which are no Store.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import msgspec

from bench import provider as providers
from bench.contestants.interlock import wait_until_caught_up
from bench.provider import Provider
from interlock.bootstrap import Platform, keep_credential, open_platform, open_storage
from interlock.config import ProviderSettings, Settings
from interlock.core.kernel.events import Event, encode_event
from interlock.core.kernel.idempotency import Request, fingerprint, idempotency_key
from interlock.core.kernel.store import Delete, Item, Key, Page, Put, Store, Write
from interlock.core.payments.commands import CardToken, CreatePayment
from interlock.core.payments.handlers import create_payment
from interlock.entrypoints import worker

KB = 1_024
ATTRIBUTES_BYTES = 32
"""Names of an item's attributes, and its version and expiry as numbers."""
TENANT = "ten_units"
PAYMENTS = 100
AT_ONCE = 10

_who: ContextVar[str] = ContextVar("who", default="consumers")


def item_bytes(key: Key, value: bytes) -> int:
    return len(key.partition.encode()) + len(key.sort.encode()) + len(value) + ATTRIBUTES_BYTES


def units(size: int) -> int:
    """Of an item of so many bytes outside a transaction."""
    return max(1, math.ceil(size / KB))


class CountingStore:
    """A Store that counts what passes through it, by who asked: a request, or a consumer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.counted: dict[str, int] = {"request": 0, "consumers": 0}
        self._known: dict[Key, tuple[int, Mapping[str, Key]]] = {}
        """Bytes and index entries of items written before."""

    async def get(self, key: Key) -> Item | None:
        return await self._store.get(key)

    async def query(self, partition: str, **how: Any) -> Page:
        return await self._store.query(partition, **how)

    async def query_index(self, index: str, partition: str, **how: Any) -> Page:
        return await self._store.query_index(index, partition, **how)

    async def history(self, aggregate: str, *, after_version: int = 0, limit: int = 1000) -> list[Event]:
        return await self._store.history(aggregate, after_version=after_version, limit=limit)

    async def drop_expired(self, *, now: int, limit: int = 500) -> int:
        return 0

    async def commit(self, writes: Sequence[Write], events: Sequence[Event] = ()) -> None:
        await self._store.commit(writes, events)
        self.counted[_who.get()] += sum(self._write(write) for write in writes) + sum(map(_event, events))

    def _write(self, write: Write) -> int:
        before_bytes, before = self._known.get(write.key, (0, {}))
        if isinstance(write, Put):
            size = item_bytes(write.key, write.value)
            self._known[write.key] = (size, write.indexes)
            entries = sum(
                units(size) + (units(before_bytes) if name in before and before[name] != place else 0)
                for name, place in write.indexes.items()
            )
            gone = sum(units(before_bytes) for name in before.keys() - write.indexes.keys())
            return 2 * units(max(size, before_bytes)) + entries + gone
        if isinstance(write, Delete):
            self._known.pop(write.key, None)
            return 2 * units(before_bytes) + sum(units(before_bytes) for _ in before)
        return 2 * units(before_bytes)


def _event(event: Event) -> int:
    return 2 * units(item_bytes(Key(event.aggregate, f"{event.version:010d}"), encode_event(event)))


def measure(folder: Path, provider: Provider) -> dict[str, Any]:
    """Units of a card payment in one step and of an authorisation, each on average over many that run at once."""
    provider.forget()
    provider.behave(providers.INSTANT)
    return {
        "card payment in one step": asyncio.run(_count(folder / "units automatic", provider, "automatic")),
        "authorisation": asyncio.run(_count(folder / "units manual", provider, "manual")),
    }


async def _count(folder: Path, provider: Provider, capture_method: str) -> dict[str, float]:
    async with _platform(folder, provider) as (platform, counting):
        loops = worker.loops(platform, member="units")
        stop = asyncio.Event()
        storage = platform.storage
        work = asyncio.create_task(worker.run(loops, stop=stop, clock=storage.clock, telemetry=storage.telemetry))
        command = msgspec.convert(
            {
                "amount": 1999,
                "currency": "EUR",
                "payment_method": CardToken("card", "tok_approve"),
                "capture_method": capture_method,
                "reference": "order-0000000001",
            },
            CreatePayment,
        )
        for start in range(0, PAYMENTS, AT_ONCE):
            await asyncio.gather(*(_pay(platform, command, number) for number in range(start, start + AT_ONCE)))
        await wait_until_caught_up(storage)
        stop.set()
        await work
    return {"path": counting.counted["request"] / PAYMENTS, "consumers": counting.counted["consumers"] / PAYMENTS}


async def _pay(platform: Platform, command: CreatePayment, number: int) -> None:
    _who.set("request")
    key = idempotency_key(TENANT, "POST", "/v1/payments", f"units-{number}")
    body = msgspec.json.encode(command)
    request = Request(TENANT, key, fingerprint(body), "cli_units", platform.storage.ids.new("req"))
    reply = await create_payment(platform.payments, command, request)
    if reply.status != 201:
        raise RuntimeError(f"a payment was answered with {reply.status}: {reply.body!r}")


@asynccontextmanager
async def _platform(folder: Path, provider: Provider) -> AsyncIterator[tuple[Platform, CountingStore]]:
    """A platform without its API, whose Store is counted."""
    folder.mkdir(mode=0o700)
    settings = Settings(data=str(folder), providers=(ProviderSettings(providers.NAME, "simulator", provider.base_url),))
    with (folder / "log").open("wb") as log:
        storage = open_storage(settings, log=log)
        await keep_credential(storage, providers.NAME, "api_key", provider.api_key)
        await keep_credential(storage, providers.NAME, "signing_secret", provider.signing_secret)
        counting = CountingStore(storage.store)
        platform = await open_platform(settings, storage._replace(store=counting), issuer="http://127.0.0.1")
        try:
            yield platform, counting
        finally:
            await platform.close()
