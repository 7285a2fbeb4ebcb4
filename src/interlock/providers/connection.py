"""One HTTP/1.1 connection to a provider: a request out, its answer in, one after the other.

What it answers when something fails says how far things came. A request that was written counts as sent, whatever became of
it: from then on only a complete answer is an answer, and what is left over of one spoils the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools

from interlock.providers.protocol import Fault, FaultClass, HttpReply

HEAD_BYTES_MAX = 65_536
"""Status line and headers."""


class Limits(NamedTuple):
    read_timeout_s: float
    total_timeout_s: float
    keepalive_s: float
    reply_bytes_max: int

    @property
    def tick_s(self) -> float:
        """How often a connection looks at the time: no limit is shorter, so none is noticed late."""
        return min(self.read_timeout_s, self.total_timeout_s, self.keepalive_s)


class Connection(asyncio.Protocol):
    """Made by `loop.create_connection`. `on_lost` is called once, when it cannot be used any more."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits, on_lost: Callable[[Connection], None]) -> None:
        self._loop = loop
        self._limits = limits
        self._on_lost = on_lost
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[HttpReply | Fault] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._look_at = 0.0
        """When the timer goes off."""
        self._ends_at = 0.0
        self._heard_at = 0.0
        """When something was last written or read."""
        self._forget()

    def ask(self, request: bytes, *, ends_at: float) -> asyncio.Future[HttpReply | Fault]:
        """Write a request; the future holds what came of it. `ends_at`: in the loop's time."""
        assert self._answer is None, "one request at a time"
        assert self._transport is not None
        self._answer = self._loop.create_future()
        self._heard_at, self._ends_at = self._loop.time(), ends_at
        if ends_at < self._look_at:
            self._look_again(ends_at)
        self._transport.write(request)
        return self._answer

    def is_usable(self) -> bool:
        """Whether it stands and is free."""
        return self._transport is not None and not self._transport.is_closing() and self._answer is None

    def abort(self) -> None:
        """Without waiting for anything. A request under way has then the answer that its connection was lost."""
        if self._transport is not None:
            self._transport.abort()

    # Of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._heard_at = self._loop.time()
        self._look_again(self._heard_at + self._limits.tick_s)

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self.abort()  # an answer that nobody asked for: what comes next could be taken for another's
            return
        self._heard_at = self._loop.time()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(FaultClass.TRUNCATED, type(error).__name__)
            return
        if self._answer is not None and not self._in_body:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._fail(FaultClass.TOO_LARGE, "endless headers")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None
        if self._in_body and self._until_close and exc is None:
            self._finish(self._reply())
        elif self._in_body:
            self._finish(Fault(FaultClass.TRUNCATED, "closed within the answer"))
        elif isinstance(exc, BrokenPipeError):
            self._finish(Fault(FaultClass.WRITE, type(exc).__name__))
        else:
            self._finish(Fault(FaultClass.RESET, "closed before the answer"))
        self._on_lost(self)

    # Of the parser

    def on_message_begin(self) -> None:
        if self._answer is None:
            self.abort()  # more than was asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            return
        self._in_body = True
        length = self._headers.get("content-length")
        self._until_close = length is None and "transfer-encoding" not in self._headers
        if length is not None and int(length) > self._limits.reply_bytes_max:
            self._fail(FaultClass.TOO_LARGE, f"{length} bytes announced")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.reply_bytes_max:
            self._fail(FaultClass.TOO_LARGE, f"more than {self._limits.reply_bytes_max} bytes")

    def on_message_complete(self) -> None:
        if not self._in_body:
            self._forget()  # 1xx: the answer is still to come
            return
        self._finish(self._reply())
        if not self._parser.should_keep_alive() and self._transport is not None:
            self._transport.close()

    # Ends

    def _reply(self) -> HttpReply:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        return HttpReply(self._parser.get_status_code(), self._headers, body)

    def _fail(self, kind: FaultClass, detail: str) -> None:
        self._finish(Fault(kind, detail))
        self.abort()

    def _finish(self, outcome: HttpReply | Fault) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(outcome)
        self._forget()

    def _forget(self) -> None:
        """Nothing of an answer has come yet."""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._head_bytes = self._body_bytes = 0
        self._in_body = self._until_close = False

    def _look_again(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._look_at = at
        self._timer = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        """One timer for all limits, set so that requests seldom need to touch it: a timer of its own is dear for each."""
        now, limits = self._loop.time(), self._limits
        if self._answer is not None:
            due = min(self._heard_at + limits.read_timeout_s, self._ends_at)
        else:
            due = self._heard_at + limits.keepalive_s
        if now < due:
            self._look_again(min(due, now + limits.tick_s))
        else:
            self._fail(FaultClass.READ_TIMEOUT, "no answer in time")
