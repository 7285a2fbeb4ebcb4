"""The queue of the local runner: a step to be run, or a moment to come back at."""

from __future__ import annotations

import msgspec

from interlock.core.kernel.queue import QueueSpec

QUEUE = "workflows"
STEP_TIMEOUT_MAX_S = 900
"""A step is to be done within this, wherever it runs."""
QUEUE_SPEC = QueueSpec(QUEUE, lease_s=STEP_TIMEOUT_MAX_S + 60.0, attempts_max=25)


class Note(msgspec.Struct, frozen=True):
    """A message's body: which job of which branch it is about."""

    execution: str
    branch: str
    job: str
    advance: int
    """Of the execution's advances the one that made the job: until it is written, nobody can know the job."""
    runs_step: bool
    """Else the job's moment has come."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Note)


def encode_note(note: Note) -> bytes:
    return _encoder.encode(note)


def decode_note(raw: bytes) -> Note:
    return _decoder.decode(raw)
