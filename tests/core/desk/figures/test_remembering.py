"""Counts that are remembered say what counting again would say, whatever changes meanwhile."""

from __future__ import annotations

import random
from collections.abc import Mapping

import msgspec
import pytest

from interlock.backends.memory.documents import MemoryDocuments
from interlock.core.desk.figures.folding import Folding
from interlock.core.desk.figures.model import ATTEMPTS, COLLECTIONS, COUNTS, DESK
from interlock.core.desk.figures.remembering import OVER, ROWS_MAX, RememberedTallies, recount
from interlock.core.desk.localisation.counting import PAST
from interlock.core.desk.localisation.model import DIMENSIONS
from interlock.core.kernel.clock import DAY, HOUR, MINUTE, Millis
from interlock.core.kernel.documents import Document, Scalar, Tally
from interlock.core.kernel.ids import ATTEMPT, format_id
from tests.clocks import ManualClock

decode = msgspec.json.Decoder(list[Tally]).decode
START: Millis = 1_790_000_000_000 // DAY * DAY
BY = ("provider", "outcome")


class Counting(MemoryDocuments):
    """Says how many ranges were counted."""

    def __init__(self) -> None:
        super().__init__(COLLECTIONS)
        self.counted: list[tuple[str, str]] = []

    async def tally(self, collection: str, **asked: object) -> list[Tally]:  # type: ignore[override]
        self.counted.append((str(asked.get("id_from")), str(asked.get("id_before"))))
        return await super().tally(collection, **asked)  # type: ignore[arg-type]


class Desk:
    def __init__(self, clock: ManualClock, folding: Folding | None = None) -> None:
        self.documents = Counting()
        self.tallies = RememberedTallies(self.documents, self.documents, clock, folding)

    async def attempt(self, at: Millis, number: int = 0, *, version: int = 1, **fields: Scalar) -> str:
        """As the projection writes one: the row, then word of it."""
        id = format_id(ATTEMPT, at, number)
        given = {"provider": "acme", "outcome": "approved", "amount": 100, "slot": at // (5 * MINUTE)} | fields
        await self.documents.upsert(ATTEMPTS.name, [Document(id, DESK, version, given, b"{}")])
        await recount(self.documents, [id])
        return id

    async def asked(
        self, since: Millis, until: Millis, by: tuple[str, ...] = BY, where: Mapping[str, Scalar] | None = None
    ) -> dict[tuple[Scalar | None, ...], tuple[int, ...]]:
        found = await self.tallies.tally(
            ATTEMPTS.name, tenant=DESK, by=by, sums=("amount",), where=where,
            id_from=format_id(ATTEMPT, since, 0), id_before=format_id(ATTEMPT, until, 0),
        )  # fmt: skip
        assert len({row.values for row in found}) == len(found)
        return {row.values: (row.number, *row.sums) for row in found}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START + 3 * DAY + 30 * MINUTE)


@pytest.fixture
def desk(clock: ManualClock) -> Desk:
    return Desk(clock)


async def test_hours_that_are_over_are_counted_once(desk: Desk):
    await desk.attempt(START + 2 * HOUR)
    await desk.attempt(START + 3 * HOUR, outcome="declined")
    wanted = {("acme", "approved"): (1, 100), ("acme", "declined"): (1, 100)}
    assert await desk.asked(START, START + 6 * HOUR) == wanted
    assert len(desk.documents.counted) == 6
    desk.documents.counted.clear()
    assert await desk.asked(START, START + 6 * HOUR) == wanted
    assert desk.documents.counted == []


async def test_days_are_remembered_as_one_and_only_what_is_not_over_is_counted_again(desk: Desk, clock: ManualClock):
    await desk.attempt(START + 2 * HOUR)
    await desk.attempt(START + 3 * DAY + 20 * MINUTE)
    await desk.asked(START, clock.now())
    desk.documents.counted.clear()
    assert await desk.asked(START, clock.now()) == {("acme", "approved"): (2, 200)}
    assert desk.documents.counted == [(format_id(ATTEMPT, START + 3 * DAY, 0), format_id(ATTEMPT, clock.now(), 0))]
    days = [one for one in await desk.documents.find(COUNTS.name, tenant=DESK, limit=1_000) if ".day." in one.id]
    assert len(days) == 3


