"""Endpoints on this machine: 127.0.0.2 plays a public address, 127.0.0.1 a private one."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from interlock.backends.local.clock import SystemClock
from interlock.backends.outbound.sender import AiohttpWebhookSender
from interlock.core.webhooks.ports import SendResult

PUBLIC, PRIVATE = "127.0.0.2", "127.0.0.1"
HEADERS = {"content-type": "application/json", "webhook-id": "evt_1"}
BODY = b'{"id":"evt_1"}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nthanks"


def refuse(address: str) -> str | None:
    return None if address == PUBLIC else "private"


class Names:
    """A resolver whose answers are scripted; the last one stays."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not answer:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return answer


class Server:
    """Reads one request, then does what it is told with the connection."""

    def __init__(self, port: int, requests: list[bytes], tls_names: list[str | None]) -> None:
        self.port, self.requests, self.tls_names = port, requests, tls_names
        self.connections = 0


Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def write_ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)
    await writer.drain()


def writing(answer: bytes) -> Answering:
    async def write(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return write


@asynccontextmanager
async def serving(
    answer: Answering = write_ok, *, host: str = PUBLIC, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    server = Server(0, [], [])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.split(b"\r\n")
                        if line.lower().startswith(b"content-length")
                    ),
                    0,
                )
                server.requests.append(head + await reader.readexactly(length))
                await answer(reader, writer)
                if answer is not write_ok:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    if tls is not None:
        tls.sni_callback = lambda connection, name, context: server.tls_names.append(name)
    listening = await asyncio.start_server(serve, host, port, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


@asynccontextmanager
async def sending(**options: object) -> AsyncIterator[AiohttpWebhookSender]:
    options.setdefault("refuse", refuse)
    sender = AiohttpWebhookSender(clock=SystemClock(), **options)  # type: ignore[arg-type]
    try:
        yield sender
    finally:
        await sender.close()


async def post(sender: AiohttpWebhookSender, url: str, *, timeout_s: float = 5.0) -> SendResult:
    return await sender.send(url, HEADERS, BODY, timeout_s=timeout_s)
