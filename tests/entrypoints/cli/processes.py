"""The command line as people use it: real processes, on folders of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 60.0
COMMAND = [sys.executable, "-m", "interlock.entrypoints.cli"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("INTERLOCK_")}


def interlock(*arguments: object, stdin: str = "", environment=None, timeout_s: float = PATIENCE_S):
    """Run a command to its end: `returncode`, `stdout`, `stderr`."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=stdin,
        env={**ENVIRONMENT, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


class Up:
    """A running `interlock up`, or `interlock api`."""

    def __init__(self, process: subprocess.Popen, ready_file: Path) -> None:
        self.process, self.ready_file = process, ready_file
        self.ready = self._when_ready()

    def _when_ready(self) -> dict:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise AssertionError(f"`up` ended with {self.process.returncode}: {self.process.communicate()}")
            if self.ready_file.exists():
                return json.loads(self.ready_file.read_text())
            time.sleep(0.02)
        raise AssertionError("`up` does not come up")

    def stop(self) -> tuple[int, float]:
        """Ask it to stop; its exit status, and how long it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE_S)
        return status, time.monotonic() - began


@contextmanager
def up(folder: Path, *arguments: object, command: str = "up", ready_file: Path | None = None, environment=None):
    where = ready_file or folder / "ready.json"
    empty = ("--empty",) if command == "up" else ()
    whole = [*COMMAND, command, *empty, "--data", folder, "--port", 0, *arguments]
    if ready_file is not None:
        whole += ["--ready-file", ready_file]
    with _running(whole, environment) as process:
        yield Up(process, where)


@contextmanager
def worker(folder: Path, *, environment=None):
    """A running `interlock worker`, its loops at work."""
    with _running([*COMMAND, "worker", "--data", folder], environment) as process:
        said = process.stdout.readline()
        assert said.startswith("The worker runs"), (said, process.communicate())
        yield process


@contextmanager
def _running(command, environment):
    process = subprocess.Popen(
        list(map(str, command)),
        env={**ENVIRONMENT, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
