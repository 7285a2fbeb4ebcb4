"""The Feed port on DynamoDB Streams: what was committed, shard by shard.

All changes of one item key go to one shard, and a shard's children are read only when it has been read to its end, so events of
one aggregate come in the order of their commits. A stream keeps a day: who is further behind has missed something, and is
told so.
"""

from __future__ import annotations

import zlib
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from interlock.backends.aws.calls import Answer, Calls, Refused
from interlock.backends.aws.drawers import news_in
from interlock.backends.aws.table import event_of, is_drawer, is_event
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.errors import Invalid, StoreUnavailable
from interlock.core.kernel.events import Event, decode_event
from interlock.core.kernel.feed import START, Feed, FeedRecord
from interlock.core.kernel.store import check_limit

RECORDS_MOST = 1_000
"""Of one GetRecords."""
POLL_S = 0.25
"""A shard may be asked five times a second."""
ENDED = "."
"""In a position: this shard was read to its end, and will have no more."""

WITHIN = "/"
"""In a position: of the events of this record, so many were read."""

Position = dict[str, str]
"""Shard -> the sequence number read last."""


class StreamFeed:
    def __init__(self, calls: Calls, stream: str, *, clock: Clock, poll_s: float = POLL_S) -> None:
        """`stream` is the ARN of the table's stream, of new images."""
        self._calls, self._stream, self._clock, self._poll_s = calls, stream, clock, poll_s
        self._iterators: dict[tuple[str, str], str] = {}
        """Where the last read of a shard left off, by that position: each is good for fifteen minutes, and for one use."""

    async def read(self, *, after: str, limit: int = 100) -> list[FeedRecord]:
        check_limit(limit)
        position = _decoded(after)
        found: list[FeedRecord] = []
        shards = await self._shards()
        known = {shard["ShardId"] for shard in shards}
        for name in [name for name in position if name not in known]:
            del position[name]  # older than the stream remembers
        for shard in shards:
            parent = shard.get("ParentShardId", "")
            if parent in known and position.get(parent) != ENDED:
                continue
            found += await self._shard(shard["ShardId"], position, limit - len(found))
            if len(found) >= limit:
                break
        return found

    async def wait(self, *, after: str, timeout_s: float) -> bool:
        until = self._clock.monotonic() + timeout_s
        while not await self.read(after=after, limit=1):
            left_s = until - self._clock.monotonic()
            if left_s <= 0:
                return False
            await self._clock.sleep(min(self._poll_s, left_s))
        return True

    async def _shards(self) -> Sequence[Answer]:
        """Parents before their children."""
        found: list[Answer] = []
        more: dict[str, Any] = {}
        while True:
            answer = await self._calls.read("describe_stream", StreamArn=self._stream, **more)
            described = answer["StreamDescription"]
            found += described["Shards"]
            if "LastEvaluatedShardId" not in described:
                return _parents_first(found)
            more = {"ExclusiveStartShardId": described["LastEvaluatedShardId"]}

    async def _shard(self, name: str, position: Position, limit: int) -> list[FeedRecord]:
        """Up to `limit` events of a shard behind `position`, which moves with them."""
        found: list[FeedRecord] = []
        while position.get(name) != ENDED and len(found) < limit:
            at = position.get(name, "")
            iterator = self._iterators.pop((name, at), None) or await self._iterator(name, at)
            answer = await self._records(name, at, iterator, limit - len(found))
            for record in answer["Records"]:
                for place, event in _places(record, behind=at):
                    if len(found) == limit:
                        return found
                    position[name] = place
                    found.append(FeedRecord(_encoded(position), event))
                position[name] = record["dynamodb"]["SequenceNumber"]
            following = answer.get("NextShardIterator")
            if following is None:
                position[name] = ENDED
            else:
                self._iterators[name, position.get(name, "")] = following
                if not answer["Records"]:
                    break
        return found

    async def _iterator(self, shard: str, at: str) -> str:
        number, is_within, _ = at.partition(WITHIN)
        kind: dict[str, str] = {"ShardIteratorType": "TRIM_HORIZON"}
        if number:
            kind = {"ShardIteratorType": f"{'AT' if is_within else 'AFTER'}_SEQUENCE_NUMBER", "SequenceNumber": number}
        try:
            answer = await self._calls.read("get_shard_iterator", StreamArn=self._stream, ShardId=shard, **kind)
        except Refused as refused:
            raise _lost(refused) from refused
        return str(answer["ShardIterator"])

    async def _records(self, shard: str, at: str, iterator: str, limit: int) -> Answer:
        try:
            return await self._calls.read("get_records", ShardIterator=iterator, Limit=min(limit, RECORDS_MOST))
        except Refused as refused:
            if refused.code != "ExpiredIteratorException":
                raise _lost(refused) from refused
            fresh = await self._iterator(shard, at)
            return await self._calls.read("get_records", ShardIterator=fresh, Limit=min(limit, RECORDS_MOST))


