"""The platform on one machine: API and worker in this process, the provider simulator in a child, data in one folder."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec.structs import replace

from interlock.bootstrap import Platform, Storage, keep_credential, open_platform, open_storage
from interlock.config import ProviderSettings, Settings
from interlock.core.access.commands import CreateClient
from interlock.core.access.handlers import create_client, ensure_signing_key
from interlock.core.access.ports import Access
from interlock.core.access.scopes import SCOPES
from interlock.core.kernel.secrets import Secret
from interlock.entrypoints import worker
from interlock.entrypoints.http.api import api
from interlock.entrypoints.http.server import HttpServer

READY_FILE = "ready.json"
LOG_FILE = "interlock.log"
TENANT = "ten_local"
MEMBER = "local"
"""The folder's lock admits one: after a crash it takes over from itself at once."""
SIMULATORS = ("simulator", "simulator_b")
SIMULATOR_START_S = 20.0
SIMULATOR_STOP_S = 5.0
_PR_SET_PDEATHSIG = 1


class DataInUse(Exception):
    """Another process runs the platform on this folder."""


class Ready(msgspec.Struct, frozen=True):
    """What the ready file says once everything answers. Readable by its owner only: it holds a client's secret."""

    base_url: str
    console_url: str | None
    """null: this release has no console."""
    simulator_url: str | None
    """The simulator's control: /books, /faults, /reset. null when it was started without one."""
    token_url: str
    client_id: str
    client_secret: str
    webhook_secret: str | None
    """What the simulator signs its notifications with."""
    console_user: str | None
    console_password: str | None
    providers: list[str]
    pid: int


async def run(
    settings: Settings,
    *,
    simulator: bool = True,
    ready_file: Path | None = None,
    on_ready: Callable[[Ready], None] | None = None,
) -> None:
    """Run until SIGTERM or SIGINT, then drain. Raises DataInUse, OSError for a taken port, StoreUnavailable, ValueError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    folder = Path(settings.data)
    # The one in the folder is how this machine's tools find the platform, wherever else it is wanted.
    ready_files = {folder / READY_FILE, ready_file or folder / READY_FILE}
    with _locked(folder), (folder / LOG_FILE).open("ab", buffering=0) as log:
        _remove(ready_files)  # those of a platform that was killed
        storage = open_storage(settings, log=log)
        port = settings.port or _free_port(settings.host)
        base_url = settings.base_url or f"http://{settings.host}:{port}"
        async with _simulator(storage, folder, f"{base_url}/v1/notifications", wanted=simulator) as simulated:
            settings = replace(settings, providers=(*settings.providers, *simulated.providers))
            platform = await open_platform(settings, storage, issuer=base_url)
            try:
                await _serve(platform, port, stop, simulated, ready_files, on_ready)
            finally:
                await platform.close()


async def _serve(
    platform: Platform,
    port: int,
    stop: asyncio.Event,
    simulated: _Simulated,
    ready_files: set[Path],
    on_ready: Callable[[Ready], None] | None,
) -> None:
    storage = platform.storage
    await ensure_signing_key(platform.access)
    client_id, client_secret = await _local_client(platform.access, storage)
    loops = worker.loops(platform, member=MEMBER)
    work = asyncio.create_task(worker.run(loops, stop=stop, clock=storage.clock, telemetry=storage.telemetry))
    try:
        async with HttpServer(api(platform), host=platform.settings.host, port=port):
            ready = Ready(
                base_url=platform.issuer,
                console_url=None,
                simulator_url=simulated.control_url,
                token_url=f"{platform.issuer}/oauth/token",
                client_id=client_id,
                client_secret=client_secret.reveal(),
                webhook_secret=simulated.signing_secret,
                console_user=None,
                console_password=None,
                providers=list(platform.engine.names()),
                pid=os.getpid(),
            )
            for ready_file in ready_files:
                _write_private(ready_file, msgspec.json.format(msgspec.json.encode(ready)))
            storage.telemetry.info("platform.started", port=port)
            if on_ready is not None:
                on_ready(ready)
            await stop.wait()
            storage.telemetry.info("platform.stopping")
    finally:
        stop.set()
        await work
        _remove(ready_files)


async def _local_client(access: Access, storage: Storage) -> tuple[str, Secret]:
    """The client this machine's tools use, made at the first start. Its secret is kept in the secrets file."""
    kept = await storage.secrets.get("local/client")
    if kept:
        client_id, _, secret = kept[0].reveal().partition(":")
        return client_id, Secret(secret)
    made = await create_client(access, CreateClient(TENANT, "this machine", tuple(SCOPES)), actor="local")
    assert made.secret is not None
    await storage.secrets.put("local/client", [Secret(f"{made.client.id}:{made.secret.reveal()}")])
    return made.client.id, made.secret


