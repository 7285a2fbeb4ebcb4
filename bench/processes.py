"""Child processes of the benchmark: started on given cores, waited for, and stopped by their ids."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from bench import machine

START_S = 60.0
STOP_S = 15.0
LOOK_EVERY_S = 0.02
_PR_SET_PDEATHSIG = 1
ROOT = Path(__file__).parents[1]


class DidNotStart(Exception):
    """A child ended at once, or was not ready in time. Carries what it said."""


class Child:
    """A running process and all that came from it."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self.log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def pids(self) -> list[int]:
        return machine.tree(self._process.pid)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def said(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text(errors="replace")[-2_000:].strip()

    def until(self, ready: Callable[[], bool], *, timeout_s: float = START_S) -> None:
        """Return once `ready`. Raises DidNotStart."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not self.is_running():
                raise DidNotStart(self.said() or f"ended at once with status {self._process.returncode}")
            if time.monotonic() > deadline:
                raise DidNotStart(f"not ready within {timeout_s:g} s; it said: {self.said()}")
            time.sleep(LOOK_EVERY_S)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end, then insist. Its exit status."""
        if self.is_running():
            self._process.send_signal(number)
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def start(
    command: Sequence[str],
    *,
    log: Path,
    cores: Iterable[int],
    environment: Mapping[str, str] | None = None,
    user: int | None = None,
) -> Child:
    """Start a child that ends when we end. Its output goes to `log`.

    `environment` is all it gets beside PATH and HOME; `user` is the uid it runs as.
    """
    passed = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    wanted = set(cores) & os.sched_getaffinity(0) or os.sched_getaffinity(0)

    def prepare() -> None:
        os.sched_setaffinity(0, wanted)
        if user is not None:
            os.setgroups([])
            os.setgid(pwd.getpwuid(user).pw_gid)
            os.setuid(user)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=passed | dict(environment or {}),
            cwd=ROOT,
            start_new_session=True,
            preexec_fn=prepare,
        )
    return Child(process, log)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
