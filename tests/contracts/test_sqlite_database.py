"""What only a file can do: survive a kill, fill up, be locked, be somebody else's, fail in the middle of a COMMIT."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.backends.sqlite import opening
from interlock.backends.sqlite.database import GROUP_JOBS_MAX, Database
from interlock.backends.sqlite.store import SCHEMA, SqliteFeed, SqliteStore
from interlock.core.kernel.errors import Conflict, OutcomeUnknown, StoreUnavailable, WriteConflict
from interlock.core.kernel.feed import START
from interlock.core.kernel.store import Item, Key, Put
from tests.clocks import ManualClock
from tests.contracts import durable_writer
from tests.contracts.test_store import event, outcomes

PAYMENT = Key("ten_a/pay/pay_1", "state")
NUMBERS = "CREATE TABLE IF NOT EXISTS numbers (n INTEGER PRIMARY KEY, note TEXT);"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "interlock.db"


@pytest.fixture
async def database(path: Path, clock: ManualClock) -> AsyncIterator[Database]:
    opened = Database.open(path, schemas=[SCHEMA, NUMBERS], clock=clock)
    yield opened
    await opened.close()


@pytest.fixture
def store(database: Database) -> SqliteStore:
    return SqliteStore(database)


def insert(n: int) -> Callable[[sqlite3.Connection], int]:
    def job(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO numbers VALUES (?, '')", (n,))
        return n

    return job


def numbers(database: Database) -> list[int]:
    return [n for (n,) in database.read(lambda c: c.execute("SELECT n FROM numbers ORDER BY n").fetchall())]


def numbers_in_file(path: Path) -> list[int]:
    """As another process sees it."""
    with contextlib.closing(sqlite3.connect(path)) as other:
        return [n for (n,) in other.execute("SELECT n FROM numbers ORDER BY n")]


# -- groups ---------------------------------------------------------------------------------------------------------


def count_commits(database: Database) -> list[str]:
    statements: list[str] = []
    database._writer.set_trace_callback(lambda sql: statements.append(sql) if sql == "COMMIT" else None)
    return statements


async def test_jobs_that_wait_together_share_one_commit(database: Database) -> None:
    commits = count_commits(database)
    assert await asyncio.gather(*(database.write(insert(n)) for n in range(GROUP_JOBS_MAX))) == list(
        range(GROUP_JOBS_MAX)
    )
    assert len(commits) == 1
    assert numbers(database) == list(range(GROUP_JOBS_MAX))


async def test_more_jobs_than_a_group_holds_run_in_several_in_order(database: Database) -> None:
    commits = count_commits(database)
    await asyncio.gather(*(database.write(insert(n)) for n in range(GROUP_JOBS_MAX * 2 + 1)))
    assert len(commits) == 3
    assert numbers(database) == list(range(GROUP_JOBS_MAX * 2 + 1))


async def test_callers_are_answered_only_when_another_process_can_see_their_commit(
    path: Path, database: Database
) -> None:
    async def write_and_look(n: int) -> bool:
        await database.write(insert(n))
        return n in numbers_in_file(path)

    assert all(await asyncio.gather(*(write_and_look(n) for n in range(10))))


async def test_nobody_is_answered_before_commit_returned(database: Database) -> None:
    tasks = [asyncio.create_task(database.write(insert(n))) for n in range(3)]
    answered: list[int] = []

    def at_statement(sql: str) -> None:
        if sql == "COMMIT":
            answered.append(sum(not waiting.done() for waiting in futures))

    await asyncio.sleep(0)
    futures = [answer for _, answer, _ in database._waiting]
    database._writer.set_trace_callback(at_statement)
    await asyncio.gather(*tasks)
    assert answered == [3]


async def test_job_that_raises_after_writing_leaves_nothing_and_its_neighbours_commit_together(
    database: Database,
) -> None:
    def spoil(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO numbers VALUES (99, '')")
        connection.execute("UPDATE numbers SET note = 'spoilt'")
        raise Conflict("no")

    commits = count_commits(database)
    results = await outcomes(
        database.write(insert(1)), database.write(spoil), database.write(insert(2)), database.write(spoil)
    )
    assert results[0] == 1 and results[2] == 2
    assert isinstance(results[1], Conflict) and isinstance(results[3], Conflict)
    assert len(commits) == 1
    rows = database.read(lambda c: c.execute("SELECT n, note FROM numbers").fetchall())
    assert rows == [(1, ""), (2, "")]


async def test_refusal_that_rests_on_a_commit_that_failed_is_not_told(database: Database) -> None:
    """The second job is refused because of the first one's row; when the disk then loses both, only "try again" is true."""

    def refuse_if_taken(connection: sqlite3.Connection) -> None:
        if connection.execute("SELECT count(*) FROM numbers").fetchone() != (0,):
            raise Conflict("taken")

    faulty = FaultyWriter.into(database)
    faulty.fail("COMMIT", sqlite3.SQLITE_IOERR_FSYNC)
    results = await outcomes(database.write(insert(1)), database.write(refuse_if_taken))
    assert [type(result) for result in results] == [StoreUnavailable, StoreUnavailable]
    assert numbers(database) == []


