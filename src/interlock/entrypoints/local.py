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
from importlib import resources
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
from interlock.core.desk.operators.handlers import add_operator
from interlock.core.desk.operators.ports import Operators
from interlock.core.desk.operators.roles import Role as OperatorRole
from interlock.core.desk.slo.handlers import load_slos, put_slos
from interlock.core.desk.slo.templates import written_for
from interlock.core.kernel.errors import InterlockError
from interlock.core.kernel.secrets import Secret
from interlock.entrypoints import worker
from interlock.entrypoints.children import Simulated, keep_worker, simulator_beside
from interlock.entrypoints.console.console import Front, console
from interlock.entrypoints.console.pages import ROOT
from interlock.entrypoints.folder import LOG_FILE, READY_FILE, DataInUse, Ready, Role, held, remove, write_private
from interlock.entrypoints.garbage import settle
from interlock.entrypoints.http.api import api, worker_api
from interlock.entrypoints.http.server import HttpServer, reserve
from interlock.entrypoints.sample_day import make_sample_day

__all__ = ["LOG_FILE", "READY_FILE", "DataInUse", "Ready", "WorkerApart", "run", "run_worker"]

TENANT = "ten_local"
FIRST_CURRENCIES = ("EUR", "USD")
OPERATOR, PASSWORD_BYTES = "admin", 12
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
    sample_day: bool = False,
    ready_file: Path | None = None,
    on_ready: Callable[[Ready], None] | None = None,
) -> None:
    """Serve API and console until SIGTERM or SIGINT, then drain; with Role.WORKER, or `worker_apart` in a child, do the rest, too.

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
            if sample_day and simulated.providers:
                # At these alone: whatever else is configured may move real money.
                await make_sample_day(replace(settings, providers=simulated.providers), storage, issuer=base_url)
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
    operator, password = await _local_operator(platform.desk.operators, storage)
    await _first_objectives(platform)
    try:
        front = Front(api(platform), console(platform))
        async with HttpServer(front, reserved=address, proxies=platform.settings.trusted_proxies):
            ready = Ready(
                base_url=platform.issuer,
                console_url=f"{platform.issuer}{ROOT}",
                simulator_url=simulated.control_url,
                token_url=f"{platform.issuer}/oauth/token",
                client_id=client_id,
                client_secret=client_secret.reveal(),
                webhook_secret=simulated.signing_secret,
                console_user=operator,
                console_password=password.reveal() if password else None,
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
            front.close()  # open pages are not waited for
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


async def _local_operator(operators: Operators, storage: Storage) -> tuple[str, Secret] | tuple[None, None]:
    """Who signs in to the console of this machine, made at the first start. The password is kept in the secrets file.

    Nobody where people sign in at an issuer alone.
    """
    if not operators.passwords:
        return None, None
    kept = await storage.secrets.get("local/operator")
    if kept:
        return OPERATOR, kept[0]
    password = Secret(operators.token_bytes(PASSWORD_BYTES).hex())
    await add_operator(
        operators,
        name=OPERATOR,
        role=OperatorRole.ADMIN,
        password=password.reveal(),
        actor="local",
        replace_existing=True,
    )
    await storage.secrets.put("local/operator", [password])
    return OPERATOR, password


async def _first_objectives(platform: Platform) -> None:
    """The shipped objectives, written out for this machine's providers, unless there are some."""
    if await load_slos(platform.desk.objectives):
        return
    template = resources.files("interlock.core.desk.slo").joinpath("default.openslo.yaml").read_text("utf-8")
    text = written_for(template, providers=platform.engine.names(), currencies=FIRST_CURRENCIES)
    await put_slos(platform.desk.objectives, text, "local")


def _url(host: str, address: socket.socket) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{address.getsockname()[1]}"
