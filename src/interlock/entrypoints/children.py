"""Child processes of the platform on one machine: the provider simulator, and the worker when it runs apart."""

from __future__ import annotations

import asyncio
import ctypes
import os
import secrets
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from interlock.bootstrap import Storage, keep_credential
from interlock.config import ProviderSettings
from interlock.core.kernel.telemetry import Telemetry
from interlock.entrypoints.folder import write_private

SIMULATORS = ("simulator", "simulator_b")
SIMULATOR_START_S = 20.0
SIMULATOR_STOP_S = 5.0
WORKER_STOP_S = 8.0
RESTART_PAUSE_S = 1.0
_PR_SET_PDEATHSIG = 1


class Simulated(msgspec.Struct, frozen=True):
    """What a platform needs to know of the simulator beside it."""

    control_url: str | None = None
    signing_secret: str | None = None
    providers: tuple[ProviderSettings, ...] = ()


class _Instance(msgspec.Struct):
    base_url: str


class _SimulatorReady(msgspec.Struct):
    control_url: str
    instances: dict[str, _Instance]


# -- the worker ---------------------------------------------------------------------------------------------------------


async def keep_worker(
    command: Sequence[str], environment: Mapping[str, str], *, stop: asyncio.Event, telemetry: Telemetry
) -> None:
    """Run the worker's process until `stop`, and start it anew whenever it ends by itself; then let it drain."""
    while not stop.is_set():
        # Killed with us, not asked to drain: whoever starts the platform again need not wait for it.
        child = await _spawn(command, environment, dies_by=signal.SIGKILL)
        try:
            await _either(child.wait(), stop.wait())
        finally:
            status = child.returncode
            await _end(child, within_s=WORKER_STOP_S)
        if status is not None:
            telemetry.error("worker.ended", status=status)
            await _either(asyncio.sleep(RESTART_PAUSE_S), stop.wait())
            if not stop.is_set():
                telemetry.warning("worker.restarted")


async def _either(*waits: Any) -> None:
    """Return when the first of them does."""
    tasks = [asyncio.ensure_future(one) for one in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


# -- the simulator ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def simulator_beside(
    storage: Storage, folder: Path, notify_url: str, *, wanted: bool
) -> AsyncIterator[Simulated]:
    """The provider simulator as a child process, with books that survive it."""
    if not wanted:
        yield Simulated()
        return
    credentials = {name: await _simulator_credentials(storage, name) for name in SIMULATORS}
    with tempfile.TemporaryDirectory(prefix="interlock-") as scratch:
        ready, handed_over = Path(scratch, "ready.json"), Path(scratch, "secrets.json")
        write_private(handed_over, msgspec.json.encode(credentials))
        command = [sys.executable, "-m", "interlock.simulator", "--names", ",".join(SIMULATORS)]
        command += ["--notify-url", notify_url, "--ready-file", str(ready)]
        command += ["--secrets-file", str(handed_over), "--books", str(folder / "simulator")]
        child = await _spawn(command, None, dies_by=signal.SIGTERM)
        watch: asyncio.Task[None] | None = None
        try:
            started = await _when_ready(child, ready)
            watch = asyncio.create_task(_notice_end(child, storage))
            yield Simulated(
                control_url=started.control_url,
                signing_secret=credentials[SIMULATORS[0]]["signing_secrets"][0],
                providers=tuple(
                    ProviderSettings(name, "simulator", started.instances[name].base_url) for name in SIMULATORS
                ),
            )
        finally:
            if watch is not None:
                watch.cancel()
            await _end(child, within_s=SIMULATOR_STOP_S)


async def _simulator_credentials(storage: Storage, name: str) -> dict[str, Any]:
    """Of one instance, made at the first start and kept with the other secrets."""
    made = {}
    for credential in ("api_key", "signing_secret"):
        kept = await storage.secrets.get(f"provider/{name}/{credential}")
        made[credential] = kept[0].reveal() if kept else secrets.token_urlsafe(32)
        if not kept:
            await keep_credential(storage, name, credential, made[credential])
    return {"api_key": made["api_key"], "signing_secrets": [made["signing_secret"]]}


async def _when_ready(child: Process, ready: Path) -> _SimulatorReady:
    async with asyncio.timeout(SIMULATOR_START_S):
        while not ready.exists():
            if child.returncode is not None:
                raise OSError(f"the provider simulator ended at once with status {child.returncode}")
            await asyncio.sleep(0.02)
    return msgspec.json.decode(ready.read_bytes(), type=_SimulatorReady)


async def _notice_end(child: Process, storage: Storage) -> None:
    """Payments go on without it and fail over, or wait; a person must know why."""
    status = await child.wait()
    storage.telemetry.error("simulator.ended", status=status)


# -- any child ----------------------------------------------------------------------------------------------------------


async def _spawn(command: Sequence[str], environment: Mapping[str, str] | None, *, dies_by: signal.Signals) -> Process:
    return await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=DEVNULL,
        stdout=DEVNULL,
        start_new_session=True,  # Ctrl-C is for us, who then end it in order
        preexec_fn=_dying_with(os.getpid(), dies_by),
    )


def _dying_with(parent: int, number: signal.Signals) -> Callable[[], None]:
    """In the child: when this process is killed, it must not live on with its ports and locks."""
    if sys.platform != "linux":
        return lambda: None
    prctl = ctypes.CDLL(None).prctl  # loaded here: after a fork as little as possible should happen

    def die_with_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # too late to be told
            os.kill(os.getpid(), signal.SIGKILL)

    return die_with_parent


async def _end(child: Process, *, within_s: float) -> None:
    if child.returncode is not None:
        return
    with suppress(ProcessLookupError):
        child.terminate()
    try:
        await asyncio.wait_for(child.wait(), within_s)
    except TimeoutError:
        child.kill()
        await child.wait()
