"""A running AWS emulator for the length of a `with`: ministack, one process, its state in memory.

What it is not: it has no time to live, no TransactionConflict, no throttling, and no limits of a partition's throughput. Nothing
about those may be concluded from it; a stub injects them.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.counterparts.ending import end
from tests.counterparts.paths import require
from tests.free_ports import free_ports

REGION = "eu-central-1"
CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
START_S, STOP_S = 60.0, 10.0


ON_TEST_TIME = """
import pathlib, sys
from ministack.services import sqs

place = pathlib.Path(sys.argv.pop())

class TestTime:
    def time(self):
        return int(place.read_text()) / 1000

sqs.time = TestTime()
from ministack.app import main
main()
"""
"""Starts the emulator with queues whose time is what a file says, in milliseconds."""


@contextmanager
def running_aws(
    *services: str,
    waits: float = 1.0,
    queue_time: Path | None = None,
    sftp_port: int = 0,
    policies: bool = False,
) -> Iterator[str]:
    """Its endpoint. Skips the test when the emulator is not installed.

    `waits`: which part of the waits and pauses of its workflows really passes; time-outs do in full. With `queue_time` the
    time of queues stands still at what that file says: only a test's clock moves it. With `sftp_port` it takes files there;
    with `policies` it refuses what a caller's policies do not allow.
    """
    python = require("ministack")
    how = ["-m", "ministack"] if queue_time is None else ["-c", ON_TEST_TIME, str(queue_time)]
    (port,) = free_ports(1)
    with TemporaryDirectory(prefix="interlock-aws-") as scratch, (Path(scratch) / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(python), *how],
            cwd=scratch,
            env={
                "PATH": os.environ["PATH"],
                "HOME": scratch,
                "TMPDIR": scratch,
                "BIND_HOST": "127.0.0.1",
                "GATEWAY_PORT": str(port),
                "IOT_MTLS_ENABLED": "0",
                "SERVICES": ",".join(services),
                "LOG_LEVEL": "WARNING",
                "MINISTACK_REGION": REGION,
                "SFN_WAIT_SCALE": str(waits),
                **({"AUTH": "true"} if policies else {}),
                **({"SFTP_ENABLED": "1", "SFTP_PORT": str(sftp_port), "SFTP_HOST": "127.0.0.1"} if sftp_port else {}),
            },
            stdout=log,
            stderr=log,
        )
        try:
            until = time.monotonic() + START_S
            while not _answers(port):
                said = Path(log.name).read_text(errors="replace")[-1_000:]
                assert process.poll() is None and time.monotonic() < until, f"the AWS emulator did not start: {said}"
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            end(process, within_s=STOP_S)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
