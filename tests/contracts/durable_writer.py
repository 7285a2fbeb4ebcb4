"""A process to be killed: commits payments to the file it is given and says so, line by line, after each commit."""

from __future__ import annotations

import asyncio
import sys

import msgspec

from interlock.backends.sqlite.database import Database
from interlock.backends.sqlite.store import SCHEMA, SqliteStore
from interlock.core.kernel.events import Event
from interlock.core.kernel.store import ABSENT, Key, Put, Store

WRITERS = 8


async def write(store: Store, name: str, first: int) -> None:
    version, count = ABSENT, Key("counts", name)
    if (item := await store.get(count)) is not None:
        version = item.version
    for number in range(first, first + 100_000):
        payment = f"pay_{name}_{number}"
        event = Event(id=f"evt_{payment}", type="payment.created", tenant="ten_a", aggregate=payment, version=1, at=1,
                      data=msgspec.Raw(b"{}"), facts=msgspec.Raw(b"{}"))  # fmt: skip
        body = payment.encode() * 40
        places = {"due": Key("shard", payment)}
        await store.commit(
            [Put(Key("payments", payment), body, indexes=places), Put(count, b"%d" % number, expected=version)], [event]
        )
        version += 1
        print(payment, flush=True)


async def main(path: str, first: str) -> None:
    store = SqliteStore(Database.open(path, schemas=[SCHEMA]))
    await asyncio.gather(*(write(store, f"w{n}", int(first)) for n in range(WRITERS)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
