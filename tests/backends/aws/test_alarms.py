"""Alarms through a topic to the queues that subscribed, at the emulator; then what is refused, and SNS on bad days."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from interlock.backends.aws.alarms import NO_TOPIC, SUBJECT_MOST, WHAT_MOST, SnsAlarms
from interlock.backends.aws.calls import Calls
from interlock.core.kernel.alarms import Alarm, Severity
from interlock.core.kernel.errors import Invalid, StoreUnavailable
from tests.backends.aws.stub import HurriedClock, ScriptedClient, refusal
from tests.contracts.on_aws import aws_client, new_token

RUNBOOKS = "https://docs.example/alarms"
RUNBOOK = f"{RUNBOOKS}/dead-letters.md"
ALARM = Alarm("dead-letters", Severity.CRITICAL, "3 webhooks died", {"queue": "webhooks"})
LOST = ReadTimeoutError(endpoint_url="x")


def alarms_of(client: Any, topic: str = "arn:aws:sns:eu-central-1:0:alarms") -> SnsAlarms:
    clock = HurriedClock()
    calls = Calls(client, clock=clock, random=random.random, what="SNS", missing=NO_TOPIC)
    return SnsAlarms(calls, topic, runbooks=RUNBOOKS, clock=clock)


@pytest.mark.aws
async def test_alarm_reaches_every_subscriber_whose_filter_fits(aws: str) -> None:
    async with aws_client("sns", aws) as sns, aws_client("sqs", aws) as sqs:
        topic = (await sns.create_topic(Name=f"alarms-{new_token()}"))["TopicArn"]
        urls = []
        for wanted in (["critical"], ["warning"], ["critical", "warning"]):
            url = (await sqs.create_queue(QueueName=new_token()))["QueueUrl"]
            asked = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
            chosen = {"FilterPolicy": json.dumps({"severity": wanted}), "RawMessageDelivery": "true"}
            arn = asked["Attributes"]["QueueArn"]
            await sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=chosen)
            urls.append(url)
        await alarms_of(sns, topic).raise_alarm(ALARM)
        arrived = []
        for url in urls:
            answer = await sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"])
            arrived.append([(one["Body"], one["MessageAttributes"]) for one in answer.get("Messages", ())])
    assert [len(messages) for messages in arrived] == [1, 0, 1]
    ((body, attributes),) = arrived[0]
    said = json.loads(body)
    assert {name: said[name] for name in ("alarm", "severity", "what", "runbook", "attributes")} == {
        "alarm": "dead-letters",
        "severity": "critical",
        "what": "3 webhooks died",
        "runbook": RUNBOOK,
        "attributes": {"queue": "webhooks"},
    }
    assert {name: value["StringValue"] for name, value in attributes.items()} == {
        "alarm": "dead-letters",
        "severity": "critical",
        "queue": "webhooks",
    }


async def test_people_get_a_line_and_a_page_and_machines_the_same_in_fields() -> None:
    client = ScriptedClient({})
    await alarms_of(client).raise_alarm(ALARM)
    ((operation, request),) = client.calls
    message = json.loads(request["Message"])
    assert (operation, request["Subject"]) == ("publish", "[critical] dead-letters: 3 webhooks died")
    assert message["email"] == f"3 webhooks died\n\nWhat to do: {RUNBOOK}\n"
    assert json.loads(message["default"])["alarm"] == "dead-letters"


async def test_long_or_broken_text_is_cut_to_what_sns_takes() -> None:
    client = ScriptedClient({})
    await alarms_of(client).raise_alarm(ALARM._replace(what="line\r\nnext " + "é" * 5_000))
    ((_, request),) = client.calls
    subject = request["Subject"]
    assert len(subject) == SUBJECT_MOST
    assert subject.startswith("[critical] dead-letters: line next é")
    assert subject.endswith("…")
    assert len(json.loads(json.loads(request["Message"])["default"])["what"]) == WHAT_MOST


@pytest.mark.parametrize(
    "alarm",
    [
        ALARM._replace(name=""),
        ALARM._replace(name="Dead Letters"),
        ALARM._replace(what=""),
        ALARM._replace(attributes={"severity": "warning"}),
        ALARM._replace(attributes={str(number): "x" for number in range(9)}),
        ALARM._replace(attributes={"queue": ""}),
        ALARM._replace(attributes={"queue": "x" * 257}),
        ALARM._replace(attributes={"AWS.queue": "x"}),
    ],
)
async def test_alarm_that_says_too_little_or_too_much_is_invalid_and_nobody_is_told(alarm: Alarm) -> None:
    client = ScriptedClient({})
    with pytest.raises(Invalid):
        await alarms_of(client).raise_alarm(alarm)
    assert client.calls == []


async def test_alarm_whose_answer_is_lost_is_told_again() -> None:
    client = ScriptedClient(LOST, refusal("Throttling"), {})
    await alarms_of(client).raise_alarm(ALARM)
    assert len(client.calls) == 3


@pytest.mark.parametrize("fault", [LOST, refusal("KMSDisabled"), refusal("NotFound"), refusal("AuthorizationError")])
async def test_alarm_that_sns_does_not_take_is_unavailable(fault: Exception) -> None:
    with pytest.raises(StoreUnavailable):
        await alarms_of(ScriptedClient(fault)).raise_alarm(ALARM)
