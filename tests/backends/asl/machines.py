"""Small definitions, and one advance after another without a store or a queue."""

from __future__ import annotations

import json
from typing import Any

from interlock.backends.asl.advance import Advance
from interlock.backends.asl.definition import Definition, read_definition
from interlock.backends.asl.run import Job, Run
from interlock.core.kernel.workflows import Happening, Json

NOW = 1_800_000_000_000
INVOKE = "arn:aws:states:::lambda:invoke"
STEPS = ("work", "ask", "mend")


def task(step: str = "work", *, payload: Json = "{% $states.input %}", token: bool = False, **fields: Any) -> Any:
    arguments = {"FunctionName": f"${{step_{step}}}", "Payload": payload}
    resource = INVOKE + (".waitForTaskToken" if token else "")
    way_on = {} if "Next" in fields else {"End": True}
    return {"Type": "Task", "Resource": resource, "Arguments": arguments, "TimeoutSeconds": 60, **way_on, **fields}


def text(states: dict[str, Any], **fields: Any) -> str:
    return json.dumps({"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **fields})


def read(states: dict[str, Any], **fields: Any) -> Definition:
    return read_definition("w", text(states, **fields), steps=STEPS)


class Played:
    """An execution that is moved by hand."""

    def __init__(self, states: dict[str, Any], input: Json = None, *, chance: float = 0.5) -> None:
        self.definition = read(states)
        self.run = Run("w", "x", self.definition.digest, NOW)
        self.now, self.chance = NOW, chance
        self.history: list[Happening] = []
        self._nonces = 0
        self.last = self._advance()
        self.last.begin(input)
        self._end(self.last)

    def _advance(self) -> Advance:
        return Advance(
            self.definition.machine, self.run, now=self.now, random=lambda: self.chance, new_nonce=self._new_nonce
        )

    def _new_nonce(self) -> str:
        self._nonces += 1
        return f"{self._nonces:08d}"

    def _end(self, advance: Advance) -> None:
        self.last = advance
        self.history += advance.happenings

    def answer(self, output: Json, at: str = "0") -> None:
        advance = self._advance()
        advance.answer(at, output)
        self._end(advance)

    def fail(self, error: str, cause: str = "", at: str = "0") -> None:
        advance = self._advance()
        advance.fail(at, error, cause)
        self._end(advance)

    def ring(self, at: str = "0") -> float:
        """Go on when the branch's moment has come; how many seconds that took."""
        waited_ms = self.job(at).due - self.now
        self.now += waited_ms
        advance = self._advance()
        advance.ring(at)
        self._end(advance)
        return waited_ms / 1000

    def job(self, at: str = "0") -> Job:
        job = self.run.branches[at].job
        assert job is not None
        return job

    def payload(self, at: str = "0") -> Json:
        return self._advance().payload_of(at)

    @property
    def branches(self) -> list[str]:
        return sorted(self.run.branches)
