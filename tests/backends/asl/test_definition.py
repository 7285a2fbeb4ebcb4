"""What a definition may say here: anything else is refused with its place, never passed over."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.backends.asl.definition import read_definition
from interlock.backends.asl.expressions import is_expression
from interlock.backends.asl.messages import STEP_TIMEOUT_MAX_S
from interlock.core.kernel.errors import Invalid
from interlock.entrypoints.steps import STEPS
from tests.backends.asl.machines import read, task, text

FILES = sorted((Path(__file__).parents[3] / "workflows").glob("*.asl.json"))
PASS = {"Type": "Pass", "End": True}
MAP = {"Type": "Map", "Items": "{% [1] %}", "ItemProcessor": {"StartAt": "I", "States": {"I": PASS}}, "End": True}


def refused(states, **fields):
    """Where, and in words why."""
    with pytest.raises(Invalid) as caught:
        read(states, **fields)
    (fault,) = caught.value.faults
    assert fault.pointer in str(caught.value) and "workflow w" in str(caught.value)
    return fault.pointer, fault.detail


@pytest.mark.parametrize(
    ("states", "where", "why"),
    [
        ({"A": {"Type": "Parallel", "Branches": [], "End": True}}, "/States/A/Type", "'Parallel' is not implemented"),
        ({"A": {"End": True}}, "/States/A/Type", "None is not implemented"),
        ({"A": {**PASS, "ResultPath": "$.x"}}, "/States/A/ResultPath", "not implemented"),
        ({"A": {**PASS, "QueryLanguage": "JSONPath"}}, "/States/A/QueryLanguage", "not implemented"),
        ({"A": {"Type": "Pass"}}, "/States/A", "needs either Next or End"),
        ({"A": {**PASS, "Next": "A"}}, "/States/A", "needs either Next or End"),
        ({"A": {"Type": "Pass", "Next": "B"}}, "/States/A", "there is no state 'B' to go on to"),
        ({"A": {**PASS, "Output": "{% $a + %}"}}, "/States/A/Output", "no JSONata: "),
        ({"A": {**PASS, "Output": {"b": ["{% $now() %}"]}}}, "/States/A/Output", "$now() is not implemented"),
        ({"A": {**PASS, "Output": "{% $uuid() %}"}}, "/States/A/Output", "$uuid() is not implemented"),
        ({"A": {**PASS, "Output": "{% $eval('1') %}"}}, "/States/A/Output", "$eval() is not implemented"),
        (
            {"A": {**PASS, "Output": "{% $states.context.Execution.Input %}"}},
            "/States/A/Output",
            "$states.context.Execution.Input is not implemented",
        ),
        ({"A": {**PASS, "Assign": {"states": 1}}}, "/States/A/Assign", "needs names of variables"),
        ({"A": task("sing")}, "/States/A/Arguments/FunctionName", "there is no step 'sing'"),
        (
            {"A": task() | {"Arguments": {"FunctionName": "arn:aws:lambda:x", "Payload": 1}}},
            "/States/A/Arguments/FunctionName",
            "needs the form ${step_<name>}",
        ),
        (
            {"A": task() | {"Arguments": {"FunctionName": "${step_work}", "Payload": 1, "InvocationType": "Event"}}},
            "/States/A/Arguments/InvocationType",
            "not implemented",
        ),
        (
            {"A": task(Resource="arn:aws:states:::sqs:sendMessage")},
            "/States/A/Resource",
            "only arn:aws:states:::lambda",
        ),
        ({"A": {name: value for name, value in task().items() if name != "TimeoutSeconds"}}, "/States/A", "TimeoutS"),
        ({"A": task(Credentials={})}, "/States/A/Credentials", "not implemented"),
        ({"A": task(Retry=[{"MaxAttempts": 1}])}, "/States/A/Retry/0", "ErrorEquals is missing"),
        ({"A": task(Retry=[{"ErrorEquals": []}])}, "/States/A/Retry/0/ErrorEquals", "needs names of errors"),
        (
            {"A": task(Retry=[{"ErrorEquals": ["X"], "IntervalSeconds": 0}])},
            "/States/A/Retry/0/IntervalSeconds",
            "needs a number, at least 1",
        ),
        (
            {"A": task(Retry=[{"ErrorEquals": ["X"], "JitterStrategy": "SOME"}])},
            "/States/A/Retry/0/JitterStrategy",
            "needs FULL or NONE",
        ),
        (
            {"A": task(Catch=[{"ErrorEquals": ["States.ALL", "X"], "Next": "A"}])},
            "/States/A/Catch/0/ErrorEquals",
            "States.ALL stands alone",
        ),
        (
            {"A": task(Catch=[{"ErrorEquals": ["States.ALL"], "Next": "A"}, {"ErrorEquals": ["X"], "Next": "A"}])},
            "/States/A/Catch",
            "what comes behind States.ALL is never reached",
        ),
        ({"A": task(Catch=[{"ErrorEquals": ["X"], "Next": "Z"}])}, "/States/A", "there is no state 'Z'"),
        ({"A": {"Type": "Choice", "Choices": []}}, "/States/A/Choices", "no choices"),
        (
            {"A": {"Type": "Choice", "Choices": [{"Condition": True, "Next": "A"}]}},
            "/States/A/Choices/0/Condition",
            "needs an expression",
        ),
        (
            {"A": {"Type": "Choice", "Choices": [{"Variable": "$.x", "StringEquals": "y", "Next": "A"}]}},
            "/States/A/Choices/0/Variable",
            "not implemented",
        ),
        ({"A": {"Type": "Wait", "End": True}}, "/States/A", "needs either Seconds or Timestamp"),
        ({"A": {"Type": "Wait", "SecondsPath": "$.x", "End": True}}, "/States/A/SecondsPath", "not implemented"),
        ({"A": MAP | {"ItemReader": {}}}, "/States/A/ItemReader", "not implemented"),
        (
            {"A": MAP | {"ItemProcessor": MAP["ItemProcessor"] | {"ProcessorConfig": {"Mode": "DISTRIBUTED"}}}},
            "/States/A/ItemProcessor/ProcessorConfig",
            "only the mode INLINE is implemented",
        ),
        (
            {"A": MAP | {"ItemProcessor": {"StartAt": "I", "States": {"I": {"Type": "Pass", "Next": "A"}}}}},
            "/States/A/ItemProcessor/States/I",
            "there is no state 'A' to go on to",
        ),
    ],
)
def test_what_is_not_implemented_is_refused_with_where_and_why(states, where, why):
    pointer, detail = refused(states)
    assert pointer == where
    assert detail.startswith(why)


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"QueryLanguage": "JSONPath"}, "/QueryLanguage"),
        ({"TimeoutSeconds": 5}, "/TimeoutSeconds"),
        ({"StartAt": "Z"}, "/StartAt"),
        ({"States": {}}, "/States"),
    ],
)
def test_head_of_a_definition_is_checked_too(fields, where):
    assert refused({"A": PASS}, **fields)[0] == where


@pytest.mark.parametrize("raw", ["", "{", "[]", "null", '"x"'])
def test_what_is_no_definition_at_all_is_refused(raw):
    with pytest.raises(Invalid, match="workflow w"):
        read_definition("w", raw)


def test_equal_texts_have_one_digest_and_others_another():
    one, same, other = (read_definition("w", text({name: PASS})) for name in ("A", "A", "B"))
    assert one.digest == same.digest != other.digest


# -- the definitions of this repository --------------------------------------------------------------------------------


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_definition_is_read_and_names_steps_that_are_there(file):
    read_definition(file.name.removesuffix(".asl.json"), file.read_text(), steps=STEPS)


def test_every_step_is_used_by_some_definition():
    used = {step for step in STEPS if any(f"${{step_{step}}}" in file.read_text() for file in FILES)}
    assert used == set(STEPS)
    assert len(FILES) == 5


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_definition_is_clean_for_statelint(file, tmp_path):
    """It knows no expressions in the fields of a Wait, where the service does: those are given a value first."""
    raw = json.loads(file.read_text())
    for state in raw["States"].values():
        if state["Type"] == "Wait":
            for field, value in (("Seconds", 1), ("Timestamp", "2026-11-27T00:00:00Z")):
                if is_expression(state.get(field)):
                    state[field] = value
    filled = tmp_path / file.name
    filled.write_text(json.dumps(raw))
    linted = subprocess.run(
        [sys.executable, "-m", "statelint", str(filled)], capture_output=True, text=True, check=False
    )
    assert (linted.stdout, linted.returncode) == ("", 0)


def test_statelint_does_see_what_is_wrong(tmp_path):
    wrong = tmp_path / "wrong.asl.json"
    wrong.write_text(FILES[0].read_text().replace('"Next": "', '"Next": "No', 1))
    linted = subprocess.run(
        [sys.executable, "-m", "statelint", str(wrong)], capture_output=True, text=True, check=False
    )
    assert linted.returncode == 1 and "error" in linted.stdout


def tasks(machine):
    for state in machine["States"].values():
        if state["Type"] == "Task":
            yield state
        if state["Type"] == "Map":
            yield from tasks(state["ItemProcessor"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_task_has_a_time_a_catch_and_the_executions_name(file):
    for state in tasks(json.loads(file.read_text())):
        is_answered_by_a_person = state["Resource"].endswith(".waitForTaskToken")
        assert is_answered_by_a_person or 0 < state["TimeoutSeconds"] <= STEP_TIMEOUT_MAX_S
        assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"]
        assert all(retrier["JitterStrategy"] == "FULL" for retrier in state["Retry"])
        assert state["Arguments"]["Payload"]["execution"] == "{% $states.context.Execution.Name %}"
