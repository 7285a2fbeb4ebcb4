"""A definition, read and checked: what is not implemented here is refused with its place, never passed over.

Source: https://states-language.net/spec.html and, for JSONata, https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html
(checked 2026-11-27)
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple, NoReturn

from interlock.backends.asl.expressions import Template, is_expression, template
from interlock.core.kernel.errors import Fault, Invalid

INVOKE = "arn:aws:states:::lambda:invoke"
INVOKE_AND_WAIT = f"{INVOKE}.waitForTaskToken"
_STEP = re.compile(r"\$\{step_([a-z0-9_]+)\}")
ALL_ERRORS = "States.ALL"


class Kind(StrEnum):
    TASK = "Task"
    PASS = "Pass"
    CHOICE = "Choice"
    WAIT = "Wait"
    MAP = "Map"
    SUCCEED = "Succeed"
    FAIL = "Fail"


_GOES_ON = {"Output", "Assign", "Next", "End"}
FIELDS: Mapping[Kind, set[str]] = {
    Kind.TASK: {"Resource", "Arguments", "TimeoutSeconds", "HeartbeatSeconds", "Retry", "Catch", *_GOES_ON},
    Kind.PASS: _GOES_ON,
    Kind.CHOICE: {"Choices", "Default"},
    Kind.WAIT: {"Seconds", "Timestamp", *_GOES_ON},
    Kind.MAP: {"Items", "ItemSelector", "MaxConcurrency", "ItemProcessor", "Retry", "Catch", *_GOES_ON},
    Kind.SUCCEED: {"Output"},
    Kind.FAIL: {"Error", "Cause"},
}
REQUIRED: Mapping[Kind, set[str]] = {
    Kind.TASK: {"Resource", "Arguments", "TimeoutSeconds"},
    Kind.CHOICE: {"Choices"},
    Kind.MAP: {"Items", "ItemProcessor"},
    Kind.FAIL: {"Error"},
}
RETRIER = {"ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds", "JitterStrategy"}


class Retrier(NamedTuple):
    errors: frozenset[str]
    interval_s: float
    attempts_max: int
    """Beyond the first."""
    backoff: float
    delay_max_s: float | None
    jitter: bool


class Rule(NamedTuple):
    """Where to go on: of a Choice with its condition, of a Catch with its errors."""

    next: str
    condition: Template = None
    errors: frozenset[str] = frozenset()
    output: Template = None
    has_output: bool = False
    assign: Mapping[str, Template] = {}


class State(NamedTuple):
    name: str
    kind: Kind
    next: str | None = None
    """None: this is the end."""
    output: Template = None
    has_output: bool = False
    assign: Mapping[str, Template] = {}
    step: str = ""
    payload: Template = None
    waits_for_token: bool = False
    timeout_s: Template = None
    heartbeat_s: Template = None
    retry: tuple[Retrier, ...] = ()
    catch: tuple[Rule, ...] = ()
    choices: tuple[Rule, ...] = ()
    default: str | None = None
    seconds: Template = None
    timestamp: Template = None
    error: Template = None
    cause: Template = ""
    items: Template = None
    selector: Template = None
    concurrency_max: Template = 0
    processor: Machine | None = None


class Machine(NamedTuple):
    start_at: str
    states: Mapping[str, State]


class Definition(NamedTuple):
    workflow: str
    text: str
    digest: str
    machine: Machine


def read_definition(workflow: str, text: str, *, steps: Collection[str] | None = None) -> Definition:
    """Raises Invalid with a JSON pointer to what is wrong. `steps` are the names of the steps there are, if that is known."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise Invalid(f"workflow {workflow}: no JSON: {error}") from error
    reader = _Reader(workflow, steps)
    reader.fields(raw, {"Comment", "QueryLanguage", "StartAt", "States"}, {"QueryLanguage"}, "")
    if raw["QueryLanguage"] != "JSONata":
        reader.refuse("/QueryLanguage", "only JSONata is implemented")
    machine = reader.machine(raw, "")
    return Definition(workflow, text, sha256(text.encode()).hexdigest()[:32], machine)


