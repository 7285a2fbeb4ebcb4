"""Sends notifications to the merchant: signed, and again when they are not taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from urllib.parse import quote, urlsplit

import aiohttp

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.secrets import Secret
from interlock.simulator.messages import Notice, signature_headers

PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
"""Waits between attempts; then the notification is given up."""
TIMEOUT_S = 5.0
FIRST_TIMEOUT_S = 2.0
"""How long an answer waits for the notification that goes before it."""
AT_ONCE_MAX = 50
OPEN_MAX = 20_000
"""Notifications on their way; more are given up at once."""


class Notifier:
    def __init__(
        self,
        *,
        now: Callable[[], Millis],
        secrets: Callable[[str], Sequence[Secret]],
        url: str | None,
        taken: Callable[[Notice], None],
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        """`secrets` gives an instance's valid signing secrets. `taken` hears of each notification that arrived, or that
        nobody wants to hear: without `url` nothing is sent."""
        self._now = now
        self._secrets = secrets
        self._taken = taken
        self._pauses_s = pauses_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(AT_ONCE_MAX)
        self._session: aiohttp.ClientSession | None = None
        self.url: str | None = None
        self.set_url(url)
        self.delivered = 0
        self.given_up = 0

    def set_url(self, url: str | None) -> None:
        """Notifications go to `url`/<instance>. Raises ValueError for what is no http(s) URL."""
        if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise ValueError("the notification URL must be http(s)")
        self.url = url.rstrip("/") if url else None

    @property
    def open(self) -> int:
        """How many are on their way."""
        return len(self._tasks)

    def send(self, notice: Notice) -> None:
        if self.url is None:
            self._taken(notice)
            return
        if len(self._tasks) >= OPEN_MAX:
            self.given_up += 1
            return
        task = asyncio.get_running_loop().create_task(self._deliver(notice))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def send_now(self, notice: Notice) -> None:
        """Return when it was taken, or goes on by itself."""
        if self.url is None:
            self._taken(notice)
            return
        try:
            taken = await asyncio.wait_for(self._attempt(notice), FIRST_TIMEOUT_S)
        except TimeoutError:
            taken = False
        if taken:
            self._arrived(notice)
        else:
            self.send(notice)

    async def close(self) -> None:
        """What is on its way is dropped."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _deliver(self, notice: Notice) -> None:
        for pause_s in (*self._pauses_s, None):
            async with self._slots:
                taken = await self._attempt(notice)
            if taken:
                self._arrived(notice)
                return
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        self.given_up += 1

    def _arrived(self, notice: Notice) -> None:
        self.delivered += 1
        self._taken(notice)

    async def _attempt(self, notice: Notice) -> bool:
        """One try, with a fresh timestamp."""
        if self.url is None:
            return False
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=False)
        headers = signature_headers(notice.body, self._secrets(notice.instance), at=self._now())
        headers["content-type"] = "application/json"
        url = f"{self.url}/{quote(notice.instance, safe='')}"
        try:
            async with self._session.post(url, data=notice.body, headers=headers, allow_redirects=False) as reply:
                return 200 <= reply.status < 300
        except (aiohttp.ClientError, OSError):
            return False
