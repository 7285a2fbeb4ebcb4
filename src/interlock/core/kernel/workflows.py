"""The Workflows port: long-running work in named steps, told by a definition that every runner reads.

A definition is a file of `workflows/` in Amazon States Language with JSONata. A step may be run more than once and its answer
counts once, so steps are idempotent by the execution's name, which they are given.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import msgspec

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import Invalid
from interlock.core.kernel.queue import QueueMessage

Json = Any
"""What JSON can say: null, a truth value, a number, text, a list or an object."""

PAYLOAD_BYTES_MAX = 262_144
"""Of an input, an output and whatever goes from one state to the next, as JSON."""
OVERSIZE = "workflow_payload_too_large"
"""The code of what is refused for its size."""
ERROR_MAX = 256
CAUSE_MAX = 32_768
TOKEN_MAX = 2_048
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}", re.ASCII)


class Status(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """With an error's name: of a step, `States.Timeout`, or the definition's own."""


class Execution(NamedTuple):
    """One run of a workflow."""

    id: str
    workflow: str
    status: Status
    input: Json
    output: Json
    """None until it has succeeded."""
    error: str | None
    cause: str | None
    """For people. A step's error puts JSON here: `errorType` and `errorMessage`."""
    started_at: Millis
    ended_at: Millis | None


class What(StrEnum):
    ENTERED = "entered"
    RETRIED = "retried"
    """A task is begun again after it failed."""
    SUCCEEDED = "succeeded"
    """A task's answer has come."""
    FAILED = "failed"
    """A task's try failed or took too long: with the error's name."""
    LEFT = "left"


class Happening(NamedTuple):
    """One line of an execution's history."""

    state: str
    what: What
    error: str | None = None


class Workflows(Protocol):
    """Raises StoreUnavailable when the runner cannot be reached. An unknown workflow is a KeyError."""

    async def start(self, workflow: str, input: Json, *, id: str) -> str:
        """Begin an execution and return its id, `workflow/id`. Durable when it returns.

        Safe to repeat: the same `id` and input is the same execution, running or over. `id` is 1 to 80 of ASCII letters,
        digits, `_`, `.` and `-`. Raises Conflict for an `id` of the workflow that has another input, Invalid for a
        bad `id` and for an input that is no JSON or above PAYLOAD_BYTES_MAX, OutcomeUnknown if it cannot be told.
        """

    async def signal(self, token: str, output: Json) -> bool:
        """Answer the task that waits for `token`. The first answer counts: True if it was this one.

        Safe to repeat. False, and no effect, when no task waits for the token: it was answered, its time is over, or
        there never was one. Raises Invalid for an output that is no JSON or above PAYLOAD_BYTES_MAX.
        """

    async def signal_failed(self, token: str, *, error: str, cause: str = "") -> bool:
        """As `signal`: the task failed with this error's name (at most 256 characters; `cause` at most 32768), else Invalid."""

    async def describe(self, execution: str) -> Execution:
        """Where an execution is. Raises NotFound."""

    async def history(self, execution: str) -> list[Happening]:
        """What happened so far in the definition's outermost states, in order. Raises NotFound.

        What happens inside a Map is not listed: its output says what became of each item.
        """


RunStep = Callable[[str, Json], Awaitable[Json]]
"""Runs a step by its name, and gives its answer. Raises what the step raises: the exception's class is the error's name."""


class RunsSteps(Protocol):
    """An optional ability of Workflows, of a runner whose steps run in the platform's own worker."""

    async def carry_on(self, message: QueueMessage, run: RunStep) -> bool:
        """Do what a message of the runner's queue is about. False: not now, give the message back. Safe to repeat."""


# What every runner refuses, before anything else.


def check_id(id: str) -> None:
    """Raises Invalid."""
    if _NAME.fullmatch(id) is None:
        raise Invalid(f"{id[:100]!r} is no id of an execution: 1 to 80 letters, digits, _, . and -")


def encode_payload(value: Json) -> bytes:
    """As JSON with members in order, so that equal values are equal text. Raises Invalid."""
    try:
        encoded = msgspec.json.encode(value, order="sorted")
        msgspec.json.decode(encoded)
    except (TypeError, ValueError, RecursionError) as error:
        raise Invalid("not JSON") from error
    if len(encoded) > PAYLOAD_BYTES_MAX:
        raise Invalid(f"{len(encoded)} bytes of JSON; {PAYLOAD_BYTES_MAX} is the most", code=OVERSIZE)
    return encoded


def check_error(error: str, cause: str) -> None:
    """Raises Invalid."""
    if not 0 < len(error) <= ERROR_MAX or len(cause) > CAUSE_MAX:
        raise Invalid(f"an error has 1 to {ERROR_MAX} characters and a cause at most {CAUSE_MAX}")