async def test_cancelled_job_that_has_not_run_does_not_run(database: Database) -> None:
    kept, dropped = (asyncio.create_task(database.write(insert(n))) for n in (1, 2))
    await asyncio.sleep(0)
    dropped.cancel()
    assert await kept == 1
    await database.write(insert(3))
    assert numbers(database) == [1, 3]


async def test_mistake_in_a_job_is_raised_as_it_is_and_harms_nobody(database: Database) -> None:
    results = await outcomes(
        database.write(insert(1)),
        database.write(lambda c: c.execute("SELECT nonsense")),
        database.write(lambda c: 1 / 0),
        database.write(insert(2)),
    )
    assert [type(result) for result in results] == [int, sqlite3.OperationalError, ZeroDivisionError, int]
    assert numbers(database) == [1, 2]


async def test_reads_cannot_write(database: Database) -> None:
    with pytest.raises(StoreUnavailable):
        database.read(insert(1))
    assert numbers(database) == []


async def test_close_finishes_what_waits_and_refuses_what_comes_later(path: Path, clock: ManualClock) -> None:
    database = Database.open(path, schemas=[NUMBERS], clock=clock)
    tasks = [asyncio.create_task(database.write(insert(n))) for n in range(3)]
    waiting = asyncio.create_task(database.changed("never", timeout_s=60))
    await asyncio.sleep(0)
    await database.close()
    await database.close()
    assert await asyncio.gather(*tasks) == [0, 1, 2]
    await waiting
    assert numbers_in_file(path) == [0, 1, 2]
    with pytest.raises(StoreUnavailable):
        await database.write(insert(4))
    with pytest.raises(StoreUnavailable):
        database.read(insert(4))


async def test_changed_wakes_for_its_topic_only_and_only_after_success(database: Database, clock: ManualClock) -> None:
    def refuse(connection: sqlite3.Connection) -> None:
        raise Conflict("no")

    waiting = asyncio.create_task(database.changed("orders", timeout_s=60))
    await outcomes(database.write(insert(1), wakes="others"), database.write(refuse, wakes="orders"))
    await clock.settle()
    assert not waiting.done()
    await database.write(insert(2), wakes="orders")
    await clock.settle()
    assert waiting.done()
    assert clock.sleeping == 0


# -- locked, full, readonly -----------------------------------------------------------------------------------------


async def test_locked_file_is_unavailable_promptly_and_works_again_afterwards(path: Path, store: SqliteStore) -> None:
    await store.commit([Put(PAYMENT, b"x")])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        results = await outcomes(*(store.commit([Put(Key("p", str(n)), b"")]) for n in range(100)))
        assert time.monotonic() - started < 2
        assert {type(result) for result in results} == {StoreUnavailable}
        assert await store.get(PAYMENT) == Item(PAYMENT, 1, b"x", {}, None)
        other.execute("ROLLBACK")
    assert (await store.query("p")).items == []
    await store.commit([Put(Key("p", "again"), b"")])


async def test_loop_runs_on_while_the_file_is_locked(path: Path, store: SqliteStore) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        task = asyncio.create_task(store.commit([Put(PAYMENT, b"x")]))
        longest_s, began = 0.0, time.monotonic()
        while not task.done():
            started = time.monotonic()
            await asyncio.sleep(0)
            longest_s = max(longest_s, time.monotonic() - started)
        assert isinstance(task.exception(), StoreUnavailable)
    waited_s = time.monotonic() - began
    assert longest_s < waited_s / 2, "one turn of the loop waited for the lock"


async def test_lock_that_is_let_go_in_time_only_delays(path: Path, store: SqliteStore) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        tasks = [asyncio.create_task(store.commit([Put(Key("p", str(n)), b"")])) for n in range(3)]
        await asyncio.sleep(0.02)
        assert not any(task.done() for task in tasks)
        other.execute("ROLLBACK")
        await asyncio.gather(*tasks)
    assert [item.key.sort for item in (await store.query("p")).items] == ["0", "1", "2"]


