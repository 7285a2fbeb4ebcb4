"""The real processes of a crash test: API, worker and provider simulator, started, killed and asked to stop from outside."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
import msgspec

from tests.crash.disk import Disk
from tests.free_ports import free_ports

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0
COMMAND_S = 120.0
LOOK_EVERY_S = 0.02
PROVIDERS = ("simulator", "simulator_b")
COMMAND = (sys.executable, "-m", "interlock.entrypoints.cli")
SETTINGS = """\
data = "{data}"
port = {port}
attempt_deadline_s = 3.0
sweep_interval_s = 0.2
webhook_timeout_s = 3.0
webhook_allow_loopback = true
"""
PROVIDER = """\
[[providers]]
name = "{name}"
kind = "simulator"
base_url = "http://127.0.0.1:{port}"
connect_timeout_s = 0.4
read_timeout_s = 0.8
total_timeout_s = 1.0
"""


class Ended(Exception):
    """A process ended by itself."""


class Process:
    """One command, run again and again."""

    def __init__(self, name: str, command: tuple[str, ...], output: Path, environment: Mapping[str, str]) -> None:
        self.name, self.command, self.output, self.environment = name, command, output, environment
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        assert not self.runs
        self.starts += 1
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                self.command, cwd=ROOT, stdout=output, stderr=output, env=dict(self.environment)
            )

    def kill(self) -> None:
        """SIGKILL, unless it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def terminate(self) -> tuple[int, float]:
        """SIGTERM; the exit status, and how long it took."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        return await self.ended(), time.monotonic() - began

    async def ended(self) -> int:
        """The exit status of a process that is to end by itself."""
        assert self._process is not None
        async with asyncio.timeout(PATIENCE_S):
            while (status := self._process.poll()) is None:
                await asyncio.sleep(LOOK_EVERY_S)
        return status

    def said(self) -> str:
        return self.output.read_text(errors="replace")[-2000:] if self.output.exists() else ""


class Processes:
    """The three of them, on one folder of data."""

    def __init__(self, folder: Path, disk: Disk, environment: Mapping[str, str], faults: Mapping[str, object]) -> None:
        """`environment` is added to everybody's; `faults` is the simulator's plan."""
        self.folder, self.disk, self.data = folder, disk, disk.folder
        api_port, self._worker_port, simulator_port = free_ports(1, 1, 1 + len(PROVIDERS))  # its instances behind it
        self.base_url = f"http://127.0.0.1:{api_port}"
        self.simulator_url = f"http://127.0.0.1:{simulator_port}"
        self._session: aiohttp.ClientSession | None = None
        everybody = {name: value for name, value in os.environ.items() if not name.startswith("INTERLOCK_")}
        everybody |= environment
        settings = folder / "settings.toml"
        settings.write_text(
            SETTINGS.format(data=self.data, port=api_port)
            + "".join(
                PROVIDER.format(name=name, port=simulator_port + place) for place, name in enumerate(PROVIDERS, 1)
            )
        )
        self._credentials = folder / "credentials.json"
        (folder / "faults.json").write_bytes(msgspec.json.encode(faults))

        def process(name: str, *command: object) -> Process:
            return Process(name, tuple(map(str, command)), folder / f"{name}.output", everybody)

        self.api = process("api", *COMMAND, "api", "--settings", settings)
        self.worker = process("worker", *COMMAND, "worker", "--settings", settings, "--port", self._worker_port)
        self.simulator = process(
            *("simulator", sys.executable, "-m", "interlock.simulator", "--names", ",".join(PROVIDERS)),
            *("--port", simulator_port, "--books", folder / "books", "--secrets-file", self._credentials),
            *("--notify-url", f"{self.base_url}/v1/notifications", "--faults", folder / "faults.json"),
        )

    @property
    def roles(self) -> tuple[Process, Process]:
        return self.api, self.worker

    async def __aenter__(self) -> Processes:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2))
        self._keep_credentials()
        for one in (self.simulator, *self.roles):
            one.start()
        await self.ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        for one in (*self.roles, self.simulator):
            one.kill()
        assert self._session is not None
        await self._session.close()

    async def ready(self) -> None:
        """Return when everybody answers. Raises Ended, TimeoutError."""
        for one, url in (
            (self.simulator, f"{self.simulator_url}/healthz"),
            (self.api, f"{self.base_url}/readyz"),
            (self.worker, f"http://127.0.0.1:{self._worker_port}/healthz"),
        ):
            async with asyncio.timeout(PATIENCE_S):
                while not await self._answers(url):
                    if not one.runs:
                        raise Ended(f"the {one.name} ended by itself: {one.said()}")
                    await asyncio.sleep(LOOK_EVERY_S)

    async def is_ready(self) -> bool:
        """Whether the API says that it can take work."""
        return await self._answers(f"{self.base_url}/readyz")

    async def date(self) -> float:
        """What the API's clock says, to the second."""
        assert self._session is not None
        async with self._session.get(f"{self.base_url}/healthz") as answer:
            return parsedate_to_datetime(answer.headers["date"]).timestamp()

    def command(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """A command of operators on the folder, run to its end."""
        return subprocess.run(
            [*COMMAND, *arguments, "--data", str(self.data)],
            cwd=ROOT,
            env=dict(self.api.environment),
            input=given,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )

    async def _answers(self, url: str) -> bool:
        assert self._session is not None
        try:
            async with self._session.get(url) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    def _keep_credentials(self) -> None:
        """Of the providers: made here, told to the simulator by a file and to the platform by its own command."""
        made = {
            name: {"api_key": secrets.token_urlsafe(24), "signing_secrets": [secrets.token_urlsafe(32)]}
            for name in PROVIDERS
        }
        self._credentials.write_bytes(msgspec.json.encode(made))
        self._credentials.chmod(0o600)
        for name, one in made.items():
            for credential, value in (("api_key", one["api_key"]), ("signing_secret", one["signing_secrets"][0])):
                done = self.command("secrets", "set", name, credential, given=value)
                assert done.returncode == 0, done.stderr
