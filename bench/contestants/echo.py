"""The calibration: what uvicorn itself does on one core when it only gives a request's body back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bench import processes

REQUEST_BODY = (
    '{"amount":AMOUNT,"currency":"EUR","payment_method":{"type":"card","token":"tok_approve"},'
    '"reference":"order-NUMBER"}'
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = (await receive())["body"]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Echo:
    name = "echo"

    def __init__(self, folder: Path, *, cores: frozenset[int]) -> None:
        self.ports = [processes.free_port()]
        command = [sys.executable, "-m", "uvicorn", "bench.contestants.echo:app", "--port", str(self.ports[0])]
        command += [
            "--loop",
            "uvloop",
            "--http",
            "httptools",
            "--no-access-log",
            "--log-level",
            "warning",
            "--timeout-keep-alive",
            "75",
        ]
        self._child = processes.start(command, log=folder / "echo.log", cores=cores)
        self._child.until(lambda: processes.answers(self.ports[0]))

    def pids(self) -> list[int]:
        return self._child.pids

    def stop(self) -> None:
        self._child.stop()
