"""The platform as it is shipped: `interlock up` on a folder of its own, with logs, metrics, sampled traces and all loops."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
import urllib.parse
import urllib.request
from enum import Enum
from pathlib import Path
from typing import Any

from bench import machine, processes
from bench.course import CaughtUp
from bench.provider import NAME, Provider
from interlock.bootstrap import QUEUES, Storage, keep_credential, open_storage
from interlock.config import PREFIX, Settings
from interlock.entrypoints.worker import EVENTS_TOPIC, RELAY_POSITION


class Consumers(Enum):
    """When the worker does its part: relay, lists, balances, webhooks, log."""

    WITHIN = "in the API's process, while requests come in"
    BESIDE = "in a process of its own, while requests come in"
    AFTERWARDS = "in a process of its own, on the same cores, once no request comes in any more"


ARGUMENTS = {
    Consumers.WITHIN: ("up", "--no-simulator"),
    Consumers.BESIDE: ("up", "--no-simulator", "--worker-apart"),
    Consumers.AFTERWARDS: ("api",),
}
GROUPS = ("read_models", "ledger_balances", "webhooks", "log")
CATCH_UP_S = 300.0
LOOK_EVERY_S = 0.05


class NotCaughtUp(Exception):
    """The consumers were still behind when time was up."""


class Interlock:
    def __init__(
        self,
        folder: Path,
        provider: Provider,
        *,
        cores: frozenset[int],
        name: str = "interlock",
        consumers: Consumers = Consumers.WITHIN,
    ) -> None:
        self.name = name
        self.folder = folder
        self._consumers, self._cores, self._settings = consumers, cores, _environment(provider)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        asyncio.run(_keep_credentials(folder, provider))
        ready_file = folder / "ready.json"
        ready_file.unlink(missing_ok=True)
        self._child = self._start(*ARGUMENTS[consumers], "--port", "0")
        self._child.until(ready_file.exists)
        self._ready: dict[str, Any] = json.loads(ready_file.read_text())
        self.ports = [int(self._ready["base_url"].rpartition(":")[2])]

    def token(self) -> str:
        """A fresh access token of this machine's client."""
        return _fetch_token(self._ready)

    def pids(self) -> list[int]:
        return self._child.pids

    def catch_up(self) -> CaughtUp:
        """Wait until every consumer has done all there is. Raises NotCaughtUp."""
        if self._consumers is not Consumers.AFTERWARDS:
            return CaughtUp(asyncio.run(_catch_up(self.folder)), 0.0)
        worker = self._start("worker")
        try:
            worker.until(lambda: "The worker runs" in worker.said())
            before = machine.cpu_s(worker.pids)
            seconds = asyncio.run(_catch_up(self.folder))
            return CaughtUp(seconds, machine.cpu_s(worker.pids) - before)
        finally:
            worker.stop()

    def _start(self, *arguments: str) -> processes.Child:
        command = [sys.executable, "-m", "interlock.entrypoints.cli", *arguments, "--data", str(self.folder)]
        log = self.folder / f"{arguments[0]}.log"
        log.write_bytes(b"")
        return processes.start(command, log=log, cores=self._cores, environment=self._settings)

    def stop(self) -> None:
        status = self._child.stop()
        if status != 0:
            raise RuntimeError(f"the platform ended with status {status}: {self._child.said()}")


def _environment(provider: Provider) -> dict[str, str]:
    """Defaults but for these: who the provider is, and a rate limit that one client with thousands of requests never meets."""
    providers = [{"name": NAME, "kind": "simulator", "base_url": provider.base_url}]
    given: dict[str, object] = {
        "providers": providers,
        "rate_limit_per_s": 1_000_000,
        "rate_limit_burst": 1_000_000,
    }
    return {f"{PREFIX}{name.upper()}": json.dumps(value) for name, value in given.items()}


async def _keep_credentials(folder: Path, provider: Provider) -> None:
    with Path("/dev/null").open("wb") as nowhere:
        storage = open_storage(Settings(data=str(folder)), log=nowhere)
        await keep_credential(storage, NAME, "api_key", provider.api_key)
        await keep_credential(storage, NAME, "signing_secret", provider.signing_secret)
        await storage.close()


def _fetch_token(ready: dict[str, Any]) -> str:
    login = base64.b64encode(f"{ready['client_id']}:{ready['client_secret']}".encode()).decode()
    body = urllib.parse.urlencode({"grant_type": "client_credentials"}).encode()
    request = urllib.request.Request(ready["token_url"], body, {"Authorization": f"Basic {login}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        token: str = json.load(answer)["access_token"]
        return token


async def _catch_up(folder: Path) -> float:
    with Path("/dev/null").open("wb") as nowhere:
        storage = open_storage(Settings(data=str(folder)), log=nowhere)
        try:
            return await wait_until_caught_up(storage)
        finally:
            await storage.close()


async def wait_until_caught_up(storage: Storage) -> float:
    """Return once the relay has published all there is and every consumer has passed it; how many seconds that took.

    Raises NotCaughtUp. Reads beside whatever runs on the folder, and writes nothing.
    """
    began = time.monotonic()
    while time.monotonic() < began + CATCH_UP_S:
        position = await storage.store.get(RELAY_POSITION)
        behind = position is None or bool(await storage.feed.read(after=position.value.decode(), limit=1))
        lags = [await storage.bus.lag(EVENTS_TOPIC, group=group) for group in GROUPS]
        waiting = [await storage.queue.depth(queue.name) for queue in QUEUES]
        if not behind and not any(lags) and not any(one.ready + one.leased for one in waiting):
            return time.monotonic() - began
        await asyncio.sleep(LOOK_EVERY_S)
    raise NotCaughtUp(f"after {CATCH_UP_S:g} s: relay behind {behind}, consumers {lags}")
