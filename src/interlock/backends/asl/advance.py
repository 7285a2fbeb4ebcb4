"""One advance of an execution: from what has come to what must be done next. Pure: it is committed, or thrown away.

Source: https://states-language.net/spec.html#errors (checked 2026-11-27)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from interlock.backends.asl.definition import Kind, Machine, Rule, State
from interlock.backends.asl.expressions import Template
from interlock.backends.asl.filling import (
    HEARTBEAT,
    NO_CHOICE,
    NOT_EVALUATED,
    RUNTIME,
    TIMEOUT,
    Failed,
    check_size,
    context_of,
    filled,
    filled_in,
    matches,
    number_in,
    pause_s,
)
from interlock.backends.asl.run import ROOT, Branch, Job, JobKind, Run
from interlock.core.kernel.clock import SECOND, Millis, parse_rfc3339
from interlock.core.kernel.workflows import Happening, Json, Status, What

HAPPENINGS_AT_ONCE = 18
"""Of one advance, so that it fits into one commit."""
STATES_AT_ONCE = 200
HAPPENINGS_MAX = 25_000
ITEMS_AT_ONCE_MAX = 40


class Errand(NamedTuple):
    """Something to be sent for: a step to be run now, or a moment to come back at."""

    branch: str
    job: str
    runs_step: bool
    due: Millis


class Advance:
    """Changes `run`, which is the caller's own copy. Then `errands` and `happenings` say what came of it."""

    def __init__(
        self,
        machine: Machine,
        run: Run,
        *,
        now: Millis,
        random: Callable[[], float],
        new_nonce: Callable[[], str],
    ) -> None:
        self.run = run
        self.errands: list[Errand] = []
        self.happenings: list[Happening] = []
        self._machine, self._now, self._random, self._new_nonce = machine, now, random, new_nonce
        self._ready: list[str] = []
        self._jobs, self._tag = 0, new_nonce()[:8]
        run.advances += 1

    # -- what may come --------------------------------------------------------------------------------------------------

    def begin(self, input: Json) -> None:
        self.run.branches[ROOT] = Branch(self._machine.start_at, input)
        self._go_on(ROOT)

    def answer(self, at: str, output: Json) -> None:
        """Of a step, or to a token. Its job is a live one."""
        job = self.run.branches[at].job
        try:
            check_size(output)
        except Failed as failed:
            self._fail(at, failed)
        else:
            self._tell(at, What.SUCCEEDED)
            # As the service answers: a token's answer bare, a step's in an envelope.
            bare = job is not None and job.kind is JobKind.TOKEN
            self._leave(at, output if bare else {"StatusCode": 200, "Payload": output})
        self._go_on()

    def fail(self, at: str, error: str, cause: str) -> None:
        self._fail(at, Failed(error, cause))
        self._go_on()

    def ring(self, at: str) -> None:
        """The moment has come that the branch's job is due."""
        branch = self.run.branches[at]
        job = branch.job
        assert job is not None
        if job.kind in (JobKind.STEP, JobKind.TOKEN):
            self._fail(at, Failed(HEARTBEAT if job.beats else TIMEOUT, "no answer came in time"))
        elif job.kind is JobKind.WAIT:
            self._leave(at, branch.input)
        elif job.kind is JobKind.RETRY:
            state = self.state_of(at)
            if state.kind is Kind.TASK:
                self._tell(at, What.RETRIED)
            self._guarded(at, self._begin_task if state.kind is Kind.TASK else self._begin_map)
        else:
            self._ready.append(at)
        self._go_on()

    def give_up(self, error: str, cause: str) -> None:
        """End the execution here: it cannot be kept any longer."""
        self._end(Status.FAILED, error=error, cause=cause)

    # -- asked by who carries out an errand -----------------------------------------------------------------------------

    def payload_of(self, at: str) -> Json:
        """What the step of a branch's task is given. Safe to ask again: it is the same each time."""
        return self._fill(at, self.state_of(at).payload)

    def state_of(self, at: str) -> State:
        machine = self._machine
        path = at.split(".")
        for depth in range(1, len(path)):
            outer = machine.states[self.run.branches[".".join(path[:depth])].state]
            assert outer.processor is not None
            machine = outer.processor
        return machine.states[self.run.branches[at].state]

    # -- going on -------------------------------------------------------------------------------------------------------

    def _go_on(self, *ready: str) -> None:
        self._ready += ready
        states = 0
        while self._ready and self.run.status is Status.RUNNING:
            at = self._ready.pop(0)
            if at not in self.run.branches:
                continue  # its Map has failed
            if states >= STATES_AT_ONCE or len(self.happenings) >= HAPPENINGS_AT_ONCE:
                self._wait_for(at, JobKind.MORE, due=self._now)
                continue
            states += 1
            self._step(at)
        if self.run.happenings > HAPPENINGS_MAX and self.run.status is Status.RUNNING:
            self.give_up(RUNTIME, f"more than {HAPPENINGS_MAX} happenings")

    def _step(self, at: str) -> None:
        """Do what the state is about that a branch has come to."""
        branch, state = self.run.branches[at], self.state_of(at)
        branch.job, branch.retries = None, {}
        self._tell(at, What.ENTERED)
        works: dict[Kind, Callable[[str], None]] = {
            Kind.TASK: self._begin_task,
            Kind.PASS: lambda at: self._leave(at, branch.input),
            Kind.CHOICE: self._choose,
            Kind.WAIT: self._begin_wait,
            Kind.MAP: self._begin_map,
            Kind.SUCCEED: lambda at: self._leave(at, branch.input),
            Kind.FAIL: self._end_in_failure,
        }
        self._guarded(at, works[state.kind])

    def _guarded(self, at: str, work: Callable[[str], None]) -> None:
        try:
            work(at)
        except Failed as failed:
            self._fail(at, failed)

    def _begin_task(self, at: str) -> None:
        state = self.state_of(at)
        kind = JobKind.TOKEN if state.waits_for_token else JobKind.STEP
        timeout_s = number_in(self.run, at, state.timeout_s, "TimeoutSeconds")
        heartbeat_s = (
            timeout_s if state.heartbeat_s is None else number_in(self.run, at, state.heartbeat_s, "HeartbeatSeconds")
        )
        beats = heartbeat_s < timeout_s
        due = self._now + round(min(timeout_s, heartbeat_s) * SECOND)
        job = self._wait_for(at, kind, due=due, beats=beats)
        try:
            check_size(self.payload_of(at))
        except Failed:
            self.errands = [errand for errand in self.errands if errand.job != job.id]
            raise
        self.errands.append(Errand(at, job.id, True, self._now))

    def _choose(self, at: str) -> None:
        state, branch = self.state_of(at), self.run.branches[at]
        for rule in state.choices:
            if self._fill(at, rule.condition) is True:
                output = self._fill(at, rule.output) if rule.has_output else branch.input
                assigned = self._assigned(at, rule.assign)
                self._move(at, rule.next, output, assigned)
                return
        if state.default is None:
            raise Failed(NO_CHOICE, f"no choice of {state.name} holds")
        self._move(at, state.default, branch.input, {})

    def _begin_wait(self, at: str) -> None:
        state = self.state_of(at)
        if state.timestamp is None:
            due = self._now + round(number_in(self.run, at, state.seconds, "Seconds") * SECOND)
        else:
            text = self._fill(at, state.timestamp)
            try:
                due = parse_rfc3339(str(text))
            except ValueError as error:
                raise Failed(NOT_EVALUATED, f"Timestamp: {text!r} is no time") from error
        self._wait_for(at, JobKind.WAIT, due=due)

    def _end_in_failure(self, at: str) -> None:
        state = self.state_of(at)
        raise Failed(str(self._fill(at, state.error)), str(self._fill(at, state.cause)))

    # -- Map ------------------------------------------------------------------------------------------------------------

    def _begin_map(self, at: str) -> None:
        state, branch = self.state_of(at), self.run.branches[at]
        items = self._fill(at, state.items)
        if not isinstance(items, list):
            raise Failed(NOT_EVALUATED, "Items: not a list")
        branch.items, branch.results, branch.begun = items, {}, 0
        self._wait_for(at, JobKind.ITEMS)
        most = number_in(self.run, at, state.concurrency_max, "MaxConcurrency")
        for _ in range(min(int(most) or ITEMS_AT_ONCE_MAX, ITEMS_AT_ONCE_MAX)):
            self._begin_item(at)
        if not items:
            self._leave(at, [])

    def _begin_item(self, at: str) -> None:
        """The next one, if there is one left."""
        state, branch = self.state_of(at), self.run.branches[at]
        if branch.begun == len(branch.items):
            return
        index = branch.begun
        branch.begun += 1
        assert state.processor is not None
        item = branch.items[index]
        child = f"{at}.{index}"
        self.run.branches[child] = Branch(
            state.processor.start_at, item, dict(branch.variables), index=index, item=item
        )
        if state.selector is not None:
            states = {"input": branch.input, "context": context_of(self.run, child)}
            self.run.branches[child].input = filled(state.selector, states, branch.variables)
        self._ready.append(child)

    def _item_ended(self, child: str, output: Json) -> None:
        at, _, index = child.rpartition(".")
        branch = self.run.branches[at]
        del self.run.branches[child]
        branch.results[index] = output
        if len(branch.results) < len(branch.items):
            self._guarded(at, self._begin_item)
            return
        results = [branch.results[str(n)] for n in range(len(branch.items))]
        branch.items, branch.results, branch.begun = [], {}, 0
        self._leave(at, results)

    # -- leaving a state ------------------------------------------------------------------------------------------------

    def _leave(self, at: str, result: Json) -> None:
        """The state is done with this result, its output if it says nothing of one."""
        state = self.state_of(at)
        try:
            given = {"result": result} if state.kind in (Kind.TASK, Kind.MAP) else {}
            output = self._fill(at, state.output, given) if state.has_output else result
            assigned = self._assigned(at, state.assign, given)
            check_size(output)
        except Failed as failed:
            self._fail(at, failed)
            return
        self._move(at, state.next, output, assigned)

    def _move(self, at: str, next: str | None, output: Json, assigned: Mapping[str, Json]) -> None:
        branch = self.run.branches[at]
        self._tell(at, What.LEFT)
        branch.variables = {**branch.variables, **assigned}
        branch.input, branch.job = output, None
        if next is not None:
            branch.state = next
            self._ready.append(at)
        elif at == ROOT:
            self._end(Status.SUCCEEDED, output=output)
        else:
            self._item_ended(at, output)

    def _fail(self, at: str, failed: Failed) -> None:
        """Try again, go where the error is caught, or hand it on to whoever is around."""
        state, branch = self.state_of(at), self.run.branches[at]
        for child in [one for one in self.run.branches if one.startswith(f"{at}.")]:
            del self.run.branches[child]
        branch.items, branch.results, branch.begun = [], {}, 0
        if state.kind is Kind.TASK:
            self._tell(at, What.FAILED, failed.error)
        pause = pause_s(branch, state.retry, failed.error, chance=self._random())
        if pause is not None:
            self._wait_for(at, JobKind.RETRY, due=self._now + round(pause * SECOND))
            return
        rule = next((rule for rule in state.catch if matches(rule.errors, failed.error)), None)
        if rule is not None:
            self._caught(at, rule, failed)
        else:
            self._hand_on(at, failed)

    def _hand_on(self, at: str, failed: Failed) -> None:
        if at == ROOT:
            self._end(Status.FAILED, error=failed.error, cause=failed.cause)
        else:
            self._fail(at.rpartition(".")[0], failed)

    def _caught(self, at: str, rule: Rule, failed: Failed) -> None:
        error_output = {"Error": failed.error, "Cause": failed.cause}
        given = {"errorOutput": error_output}
        try:
            output = self._fill(at, rule.output, given) if rule.has_output else error_output
            assigned = self._assigned(at, rule.assign, given)
        except Failed as worse:
            self._hand_on(at, worse)
            return
        self._move(at, rule.next, output, assigned)

    def _end(self, status: Status, *, output: Json = None, error: str | None = None, cause: str | None = None) -> None:
        run = self.run
        run.status, run.output, run.error, run.cause = status, output, error, cause
        run.ended_at, run.branches = self._now, {}
        self.errands = []

    # -- the rest -------------------------------------------------------------------------------------------------------

    def _wait_for(self, at: str, kind: JobKind, *, due: Millis = 0, beats: bool = False) -> Job:
        self._jobs += 1
        id = f"{self.run.advances}.{self._jobs}.{self._tag}"
        nonce = self._new_nonce() if kind is JobKind.TOKEN else ""
        job = self.run.branches[at].job = Job(id, kind, due, nonce, beats)
        if kind is not JobKind.ITEMS:
            self.errands.append(Errand(at, job.id, False, due))
        return job

    def _tell(self, at: str, what: What, error: str | None = None) -> None:
        if at == ROOT:
            self.happenings.append(Happening(self.run.branches[at].state, what, error))
            self.run.happenings += 1

    def _fill(self, at: str, value: Template, given: Mapping[str, Json] | None = None) -> Json:
        return filled_in(self.run, at, value, given)

    def _assigned(
        self, at: str, assign: Mapping[str, Template], given: Mapping[str, Json] | None = None
    ) -> dict[str, Json]:
        return {name: self._fill(at, value, given) for name, value in assign.items()}
