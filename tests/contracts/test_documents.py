"""The Documents port's promises, over every adapter."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from interlock.backends.memory.documents import MemoryDocuments
from interlock.backends.mongo.documents import MongoDocuments
from interlock.backends.sqlite.database import Database
from interlock.backends.sqlite.documents import SqliteDocuments, schema
from interlock.core.kernel.documents import Collection, Document, Documents, Scalar
from tests.clocks import ManualClock

PAYMENTS, REFUNDS = "payments", "refunds"
COLLECTIONS = [Collection(PAYMENTS, ("status", "customer", "amount", "live")), Collection(REFUNDS)]
TENANT, STRANGER = "ten_a", "ten_b"


class Pair(NamedTuple):
    """Two of them on the same documents, as two processes or two parts of one would have."""

    documents: Documents
    other: Documents


@pytest.fixture(params=["memory", "sqlite", pytest.param("mongo", marks=pytest.mark.aws)])
async def pair(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Pair]:
    if request.param == "memory":
        memory = MemoryDocuments(COLLECTIONS)
        yield Pair(memory, memory)
        return
    if request.param == "mongo":
        server, database = request.getfixturevalue("mongo"), f"d{uuid.uuid4().hex}"
        first, second = (
            MongoDocuments(server.uri, COLLECTIONS, clock=clock, random=random.random, database=database)
            for _ in range(2)
        )
        yield Pair(first, second)
        await first.close()
        await second.close()
        return
    databases = [Database.open(tmp_path / "d.db", schemas=[schema(COLLECTIONS)], clock=clock) for _ in range(2)]
    yield Pair(*(SqliteDocuments(database, COLLECTIONS) for database in databases))
    for database in databases:
        await database.close()


@pytest.fixture
def documents(pair: Pair) -> Documents:
    return pair.documents


def document(number: int, *, version: int = 1, tenant: str = TENANT, **fields: Scalar) -> Document:
    return Document(f"pay_{number:04d}", tenant, version, fields, f'{{"n":{number},"v":{version}}}'.encode())


def numbers(found: list[Document]) -> list[int]:
    return [int(one.id.removeprefix("pay_")) for one in found]


async def versions(documents: Documents) -> dict[int, int]:
    found = await documents.find(PAYMENTS, tenant=TENANT)
    return {int(one.id.removeprefix("pay_")): one.version for one in found}


# -- upsert and get -----------------------------------------------------------------------------------------------------


async def test_document_comes_back_elsewhere_with_all_its_parts(pair: Pair) -> None:
    fields: dict[str, Scalar] = {"status": "succeeded", "customer": "cus_é'\"", "amount": 2**53, "live": True}
    sent = Document("pay_1", TENANT, 3, fields, b'{"note":"\xc3\xa9"}')
    await pair.documents.upsert(PAYMENTS, [sent])
    kept = await pair.other.get(PAYMENTS, "pay_1", tenant=TENANT)
    assert kept == sent
    assert kept.fields["live"] is True
    assert isinstance(kept.body, bytes)


async def test_higher_version_replaces_body_fields_and_version(pair: Pair) -> None:
    await pair.documents.upsert(PAYMENTS, [document(1, status="processing", customer="cus_1")])
    newer = document(1, version=2, status="succeeded")
    await pair.documents.upsert(PAYMENTS, [newer])
    assert await pair.other.get(PAYMENTS, "pay_0001", tenant=TENANT) == newer
    assert await pair.other.find(PAYMENTS, tenant=TENANT, where={"status": "processing"}) == []
    assert await pair.other.find(PAYMENTS, tenant=TENANT, where={"customer": "cus_1"}) == []
    assert await pair.other.find(PAYMENTS, tenant=TENANT, where={"status": "succeeded"}) == [newer]


@pytest.mark.parametrize("version", [1, 2])
async def test_same_or_lower_version_changes_nothing(documents: Documents, version: int) -> None:
    standing = document(1, version=2, status="succeeded")
    await documents.upsert(PAYMENTS, [standing])
    late = Document("pay_0001", TENANT, version, {"status": "late"}, b'{"late":true}')
    await documents.upsert(PAYMENTS, [late])
    assert await documents.get(PAYMENTS, "pay_0001", tenant=TENANT) == standing
    assert await documents.find(PAYMENTS, tenant=TENANT, where={"status": "late"}) == []


async def test_events_twice_and_in_any_order_end_with_the_highest_version(pair: Pair) -> None:
    stream = [document(number, version=version) for number in range(5) for version in range(1, 7)] * 2
    Random(4).shuffle(stream)
    await asyncio.gather(*(pair[at % 2].upsert(PAYMENTS, stream[at : at + 7]) for at in range(0, len(stream), 7)))
    assert await versions(pair.documents) == dict.fromkeys(range(5), 6)
    kept = await pair.documents.get(PAYMENTS, "pay_0003", tenant=TENANT)
    assert kept is not None
    assert kept.body == b'{"n":3,"v":6}'


async def test_one_batch_may_name_a_document_twice(documents: Documents) -> None:
    await documents.upsert(PAYMENTS, [document(1, version=3), document(1, version=1), document(1, version=2)])
    assert await versions(documents) == {1: 3}


async def test_stale_document_in_a_batch_does_not_keep_the_others_out(documents: Documents) -> None:
    await documents.upsert(PAYMENTS, [document(1, version=5)])
    await documents.upsert(PAYMENTS, [document(1, version=4), document(2)])
    assert await versions(documents) == {1: 5, 2: 1}


async def test_upserting_nothing_changes_nothing(documents: Documents) -> None:
    await documents.upsert(PAYMENTS, [])
    assert await documents.find(PAYMENTS, tenant=TENANT) == []


async def test_upsert_with_an_undeclared_field_is_a_key_error_and_writes_none_of_the_batch(
    documents: Documents,
) -> None:
    with pytest.raises(KeyError):
        await documents.upsert(PAYMENTS, [document(1), document(2, colour="red")])
    assert await documents.find(PAYMENTS, tenant=TENANT) == []


async def test_changing_the_fields_given_afterwards_changes_nothing(documents: Documents) -> None:
    fields: dict[str, Scalar] = {"status": "succeeded"}
    await documents.upsert(PAYMENTS, [Document("pay_0001", TENANT, 1, fields, b"{}")])
    fields["status"] = "failed"
    assert numbers(await documents.find(PAYMENTS, tenant=TENANT, where={"status": "succeeded"})) == [1]


async def test_undeclared_collection_is_a_key_error_everywhere(documents: Documents) -> None:
    for call in (
        documents.upsert("nowhere", []),
        documents.upsert("nowhere", [document(1)]),
        documents.get("nowhere", "pay_1", tenant=TENANT),
        documents.find("nowhere", tenant=TENANT),
    ):
        with pytest.raises(KeyError):
            await call


async def test_unknown_document_is_none(documents: Documents) -> None:
    await documents.upsert(PAYMENTS, [document(1)])
    assert await documents.get(PAYMENTS, "pay_9999", tenant=TENANT) is None


async def test_document_of_another_tenant_is_none_and_not_found(documents: Documents) -> None:
    await documents.upsert(PAYMENTS, [document(1, status="succeeded")])
    assert await documents.get(PAYMENTS, "pay_0001", tenant=STRANGER) is None
    assert await documents.find(PAYMENTS, tenant=STRANGER) == []
    assert await documents.find(PAYMENTS, tenant=STRANGER, where={"status": "succeeded"}) == []


async def test_tenant_cannot_replace_a_document_of_another(documents: Documents) -> None:
    mine, theirs = document(1, version=1), document(1, version=9, tenant=STRANGER)
    await documents.upsert(PAYMENTS, [mine])
    await documents.upsert(PAYMENTS, [theirs])
    assert await documents.get(PAYMENTS, "pay_0001", tenant=TENANT) == mine
    assert await documents.get(PAYMENTS, "pay_0001", tenant=STRANGER) == theirs


async def test_collections_are_apart(documents: Documents) -> None:
    await documents.upsert(PAYMENTS, [document(1)])
    assert await documents.get(REFUNDS, "pay_0001", tenant=TENANT) is None
    assert await documents.find(REFUNDS, tenant=TENANT) == []


# -- find ---------------------------------------------------------------------------------------------------------------


async def test_find_is_newest_first_whatever_the_order_of_upserts(documents: Documents) -> None:
    order = list(range(20))
    Random(7).shuffle(order)
    for number in order:
        await documents.upsert(PAYMENTS, [document(number)])
    assert numbers(await documents.find(PAYMENTS, tenant=TENANT)) == list(range(19, -1, -1))


async def test_ids_are_ordered_bytewise(documents: Documents) -> None:
    ids = ["a", "B", "aa", "é", "\ue000", "\U00010000", "", "z", "a_", "a0"]
    await documents.upsert(PAYMENTS, [Document(one, TENANT, 1, {}, b"{}") for one in ids])
    found = [one.id for one in await documents.find(PAYMENTS, tenant=TENANT)]
    assert found == sorted(ids, key=str.encode, reverse=True)


async def test_find_gives_only_documents_whose_field_is_equal(documents: Documents) -> None:
    await documents.upsert(
        PAYMENTS,
        [
            document(1, status="failed"),
            document(2, status="succeeded"),
            document(3, status="succeeded "),
            document(4, status="Succeeded"),
            document(5, status=""),
        ],
    )
    assert numbers(await documents.find(PAYMENTS, tenant=TENANT, where={"status": "succeeded"})) == [2]
    assert numbers(await documents.find(PAYMENTS, tenant=TENANT, where={"status": ""})) == [5]


async def test_numbers_and_text_are_not_equal(documents: Documents) -> None:
    await documents.upsert(PAYMENTS, [document(1, amount=10), document(2, amount="10"), document(3, amount=2**53)])
    assert numbers(await documents.find(PAYMENTS, tenant=TENANT, where={"amount": 10})) == [1]
    assert numbers(await documents.find(PAYMENTS, tenant=TENANT, where={"amount": "10"})) == [2]
    assert numbers(await documents.find(PAYMENTS, tenant=TENANT, where={"amount": 2**53 - 1})) == []


async def test_false_is_a_value_to_find_by(documents: Documents) -> None:
    await documents.upsert(PAYMENTS, [document(1, live=False), document(2, live=True), document(3)])
    assert numbers(await documents.find(PAYMENTS, tenant=TENANT, where={"live": False})) == [1]
    assert numbers(await documents.find(PAYMENTS, tenant=TENANT, where={"live": True})) == [2]


async def test_missing_field_never_matches(documents: Documents) -> None:
    await documents.upsert(PAYMENTS, [document(1), document(2, status="succeeded")])
    for value in ("", 0, False, "null", "None"):
        assert await documents.find(PAYMENTS, tenant=TENANT, where={"status": value}) == []


async def test_several_fields_must_all_be_equal(documents: Documents) -> None:
    await documents.upsert(
        PAYMENTS,
        [
            document(number, status="succeeded" if number % 2 else "failed", customer=f"cus_{number % 3}", live=True)
            for number in range(30)
        ],
    )
    where: dict[str, Scalar] = {"status": "succeeded", "customer": "cus_1", "live": True}
    found = await documents.find(PAYMENTS, tenant=TENANT, where=where)
    assert numbers(found) == [25, 19, 13, 7, 1]


async def test_find_by_an_undeclared_field_is_a_key_error(documents: Documents) -> None:
    with pytest.raises(KeyError):
        await documents.find(PAYMENTS, tenant=TENANT, where={"colour": "red"})
    with pytest.raises(KeyError):
        await documents.find(REFUNDS, tenant=TENANT, where={"status": "succeeded"})


async def test_id_from_is_the_lowest_id_found(documents: Documents) -> None:
    await documents.upsert(PAYMENTS, [document(number, status="failed") for number in range(10)])
    assert numbers(await documents.find(PAYMENTS, tenant=TENANT, id_from="pay_0007")) == [9, 8, 7]
    assert numbers(await documents.find(PAYMENTS, tenant=TENANT, id_from="pay_0006x")) == [9, 8, 7]
    found = await documents.find(PAYMENTS, tenant=TENANT, id_from="pay_0007", where={"status": "failed"}, limit=2)
    assert numbers(found) == [9, 8]


async def test_id_from_also_limits_the_page_before_an_id(documents: Documents) -> None:
    await documents.upsert(PAYMENTS, [document(number) for number in range(10)])
    found = await documents.find(PAYMENTS, tenant=TENANT, id_from="pay_0005", before="pay_0002", limit=3)
    assert numbers(found) == [7, 6, 5]


@pytest.mark.parametrize("where", [None, {"status": "succeeded"}, {"status": "succeeded", "live": True}])
async def test_pages_forth_and_back_show_every_document_once(
    documents: Documents, where: dict[str, Scalar] | None
) -> None:
    await documents.upsert(PAYMENTS, [document(number, status="succeeded", live=True) for number in range(0, 46, 2)])
    await documents.upsert(PAYMENTS, [document(number, tenant=STRANGER, status="succeeded") for number in range(46)])
    forth: list[list[int]] = []
    after = None
    while page := await documents.find(PAYMENTS, tenant=TENANT, where=where, after=after, limit=5):
        forth.append(numbers(page))
        after = page[-1].id
    assert [number for page_numbers in forth for number in page_numbers] == list(range(44, -2, -2))

    back: list[list[int]] = [forth[-1]]
    before = f"pay_{forth[-1][0]:04d}"
    while page := await documents.find(PAYMENTS, tenant=TENANT, where=where, before=before, limit=5):
        back.append(numbers(page))
        before = page[0].id
    assert back[::-1] == forth


async def test_after_and_before_an_id_that_is_not_there(documents: Documents) -> None:
    await documents.upsert(PAYMENTS, [document(number) for number in (1, 3, 5, 7)])
    assert numbers(await documents.find(PAYMENTS, tenant=TENANT, after="pay_0004")) == [3, 1]
    assert numbers(await documents.find(PAYMENTS, tenant=TENANT, before="pay_0004", limit=1)) == [5]


async def test_documents_between_two_ids(documents: Documents) -> None:
    await documents.upsert(PAYMENTS, [document(number) for number in range(10)])
    assert numbers(await documents.find(PAYMENTS, tenant=TENANT, after="pay_0008", before="pay_0004")) == [7, 6, 5]


async def test_page_of_a_list_that_grows_shows_nothing_twice(documents: Documents) -> None:
    await documents.upsert(PAYMENTS, [document(number) for number in range(10)])
    first = await documents.find(PAYMENTS, tenant=TENANT, limit=4)
    await documents.upsert(PAYMENTS, [document(number) for number in range(10, 20)])
    second = await documents.find(PAYMENTS, tenant=TENANT, limit=4, after=first[-1].id)
    assert numbers(first + second) == [9, 8, 7, 6, 5, 4, 3, 2]
