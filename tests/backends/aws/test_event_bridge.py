"""Events on a bus to a rule's queue, at the emulator; then EventBridge on bad days."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ReadTimeoutError

from interlock.backends.aws.calls import Calls
from interlock.backends.aws.event_bridge import BYTES_MOST, NO_BUS, TRIES, EventBridge
from interlock.core.kernel.errors import StoreUnavailable
from interlock.core.kernel.events import Event
from tests.backends.aws.stub import HurriedClock, ScriptedClient, refusal
from tests.contracts.on_aws import aws_client, new_token

LOST = ReadTimeoutError(endpoint_url="x")
PUT = {"EventId": "1"}


def event(number: int, *, size: int = 10, kind: str = "payment.succeeded") -> Event:
    data = msgspec.Raw(json.dumps({"text": "x" * size}).encode())
    facts = msgspec.Raw(b'{"journal":"for operators only"}')
    return Event(f"evt_{number}", kind, "ten_1", "pay_1", number, 1_800_000_000_123, data, facts)


def bridge_of(client: Any, bus: str = "interlock") -> EventBridge:
    return EventBridge(
        Calls(client, clock=HurriedClock(), random=random.random, what="EventBridge", missing=NO_BUS),
        bus,
        source="/interlock",
    )


def failed(code: str) -> dict[str, str]:
    return {"ErrorCode": code, "ErrorMessage": code}


def put_ids(client: ScriptedClient) -> list[list[str]]:
    return [[json.loads(entry["Detail"])["id"] for entry in request["Entries"]] for _, request in client.calls]


@pytest.mark.aws
async def test_rule_of_another_gets_the_events_it_asked_for_without_what_is_for_operators(aws: str) -> None:
    async with aws_client("events", aws) as events, aws_client("sqs", aws) as sqs:
        bus = f"interlock-{new_token()}"
        await events.create_event_bus(Name=bus)
        url = (await sqs.create_queue(QueueName=new_token()))["QueueUrl"]
        asked = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        pattern = json.dumps({"source": ["interlock"], "detail-type": ["payment.succeeded"]})
        await events.put_rule(Name="succeeded", EventBusName=bus, EventPattern=pattern)
        target = {"Id": "queue", "Arn": asked["Attributes"]["QueueArn"]}
        await events.put_targets(Rule="succeeded", EventBusName=bus, Targets=[target])
        many = [event(number, kind=f"payment.{('succeeded', 'failed')[number % 2]}") for number in range(24)]
        await bridge_of(events, bus).put(many)
        arrived: list[Any] = []
        while messages := (await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)).get("Messages"):
            arrived += [json.loads(message["Body"]) for message in messages]
    assert sorted(one["detail"]["id"] for one in arrived) == sorted(f"evt_{number}" for number in range(0, 24, 2))
    first = next(one for one in arrived if one["detail"]["id"] == "evt_2")
    assert (first["source"], first["detail-type"]) == ("interlock", "payment.succeeded")
    assert first["detail"] == {
        "specversion": "1.0",
        "id": "evt_2",
        "source": "/interlock",
        "type": "payment.succeeded",
        "subject": "pay_1",
        "time": "2027-01-15T08:00:00.123Z",
        "datacontenttype": "application/json",
        "tenant": "ten_1",
        "version": 2,
        "data": {"text": "x" * 10},
    }


async def test_events_go_by_tens() -> None:
    client = ScriptedClient({"Entries": [PUT] * 10}, {"Entries": [PUT] * 10}, {"Entries": [PUT]})
    await bridge_of(client).put([event(number) for number in range(21)])
    assert [len(ids) for ids in put_ids(client)] == [10, 10, 1]


async def test_nothing_to_put_is_no_call() -> None:
    client = ScriptedClient({})
    await bridge_of(client).put([])
    assert client.calls == []


async def test_events_put_at_once_have_no_more_bytes_than_the_bus_takes() -> None:
    client = ScriptedClient({"Entries": [PUT] * 2}, {"Entries": [PUT]})
    await bridge_of(client).put([event(number, size=BYTES_MOST * 2 // 5) for number in range(3)])
    assert put_ids(client) == [["evt_0", "evt_1"], ["evt_2"]]


async def test_event_too_large_for_the_bus_comes_back_and_holds_up_no_other() -> None:
    client, large = ScriptedClient({"Entries": [PUT] * 2}), event(1, size=BYTES_MOST)
    assert await bridge_of(client).put([event(0), large, event(2)]) == [large]
    assert put_ids(client) == [["evt_0", "evt_2"]]


async def test_only_what_failed_is_put_again() -> None:
    client = ScriptedClient(
        {"Entries": [PUT, failed("ThrottlingException"), failed("InternalFailure")]},
        {"Entries": [failed("InternalException"), PUT]},
        {"Entries": [PUT]},
    )
    await bridge_of(client).put([event(number) for number in range(3)])
    assert put_ids(client) == [["evt_0", "evt_1", "evt_2"], ["evt_1", "evt_2"], ["evt_1"]]


async def test_what_fails_again_and_again_is_unavailable() -> None:
    client = ScriptedClient({"Entries": [failed("ThrottlingException")]})
    with pytest.raises(StoreUnavailable, match="throttles"):
        await bridge_of(client).put([event(0)])
    assert len(client.calls) == TRIES


async def test_what_would_fail_every_time_is_said_at_once() -> None:
    client = ScriptedClient({"Entries": [failed("NotAuthorizedForSourceException")]})
    with pytest.raises(StoreUnavailable, match="NotAuthorizedForSourceException"):
        await bridge_of(client).put([event(0)])
    assert len(client.calls) == 1


@pytest.mark.parametrize(
    "fault", [LOST, refusal("InternalException", status=500), refusal("ResourceNotFoundException")]
)
async def test_bus_that_does_not_answer_or_is_not_there_is_unavailable(fault: Exception) -> None:
    with pytest.raises(StoreUnavailable):
        await bridge_of(ScriptedClient(fault)).put([event(0)])
