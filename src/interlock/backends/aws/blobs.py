"""The Blobs port in an S3 bucket, below a prefix."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from interlock.backends.aws.calls import Calls, Refused
from interlock.core.kernel.blobs import Blobs, check_key
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.errors import StoreUnavailable

PAGE_MOST = 1_000
TAKEN = "PreconditionFailed"
ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})


class ObjectLock(NamedTuple):
    """That nobody deletes what was put, for so long. The bucket must have been made with object lock.

    It is the version that is kept: who may delete can hide it behind a marker, never end it.
    """

    days: int
    clock: Clock
    mode: Literal["COMPLIANCE", "GOVERNANCE"] = "COMPLIANCE"
    """COMPLIANCE: nobody at all, the account's owner included. GOVERNANCE: but who has a permission for it."""

    def request(self) -> dict[str, Any]:
        until = datetime.fromtimestamp(self.clock.now() // 1_000, UTC) + timedelta(days=self.days)
        return {"ObjectLockMode": self.mode, "ObjectLockRetainUntilDate": until}


class S3Blobs:
    def __init__(
        self,
        calls: Calls,
        bucket: str,
        *,
        new_token: Callable[[], str],
        prefix: str = "",
        lock: ObjectLock | None = None,
    ) -> None:
        """`prefix` ends with a slash, or is empty. `new_token` gives each put an id, which it leaves with the object.

        With a `lock`, as archives have, everything put is kept.
        """
        self._calls, self._bucket, self._new_token, self._prefix, self._lock = calls, bucket, new_token, prefix, lock

    async def put(self, key: str, content: bytes) -> bool:
        check_key(key)
        token = self._new_token()
        place = {"Bucket": self._bucket, "Key": f"{self._prefix}{key}"}
        request = place | {"Body": content, "Metadata": {"put": token}, "IfNoneMatch": "*"}
        if self._lock is not None:
            request |= self._lock.request()
        try:
            await self._calls.write("put_object", **request)
        except Refused as refused:
            if refused.is_in_passing:
                raise StoreUnavailable("somebody else is writing the same key; ask again") from refused
            if refused.code != TAKEN:
                raise _unavailable(refused) from refused
            if refused.after_unclear:
                # An earlier try of ours, whose answer was lost, may be what is there.
                there = await self._calls.read("head_object", **place)
                return bool(there["Metadata"].get("put") == token)
            return False
        return True

    async def get(self, key: str) -> bytes | None:
        check_key(key)
        answer = await self._object(f"{self._prefix}{key}")
        if answer is None:
            return None
        async with answer["Body"] as body:
            return bytes(await body.read())

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        found: list[str] = []
        asked: dict[str, Any] = {"Bucket": self._bucket, "Prefix": f"{self._prefix}{prefix}"}
        if after:
            asked["StartAfter"] = f"{self._prefix}{after}"
        while True:
            answer = await self._calls.read("list_objects_v2", **asked, MaxKeys=min(limit - len(found), PAGE_MOST))
            found += [one["Key"][len(self._prefix) :] for one in answer.get("Contents", ())]
            if len(found) >= limit or not answer.get("IsTruncated"):
                return found
            asked["ContinuationToken"] = answer["NextContinuationToken"]

    async def _object(self, key: str) -> Any:
        try:
            return await self._calls.read("get_object", Bucket=self._bucket, Key=key)
        except Refused as refused:
            if refused.code in ABSENT:
                return None
            raise _unavailable(refused) from refused


def _unavailable(refused: Refused) -> Exception:
    return StoreUnavailable(f"S3 refused: {refused.code}")


_port: type[Blobs] = S3Blobs
"""Held against its port here until a bootstrap joins them."""