class _Simulated(msgspec.Struct, frozen=True):
    control_url: str | None = None
    signing_secret: str | None = None
    providers: tuple[ProviderSettings, ...] = ()


class _Instance(msgspec.Struct):
    base_url: str


class _SimulatorReady(msgspec.Struct):
    control_url: str
    instances: dict[str, _Instance]


@asynccontextmanager
async def _simulator(storage: Storage, folder: Path, notify_url: str, *, wanted: bool) -> AsyncIterator[_Simulated]:
    """The provider simulator as a child process, with books that survive it."""
    if not wanted:
        yield _Simulated()
        return
    credentials = {name: await _simulator_credentials(storage, name) for name in SIMULATORS}
    with tempfile.TemporaryDirectory(prefix="interlock-") as scratch:
        ready, handed_over = Path(scratch, "ready.json"), Path(scratch, "secrets.json")
        _write_private(handed_over, msgspec.json.encode(credentials))
        arguments = ["-m", "interlock.simulator", "--names", ",".join(SIMULATORS), "--notify-url", notify_url]
        arguments += [
            "--ready-file",
            str(ready),
            "--secrets-file",
            str(handed_over),
            "--books",
            str(folder / "simulator"),
        ]
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        watch: asyncio.Task[None] | None = None
        try:
            started = await _when_ready(child, ready)
            watch = asyncio.create_task(_notice_end(child, storage))
            yield _Simulated(
                control_url=started.control_url,
                signing_secret=credentials[SIMULATORS[0]]["signing_secrets"][0],
                providers=tuple(
                    ProviderSettings(name, "simulator", started.instances[name].base_url) for name in SIMULATORS
                ),
            )
        finally:
            if watch is not None:
                watch.cancel()
            await _end(child)


async def _simulator_credentials(storage: Storage, name: str) -> dict[str, Any]:
    """Of one instance, made at the first start and kept with the other secrets."""
    made = {}
    for credential in ("api_key", "signing_secret"):
        kept = await storage.secrets.get(f"provider/{name}/{credential}")
        made[credential] = kept[0].reveal() if kept else secrets.token_urlsafe(32)
        if not kept:
            await keep_credential(storage, name, credential, made[credential])
    return {"api_key": made["api_key"], "signing_secrets": [made["signing_secret"]]}


async def _when_ready(child: asyncio.subprocess.Process, ready: Path) -> _SimulatorReady:
    async with asyncio.timeout(SIMULATOR_START_S):
        while not ready.exists():
            if child.returncode is not None:
                raise OSError(f"the provider simulator ended at once with status {child.returncode}")
            await asyncio.sleep(0.02)
    return msgspec.json.decode(ready.read_bytes(), type=_SimulatorReady)


async def _notice_end(child: asyncio.subprocess.Process, storage: Storage) -> None:
    """Payments go on without it and fail over, or wait; a person must know why."""
    status = await child.wait()
    storage.telemetry.error("simulator.ended", status=status)


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    child.terminate()
    try:
        await asyncio.wait_for(child.wait(), SIMULATOR_STOP_S)
    except TimeoutError:
        child.kill()
        await child.wait()


def _die_with_parent() -> None:
    """In the child: when this process is killed, the simulator must not live on with its ports."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class _locked:
    """One platform for one folder. The lock goes with the process, however it ends."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = folder / "lock"
        self._file: IO[str] | None = None

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise DataInUse(f"another platform runs on {self._path.parent}") from None

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as probe:
        port: int = probe.getsockname()[1]
        return port


def _remove(paths: set[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _write_private(path: Path, content: bytes) -> None:
    """Whole or not at all, and readable by the owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    draft.replace(path)
