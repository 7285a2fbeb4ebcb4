"""Every adapter of the Store and Feed ports, each made anew for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from interlock.backends.aws.feed import POLL_S
from interlock.backends.memory.store import MemoryStore
from interlock.backends.sqlite import store as sqlite_store
from interlock.backends.sqlite.database import Database
from interlock.backends.sqlite.store import SqliteFeed, SqliteStore
from interlock.core.kernel.feed import Feed
from interlock.core.kernel.store import Store
from tests.clocks import ManualClock
from tests.contracts.on_aws import DRAWERS, dynamo_stores


class Storage(NamedTuple):
    """Two pairs on the same data: what one commits the other sees, as two processes or two parts of one would."""

    store: Store
    feed: Feed
    other_store: Store
    notices_s: float = 0.0
    """How much time passes until a wait notices this process's commit: some where a stream stands in between."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(
    params=[
        "memory",
        "sqlite",
        pytest.param("dynamodb", marks=pytest.mark.aws),
        pytest.param("dynamodb-drawers", marks=pytest.mark.aws),
    ]
)
async def storage(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Storage]:
    if request.param == "memory":
        memory = MemoryStore(clock)
        yield Storage(memory, memory, memory)
    elif request.param.startswith("dynamodb"):
        drawers = DRAWERS if request.param.endswith("drawers") else ()
        async with dynamo_stores(request.getfixturevalue("aws"), clock, drawers=drawers) as (store, feed, other):
            yield Storage(store, feed, other, notices_s=POLL_S)
    else:
        first = Database.open(tmp_path / "interlock.db", schemas=[sqlite_store.SCHEMA], clock=clock)
        second = Database.open(tmp_path / "interlock.db", schemas=[sqlite_store.SCHEMA], clock=clock)
        yield Storage(SqliteStore(first), SqliteFeed(first, clock=clock), SqliteStore(second))
        await first.close()
        await second.close()


@pytest.fixture
def store(storage: Storage) -> Store:
    return storage.store


@pytest.fixture
def feed(storage: Storage) -> Feed:
    return storage.feed
