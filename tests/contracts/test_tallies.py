"""Counting documents, an optional ability of Documents, over every adapter that has it."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from interlock.backends.memory.documents import MemoryDocuments
from interlock.backends.mongo.documents import MongoDocuments
from interlock.backends.sqlite.database import Database
from interlock.backends.sqlite.documents import SqliteDocuments, schema
from interlock.core.kernel.documents import Collection, Document, Tally
from tests.clocks import ManualClock

CALLS = "calls"
COLLECTIONS = [Collection(CALLS, ("provider",), ("outcome", "amount", "slot"))]
TENANT, STRANGER = "ten_a", "ten_b"
Counts = MemoryDocuments | SqliteDocuments | MongoDocuments


@pytest.fixture(params=["memory", "sqlite", pytest.param("mongo", marks=pytest.mark.aws)])
async def counts(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Counts]:
    if request.param == "memory":
        yield MemoryDocuments(COLLECTIONS)
    elif request.param == "mongo":
        database = f"d{uuid.uuid4().hex}"
        server = request.getfixturevalue("mongo")
        mongo = MongoDocuments(server.uri, COLLECTIONS, clock=clock, random=random.random, database=database)
        yield mongo
        await mongo.close()
    else:
        opened = Database.open(tmp_path / "d.db", schemas=[schema(COLLECTIONS)], clock=clock)
        yield SqliteDocuments(opened, COLLECTIONS)
        await opened.close()


def call(number: int, *, tenant: str = TENANT, version: int = 1, **fields: str | int) -> Document:
    return Document(f"att_{number:04d}", tenant, version, fields, b"{}")


def as_dict(found: list[Tally]) -> dict[tuple[str | int | bool | None, ...], tuple[int, ...]]:
    assert len({one.values for one in found}) == len(found)
    return {one.values: (one.number, *one.sums) for one in found}


async def test_documents_are_counted_by_their_values_and_their_numbers_added_up(counts: Counts) -> None:
    await counts.upsert(
        CALLS,
        [
            call(1, provider="acme", outcome="approved", amount=100),
            call(2, provider="acme", outcome="approved", amount=250),
            call(3, provider="acme", outcome="declined", amount=7),
            call(4, provider="zeta", outcome="approved", amount=1),
        ],
    )
    found = await counts.tally(CALLS, tenant=TENANT, by=("provider", "outcome"), sums=("amount",))
    assert as_dict(found) == {
        ("acme", "approved"): (2, 350),
        ("acme", "declined"): (1, 7),
        ("zeta", "approved"): (1, 1),
    }


async def test_missing_fields_are_counted_as_such_and_add_nothing(counts: Counts) -> None:
    await counts.upsert(CALLS, [call(1, provider="acme"), call(2, outcome="approved", amount=5), call(3)])
    found = await counts.tally(CALLS, tenant=TENANT, by=("provider",), sums=("amount", "slot"))
    assert as_dict(found) == {("acme",): (1, 0, 0), (None,): (2, 5, 0)}


async def test_numbers_are_values_to_count_by_too(counts: Counts) -> None:
    await counts.upsert(CALLS, [call(1, slot=7), call(2, slot=7), call(3, slot=8), call(4, slot=-1)])
    found = await counts.tally(CALLS, tenant=TENANT, by=("slot",), sums=("slot",))
    assert as_dict(found) == {(7,): (2, 14), (8,): (1, 8), (-1,): (1, -1)}


async def test_range_holds_its_beginning_and_not_its_end(counts: Counts) -> None:
    await counts.upsert(CALLS, [call(number, provider="acme") for number in range(10)])
    found = await counts.tally(CALLS, tenant=TENANT, by=(), id_from="att_0003", id_before="att_0007")
    assert as_dict(found) == {(): (4,)}


async def test_only_the_tenants_own_documents_that_fit_the_filter_are_counted(counts: Counts) -> None:
    await counts.upsert(CALLS, [call(1, provider="acme", outcome="x"), call(2, provider="zeta", outcome="x")])
    await counts.upsert(CALLS, [call(3, tenant=STRANGER, provider="acme", outcome="x")])
    found = await counts.tally(CALLS, tenant=TENANT, by=("outcome",), where={"provider": "acme"})
    assert as_dict(found) == {("x",): (1,)}


async def test_nothing_gives_no_rows(counts: Counts) -> None:
    assert await counts.tally(CALLS, tenant=TENANT, by=("provider",), sums=("amount",)) == []


async def test_newest_version_alone_counts(counts: Counts) -> None:
    await counts.upsert(CALLS, [call(1, provider="acme", outcome="unknown", amount=9)])
    await counts.upsert(CALLS, [call(1, version=2, provider="acme", outcome="approved", amount=9)])
    found = await counts.tally(CALLS, tenant=TENANT, by=("outcome",), sums=("amount",))
    assert as_dict(found) == {("approved",): (1, 9)}


@pytest.mark.parametrize("more", [{"by": ("brand",)}, {"sums": ("brand",)}, {"where": {"brand": "visa"}}])
async def test_field_that_is_not_declared_is_a_mistake(counts: Counts, more: dict[str, object]) -> None:
    with pytest.raises(KeyError):
        await counts.tally(CALLS, tenant=TENANT, **{"by": ("provider",), **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(3))
async def test_random_documents_are_counted_as_a_program_counts_them(counts: Counts, seed: int) -> None:
    chance = Random(seed)
    wanted: Counter[tuple[str | int | bool | None, ...]] = Counter()
    amounts: Counter[tuple[str | int | bool | None, ...]] = Counter()
    documents = []
    for number in range(200):
        fields: dict[str, str | int] = {
            "provider": chance.choice(["a", "b'\"é", "c"]),
            "amount": chance.randrange(9**12),
        }
        if chance.random() < 0.7:
            fields["outcome"] = chance.choice(["approved", "declined"])
        documents.append(call(number, **fields))
        if 20 <= number < 180:
            values = (fields["provider"], fields.get("outcome"))
            wanted[values] += 1
            amounts[values] += int(fields["amount"])
    await counts.upsert(CALLS, documents)
    found = await counts.tally(
        CALLS, tenant=TENANT, by=("provider", "outcome"), sums=("amount",), id_from="att_0020", id_before="att_0180"
    )
    assert as_dict(found) == {values: (wanted[values], amounts[values]) for values in wanted}
