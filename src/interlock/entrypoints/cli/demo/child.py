"""The platform as a child process of the demo: `interlock up` on a folder of its own, with settings of the demo's own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from interlock.config import PREFIX
from interlock.entrypoints.local import Ready

T = TypeVar("T")
START_S = 30.0
STOP_S = 10.0
LOOK_EVERY_S = 0.05
ATTEMPT_DEADLINE_S = 6.0
"""No simulated answer of the demo takes longer than a second, so nobody need wait a minute for a lost one."""


class PlatformDown(Exception):
    """The platform did not come up, or ended by itself."""


class Child:
    """A running `interlock up`."""

    def __init__(self, process: subprocess.Popen[bytes], ready: Ready, complaints: Path) -> None:
        self.ready = ready
        self._process = process
        self._complaints = complaints

    @property
    def status(self) -> int | None:
        """Its exit status, once it has ended."""
        return self._process.poll()

    async def while_up(self, work: Awaitable[T]) -> T:
        """What `work` returns. Raises PlatformDown, and gives the work up, if the platform ends before it."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                if self.status is not None:
                    raise PlatformDown(
                        f"the platform ended by itself with status {self.status}: {_said(self._complaints)}"
                    )
                await asyncio.wait([task], timeout=10 * LOOK_EVERY_S)
        finally:
            task.cancel()
        return await task


@asynccontextmanager
async def platform_process(folder: Path) -> AsyncIterator[Child]:
    """Start it, and stop it with SIGTERM in the end. Raises PlatformDown."""
    with tempfile.TemporaryDirectory(prefix="interlock-") as scratch:
        ready_file, complaints = Path(scratch, "ready.json"), Path(scratch, "stderr")
        process = _start(folder, ready_file, complaints)
        try:
            yield Child(process, await _when_ready(process, ready_file, complaints), complaints)
        finally:
            await _stop(process)


def _start(folder: Path, ready_file: Path, complaints: Path) -> subprocess.Popen[bytes]:
    # The user's settings stay outside: they may name providers that move real money.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment[f"{PREFIX}ATTEMPT_DEADLINE_S"] = str(ATTEMPT_DEADLINE_S)
    command = [sys.executable, "-m", "interlock.entrypoints.cli", "up", "--empty"]
    command += ["--data", str(folder), "--port", "0", "--ready-file", str(ready_file)]
    with complaints.open("wb") as stderr:
        return subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the demo, which then stops it in order
        )


async def _when_ready(process: subprocess.Popen[bytes], ready_file: Path, complaints: Path) -> Ready:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        ready = _read(ready_file)
        if ready is not None:
            return ready
        await asyncio.sleep(LOOK_EVERY_S)
    raise PlatformDown(_said(complaints) or f"the platform was not ready within {START_S:g} s")


async def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.to_thread(process.wait, STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read(ready_file: Path) -> Ready | None:
    return msgspec.json.decode(ready_file.read_bytes(), type=Ready) if ready_file.exists() else None


def _said(complaints: Path) -> str:
    return complaints.read_text(errors="replace").strip()
