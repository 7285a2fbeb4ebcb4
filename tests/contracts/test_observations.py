"""The Observations port's promises, over every adapter; then what only a file can get wrong."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from interlock.backends.memory.observations import MemoryObservations
from interlock.backends.sqlite import observations as sqlite_observations
from interlock.backends.sqlite.observations import SqliteObservations
from interlock.core.desk.explain.model import ObservedLine, ObservedSpan
from interlock.core.desk.explain.ports import Observations, Observer
from interlock.core.kernel.clock import DAY, MINUTE
from interlock.core.kernel.errors import StoreUnavailable
from tests.clocks import ManualClock

PAYMENT, OTHER = "pay_01m8bxmw44kkwk44k1efzqrhkx", "pay_01m8bxmw44kkwk44k1efzqrhky"
TRACE = "0af7651916cd43dd8448eb211c80319c"
MB = 2**20


class Place(NamedTuple):
    """Somebody who says things, and another who reads them, as two processes or two parts of one would be."""

    said: Observer
    read: Observations
    settle: Callable[[], Awaitable[None]]
    """What was said can be read."""


class Lost:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self, count: int) -> None:
        self.count += count


async def _nothing() -> None:
    return


def of_file(
    path: Path, clock: ManualClock, lost: Lost | None = None, *, days: int = 7, bytes_max: int = 256 * MB
) -> SqliteObservations:
    return SqliteObservations(path, clock=clock, days=days, bytes_max=bytes_max, lost=lost or Lost())


@pytest.fixture(params=["memory", "sqlite"])
async def place(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Place]:
    if request.param == "memory":
        memory = MemoryObservations()
        yield Place(memory, memory, _nothing)
    else:
        path = tmp_path / "data" / "observations.db"
        one, other = of_file(path, clock), of_file(path, clock)
        yield Place(one, other, one.flush)
        await one.close()
        await other.close()


def line(at: int, event: str = "payment.created") -> ObservedLine:
    return ObservedLine(
        at, "info", event, TRACE, {"provider": "simulator", "attempts": 2, "known": True, "tenant": "ten_é"}
    )


def span(at: int, name: str = "provider.call") -> ObservedSpan:
    return ObservedSpan(
        TRACE, "b7ad6b7169203331", "00f067aa0ba902b7", name, at * 1_000 + 7, 212_345, "", {"outcome": "approved"}
    )


# -- what is said and read -----------------------------------------------------------------------------------------------


async def test_what_was_said_of_a_payment_is_read_elsewhere_just_as_it_was(place: Place, clock: ManualClock) -> None:
    now = clock.now()
    place.said.note_line(PAYMENT, line(now))
    place.said.note_span(PAYMENT, span(now))
    await place.settle()
    found = await place.read.of_payment(PAYMENT, since=now, until=now + 1, limit=10)
    assert (found.lines, found.spans, found.more) == ((line(now),), (span(now),), False)


async def test_other_payments_are_not_told_of(place: Place, clock: ManualClock) -> None:
    now = clock.now()
    place.said.note_line(OTHER, line(now))
    place.said.note_span(OTHER, span(now))
    await place.settle()
    found = await place.read.of_payment(PAYMENT, since=0, until=now + MINUTE, limit=10)
    assert (found.lines, found.spans, found.more) == ((), (), False)


async def test_nothing_was_said_and_nothing_is_found(place: Place, clock: ManualClock) -> None:
    found = await place.read.of_payment(PAYMENT, since=0, until=clock.now(), limit=10)
    assert (found.lines, found.spans, found.more) == ((), (), False)


async def test_what_was_said_late_or_out_of_order_stands_in_the_order_of_its_time(
    place: Place, clock: ManualClock
) -> None:
    now = clock.now()
    for at in (now + 2, now, now + 1):
        place.said.note_line(PAYMENT, line(at))
        place.said.note_span(PAYMENT, span(at))
        await place.settle()
    found = await place.read.of_payment(PAYMENT, since=0, until=now + MINUTE, limit=10)
    assert [one.at for one in found.lines] == [now, now + 1, now + 2]
    assert [one.start_us for one in found.spans] == [(now + at) * 1_000 + 7 for at in range(3)]


async def test_lines_of_one_instant_stay_in_the_order_in_which_they_were_said(place: Place, clock: ManualClock) -> None:
    events = [f"payment.step_{number}" for number in range(20)]
    for event in events:
        place.said.note_line(PAYMENT, line(clock.now(), event))
    await place.settle()
    found = await place.read.of_payment(PAYMENT, since=0, until=clock.now() + 1, limit=20)
    assert [one.event for one in found.lines] == events


async def test_only_what_happened_between_the_two_instants_is_found(place: Place, clock: ManualClock) -> None:
    now = clock.now()
    for at in range(5):
        place.said.note_line(PAYMENT, line(now + at))
        place.said.note_span(PAYMENT, span(now + at))
    await place.settle()
    found = await place.read.of_payment(PAYMENT, since=now + 1, until=now + 4, limit=10)
    assert [one.at - now for one in found.lines] == [1, 2, 3]
    assert [one.start_us // 1_000 - now for one in found.spans] == [1, 2, 3]
    assert not found.more


@pytest.mark.parametrize("kind", ["lines", "spans"])
async def test_the_earliest_are_found_and_that_there_are_more_is_said(
    place: Place, clock: ManualClock, kind: str
) -> None:
    now = clock.now()
    for at in range(4):
        if kind == "lines":
            place.said.note_line(PAYMENT, line(now + at))
        else:
            place.said.note_span(PAYMENT, span(now + at))
        await place.settle()
    some = await place.read.of_payment(PAYMENT, since=0, until=now + MINUTE, limit=3)
    every = await place.read.of_payment(PAYMENT, since=0, until=now + MINUTE, limit=4)
    assert (len(some.lines), len(some.spans), some.more) == ((3, 0, True) if kind == "lines" else (0, 3, True))
    assert (len(every.lines), len(every.spans), every.more) == ((4, 0, False) if kind == "lines" else (0, 4, False))
    assert [one.at for one in some.lines] == [now + at for at in range(len(some.lines))]


# -- a file --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "observations.db"


async def events_of(observations: SqliteObservations, payment: str = PAYMENT) -> list[str]:
    found = await observations.of_payment(payment, since=0, until=2**50, limit=100_000)
    return [one.event for one in found.lines]


async def test_nothing_is_opened_before_something_is_said(path: Path, clock: ManualClock) -> None:
    observations = of_file(path, clock)
    assert await events_of(observations) == []
    await observations.flush()
    await observations.close()
    assert not path.exists()


async def test_file_is_its_owners_alone(path: Path, clock: ManualClock) -> None:
    observations = of_file(path, clock)
    observations.note_line(PAYMENT, line(clock.now()))
    await observations.flush()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await observations.close()


async def test_what_was_said_before_close_is_written_by_it(path: Path, clock: ManualClock) -> None:
    first = of_file(path, clock)
    first.note_line(PAYMENT, line(clock.now(), "payment.captured"))
    await first.close()
    assert await events_of(of_file(path, clock)) == ["payment.captured"]


async def test_two_processes_write_one_file_and_each_reads_what_both_said(path: Path, clock: ManualClock) -> None:
    one, other = of_file(path, clock), of_file(path, clock)
    for number in range(50):
        one.note_line(PAYMENT, line(clock.now(), f"one.{number}"))
        other.note_line(PAYMENT, line(clock.now(), f"other.{number}"))
        if number % 10 == 0:
            await one.flush()
            await other.flush()
    await one.flush()
    await other.flush()
    assert sorted(await events_of(one)) == sorted(await events_of(other))
    assert len(await events_of(one)) == 100
    await one.close()
    await other.close()


async def test_what_is_older_than_the_days_kept_goes_and_the_rest_stays(path: Path, clock: ManualClock) -> None:
    observations = of_file(path, clock, days=2)
    observations.note_line(PAYMENT, line(clock.now(), "payment.old"))
    await observations.flush()
    clock.advance(DAY / 1_000)
    observations.note_line(PAYMENT, line(clock.now(), "payment.younger"))
    await observations.flush()
    assert await events_of(observations) == ["payment.old", "payment.younger"]
    clock.advance(DAY / 1_000)
    observations.note_line(OTHER, line(clock.now()))
    await observations.flush()
    assert await events_of(observations) == ["payment.younger"]
    await observations.close()


async def test_the_oldest_go_where_all_take_too_much_room(path: Path, clock: ManualClock) -> None:
    observations = of_file(path, clock, bytes_max=MB)
    for number in range(12_000):
        observations.note_line(f"pay_{number:026d}", line(clock.now(), f"payment.step_{number}"))
        if number % 1_000 == 0:
            await observations.flush()
            clock.advance(sqlite_observations.LOOKS_APART_S)
    await observations.flush()
    clock.advance(sqlite_observations.LOOKS_APART_S)
    observations.note_line(PAYMENT, line(clock.now(), "payment.last"))
    await observations.flush()
    assert await events_of(observations, f"pay_{0:026d}") == []
    assert await events_of(observations) == ["payment.last"]
    with sqlite3.connect(path) as connection:
        (pages,), (free,), (size,) = (
            connection.execute(f"PRAGMA {one}").fetchone() for one in ("page_count", "freelist_count", "page_size")
        )
    assert (pages - free) * size <= MB
    assert path.stat().st_size < 3 * MB
    await observations.close()


async def test_what_nobody_writes_in_time_is_lost_and_counted(
    path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_observations, "WAITING_MAX", 10)
    monkeypatch.setattr(sqlite_observations, "GATHER_S", 60.0)
    lost = Lost()
    observations = of_file(path, clock, lost)
    for number in range(13):
        observations.note_line(PAYMENT, line(clock.now(), f"payment.step_{number}"))
    assert lost.count == 3
    await observations.flush()
    assert await events_of(observations) == [f"payment.step_{number}" for number in range(10)]
    await observations.close()


async def test_who_says_something_never_waits_for_the_file(
    path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_observations, "_BUSY_S", 0.05)
    lost = Lost()
    observations = of_file(path, clock, lost)
    observations.note_line(PAYMENT, line(clock.now(), "payment.before"))
    await observations.flush()
    here = threading.get_ident()
    opened_by: list[int] = []
    real = observations._write

    def watched(batch: list[tuple[str, ObservedLine | ObservedSpan]]) -> None:
        opened_by.append(threading.get_ident())
        real(batch)

    monkeypatch.setattr(observations, "_write", watched)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    observations.note_line(PAYMENT, line(clock.now(), "payment.during"))
    await observations.flush()
    blocker.execute("ROLLBACK")
    blocker.close()
    observations.note_line(PAYMENT, line(clock.now(), "payment.after"))
    await observations.flush()
    assert await events_of(observations) == ["payment.before", "payment.after"]
    assert lost.count == 1
    assert here not in opened_by
    await observations.close()


async def test_folder_that_takes_no_file_loses_what_was_said_and_stops_nobody(
    tmp_path: Path, clock: ManualClock
) -> None:
    (tmp_path / "no_folder").write_text("")
    lost = Lost()
    observations = of_file(tmp_path / "no_folder" / "observations.db", clock, lost)
    observations.note_line(PAYMENT, line(clock.now()))
    await observations.flush()
    assert lost.count == 1
    assert await events_of(observations) == []
    await observations.close()


async def test_what_cannot_be_written_is_lost_and_the_next_is_not(path: Path, clock: ManualClock) -> None:
    lost = Lost()
    observations = of_file(path, clock, lost)
    observations.note_line(PAYMENT, ObservedLine(clock.now(), "info", "payment.odd", TRACE, {"reason": "\ud800"}))
    await observations.flush()
    observations.note_line(PAYMENT, line(clock.now(), "payment.after"))
    await observations.flush()
    assert lost.count == 1
    assert await events_of(observations) == ["payment.after"]
    await observations.close()


async def test_damaged_file_is_begun_anew_and_others_go_on_in_the_new_one(path: Path, clock: ManualClock) -> None:
    lost = Lost()
    one, other = of_file(path, clock, lost), of_file(path, clock)
    for observations in (one, other):
        observations.note_line(PAYMENT, line(clock.now(), "payment.before"))
        await observations.flush()
    await one.close()
    path.write_bytes(os.urandom(50_000))
    for name in ("observations.db-wal", "observations.db-shm"):
        path.with_name(name).unlink(missing_ok=True)
    again = of_file(path, clock, lost)
    with pytest.raises(StoreUnavailable):
        await events_of(again)
    again.note_line(PAYMENT, line(clock.now(), "payment.lost"))
    await again.flush()
    again.note_line(PAYMENT, line(clock.now(), "payment.after"))
    await again.flush()
    other.note_line(PAYMENT, line(clock.now(), "payment.elsewhere"))
    await other.flush()
    assert lost.count == 1
    assert await events_of(again) == ["payment.after", "payment.elsewhere"]
    await again.close()
    await other.close()
