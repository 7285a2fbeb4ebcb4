"""One-time schedules at the emulator, which fires them on the machine's time; then Scheduler on bad days."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ReadTimeoutError

from interlock.backends.aws.calls import Calls
from interlock.backends.aws.schedules import SOONEST_S, TRIES, OneTimeSchedules
from interlock.core.kernel.errors import Invalid, StoreUnavailable
from tests.backends.aws.stub import HurriedClock, ScriptedClient, refusal
from tests.clocks import ManualClock
from tests.contracts.on_aws import aws_client, new_token

LOST = ReadTimeoutError(endpoint_url="x")
TAKEN, ABSENT = refusal("ConflictException", status=409), refusal("ResourceNotFoundException", status=404)
ROLE = "arn:aws:iam::000000000000:role/scheduler"
START_MS = ManualClock().now()


def schedules_of(
    client: Any, clock: ManualClock | None = None, *, group: str = "interlock", target: str = "arn:aws:sqs:x:0:sweep"
) -> OneTimeSchedules:
    clock = clock or HurriedClock()
    calls = Calls(client, clock=clock, random=random.random, what="Scheduler", missing={})
    given: Any = {"group": group, "target_arn": target, "role_arn": ROLE, "dead_letter_arn": f"{target}-dead"}
    return OneTimeSchedules(calls, clock=clock, new_token=new_token, **given)


class At(NamedTuple):
    scheduler: Any
    sqs: Any
    group: str
    queue: str
    target: str


@pytest.fixture
async def at(aws: str) -> AsyncIterator[At]:
    async with aws_client("scheduler", aws) as scheduler, aws_client("sqs", aws) as sqs:
        group = f"interlock-{new_token()}"
        await scheduler.create_schedule_group(Name=group)
        url = (await sqs.create_queue(QueueName=new_token()))["QueueUrl"]
        asked = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        yield At(scheduler, sqs, group, url, asked["Attributes"]["QueueArn"])


async def names(at: At) -> list[str]:
    return [one["Name"] for one in (await at.scheduler.list_schedules(GroupName=at.group))["Schedules"]]


@pytest.mark.aws
async def test_schedule_is_made_once_moved_and_cancelled(at: At) -> None:
    schedules = schedules_of(at.scheduler, group=at.group, target=at.target)
    for due in (START_MS + 3_600_000, START_MS + 3_600_000, START_MS + 7_200_001):
        await schedules.set("expiry-pay_1", at=due, body='{"payment":"pay_1"}')
        assert await names(at) == ["expiry-pay_1"]
    found = await at.scheduler.get_schedule(Name="expiry-pay_1", GroupName=at.group)
    assert found["ScheduleExpression"] == "at(2027-01-15T10:00:01)"
    assert found["ActionAfterCompletion"] == "DELETE"
    assert found["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert found["Target"]["Input"] == '{"payment":"pay_1"}'
    assert found["Target"]["DeadLetterConfig"] == {"Arn": f"{at.target}-dead"}
    assert [await schedules.cancel("expiry-pay_1") for _ in range(2)] == [True, False]
    assert await names(at) == []


@pytest.mark.aws
async def test_schedule_that_is_due_sends_its_body_once_and_is_gone(at: At) -> None:
    a_minute_ago = ManualClock(int(time.time() - SOONEST_S) * 1_000)
    schedules = schedules_of(at.scheduler, a_minute_ago, group=at.group, target=at.target)
    await schedules.set("sweep", at=0, body='{"sweep":1}')
    answer = await at.sqs.receive_message(QueueUrl=at.queue, WaitTimeSeconds=20)
    assert [message["Body"] for message in answer["Messages"]] == ['{"sweep":1}']
    answer = await at.sqs.receive_message(QueueUrl=at.queue, WaitTimeSeconds=2)
    assert "Messages" not in answer
    assert await names(at) == []
    assert await schedules.cancel("sweep") is False


@pytest.mark.aws
async def test_group_that_is_not_there_is_said(at: At) -> None:
    with pytest.raises(StoreUnavailable, match="no schedule group elsewhere"):
        await schedules_of(at.scheduler, group="elsewhere").set("one", at=START_MS, body="x")


@pytest.mark.parametrize(
    ("due_ms", "said"),
    [(0, "08:01:00"), (59_999, "08:01:00"), (60_000, "08:01:00"), (60_001, "08:01:01"), (61_000, "08:01:01")],
)
async def test_schedule_is_never_due_too_early_nor_in_the_past(due_ms: int, said: str) -> None:
    client = ScriptedClient({})
    await schedules_of(client, ManualClock()).set("one", at=START_MS + due_ms, body="x")
    assert client.calls[0][1]["ScheduleExpression"] == f"at(2027-01-15T{said})"


async def test_schedule_that_is_done_while_it_is_moved_is_made_anew() -> None:
    client = ScriptedClient(TAKEN, ABSENT, {})
    await schedules_of(client).set("one", at=START_MS, body="x")
    assert [operation for operation, _ in client.calls] == ["create_schedule", "update_schedule", "create_schedule"]


async def test_schedule_that_others_make_and_cancel_again_and_again_is_unavailable() -> None:
    client = ScriptedClient(*[TAKEN, ABSENT] * TRIES)
    with pytest.raises(StoreUnavailable):
        await schedules_of(client).set("one", at=START_MS, body="x")
    assert len(client.calls) == 2 * TRIES


async def test_set_whose_answer_is_lost_is_repeated_under_its_token_and_a_later_one_has_another() -> None:
    client = ScriptedClient(LOST, {})
    schedules = schedules_of(client)
    await schedules.set("one", at=START_MS, body="x")
    await schedules.set("one", at=START_MS, body="x")
    tokens = [request["ClientToken"] for _, request in client.calls]
    assert tokens[0] == tokens[1] != tokens[2]


@pytest.mark.parametrize("fault", [LOST, refusal("ThrottlingException"), refusal("ServiceQuotaExceededException")])
async def test_what_scheduler_does_not_do_is_unavailable(fault: Exception) -> None:
    schedules = schedules_of(ScriptedClient(fault))
    with pytest.raises(StoreUnavailable):
        await schedules.set("one", at=START_MS, body="x")
    with pytest.raises(StoreUnavailable):
        await schedules.cancel("one")


@pytest.mark.parametrize(
    ("name", "body"),
    [("", "x"), ("a b", "x"), ("a/b", "x"), ("é", "x"), ("x" * 65, "x"), ("a", ""), ("a", "é" * 32_769)],
)
async def test_name_or_body_that_scheduler_does_not_take_is_invalid_and_nothing_is_asked(name: str, body: str) -> None:
    client = ScriptedClient({})
    with pytest.raises(Invalid):
        await schedules_of(client).set(name, at=START_MS, body=body)
    assert client.calls == []


async def test_cancel_of_a_name_that_scheduler_does_not_take_is_invalid() -> None:
    with pytest.raises(Invalid):
        await schedules_of(ScriptedClient({})).cancel("a b")
