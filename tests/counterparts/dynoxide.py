"""A running Dynoxide for the length of a `with`: DynamoDB's calls over SQLite, one process, its state in memory.

What it is not: it refuses no second transaction on the same items and throttles nothing. Places in its streams are shorter than
the SDK takes, so that no feed reads them.
"""

from __future__ import annotations

import platform
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.counterparts.ending import end
from tests.counterparts.paths import require
from tests.free_ports import free_ports

START_S, STOP_S = 30.0, 10.0
_ARM = ("aarch64", "arm64")
PACKAGE = f"@dynoxide/{platform.system().lower()}-{'arm64' if platform.machine() in _ARM else 'x64'}"


@contextmanager
def running_dynoxide() -> Iterator[str]:
    """Its endpoint. Skips the test when it is not installed."""
    program = require("dynoxide")
    (port,) = free_ports(1)
    command = [str(program), "serve", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + START_S
        while not _answers(port):
            assert process.poll() is None and time.monotonic() < until, "dynoxide did not start"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        end(process, within_s=STOP_S)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
