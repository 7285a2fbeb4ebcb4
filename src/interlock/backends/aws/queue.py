"""The Queue port on SQS: for each queue a standard queue of SQS, and one for its dead letters.

What SQS cannot know, it is not asked for. Whose lease a receipt is, and until when, this object remembers for those it gave: a
receipt is good only where it was given. Attempts are SQS's own count. A message is buried here, with the time of its death,
when it is given back after its last attempt or seen once more; SQS's own move to the dead letters stays behind as a net.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from interlock.backends.aws.calls import Answer, Calls, Refused
from interlock.backends.aws.dead_letters import DeadLetters
from interlock.backends.aws.sqs_messages import (
    AWAY_MOST_S,
    DEAD_SUFFIX,
    DELAY_MOST_S,
    SYSTEM_ATTRIBUTES,
    Received,
    attributes,
    checked_content,
    content,
    received,
    received_by_lambda,
)
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.errors import Invalid, OutcomeUnknown, StoreUnavailable
from interlock.core.kernel.ids import Ids
from interlock.core.kernel.queue import DELAY_MAX_S, DeadLetter, Queue, QueueDepth, QueueMessage, QueueSpec

RECEIVE_MOST = 10
POLL_MOST_S = 20
"""How long one call may wait for a message."""
ON_ITS_WAY_S = 1.0
"""How long ago a lease may have begun at SQS when its message arrives here."""
STALE = frozenset(
    {
        "ReceiptHandleIsInvalid",
        "InvalidParameterValue",
        "MessageNotInflight",
        "AWS.SimpleQueueService.MessageNotInflight",
    }
)
"""SQS's word for a receipt that leads to nothing any more."""
NO_QUEUE = {"AWS.SimpleQueueService.NonExistentQueue": "queue", "QueueDoesNotExist": "queue"}
"""For `Calls`."""
_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)


class _Lease(NamedTuple):
    message: Received
    began: float
    ends: float
    """Both monotonic seconds, and rather too early."""
    is_last: bool


class _Place(NamedTuple):
    spec: QueueSpec
    url: str
    dead: DeadLetters
    held: dict[str, _Lease]
    """By receipt, in the order they began; what ended a lease ago is forgotten."""


