"""CPU a request costs in the HTTP layer alone: `python -m bench.http_overhead`.

One process serves, another one (this) drives it over loopback with keep-alive connections and counts answers. What is
compared is the server's own CPU time per request: a bare ASGI echo, and the dispatcher.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import resource
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import uvloop

from interlock.backends.telemetry import PlatformTelemetry
from interlock.core.access.model import Principal
from interlock.core.access.rates import Allowance
from interlock.core.payments.commands import CreatePayment
from interlock.entrypoints.http.app import Edge, HttpApp
from interlock.entrypoints.http.routing import Answer, Call, Route
from interlock.entrypoints.http.server import HttpServer

BODY = (
    b'{"amount":1999,"currency":"EUR","payment_method":{"type":"card","token":"tok_approve"},'
    b'"reference":"order-17","metadata":{"basket":"7781"}}'
)
REQUEST = (
    b"POST /v1/payments HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n"
    b"Authorization: Bearer abcdefghijklmnopqrstuvwxyz0123456789\r\nContent-Type: application/json\r\n"
    b"Idempotency-Key: 5f0c8a52-7a9b-4a3e-9f5c-0123456789ab\r\nContent-Length: %d\r\n\r\n" % len(BODY)
) + BODY
ANSWER = b'{"id":"pay_01","object":"payment","status":"succeeded"' + b',"field":"value"' * 50 + b"}"


class Numbered:
    def __init__(self) -> None:
        self._n = 0

    def new(self, prefix: str) -> str:
        self._n += 1
        return f"{prefix}_{self._n:026d}"


async def _authenticate(_: str) -> Principal:
    return CALLER


async def _create(call: Call) -> Answer:
    call.request()
    return Answer(201, ANSWER)


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


class Silent:
    """Telemetry that costs nothing: its own cost is measured apart."""

    class _Span:
        traceparent = ""

        def set(self, **_: Any) -> None: ...

    span_ = nullcontext(_Span())

    def observe(self, *_: Any, **__: Any) -> None: ...

    def count(self, *_: Any, **__: Any) -> None: ...

    def span(self, *_: Any, **__: Any) -> AbstractContextManager[Any]:
        return self.span_


CALLER = Principal("cli_bench", "ten_bench", frozenset({"payments:write"}), "token", 0)


def _dispatcher(telemetry: Any) -> HttpApp:
    route = Route(
        method="POST",
        path="/v1/payments",
        endpoint=_create,
        operation_id="createPayment",
        summary="",
        scope="payments:write",
        body=CreatePayment,
        idempotent=True,
    )
    allowance = Allowance(True, 1000, 999, 0.5, 0)
    return HttpApp([route], Edge(_authenticate, lambda _: allowance, telemetry, Numbered()))


APPS: dict[str, Callable[[], Any]] = {
    "echo": lambda: _echo,
    "dispatcher, silent telemetry": lambda: _dispatcher(Silent()),
    "dispatcher": lambda: _dispatcher(PlatformTelemetry()),
}


def _serve(name: str, pipe: Any) -> None:
    async def main() -> None:
        server = HttpServer(APPS[name]())
        pipe.send(await server.start())
        while True:
            await asyncio.to_thread(pipe.recv)
            usage = resource.getrusage(resource.RUSAGE_SELF)
            pipe.send(usage.ru_utime + usage.ru_stime)

    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(main())


async def _drive(port: int, *, connections: int, requests: int) -> None:
    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(requests // connections):
            writer.write(REQUEST)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 201"), head
            await reader.readexactly(len(ANSWER))
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))


def measure(name: str, *, connections: int, requests: int) -> float:
    """Microseconds of the server's CPU per request."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(name, theirs), daemon=True)
    process.start()
    port = ours.recv()
    run: Callable[[int], Awaitable[None]] = lambda n: _drive(port, connections=connections, requests=n)  # noqa: E731
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(connections * 20))
        ours.send(None)
        before = ours.recv()
        runner.run(run(requests))
        ours.send(None)
        spent = ours.recv() - before
    process.kill()
    process.join()
    return float(spent / requests * 1e6)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    best = {
        name: min(
            measure(name, connections=options.connections, requests=options.requests) for _ in range(options.rounds)
        )
        for name in APPS
    }
    for name, us in best.items():
        print(f"{name:30} {us:7.1f} us  (+{us - best['echo']:5.1f})")
    return 0


if __name__ == "__main__":
    assert socket.gethostbyname("localhost").startswith("127.")
    sys.exit(main())
