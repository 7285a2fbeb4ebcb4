"""Records that cannot be handled: moved out of the way, tried again later, at last put aside for people.

A record whose handling fails goes to `<topic>.<group>.retry.1`, from there to `.retry.2` and so on, each with a longer delay,
then to `<topic>.<group>.dead`. The partition it came from moves on. Order per key holds up to the dead-letter topic: while an
earlier record of a key waits further on, later ones of that key follow it there unseen. All these topics have as many
partitions as the first, so a key has the same number in each.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from interlock.backends.kafka.bus import KafkaBus, KafkaSubscription
from interlock.core.kernel.bus import BusMessage, BusRecord
from interlock.core.kernel.clock import Clock, Millis
from interlock.core.kernel.errors import OutcomeUnknown, Unavailable

Handler = Callable[[BusMessage], Awaitable[None]]
"""Must bear a message twice. Unavailable and OutcomeUnknown are not the record's fault: it is tried again where it is.
Any other error is."""

PARKED_MAX = 2_000
"""Records of one stage whose keys are looked at; behind more than these, every record is taken for a follower."""
REDRIVE_GROUP = "redrive"

_ERROR, _FROM, _TRIES, _DUE = "interlock-error", "interlock-from", "interlock-tries", "interlock-due"
_OURS = (_ERROR, _FROM, _TRIES, _DUE)


class Topics(NamedTuple):
    """The topics of one group's retries: stage 0 is the topic itself."""

    topic: str
    group: str
    delays_s: tuple[float, ...] = (10.0, 60.0, 600.0)

    def stage(self, number: int) -> str:
        return self.topic if number == 0 else f"{self.topic}.{self.group}.retry.{number}"

    @property
    def dead(self) -> str:
        return f"{self.topic}.{self.group}.dead"

    @property
    def stages(self) -> range:
        return range(len(self.delays_s) + 1)

    @property
    def others(self) -> list[str]:
        """Those to be made beside the topic itself."""
        return [*(self.stage(number) for number in self.stages[1:]), self.dead]


class DeadLetter(NamedTuple):
    message: BusMessage
    """Without what was added on its way."""
    error: str
    """The last error's class; its words may hold what must not be kept."""
    origin: str
    """topic/partition/offset it was first published at."""
    tries: int


class RetryingConsumer:
    """One member's work at one stage of `topics`. Run one for each stage; each is a loop around `step`."""

    def __init__(
        self,
        bus: KafkaBus,
        clock: Clock,
        topics: Topics,
        handler: Handler,
        *,
        stage: int,
        subscription: KafkaSubscription,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._topics = topics
        self._handler = handler
        self._stage = stage
        self._subscription = subscription
        self._undone: list[BusRecord] = []
        """Received, and left when a step failed."""

    async def step(self, *, limit: int = 100, wait_s: float = 0.0) -> int:
        """Handle or move on one batch, and commit it; how many records it was.

        Raises Unavailable or OutcomeUnknown when a store or the broker fails: what was done before that is committed, and the
        next step goes on from there.
        """
        records = self._undone or await self._subscription.receive(limit=limit, wait_s=wait_s)
        if not records:
            return 0
        self._undone = records
        parked = await self._parked(records)
        done: list[BusRecord] = []
        try:
            for record in records:
                await self._until_due(record)
                # Who has lost a partition meanwhile leaves its records to whoever has it now.
                if self._subscription.holds(record):
                    await self._one(record, parked)
                done.append(record)
        finally:
            self._undone = records[len(done) :]
            await self._subscription.commit(done)
        return len(records)

    async def _one(self, record: BusRecord, parked: _Parked) -> None:
        message = record.message
        if message.key in parked.keys or record.partition in parked.partitions:
            await self._move(record, self._stage + 1, error="")
            parked.keys.add(message.key)
            return
        try:
            await self._handler(_bare(message))
        except (Unavailable, OutcomeUnknown):
            raise
        except Exception as error:  # whatever is wrong with one record must not hold up those of others
            await self._move(record, self._stage + 1, error=type(error).__name__)
            if self._stage < len(self._topics.delays_s):
                parked.keys.add(message.key)

    async def _until_due(self, record: BusRecord) -> None:
        """Records of a stage become due in their order, so waiting for one holds up none that is due."""
        due = _number(record.message.headers.get(_DUE, ""))
        while (left := due - self._clock.now()) > 0:
            # Receiving nothing keeps the lease.
            await self._clock.sleep(min(left / 1_000, 1.0))
            await self._subscription.receive(limit=0)

    async def _move(self, record: BusRecord, stage: int, *, error: str) -> None:
        headers = dict(record.message.headers)
        headers.setdefault(_FROM, f"{self._topics.topic}/{record.partition}/{record.offset}")
        if error:
            headers[_ERROR] = error
            headers[_TRIES] = str(_number(headers.get(_TRIES, "")) + 1)
        if stage in self._topics.stages:
            headers[_DUE] = str(self._clock.now() + round(self._topics.delays_s[stage - 1] * 1_000))
            to = self._topics.stage(stage)
        else:
            headers.pop(_DUE, None)
            to = self._topics.dead
        await self._bus.publish(to, [record.message._replace(headers=headers)])

    async def _parked(self, records: Sequence[BusRecord]) -> _Parked:
        """Keys of which a record waits in a later stage.

        Nearer stages are looked at first: a record is published further on before it goes from where it was.
        """
        parked = _Parked(set(), set())
        for stage in self._topics.stages[self._stage + 1 :]:
            pending = await self._bus.pending(self._topics.stage(stage), group=self._topics.group, limit=PARKED_MAX)
            parked.keys.update(record.message.key for record in pending.records)
            if not pending.complete:
                parked.partitions.update(record.partition for record in records)
        return parked


class _Parked(NamedTuple):
    keys: set[str]
    partitions: set[int]
    """Those of which it is not known which keys wait."""


class DeadLetters:
    """What was given up, to look at and to try again."""

    def __init__(self, bus: KafkaBus, topics: Topics) -> None:
        self._bus = bus
        self._topics = topics

    async def list(self, *, limit: int = 100) -> list[DeadLetter]:
        """Those not redriven, partition by partition, oldest first."""
        pending = await self._bus.pending(self._topics.dead, group=REDRIVE_GROUP, limit=limit)
        return [_letter(record.message) for record in pending.records]

    async def redrive(self, *, member: str, limit: int = 100, wait_s: float = 30.0) -> int:
        """Send up to `limit` back to the first retry topic, for this group alone; how many. May repeat some if it fails."""
        subscription = await self._bus.subscribe(self._topics.dead, group=REDRIVE_GROUP, member=member)
        try:
            records = await subscription.receive(limit=limit, wait_s=wait_s)
            if records:
                await self._bus.publish(self._topics.stage(1), [_bare(record.message) for record in records])
                await subscription.commit(records)
            return len(records)
        finally:
            await subscription.close()


def _letter(message: BusMessage) -> DeadLetter:
    headers = message.headers
    tries = _number(headers.get(_TRIES, ""))
    return DeadLetter(_bare(message), headers.get(_ERROR, ""), headers.get(_FROM, ""), tries)


def _bare(message: BusMessage) -> BusMessage:
    return message._replace(headers={name: value for name, value in message.headers.items() if name not in _OURS})


def _number(text: str) -> Millis:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
