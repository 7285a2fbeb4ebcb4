"""The HTTP server: uvicorn within limits, inside an event loop that is already running.

What uvicorn leaves open is closed here: the head of a request has a largest size, and a request that does not arrive
within a time ends its connection. Run it in a uvloop loop; parsing is httptools'.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from interlock.entrypoints.http.app import Receive, Scope, Send
from interlock.entrypoints.http.requests import Headers

HEAD_BYTES_MAX = 32_768
"""Request line and headers."""
ARRIVAL_S = 15.0
"""So long a request, body included, may take to arrive; so long may a fresh connection stay silent."""
KEEP_ALIVE_S = 30
CONNECTIONS_MAX = 8_000
DRAIN_S = 8
"""Requests under way when the server stops have so long to finish."""
BACKLOG = 1_024
TICKS_A_SECOND = 10


class BoundedProtocol(HttpToolsProtocol):
    """One connection, which may neither send an endless head nor take for ever to send a request."""

    arriving_since: float | None = None
    _head_bytes = 0
    _in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._served = self.app
        self.arriving_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        if self._in_head or len(data) > HEAD_BYTES_MAX:
            # What of a body came before is no part of a head.
            before = self._head_bytes if self._in_head else 0
            self._head_bytes = before + len(data)
            if before > HEAD_BYTES_MAX:
                # The parser gathers one header's value without bound, so it gets no more of it.
                self.transport.write(_TOO_LARGE)
                self.transport.close()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self.arriving_since = self.loop.time()

    def on_headers_complete(self) -> None:
        large = self._head_bytes > HEAD_BYTES_MAX and self._head_size() > HEAD_BYTES_MAX
        self.app = _refuse_head if large else self._served
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()
        if self.cycle is not None:  # Its task has not begun. Uvicorn has no setting for its class.
            self.cycle.__class__ = _WholeAnswers

    def on_message_complete(self) -> None:
        self.arriving_since = None
        super().on_message_complete()

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)


class _WholeAnswers(RequestResponseCycle):
    """One request and its answer. A whole answer to an open connection is written in one piece.

    Head and body then leave in one packet and one system call, and headers that the dispatcher has made are not looked at
    again. All else, such as HEAD, answers in parts and closed or slow connections, goes uvicorn's way.
    """

    _start: Any = None
    """The head, until it is known what comes behind it."""

    async def send(self, message: Any) -> None:
        if self.response_started or self.disconnected:
            await super().send(message)
        elif message["type"] == "http.response.start":
            self._start = message
        elif self._start is not None and self._is_whole(self._start.get("headers", ()), message):
            headers = (*self.default_headers, *self._start["headers"])
            head = b"".join([b"%b: %b\r\n" % header for header in headers])
            self.response_started = self.response_complete = True
            self.waiting_for_100_continue = False
            self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[self._start["status"]], head, message.get("body", b"")))
            self.message_event.set()
            self.on_response()
        else:
            if self._start is not None:
                await super().send(self._start)
            await super().send(message)

    def _is_whole(self, headers: Headers, message: Any) -> bool:
        """Whether head and body are all of the answer, and the connection can take them and stays open."""
        if message.get("more_body") or not self.keep_alive or self.flow.write_paused or self.scope["method"] == "HEAD":
            return False
        named = dict(headers)
        return b"connection" not in named and named.get(b"content-length") == b"%d" % len(message.get("body", b""))


async def _refuse_head(scope: Scope, receive: Receive, send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 431,
            "headers": [(b"content-length", b"0"), (b"connection", b"close")],
        }
    )
    await send({"type": "http.response.body", "body": b"", "more_body": False})


_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class _Server(uvicorn.Server):
    """Leaves signals to the process, says when it listens, and closes connections whose request does not arrive."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_A_SECOND == 0:
            latest = asyncio.get_running_loop().time() - ARRIVAL_S
            for connection in list(self.server_state.connections):
                since = getattr(connection, "arriving_since", None)
                if since is not None and since < latest:
                    connection.transport.close()
        return await super().on_tick(counter)


def reserve(host: str, port: int = 0) -> socket.socket:
    """A port at which nothing is served yet, and which nobody else is given. Port 0 takes a free one.

    On Linux another socket made here may still be bound to it, and served. Raises OSError if the address is taken.
    """
    reserved = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind((host, port))
    except OSError:
        reserved.close()
        raise
    return reserved


class HttpServer:
    """An ASGI application at an address."""

    def __init__(
        self,
        app: Any,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        reserved: socket.socket | None = None,
        proxies: Sequence[str] = (),
    ) -> None:
        """At a port that `reserve` gave, or else at `port`.

        `proxies`: addresses and networks that are believed where a request comes from (X-Forwarded-For); nobody else is.
        """
        self._app = app
        self._host = host
        self._port = port
        self._reserved = reserved
        self._proxies = list(proxies)
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listen, and return the port (a free one was taken for port 0). Raises OSError if the address is taken."""
        listener = self._reserved or reserve(self._host, self._port)
        config = uvicorn.Config(
            self._app,
            loop="none",
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=bool(self._proxies),
            forwarded_allow_ips=self._proxies,
            server_header=False,
            limit_concurrency=CONNECTIONS_MAX,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=DRAIN_S,
        )
        self._server = server = _Server(config)
        self._serving = asyncio.create_task(server.serve(sockets=[listener]))
        listening = asyncio.create_task(server.listening.wait())
        await asyncio.wait({self._serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            listening.cancel()
            listener.close()
            await self._serving
        port: int = listener.getsockname()[1]
        return port

    async def stop(self) -> None:
        """Take no new connections, let requests under way finish, cancel those still there after DRAIN_S. Safe to repeat."""
        if self._server is None or self._serving is None:
            return
        self._server.should_exit = True
        await asyncio.wait({self._serving})
        left = list(self._server.server_state.tasks)
        if left:
            await asyncio.wait(left)

    async def __aenter__(self) -> int:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
