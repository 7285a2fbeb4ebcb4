"""The program that runs other people's queries: `python -I child.py`. It speaks over its standard input and output, one at a time.

Why a process of its own, and not a thread. Seen with DuckDB 2.0.1: with a memory_limit of 64 MB, repeat('x', 2000000000) took
3.9 GB, and `interrupt` was heeded after 6 seconds, for lpad after 20. A thread cannot be ended from outside; a process can, its
memory has a limit that the kernel keeps, and when it dies the platform does not. It starts with no environment, and may write no
file of any size.

A message is 4 bytes of length, then JSON. The first one says where modules are found, which database, and how much memory.
"""

from __future__ import annotations

import contextlib
import json
import resource
import struct
import sys
import threading
import time
from typing import Any, BinaryIO

MEMORY_BESIDE = 128 * 1024 * 1024
"""Beside the database's buffers: the result, and what Python needs."""
OPEN_FILES_MAX = 64
CPU_SECONDS_SPARE = 2
HEAD = struct.Struct(">I")


def main() -> None:
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    hello = _received(incoming)
    if hello is None:
        return
    sys.path[:] = hello["path"]
    session = _start(hello)
    _send(outgoing, {"ready": True})
    while (asked := _received(incoming)) is not None:
        _send(outgoing, session.answer(asked))


def _start(hello: dict[str, Any]) -> Any:
    import logging
    from pathlib import Path

    # Imported here, since until the first message it is not known where modules are.
    from interlock.backends.duckdb.session import Session

    logging.disable(logging.CRITICAL)
    session = Session(Path(hello["database"]), memory_bytes=hello["memory_bytes"])
    _lock_in(hello["memory_bytes"])
    return session


def _lock_in(memory_bytes: int) -> None:
    """From here on: no file is written, few are opened, and memory has an end."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES_MAX, OPEN_FILES_MAX))
    # Not every kernel counts address space, or tells how much there is; the parent's clock and memory_limit remain.
    with contextlib.suppress(OSError, ValueError), open("/proc/self/statm", "rb") as pages:  # noqa: PTH123
        mapped = int(pages.read().split()[0]) * resource.getpagesize()
        most = mapped + memory_bytes + MEMORY_BESIDE
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


class Watch:
    """Interrupts `connection` when a query's time is over. Beneath it the kernel ends the process some seconds of work later."""

    def __init__(self, connection: Any, seconds: float) -> None:
        self.started = time.monotonic()
        self.over = False
        self._timer = threading.Timer(seconds, self._stop, (connection,))
        self._timer.daemon = True
        used = resource.getrusage(resource.RUSAGE_SELF)
        allowed = int(used.ru_utime + used.ru_stime + seconds) + CPU_SECONDS_SPARE + 1
        _, hardest = resource.getrlimit(resource.RLIMIT_CPU)
        if hardest != resource.RLIM_INFINITY:
            allowed = min(allowed, hardest)
        resource.setrlimit(resource.RLIMIT_CPU, (allowed, hardest))

    def __enter__(self) -> Watch:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def _stop(self, connection: Any) -> None:
        self.over = True
        connection.interrupt()


def _received(incoming: BinaryIO) -> dict[str, Any] | None:
    """None when the parent has gone."""
    head = incoming.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    body = incoming.read(HEAD.unpack(head)[0])
    decoded = json.loads(body)
    return decoded if isinstance(decoded, dict) else None


def _send(outgoing: BinaryIO, message: dict[str, Any]) -> None:
    body = json.dumps(message, separators=(",", ":"), allow_nan=False).encode()
    outgoing.write(HEAD.pack(len(body)) + body)
    outgoing.flush()


if __name__ == "__main__":
    main()