async def test_full_disk_is_unavailable_and_what_was_acknowledged_stays(database: Database, store: SqliteStore) -> None:
    (pages,) = database._writer.execute("PRAGMA page_count").fetchone()
    database._writer.execute(f"PRAGMA max_page_count = {pages + 40}")
    acknowledged: list[Item] = []
    refused = 0
    for n in range(40):
        try:
            await store.commit(
                [Put(Key("p", f"{n:03d}"), b"x" * 10_000, indexes={"due": Key("s", "1")})], [event(n + 1)]
            )
            acknowledged.append(Item(Key("p", f"{n:03d}"), 1, b"x" * 10_000, {"due": Key("s", "1")}, None))
        except StoreUnavailable:
            refused += 1
    assert refused > 0 and acknowledged
    assert (await store.query("p")).items == acknowledged
    assert (await store.query_index("due", "s")).items == acknowledged
    assert [kept.version for kept in await store.history("pay_1")] == [int(item.key.sort) + 1 for item in acknowledged]
    assert database.read(lambda c: c.execute("PRAGMA integrity_check").fetchall()) == [("ok",)]
    database._writer.execute("PRAGMA max_page_count = 1000000")
    await store.commit([Put(Key("p", "room again"), b"")])


async def test_small_commits_go_through_beside_one_that_fills_the_disk(database: Database, store: SqliteStore) -> None:
    (pages,) = database._writer.execute("PRAGMA page_count").fetchone()
    database._writer.execute(f"PRAGMA max_page_count = {pages + 20}")
    results = await outcomes(
        store.commit([Put(Key("p", "before"), b"small")]),
        store.commit([Put(Key("p", "huge"), b"x" * 400_000)], [event(1)]),
        store.commit([Put(Key("p", "behind"), b"small")]),
    )
    assert [type(result) for result in results] == [type(None), StoreUnavailable, type(None)]
    assert [item.key.sort for item in (await store.query("p")).items] == ["before", "behind"]
    assert await store.history("pay_1") == []


# -- COMMIT that fails ----------------------------------------------------------------------------------------------


