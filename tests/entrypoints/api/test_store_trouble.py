"""A locked or full database while the platform runs: 503 with Retry-After, and what was acknowledged is there afterwards."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from interlock.bootstrap import DATABASE_FILE
from interlock.simulator.faults import Latency
from tests.entrypoints.api.beside import CARD, Beside, beside

pytestmark = pytest.mark.xdist_group("api-store-trouble")

SALE: dict[str, Any] = {"amount": 1999, "currency": "EUR", "payment_method": CARD}
LOCKING = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
database.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
database.execute("ROLLBACK")
"""


@asynccontextmanager
async def locked(world: Beside) -> AsyncIterator[None]:
    """Another process holds the only write lock there is."""
    path = f"{world.node.platform.settings.data}/{DATABASE_FILE}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LOCKING, path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert await process.stdout.readline() == b"locked\n"
    try:
        yield
    finally:
        process.stdin.close()
        assert await process.wait() == 0


@asynccontextmanager
async def full(world: Beside) -> AsyncIterator[None]:
    """The file may not grow by one page. What is freed within it may be used, so it is filled to the brim first."""
    writer = world.node.platform.storage.database._writer
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count = {pages}")
    try:
        yield
    finally:
        writer.execute("PRAGMA max_page_count = 1073741823")


async def sale(world: Beside, key: str, **more: Any) -> tuple[int, dict[str, str], Any]:
    return await world.ask_whole("POST", "/v1/payments", {**SALE, **more}, key=key)


async def readiness(world: Beside, wanted: int) -> dict[str, str]:
    """The headers of /readyz once it answers as wanted: a probe's result stands for a second."""
    async with asyncio.timeout(10):
        while True:
            status, headers, _ = await world.ask_whole("GET", "/readyz")
            if status == wanted:
                return headers
            await asyncio.sleep(0.05)


async def finished(world: Beside, key: str, **more: Any) -> Any:
    """The payment that a request refused with 503 comes to when it is repeated: charged once."""
    async with asyncio.timeout(60):
        while (answer := await sale(world, key, **more))[0] not in (201, 202):
            assert answer[0] == 409, answer
            assert answer[2]["code"] == "request_in_flight"
            await asyncio.sleep(0.1)
    settled = await world.node.until(answer[2]["id"], lambda now: now["status"] != "processing", timeout_s=60)
    assert (settled["status"], settled["amount_captured"]) == ("succeeded", 1999)
    assert [charge["captured"] for charge in world.charges(settled["id"])] == [1999]
    return settled


def assert_come_back_later(answer: tuple[int, dict[str, str], Any], *codes: str) -> None:
    status, headers, problem = answer
    assert (status, headers["content-type"]) == (503, "application/problem+json"), problem
    assert int(headers["retry-after"]) >= 1
    assert problem["code"] in codes, problem


async def test_locked_database_is_503_with_retry_after_and_ready_again_when_it_is_free(tmp_path):
    async with beside(tmp_path) as world:
        _, _, before = await sale(world, "k-before")
        await readiness(world, 200)
        async with locked(world):
            assert_come_back_later(await sale(world, "k-during"), "store_unavailable")
            assert int((await readiness(world, 503))["retry-after"]) >= 1
            status, _, found = await world.ask_whole("GET", f"/v1/payments/{before['id']}")
            assert (status, found) == (200, before), "reading goes on"
            status, _, _ = await world.ask_whole("GET", "/healthz")
            assert status == 200, "the process lives"
        await readiness(world, 200)
        status, headers, during = await sale(world, "k-during")
        assert (status, during["status"], "idempotency-replayed" in headers) == (201, "succeeded", False)
        assert (await sale(world, "k-before"))[2] == before
        assert [len(world.charges(payment["id"])) for payment in (before, during)] == [1, 1]
        assert len(world.simulator.instances["simulator"].books.charges) == 2, "the refused request reached nobody"
        assert (await world.node.verified()).sound


async def test_database_locked_between_the_two_commits_loses_and_doubles_nothing(tmp_path):
    """The provider has charged, and its answer cannot be written: what happened is found out afterwards."""
    async with beside(tmp_path, read_timeout_s=1.0) as world:
        await sale(world, "k-before")
        world.plan("simulator", latency=Latency("constant", ms=400))
        asked = asyncio.create_task(sale(world, "k"))
        store = world.node.platform.storage.store
        async with asyncio.timeout(10):
            while len(world.simulator.instances["simulator"].books.charges) < 2:
                await asyncio.sleep(0.01)
        async with locked(world):
            assert_come_back_later(await asked, "store_unavailable", "outcome_unknown")
        await readiness(world, 200)
        settled = await finished(world, "k")
        assert [event.type for event in await store.history(settled["id"])][-1] == "payment.succeeded"
        assert (await world.node.verified()).sound


async def test_full_disk_is_503_with_retry_after_and_what_was_acknowledged_stays(tmp_path):
    async with beside(tmp_path) as world:
        acknowledged: dict[str, Any] = {}
        filler = {f"key_{number}": "x" * 500 for number in range(20)}
        async with full(world):
            refused = None
            for number in range(200):
                answer = await sale(world, f"k-{number}", metadata=filler)
                if answer[0] == 201:
                    acknowledged[f"k-{number}"] = answer[2]
                else:
                    refused = answer
                    break
            assert refused is not None, "the disk never was full"
            assert_come_back_later(refused, "store_unavailable", "outcome_unknown")
            await readiness(world, 503)
            for key, payment in acknowledged.items():
                assert (await world.ask_whole("GET", f"/v1/payments/{payment['id']}"))[2] == payment, key
        await readiness(world, 200)
        await finished(world, f"k-{len(acknowledged)}", metadata=filler)
        for key, payment in acknowledged.items():
            status, headers, replayed = await sale(world, key, metadata=filler)
            assert (status, headers["idempotency-replayed"], replayed) == (201, "true", payment), key
        assert (await world.node.verified()).sound