def events_in(record: Answer) -> list[Event]:
    """The events which the commit behind a stream's record added, in its order."""
    image = record["dynamodb"].get("NewImage")
    if image is None:
        return []
    if is_drawer(image):
        return [decode_event(body) for body in news_in(image)]
    is_news = record["eventName"] == "INSERT" and is_event(image) and "o" not in image
    return [event_of(image)] if is_news else []


def read_records(records: Sequence[Answer]) -> tuple[list[Event], dict[str, bytes]]:
    """Events of records as a function is given them (JSON, binary values in base64), and by name those nobody can read."""
    events: list[Event] = []
    unreadable: dict[str, bytes] = {}
    for record in records:
        try:
            events += events_in(_from_json(record))
        except (KeyError, ValueError, zlib.error, StoreUnavailable):
            unreadable[f"{record['eventID']}.json"] = msgspec.json.encode(record)
    return events, unreadable


def _from_json(record: Answer) -> Answer:
    image = record["dynamodb"].get("NewImage")
    if image is None:
        return record
    whole = {name: {"B": b64decode(value["B"])} if "B" in value else value for name, value in image.items()}
    return {**record, "dynamodb": {**record["dynamodb"], "NewImage": whole}}


def _places(record: Answer, *, behind: str) -> Iterator[tuple[str, Event]]:
    """The events of a record with the position behind each, those left out that were read before."""
    number, events = record["dynamodb"]["SequenceNumber"], events_in(record)
    read, is_within, count = behind.partition(WITHIN)
    seen = int(count) if is_within and read == number else 0
    for place, event in enumerate(events[seen:], seen + 1):
        yield number if place == len(events) else f"{number}{WITHIN}{place}", event


def _lost(refused: Refused) -> Exception:
    if refused.code == "TrimmedDataAccessException":
        return StoreUnavailable(
            "the feed's position is older than the stream's 24 hours: replay from the table's history"
        )
    return StoreUnavailable(f"the stream refused: {refused.code}")


def _parents_first(shards: Sequence[Answer]) -> list[Answer]:
    waiting, done = list(shards), set[str]()
    found: list[Answer] = []
    names = {shard["ShardId"] for shard in shards}
    while waiting:
        ready = [one for one in waiting if one.get("ParentShardId") in done or one.get("ParentShardId") not in names]
        if not ready:  # a circle; there is none
            return [*found, *waiting]
        found += ready
        done |= {shard["ShardId"] for shard in ready}
        waiting = [one for one in waiting if one["ShardId"] not in done]
    return found


def _encoded(position: Mapping[str, str]) -> str:
    return msgspec.json.encode(position, order="deterministic").decode()


def _decoded(after: str) -> Position:
    if after == START:
        return {}
    try:
        return msgspec.json.decode(after, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise Invalid("not a position of this feed", code="invalid_cursor") from error


_port: type[Feed] = StreamFeed
"""Held against its port here until a bootstrap joins them."""
