"""The Queue port's promises, over every adapter. One section per method, in the port's order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from interlock.backends.local.ids import SystemIds
from interlock.backends.memory.queue import MemoryQueue
from interlock.backends.sqlite import queue as sqlite_queue
from interlock.backends.sqlite.database import Database
from interlock.backends.sqlite.queue import SqliteQueue
from interlock.core.kernel.errors import Invalid
from interlock.core.kernel.queue import DELAY_MAX_S, Queue, QueueDepth, QueueSpec
from tests.clocks import ManualClock
from tests.contracts.on_aws import sqs_queues

WORK, OTHER = "webhooks", "notifications"
LEASE_S = 30
ATTEMPTS_MAX = 3
SPECS = [QueueSpec(WORK, LEASE_S, ATTEMPTS_MAX), QueueSpec(OTHER, LEASE_S, ATTEMPTS_MAX)]
EMPTY = QueueDepth(ready=0, delayed=0, leased=0, dead=0, oldest_ready_at=None)


class Queues(NamedTuple):
    """Two of them on the same messages, as two processes or two parts of one would have; and what such a queue can know."""

    queue: Queue
    other: Queue
    grain_s: float = 0.001
    """What is no whole number of these lasts until the next one."""
    sees_deaths: bool = True
    """A message is dead when its last lease ends; otherwise when somebody next receives."""
    tells_late_acks: bool = True
    """An ack after the lease says whether it was done; otherwise it says no."""
    tells_delayed: bool = True
    """What was given back with a delay counts as delayed; otherwise as leased."""
    tells_oldest: bool = True

    def depth(self, depth: QueueDepth) -> QueueDepth:
        """As such a queue would tell it."""
        return depth if self.tells_oldest else depth._replace(oldest_ready_at=None)

    async def next_look(self) -> None:
        """What a worker does all the time, where a death is noticed only then."""
        if not self.sees_deaths:
            assert await self.queue.receive(WORK) == []


@pytest.fixture(params=["memory", "sqlite", pytest.param("sqs", marks=pytest.mark.aws)])
async def queues(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Queues]:
    ids = SystemIds(clock, random_bits=Random(1).getrandbits)
    if request.param == "memory":
        memory = MemoryQueue(SPECS, clock=clock, ids=ids)
        yield Queues(memory, memory)
        return
    if request.param == "sqs":
        async with sqs_queues(*request.getfixturevalue("sqs"), clock, SPECS, ids) as pair:
            known = {"sees_deaths": False, "tells_late_acks": False, "tells_delayed": False, "tells_oldest": False}
            yield Queues(*pair, grain_s=1.0, **known)
        return
    databases = [Database.open(tmp_path / "q.db", schemas=[sqlite_queue.SCHEMA], clock=clock) for _ in range(2)]
    yield Queues(*(SqliteQueue(database, SPECS, clock=clock, ids=ids) for database in databases))
    for database in databases:
        await database.close()


@pytest.fixture
def queue(queues: Queues) -> Queue:
    return queues.queue


async def bodies(queue: Queue, *, limit: int = 10) -> set[bytes]:
    return {message.body for message in await queue.receive(WORK, limit=limit)}


async def fail_until_dead(queues: Queues, clock: ManualClock) -> None:
    """Receive whatever is ready as often as it may be received, and never acknowledge."""
    for _ in range(ATTEMPTS_MAX):
        assert await queues.queue.receive(WORK)
        clock.advance(LEASE_S)
    await queues.next_look()


# -- send ---------------------------------------------------------------------------------------------------------------


async def test_sent_message_is_received_elsewhere_with_its_id_body_and_time(queues: Queues, clock: ManualClock) -> None:
    sent_at = clock.now()
    message_id = await queues.queue.send(WORK, b"\x00\xffbody")
    clock.advance(5)
    (message,) = await queues.other.receive(WORK)
    assert (message.id, message.body, message.attempts, message.sent_at) == (message_id, b"\x00\xffbody", 1, sent_at)


async def test_every_message_gets_an_id_of_its_own(queue: Queue) -> None:
    assert len({await queue.send(WORK, b"same") for _ in range(20)}) == 20


async def test_messages_of_one_queue_are_not_in_another(queue: Queue) -> None:
    await queue.send(OTHER, b"elsewhere")
    assert await queue.receive(WORK) == []
    assert await queue.depth(WORK) == EMPTY
    await queue.send(WORK, b"here")
    assert await bodies(queue) == {b"here"}
    assert (await queue.depth(OTHER)).ready == 1


async def test_delayed_message_is_not_receivable_a_millisecond_early(queue: Queue, clock: ManualClock) -> None:
    await queue.send(WORK, b"later", delay_s=60)
    clock.advance(59.999)
    assert await queue.receive(WORK) == []
    clock.advance(0.001)
    assert await bodies(queue) == {b"later"}


async def test_delay_of_a_fraction_of_a_millisecond_is_not_cut_to_nothing(queues: Queues, clock: ManualClock) -> None:
    await queues.queue.send(WORK, b"later", delay_s=0.0001)
    assert await queues.queue.receive(WORK) == []
    clock.advance(queues.grain_s)
    assert await bodies(queues.queue) == {b"later"}


async def test_longest_delay_is_accepted(queue: Queue, clock: ManualClock) -> None:
    await queue.send(WORK, b"later", delay_s=DELAY_MAX_S)
    clock.advance(DELAY_MAX_S)
    assert await bodies(queue) == {b"later"}


@pytest.mark.parametrize("delay_s", [-0.001, DELAY_MAX_S + 0.001, float("nan"), float("inf")])
async def test_delay_out_of_range_is_invalid_and_nothing_is_sent(queue: Queue, delay_s: float) -> None:
    with pytest.raises(Invalid):
        await queue.send(WORK, b"never", delay_s=delay_s)
    assert await queue.depth(WORK) == EMPTY


async def test_unknown_queue_is_a_key_error_everywhere(queue: Queue) -> None:
    for call in (
        queue.send("nowhere", b""),
        queue.receive("nowhere"),
        queue.ack("nowhere", "1.x"),
        queue.release("nowhere", "1.x"),
        queue.depth("nowhere"),
        queue.dead_letters("nowhere"),
        queue.redrive("nowhere", []),
    ):
        with pytest.raises(KeyError):
            await call


# -- receive ------------------------------------------------------------------------------------------------------------


async def test_leased_message_is_not_received_by_anybody_else_within_the_lease(
    queues: Queues, clock: ManualClock
) -> None:
    await queues.queue.send(WORK, b"one")
    assert len(await queues.queue.receive(WORK)) == 1
    clock.advance(LEASE_S - 0.001)
    assert await queues.other.receive(WORK) == []
    assert await queues.queue.receive(WORK) == []


async def test_two_receivers_at_once_share_the_messages_without_overlap(queues: Queues) -> None:
    for number in range(20):
        await queues.queue.send(WORK, str(number).encode())
    shares = await asyncio.gather(*(queues[number % 2].receive(WORK, limit=5) for number in range(6)))
    received = [message.id for share in shares for message in share]
    assert len(received) == len(set(received)) == 20


async def test_receive_gives_at_most_limit_messages(queue: Queue) -> None:
    for _ in range(5):
        await queue.send(WORK, b"x")
    assert [len(await queue.receive(WORK, limit=2)) for _ in range(4)] == [2, 2, 1, 0]


async def test_message_whose_lease_ended_is_received_again_and_the_attempt_counts(
    queues: Queues, clock: ManualClock
) -> None:
    await queues.queue.send(WORK, b"one")
    (first,) = await queues.queue.receive(WORK)
    clock.advance(LEASE_S)
    (second,) = await queues.other.receive(WORK)
    assert (second.id, second.body, second.sent_at) == (first.id, first.body, first.sent_at)
    assert (first.attempts, second.attempts) == (1, 2)
    assert second.receipt != first.receipt


async def test_receipts_are_unique_and_do_not_follow_from_what_others_can_know(queue: Queue) -> None:
    for number in range(30):
        await queue.send(WORK, str(number).encode())
    messages = [message for _ in range(3) for message in await queue.receive(WORK, limit=10)]
    assert len({message.receipt for message in messages}) == 30
    for message in messages:
        assert not await queue.ack(WORK, message.id)
        # The end of another lease's receipt put onto this one's beginning is nobody's receipt.
        assert not await queue.ack(WORK, message.receipt[:-8] + "0" * 8)
    assert (await queue.depth(WORK)).leased == 30


async def test_receive_waits_for_the_first_message_and_returns_at_once_when_it_is_sent(
    queue: Queue, clock: ManualClock
) -> None:
    waiting = asyncio.create_task(queue.receive(WORK, wait_s=20))
    await clock.run_for(3)
    assert not waiting.done()
    await queue.send(WORK, b"now")
    await clock.settle()
    assert waiting.done()
    assert [message.body for message in await waiting] == [b"now"]


async def test_receive_returns_empty_once_its_wait_is_over(queue: Queue, clock: ManualClock) -> None:
    waiting = asyncio.create_task(queue.receive(WORK, wait_s=20))
    await clock.run_for(19.9)
    assert not waiting.done()
    await clock.run_for(0.1)
    assert waiting.done()
    assert await waiting == []
    assert clock.sleeping == 0


async def test_receive_that_got_its_message_leaves_nothing_waiting(queue: Queue, clock: ManualClock) -> None:
    waiting = asyncio.create_task(queue.receive(WORK, wait_s=20))
    await clock.settle()
    await queue.send(WORK, b"now")
    assert len(await waiting) == 1
    await clock.settle()
    assert clock.sleeping == 0


async def test_receive_without_a_wait_returns_at_once(queue: Queue, clock: ManualClock) -> None:
    waiting = asyncio.create_task(queue.receive(WORK))
    await clock.settle()
    assert waiting.done()
    assert await waiting == []


async def test_waiting_receiver_gets_a_message_the_moment_its_delay_is_over(queues: Queues, clock: ManualClock) -> None:
    await queues.queue.send(WORK, b"later", delay_s=7.3)
    waiting = asyncio.create_task(queues.queue.receive(WORK, wait_s=20))
    await clock.run_for(7.299)
    assert not waiting.done()
    await clock.run_for(0.001 + queues.grain_s)
    assert waiting.done()
    assert [message.body for message in await waiting] == [b"later"]


async def test_waiting_receiver_gets_a_message_whose_lease_ends_meanwhile(queues: Queues, clock: ManualClock) -> None:
    await queues.queue.send(WORK, b"one")
    await queues.queue.receive(WORK)
    waiting = asyncio.create_task(queues.other.receive(WORK, wait_s=60))
    await clock.run_for(LEASE_S + 0.002)
    assert waiting.done()
    assert [message.attempts for message in await waiting] == [2]


async def test_waiting_receiver_notices_what_another_process_sends_within_half_a_second(
    queues: Queues, clock: ManualClock
) -> None:
    waiting = asyncio.create_task(queues.queue.receive(WORK, wait_s=20))
    await clock.run_for(3)
    await queues.other.send(WORK, b"from afar")
    await clock.run_for(0.5)
    assert waiting.done()
    assert [message.body for message in await waiting] == [b"from afar"]


async def test_one_message_wakes_many_waiting_receivers_and_goes_to_one(queues: Queues, clock: ManualClock) -> None:
    waiting = [asyncio.create_task(queues[number % 2].receive(WORK, wait_s=5)) for number in range(6)]
    await clock.settle()
    await queues.queue.send(WORK, b"one")
    await clock.run_for(5)
    assert sorted(len(task.result()) for task in waiting) == [0, 0, 0, 0, 0, 1]


async def test_wall_clock_stepping_back_loses_no_message(queue: Queue, clock: ManualClock) -> None:
    await queue.send(WORK, b"one")
    clock.step_wall(-3_600_000)
    assert await queue.receive(WORK) == []
    clock.advance(3_600)
    assert await bodies(queue) == {b"one"}


# -- ack ----------------------------------------------------------------------------------------------------------------


async def test_acked_message_is_gone_for_good(queues: Queues, clock: ManualClock) -> None:
    await queues.queue.send(WORK, b"one")
    (message,) = await queues.queue.receive(WORK)
    assert await queues.queue.ack(WORK, message.receipt)
    clock.advance(LEASE_S * 10)
    assert await queues.other.receive(WORK) == []
    assert await queues.queue.depth(WORK) == EMPTY


async def test_second_ack_of_one_receipt_is_false(queue: Queue) -> None:
    await queue.send(WORK, b"one")
    (message,) = await queue.receive(WORK)
    assert await queue.ack(WORK, message.receipt)
    assert not await queue.ack(WORK, message.receipt)


async def test_ack_forgets_only_its_own_message(queue: Queue, clock: ManualClock) -> None:
    for body in (b"one", b"two", b"three"):
        await queue.send(WORK, body)
    messages = await queue.receive(WORK)
    (second,) = [message for message in messages if message.body == b"two"]
    assert await queue.ack(WORK, second.receipt)
    clock.advance(LEASE_S)
    assert await bodies(queue) == {b"one", b"three"}


async def test_ack_after_the_lease_went_to_another_is_false_and_the_other_still_has_it(
    queues: Queues, clock: ManualClock
) -> None:
    await queues.queue.send(WORK, b"one")
    (first,) = await queues.queue.receive(WORK)
    clock.advance(LEASE_S)
    (second,) = await queues.other.receive(WORK)
    assert not await queues.queue.ack(WORK, first.receipt)
    assert (await queues.queue.depth(WORK)).leased == 1
    assert await queues.other.ack(WORK, second.receipt)


async def test_ack_after_the_lease_ended_but_before_another_receipt_still_counts(
    queues: Queues, clock: ManualClock
) -> None:
    await queues.queue.send(WORK, b"one")
    (message,) = await queues.queue.receive(WORK)
    clock.advance(LEASE_S + 1)
    assert await queues.queue.ack(WORK, message.receipt) is queues.tells_late_acks
    assert await queues.queue.depth(WORK) == EMPTY


async def test_ack_in_the_wrong_queue_is_false_and_has_no_effect(queue: Queue) -> None:
    await queue.send(WORK, b"one")
    (message,) = await queue.receive(WORK)
    assert not await queue.ack(OTHER, message.receipt)
    assert (await queue.depth(WORK)).leased == 1


@pytest.mark.parametrize("receipt", ["", ".", "1", "1.", ".x", "²." + "x", "9" * 40 + ".x", "' OR 1=1 --", "\x00"])
async def test_receipt_that_was_never_given_is_false_and_has_no_effect(queue: Queue, receipt: str) -> None:
    await queue.send(WORK, b"waiting")
    await queue.send(WORK, b"leased")
    await queue.receive(WORK, limit=1)
    assert not await queue.ack(WORK, receipt)
    assert not await queue.release(WORK, receipt)
    depth = await queue.depth(WORK)
    assert (depth.ready, depth.leased) == (1, 1)


async def test_ack_and_takeover_at_the_same_instant_agree_on_who_has_it(queues: Queues, clock: ManualClock) -> None:
    await queues.queue.send(WORK, b"one")
    (first,) = await queues.queue.receive(WORK)
    clock.advance(LEASE_S)
    acked, taken = await asyncio.gather(queues.queue.ack(WORK, first.receipt), queues.other.receive(WORK))
    assert not (acked and taken)
    assert acked or taken or not queues.tells_late_acks


# -- release ------------------------------------------------------------------------------------------------------------


async def test_released_message_is_receivable_at_once_with_another_receipt(queues: Queues) -> None:
    await queues.queue.send(WORK, b"one")
    (first,) = await queues.queue.receive(WORK)
    assert await queues.queue.release(WORK, first.receipt)
    (second,) = await queues.other.receive(WORK)
    assert (second.id, second.attempts) == (first.id, 2)
    assert second.receipt != first.receipt
    assert not await queues.queue.ack(WORK, first.receipt)


async def test_released_message_stays_away_for_its_delay(queue: Queue, queues: Queues, clock: ManualClock) -> None:
    await queue.send(WORK, b"one")
    (message,) = await queue.receive(WORK)
    assert await queue.release(WORK, message.receipt, delay_s=90)
    assert await queue.depth(WORK) == EMPTY._replace(**{"delayed" if queues.tells_delayed else "leased": 1})
    clock.advance(89.999)
    assert await queue.receive(WORK) == []
    clock.advance(0.001)
    assert await bodies(queue) == {b"one"}


async def test_release_wakes_a_waiting_receiver(queue: Queue, clock: ManualClock) -> None:
    await queue.send(WORK, b"one")
    (message,) = await queue.receive(WORK)
    waiting = asyncio.create_task(queue.receive(WORK, wait_s=20))
    await clock.settle()
    await queue.release(WORK, message.receipt)
    await clock.settle()
    assert waiting.done()
    assert len(await waiting) == 1


async def test_second_release_of_one_receipt_is_false(queue: Queue, queues: Queues) -> None:
    await queue.send(WORK, b"one")
    (message,) = await queue.receive(WORK)
    assert await queue.release(WORK, message.receipt, delay_s=5)
    assert not await queue.release(WORK, message.receipt)
    assert await queue.depth(WORK) == EMPTY._replace(**{"delayed" if queues.tells_delayed else "leased": 1})


async def test_release_after_the_lease_went_to_another_is_false_and_has_no_effect(
    queues: Queues, clock: ManualClock
) -> None:
    await queues.queue.send(WORK, b"one")
    (first,) = await queues.queue.receive(WORK)
    clock.advance(LEASE_S)
    (second,) = await queues.other.receive(WORK)
    assert not await queues.queue.release(WORK, first.receipt)
    assert await queues.queue.receive(WORK) == []
    assert await queues.other.ack(WORK, second.receipt)


@pytest.mark.parametrize("delay_s", [-1, DELAY_MAX_S + 1, float("nan")])
async def test_release_with_a_delay_out_of_range_is_invalid_and_the_lease_stays(queue: Queue, delay_s: float) -> None:
    await queue.send(WORK, b"one")
    (message,) = await queue.receive(WORK)
    with pytest.raises(Invalid):
        await queue.release(WORK, message.receipt, delay_s=delay_s)
    assert await queue.ack(WORK, message.receipt)


async def test_release_of_the_last_attempt_makes_a_dead_letter_at_once(queue: Queue, clock: ManualClock) -> None:
    message_id = await queue.send(WORK, b"poison")
    sent_at = clock.now()
    for _ in range(ATTEMPTS_MAX):
        clock.advance(1)
        (message,) = await queue.receive(WORK)
        assert await queue.release(WORK, message.receipt)
    assert await queue.receive(WORK) == []
    (letter,) = await queue.dead_letters(WORK)
    assert (letter.id, letter.body, letter.attempts) == (message_id, b"poison", ATTEMPTS_MAX)
    assert (letter.sent_at, letter.died_at) == (sent_at, clock.now())
    assert not await queue.release(WORK, message.receipt)
    assert not await queue.ack(WORK, message.receipt)
    assert (await queue.depth(WORK)).dead == 1


# -- dead letters -------------------------------------------------------------------------------------------------------


async def test_message_received_too_often_without_ack_dies_when_its_last_lease_ends(
    queues: Queues, clock: ManualClock
) -> None:
    message_id = await queues.queue.send(WORK, b"poison")
    for attempt in range(1, ATTEMPTS_MAX + 1):
        (message,) = await queues.queue.receive(WORK)
        assert message.attempts == attempt
        assert await queues.other.dead_letters(WORK) == []
        clock.advance(LEASE_S)
    died_at = clock.now()
    clock.advance(100)
    assert await queues.queue.receive(WORK) == []
    (letter,) = await queues.other.dead_letters(WORK)
    assert (letter.id, letter.attempts) == (message_id, ATTEMPTS_MAX)
    assert letter.died_at == (died_at if queues.sees_deaths else clock.now())


async def test_letter_that_nobody_received_after_died_when_its_lease_ended(
    queue: Queue, queues: Queues, clock: ManualClock
) -> None:
    await queue.send(WORK, b"poison")
    await fail_until_dead(queues, clock)
    died_at = clock.now()
    clock.advance(100)
    assert [letter.died_at for letter in await queue.dead_letters(WORK)] == [died_at]


async def test_last_attempt_can_still_be_acked_within_its_lease(queue: Queue, clock: ManualClock) -> None:
    await queue.send(WORK, b"one")
    for _ in range(ATTEMPTS_MAX):
        (message,) = await queue.receive(WORK)
        clock.advance(LEASE_S - 0.001)
        if message.attempts < ATTEMPTS_MAX:
            clock.advance(0.001)
    assert await queue.ack(WORK, message.receipt)
    clock.advance(LEASE_S)
    assert await queue.depth(WORK) == EMPTY


@pytest.mark.parametrize("looked", [True, False])
async def test_ack_after_the_last_lease_ended_is_false_whether_anybody_looked_or_not(
    queue: Queue, queues: Queues, clock: ManualClock, looked: bool
) -> None:
    await queue.send(WORK, b"poison")
    for _ in range(ATTEMPTS_MAX):
        (message,) = await queue.receive(WORK)
        clock.advance(LEASE_S)
    if looked:
        await queues.next_look()
        assert len(await queue.dead_letters(WORK)) == 1
    assert not await queue.ack(WORK, message.receipt)
    assert not await queue.release(WORK, message.receipt)
    await queues.next_look()
    assert len(await queue.dead_letters(WORK)) == 1


async def test_poison_does_not_keep_others_from_being_received(
    queue: Queue, queues: Queues, clock: ManualClock
) -> None:
    await queue.send(WORK, b"poison")
    await fail_until_dead(queues, clock)
    for number in range(4):
        await queue.send(WORK, str(number).encode())
    assert await bodies(queue, limit=4) == {b"0", b"1", b"2", b"3"}


async def test_dead_letters_are_in_order_of_id_and_paged_by_it(
    queue: Queue, queues: Queues, clock: ManualClock
) -> None:
    ids = [await queue.send(WORK, str(number).encode()) for number in range(7)]
    await fail_until_dead(queues, clock)
    pages: list[list[str]] = []
    after = ""
    while letters := await queue.dead_letters(WORK, limit=3, after=after):
        pages.append([letter.id for letter in letters])
        after = letters[-1].id
    assert pages == [sorted(ids)[:3], sorted(ids)[3:6], sorted(ids)[6:]]


async def test_looking_at_dead_letters_changes_nothing(queue: Queue, queues: Queues, clock: ManualClock) -> None:
    await queue.send(WORK, b"poison")
    await fail_until_dead(queues, clock)
    await queue.send(WORK, b"ready")
    before = await queue.depth(WORK)
    first = await queue.dead_letters(WORK)
    assert await queue.dead_letters(WORK) == first
    assert await queue.depth(WORK) == before
    assert await bodies(queue) == {b"ready"}


async def test_dead_letters_of_one_queue_are_not_in_another(queue: Queue, queues: Queues, clock: ManualClock) -> None:
    dead_id = await queue.send(WORK, b"poison")
    await fail_until_dead(queues, clock)
    assert await queue.dead_letters(OTHER) == []
    assert await queue.redrive(OTHER, [dead_id]) == 0
    assert (await queue.depth(OTHER)).dead == 0
    assert (await queue.depth(WORK)).dead == 1


async def test_dead_letters_that_were_buried_are_not_in_another_queue(queue: Queue) -> None:
    await queue.send(WORK, b"poison")
    for _ in range(ATTEMPTS_MAX):
        (message,) = await queue.receive(WORK)
        await queue.release(WORK, message.receipt)
    assert len(await queue.dead_letters(WORK)) == 1
    assert await queue.dead_letters(OTHER) == []


# -- redrive ------------------------------------------------------------------------------------------------------------


async def test_redriven_letter_is_receivable_with_its_count_at_zero(queues: Queues, clock: ManualClock) -> None:
    sent_at = clock.now()
    message_id = await queues.queue.send(WORK, b"poison")
    await fail_until_dead(queues, clock)
    assert await queues.queue.redrive(WORK, [message_id]) == 1
    assert await queues.queue.dead_letters(WORK) == []
    (message,) = await queues.other.receive(WORK)
    assert (message.id, message.body, message.attempts, message.sent_at) == (message_id, b"poison", 1, sent_at)


async def test_redriven_letter_may_fail_as_often_as_a_new_message_before_it_dies_again(
    queue: Queue, queues: Queues, clock: ManualClock
) -> None:
    message_id = await queue.send(WORK, b"poison")
    await fail_until_dead(queues, clock)
    await queue.redrive(WORK, [message_id])
    await fail_until_dead(queues, clock)
    assert [letter.attempts for letter in await queue.dead_letters(WORK)] == [ATTEMPTS_MAX]


async def test_redrive_takes_only_the_letters_named_and_counts_those_that_were_there(
    queue: Queue, queues: Queues, clock: ManualClock
) -> None:
    first = await queue.send(WORK, b"first")
    second = await queue.send(WORK, b"second")
    third = await queue.send(WORK, b"third")
    await fail_until_dead(queues, clock)
    alive = await queue.send(WORK, b"alive")
    assert await queue.redrive(WORK, [third, "msg_unknown", alive, first, third]) == 2
    assert [letter.id for letter in await queue.dead_letters(WORK)] == [second]
    assert await bodies(queue) == {b"first", b"third", b"alive"}


async def test_redrive_by_two_at_once_revives_a_letter_once(queues: Queues, clock: ManualClock) -> None:
    message_id = await queues.queue.send(WORK, b"poison")
    await fail_until_dead(queues, clock)
    counts = await asyncio.gather(*(each.redrive(WORK, [message_id]) for each in (queues.queue, queues.other)))
    assert sorted(counts) == [0, 1]
    assert len(await queues.queue.receive(WORK)) == 1


async def test_redrive_finds_a_letter_nobody_has_looked_at_since_it_died(
    queue: Queue, queues: Queues, clock: ManualClock
) -> None:
    message_id = await queue.send(WORK, b"poison")
    await fail_until_dead(queues, clock)
    assert await queue.redrive(WORK, [message_id]) == 1


async def test_redrive_wakes_a_waiting_receiver(queue: Queue, queues: Queues, clock: ManualClock) -> None:
    message_id = await queue.send(WORK, b"poison")
    await fail_until_dead(queues, clock)
    waiting = asyncio.create_task(queue.receive(WORK, wait_s=20))
    await clock.settle()
    await queue.redrive(WORK, [message_id])
    await clock.settle()
    assert waiting.done()
    assert len(await waiting) == 1


# -- depth --------------------------------------------------------------------------------------------------------------


async def test_depth_counts_each_message_in_one_place(queues: Queues, clock: ManualClock) -> None:
    await queues.queue.send(WORK, b"poison")
    await fail_until_dead(queues, clock)
    await queues.queue.send(WORK, b"leased")
    await queues.queue.receive(WORK)
    for delay_s in (0, 0, 100, 200, 300):
        await queues.queue.send(WORK, b"x", delay_s=delay_s)
    assert await queues.other.depth(WORK) == queues.depth(
        QueueDepth(ready=2, delayed=3, leased=1, dead=1, oldest_ready_at=clock.now())
    )


async def test_oldest_ready_at_is_since_when_the_longest_waiting_message_could_be_received(
    queue: Queue, queues: Queues, clock: ManualClock
) -> None:
    start = clock.now()
    await queue.send(WORK, b"later", delay_s=10)
    assert (await queue.depth(WORK)).oldest_ready_at is None
    clock.advance(20)
    await queue.send(WORK, b"newer")
    clock.advance(5)
    assert await queue.depth(WORK) == queues.depth(QueueDepth(2, 0, 0, 0, start + 10_000))


async def test_message_whose_lease_ended_counts_as_ready_again(
    queue: Queue, queues: Queues, clock: ManualClock
) -> None:
    start = clock.now()
    await queue.send(WORK, b"one")
    await queue.receive(WORK)
    clock.advance(LEASE_S + 5)
    assert await queue.depth(WORK) == queues.depth(QueueDepth(1, 0, 0, 0, start + LEASE_S * 1_000))


async def test_message_whose_last_lease_ended_counts_as_dead_and_not_as_ready(
    queue: Queue, queues: Queues, clock: ManualClock
) -> None:
    await queue.send(WORK, b"poison")
    await fail_until_dead(queues, clock)
    assert await queue.depth(WORK) == QueueDepth(0, 0, 0, 1, None)
