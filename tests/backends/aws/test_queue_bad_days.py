"""SQS on bad days, and messages as Lambda hands them over."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from interlock.backends.aws.calls import Calls
from interlock.backends.aws.queue import NO_QUEUE, SqsQueue
from interlock.backends.local.ids import SystemIds
from interlock.core.kernel.errors import StoreUnavailable
from interlock.core.kernel.queue import QueueSpec
from tests.backends.aws.stub import HurriedClock, ScriptedClient, refusal
from tests.clocks import ManualClock

WORK = "webhooks"
LEASE_S, ATTEMPTS_MAX = 30, 3
LOST = ReadTimeoutError(endpoint_url="x")
START_MS = ManualClock().now()


def queue_of(client: ScriptedClient, clock: ManualClock | None = None) -> SqsQueue:
    clock = clock or HurriedClock()
    calls = Calls(client, clock=clock, random=lambda: 0.5, what="SQS", missing=NO_QUEUE)
    ids = SystemIds(clock, random_bits=Random(1).getrandbits)
    return SqsQueue(calls, [QueueSpec(WORK, LEASE_S, ATTEMPTS_MAX)], base_url="https://sqs/", clock=clock, ids=ids)


def message(body: str = "x", *, count: int = 1, handle: str = "handle") -> dict[str, Any]:
    system = {"ApproximateReceiveCount": str(count), "ApproximateFirstReceiveTimestamp": "1", "SentTimestamp": "1"}
    return {"MessageId": f"sqs-{body}", "ReceiptHandle": handle, "Body": body, "Attributes": system}


def record(*, count: int = 1, **said: str) -> dict[str, Any]:
    """As AWS documents a record of an SQS event; `said` are message attributes with a hyphen for the underscore."""
    return {
        "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "body": "Test message.",
        "attributes": {
            "ApproximateReceiveCount": str(count),
            "SentTimestamp": "1545082649183",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1545082649185",
        },
        "messageAttributes": {
            name.replace("_", "-"): {
                "stringValue": value,
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": "Number" if value.isdigit() else "String",
            }
            for name, value in said.items()
        },
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:webhooks",
        "awsRegion": "eu-central-1",
    }


def made(client: ScriptedClient) -> list[str]:
    return [operation for operation, _ in client.calls]


async def test_send_whose_answer_is_lost_is_sent_again_as_the_same_message() -> None:
    client = ScriptedClient(LOST, {})
    message_id = await queue_of(client).send(WORK, b"x")
    assert [request["MessageAttributes"]["id"]["StringValue"] for _, request in client.calls] == [message_id] * 2


@pytest.mark.parametrize("fault", [LOST, refusal("RequestThrottled"), refusal("KmsDisabled")])
async def test_whatever_sqs_does_not_do_is_unavailable_and_safe_to_repeat(fault: Exception) -> None:
    queue = queue_of(ScriptedClient(fault))
    for call in (
        queue.send(WORK, b"x"),
        queue.receive(WORK),
        queue.depth(WORK),
        queue.dead_letters(WORK),
        queue.redrive(WORK, ["msg_1"]),
    ):
        with pytest.raises(StoreUnavailable):
            await call


async def test_queue_that_is_not_there_is_said() -> None:
    with pytest.raises(StoreUnavailable, match="SQS has no such queue: apply the Terraform"):
        await queue_of(ScriptedClient(refusal("AWS.SimpleQueueService.NonExistentQueue"))).send(WORK, b"x")


@pytest.mark.parametrize("count", [1, ATTEMPTS_MAX])
async def test_lease_is_still_held_when_an_ack_or_a_release_could_not_be_done(count: int) -> None:
    client = ScriptedClient({"Messages": [message(count=count)]}, refusal("KmsDisabled"))
    queue = queue_of(client, ManualClock())
    (one,) = await queue.receive(WORK)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await queue.ack(WORK, one.receipt)
        with pytest.raises(StoreUnavailable):
            await queue.release(WORK, one.receipt)
    client.script = [{}]
    assert await queue.ack(WORK, one.receipt)


@pytest.mark.parametrize("code", ["ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight"])
async def test_receipt_that_sqs_no_longer_knows_is_false(code: str) -> None:
    client = ScriptedClient({"Messages": [message("a", handle="a"), message("b", handle="b")]}, refusal(code))
    queue = queue_of(client, ManualClock())
    first, second = await queue.receive(WORK)
    assert not await queue.ack(WORK, first.receipt)
    assert not await queue.release(WORK, second.receipt)


async def test_receipt_whose_lease_has_ended_touches_nothing_but_by_an_ack() -> None:
    """SQS does not promise what an old receipt does while another has the message; of work that is done it may forget it."""
    client = ScriptedClient({"Messages": [message("a", handle="a"), message("b", handle="b")]}, {})
    queue = queue_of(client, clock := ManualClock())
    first, second = await queue.receive(WORK)
    clock.advance(LEASE_S)
    assert not await queue.release(WORK, first.receipt)
    assert not await queue.ack(WORK, second.receipt)
    assert made(client) == ["receive_message", "delete_message"]


async def test_receipts_are_forgotten_a_lease_after_their_end() -> None:
    client = ScriptedClient({"Messages": [message()]}, {})
    queue = queue_of(client, clock := ManualClock())
    (one,) = await queue.receive(WORK)
    clock.advance(2 * LEASE_S + 0.001)
    await queue.receive(WORK)
    assert not await queue.ack(WORK, one.receipt)
    assert made(client) == ["receive_message", "receive_message"]


async def test_poison_that_cannot_be_buried_does_not_keep_others_from_being_received() -> None:
    poison, sound = message("poison", count=ATTEMPTS_MAX + 1), message("sound", handle="other")
    client = ScriptedClient({"Messages": [poison, sound]}, refusal("KmsDisabled"))
    assert [one.body for one in await queue_of(client, ManualClock()).receive(WORK)] == [b"sound"]


async def test_last_attempt_given_back_is_written_down_as_dead_before_it_is_forgotten() -> None:
    client = ScriptedClient({"Messages": [message(count=ATTEMPTS_MAX)]}, {})
    queue = queue_of(client, ManualClock())
    (one,) = await queue.receive(WORK)
    assert await queue.release(WORK, one.receipt)
    assert [(operation, request["QueueUrl"]) for operation, request in client.calls[1:]] == [
        ("send_message", "https://sqs/webhooks-dead"),
        ("delete_message", "https://sqs/webhooks"),
    ]


async def test_redriven_letter_is_sent_before_it_is_forgotten() -> None:
    client = ScriptedClient({"Messages": [message()]}, {})
    assert await queue_of(client).redrive(WORK, ["sqs-x"]) == 1
    assert [(operation, request["QueueUrl"]) for operation, request in client.calls[1:]] == [
        ("send_message", "https://sqs/webhooks"),
        ("delete_message", "https://sqs/webhooks-dead"),
    ]


# -- Lambda -------------------------------------------------------------------------------------------------------------


async def test_record_is_the_message_it_was_sent_as_and_lambda_forgets_it() -> None:
    client = ScriptedClient({})
    one = await queue_of(client).take_record(
        WORK, record(count=2, id="msg_1", sent_at="1545082649000", encoding="base64") | {"body": "AP8="}
    )
    assert one is not None
    assert (one.id, one.body, one.attempts, one.sent_at) == ("msg_1", b"\x00\xff", 2, 1545082649000)
    assert client.calls == []


async def test_record_of_another_sender_has_sqs_own_id_and_time() -> None:
    one = await queue_of(ScriptedClient({})).take_record(WORK, record())
    assert one is not None
    assert (one.id, one.body, one.attempts) == ("059f36b4-87a3-44ab-83d2-661975830a7d", b"Test message.", 1)
    assert one.sent_at == 1545082649183


async def test_record_before_its_time_is_put_back_until_then() -> None:
    client = ScriptedClient({})
    assert await queue_of(client).take_record(WORK, record(id="msg_1", ready_at=str(START_MS + 90_001))) is None
    ((operation, request),) = client.calls
    assert (operation, request["VisibilityTimeout"]) == ("change_message_visibility", 91)


async def test_record_received_once_too_often_is_buried() -> None:
    client = ScriptedClient({})
    assert await queue_of(client).take_record(WORK, record(count=ATTEMPTS_MAX + 1)) is None
    assert made(client) == ["send_message", "delete_message"]


async def test_record_whose_handler_failed_is_given_back_for_its_delay() -> None:
    client = ScriptedClient({})
    queue = queue_of(client)
    one = await queue.take_record(WORK, record())
    assert one is not None
    assert await queue.release(WORK, one.receipt, delay_s=60)
    assert client.calls[0][1]["VisibilityTimeout"] == 60
