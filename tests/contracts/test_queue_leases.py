"""The ability of a queue to end every lease at once: for a worker that knows it is the only one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from interlock.backends.local.ids import SystemIds
from interlock.backends.sqlite import queue as sqlite_queue
from interlock.backends.sqlite.database import Database
from interlock.backends.sqlite.queue import SqliteQueue
from tests.clocks import ManualClock
from tests.contracts.test_queue import ATTEMPTS_MAX, LEASE_S, OTHER, SPECS, WORK


@pytest.fixture
async def queue(tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteQueue]:
    database = Database.open(tmp_path / "q.db", schemas=[sqlite_queue.SCHEMA], clock=clock)
    yield SqliteQueue(database, SPECS, clock=clock, ids=SystemIds(clock, random_bits=Random(1).getrandbits))
    await database.close()


async def test_leased_message_is_receivable_at_once_and_the_attempt_counts(queue: SqliteQueue) -> None:
    await queue.send(WORK, b"body")
    [leased] = await queue.receive(WORK)
    assert await queue.receive(WORK) == []
    assert await queue.end_leases(WORK) == 1
    [again] = await queue.receive(WORK)
    assert (again.id, again.attempts) == (leased.id, 2)
    assert await queue.ack(WORK, leased.receipt) is False


async def test_delayed_message_and_other_queue_are_left_alone(queue: SqliteQueue) -> None:
    await queue.send(WORK, b"later", delay_s=10)
    await queue.send(OTHER, b"body")
    await queue.receive(OTHER)
    assert await queue.end_leases(WORK) == 0
    assert await queue.receive(WORK) == []
    assert await queue.receive(OTHER) == []


async def test_message_on_its_last_attempt_dies(queue: SqliteQueue, clock: ManualClock) -> None:
    await queue.send(WORK, b"poison")
    for _ in range(ATTEMPTS_MAX - 1):
        await queue.receive(WORK)
        clock.advance(LEASE_S)
    await queue.receive(WORK)
    assert await queue.end_leases(WORK) == 1
    assert await queue.receive(WORK) == []
    assert [letter.body for letter in await queue.dead_letters(WORK)] == [b"poison"]


async def test_ending_twice_ends_nothing_more(queue: SqliteQueue) -> None:
    await queue.send(WORK, b"body")
    await queue.receive(WORK)
    assert [await queue.end_leases(WORK) for _ in range(2)] == [1, 0]
