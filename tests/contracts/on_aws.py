"""Adapters at the emulator, each on a table or a bucket of its own."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from interlock.backends.aws.blobs import S3Blobs
from interlock.backends.aws.calls import Calls
from interlock.backends.aws.feed import StreamFeed
from interlock.backends.aws.parking import Parking
from interlock.backends.aws.store import DynamoStore
from interlock.backends.aws.table import DrawerRule, definition
from tests.clocks import ManualClock
from tests.counterparts.aws import CREDENTIALS, REGION

INDEXES = ("due", "status", "customer", "other")
"""Those the contract's tests use."""
DRAWERS = (DrawerRule("pay_", "pay", "state"),)
"""Of the payments in the contract's tests; what else they write has rows of its own."""


class Flights:
    """Clients whose calls are counted while they are under way, so that a test's clock can wait for the network."""

    def __init__(self) -> None:
        self.count = 0

    def of(self, client: Any) -> Any:
        return _Counted(client, self)

    def hold(self, clock: ManualClock) -> None:
        """Have the clock call a moment settled only when no call is under way."""
        settle = clock.settle

        async def settle_with_calls() -> None:
            await settle()
            while self.count:
                await asyncio.sleep(0)
                if not self.count:
                    await settle()

        clock.settle = settle_with_calls  # type: ignore[method-assign]


class _Counted:
    def __init__(self, client: Any, flights: Flights) -> None:
        self._client, self._flights = client, flights

    def __getattr__(self, operation: str) -> Any:
        async def call(**request: Any) -> Any:
            self._flights.count += 1
            try:
                return await getattr(self._client, operation)(**request)
            finally:
                self._flights.count -= 1

        return call


@asynccontextmanager
async def sdk_client(service: str, endpoint: str) -> AsyncIterator[Any]:
    given: Any = {
        "region_name": REGION,
        "endpoint_url": endpoint,
        "config": AioConfig(retries={"total_max_attempts": 1}),
        **CREDENTIALS,
    }
    async with get_session().create_client(service, **given) as client:
        yield client


def new_token() -> str:
    return uuid.uuid4().hex


@asynccontextmanager
async def dynamo_stores(
    endpoint: str, clock: ManualClock, *, drawers: Sequence[DrawerRule] = DRAWERS, parking: Parking | None = None
) -> AsyncIterator[tuple[DynamoStore, StreamFeed, DynamoStore]]:
    flights = Flights()
    flights.hold(clock)
    async with sdk_client("dynamodb", endpoint) as tables, sdk_client("dynamodbstreams", endpoint) as streams:
        name = f"interlock-{new_token()}"
        made = await tables.create_table(**definition(name, INDEXES))
        arn = made["TableDescription"]["LatestStreamArn"]
        calls = Calls(flights.of(tables), clock=clock, random=random.random)
        of_stream = Calls(flights.of(streams), clock=clock, random=random.random)
        store, other = (
            DynamoStore(calls, name, new_token=new_token, indexes=INDEXES, drawers=drawers, parking=parking)
            for _ in range(2)
        )
        yield store, StreamFeed(of_stream, arn, clock=clock), other
        await tables.delete_table(TableName=name)


@asynccontextmanager
async def s3_blobs(endpoint: str, clock: ManualClock) -> AsyncIterator[tuple[S3Blobs, S3Blobs]]:
    async with sdk_client("s3", endpoint) as client:
        bucket = f"interlock-{new_token()}"
        await client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        calls = Calls(client, clock=clock, random=random.random, what="S3")
        blobs, other = (S3Blobs(calls, bucket, new_token=new_token, prefix="blobs/") for _ in range(2))
        yield blobs, other
