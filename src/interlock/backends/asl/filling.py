"""What the expressions of a state come to in one branch of an execution, and the errors that says itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.backends.asl.definition import ALL_ERRORS, Retrier
from interlock.backends.asl.expressions import NotEvaluated, Template, fill
from interlock.backends.asl.run import ROOT, Branch, JobKind, Run
from interlock.backends.asl.tokens import format_token
from interlock.core.kernel.clock import rfc3339
from interlock.core.kernel.errors import Invalid
from interlock.core.kernel.workflows import CAUSE_MAX, ERROR_MAX, OVERSIZE, Json, encode_payload

TIMEOUT, HEARTBEAT = "States.Timeout", "States.HeartbeatTimeout"
TOO_LARGE, RUNTIME = "States.DataLimitExceeded", "States.Runtime"
NOT_EVALUATED, NO_CHOICE = "States.QueryEvaluationError", "States.NoChoiceMatched"
FINAL = frozenset({TOO_LARGE, RUNTIME})
"""No retrier and no catcher sees these, unless it names them."""


class Failed(Exception):
    """A state fails with this error's name."""

    def __init__(self, error: str, cause: str = "") -> None:
        super().__init__(error)
        self.error, self.cause = error[:ERROR_MAX], cause[:CAUSE_MAX]


def context_of(run: Run, at: str) -> Json:
    """`$states.context` in a branch. What else the service puts there, expressions are not let refer to."""
    branch = run.branches[at]
    context: dict[str, Json] = {
        "Execution": {"Id": run.id, "Name": run.name, "StartTime": rfc3339(run.started_at)},
        "StateMachine": {"Name": run.workflow},
        "State": {"Name": branch.state, "RetryCount": sum(branch.retries.values())},
    }
    if at != ROOT:
        context["Map"] = {"Item": {"Index": branch.index, "Value": branch.item}}
    if branch.job is not None and branch.job.kind is JobKind.TOKEN:
        context["Task"] = {"Token": format_token(run.id, at, branch.job.id, branch.job.nonce)}
    return context


def filled_in(run: Run, at: str, value: Template, given: Mapping[str, Json] | None = None) -> Json:
    """`given` is `result` or `errorOutput`, where there is one. Raises Failed."""
    branch = run.branches[at]
    return filled(value, {"input": branch.input, "context": context_of(run, at), **(given or {})}, branch.variables)


def filled(value: Template, states: Mapping[str, Json], variables: Mapping[str, Json]) -> Json:
    """Raises Failed."""
    try:
        return fill(value, states, variables)
    except NotEvaluated as error:
        raise Failed(NOT_EVALUATED, str(error)) from error


def number_in(run: Run, at: str, value: Template, field: str) -> float:
    """Raises Failed for what is no number from zero."""
    number = filled_in(run, at, value)
    if isinstance(number, bool) or not isinstance(number, int | float) or number < 0:
        raise Failed(NOT_EVALUATED, f"{field}: {number!r} is no number from zero")
    return number


def check_size(value: Json) -> None:
    """Raises Failed."""
    try:
        encode_payload(value)
    except Invalid as error:
        raise Failed(TOO_LARGE if error.reason == OVERSIZE else RUNTIME, error.detail) from error


def matches(names: frozenset[str], error: str) -> bool:
    """Whether a retrier or catcher of these names is about the error."""
    if error in names:
        return True
    if error in FINAL:
        return False
    return ALL_ERRORS in names or ("States.TaskFailed" in names and error != TIMEOUT)


def pause_s(branch: Branch, retry: tuple[Retrier, ...], error: str, *, chance: float) -> float | None:
    """Until the next try, which is counted; None when there is none. The first retrier that matches decides."""
    for place, retrier in enumerate(retry):
        if not matches(retrier.errors, error):
            continue
        used = branch.retries.get(str(place), 0)
        if used >= retrier.attempts_max:
            return None
        branch.retries = {**branch.retries, str(place): used + 1}
        pause: float = retrier.interval_s * retrier.backoff**used
        if retrier.delay_max_s is not None:
            pause = min(pause, retrier.delay_max_s)
        return pause * chance if retrier.jitter else pause
    return None
