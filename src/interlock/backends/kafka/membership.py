"""One member of a consumer group: which partitions are its own, and the group's offsets.

Membership is static: `group.instance.id` is the member's name, so a member that joins again within a session takes its own
place, and the broker turns away whoever had it before. Partitions change hands cooperatively, and one at whose records
somebody is at work only once these are committed, at the latest after a lease.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Lock, Thread
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from interlock.backends.kafka.config import SESSION_S_MAX, SESSION_S_MIN, KafkaConfig
from interlock.backends.kafka.holdings import Holding, Holdings
from interlock.backends.kafka.reading import Reader
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.errors import StoreUnavailable

TURN_S = 0.05

_OURS_NO_MORE = (
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError._FATAL,
    KafkaError._FENCED,
    KafkaError._ASSIGNMENT_LOST,
)
_REPLACED = (KafkaError.FENCED_INSTANCE_ID, KafkaError._FATAL, KafkaError._FENCED)
_IN_PASSING = (
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    KafkaError._WAIT_COORD,
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError.REQUEST_TIMED_OUT,
)


class Standing(NamedTuple):
    """Where a member stands, for gauges and for tests that wait until a group has come to rest."""

    member_id: str
    """What the broker calls it."""
    replaced: bool
    away: bool
    """Its lease ended, and it has not come back yet."""
    joined: bool
    """Whether the group has answered since it last joined or gave something back."""
    withholding: bool
    """Whether it was asked for partitions at whose records it is still at work."""
    due: bool
    """Whether something is about to happen by itself, now."""
    partitions: frozenset[int]


class _Commit(NamedTuple):
    offsets: Callable[[], dict[int, int]]
    ends_at: float
    answer: Future[None]

    def done(self, error: Exception | None = None) -> None:
        """Who asked may have gone away meanwhile."""
        if not self.answer.set_running_or_notify_cancel():
            return
        if error is None:
            self.answer.set_result(None)
        else:
            self.answer.set_exception(error)


class Membership:
    """All calls of its client are made on its thread: the library serves one at a time."""

    def __init__(
        self,
        config: KafkaConfig,
        clock: Clock,
        place: tuple[str, str, str],
        holdings: Holdings,
        reader: Reader,
        *,
        lease_s: float,
    ) -> None:
        self._config = config
        self._clock = clock
        self._topic, self._group, self._member = place
        self._holdings = holdings
        self._reader = reader
        self._lease_s = lease_s
        self._commits: queue.SimpleQueue[_Commit] = queue.SimpleQueue()
        self._unplaced: set[int] = set()
        """Partitions given to us whose offsets we have not learned yet."""
        self._asked_at: float | None = None
        self._asked: list[int] = []
        self._joined = False
        self._away = False
        self._stopping = False
        self._ended = False
        self._ending = Lock()
        self.replaced = False
        self._member_id = ""
        self._admin: AdminClient | None = None
        self._proved_at = 0.0
        self.waiting = 0
        """How many calls of receive wait: as long as one does, the lease does not end."""
        self.lease_ends_at = clock.monotonic() + lease_s
        self._thread = Thread(target=self._run, name=f"kafka-member {self._topic} {self._member}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Leave the group; `join` waits for it."""
        self._stopping = True

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def renew(self) -> None:
        """Somebody receives: the lease begins anew, or the member comes back."""
        self.lease_ends_at = self._clock.monotonic() + self._lease_s

    def commit(self, offsets: Callable[[], dict[int, int]], *, timeout_s: float) -> Future[None]:
        """`offsets` says, when it comes to it, partition by partition, behind which offset; what is lost is left out."""
        answer: Future[None] = Future()
        with self._ending:
            if self._ended:
                answer.set_result(None)
            else:
                self._commits.put(_Commit(offsets, _now() + timeout_s, answer))
        return answer

    def standing(self) -> Standing:
        now = self._clock.monotonic()
        asked_at, asked = self._asked_at, self._asked
        withholding = asked_at is not None
        due = not self._away and not self.replaced and self._lease_is_over(now)
        due = due or (self._away and not self._lease_is_over(now))
        if asked_at is not None:
            due = due or now - asked_at >= self._lease_s or not self._holdings.in_hand(asked)
        held = frozenset(holding.partition for holding in self._holdings.all())
        return Standing(
            self._member_id, self.replaced, self._away, self._joined, withholding, due or bool(self._unplaced), held
        )

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._take_part()
        finally:
            self._admin = None
            self._holdings.drop()
            with self._ending:
                self._ended = True
                while not self._commits.empty():
                    self._commits.get().done()

    def _take_part(self) -> None:
        client = Consumer(self._settings())
        self._subscribe(client)
        while not self._stopping and not self.replaced:
            self._turn(client)
            now = self._clock.monotonic()
            if self._lease_is_over(now) and not self._away:
                self._leave(client)
                self._away = True
            elif self._away and not self._lease_is_over(now):
                self._come_back(client)
        if not self.replaced:
            self._leave(client)
        client.close()

    def _turn(self, client: Consumer) -> None:
        """Wait a moment for commits, then let the library tell what happened in the group."""
        self._serve(client)
        record = client.poll(0)
        while record is not None:
            error = record.error()
            if error is not None and (error.fatal() or error.code() in _REPLACED):
                self._be_replaced()
                return
            # Records come here only in the moment before their partition is paused; the reader reads them.
            record = client.poll(0)
        self._place(client)

    # -- the group's calls, made by the library within `poll` on our thread

    def _assigned(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        if partitions:
            client.incremental_assign(partitions)
            client.pause(partitions)
        self._member_id = client.memberid() or ""
        self._unplaced |= {one.partition for one in partitions}
        self._joined = True

    def _revoked(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [one.partition for one in partitions]
        self._holdings.give_up(numbers)
        self._asked, self._asked_at = numbers, self._clock.monotonic()
        while self._holdings.in_hand(numbers) and not self._stopping and not self.replaced:
            now = self._clock.monotonic()
            if now - self._asked_at >= self._lease_s or self._lease_is_over(now) or self._away:
                break
            self._serve(client)
            self._prove(client, numbers[0])
        self._joined = False
        self._asked, self._asked_at = [], None
        self._gone(numbers)

    def _lost(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        self._joined = False
        self._gone([one.partition for one in partitions])
        # After a long sleep the library joins again under the same name, over the head of whoever bears it now.
        with suppress(KafkaException):
            self.replaced = self.replaced or self._is_taken(client)

    def _gone(self, numbers: list[int]) -> None:
        self._unplaced -= set(numbers)
        self._holdings.drop(numbers)
        self._reader.leave(numbers)

    # -- ours

    def _subscribe(self, client: Consumer) -> None:
        self._joined = False
        client.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def _leave(self, client: Consumer) -> None:
        """Give everything back at once. `close` alone would keep a static member's place until its session ends."""
        self._away = True
        held = [holding.partition for holding in self._holdings.all()]
        self._gone(held)
        if not client.memberid():
            # A farewell without an id of our own would be taken for that of our successor, if there is one.
            with suppress(KafkaException):
                self.replaced = self._is_taken(client)
            if self.replaced:
                return
        client.unsubscribe()
        ends_at = _now() + 1.0
        while client.assignment() and _now() < ends_at:
            client.poll(TURN_S)
        # Once more: the library sends its farewell only while it is not being closed.
        client.poll(TURN_S)
        self._joined = False

    def _come_back(self, client: Consumer) -> None:
        """Join again, unless somebody bears our name meanwhile: joining would turn them away for good."""
        try:
            taken = self._is_taken(client)
        except KafkaException:
            return
        if taken:
            self._be_replaced()
        else:
            self._away = False
            self._subscribe(client)

    def _is_taken(self, client: Consumer) -> bool:
        """Whether the group has a member of our name that is not us."""
        if self._admin is None:
            self._admin = AdminClient(self._config.client())
        asked = self._admin.describe_consumer_groups([self._group], request_timeout=self._config.answer_s / 4)
        try:
            members = asked[self._group].result().members
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return False
            raise
        # The library may have been given a new id that no callback has told us of.
        ours = (self._member_id, client.memberid())
        return any(one.group_instance_id == self._member and one.member_id not in ours for one in members)

    def _prove(self, client: Consumer, partition: int) -> None:
        """Commit what is committed already, now and then: held up here, we would not hear that we were replaced."""
        if _now() < self._proved_at + self._config.heartbeat_s or self.replaced:
            return
        self._proved_at = _now()
        held = [one for one in self._holdings.all() if one.partition == partition]
        again = [TopicPartition(self._topic, partition, one.committed) for one in held]
        try:
            client.commit(offsets=again, asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() in _REPLACED:
                self._be_replaced()

    def _be_replaced(self) -> None:
        self.replaced = True
        self._gone([holding.partition for holding in self._holdings.all()])

    def _place(self, client: Consumer) -> None:
        """Learn where the group stands in partitions that are new here, and have them read from there."""
        if not self._unplaced:
            return
        wanted = [TopicPartition(self._topic, number) for number in sorted(self._unplaced)]
        try:
            found = client.committed(wanted, timeout=self._config.answer_s / 4)
        except KafkaException:
            return
        holdings = [Holding(one.partition, max(one.offset, 0)) for one in found if one.error is None]
        self._holdings.add(holdings)
        for holding in holdings:
            self._unplaced.discard(holding.partition)
            self._reader.read(holding)

    def _serve(self, client: Consumer) -> None:
        """Commit what is asked for; wait a moment if nothing is."""
        try:
            commit = self._commits.get(timeout=TURN_S)
        except queue.Empty:
            return
        offsets = commit.offsets()
        if not offsets or self.replaced or self._away:
            commit.done()
            return
        try:
            found = client.commit(
                offsets=[TopicPartition(self._topic, number, offset) for number, offset in offsets.items()],
                asynchronous=False,
            )
            if failed := next((one.error for one in found or () if one.error is not None), None):
                raise KafkaException(failed)
        except KafkaException as error:
            self._not_committed(commit, error.args[0])
        else:
            self._holdings.committed(offsets)
            commit.done()

    def _not_committed(self, commit: _Commit, error: KafkaError) -> None:
        if error.code() in _OURS_NO_MORE:
            if error.code() in _REPLACED:
                self._be_replaced()
            commit.done()
        elif error.code() in _IN_PASSING and _now() < commit.ends_at:
            # Again after the next look at the group: by then the partition may be lost.
            self._commits.put(commit)
        else:
            commit.done(StoreUnavailable(f"Kafka does not take the offsets: {error.name()}"))

    def _lease_is_over(self, now: float) -> bool:
        return not self.waiting and now >= self.lease_ends_at

    def _settings(self) -> dict[str, Any]:
        session_ms = round(min(max(self._lease_s, SESSION_S_MIN), SESSION_S_MAX) * 1_000)
        return self._config.client() | {
            "group.id": self._group,
            "group.instance.id": self._member,
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": session_ms,
            "heartbeat.interval.ms": round(self._config.heartbeat_s * 1_000),
            # Longer than partitions may be withheld: until then the group waits for this member.
            "max.poll.interval.ms": session_ms * 2 + round(self._lease_s * 2_000) + 60_000,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
        }


_now = time.monotonic
"""How long the library may take is no matter of the platform's clock."""
