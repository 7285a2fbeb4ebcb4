"""Documents through the MongoDB protocol: two processes, a server that goes away, and what is refused."""

from __future__ import annotations

import asyncio
import itertools
import uuid

import pytest

from interlock.backends.mongo.documents import BODY_BYTES_MAX, MongoDocuments
from interlock.core.kernel.documents import Collection, Document
from interlock.core.kernel.errors import Invalid, StoreUnavailable
from interlock.core.kernel.secrets import Secret
from tests.counterparts.mongo import Mongo, running_mongo
from tests.free_ports import free_ports

COLLECTIONS = [Collection("payments", ("status", "amount"))]
pytestmark = pytest.mark.aws


def opened(server: Mongo, database: str = "") -> MongoDocuments:
    return MongoDocuments(server.uri, COLLECTIONS, database=database or f"d{uuid.uuid4().hex}")


def document(version: int, **fields: str | int | bool) -> Document:
    return Document("pay_1", "ten_a", version, fields or {"status": f"s{version}"}, b'{"v":%d}' % version)


async def test_two_processes_writing_versions_in_every_order_end_with_the_highest(mongo: Mongo):
    for order in itertools.permutations((1, 2, 3)):
        database = f"d{uuid.uuid4().hex}"
        first, second = opened(mongo, database), opened(mongo, database)
        writers = (first, second, first)
        await asyncio.gather(
            *(one.upsert("payments", [document(version)]) for one, version in zip(writers, order, strict=True))
        )
        assert await second.get("payments", "pay_1", tenant="ten_a") == document(3)
        await first.close()
        await second.close()


async def test_index_stands_behind_tenant_and_value_of_each_field_by_id(mongo: Mongo):
    documents = opened(mongo)
    await documents.upsert("payments", [document(1)])
    rows = documents._rows("payments")
    keys = [list(one["key"].items()) async for one in await rows.list_indexes()]
    assert [("t", 1), ("i", 1)] in keys
    assert [("t", 1), ("f.status", 1), ("i", 1)] in keys
    assert [("t", 1), ("f.amount", 1), ("i", 1)] in keys
    await documents.close()


async def test_server_that_is_away_is_said_within_seconds_without_a_word_of_the_address_and_found_again():
    with running_mongo() as server:
        documents = opened(server)
        await documents.upsert("payments", [document(1)])
        server.stop()
        with pytest.raises(StoreUnavailable, match="check that it runs") as refused:
            await documents.get("payments", "pay_1", tenant="ten_a")
        assert "127.0.0.1" not in str(refused.value)
        with pytest.raises(StoreUnavailable):
            await documents.upsert("payments", [document(2)])
        server.start()
        await documents.upsert("payments", [document(2)])
        assert await documents.find("payments", tenant="ten_a", where={"status": "s2"}) == [document(2)]
        await documents.close()


async def test_password_shows_in_no_repr_and_no_error():
    (port,) = free_ports(1)
    documents = MongoDocuments(Secret(f"mongodb://me:hunter2@127.0.0.1:{port}/"), COLLECTIONS)
    with pytest.raises(StoreUnavailable) as refused:
        await documents.find("payments", tenant="ten_a")
    assert "hunter2" not in f"{documents!r} {refused.value} {refused.value.detail}"
    await documents.close()


async def test_body_that_is_too_long_is_refused_and_nothing_is_written(mongo: Mongo):
    documents = opened(mongo)
    large = Document("pay_2", "ten_a", 1, {}, b"x" * (BODY_BYTES_MAX + 1))
    with pytest.raises(Invalid, match="is the most"):
        await documents.upsert("payments", [document(1), large])
    assert await documents.find("payments", tenant="ten_a") == []
    await documents.close()


async def test_collection_that_was_not_declared_is_a_key_error(mongo: Mongo):
    documents = opened(mongo)
    for asked in (
        documents.get("others", "x", tenant="t"),
        documents.upsert("others", []),
        documents.find("others", tenant="t"),
    ):
        with pytest.raises(KeyError):
            await asked
    await documents.close()
