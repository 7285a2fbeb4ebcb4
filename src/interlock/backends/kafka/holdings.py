"""What one member holds: its partitions, what was read of them and not yet handed out, and how far it committed.

Three sides meet here, under one lock: the thread that is the group's member, the thread that reads, and the event loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from threading import RLock

from interlock.core.kernel.bus import BusRecord

BUFFERED_MAX = 500
BUFFERED_BYTES_MAX = 4_000_000
"""Of one partition: beyond either, reading it pauses until it was handed out."""


class Holding:
    """One partition, from when the group gave it to us until it goes."""

    def __init__(self, partition: int, committed: int) -> None:
        self.partition = partition
        self.committed = committed
        """Offset of the first record that is not committed."""
        self.handed = committed
        """Offset behind the last record handed out."""
        self.read = -1
        """Everything that counts below this offset was read; -1 before anything is known."""
        self.reading = False
        """Whether the reader has taken it up; what it read before belongs to an earlier holding."""
        self.giving_up = False
        self.buffer: deque[BusRecord] = deque()
        self.buffered_bytes = 0

    @property
    def in_hand(self) -> bool:
        """Whether somebody may be at work on records of it."""
        return self.handed > self.committed

    @property
    def full(self) -> bool:
        return len(self.buffer) >= BUFFERED_MAX or self.buffered_bytes >= BUFFERED_BYTES_MAX

    @property
    def has_room(self) -> bool:
        """Whether so much was handed out that reading goes on."""
        return len(self.buffer) * 2 <= BUFFERED_MAX and self.buffered_bytes * 2 <= BUFFERED_BYTES_MAX

    def put(self, record: BusRecord) -> None:
        self.buffer.append(record)
        self.buffered_bytes += len(record.message.value)
        self.read = record.offset + 1

    def take(self, limit: int) -> list[BusRecord]:
        taken = [self.buffer.popleft() for _ in range(min(limit, len(self.buffer)))]
        self.buffered_bytes -= sum(len(record.message.value) for record in taken)
        if taken:
            self.handed = taken[-1].offset + 1
        return taken

    def behind(self, offset: int) -> int:
        """Where a commit behind `offset` may move to: over a transaction's end mark, if nothing else is known to follow."""
        return max(offset, self.read) if offset == self.handed and not self.buffer else offset


class Holdings:
    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._held: dict[int, Holding] = {}
        self._turn = 0
        self.lock = RLock()

    def add(self, holdings: Iterable[Holding]) -> None:
        with self.lock:
            for holding in holdings:
                self._held[holding.partition] = holding

    def drop(self, partitions: Iterable[int] | None = None) -> None:
        """Those partitions, or all."""
        with self.lock:
            for partition in list(self._held) if partitions is None else list(partitions):
                self._held.pop(partition, None)
        self._changed()

    def all(self) -> list[Holding]:
        with self.lock:
            return list(self._held.values())

    def give_up(self, partitions: Iterable[int]) -> None:
        """Hand out nothing more of them."""
        with self.lock:
            for holding in self._chosen(partitions):
                holding.giving_up = True
                holding.buffer.clear()
                holding.buffered_bytes = 0
                # What was read and thrown away here must not count as passed by a commit.
                holding.read = -1

    def in_hand(self, partitions: Iterable[int]) -> bool:
        with self.lock:
            return any(holding.in_hand for holding in self._chosen(partitions))

    def take_up(self, holding: Holding) -> bool:
        """False if it is gone already."""
        with self.lock:
            holding.reading = self._held.get(holding.partition) is holding
            return holding.reading

    def put(self, record: BusRecord) -> Holding | None:
        """The holding, if it can take no more for now."""
        with self.lock:
            holding = self._held.get(record.partition)
            if holding is None or not holding.reading or holding.giving_up:
                return None
            if record.offset >= holding.handed and record.offset >= holding.read:
                holding.put(record)
            return holding if holding.full else None

    def reached(self, partition: int, offset: int) -> None:
        """Nothing stands before `offset` that was not read."""
        with self.lock:
            holding = self._held.get(partition)
            if holding is not None and holding.reading and not holding.giving_up:
                holding.read = max(holding.read, offset)

    def take(self, limit: int) -> list[BusRecord]:
        """Up to `limit` records; a partition that fills it waits for its next turn."""
        with self.lock:
            self._turn += 1
            held = sorted(self._held.values(), key=lambda holding: holding.partition)
            records: list[BusRecord] = []
            for step in range(len(held)):
                holding = held[(self._turn + step) % len(held)]
                if not holding.giving_up:
                    records += holding.take(limit - len(records))
            return records

    def behind(self, records: Sequence[BusRecord]) -> dict[int, int]:
        """Partition -> offset to commit, of those records that were handed out while we held their partition as we do now."""
        with self.lock:
            found: dict[int, int] = {}
            for record in records:
                holding = self._held.get(record.partition)
                if holding is not None and holding.committed <= record.offset < holding.handed:
                    found[record.partition] = max(found.get(record.partition, 0), record.offset + 1)
            return {partition: self._held[partition].behind(offset) for partition, offset in found.items()}

    def committed(self, offsets: dict[int, int]) -> None:
        with self.lock:
            for partition, offset in offsets.items():
                if (holding := self._held.get(partition)) is not None:
                    holding.committed = max(holding.committed, offset)

    def _chosen(self, partitions: Iterable[int]) -> list[Holding]:
        return [holding for number in partitions if (holding := self._held.get(number)) is not None]