class _Reader:
    def __init__(self, workflow: str, steps: Collection[str] | None) -> None:
        self._workflow, self._steps = workflow, steps

    def refuse(self, where: str, why: str) -> NoReturn:
        fault = Fault(where, "bad_definition", why)
        raise Invalid(f"workflow {self._workflow} at {where or '/'}: {why}", faults=(fault,))

    def fields(self, raw: Any, known: set[str], required: set[str], where: str) -> None:
        if not isinstance(raw, dict):
            self.refuse(where, "not an object")
        for name in raw:
            if name not in known:
                self.refuse(f"{where}/{name}", "not implemented")
        for name in sorted(required - raw.keys()):
            self.refuse(where, f"{name} is missing")

    def machine(self, raw: Any, where: str) -> Machine:
        states = raw.get("States")
        if not isinstance(states, dict) or not states:
            self.refuse(f"{where}/States", "no states")
        if raw.get("StartAt") not in states:
            self.refuse(f"{where}/StartAt", "no such state")
        read = {name: self._state(name, one, f"{where}/States/{name}") for name, one in states.items()}
        for name, state in read.items():
            goes_to = [state.next, state.default, *(rule.next for rule in (*state.choices, *state.catch))]
            for target in goes_to:
                if target is not None and target not in states:
                    self.refuse(f"{where}/States/{name}", f"there is no state {target!r} to go on to")
        return Machine(raw["StartAt"], read)

    def _state(self, name: str, raw: Any, where: str) -> State:
        if not isinstance(raw, dict) or raw.get("Type") not in list(Kind):
            self.refuse(
                f"{where}/Type", f"{raw.get('Type')!r} is not implemented" if isinstance(raw, dict) else "no state"
            )
        kind = Kind(raw["Type"])
        self.fields(raw, FIELDS[kind] | {"Type", "Comment"}, REQUIRED.get(kind, set()), where)
        state = State(name, kind, **self._way_on(raw, where))
        if "Next" in FIELDS[kind]:
            if ("Next" in raw) == (raw.get("End") is True):
                self.refuse(where, "needs either Next or End")
            state = state._replace(next=raw.get("Next"))
        if kind is Kind.TASK:
            return self._task(state, raw, where)
        if kind is Kind.CHOICE:
            if not isinstance(raw["Choices"], list) or not raw["Choices"]:
                self.refuse(f"{where}/Choices", "no choices")
            rules = [self._rule(one, f"{where}/Choices/{n}", "Condition") for n, one in enumerate(raw["Choices"])]
            return state._replace(choices=tuple(rules), default=raw.get("Default"))
        if kind is Kind.WAIT:
            if ("Seconds" in raw) == ("Timestamp" in raw):
                self.refuse(where, "needs either Seconds or Timestamp")
            seconds, timestamp = (self._template(raw, field, where) for field in ("Seconds", "Timestamp"))
            return state._replace(seconds=seconds, timestamp=timestamp)
        if kind is Kind.MAP:
            return self._map(state, raw, where)
        if kind is Kind.FAIL:
            return state._replace(
                error=self._template(raw, "Error", where), cause=self._template(raw, "Cause", where, "")
            )
        return state

    def _way_on(self, raw: Mapping[str, Any], where: str) -> dict[str, Any]:
        assign = self._template(raw, "Assign", where, {})
        if not isinstance(assign, dict) or "states" in assign:
            self.refuse(f"{where}/Assign", "needs names of variables, of which `states` is none")
        return {"output": self._template(raw, "Output", where), "has_output": "Output" in raw, "assign": assign}

    def _task(self, state: State, raw: Mapping[str, Any], where: str) -> State:
        if raw["Resource"] not in (INVOKE, INVOKE_AND_WAIT):
            self.refuse(f"{where}/Resource", f"only {INVOKE} and its .waitForTaskToken are implemented")
        arguments = raw["Arguments"]
        self.fields(arguments, {"FunctionName", "Payload"}, {"FunctionName", "Payload"}, f"{where}/Arguments")
        named = _STEP.fullmatch(str(arguments["FunctionName"]))
        if named is None:
            self.refuse(f"{where}/Arguments/FunctionName", "needs the form ${step_<name>}")
        if self._steps is not None and named[1] not in self._steps:
            self.refuse(f"{where}/Arguments/FunctionName", f"there is no step {named[1]!r}")
        return state._replace(
            step=named[1],
            payload=self._template(arguments, "Payload", f"{where}/Arguments"),
            waits_for_token=raw["Resource"] == INVOKE_AND_WAIT,
            timeout_s=self._template(raw, "TimeoutSeconds", where),
            heartbeat_s=self._template(raw, "HeartbeatSeconds", where),
            **self._after_errors(raw, where),
        )

    def _map(self, state: State, raw: Mapping[str, Any], where: str) -> State:
        inner, place = raw["ItemProcessor"], f"{where}/ItemProcessor"
        self.fields(inner, {"ProcessorConfig", "StartAt", "States"}, set(), place)
        if inner.get("ProcessorConfig", {"Mode": "INLINE"}) != {"Mode": "INLINE"}:
            self.refuse(f"{place}/ProcessorConfig", "only the mode INLINE is implemented")
        return state._replace(
            items=self._template(raw, "Items", where),
            selector=self._template(raw, "ItemSelector", where),
            concurrency_max=self._template(raw, "MaxConcurrency", where, 0),
            processor=self.machine(inner, place),
            **self._after_errors(raw, where),
        )

    def _after_errors(self, raw: Mapping[str, Any], where: str) -> dict[str, Any]:
        retry = [self._retrier(one, f"{where}/Retry/{n}") for n, one in enumerate(raw.get("Retry", []))]
        catch = [self._rule(one, f"{where}/Catch/{n}", "ErrorEquals") for n, one in enumerate(raw.get("Catch", []))]
        for field, found in (("Retry", [one.errors for one in retry]), ("Catch", [one.errors for one in catch])):
            if any(ALL_ERRORS in errors for errors in found[:-1]):
                self.refuse(f"{where}/{field}", f"what comes behind {ALL_ERRORS} is never reached")
        return {"retry": tuple(retry), "catch": tuple(catch)}

    def _retrier(self, raw: Any, where: str) -> Retrier:
        self.fields(raw, RETRIER | {"Comment"}, {"ErrorEquals"}, where)
        numbers = {
            "IntervalSeconds": (1, 1),
            "MaxAttempts": (3, 0),
            "BackoffRate": (2.0, 1),
            "MaxDelaySeconds": (None, 1),
        }
        for name, (_, least) in numbers.items():
            value = raw.get(name, least)
            if isinstance(value, bool) or not isinstance(value, int | float) or value < least:
                self.refuse(f"{where}/{name}", f"needs a number, at least {least}")
        jitter = raw.get("JitterStrategy", "NONE")
        if jitter not in ("NONE", "FULL"):
            self.refuse(f"{where}/JitterStrategy", "needs FULL or NONE")
        interval, attempts, backoff, most = (raw.get(name, default) for name, (default, _) in numbers.items())
        return Retrier(self._errors(raw, where), interval, int(attempts), backoff, most, jitter == "FULL")

    def _rule(self, raw: Any, where: str, by: str) -> Rule:
        self.fields(raw, {by, "Next", "Output", "Assign", "Comment"}, {by, "Next"}, where)
        rule = Rule(raw["Next"], **self._way_on(raw, where))
        if by == "ErrorEquals":
            return rule._replace(errors=self._errors(raw, where))
        if not is_expression(raw["Condition"]):
            self.refuse(f"{where}/Condition", "needs an expression")
        return rule._replace(condition=self._template(raw, "Condition", where))

    def _errors(self, raw: Mapping[str, Any], where: str) -> frozenset[str]:
        names = raw["ErrorEquals"]
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            self.refuse(f"{where}/ErrorEquals", "needs names of errors")
        if ALL_ERRORS in names and len(names) > 1:
            self.refuse(f"{where}/ErrorEquals", f"{ALL_ERRORS} stands alone")
        return frozenset(names)

    def _template(self, raw: Mapping[str, Any], field: str, where: str, default: Any = None) -> Template:
        try:
            return template(raw.get(field, default))
        except ValueError as error:
            self.refuse(f"{where}/{field}", str(error))
