"""What only a queue on SQS can get wrong: delays longer than SQS keeps, bodies it does not take, letters it moves itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random, random
from typing import Any

import pytest

from interlock.backends.aws.calls import Calls
from interlock.backends.aws.queue import SqsQueue
from interlock.backends.aws.sqs_messages import AWAY_MOST_S, CONTENT_BYTES_MAX, DELAY_MOST_S, NET, attributes
from interlock.backends.local.clock import SystemClock
from interlock.backends.local.ids import SystemIds
from interlock.core.kernel.errors import Invalid
from interlock.core.kernel.queue import DELAY_MAX_S
from tests.clocks import ManualClock
from tests.contracts.on_aws import aws_client, new_token, sqs_queues
from tests.contracts.test_queue import ATTEMPTS_MAX, EMPTY, LEASE_S, SPECS, WORK

pytestmark = pytest.mark.aws


@pytest.fixture
async def queue(sqs: tuple[str, Path], clock: ManualClock) -> AsyncIterator[SqsQueue]:
    ids = SystemIds(clock, random_bits=Random(1).getrandbits)
    async with sqs_queues(*sqs, clock, SPECS, ids) as (queue, _):
        yield queue


async def raw(queue: SqsQueue, operation: str, **request: Any) -> Any:
    """A call behind the adapter's back."""
    return await queue._calls.write(operation, QueueUrl=queue._places[WORK].url, **request)


async def test_message_received_before_a_long_delay_is_over_comes_back_on_time_and_the_attempt_is_not_counted(
    queue: SqsQueue, clock: ManualClock
) -> None:
    await queue.send(WORK, b"later", delay_s=DELAY_MAX_S)
    clock.advance(DELAY_MOST_S)
    assert (await queue.depth(WORK)).ready == 1, "SQS keeps no delay longer"
    assert await queue.receive(WORK) == []
    clock.advance(DELAY_MAX_S - DELAY_MOST_S - 0.001)
    assert await queue.receive(WORK) == []
    clock.advance(0.001)
    for attempt in range(1, ATTEMPTS_MAX + 1):
        assert [message.attempts for message in await queue.receive(WORK)] == [attempt]
        clock.advance(LEASE_S)
    assert await queue.receive(WORK) == []
    assert [letter.attempts for letter in await queue.dead_letters(WORK)] == [ATTEMPTS_MAX]


async def test_long_delay_that_nobody_looked_into_counts_from_the_first_receipt(
    queue: SqsQueue, clock: ManualClock
) -> None:
    await queue.send(WORK, b"later", delay_s=2 * DELAY_MOST_S)
    clock.advance(2 * DELAY_MOST_S)
    assert [message.attempts for message in await queue.receive(WORK)] == [1]


async def test_early_message_does_not_keep_others_from_being_received(queue: SqsQueue, clock: ManualClock) -> None:
    await queue.send(WORK, b"later", delay_s=2 * DELAY_MOST_S)
    clock.advance(DELAY_MOST_S)
    await queue.send(WORK, b"now")
    assert [message.body for message in await queue.receive(WORK, limit=1)] == [b"now"]


async def test_longest_delay_of_a_release_stays_within_what_sqs_allows(queue: SqsQueue, clock: ManualClock) -> None:
    await queue.send(WORK, b"one")
    (message,) = await queue.receive(WORK)
    clock.advance(10)
    assert await queue.release(WORK, message.receipt, delay_s=DELAY_MAX_S)
    clock.advance(AWAY_MOST_S - 12)
    assert await queue.receive(WORK) == []
    clock.advance(1)
    assert len(await queue.receive(WORK)) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"=",
        b"text",
        "é ☃ 😀".encode(),
        b"\x00",
        b"\xff\xfe",
        "\ufffe".encode(),
        b"{}\r\n\t",
        b"x" * CONTENT_BYTES_MAX,
    ],
)
async def test_any_bytes_are_a_body(queue: SqsQueue, body: bytes) -> None:
    await queue.send(WORK, body)
    assert [message.body for message in await queue.receive(WORK)] == [body]


