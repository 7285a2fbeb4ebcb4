"""The Workflows port on AWS Step Functions: standard workflows, one state machine for each definition.

Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html and API_SendTaskSuccess.html,
API_GetExecutionHistory.html there (checked 2026-11-27)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from interlock.backends.aws.calls import Answer, Calls, Refused
from interlock.core.kernel.clock import SECOND, Millis
from interlock.core.kernel.errors import Conflict, Invalid, NotFound, StoreUnavailable
from interlock.core.kernel.workflows import (
    Execution,
    Happening,
    Json,
    Status,
    What,
    Workflows,
    check_error,
    check_id,
    encode_payload,
)

EVENTS_AT_ONCE = 1_000
TAKEN = "ExecutionAlreadyExists"
ABSENT = frozenset({"ExecutionDoesNotExist", "InvalidArn"})
NOBODY_WAITS = frozenset({"TaskDoesNotExist", "TaskTimedOut", "InvalidToken"})
STATUSES = {"RUNNING": Status.RUNNING, "PENDING_REDRIVE": Status.RUNNING, "SUCCEEDED": Status.SUCCEEDED}
"""Any other is a failure."""
OVER_TIME, ABORTED = "States.Timeout", "Aborted"
ITEMS = ("Map", "Parallel")


class StepFunctionsWorkflows:
    def __init__(self, calls: Calls, state_machines: Mapping[str, str]) -> None:
        """`state_machines`: workflow -> the ARN of its state machine."""
        self._calls, self._state_machines = calls, state_machines

    async def start(self, workflow: str, input: Json, *, id: str) -> str:
        machine = self._state_machines[workflow]
        check_id(id)
        encoded = encode_payload(input)
        try:
            await self._calls.write("start_execution", stateMachineArn=machine, name=id, input=encoded.decode())
        except Refused as refused:
            if refused.code != TAKEN:
                raise _unavailable(refused) from refused
            known = await self.describe(f"{workflow}/{id}")
            if encode_payload(known.input) != encoded:
                raise Conflict(f"{known.id} was started with another input", code="workflow_input_differs") from refused
        return f"{workflow}/{id}"

    async def signal(self, token: str, output: Json) -> bool:
        return await self._signalled("send_task_success", token, output=encode_payload(output).decode())

    async def signal_failed(self, token: str, *, error: str, cause: str = "") -> bool:
        check_error(error, cause)
        return await self._signalled("send_task_failure", token, error=error, cause=cause)

    async def describe(self, execution: str) -> Execution:
        found = await self._read("describe_execution", execution)
        status = STATUSES.get(found["status"], Status.FAILED)
        failed = status is Status.FAILED
        given = {"TIMED_OUT": OVER_TIME, "ABORTED": ABORTED}.get(found["status"], "States.Runtime")
        return Execution(
            execution,
            execution.partition("/")[0],
            status,
            msgspec.json.decode(found["input"]),
            msgspec.json.decode(found["output"]) if status is Status.SUCCEEDED else None,
            (found.get("error") or given) if failed else None,
            found.get("cause", "") if failed else None,
            _millis(found["startDate"]),
            None if status is Status.RUNNING else _millis(found["stopDate"]),
        )

    async def history(self, execution: str) -> list[Happening]:
        events: list[Answer] = []
        more: dict[str, Any] = {}
        while True:
            page = await self._read(
                "get_execution_history", execution, maxResults=EVENTS_AT_ONCE, includeExecutionData=False, **more
            )
            events += page["events"]
            if "nextToken" not in page:
                return list(happenings(events))
            more = {"nextToken": page["nextToken"]}

    async def _signalled(self, operation: str, token: str, **answer: str) -> bool:
        if not token:
            return False
        try:
            await self._calls.write(operation, taskToken=token, **answer)
        except Refused as refused:
            if refused.code in NOBODY_WAITS:
                # An earlier try of ours, whose answer was lost, may be what ended the wait: it is answered either way.
                return refused.after_unclear
            raise _unavailable(refused) from refused
        return True

    async def _read(self, operation: str, execution: str, **more: Any) -> Answer:
        try:
            return await self._calls.read(operation, executionArn=self._arn(execution), **more)
        except Refused as refused:
            if refused.code in ABSENT:
                raise NotFound("no such execution") from refused
            raise _unavailable(refused) from refused

    def _arn(self, execution: str) -> str:
        workflow, _, name = execution.partition("/")
        machine = self._state_machines.get(workflow)
        try:
            check_id(name)
        except Invalid:
            machine = None
        if machine is None:
            raise NotFound("no such execution")
        return f"{machine.replace(':stateMachine:', ':execution:', 1)}:{name}"


def happenings(events: Iterable[Answer]) -> Iterable[Happening]:
    """The port's history from the service's. What happens between a Map's entrance and its exit is the Map's own."""
    state, failed, depth = "", False, 0
    for event in events:
        kind = str(event["type"])
        entered, left = kind.endswith("StateEntered"), kind.endswith("StateExited")
        if depth:
            depth += (entered and kind.startswith(ITEMS)) - (left and kind.startswith(ITEMS))
            if depth == 0:
                yield Happening(state, What.LEFT)
            continue
        if entered:
            state, failed = event["stateEnteredEventDetails"]["name"], False
            depth += kind.startswith(ITEMS)
            yield Happening(state, What.ENTERED)
        elif left:
            yield Happening(state, What.LEFT)
        elif kind == "TaskScheduled" and failed:
            failed = False
            yield Happening(state, What.RETRIED)
        elif kind == "TaskSucceeded":
            yield Happening(state, What.SUCCEEDED)
        elif kind in FAILURES:
            failed = True
            yield Happening(state, What.FAILED, _error_of(event))


FAILURES = {
    "TaskFailed": "taskFailedEventDetails",
    "TaskTimedOut": "taskTimedOutEventDetails",
    "TaskStartFailed": "taskStartFailedEventDetails",
    "TaskSubmitFailed": "taskSubmitFailedEventDetails",
}
"""Event -> where its error is told."""


def _error_of(event: Answer) -> str:
    return str(event.get(FAILURES[event["type"]], {}).get("error") or OVER_TIME)


def _millis(at: Any) -> Millis:
    return round(float(at.timestamp()) * SECOND)


def _unavailable(refused: Refused) -> Exception:
    if refused.code in ("InvalidName", "InvalidExecutionInput", "InvalidOutput"):
        return Invalid(f"Step Functions refused: {refused.code}")
    return StoreUnavailable(f"Step Functions refused: {refused.code}")


_port: type[Workflows] = StepFunctionsWorkflows
"""Held against its port here until a bootstrap joins them."""
