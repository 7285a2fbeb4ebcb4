"""The platform on one machine, data in one folder: API and worker in one process or in two, the provider simulator in a child.

Each role is held by one process at a time (`folder`), so a restarted worker is its only successor: under the same name it
takes the consumer groups over at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from interlock.bootstrap import QUEUES, Platform, Storage, open_platform, open_storage
from interlock.config import Settings
from interlock.core.access.commands import CreateClient
from interlock.core.access.handlers import create_client, ensure_signing_key
from interlock.core.access.ports import Access
from interlock.core.access.scopes import SCOPES
from interlock.core.kernel.errors import InterlockError
from interlock.core.kernel.secrets import Secret
from interlock.entrypoints import worker
from interlock.entrypoints.children import Simulated, keep_worker, simulator_beside
from interlock.entrypoints.folder import LOG_FILE, READY_FILE, DataInUse, Ready, Role, held, remove, write_private
from interlock.entrypoints.garbage import settle
from interlock.entrypoints.http.api import api, worker_api
from interlock.entrypoints.http.server import HttpServer, reserve

__all__ = ["LOG_FILE", "READY_FILE", "DataInUse", "Ready", "WorkerApart", "run", "run_worker"]

TENANT = "ten_local"
MEMBER = "local"
"""In the consumer groups. One name for whichever process is the worker: the folder's lock admits one."""


class WorkerApart(NamedTuple):
    """How to run the worker as a process of its own."""

    command: Sequence[str]
    """Of a worker, without its port; its settings come by the environment."""
    environment: Mapping[str, str]


async def run(
    settings: Settings,
    *,
    roles: Sequence[Role] = tuple(Role),
    worker_apart: WorkerApart | None = None,
    simulator: bool = True,
    ready_file: Path | None = None,
    on_ready: Callable[[Ready], None] | None = None,
) -> None:
    """Serve the API until SIGTERM or SIGINT, then drain; with Role.WORKER, or `worker_apart` in a child, do the rest, too.

    Raises DataInUse, OSError for a taken port, StoreUnavailable, ValueError.
    """
    stop = _stop_by_signal()
    folder = Path(settings.data)
    # The one in the folder is how this machine's tools find the platform, wherever else it is wanted.
    ready_files = {folder / READY_FILE, ready_file or folder / READY_FILE}
    with (
        held(folder, roles),
        (folder / LOG_FILE).open("ab", buffering=0) as log,
        closing(reserve(settings.host, settings.port)) as address,
    ):
        remove(ready_files)  # those of a platform that was killed
        storage = open_storage(settings, log=log, shared=Role.WORKER not in roles)
        base_url = settings.base_url or _url(settings.host, address)
        async with simulator_beside(storage, folder, f"{base_url}/v1/notifications", wanted=simulator) as simulated:
            settings = replace(settings, providers=(*settings.providers, *simulated.providers))
            platform = await open_platform(settings, storage, issuer=base_url)
            try:
                async with AsyncExitStack() as running:
                    worker_url = None
                    if Role.WORKER in roles:
                        await running.enter_async_context(_working(platform, stop))
                    elif worker_apart is not None:
                        worker_url = await running.enter_async_context(_worker_beside(platform, worker_apart, stop))
                    await _serve(platform, address, stop, simulated, worker_url, ready_files, on_ready)
            finally:
                await platform.close()


async def run_worker(
    settings: Settings, *, port: int | None = None, on_ready: Callable[[str | None], None] | None = None
) -> None:
    """Be the worker of a folder whose API another process serves, until SIGTERM or SIGINT, then drain.

    Health and metrics are served at `port`; `on_ready` is told their URL. Raises as `run` does.
    """
    stop = _stop_by_signal()
    folder = Path(settings.data)
    with held(folder, (Role.WORKER,)), (folder / LOG_FILE).open("ab", buffering=0) as log:
        storage = open_storage(settings, log=log, shared=True)
        # No token is issued or read here.
        platform = await open_platform(settings, storage, issuer=settings.base_url or f"http://{settings.host}")
        try:
            async with AsyncExitStack() as running:
                url = None
                if port is not None:
                    address = running.enter_context(closing(reserve(settings.host, port)))
                    await running.enter_async_context(HttpServer(worker_api(platform), reserved=address))
                    url = _url(settings.host, address)
                await running.enter_async_context(_working(platform, stop))
                settle()
                storage.telemetry.info("worker.started")
                if on_ready is not None:
                    on_ready(url)
                await stop.wait()
                storage.telemetry.info("worker.stopping")
        finally:
            await platform.close()


def _stop_by_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


@asynccontextmanager
async def _working(platform: Platform, stop: asyncio.Event) -> AsyncIterator[None]:
    """The worker's loops in this process; they drain from `stop` on."""
    storage = platform.storage
    await _take_over(storage)
    loops = worker.loops(platform, member=MEMBER)
    work = asyncio.create_task(worker.run(loops, stop=stop, clock=storage.clock, telemetry=storage.telemetry))
    try:
        yield
    finally:
        stop.set()
        await work


async def _take_over(storage: Storage) -> None:
    """For a worker that is known to be the only one: what the one before it had leased when it died need not wait."""
    leases = storage.leases
    assert leases is not None  # this machine's queue has them
    for spec in QUEUES:
        try:
            await leases.end_leases(spec.name)
        except InterlockError as error:  # the leases end by themselves
            storage.telemetry.warning("worker.takeover_failed", queue=spec.name, code=error.code)


@asynccontextmanager
async def _worker_beside(platform: Platform, apart: WorkerApart, stop: asyncio.Event) -> AsyncIterator[str]:
    """The worker in a child process, which drains from `stop` on; where its health and metrics are."""
    settings = platform.settings
    with closing(reserve(settings.host)) as address:  # Kept from others between two lives of the worker, too.
        command = [*apart.command, "--port", str(address.getsockname()[1])]
        environment = {**apart.environment, **settings.as_environment()}
        work = asyncio.create_task(
            keep_worker(command, environment, stop=stop, telemetry=platform.storage.telemetry),
        )
        try:
            yield _url(settings.host, address)
        finally:
            stop.set()
            await work


async def _serve(
    platform: Platform,
    address: socket.socket,
    stop: asyncio.Event,
    simulated: Simulated,
    worker_url: str | None,
    ready_files: set[Path],
    on_ready: Callable[[Ready], None] | None,
) -> None:
    storage = platform.storage
    await ensure_signing_key(platform.access)
    client_id, client_secret = await _local_client(platform.access, storage)
    try:
        async with HttpServer(api(platform), reserved=address):
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
                worker_url=worker_url,
            )
            for ready_file in ready_files:
                write_private(ready_file, msgspec.json.format(msgspec.json.encode(ready)))
            settle()
            storage.telemetry.info("platform.started", port=address.getsockname()[1])
            if on_ready is not None:
                on_ready(ready)
            await stop.wait()
            storage.telemetry.info("platform.stopping")
    finally:
        remove(ready_files)


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


def _url(host: str, address: socket.socket) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{address.getsockname()[1]}"
