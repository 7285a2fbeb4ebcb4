"""Archives that nobody deletes: object lock at the emulator, and the request it is."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from interlock.backends.aws.blobs import ObjectLock, S3Blobs
from interlock.backends.aws.calls import Calls
from tests.backends.aws.stub import ScriptedClient
from tests.clocks import ManualClock
from tests.contracts.on_aws import aws_client, new_token
from tests.counterparts.aws import REGION

DAYS = 3_650


@pytest.mark.aws
async def test_archived_blob_can_neither_be_deleted_nor_unlocked_before_its_time(aws: str) -> None:
    clock = ManualClock()
    async with aws_client("s3", aws) as client:
        bucket = f"archive-{new_token()}"
        place = {"LocationConstraint": REGION}
        await client.create_bucket(Bucket=bucket, CreateBucketConfiguration=place, ObjectLockEnabledForBucket=True)
        calls = Calls(client, clock=clock, random=random.random, what="S3")
        blobs = S3Blobs(calls, bucket, new_token=new_token, lock=ObjectLock(DAYS, clock))
        assert await blobs.put("ledger/2026-11-26.json", b"{}") is True
        assert await blobs.put("ledger/2026-11-26.json", b"other") is False
        there = await client.head_object(Bucket=bucket, Key="ledger/2026-11-26.json")
        until = datetime.fromtimestamp(clock.now() / 1_000, UTC) + timedelta(days=DAYS)
        assert (there["ObjectLockMode"], there["ObjectLockRetainUntilDate"]) == ("COMPLIANCE", until)
        version = {"Bucket": bucket, "Key": "ledger/2026-11-26.json", "VersionId": there["VersionId"]}
        with pytest.raises(ClientError, match="AccessDenied"):
            await client.delete_object(**version)
        with pytest.raises(ClientError, match="AccessDenied"):
            await client.delete_object(**version, BypassGovernanceRetention=True)
        assert await blobs.get("ledger/2026-11-26.json") == b"{}"


async def test_put_says_how_and_until_when_it_is_locked_and_without_a_lock_says_nothing() -> None:
    clock, client = ManualClock(), ScriptedClient({})
    calls = Calls(client, clock=clock, random=random.random, what="S3")
    await S3Blobs(calls, "b", new_token=new_token, lock=ObjectLock(1, clock, "GOVERNANCE")).put("a", b"")
    await S3Blobs(calls, "b", new_token=new_token).put("a", b"")
    (_, locked), (_, free) = client.calls
    assert (locked["ObjectLockMode"], locked["ObjectLockRetainUntilDate"]) == (
        "GOVERNANCE",
        datetime(2027, 1, 16, 8, tzinfo=UTC),
    )
    assert not {"ObjectLockMode", "ObjectLockRetainUntilDate"} & set(free)
