"""The platform on AWS's storage as long-running processes, for containers: the API or the worker, one role a process.

Nothing outlives a process on its machine; log lines go to standard output. Any number of each may run: who is at work is
settled in the table, by Kafka's groups and by the queues.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

from interlock.bootstrap import Platform
from interlock.bootstrap_aws import open_platform_on_aws
from interlock.config import Settings
from interlock.entrypoints import worker
from interlock.entrypoints.console.console import Front, console
from interlock.entrypoints.http.api import api, worker_api
from interlock.entrypoints.http.server import HttpServer, reserve

OnReady = Callable[[str], None]


async def run_api(settings: Settings, *, on_ready: OnReady | None = None) -> None:
    """Serve API and console until SIGTERM or SIGINT, then drain. Raises OSError for a taken port, ValueError, StoreUnavailable."""
    stop = _stop_by_signal()
    async with _platform(settings) as platform, AsyncExitStack() as running:
        address = running.enter_context(closing(reserve(settings.host, settings.port)))
        front = Front(api(platform), console(platform))
        server = HttpServer(front, reserved=address, proxies=settings.trusted_proxies)
        await running.enter_async_context(server)
        running.callback(front.close)  # before the server drains: open pages are not waited for
        _tell(platform, address, on_ready, "platform.started")
        await stop.wait()


async def run_worker(settings: Settings, *, port: int | None = None, on_ready: OnReady | None = None) -> None:
    """Do what the platform does by itself until SIGTERM or SIGINT, then drain; health and metrics at `port`.

    Raises as `run_api` does; ValueError, too, for settings under which nobody would bring back what is parked.
    """
    if settings.aws is not None and settings.aws.park:
        raise ValueError("aws.park: a worker sets no schedules, so it must not park; functions do")
    stop = _stop_by_signal()
    async with _platform(settings) as platform, AsyncExitStack() as running:
        address = running.enter_context(closing(reserve(settings.host, port or 0)))
        await running.enter_async_context(HttpServer(worker_api(platform), reserved=address))
        storage = platform.storage
        loops = worker.loops(platform, member=f"{socket.gethostname()}-{os.getpid()}")
        work = asyncio.create_task(worker.run(loops, stop=stop, clock=storage.clock, telemetry=storage.telemetry))
        _tell(platform, address, on_ready, "worker.started")
        await stop.wait()
        await work


@asynccontextmanager
async def _platform(settings: Settings) -> AsyncIterator[Platform]:
    platform = await open_platform_on_aws(settings, scratch=Path(settings.data))
    try:
        yield platform
    finally:
        await platform.close()


def _tell(platform: Platform, address: socket.socket, on_ready: OnReady | None, event: str) -> None:
    host, port = address.getsockname()[:2]
    platform.storage.telemetry.info(event, port=port)
    if on_ready is not None:
        on_ready(f"http://{host}:{port}")


def _stop_by_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
