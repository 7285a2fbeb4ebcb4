"""The demo's webhook endpoint: a server on this machine that checks signatures by itself and counts what comes."""

from __future__ import annotations

import hmac
import random
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import sha256
from types import TracebackType
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

PATH = "/hook"
TOLERANCE_S = 300
REFUSED_SHARE = 0.02
"""Of all events: their first delivery is answered with 503, as endpoints do now and then."""


class Arrival(NamedTuple):
    event: str
    version: int
    digest: bytes
    """SHA-256 of the body."""


class Hook:
    """Use as an async context manager; `url` is to be registered, and `secret` set, before anything comes."""

    def __init__(self, *, seed: int, now: Callable[[], float] = time.time) -> None:
        """`now`: seconds since 1970, by the platform's clock."""
        self.secret = ""
        self._now = now
        self.refused_share = REFUSED_SHARE
        self.arrivals: dict[str, list[Arrival]] = {}
        """By payment: each event's first arrival, in order."""
        self.events: set[str] = set()
        self.accepted = 0
        self.refused = 0
        self.repeated = 0
        self.forged: list[str] = []
        """Ids of messages whose signature or time was not right."""
        self._refused: set[str] = set()
        self._dice = random.Random(f"hook/{seed}")  # noqa: S311 - repeatable on purpose
        self._runner = web.AppRunner(self._app(), access_log=None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}{PATH}"

    async def __aenter__(self) -> Hook:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_post(PATH, self._take)
        return app

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        message = request.headers.get("webhook-id", "")
        if not self.secret:
            return web.Response(status=503)
        if not self._is_genuine(request, message, body):
            self.forged.append(message)
            return web.Response(status=401)
        if message not in self.events and message not in self._refused and self._dice.random() < self.refused_share:
            self._refused.add(message)
            self.refused += 1
            return web.Response(status=503)
        self._note(message, body)
        return web.Response(status=204)

    def _note(self, message: str, body: bytes) -> None:
        self.accepted += 1
        if message in self.events:
            self.repeated += 1
            return
        self.events.add(message)
        content: dict[str, Any] = msgspec.json.decode(body)
        payment = content["data"]["payment"]
        arrival = Arrival(content["id"], payment["version"], sha256(body).digest())
        self.arrivals.setdefault(payment["id"], []).append(arrival)

    def _is_genuine(self, request: web.Request, message: str, body: bytes) -> bool:
        """Standard Webhooks, checked with nothing but the secret and the standard library."""
        timestamp = request.headers.get("webhook-timestamp", "")
        if not timestamp.isdigit() or abs(self._now() - int(timestamp)) > TOLERANCE_S:
            return False
        key = b64decode(self.secret.removeprefix("whsec_"))
        made = b64encode(hmac.digest(key, f"{message}.{timestamp}.".encode() + body, "sha256"))
        given = request.headers.get("webhook-signature", "").split(" ")
        return any(hmac.compare_digest(b"v1," + made, one.encode()) for one in given)
