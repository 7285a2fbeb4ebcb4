"""Several processes on one SQLite file: they open it together, take turns at writing, and notice each other's commits."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interlock.backends.sqlite.database import Database
from interlock.backends.sqlite.turnstile import Turnstile

NUMBERS = "CREATE TABLE IF NOT EXISTS numbers (n INTEGER PRIMARY KEY, note TEXT);"
TOGETHER = 3
HELD_S = 0.006
"""How long each job of the busy process takes, as if its disk were slow."""
TASKS = 10
"""So many of them in one commit."""
COMMITS = 25
TURN_MAX_S = 0.3
"""Far more than one commit of the other process, far less than luck would need to find a gap between two."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "interlock.db"


def start(what: str, path: Path) -> subprocess.Popen[str]:
    """A process that runs `what` of this module once it reads a line."""
    code = f"import sys\nfrom tests.contracts import test_sqlite_processes as here\nhere.{what}(sys.argv[1])"
    command = [sys.executable, "-c", code, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    return process


def go(*processes: subprocess.Popen[str]) -> None:
    """Let them go on, all at the same instant."""
    at = time.time() + 0.1
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{at}\n")
        process.stdin.flush()


def on_the_word() -> None:
    print("here", flush=True)
    at = float(sys.stdin.readline())
    while time.time() < at:
        pass


def insert(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO numbers (note) VALUES ('')")


# -- what the other processes do ----------------------------------------------------------------------------------------


def open_and_write(path: str) -> None:
    async def work() -> None:
        database = Database.open(path, schemas=[NUMBERS])
        await database.write(insert)
        await database.close()

    on_the_word()
    asyncio.run(work())


def write_without_a_pause(path: str) -> None:
    def slowly(connection: sqlite3.Connection) -> None:
        insert(connection)
        time.sleep(HELD_S)

    async def one(database: Database) -> None:
        while True:
            await database.write(slowly)

    async def work() -> None:
        database = Database.open(path, schemas=[NUMBERS])
        on_the_word()
        await asyncio.gather(*(one(database) for _ in range(TASKS)))

    asyncio.run(work())


def stand_in_the_turnstile(path: str) -> None:
    turnstile = Turnstile(Path(path))
    assert turnstile.enter()
    on_the_word()


# -- tests --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attempt", range(3))
async def test_processes_that_open_a_fresh_file_at_once_all_write_to_it(path: Path, attempt: int) -> None:
    processes = [start("open_and_write", path) for _ in range(TOGETHER)]
    go(*processes)
    assert [process.wait(30) for process in processes] == [0] * TOGETHER
    database = Database.open(path, schemas=[NUMBERS])
    assert database.read(lambda c: c.execute("SELECT count(*) FROM numbers").fetchone()) == (TOGETHER,)
    await database.close()


async def test_writer_beside_a_process_that_never_pauses_gets_its_turn_each_time(path: Path) -> None:
    database = Database.open(path, schemas=[NUMBERS])
    busy = start("write_without_a_pause", path)
    try:
        go(busy)
        while database.read(lambda c: c.execute("SELECT count(*) FROM numbers").fetchone()) == (0,):
            await asyncio.sleep(0.01)
        waited_s = []
        for _ in range(COMMITS):
            began = time.monotonic()
            await database.write(insert)
            waited_s.append(time.monotonic() - began)
    finally:
        busy.kill()
        busy.wait()
    assert max(waited_s) < TURN_MAX_S
    await database.close()


def test_opening_beside_a_process_that_never_pauses_takes_a_moment(path: Path) -> None:
    asyncio.run(Database.open(path, schemas=[NUMBERS]).close())
    busy = start("write_without_a_pause", path)
    try:
        go(busy)
        began = time.monotonic()
        asyncio.run(Database.open(path, schemas=[NUMBERS]).close())
        assert time.monotonic() - began < 2
    finally:
        busy.kill()
        busy.wait()


def test_turnstile_of_a_killed_process_is_free(path: Path) -> None:
    path.parent.mkdir()
    mine = Turnstile(path)
    other = start("stand_in_the_turnstile", path)
    assert not mine.enter()
    other.kill()
    other.wait()
    assert mine.enter()
    mine.close()


async def test_commit_of_another_connection_wakes_whoever_waits_on_a_shared_file(path: Path) -> None:
    other = Database.open(path, schemas=[NUMBERS])
    shared = Database.open(path, schemas=[NUMBERS], shared=True)
    for _ in range(3):
        began = time.monotonic()
        waiting = asyncio.create_task(shared.changed("orders", timeout_s=10))
        await asyncio.sleep(0.03)
        assert not waiting.done()
        await other.write(insert, wakes="anything")
        await waiting
        assert time.monotonic() - began < 1
        await shared.write(insert, wakes="others")  # one of our own tells by its topic only
    for database in (shared, other):
        await database.close()


async def test_commit_between_looking_and_waiting_is_noticed_on_a_shared_file(path: Path) -> None:
    shared = Database.open(path, schemas=[NUMBERS], shared=True)
    other = Database.open(path, schemas=[NUMBERS])
    await asyncio.wait_for(shared.changed("orders", timeout_s=0.05), 5)
    await other.write(insert)
    began = time.monotonic()
    await shared.changed("orders", timeout_s=10)
    assert time.monotonic() - began < 1
    for database in (shared, other):
        await database.close()
