"""An execution as it stands in the store: where each of its branches is, and what it waits for."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.workflows import Happening, Json, Status

ROOT = "0"
"""The branch of the outermost states. Those of a Map's items are `0.3`, `0.3.1` and so on."""


class JobKind(StrEnum):
    STEP = "step"
    """A step's answer; `due` is when its time is over."""
    TOKEN = "token"
    """An answer to a token; `due` as above."""
    RETRY = "retry"
    """The pause before another try."""
    WAIT = "wait"
    MORE = "more"
    """For nothing: enough has been done in one go."""
    ITEMS = "items"
    """The branches of a Map's items."""


class Job(msgspec.Struct, omit_defaults=True):
    """What a branch waits for."""

    id: str
    """Whoever comes with the answer names it, so that a late answer meets no later job. No two tries of an advance share one, so
    that what a try which was not written has sent for finds nobody waiting."""
    kind: JobKind
    due: Millis = 0
    nonce: str = ""
    """Part of the token, so that it cannot be guessed."""
    beats: bool = False
    """`due` is that of the heartbeat."""

    def __repr__(self) -> str:
        return f"Job({self.id} {self.kind})"


class Branch(msgspec.Struct, omit_defaults=True):
    state: str
    input: Json
    variables: dict[str, Json] = {}
    job: Job | None = None
    retries: dict[str, int] = {}
    """Retrier, by its place -> how often it was used since the state was entered."""
    index: int = 0
    item: Json = None
    """Of a Map: which item this branch is about."""
    items: list[Json] = []
    results: dict[str, Json] = {}
    """Of a Map: index -> the output of its branch."""
    begun: int = 0


class Run(msgspec.Struct, omit_defaults=True):
    workflow: str
    name: str
    digest: str
    """Of the definition it began with, and goes on with."""
    started_at: Millis
    branches: dict[str, Branch] = {}
    status: Status = Status.RUNNING
    output: Json = None
    error: str | None = None
    cause: str | None = None
    ended_at: Millis | None = None
    advances: int = 0
    happenings: int = 0

    def __repr__(self) -> str:
        return f"Run({self.id} {self.status}, {len(self.branches)} branches)"

    @property
    def id(self) -> str:
        return f"{self.workflow}/{self.name}"

    def job(self, branch: str, job: str) -> Job | None:
        """The job of that id if the branch still waits for it."""
        found = self.branches.get(branch)
        return found.job if found is not None and found.job is not None and found.job.id == job else None


_encoder = msgspec.json.Encoder()
_runs, _happenings = msgspec.json.Decoder(Run), msgspec.json.Decoder(Happening)


def encode_run(run: Run) -> bytes:
    return _encoder.encode(run)


def decode_run(raw: bytes) -> Run:
    return _runs.decode(raw)


def encode_happening(happening: Happening) -> bytes:
    return _encoder.encode(happening)


def decode_happening(raw: bytes) -> Happening:
    return _happenings.decode(raw)