class FaultyWriter:
    """The writer's connection, with statements that fail on demand the way a disk makes them fail."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._faults: dict[str, list[int]] = {}

    @classmethod
    def into(cls, database: Database) -> FaultyWriter:
        faulty = cls(database._writer)
        database._writer = faulty  # type: ignore[assignment]
        return faulty

    def fail(self, statement: str, *codes: int) -> None:
        """The next executions of `statement` fail with these result codes; nothing of the transaction remains."""
        self._faults[statement] = list(codes)

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if faults := self._faults.get(sql):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = faults.pop(0)
            error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
            raise error
        return self._connection.execute(sql, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def seals(database: Database) -> int:
    (count,) = database._reader.execute("SELECT coalesce(max(seals), 0) FROM file_seal").fetchone()
    return int(count)


async def test_failed_commit_that_a_later_one_overwrote_wrote_nothing(database: Database) -> None:
    faulty = FaultyWriter.into(database)
    faulty.fail("COMMIT", sqlite3.SQLITE_IOERR_FSYNC)
    results = await outcomes(database.write(insert(1)), database.write(insert(2)))
    assert [type(result) for result in results] == [StoreUnavailable, StoreUnavailable]
    assert results[0] is not results[1]
    assert seals(database) == 1
    assert numbers(database) == []
    assert await database.write(insert(3)) == 3


async def test_commit_nobody_can_vouch_for_is_unknown_and_nothing_is_answered_until_the_disk_works(
    path: Path, database: Database
) -> None:
    await database.write(insert(1))
    faulty = FaultyWriter.into(database)
    faulty.fail("COMMIT", *[sqlite3.SQLITE_IOERR_FSYNC] * 4)
    results = await outcomes(database.write(insert(2)), database.write(insert(3)))
    assert [type(result) for result in results] == [OutcomeUnknown, OutcomeUnknown]
    with pytest.raises(StoreUnavailable):
        numbers(database)
    with pytest.raises(StoreUnavailable):
        await database.write(insert(4))
    assert numbers(database) == [1]  # The disk works again: reading sealed the file first.
    assert seals(database) == 1
    assert await database.write(insert(5)) == 5


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY])
async def test_commit_that_found_no_room_or_no_turn_is_unavailable(database: Database, code: int) -> None:
    FaultyWriter.into(database).fail("COMMIT", code)
    with pytest.raises(StoreUnavailable):
        await database.write(insert(1))
    assert seals(database) == 0
    assert numbers(database) == []
    assert await database.write(insert(1)) == 1


# -- opening --------------------------------------------------------------------------------------------------------


async def test_what_was_committed_is_there_after_opening_again(path: Path, clock: ManualClock) -> None:
    first = Database.open(path, schemas=[SCHEMA], clock=clock)
    await SqliteStore(first).commit([Put(PAYMENT, b"x", indexes={"due": Key("s", "1")})], [event(1)])
    position = (await SqliteFeed(first, clock=clock).read(after=START))[0].position
    await first.close()
    again = Database.open(path, schemas=[SCHEMA], clock=clock)
    await SqliteStore(again).commit([Put(PAYMENT, b"y", expected=1)], [event(2)])
    assert await SqliteStore(again).get(PAYMENT) == Item(PAYMENT, 2, b"y", {}, None)
    assert [one.event for one in await SqliteFeed(again, clock=clock).read(after=position)] == [event(2)]
    await again.close()


async def test_every_commit_is_synchronised(database: Database) -> None:
    assert database._writer.execute("PRAGMA synchronous").fetchone() == (2,)
    assert database._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_file_is_for_its_owner_only(path: Path, store: SqliteStore) -> None:
    await store.commit([Put(PAYMENT, b"x")])
    for name in ("interlock.db", "interlock.db-wal", "interlock.db-shm"):
        assert stat.S_IMODE((path.parent / name).stat().st_mode) == 0o600


def test_file_of_a_newer_release_is_refused_by_name(path: Path) -> None:
    asyncio.run(Database.open(path, schemas=[NUMBERS]).close())
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {opening.FORMAT + 1}")
    with pytest.raises(
        StoreUnavailable, match=r"interlock\.db was written by a newer release: format 2, this one knows 1"
    ):
        Database.open(path, schemas=[NUMBERS])


def test_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (n)")
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match="another program"):
        Database.open(path, schemas=[NUMBERS])
    assert path.read_bytes() == before


def test_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database " * 1_000)
    with pytest.raises(StoreUnavailable):
        Database.open(path, schemas=[NUMBERS])
    assert path.read_bytes() == b"not a database " * 1_000


def test_path_that_cannot_be_a_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for bad in (tmp_path, tmp_path / "file" / "below"):
        with pytest.raises(StoreUnavailable):
            Database.open(bad, schemas=[NUMBERS])


# -- killed, and several processes ----------------------------------------------------------------------------------


def start_writer(path: Path, first: int) -> subprocess.Popen[str]:
    command = [sys.executable, durable_writer.__file__, str(path), str(first)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("lines", [1, 37, 400])
async def test_everything_a_killed_process_acknowledged_is_there_and_nothing_is_half_there(
    path: Path, lines: int
) -> None:
    acknowledged: list[str] = []
    for round_ in range(2):
        with start_writer(path, round_ * 1_000_000) as writer:
            assert writer.stdout is not None
            acknowledged += [writer.stdout.readline().strip() for _ in range(lines)]
            writer.kill()
            acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
    database = Database.open(path, schemas=[SCHEMA])
    store, feed = SqliteStore(database), SqliteFeed(database, clock=ManualClock())
    for payment in acknowledged:
        item = await store.get(Key("payments", payment))
        assert item is not None and item.value == payment.encode() * 40
        assert len(await store.history(payment)) == 1
    count = "SELECT (SELECT count(*) FROM items WHERE partition = 'payments'), (SELECT count(*) FROM events), "
    count += "(SELECT count(*) FROM index_entries), (SELECT sum(version) FROM items WHERE partition = 'counts')"
    (counts,) = database.read(lambda c: c.execute(count).fetchall())
    assert len(set(counts)) == 1 and counts[0] >= len(set(acknowledged)) == len(acknowledged)
    assert len(await feed.read(after=START, limit=1000)) == min(1000, counts[0])
    await database.close()


async def test_several_processes_on_one_file_lose_and_double_nothing(path: Path) -> None:
    writer = "import asyncio,sys\nfrom tests.contracts.test_sqlite_database import count_up\nasyncio.run(count_up(sys.argv[1]))"
    processes = [subprocess.Popen([sys.executable, "-c", writer, str(path)]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    database = Database.open(path, schemas=[SCHEMA])
    store = SqliteStore(database)
    item = await store.get(PAYMENT)
    assert item is not None and (item.version, item.value) == (150, b"150")
    assert [kept.version for kept in await store.history("pay_1")] == list(range(1, 151))
    feed = await SqliteFeed(database, clock=ManualClock()).read(after=START, limit=1000)
    assert [one.event.version for one in feed] == list(range(1, 151))
    await database.close()


async def count_up(path: str) -> None:
    """Run in a process of its own: 50 steps of a count that other processes count up too."""
    database = Database.open(path, schemas=[SCHEMA])
    store = SqliteStore(database)
    done = 0
    while done < 50:
        item = await store.get(PAYMENT)
        version = item.version if item else 0
        try:
            await store.commit([Put(PAYMENT, b"%d" % (version + 1), expected=version)], [event(version + 1)])
            done += 1
        except (WriteConflict, StoreUnavailable):
            await asyncio.sleep(0.001)
    await database.close()
