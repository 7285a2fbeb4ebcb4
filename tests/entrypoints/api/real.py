"""The real thing, from outside: `interlock up` as a process of its own, reached over its sockets, looked at in its files."""

from __future__ import annotations

import base64
import itertools
import os
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from interlock.entrypoints.local import LOG_FILE
from tests.entrypoints.http.example import Response, request, speak

ROOT = Path(__file__).parents[3]
START_S = 60.0
STOP_S = 15.0


class Written(NamedTuple):
    """What a request may leave behind, in numbers."""

    items: int
    events: int
    messages: int
    """In queues."""
    operations: int
    """In the books of all simulated providers."""


class RealPlatform:
    def __init__(self, data: Path, ready: dict[str, Any]) -> None:
        self.data = data
        self.base_url: str = ready["base_url"]
        self.simulator_url: str = ready["simulator_url"]
        self.client_id: str = ready["client_id"]
        self.client_secret: str = ready["client_secret"]
        self.webhook_secret: str = ready["webhook_secret"]
        self.providers: list[str] = ready["providers"]
        self.port: int = urlsplit(self.base_url).port or 0
        self._keys = itertools.count(1)
        self.token = self.log_in(self.client_id, self.client_secret)

    def log_in(self, client_id: str, secret: str) -> str:
        """A fresh access token."""
        basic = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        asked = urllib.request.Request(
            f"{self.base_url}/oauth/token",
            data=b"grant_type=client_credentials",
            headers={"Authorization": f"Basic {basic}"},
        )
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return str(msgspec.json.decode(answer.read())["access_token"])

    def new_key(self) -> str:
        return f"key-{next(self._keys)}"

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> Response:
        """One request on a connection of its own. `body`: bytes as they are, else as JSON; a POST gets a fresh key."""
        raw = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        more.setdefault("key", self.new_key() if method == "POST" else None)
        sent = request(method, path, body=raw, token=token or self.token, headers=headers, **more)
        return await speak(self.port, sent, bodiless=method == "HEAD")

    def written(self) -> Written:
        """As committed. What the platform keeps of itself (positions, probes) is not counted."""
        with closing(sqlite3.connect(f"file:{self.data / 'interlock.db'}?mode=ro", uri=True, timeout=5)) as database:

            def count(statement: str) -> int:
                return int(database.execute(statement).fetchone()[0])

            return Written(
                items=count(f"SELECT count(*) FROM items WHERE {_OF_REQUESTS}"),
                events=count("SELECT count(*) FROM events"),
                messages=count("SELECT count(*) FROM queue_messages")
                + count("SELECT count(*) FROM queue_dead_letters"),
                operations=sum(len(books["operations"]) for books in self.books().values()),
            )

    def books(self) -> dict[str, Any]:
        """Of every simulated provider, by its name."""
        return {name: msgspec.json.decode(_fetch(f"{self.simulator_url}/{name}/books")) for name in self.providers}

    def metrics(self) -> str:
        return _fetch(f"{self.base_url}/metrics").decode()

    def log(self) -> bytes:
        return (self.data / LOG_FILE).read_bytes()


_OF_REQUESTS = " OR ".join(f"partition LIKE 'ten/_%//{kind}//%' ESCAPE '/'" for kind in ("pay", "idem", "ref", "jrn"))
"""Payments, idempotency records, refunds and journals; balances and deliveries follow from them a moment later."""


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        content: bytes = answer.read()
        return content


@contextmanager
def real_platform(data: Path, **settings: object) -> Iterator[RealPlatform]:
    """`interlock up` with its two simulated providers, on free ports, ended with SIGTERM: which must succeed."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("INTERLOCK_")}
    environment |= {f"INTERLOCK_{name.upper()}": str(value) for name, value in settings.items()}
    data.mkdir(parents=True, exist_ok=True)
    ready_file, output = data / "ready.json", data / "output"
    command = [sys.executable, "-m", "interlock.entrypoints.cli", "up", "--empty", "--data", str(data), "--port", "0"]
    with output.open("wb") as written:
        process = subprocess.Popen(
            [*command, "--ready-file", str(ready_file)], cwd=ROOT, env=environment, stdout=written, stderr=written
        )
    try:
        until = time.monotonic() + START_S
        while not ready_file.exists():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the platform does not come up: {output.read_text()[-2000:]}")
            time.sleep(0.02)
        yield RealPlatform(data, msgspec.json.decode(ready_file.read_bytes()))
    finally:
        process.terminate()
        status = process.wait(STOP_S)
    assert status == 0, output.read_text()[-2000:]