@pytest.mark.parametrize("body", [b"x" * (CONTENT_BYTES_MAX + 1), b"\x00" * (CONTENT_BYTES_MAX * 3 // 4 + 1)])
async def test_body_longer_than_sqs_takes_is_invalid_and_nothing_is_sent(queue: SqsQueue, body: bytes) -> None:
    with pytest.raises(Invalid):
        await queue.send(WORK, body)
    assert await queue.depth(WORK) == EMPTY


async def test_message_of_another_sender_has_the_id_and_time_sqs_gave_it(queue: SqsQueue, clock: ManualClock) -> None:
    sent = await raw(queue, "send_message", MessageBody="from a schedule")
    (message,) = await queue.receive(WORK)
    assert (message.id, message.body, message.sent_at) == (sent["MessageId"], b"from a schedule", clock.now())
    assert await queue.ack(WORK, message.receipt)


async def test_longest_body_of_another_sender_can_still_die_and_be_redriven(
    queue: SqsQueue, clock: ManualClock
) -> None:
    text = "x" * (CONTENT_BYTES_MAX + 1)
    await raw(queue, "send_message", MessageBody=text)
    for _ in range(ATTEMPTS_MAX):
        (message,) = await queue.receive(WORK)
        await queue.release(WORK, message.receipt)
    assert [letter.body for letter in await queue.dead_letters(WORK)] == [text.encode()]
    assert await queue.redrive(WORK, [message.id]) == 1
    assert [one.attempts for one in await queue.receive(WORK)] == [1]


async def test_letter_sent_back_by_aws_console_is_alive_and_its_attempts_count_anew(
    queue: SqsQueue, clock: ManualClock
) -> None:
    """Which moves it as it is, with what it says of its death."""
    said = attributes("msg_1", sent_at=clock.now(), attempts=ATTEMPTS_MAX, died_at=clock.now())
    await raw(queue, "send_message", MessageBody="x", MessageAttributes=said)
    for attempt in range(1, ATTEMPTS_MAX + 1):
        assert [message.attempts for message in await queue.receive(WORK)] == [attempt]
        clock.advance(LEASE_S)
    assert await queue.receive(WORK) == []
    assert [letter.died_at for letter in await queue.dead_letters(WORK)] == [clock.now()]


async def test_lease_begins_when_a_message_arrives_and_not_when_the_wait_for_it_began(
    queue: SqsQueue, clock: ManualClock
) -> None:
    waiting = asyncio.create_task(queue.receive(WORK, wait_s=20))
    await clock.run_for(19)
    await queue.send(WORK, b"x")
    await clock.settle()
    (message,) = await waiting
    clock.advance(LEASE_S - 1 - 0.001)
    assert await queue.ack(WORK, message.receipt)


async def test_letter_that_sqs_itself_moved_is_seen_and_redriven(queue: SqsQueue, clock: ManualClock) -> None:
    """As when every process that receives it dies at once."""
    message_id, first = await queue.send(WORK, b"poison"), clock.now()
    for _ in range(ATTEMPTS_MAX + NET):
        await raw(queue, "receive_message")
        clock.advance(LEASE_S)
    assert await queue.receive(WORK) == []
    (letter,) = await queue.dead_letters(WORK)
    assert (letter.id, letter.body, letter.died_at) == (message_id, b"poison", first)
    assert await queue.redrive(WORK, [message_id]) == 1
    assert [message.attempts for message in await queue.receive(WORK)] == [1]


async def test_message_buried_twice_is_one_letter_and_is_redriven_once(queue: SqsQueue, clock: ManualClock) -> None:
    """As when a process dies between the letter and the end of the message."""
    message_id = await queue.send(WORK, b"poison")
    place = queue._places[WORK]
    for _ in range(ATTEMPTS_MAX):
        (message,) = await queue.receive(WORK)
        one = place.held[message.receipt].message
        clock.advance(LEASE_S)
    await place.dead.bury(one, died_at=clock.now())
    assert await queue.receive(WORK) == []
    assert (await queue.depth(WORK)).dead == 2
    assert [letter.id for letter in await queue.dead_letters(WORK)] == [message_id]
    assert await queue.redrive(WORK, [message_id]) == 1
    assert (await queue.depth(WORK)).dead == 0
    assert len(await queue.receive(WORK)) == 1


async def test_wait_of_seconds_is_spent_at_sqs(aws: str) -> None:
    """On the machine's time, where everything else here is on the test's."""
    clock = SystemClock()
    async with aws_client("sqs", aws) as client:
        name = f"interlock-{new_token()}"
        url = (await client.create_queue(QueueName=name))["QueueUrl"]
        calls = Calls(client, clock=clock, random=random, what="SQS")
        spec = SPECS[0]._replace(name=name)
        queue = SqsQueue(calls, [spec], base_url=url.removesuffix(name), clock=clock, ids=SystemIds(clock))
        began = time.monotonic()
        assert await queue.receive(name, wait_s=1.2) == []
        assert 1.2 <= time.monotonic() - began < 15
        message_id = await queue.send(name, b"x")
        assert [message.id for message in await queue.receive(name, wait_s=20)] == [message_id]
        await client.delete_queue(QueueUrl=url)
