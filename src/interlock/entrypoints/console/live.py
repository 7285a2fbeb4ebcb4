"""What changed, as server-sent events: pages that are open ask again for the parts that are named.

Where an answer cannot go on, as behind API Gateway, and where something between breaks the stream off, pages look at the marks
every few seconds instead and compare (static/console.js).

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html (checked 2026-11-27)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from interlock.core.desk.operators.handlers import SignedIn
from interlock.core.desk.operators.roles import Permission
from interlock.core.kernel.clock import Clock
from interlock.entrypoints.console.pages import Asked, Page, Reply, Sent
from interlock.entrypoints.http.app import Receive, Send

LOOK_EVERY_S = 2.0
STREAM_MAX_S = 15 * 60
"""Then the browser connects anew, and its session is looked at again."""
STREAMS_MAX = 200

Marks = Callable[[], Awaitable[Mapping[str, str]]]
"""Topic -> a mark that changes with what is shown of it."""


class Live:
    """Streams to open pages. All of them share one look at what changed."""

    def __init__(self, marks: Marks, clock: Clock, *, streams: bool = True) -> None:
        """`streams`: an answer may go on; otherwise pages are told to look at the marks."""
        self.streams = streams
        self._marks = marks
        self._clock = clock
        self._streams = 0
        self._closing = asyncio.Event()
        self._latest: tuple[float, Mapping[str, str]] = (-LOOK_EVERY_S, {})
        self._before: Mapping[str, str] = {}
        """As it was at the look before the latest one."""

    def close(self) -> None:
        """Every stream ends now; pages connect again by themselves."""
        self._closing.set()

    async def stream(self, who: SignedIn, receive: Receive, send: Send, headers: Sequence[tuple[str, str]]) -> None:
        """Until the browser goes away or STREAM_MAX_S have passed."""
        if self._streams >= STREAMS_MAX:
            await send({"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"30")]})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        gone, closing = asyncio.create_task(_gone(receive)), asyncio.create_task(self._closing.wait())
        self._streams += 1
        try:
            await self._tell(send, headers, {gone, closing})
        finally:
            self._streams -= 1
            gone.cancel()
            closing.cancel()

    async def _tell(self, send: Send, headers: Sequence[tuple[str, str]], ends: set[asyncio.Task[Any]]) -> None:
        plain = [(name.encode(), value.encode()) for name, value in headers]
        kind = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": [*plain, *kind]})
        await self.look()
        # A page is made before it listens: what has just changed is told, though it may know it.
        known = self._before
        await send({"type": "http.response.body", "body": b"retry: 5000\n\n", "more_body": True})
        until = self._clock.monotonic() + STREAM_MAX_S
        while self._clock.monotonic() < until and not any(end.done() for end in ends):
            pause = asyncio.ensure_future(self._clock.sleep(LOOK_EVERY_S))
            await asyncio.wait({pause, *ends}, return_when=asyncio.FIRST_COMPLETED)
            pause.cancel()
            found = await self.look()
            changed = [topic for topic, mark in found.items() if known.get(topic) != mark]
            known = found
            lines = "".join(f"event: {topic}\ndata: {found[topic]}\n\n" for topic in changed) or ": nothing new\n\n"
            await send({"type": "http.response.body", "body": lines.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def look(self) -> Mapping[str, str]:
        """The marks as they are now, or were a moment ago."""
        now = self._clock.monotonic()
        if now - self._latest[0] >= LOOK_EVERY_S * 0.9:
            self._latest = (now, self._latest[1])
            found = await self._marks()
            self._before = self._latest[1] or found
            self._latest = (now, found)
        return self._latest[1]


def live_pages(live: Live) -> list[Page]:
    async def marks(asked: Asked) -> Reply:
        return Sent(msgspec.json.encode(await live.look()), "application/json")

    return [
        Page("GET", "/live/marks", marks, Permission.SEE),
        # Streamed by the application itself, where it streams. To a browser that asks all the same the marks are no stream: it
        # gives up, and looks.
        Page("GET", "/live", marks, Permission.SEE),
    ]


async def _gone(receive: Receive) -> None:
    while True:
        if (await receive())["type"] == "http.disconnect":
            return
