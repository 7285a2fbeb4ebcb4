"""Random commits and queries: what SQLite answers is what the in-memory store answers, step by step."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.backends.memory.store import MemoryStore
from interlock.backends.sqlite.database import Database
from interlock.backends.sqlite.store import SCHEMA, SqliteFeed, SqliteStore
from interlock.core.kernel.errors import InterlockError, WriteConflict
from interlock.core.kernel.events import Event
from interlock.core.kernel.feed import START
from interlock.core.kernel.store import Check, Delete, Key, Put, Store, Write
from tests.clocks import ManualClock

PARTITIONS = st.sampled_from(["p", "p/", "q"])
SORTS = st.sampled_from(["a", "a/1", "a/2", "b", "é", "\ud7ff", "\ue000", "\U0010ffff", "\U0010ffffa"])
KEYS = st.builds(Key, PARTITIONS, SORTS)
INDEXES = st.dictionaries(st.sampled_from(["due", "customer"]), KEYS, max_size=2)
VERSIONS = st.sampled_from([0, 0, 0, 1, 1, 2, 3])
WRITES = st.one_of(
    st.builds(
        Put, KEYS, st.binary(max_size=4), VERSIONS, INDEXES, st.one_of(st.none(), st.integers(min_value=0, max_value=9))
    ),
    st.builds(Delete, KEYS, VERSIONS),
    st.builds(Check, KEYS, VERSIONS),
)
EVENTS = st.builds(
    lambda aggregate, version: Event(
        id=f"evt_{aggregate}_{version}",
        type="payment.created",
        tenant="ten_a",
        aggregate=aggregate,
        version=version,
        at=version,
        data=msgspec.Raw(b"{}"),
        facts=msgspec.Raw(b"{}"),
    ),
    st.sampled_from(["pay_1", "pay_2"]),
    st.integers(min_value=1, max_value=6),
)
COMMITS = st.tuples(st.lists(WRITES, max_size=4), st.lists(EVENTS, max_size=2))
LIMITS = st.sampled_from([1, 2, 3, 1000])
QUERIES = st.fixed_dictionaries(
    {
        "prefix": st.one_of(st.just(""), SORTS),
        "after": st.one_of(st.none(), SORTS),
        "limit": LIMITS,
        "newest_first": st.booleans(),
    }
)
INDEX_QUERIES = st.fixed_dictionaries(
    {
        "upto": st.one_of(st.none(), SORTS),
        "after": st.one_of(st.none(), SORTS),
        "limit": LIMITS,
        "newest_first": st.booleans(),
    }
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.lists(COMMITS, min_size=1, max_size=4)),
        st.tuples(st.just("query"), st.tuples(PARTITIONS, QUERIES)),
        st.tuples(st.just("index"), st.tuples(st.sampled_from(["due", "customer"]), PARTITIONS, INDEX_QUERIES)),
        st.tuples(st.just("expire"), st.integers(0, 9)),
    ),
    max_size=25,
)


async def committed(store: Store, batch: list[tuple[list[Write], list[Event]]]) -> list[object]:
    """What concurrent commits came to, in comparable words."""
    results = await asyncio.gather(*(store.commit(*commit) for commit in batch), return_exceptions=True)
    for result in results:
        if result is not None and not isinstance(result, InterlockError):
            raise result
    return [(type(result), result.key if isinstance(result, WriteConflict) else None) for result in results]


async def whole_query(store: Store, partition: str, query: dict[str, object]) -> list[object]:
    found: list[object] = []
    while True:
        page = await store.query(partition, **query)  # type: ignore[arg-type]
        found.append(page)
        if page.next is None:
            return found
        query = query | {"after": page.next}


async def whole_index(store: Store, index: str, partition: str, query: dict[str, object]) -> list[object]:
    found: list[object] = []
    while True:
        page = await store.query_index(index, partition, **query)  # type: ignore[arg-type]
        found.append(page)
        if page.next is None:
            return found
        query = query | {"after": page.next}


async def play(steps: list[tuple[str, object]], path: Path) -> None:
    clock = ManualClock()
    database = Database.open(path, schemas=[SCHEMA], clock=clock)
    memory, sqlite, sqlite_feed = MemoryStore(clock), SqliteStore(database), SqliteFeed(database, clock=clock)
    try:
        for name, what in steps:
            if name == "commit":
                assert await committed(sqlite, what) == await committed(memory, what)  # type: ignore[arg-type]
            elif name == "query":
                assert await whole_query(sqlite, *what) == await whole_query(memory, *what)  # type: ignore[misc]
            elif name == "index":
                assert await whole_index(sqlite, *what) == await whole_index(memory, *what)  # type: ignore[misc]
            else:
                assert await sqlite.drop_expired(now=what) == await memory.drop_expired(now=what)  # type: ignore[arg-type]
        for partition in ("p", "p/", "q"):
            assert await sqlite.query(partition) == await memory.query(partition)
            for index in ("due", "customer"):
                assert await sqlite.query_index(index, partition) == await memory.query_index(index, partition)
        for aggregate in ("pay_1", "pay_2"):
            assert await sqlite.history(aggregate) == await memory.history(aggregate)
        assert await sqlite_feed.read(after=START) == await memory.read(after=START)
    finally:
        await database.close()


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_any_run_of_commits_and_queries_gives_the_same_answers_on_both_adapters(
    steps: list[tuple[str, object]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(steps, Path(folder) / "interlock.db"))
