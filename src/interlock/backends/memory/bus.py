"""Topics in memory.

How a group shares a topic's partitions: every member may hold its even share. One that holds more gives partitions up
when it next receives, each once its records are committed or, at the latest, after one lease; one that holds fewer takes
what nobody alive holds. A member that has not received for a lease is not alive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from zlib import crc32

from interlock.backends.memory.wakeups import Wakeups
from interlock.core.kernel.bus import BusMessage, BusRecord
from interlock.core.kernel.clock import Clock, Millis

PARTITIONS = 8


@dataclass(slots=True)
class _Partition:
    first: int = 0
    """Offset of the oldest record kept."""
    records: list[BusRecord] = field(default_factory=list)
    published_at: list[Millis] = field(default_factory=list)

    @property
    def next(self) -> int:
        return self.first + len(self.records)


@dataclass(slots=True)
class _Claim:
    committed: int
    """Offset of the first record the group has not committed."""
    owner: int = 0
    """A member's session; 0 is nobody's."""


@dataclass(slots=True)
class _Member:
    session: int
    lease_ends_at: Millis


@dataclass(slots=True)
class _Group:
    claims: list[_Claim]
    members: dict[str, _Member] = field(default_factory=dict)
    sessions: int = 0


@dataclass(slots=True)
class _Topic:
    name: str
    partitions: list[_Partition] = field(default_factory=lambda: [_Partition() for _ in range(PARTITIONS)])
    groups: dict[str, _Group] = field(default_factory=dict)

    def group(self, name: str) -> _Group:
        if name not in self.groups:
            self.groups[name] = _Group([_Claim(partition.first) for partition in self.partitions])
        return self.groups[name]


class MemoryBus:
    def __init__(self, clock: Clock, *, member_lease_s: float = 30.0) -> None:
        self._clock = clock
        self._member_lease_ms = round(member_lease_s * 1_000)
        self._topics: dict[str, _Topic] = {}
        self._wakeups = Wakeups(clock)

    async def publish(self, topic: str, messages: Sequence[BusMessage]) -> None:
        partitions, now = self._topic(topic).partitions, self._clock.now()
        # Whatever is wrong with a message shows here, before anything is published.
        numbers = [crc32(message.key.encode()) % PARTITIONS for message in messages]
        for number, message in zip(numbers, messages, strict=True):
            partition = partitions[number]
            kept = message._replace(value=bytes(message.value), headers=dict(message.headers))
            partition.records.append(BusRecord(number, partition.next, kept))
            partition.published_at.append(now)
        self._wakeups.wake(topic)

    async def subscribe(self, topic: str, *, group: str, member: str) -> MemorySubscription:
        followed = self._topic(topic)
        joined = MemorySubscription(
            followed, followed.group(group), member, self._clock, self._wakeups, self._member_lease_ms
        )
        self._wakeups.wake(topic)
        return joined

    async def lag(self, topic: str, *, group: str) -> int:
        followed = self._topic(topic)
        standing = followed.groups.get(group)
        return sum(
            partition.next - (partition.first if standing is None else standing.claims[number].committed)
            for number, partition in enumerate(followed.partitions)
        )

    async def prune(self, *, before: Millis) -> int:
        """Drop messages published before that instant which every group has committed; how many.

        A topic that no group follows keeps everything: a group may still come and start at its beginning.
        """
        dropped = 0
        for topic in self._topics.values():
            for number, partition in enumerate(topic.partitions):
                passed = min((group.claims[number].committed for group in topic.groups.values()), default=0)
                count = 0
                while count < passed - partition.first and partition.published_at[count] < before:
                    count += 1
                del partition.records[:count], partition.published_at[:count]
                partition.first += count
                dropped += count
        return dropped

    def _topic(self, name: str) -> _Topic:
        return self._topics.setdefault(name, _Topic(name))


class MemorySubscription:
    def __init__(
        self, topic: _Topic, group: _Group, member: str, clock: Clock, wakeups: Wakeups, lease_ms: Millis
    ) -> None:
        self._topic = topic
        self._group = group
        self._member = member
        self._clock = clock
        self._wakeups = wakeups
        self._lease_ms = lease_ms
        self._closed = False
        self._received: dict[int, int] = {}
        """Partition -> offset to receive next."""
        self._giving_up: dict[int, Millis] = {}
        """Partitions the group asks back, and since when."""
        self._turn = 0
        standing = group.members.get(member)
        self._session = 0 if standing is None else standing.session
        self._join(clock.now())

    async def receive(self, *, limit: int = 100, wait_s: float = 0.0) -> list[BusRecord]:
        deadline = self._clock.monotonic() + wait_s
        while not self._closed:
            now = self._clock.now()
            if self._stay(now):
                self._share(now)
                if records := self._fetch(limit):
                    return records
            left_s = deadline - self._clock.monotonic()
            if left_s <= 0:
                break
            # Wakes in time to renew the lease and to notice members that vanished.
            await self._wakeups.wait(self._topic.name, timeout_s=min(left_s, self._lease_ms / 3_000))
        return []

    async def commit(self, records: Sequence[BusRecord]) -> None:
        for record in records:
            claim = self._group.claims[record.partition]
            if claim.owner == self._session:
                claim.committed = max(claim.committed, record.offset + 1)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        member = self._group.members.get(self._member)
        if member is not None and member.session == self._session:
            del self._group.members[self._member]
        for claim in self._group.claims:
            if claim.owner == self._session:
                claim.owner = 0
        self._wakeups.wake(self._topic.name)

    def _join(self, now: Millis) -> None:
        """Begin a session; what the last one under this name held stays ours, and is received again."""
        group = self._group
        group.sessions += 1
        for claim in group.claims:
            if claim.owner == self._session != 0:
                claim.owner = group.sessions
        self._session = group.sessions
        self._received.clear()
        self._giving_up.clear()
        group.members[self._member] = _Member(self._session, now + self._lease_ms)

    def _stay(self, now: Millis) -> bool:
        """Renew the lease, or join again if it has ended. False if another subscription has taken our name."""
        member = self._group.members.get(self._member)
        if member is not None and member.session != self._session:
            return False
        if member is None or member.lease_ends_at <= now:
            self._join(now)
        else:
            member.lease_ends_at = now + self._lease_ms
        return True

    def _share(self, now: Millis) -> None:
        group = self._group
        for name in [name for name, member in group.members.items() if member.lease_ends_at <= now]:
            del group.members[name]
        alive = {member.session for member in group.members.values()}
        rank = sorted(group.members).index(self._member)
        share = (PARTITIONS + len(alive) - 1 - rank) // len(alive)
        held = [number for number, claim in enumerate(group.claims) if claim.owner == self._session]
        if len(held) <= share:
            self._giving_up.clear()
            free = [number for number, claim in enumerate(group.claims) if claim.owner not in alive]
            for number in free[: share - len(held)]:
                group.claims[number].owner = self._session
                self._received.pop(number, None)
            return
        # Those already asked back first, then those that can go at once.
        held.sort(key=lambda number: (number not in self._giving_up, self._uncommitted(number)))
        self._giving_up = {number: self._giving_up.get(number, now) for number in held[: len(held) - share]}
        for number, asked_at in list(self._giving_up.items()):
            if not self._uncommitted(number) or now - asked_at >= self._lease_ms:
                group.claims[number].owner = 0
                del self._giving_up[number]
                self._received.pop(number, None)
                self._wakeups.wake(self._topic.name)

    def _uncommitted(self, number: int) -> bool:
        return self._received.get(number, 0) > self._group.claims[number].committed

    def _fetch(self, limit: int) -> list[BusRecord]:
        """Up to `limit` records; a partition that fills it waits for its next turn."""
        self._turn += 1
        records: list[BusRecord] = []
        for step in range(PARTITIONS):
            number = (self._turn + step) % PARTITIONS
            claim, partition = self._group.claims[number], self._topic.partitions[number]
            if claim.owner == self._session and number not in self._giving_up:
                start = max(self._received.get(number, 0), claim.committed)
                if start == partition.next:
                    continue
                at = start - partition.first
                taken = partition.records[at : at + limit - len(records)]
                self._received[number] = start + len(taken)
                records += taken
        return records
