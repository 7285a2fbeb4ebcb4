"""The Workflows port's promises, over every runner. One section per method, in the port's order."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from interlock.backends.asl.definition import read_definition
from interlock.backends.asl.workflows import LocalWorkflows
from interlock.backends.aws.step_functions import StepFunctionsWorkflows
from interlock.core.kernel.errors import Conflict, Invalid, NotFound
from interlock.core.kernel.workflows import PAYLOAD_BYTES_MAX, Happening, Status, What, Workflows
from tests.clocks import ManualClock
from tests.workflows.on_emulator import deployed
from tests.workflows.runners import Emulated, Runner, asked, finished, memory_runner, sqlite_runner
from tests.workflows.scripted import asked as all_asked
from tests.workflows.scripted import script

INVOKE = "arn:aws:states:::lambda:invoke"
GREET = {
    "Type": "Task",
    "Resource": INVOKE,
    "Arguments": {
        "FunctionName": "${step_greet}",
        "Payload": {"execution": "{% $states.context.Execution.Name %}", "whom": "{% $states.input %}"},
    },
    "TimeoutSeconds": 20,
    "Output": "{% $states.result.Payload %}",
    "End": True,
}
ASK = {
    "Type": "Task",
    "Resource": f"{INVOKE}.waitForTaskToken",
    "Arguments": {
        "FunctionName": "${step_ask}",
        "Payload": {
            "execution": "{% $states.context.Execution.Name %}",
            "token": "{% $states.context.Task.Token %}",
        },
    },
    "TimeoutSeconds": 60,
    "End": True,
}
REFUSE = {"Type": "Fail", "Error": "NotToday", "Cause": "it is closed"}


def definition(states: dict[str, Any]) -> str:
    return json.dumps({"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states})


TEXTS = {
    "greet": definition({"Greet": GREET}),
    "greet_too": definition({"Greet": GREET}),
    "ask": definition({"Ask": ASK}),
    "ask_briefly": definition({"Ask": ASK | {"TimeoutSeconds": 3}}),
    "ask_two": definition(
        {
            "Ask": {name: value for name, value in ASK.items() if name != "End"} | {"Next": "AskMore"},
            "AskMore": ASK | {"TimeoutSeconds": 20},
        }
    ),
    "say": definition({"Say": {"Type": "Pass", "Next": "SayMore"}, "SayMore": {"Type": "Pass", "End": True}}),
    "refuse": definition({"Begin": {"Type": "Pass", "Next": "Refuse"}, "Refuse": REFUSE}),
}


class Pair(NamedTuple):
    """Two of them on the same executions, as two processes or two parts of one would have."""

    runner: Runner
    other: Workflows

    @property
    def workflows(self) -> Workflows:
        return self.runner.workflows


@pytest.fixture(params=["memory", "sqlite", pytest.param("step_functions", marks=pytest.mark.aws)])
async def pair(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Pair]:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    if request.param == "step_functions":
        async with deployed(request.getfixturevalue("aws"), TEXTS, scripts) as (calls, machines):
            workflows, other = (StepFunctionsWorkflows(calls, machines) for _ in range(2))
            yield Pair(Emulated(workflows, scripts), other)
        return
    opened = memory_runner if request.param == "memory" else sqlite_runner
    async with opened(TEXTS, scripts, clock) as runner:
        elsewhere = LocalWorkflows(
            runner.store,
            runner.queue,
            [read_definition(name, text) for name, text in TEXTS.items()],
            clock=clock,
            telemetry=runner.telemetry,
            random=random.random,
            new_nonce=lambda: random.randbytes(16).hex(),
        )
        yield Pair(runner, elsewhere)


@pytest.fixture
def workflows(pair: Pair) -> Workflows:
    return pair.workflows


async def asking(pair: Pair, workflow: str = "ask") -> tuple[str, str]:
    """An execution that waits for an answer, and its token."""
    script(pair.runner.scripts, "a", {})
    execution = await pair.workflows.start(workflow, {}, id="a")
    return execution, str((await asked(pair.runner, execution, "ask"))["token"])


# -- start --------------------------------------------------------------------------------------------------------------


async def test_started_execution_is_seen_elsewhere_and_comes_to_its_output(pair: Pair) -> None:
    script(pair.runner.scripts, "g1", {"greet": [{"gives": {"hello": "ann"}}]})
    execution = await pair.workflows.start("greet", {"name": "ann"}, id="g1")
    assert execution == "greet/g1"
    found = await pair.other.describe(execution)
    assert (found.id, found.workflow, found.input) == (execution, "greet", {"name": "ann"})
    done = await finished(pair.runner, execution)
    assert (done.status, done.output, done.error, done.cause) == (Status.SUCCEEDED, {"hello": "ann"}, None, None)


async def test_same_id_and_input_is_the_same_execution_while_it_runs_and_when_it_is_over(pair: Pair) -> None:
    script(pair.runner.scripts, "g1", {"greet": [{"gives": 1}, {"gives": 2}]})
    execution = await pair.workflows.start("greet", {"a": 1, "b": [2]}, id="g1")
    assert await pair.other.start("greet", {"b": [2], "a": 1}, id="g1") == execution
    done = await finished(pair.runner, execution)
    assert await pair.other.start("greet", {"a": 1, "b": [2]}, id="g1") == execution
    for _ in range(5):
        await pair.runner.pause()
    assert await pair.workflows.describe(execution) == done
    assert len(all_asked(pair.runner.scripts, "g1", "greet")) == 1


async def test_same_id_with_another_input_is_a_conflict_and_changes_nothing(pair: Pair) -> None:
    execution = await pair.workflows.start("say", {"a": 1}, id="s1")
    with pytest.raises(Conflict):
        await pair.other.start("say", {"a": 2}, id="s1")
    done = await finished(pair.runner, execution)
    assert (done.input, done.output) == ({"a": 1}, {"a": 1})
    with pytest.raises(Conflict):
        await pair.other.start("say", {}, id="s1")


async def test_of_many_starts_of_one_id_at_once_one_execution_comes(pair: Pair) -> None:
    script(pair.runner.scripts, "g1", {"greet": [{"gives": 1}]})
    both = (pair.workflows, pair.other)
    started = await asyncio.gather(*(both[n % 2].start("greet", {"a": 1}, id="g1") for n in range(6)))
    assert set(started) == {"greet/g1"}
    await finished(pair.runner, "greet/g1")
    assert len(all_asked(pair.runner.scripts, "g1", "greet")) == 1


async def test_one_id_in_two_workflows_is_two_executions(pair: Pair) -> None:
    await pair.workflows.start("say", 1, id="same")
    await pair.workflows.start("refuse", 2, id="same")
    assert (await finished(pair.runner, "say/same")).output == 1
    assert (await finished(pair.runner, "refuse/same")).input == 2


@pytest.mark.parametrize("id", ["", "a b", "a/b", "ä", "a\n", "x" * 81, "a:b", "a*"])
async def test_bad_id_is_invalid(workflows: Workflows, id: str) -> None:
    with pytest.raises(Invalid):
        await workflows.start("say", {}, id=id)


@pytest.mark.parametrize("id", ["a", "A-b_c.9", "x" * 80])
async def test_good_id_is_taken(pair: Pair, id: str) -> None:
    assert (await finished(pair.runner, await pair.workflows.start("say", {}, id=id))).status is Status.SUCCEEDED


@pytest.mark.parametrize("input", [None, True, 0, -1.5, "text: ä \U0001f642", [], {}, {"a": {"b": [None, 1, "x"]}}])
async def test_whatever_json_can_say_comes_through_unchanged(pair: Pair, input: Any) -> None:
    done = await finished(pair.runner, await pair.workflows.start("say", input, id="s1"))
    assert (done.input, done.output) == (input, input)


async def test_input_above_the_limit_is_invalid_and_the_longest_is_taken(pair: Pair) -> None:
    longest = "x" * (PAYLOAD_BYTES_MAX - 2)
    with pytest.raises(Invalid):
        await pair.workflows.start("say", longest + "x", id="s1")
    with pytest.raises(NotFound):
        await pair.workflows.describe("say/s1")
    done = await finished(pair.runner, await pair.workflows.start("say", longest, id="s1"))
    assert (done.status, done.output) == (Status.SUCCEEDED, longest)


async def test_input_that_is_no_json_is_invalid(workflows: Workflows) -> None:
    with pytest.raises(Invalid):
        await workflows.start("say", {"a": object()}, id="s1")


async def test_unknown_workflow_is_a_key_error(workflows: Workflows) -> None:
    with pytest.raises(KeyError):
        await workflows.start("sing", {}, id="s1")


# -- signal -------------------------------------------------------------------------------------------------------------


async def test_first_answer_counts_and_one_given_again_changes_nothing(pair: Pair) -> None:
    execution, token = await asking(pair)
    assert (await pair.other.describe(execution)).status is Status.RUNNING
    assert await pair.other.signal(token, {"by": "bob"}) is True
    done = await finished(pair.runner, execution)
    assert await pair.workflows.signal(token, {"by": "eve"}) is False
    assert await pair.other.signal_failed(token, error="Late") is False
    assert (done.status, done.output) == (Status.SUCCEEDED, {"by": "bob"})
    assert await pair.workflows.describe(execution) == done


async def test_answer_to_a_task_that_is_done_does_not_answer_the_next_one(pair: Pair) -> None:
    script(pair.runner.scripts, "a", {})
    execution = await pair.workflows.start("ask_two", {}, id="a")
    first = (await asked(pair.runner, execution, "ask"))["token"]
    assert await pair.workflows.signal(first, 1) is True
    while len(tokens := all_asked(pair.runner.scripts, "a", "ask")) < 2 or tokens[1] is None:
        await pair.runner.pause()
    assert await pair.workflows.signal(first, 2) is False
    assert (await pair.workflows.describe(execution)).status is Status.RUNNING
    assert await pair.other.signal(tokens[1]["token"], 3) is True
    assert (await finished(pair.runner, execution)).output == 3


async def test_token_with_one_character_changed_is_nobodys(pair: Pair) -> None:
    execution, token = await asking(pair)
    for n in range(max(0, len(token) - 40), len(token) - 8):
        changed = token[:n] + ("A" if token[n] != "A" else "B") + token[n + 1 :]
        assert await pair.workflows.signal(changed, {}) is False
    assert (await pair.workflows.describe(execution)).status is Status.RUNNING


async def test_failure_is_told_with_its_name_and_cause(pair: Pair) -> None:
    execution, token = await asking(pair)
    assert await pair.other.signal_failed(token, error="Rejected", cause="by bob") is True
    done = await finished(pair.runner, execution)
    assert (done.status, done.output, done.error, done.cause) == (Status.FAILED, None, "Rejected", "by bob")
    assert await pair.workflows.signal_failed(token, error="Rejected", cause="by bob") is False


async def test_answer_after_the_time_is_over_changes_nothing(pair: Pair) -> None:
    execution, token = await asking(pair, "ask_briefly")
    done = await finished(pair.runner, execution)
    assert (done.status, done.error) == (Status.FAILED, "States.Timeout")
    assert await pair.workflows.signal(token, {}) is False
    assert await pair.workflows.describe(execution) == done


async def test_token_that_was_never_given_out_is_nobodys(pair: Pair) -> None:
    execution, token = await asking(pair)
    for guess in ("", "nonsense", "x" * 4_000, token[:-8] + "AAAAAAA=", token[::-1], "ä"):
        assert await pair.workflows.signal(guess, {}) is False
        assert await pair.workflows.signal_failed(guess, error="Guessed") is False
    assert (await pair.workflows.describe(execution)).status is Status.RUNNING


async def test_answer_that_cannot_be_kept_is_invalid_and_the_task_waits_on(pair: Pair) -> None:
    execution, token = await asking(pair)
    for bad in ("x" * PAYLOAD_BYTES_MAX, {1, object()}):
        with pytest.raises(Invalid):
            await pair.workflows.signal(token, bad)
    for error, cause in (("", ""), ("x" * 257, ""), ("Bad", "x" * 32_769)):
        with pytest.raises(Invalid):
            await pair.workflows.signal_failed(token, error=error, cause=cause)
    assert await pair.workflows.signal(token, "now") is True
    assert (await finished(pair.runner, execution)).output == "now"


# -- describe and history -----------------------------------------------------------------------------------------------


async def test_failed_execution_tells_the_definitions_error_and_when(pair: Pair) -> None:
    before = pair.runner.now()
    execution = await pair.workflows.start("refuse", {}, id="r1")
    done = await finished(pair.runner, execution)
    assert (done.status, done.output, done.error, done.cause) == (Status.FAILED, None, "NotToday", "it is closed")
    assert done.ended_at is not None
    assert before <= done.started_at <= done.ended_at <= pair.runner.now()


async def test_running_execution_has_no_end_and_its_history_so_far(pair: Pair) -> None:
    execution, _ = await asking(pair)
    found = await pair.other.describe(execution)
    assert (found.status, found.output, found.error, found.ended_at) == (Status.RUNNING, None, None, None)
    assert await pair.other.history(execution) == [Happening("Ask", What.ENTERED)]


async def test_history_is_in_order_and_whole(pair: Pair) -> None:
    execution = await pair.workflows.start("say", {}, id="s1")
    await finished(pair.runner, execution)
    assert await pair.other.history(execution) == [
        Happening("Say", What.ENTERED),
        Happening("Say", What.LEFT),
        Happening("SayMore", What.ENTERED),
        Happening("SayMore", What.LEFT),
    ]


async def test_failure_is_in_the_history_with_its_name(pair: Pair) -> None:
    script(pair.runner.scripts, "g1", {"greet": [{"raises": "Unavailable"}]})
    execution = await pair.workflows.start("greet", {}, id="g1")
    done = await finished(pair.runner, execution)
    assert (done.status, done.error) == (Status.FAILED, "Unavailable")
    assert await pair.other.history(execution) == [
        Happening("Greet", What.ENTERED),
        Happening("Greet", What.FAILED, "Unavailable"),
    ]


@pytest.mark.parametrize(
    "execution", ["say/never", "sing/never", "say", "", "/", "say/", "say/a/b", "say/" + "x" * 2_000]
)
async def test_execution_that_never_was_is_not_found(workflows: Workflows, execution: str) -> None:
    with pytest.raises(NotFound):
        await workflows.describe(execution)
    with pytest.raises(NotFound):
        await workflows.history(execution)
