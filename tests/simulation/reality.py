"""Time, sleep and chance of the machine, forbidden while a simulation runs: whoever asks for them is found."""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
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
    """In this thread. Others, such as those of the test runner, keep theirs."""
    here = threading.get_ident()
    patches = [patch.object(owner, name, _refusal(owner, name, here)) for owner, name in FORBIDDEN]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


def _refusal(owner: Any, name: str, here: int) -> Callable[..., Any]:
    original = getattr(owner, name)

    def refuse(*args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() == here:
            raise Reality(f"{owner.__name__}.{name} in a simulation")
        return original(*args, **kwargs)

    return refuse
