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


ON_THIS_MACHINE = ("memory", "sqlite")
ON_THE_EMULATOR = ("dynamodb", "dynamodb-drawers")
ON_DYNOXIDE = ("dynoxide", "dynoxide-drawers")
"""DynamoDB's once more, at a second engine: of the store alone, as places in its stream are shorter than the SDK takes."""
NOT_ON_DYNAMODB = {"test_commit_sees_what_concurrent_commits_before_it_wrote": "calls at once come in any order"}
NOT_ON_DYNOXIDE = {"test_query_with_a_prefix_finds_just_what_starts_so": "its begins_with takes A for a"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "storage" not in metafunc.fixturenames:
        return
    name = metafunc.function.__name__
    reads_the_feed = "feed" in metafunc.fixturenames or metafunc.module.__name__.endswith("test_feed")
    adapters = ON_THIS_MACHINE
    if name not in NOT_ON_DYNAMODB:
        adapters += ON_THE_EMULATOR
        adapters += () if reads_the_feed or name in NOT_ON_DYNOXIDE else ON_DYNOXIDE
    on_aws = pytest.mark.aws
    chosen = [pytest.param(one, marks=() if one in ON_THIS_MACHINE else on_aws) for one in adapters]
    metafunc.parametrize("storage", chosen, indirect=True)


@pytest.fixture
async def storage(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Storage]:
    if request.param == "memory":
        memory = MemoryStore(clock)
        yield Storage(memory, memory, memory)
    elif request.param.startswith("dyn"):
        drawers = DRAWERS if request.param.endswith("drawers") else ()
        endpoint = request.getfixturevalue("dynoxide" if request.param.startswith("dynoxide") else "aws")
        async with dynamo_stores(endpoint, clock, drawers=drawers) as (store, feed, other):
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
