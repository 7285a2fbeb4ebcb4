"""Step Functions on bad days, and what it says that its emulator does not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from interlock.backends.aws.step_functions import StepFunctionsWorkflows, happenings
from interlock.core.kernel.errors import Conflict, Invalid, NotFound, OutcomeUnknown, StoreUnavailable
from interlock.core.kernel.workflows import Happening, Status, What
from tests.backends.aws.stub import ScriptedClient, calls_of, refusal

MACHINE = "arn:aws:states:eu-central-1:1:stateMachine:prod-say"
EXECUTION = "arn:aws:states:eu-central-1:1:execution:prod-say:s1"
LOST = ReadTimeoutError(endpoint_url="x")
AT = datetime(2026, 11, 27, 1, 2, 3, 456_000, tzinfo=UTC)


def workflows_of(client: ScriptedClient) -> StepFunctionsWorkflows:
    return StepFunctionsWorkflows(calls_of(client), {"say": MACHINE})


def described(status: str = "RUNNING", input: str = "{}", **more: Any) -> dict[str, Any]:
    return {"status": status, "input": input, "startDate": AT, "stopDate": AT, **more}


async def test_start_whose_answer_is_lost_is_repeated_under_its_name() -> None:
    client = ScriptedClient(LOST, {})
    assert await workflows_of(client).start("say", {"b": 1, "a": 2}, id="s1") == "say/s1"
    asked = {"stateMachineArn": MACHINE, "name": "s1", "input": '{"a":2,"b":1}'}
    assert client.calls == [("start_execution", asked)] * 2


async def test_start_that_is_there_already_is_compared_with_what_was_asked() -> None:
    taken = refusal("ExecutionAlreadyExists")
    same = ScriptedClient(taken, described("SUCCEEDED", '{ "a": 1 }', output="1"))
    assert await workflows_of(same).start("say", {"a": 1}, id="s1") == "say/s1"
    assert same.calls[1] == ("describe_execution", {"executionArn": EXECUTION})
    with pytest.raises(Conflict):
        await workflows_of(ScriptedClient(taken, described(input='{"a":2}'))).start("say", {"a": 1}, id="s1")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (LOST, OutcomeUnknown),
        (refusal("ThrottlingException"), StoreUnavailable),
        (refusal("ExecutionLimitExceeded"), StoreUnavailable),
        (refusal("StateMachineDoesNotExist"), StoreUnavailable),
        (refusal("AccessDeniedException"), StoreUnavailable),
        (refusal("InvalidExecutionInput"), Invalid),
    ],
    ids=lambda one: str(one)[:30],
)
async def test_start_that_cannot_be_made_says_what_the_caller_may_do(fault: Exception, error: type[Exception]) -> None:
    with pytest.raises(error):
        await workflows_of(ScriptedClient(fault)).start("say", {}, id="s1")


@pytest.mark.parametrize("code", ["TaskDoesNotExist", "TaskTimedOut", "InvalidToken"])
async def test_answer_to_a_task_that_does_not_wait_is_not_heard(code: str) -> None:
    client = ScriptedClient(refusal(code))
    assert await workflows_of(client).signal("token", 1) is False
    assert await workflows_of(client).signal_failed("token", error="X") is False


async def test_answer_that_was_lost_once_and_is_not_wanted_then_was_ours() -> None:
    client = ScriptedClient(LOST, refusal("TaskTimedOut"))
    assert await workflows_of(client).signal("token", 1) is True


async def test_answer_whose_fate_stays_unknown_is_told_as_such() -> None:
    with pytest.raises(OutcomeUnknown):
        await workflows_of(ScriptedClient(LOST)).signal("token", 1)


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (described("TIMED_OUT"), Status.FAILED, "States.Timeout"),
        (described("ABORTED"), Status.FAILED, "Aborted"),
        (described("FAILED"), Status.FAILED, "States.Runtime"),
        (described("FAILED", error="X", cause="why"), Status.FAILED, "X"),
        (described("PENDING_REDRIVE"), Status.RUNNING, None),
        (described("SUCCEEDED", output="null"), Status.SUCCEEDED, None),
    ],
)
async def test_every_status_of_the_service_is_one_of_the_ports(answer: Any, status: Status, error: str | None) -> None:
    found = await workflows_of(ScriptedClient(answer)).describe("say/s1")
    assert (found.status, found.error) == (status, error)
    assert found.started_at == 1_795_741_323_456
    assert found.ended_at == (None if status is Status.RUNNING else found.started_at)


async def test_execution_the_service_does_not_know_is_not_found_and_trouble_is_trouble() -> None:
    for call in ("describe", "history"):
        with pytest.raises(NotFound):
            await getattr(workflows_of(ScriptedClient(refusal("ExecutionDoesNotExist"))), call)("say/s1")
        with pytest.raises(StoreUnavailable):
            await getattr(workflows_of(ScriptedClient(LOST)), call)("say/s1")


# -- history -----------------------------------------------------------------------------------------------------------


def entered(name: str, kind: str = "Task") -> dict[str, Any]:
    return {"type": f"{kind}StateEntered", "stateEnteredEventDetails": {"name": name}}


def left(kind: str = "Task") -> dict[str, Any]:
    return {"type": f"{kind}StateExited", "stateExitedEventDetails": {}}


def plain(*types: str) -> list[dict[str, Any]]:
    return [{"type": one} for one in types]


TIMED_OUT = {"type": "TaskTimedOut", "taskTimedOutEventDetails": {"error": "States.Timeout"}}
FAILED = {"type": "TaskFailed", "taskFailedEventDetails": {"error": "Unavailable", "cause": "{}"}}


async def test_history_of_many_pages_is_read_to_its_end() -> None:
    pages = [{"events": [entered("A")], "nextToken": "more"}, {"events": [*plain("TaskScheduled"), left()]}]
    client = ScriptedClient(*pages)
    assert await workflows_of(client).history("say/s1") == [
        Happening("A", What.ENTERED),
        Happening("A", What.LEFT),
    ]
    assert [request.get("nextToken") for _, request in client.calls] == [None, "more"]
    assert all(request["includeExecutionData"] is False for _, request in client.calls)


def test_tries_of_a_task_are_told_by_what_they_came_to() -> None:
    events = [
        *plain("ExecutionStarted"),
        entered("A"),
        *plain("TaskScheduled", "TaskStarted"),
        TIMED_OUT,
        *plain("TaskScheduled", "TaskStarted"),
        FAILED,
        *plain("TaskScheduled", "TaskStarted", "TaskSubmitted", "TaskSucceeded"),
        left(),
        *plain("ExecutionSucceeded"),
    ]
    assert list(happenings(events)) == [
        Happening("A", What.ENTERED),
        Happening("A", What.FAILED, "States.Timeout"),
        Happening("A", What.RETRIED),
        Happening("A", What.FAILED, "Unavailable"),
        Happening("A", What.RETRIED),
        Happening("A", What.SUCCEEDED),
        Happening("A", What.LEFT),
    ]


def test_what_happens_inside_a_map_is_not_told_however_deep() -> None:
    inside = [
        *plain("MapStateStarted", "MapIterationStarted"),
        entered("Inner"),
        *plain("TaskScheduled"),
        FAILED,
        *plain("TaskScheduled", "TaskSucceeded"),
        left(),
        entered("Deeper", "Map"),
        entered("Deepest", "Pass"),
        left("Pass"),
        left("Map"),
        *plain("MapIterationSucceeded", "MapStateSucceeded"),
    ]
    events = [entered("M", "Map"), *inside, left("Map"), entered("Z", "Pass"), left("Pass")]
    assert list(happenings(events)) == [
        Happening("M", What.ENTERED),
        Happening("M", What.LEFT),
        Happening("Z", What.ENTERED),
        Happening("Z", What.LEFT),
    ]
