"""The dead letters of one queue: a queue of their own, which SQS lets nobody read without taking.

Looking takes them all for a moment and gives them back; whoever looks at the same moment may miss some. Killed in between,
they come back by themselves. Only the first LOOK_MOST are looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from interlock.backends.aws.calls import Calls
from interlock.backends.aws.sqs_messages import SYSTEM_ATTRIBUTES, Received, attributes, content, received_dead
from interlock.core.kernel.clock import Millis

LOOK_MOST = 1_000
HOLD_S = 60
"""How long a look may take."""
BATCH_MOST = 10


class DeadLetters:
    def __init__(self, calls: Calls, url: str, *, look_s: int) -> None:
        """`look_s`: how long an empty answer is waited for. At zero SQS asks only some of its servers, and may miss letters."""
        self._calls, self._url, self._look_s = calls, url, look_s

    async def bury(self, message: Received, *, died_at: Millis) -> None:
        """Safe to repeat: letters of one id count as one."""
        text, how = content(message.body)
        said = attributes(message.id, sent_at=message.sent_at, attempts=message.attempts, died_at=died_at)
        await self._calls.write("send_message", QueueUrl=self._url, MessageBody=text, MessageAttributes=said | how)

    async def look(self) -> list[Received]:
        """One of each id, in the order of their ids."""
        found = await self._take(None)
        await self.give_back(found)
        return [found_last for _, found_last in sorted({letter.id: letter for letter in found}.items())]

    async def take(self, ids: Collection[str]) -> list[Received]:
        """Every copy of these, which nobody else sees for HOLD_S; the others are given back."""
        found = await self._take(set(ids))
        chosen = [letter for letter in found if letter.id in ids]
        await self.give_back([letter for letter in found if letter.id not in ids])
        return chosen

    async def forget(self, letter: Received) -> None:
        await self._calls.write("delete_message", QueueUrl=self._url, ReceiptHandle=letter.handle)

    async def give_back(self, letters: Sequence[Received]) -> None:
        for start in range(0, len(letters), BATCH_MOST):
            entries = [
                {"Id": str(number), "ReceiptHandle": letter.handle, "VisibilityTimeout": 0}
                for number, letter in enumerate(letters[start : start + BATCH_MOST])
            ]
            # What is refused here comes back at the end of HOLD_S.
            await self._calls.write("change_message_visibility_batch", QueueUrl=self._url, Entries=entries)

    async def _take(self, until: set[str] | None) -> list[Received]:
        """All there are, or until all of these were found."""
        found: list[Received] = []
        while len(found) < LOOK_MOST and (until is None or not until <= {letter.id for letter in found}):
            answer = await self._calls.read(
                "receive_message",
                QueueUrl=self._url,
                MaxNumberOfMessages=BATCH_MOST,
                VisibilityTimeout=HOLD_S,
                WaitTimeSeconds=self._look_s,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=SYSTEM_ATTRIBUTES,
            )
            if not (messages := answer.get("Messages")):
                break
            found += [received_dead(message) for message in messages]
        return found
