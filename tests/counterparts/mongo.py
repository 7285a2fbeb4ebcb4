"""A running server that speaks the MongoDB protocol, for the length of a `with`: NX-27017, over SQLite.

What it is not: DocumentDB. It has no replicas, so nothing about write concerns, elections or reads elsewhere may be concluded
from it; it enforces no size of documents and asks for no password.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from interlock.core.kernel.secrets import Secret
from tests.counterparts.ending import end
from tests.counterparts.paths import require
from tests.free_ports import free_ports

START_S, STOP_S = 60.0, 10.0


class Mongo:
    """It keeps its data when it is stopped and started again."""

    def __init__(self, program: Path, folder: Path, port: int) -> None:
        self._program, self._folder, self._port = program, folder, port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> Secret:
        return Secret(f"mongodb://127.0.0.1:{self._port}/?directConnection=true")

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(self._program), "--host", "127.0.0.1", "--port", str(self._port)),
                    *("--data-dir", str(self._folder / "data")),
                    *("--log-file", str(self._folder / "own.log"), "--pid-file", str(self._folder / "pid")),
                ],
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + START_S
        while not self._answers():
            said = (self._folder / "log").read_text(errors="replace")[-1_000:]
            assert self._process.poll() is None and time.monotonic() < until, f"the server did not start: {said}"
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is None:
            return
        end(self._process, within_s=STOP_S)
        self._process = None

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0


@contextmanager
def running_mongo() -> Iterator[Mongo]:
    """Skips the test when the server is not installed."""
    program = require("mongo")
    (port,) = free_ports(1)
    with TemporaryDirectory(prefix="interlock-mongo-") as folder:
        server = Mongo(program, Path(folder), port)
        try:
            server.start()
            yield server
        finally:
            server.stop()
