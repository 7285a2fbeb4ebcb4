"""Time, sleep and chance of the machine, forbidden while a simulation runs: whoever asks for them is found."""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from unittest.mock import patch

FORBIDDEN: tuple[tuple[Any, str], ...] = (
    (time, "time"),
    (time, "time_ns"),
    (time, "monotonic"),
    (time, "monotonic_ns"),
    (time, "sleep"),
    (os, "urandom"),
    (uuid, "uuid1"),
    (uuid, "uuid4"),
    (random, "random"),
    (random, "randint"),
    (random, "randrange"),
    (random, "choice"),
    (random, "getrandbits"),
    (random.SystemRandom, "getrandbits"),
    (random.SystemRandom, "random"),
)


class Reality(BaseException):
    """The simulation asked for the machine's own time or chance. No handler of errors may take it for one of theirs."""


@contextmanager
def forbidden() -> Iterator[None]:
    patches = [patch.object(owner, name, _refusal(f"{owner.__name__}.{name}")) for owner, name in FORBIDDEN]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise Reality(f"{name} in a simulation")

    return refuse
