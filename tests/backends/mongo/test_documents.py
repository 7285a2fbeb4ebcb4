"""At a server: written by two processes, gone and back, behind TLS, and indexed as declared."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient

from interlock.backends.local.clock import SystemClock
from interlock.backends.mongo.documents import AT_ONCE, MongoDocuments
from interlock.core.kernel.errors import StoreUnavailable
from interlock.core.kernel.secrets import Secret
from tests.backends.mongo import writer
from tests.backends.mongo.passage import make_authority, passage_to
from tests.backends.mongo.writer import PAYMENTS, TENANT, document
from tests.counterparts.mongo import Mongo, running_mongo
from tests.free_ports import free_ports

pytestmark = pytest.mark.aws


@asynccontextmanager
async def opened(uri: Secret, *, database: str = "", ca_file: str = "") -> AsyncIterator[MongoDocuments]:
    documents = MongoDocuments(
        uri,
        [PAYMENTS],
        clock=SystemClock(),
        random=random.random,
        database=database or new_database(),
        ca_file=ca_file,
    )
    yield documents
    await documents.close()


def new_database() -> str:
    return f"d{uuid.uuid4().hex}"


def at(port: int) -> Secret:
    return Secret(f"mongodb://127.0.0.1:{port}/?directConnection=true")


def port_of(server: Mongo) -> int:
    return int(server.uri.reveal().rpartition(":")[2].partition("/")[0])


# -- two processes ------------------------------------------------------------------------------------------------------


def start_writer(server: Mongo, database: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.backends.mongo.writer", server.uri.reveal(), database]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


ROOT = Path(writer.__file__).parents[3]


async def test_two_processes_that_write_the_same_documents_in_all_orders_end_with_the_highest_versions(
    mongo: Mongo,
) -> None:
    """One document for each pair of orders. Meanwhile nobody sees a version go back."""
    orders = list(itertools.permutations((1, 2, 3)))
    ids = {f"pay_{at:02d}": pair for at, pair in enumerate(itertools.product(orders, repeat=2))}
    database = new_database()
    writers = [start_writer(mongo, database) for _ in range(2)]
    for which, process in enumerate(writers):
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        told = [{"id": id, "version": pair[which][step]} for step in range(3) for id, pair in ids.items()]
        process.stdin.write("begin\n" + "".join(f"{json.dumps(one)}\n" for one in told))
        process.stdin.close()
    highest: Counter[str] = Counter()
    async with opened(mongo.uri, database=database) as documents:
        while any(process.poll() is None for process in writers):
            for found in await documents.find(PAYMENTS.name, tenant=TENANT):
                assert found.version >= highest[found.id]
                assert found == document(found.id, found.version)
                highest[found.id] = found.version
        for process in writers:
            assert process.stdout is not None and process.stdout.read() == "done\n"
            assert process.returncode == 0
        kept = await documents.find(PAYMENTS.name, tenant=TENANT)
    assert kept == [document(id, 3) for id in sorted(ids, reverse=True)]


async def test_processes_that_start_together_make_the_indexes_once(mongo: Mongo) -> None:
    database = new_database()
    async with opened(mongo.uri, database=database) as first, opened(mongo.uri, database=database) as second:
        await asyncio.gather(
            *(one.upsert(PAYMENTS.name, [document(f"pay_{at}", 1)]) for at, one in enumerate([first, second, first]))
        )
        await asyncio.gather(*(one.upsert(PAYMENTS.name, [document("pay_0", 2)]) for one in (first, second)))
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(mongo.uri.reveal())
    standing = [index async for index in await client[database][PAYMENTS.name].list_indexes()]
    await client.close()
    # This server says 1 of a key that was declared -1, and calls indexes by names of its own.
    assert sorted((list(index["key"]), bool(index.get("unique"))) for index in standing) == [
        (["_id"], False),
        (["t", "f.status", "i"], False),
        (["t", "i"], True),
    ]


# -- bad days -----------------------------------------------------------------------------------------------------------


async def test_server_that_is_gone_is_unavailable_within_seconds_and_found_again_when_it_is_back() -> None:
    loop = asyncio.get_running_loop()
    with running_mongo() as server:
        async with opened(server.uri) as documents:
            await documents.upsert(PAYMENTS.name, [document("pay_1", 1)])
            server.stop()
            for call in (
                documents.get(PAYMENTS.name, "pay_1", tenant=TENANT),
                documents.find(PAYMENTS.name, tenant=TENANT),
                documents.upsert(PAYMENTS.name, [document("pay_1", 2)]),
            ):
                began = loop.time()
                with pytest.raises(StoreUnavailable, match="check that its cluster runs") as refused:
                    await call
                assert loop.time() - began < 10
                assert "127.0.0.1" not in str(refused.value)
            server.start()
            await documents.upsert(PAYMENTS.name, [document("pay_1", 2)])
            assert await documents.find(PAYMENTS.name, tenant=TENANT) == [document("pay_1", 2)]


async def test_connections_that_broke_are_made_again_and_nobody_notices(mongo: Mongo) -> None:
    async with passage_to(port_of(mongo)) as passage, opened(at(passage.port)) as documents:
        await documents.upsert(PAYMENTS.name, [document("pay_1", 1)])
        for version in range(2, 6):
            made = passage.connections
            passage.break_off()
            await documents.upsert(PAYMENTS.name, [document("pay_1", version)])
            passage.break_off()
            assert await documents.get(PAYMENTS.name, "pay_1", tenant=TENANT) == document("pay_1", version)
            assert passage.connections >= made + 2


async def test_server_that_never_was_there_is_unavailable_and_the_password_is_not_shown() -> None:
    (port,) = free_ports(1)
    async with opened(Secret(f"mongodb://me:hunter2@127.0.0.1:{port}/")) as documents:
        with pytest.raises(StoreUnavailable, match="check that its cluster runs") as refused:
            await documents.find(PAYMENTS.name, tenant=TENANT)
        assert "hunter2" not in f"{documents!r} {refused.value} {refused.value.detail}"


async def test_closed_documents_open_again_when_they_are_asked(mongo: Mongo) -> None:
    async with opened(mongo.uri) as documents:
        await documents.upsert(PAYMENTS.name, [document("pay_1", 1)])
        await documents.close()
        await documents.close()
        assert await documents.get(PAYMENTS.name, "pay_1", tenant=TENANT) == document("pay_1", 1)


# -- TLS ----------------------------------------------------------------------------------------------------------------


async def test_server_of_the_authorities_given_is_spoken_to_and_of_others_is_not(mongo: Mongo, tmp_path: Path) -> None:
    ours, certificate = make_authority(tmp_path / "ours")
    others, _ = make_authority(tmp_path / "others")
    async with passage_to(port_of(mongo), certificate=certificate) as passage:
        uri = at(passage.port)
        async with opened(uri, ca_file=str(ours)) as documents:
            await documents.upsert(PAYMENTS.name, [document("pay_1", 1)])
            assert await documents.get(PAYMENTS.name, "pay_1", tenant=TENANT) == document("pay_1", 1)
        async with opened(uri, ca_file=str(others)) as documents:
            with pytest.raises(StoreUnavailable, match="of the authorities given"):
                await documents.get(PAYMENTS.name, "pay_1", tenant=TENANT)


# -- bounds -------------------------------------------------------------------------------------------------------------


async def test_more_documents_than_one_write_takes_are_all_written(mongo: Mongo) -> None:
    many = [document(f"pay_{number:04d}", 1) for number in range(AT_ONCE + 1)]
    async with opened(mongo.uri) as documents:
        await documents.upsert(PAYMENTS.name, many)
        assert await documents.find(PAYMENTS.name, tenant=TENANT, limit=len(many) + 1) == many[::-1]


@pytest.mark.parametrize("limit", [0, -1])
async def test_limit_of_nothing_finds_nothing(mongo: Mongo, limit: int) -> None:
    """The protocol takes it for no limit at all."""
    async with opened(mongo.uri) as documents:
        await documents.upsert(PAYMENTS.name, [document("pay_1", 1)])
        assert await documents.find(PAYMENTS.name, tenant=TENANT, limit=limit) == []