async def test_an_outcome_that_comes_late_is_counted_and_so_is_its_day(desk: Desk):
    id = await desk.attempt(START + 5 * HOUR, outcome="unknown")
    assert await desk.asked(START, START + DAY) == {("acme", "unknown"): (1, 100)}
    assert await desk.asked(START + 5 * HOUR, START + 6 * HOUR) == {("acme", "unknown"): (1, 100)}
    assert id == await desk.attempt(START + 5 * HOUR, version=2, outcome="approved")
    assert await desk.asked(START, START + DAY) == {("acme", "approved"): (1, 100)}
    assert await desk.asked(START + 5 * HOUR, START + 6 * HOUR) == {("acme", "approved"): (1, 100)}


async def test_an_attempt_written_while_its_hour_is_counted_is_not_lost(desk: Desk):
    await desk.attempt(START + HOUR, 1)
    plain = desk.documents.tally

    async def tally(collection: str, **asked: object) -> list[Tally]:
        found = await plain(collection, **asked)
        desk.documents.tally = plain  # type: ignore[method-assign]
        await desk.attempt(START + HOUR, 2)
        return found

    desk.documents.tally = tally  # type: ignore[method-assign,assignment]
    assert await desk.asked(START + HOUR, START + 2 * HOUR) == {("acme", "approved"): (1, 100)}
    assert await desk.asked(START + HOUR, START + 2 * HOUR) == {("acme", "approved"): (2, 200)}


async def test_an_hour_is_not_remembered_before_it_is_over():
    since = START + 3 * DAY - HOUR
    for now, remembered in ((START + 3 * DAY + OVER - 1, 0), (START + 3 * DAY + OVER, 2)):
        desk = Desk(ManualClock(now))
        await desk.asked(since, since + HOUR)
        assert len(await desk.documents.find(COUNTS.name, tenant=DESK)) == remembered


async def test_one_count_answers_for_every_value_of_a_filter(desk: Desk):
    await desk.attempt(START, 1, merchant="mer_1")
    await desk.attempt(START, 2, merchant="mer_2", outcome="declined")
    first = await desk.asked(START, START + HOUR, where={"merchant": "mer_1"})
    desk.documents.counted.clear()
    second = await desk.asked(START, START + HOUR, where={"merchant": "mer_2"})
    assert (first, second) == ({("acme", "approved"): (1, 100)}, {("acme", "declined"): (1, 100)})
    assert desk.documents.counted == []


async def test_what_nearly_every_attempt_has_for_itself_is_never_remembered(desk: Desk):
    await desk.attempt(START + HOUR, duration_ms=12)
    assert await desk.asked(START, START + DAY, by=("duration_ms",)) == {(12,): (1, 100)}
    assert await desk.documents.find(COUNTS.name, tenant=DESK) == []


async def test_of_other_collections_it_says_what_the_counter_says(desk: Desk):
    await desk.documents.upsert("desk_payments", [Document("pay_1", DESK, 1, {"currency": "EUR"}, b"{}")])
    found = await desk.tallies.tally("desk_payments", tenant=DESK, by=("currency",))
    assert found == [Tally(("EUR",), 1, ())]


async def various(desk: Desk, at: Millis, number: int, *, seed: int = 1) -> None:
    """Attempts of an hour, nearly each with attributes that no other one has."""
    dice = random.Random(seed)
    made = [
        Document(
            format_id(ATTEMPT, at + place, place), DESK, 1, {name: f"{name}-{dice.randrange(300):032}" for name in DIMENSIONS}
            | {"outcome": dice.choice(["approved", "declined"]), "operation": "authorize"}, b"{}",
        )
        for place in range(number)
    ]  # fmt: skip
    await desk.documents.upsert(ATTEMPTS.name, made)


