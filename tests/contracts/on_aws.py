"""Adapters at the emulator, each on a table or a bucket of its own."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from interlock.backends.aws.blobs import S3Blobs
from interlock.backends.aws.calls import Calls
from interlock.backends.aws.feed import StreamFeed
from interlock.backends.aws.parking import Parking
from interlock.backends.aws.queue import NO_QUEUE, SqsQueue
from interlock.backends.aws.secrets import AwsSecrets
from interlock.backends.aws.sqs_messages import DEAD_SUFFIX, dead_definition
from interlock.backends.aws.sqs_messages import definition as queue_definition
from interlock.backends.aws.store import DynamoStore
from interlock.backends.aws.table import DrawerRule, definition
from interlock.backends.memory.wakeups import Wakeups
from interlock.core.kernel.ids import Ids
from interlock.core.kernel.queue import QueueSpec
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
async def aws_client(service: str, endpoint: str) -> AsyncIterator[Any]:
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
    async with aws_client("dynamodb", endpoint) as tables, aws_client("dynamodbstreams", endpoint) as streams:
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
    async with aws_client("s3", endpoint) as client:
        bucket = f"interlock-{new_token()}"
        await client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        calls = Calls(client, clock=clock, random=random.random, what="S3")
        blobs, other = (S3Blobs(calls, bucket, new_token=new_token, prefix="blobs/") for _ in range(2))
        yield blobs, other


class SqsOnTestTime:
    """A client of the emulator whose queues' time a file tells: each call tells it the test's.

    It also does SQS's long polling, which the emulator does on the machine's time: a receiver who waits gets its message as
    soon as there is one, whoever sent it and for whatever reason it became visible.
    """

    POLL_S = 0.1

    def __init__(self, client: Any, time: Path, clock: ManualClock) -> None:
        self._client, self._time, self._clock = client, time, clock
        self._changed, self._changes = Wakeups(clock), 0

    def __getattr__(self, operation: str) -> Any:
        async def call(**request: Any) -> Any:
            until = self._clock.monotonic() + request.get("WaitTimeSeconds", 0)
            if "WaitTimeSeconds" in request:
                request |= {"WaitTimeSeconds": 0}
            while True:
                self._tell_time()
                seen = self._changes
                answer = await self._answer(operation, request)
                left_s = until - self._clock.monotonic()
                if answer.get("Messages") or left_s <= 0:
                    break
                if self._changes == seen:
                    await self._changed.wait("sqs", timeout_s=min(left_s, self.POLL_S))
            if operation != "receive_message":
                self._changes += 1
                self._changed.wake("sqs")
            return answer

        return call

    def _tell_time(self) -> None:
        fresh = self._time.with_suffix(".new")
        fresh.write_text(str(self._clock.now()))
        fresh.replace(self._time)  # at once: the emulator may be reading

    async def _answer(self, operation: str, request: Any) -> Any:
        try:
            return await getattr(self._client, operation)(**request)
        except ClientError as error:
            if operation != "delete_message" or "ReceiptHandleIsInvalid" not in str(error):
                raise
            return {}  # the emulator refuses an old receipt; AWS says that all is well, and does nothing


@asynccontextmanager
async def sqs_queues(
    endpoint: str, time: Path, clock: ManualClock, specs: Sequence[QueueSpec], ids: Ids
) -> AsyncIterator[tuple[SqsQueue, SqsQueue]]:
    flights = Flights()
    flights.hold(clock)
    async with aws_client("sqs", endpoint) as client:
        on_test_time = SqsOnTestTime(flights.of(client), time, clock)
        prefix = f"interlock-{new_token()}-"
        made = []
        for spec in specs:
            name = f"{prefix}{spec.name}"
            dead = await on_test_time.create_queue(QueueName=f"{name}{DEAD_SUFFIX}", Attributes=dead_definition())
            asked = {"QueueUrl": dead["QueueUrl"], "AttributeNames": ["QueueArn"]}
            arn = (await on_test_time.get_queue_attributes(**asked))["Attributes"]["QueueArn"]
            made += [
                dead,
                await on_test_time.create_queue(QueueName=name, Attributes=queue_definition(spec, dead_arn=arn)),
            ]
        calls = Calls(on_test_time, clock=clock, random=random.random, what="SQS", missing=NO_QUEUE)
        base_url = made[-1]["QueueUrl"].removesuffix(specs[-1].name)
        first, second = (SqsQueue(calls, specs, base_url=base_url, clock=clock, ids=ids, look_s=0) for _ in range(2))
        yield first, second
        for one in made:
            await client.delete_queue(QueueUrl=one["QueueUrl"])


@asynccontextmanager
async def managed_secrets(endpoint: str, clock: ManualClock) -> AsyncIterator[tuple[AwsSecrets, AwsSecrets]]:
    async with aws_client("secretsmanager", endpoint) as client:
        calls = Calls(client, clock=clock, random=random.random, what="Secrets Manager", missing={})
        prefix = f"{new_token()}/"
        secrets, other = (AwsSecrets(calls, clock=clock, new_token=new_token, prefix=prefix) for _ in range(2))
        yield secrets, other
