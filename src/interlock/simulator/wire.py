"""HTTP/1.1 over a socket we own, because half of the faults are things a web framework does not let a program do.

One connection handles its requests in order. An answer without delay is written in the turn of the loop that read the request.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Sequence
from http import HTTPStatus
from typing import Protocol, cast

import httptools

from interlock.simulator.messages import Manner, Notice, Reaction, Reply, Request, refusal

HEAD_BYTES_MAX = 32_768
BODY_BYTES_MAX = 1_000_000
PIPELINED_MAX = 100
HUGE_BYTES = 64_000_000
_CHUNK = b"." * 65_536
_CHUNK_FRAMED = b"10000\r\n" + _CHUNK + b"\r\n"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class App(Protocol):
    """What answers behind a listener."""

    def react(self, request: Request) -> Reaction: ...

    async def tell(self, notices: Sequence[Notice]) -> None:
        """Deliver notifications now; return when they arrived, or when that takes too long."""


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, app: App, connections: set[Connection]) -> None:
        self._app = app
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._busy = False
        self._keep_alive = True
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._start()

    def _start(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._head_bytes = self._body_bytes = 0

    # Of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._transport = None
        self._waiting.clear()
        self._writable.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._close_with(refusal(400, "bad_http", "this is not HTTP/1.1"))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # Of the parser

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_BYTES_MAX:
            self._close_with(refusal(431, "head_too_large", "the headers are too large"))
            return
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > BODY_BYTES_MAX:
            self._close_with(refusal(413, "body_too_large", "the body is too large"))
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        path, _, query = self._target.decode("latin-1").partition("?")
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request = Request(self._parser.get_method().decode("latin-1"), path, query, self._headers, body)
        keep_alive = self._parser.should_keep_alive()
        self._start()
        if self._transport is None or self._transport.is_closing():
            return
        if not self._busy:
            self._handle(request, keep_alive)
        elif len(self._waiting) < PIPELINED_MAX:
            self._waiting.append((request, keep_alive))
        else:
            self.reset()

    # Answering

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        if self._transport is not None:
            handle = self._transport.get_extra_info("socket")
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()

    def _handle(self, request: Request, keep_alive: bool) -> None:
        self._busy, self._keep_alive = True, keep_alive
        reaction = self._app.react(request)
        if reaction.first:
            self._task = asyncio.get_running_loop().create_task(self._tell_first(reaction))
        else:
            self._after_delay(reaction)

    async def _tell_first(self, reaction: Reaction) -> None:
        await self._app.tell(reaction.first)
        self._after_delay(reaction)

    def _after_delay(self, reaction: Reaction) -> None:
        if reaction.delay_s > 0:
            self._timer = asyncio.get_running_loop().call_later(reaction.delay_s, self._deliver, reaction)
        else:
            self._deliver(reaction)

    def _deliver(self, reaction: Reaction) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        reply = reaction.reply
        match reaction.manner:
            case Manner.ANSWER:
                self._transport.write(_head(reply, len(reply.body), self._keep_alive) + reply.body)
                self._next()
            case Manner.RESET:
                self.reset()
            case Manner.HANG:
                self._reset_later(reaction.hang_s)
            case Manner.TRUNCATED:
                self._transport.write(_head(reply, len(reply.body), False) + reply.body[: len(reply.body) // 2])
                self._transport.close()
            case Manner.STALLED:
                self._transport.write(_head(reply, len(reply.body), True) + reply.body[: len(reply.body) // 2])
                self._reset_later(reaction.hang_s)
            case Manner.HUGE:
                self._transport.write(_head(reply, HUGE_BYTES, False))
                self._task = asyncio.get_running_loop().create_task(self._pour(_CHUNK, HUGE_BYTES // len(_CHUNK)))
            case Manner.ENDLESS:
                self._transport.write(_head(reply, None, False))
                self._reset_later(reaction.hang_s)
                self._task = asyncio.get_running_loop().create_task(self._pour(_CHUNK_FRAMED, None))

    def _next(self) -> None:
        self._busy = False
        if not self._keep_alive:
            assert self._transport is not None
            self._transport.close()
        elif self._waiting:
            self._handle(*self._waiting.popleft())

    def _reset_later(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self.reset)

    async def _pour(self, chunk: bytes, count: int | None) -> None:
        """Write as fast as the client reads: `count` chunks, or until it has had enough."""
        while self._transport is not None and not self._transport.is_closing() and count != 0:
            self._transport.write(chunk)
            count = None if count is None else count - 1
            await asyncio.sleep(0)
            await self._writable.wait()
        if self._transport is not None:
            self._transport.close()

    def _close_with(self, reply: Reply) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_head(reply, len(reply.body), False) + reply.body)
            self._transport.close()


class Listener:
    """A port on this machine that can be closed for a while and opened again, and stays ours meanwhile."""

    def __init__(self, app: App, host: str, port: int) -> None:
        """Port 0 takes a free one. Raises OSError when the port is taken."""
        self._app = app
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        # Bound and never listening: it keeps the number while nothing listens, and connections to it are refused.
        self._placeholder = _bound(host, port)
        self.host = host
        self.port: int = self._placeholder.getsockname()[1]

    @property
    def is_open(self) -> bool:
        return self._server is not None

    async def open(self) -> None:
        """Safe to repeat."""
        if self._server is None:
            listening = _bound(self.host, self.port)
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(
                lambda: Connection(self._app, self._connections), sock=listening, backlog=2_048
            )

    def shut(self) -> None:
        """Refuse connections from now on, and reset those that stand. Safe to repeat."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for connection in list(self._connections):
            connection.reset()

    def close(self) -> None:
        """For good."""
        self.shut()
        self._placeholder.close()


def _bound(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def _head(reply: Reply, length: int | None, keep_alive: bool) -> bytes:
    framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    extra = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
    if not keep_alive:
        extra += "connection: close\r\n"
    return (
        f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, '')}\r\n"
        f"content-type: {reply.content_type}\r\n{framing}\r\n{extra}\r\n"
    ).encode("latin-1")