async def test_an_hour_of_too_many_combinations_is_counted_each_time_and_to_the_last_one(desk: Desk):
    await various(desk, START, ROWS_MAX + 100)
    by = (*DIMENSIONS, "outcome")
    first = await desk.asked(START, START + HOUR, by)
    assert len(first) > ROWS_MAX
    desk.documents.counted.clear()
    assert await desk.asked(START, START + HOUR, by) == first
    assert len(desk.documents.counted) == 1
    assert all(".hour." not in one.id for one in await desk.documents.find(COUNTS.name, tenant=DESK))


async def test_what_is_remembered_of_the_past_of_all_dimensions_is_bounded_and_no_attempt_is_lost(clock: ManualClock):
    desk = Desk(clock, PAST)
    for hour in range(24):
        await various(desk, START + hour * HOUR, 700, seed=hour)
    by = (*DIMENSIONS, "outcome")
    seen = await desk.asked(START, START + DAY, by, where={"operation": "authorize"})
    assert sum(number for number, _ in seen.values()) == 24 * 700
    assert len(seen) <= PAST.day_max
    kept = [one for one in await desk.documents.find(COUNTS.name, tenant=DESK, limit=1_000) if "mark" not in one.id]
    assert {one.id.split(".")[1] for one in kept} == {"hour", "day"} and len(kept) == 25
    for one in kept:
        rows_max = PAST.day_max if ".day." in one.id else PAST.hour_max
        assert len(decode(one.body)) <= rows_max <= ROWS_MAX
    desk.documents.counted.clear()
    assert await desk.asked(START, START + DAY, by, where={"operation": "authorize"}) == seen
    assert desk.documents.counted == []


async def test_of_one_value_of_what_is_folded_every_attempt_is_counted(clock: ManualClock):
    desk = Desk(clock, Folding(frozenset({"bin"}), hour_max=2, day_max=2))
    for number in range(4):
        await desk.attempt(START, number, bin=f"40000{number}")
    assert await desk.asked(START, START + HOUR, ("outcome",), where={"bin": "400003"}) == {("approved",): (1, 100)}
    folded = await desk.asked(START, START + HOUR, ("bin",))
    assert sum(number for number, _ in folded.values()) == 4 and None in {values[0] for values in folded}


async def test_what_is_told_apart_and_what_is_not_are_remembered_apart(desk: Desk, clock: ManualClock):
    past = RememberedTallies(desk.documents, desk.documents, clock, Folding(frozenset({"bin"}), hour_max=1, day_max=1))
    for number in range(4):
        await desk.attempt(START, number, bin=f"40000{number}")
    exact, desk.tallies = desk.tallies, past
    assert await desk.asked(START, START + HOUR, ("bin",)) == {(None,): (4, 400)}
    desk.tallies = exact
    assert len(await desk.asked(START, START + HOUR, ("bin",))) == 4


@pytest.mark.parametrize("seed", range(30))
async def test_random_ranges_among_random_changes_say_what_counting_says(seed: int, clock: ManualClock):
    dice = random.Random(seed)
    desk = Desk(clock)
    versions: dict[tuple[Millis, int], int] = {}
    for _ in range(120):
        at, number = START + dice.randrange(3 * DAY // MINUTE + 30) * MINUTE, dice.randrange(2)
        versions[at, number] = versions.get((at, number), 0) + 1
        await desk.attempt(
            at, number, version=versions[at, number], provider=dice.choice(["acme", "zeta"]),
            outcome=dice.choice(["approved", "declined", "unknown"]), amount=dice.randrange(1, 9),
        )  # fmt: skip
        if dice.random() < 0.3:
            since = START + dice.choice([0, HOUR, DAY, dice.randrange(2 * DAY)])
            until = dice.choice([clock.now(), since + dice.randrange(1, 3 * DAY), START + 2 * DAY])
            by = dice.choice([BY, ("outcome",), ("slot", "provider"), ()])
            where: dict[str, Scalar] = dice.choice([{}, {"provider": "acme"}])
            plain = await MemoryDocuments.tally(
                desk.documents, ATTEMPTS.name, tenant=DESK, by=by, sums=("amount",), where=where,
                id_from=format_id(ATTEMPT, since, 0), id_before=format_id(ATTEMPT, until, 0),
            )  # fmt: skip
            assert await desk.asked(since, until, by, where) == {row.values: (row.number, *row.sums) for row in plain}