class SqsQueue:
    def __init__(
        self, calls: Calls, specs: Sequence[QueueSpec], *, base_url: str, clock: Clock, ids: Ids, look_s: int = 1
    ) -> None:
        """`base_url` and a queue's name make its URL: `https://sqs.<region>.amazonaws.com/<account>/<prefix>`.

        `look_s` is how long a look at dead letters waits for more.
        """
        self._calls, self._clock, self._ids = calls, clock, ids
        self._places: dict[str, _Place] = {}
        for spec in specs:
            url = f"{base_url}{spec.name}"
            dead = DeadLetters(calls, f"{url}{DEAD_SUFFIX}", look_s=look_s)
            self._places[spec.name] = _Place(spec, url, dead, {})

    async def send(self, queue: str, body: bytes, *, delay_s: float = 0.0) -> str:
        """Sent again when an answer was lost, so that one message may arrive as two of one id."""
        place, message_id, now = self._places[queue], self._ids.new("msg"), self._clock.now()
        whole_s = _whole_s(delay_s)
        ready_at = now + math.ceil(delay_s * 1_000) if whole_s > DELAY_MOST_S else None
        said = attributes(message_id, sent_at=now, ready_at=ready_at)
        await self._send(place, checked_content(bytes(body)), said, delay_s=min(whole_s, DELAY_MOST_S))
        return message_id

    async def receive(self, queue: str, *, limit: int = 10, wait_s: float = 0.0) -> list[QueueMessage]:
        place = self._places[queue]
        until = self._clock.monotonic() + wait_s
        while True:
            left_s = until - self._clock.monotonic()
            began, answer = await self._poll(place, min(limit, RECEIVE_MOST), wait_s=max(0.0, left_s))
            messages = [received(message) for message in answer.get("Messages", ())]
            if taken := await self._all_taken(place, messages, began):
                return taken
            if messages:
                continue  # each was early, or dead: the next may be neither
            left_s = until - self._clock.monotonic()
            if left_s <= 0:
                return []
            if left_s < 1:
                await self._clock.sleep(left_s)  # SQS waits for whole seconds

    async def take_record(self, queue: str, record: Mapping[str, Any]) -> QueueMessage | None:
        """A message that Lambda received, from the record it makes of it.

        Its lease is the queue's own and taken to begin now; Lambda asks that it be six times the function's time-out.

        Lambda deletes what its handler does not report as failed, so there is no ack. None is not to be handled now and is to be
        reported as failed: it came before its time or once too often, and this has been seen to. One that did fail may be given
        to `release` first, for its delay; at its last attempt that makes it a dead letter.
        """
        return await self._taken(self._places[queue], received_by_lambda(record), self._clock.monotonic())

    async def ack(self, queue: str, receipt: str) -> bool:
        """True within the lease. After it, SQS is asked to forget the message but does not say whether it did: False."""
        place = self._places[queue]
        lease = place.held.pop(receipt, None)
        if lease is None:
            return False
        is_over = self._clock.monotonic() >= lease.ends
        if is_over and lease.is_last:
            return False
        try:
            return await self._forget(place, receipt) and not is_over
        except StoreUnavailable:
            place.held[receipt] = lease
            raise

    async def release(self, queue: str, receipt: str, *, delay_s: float = 0.0) -> bool:
        """After the lease: False, and the message is left alone, as another may have it and SQS might not tell the two apart.

        The longest delays end up to one lease early: SQS counts its 12 hours from the receipt.
        """
        place, whole_s = self._places[queue], _whole_s(delay_s)
        lease = place.held.pop(receipt, None)
        now = self._clock.monotonic()
        if lease is None or now >= lease.ends:
            return False
        try:
            if lease.is_last:
                await self._bury(place, lease.message)
                return True
            room_s = AWAY_MOST_S - math.ceil(now - lease.began) - 1
            return await self._put_back(place, receipt, away_s=min(whole_s, room_s))
        except StoreUnavailable:
            place.held[receipt] = lease
            raise

    async def depth(self, queue: str) -> QueueDepth:
        """As SQS estimates it, within a minute or so. What was given back with a delay counts as leased.

        `oldest_ready_at` is not known here; the metric ApproximateAgeOfOldestMessage is what alarms look at.
        """
        place = self._places[queue]
        ready, delayed, away = await self._counts(place.url)
        return QueueDepth(ready, delayed, away, sum(await self._counts(f"{place.url}{DEAD_SUFFIX}")), None)

    async def dead_letters(self, queue: str, *, limit: int = 100, after: str = "") -> list[DeadLetter]:
        dead = self._places[queue].dead
        try:
            letters = await dead.look()
        except (Refused, OutcomeUnknown) as error:
            raise _unavailable(error) from error
        return [letter.letter() for letter in letters if letter.id > after][:limit]

    async def redrive(self, queue: str, ids: Sequence[str]) -> int:
        """Killed in between, a message may be there and still among the dead letters."""
        place = self._places[queue]
        revived: set[str] = set()
        try:
            for letter in await place.dead.take(set(ids)):
                if letter.id not in revived:
                    said = attributes(letter.id, sent_at=letter.sent_at)
                    await self._send(place, content(letter.body), said, delay_s=0)
                    revived.add(letter.id)
                await place.dead.forget(letter)
        except (Refused, OutcomeUnknown) as error:
            raise _unavailable(error) from error
        return len(revived)

    # -- calls --------------------------------------------------------------------------------------------------------

    async def _poll(self, place: _Place, limit: int, *, wait_s: float) -> tuple[float, Answer]:
        """SQS's answer, and since when the leases in it may run."""
        self._forget_old(place)
        asked_at = self._clock.monotonic()
        answer = await self._asked(
            "receive_message",
            QueueUrl=place.url,
            MaxNumberOfMessages=limit,
            VisibilityTimeout=round(place.spec.lease_s),
            WaitTimeSeconds=min(int(wait_s), POLL_MOST_S),
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=SYSTEM_ATTRIBUTES,
        )
        return max(asked_at, self._clock.monotonic() - ON_ITS_WAY_S), answer

    async def _all_taken(self, place: _Place, messages: Sequence[Received], began: float) -> list[QueueMessage]:
        taken: list[QueueMessage] = []
        for one in messages:
            try:
                message = await self._taken(place, one, began)
            except StoreUnavailable:
                continue  # neither put back nor buried, it comes again when its lease ends; the others need not
            if message is not None:
                taken.append(message)
        return taken

    async def _taken(self, place: _Place, one: Received, began: float) -> QueueMessage | None:
        """Held from now on; None for one that came too early or once too often, and is put back or buried."""
        early_ms = one.ready_at - self._clock.now()
        if early_ms > 0:
            await self._put_back(place, one.handle, away_s=min(math.ceil(early_ms / 1_000), AWAY_MOST_S - 1))
            return None
        if one.attempts > place.spec.attempts_max:
            await self._bury(place, one._replace(attempts=place.spec.attempts_max))
            return None
        is_last = one.attempts == place.spec.attempts_max
        place.held[one.handle] = _Lease(one, began, began + place.spec.lease_s, is_last)
        return QueueMessage(one.id, one.body, one.attempts, one.handle, one.sent_at)

    async def _send(
        self, place: _Place, written: tuple[str, Mapping[str, Any]], said: Mapping[str, Any], *, delay_s: int
    ) -> None:
        text, how = written
        await self._asked(
            "send_message",
            QueueUrl=place.url,
            MessageBody=text,
            MessageAttributes={**said, **how},
            DelaySeconds=delay_s,
        )

    async def _put_back(self, place: _Place, handle: str, *, away_s: int) -> bool:
        return await self._with_handle(
            "change_message_visibility", QueueUrl=place.url, ReceiptHandle=handle, VisibilityTimeout=away_s
        )

    async def _bury(self, place: _Place, message: Received) -> None:
        try:
            await place.dead.bury(message, died_at=self._clock.now())
        except (Refused, OutcomeUnknown) as error:
            raise _unavailable(error) from error
        await self._forget(place, message.handle)

    async def _forget(self, place: _Place, handle: str) -> bool:
        return await self._with_handle("delete_message", QueueUrl=place.url, ReceiptHandle=handle)

    async def _with_handle(self, operation: str, **request: Any) -> bool:
        """False when the handle leads to nothing."""
        try:
            await self._calls.write(operation, **request)
        except Refused as refused:
            if refused.code in STALE:
                return False
            raise _unavailable(refused) from refused
        except OutcomeUnknown as error:  # doing it twice is doing it once
            raise StoreUnavailable(error.detail) from error
        return True

    async def _asked(self, operation: str, **request: Any) -> Answer:
        try:
            return await self._calls.write(operation, **request)
        except (Refused, OutcomeUnknown) as error:  # whatever is done twice here is done at least once
            raise _unavailable(error) from error

    async def _counts(self, url: str) -> tuple[int, int, int]:
        answer = await self._asked("get_queue_attributes", QueueUrl=url, AttributeNames=list(_COUNTS))
        ready, delayed, away = (int(answer["Attributes"][name]) for name in _COUNTS)
        return ready, delayed, away

    def _forget_old(self, place: _Place) -> None:
        before = self._clock.monotonic() - place.spec.lease_s
        while place.held and (oldest := next(iter(place.held.items())))[1].ends < before:
            del place.held[oldest[0]]


def _whole_s(delay_s: float) -> int:
    """SQS counts whole seconds: a part of one is a whole one."""
    if not 0 <= delay_s <= DELAY_MAX_S:
        raise Invalid(f"a delay is 0 to {DELAY_MAX_S} seconds")
    return math.ceil(delay_s)


def _unavailable(error: Refused | OutcomeUnknown) -> StoreUnavailable:
    return StoreUnavailable(f"SQS refused: {error.code}" if isinstance(error, Refused) else error.detail)


_port: type[Queue] = SqsQueue
"""Held against its port here until a bootstrap joins them."""
