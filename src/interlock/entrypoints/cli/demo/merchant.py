"""A merchant's client of the demo: many connections, impatient at times, and faithful to its idempotency keys.

It writes down every answer it was given, so that afterwards each can be held against what is stored.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import aiohttp
import msgspec

from interlock.entrypoints.local import Ready

PATIENCE_S = 60.0
"""A request that has no answer by then is given up for good."""
TIMEOUT_S = 30.0
"""Of one try."""
CONNECTIONS_MAX = 64
AGAIN = frozenset({"request_in_flight", "write_conflict", "payment_busy"})
"""Refusals that pass: the same request with the same key is right a moment later."""
EXPECTED_REFUSALS = frozenset(
    {"amount_too_large", "nothing_to_refund", "payment_state", "idempotency_key_reused", "payment_busy"}
)
"""What a merchant who asks for too much, or too late, is told."""


class Answer(NamedTuple):
    status: int
    body: bytes
    replayed: bool

    @property
    def content(self) -> Any:
        return msgspec.json.decode(self.body) if self.body else {}

    @property
    def is_good(self) -> bool:
        return self.status < 300


class Told:
    """What the platform said, over all merchants."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, Answer] = {}
        """By idempotency key: the first 2xx answer."""
        self.latencies_s: list[float] = []
        """Of POST /v1/payments, answered at the first try."""
        self.refusals: Counter[str] = Counter()
        self.requests = 0
        self.tries = 0
        self.given_up_early = 0
        self.replays = 0
        self.contradictions: list[str] = []
        """One key, two answers."""
        self.surprises: list[str] = []
        """Answers the contract does not know, and requests that were never answered."""

    def note(self, key: str, path: str, answer: Answer) -> None:
        if answer.replayed:
            self.replays += 1
        if not answer.is_good:
            code = str(answer.content.get("code"))
            self.refusals[code] += 1
            if code not in EXPECTED_REFUSALS:
                self.surprises.append(f"POST {path}: {answer.status} {code}")
            return
        first = self.acknowledged.setdefault(key, answer)
        if (first.status, first.body) != (answer.status, answer.body):
            self.contradictions.append(f"POST {path}, key {key}: {answer.status} after {first.status}, or another body")


class Merchant:
    """Asks the platform, as often as it takes. One for all stories: it shares connections and token."""

    def __init__(self, ready: Ready, told: Told) -> None:
        self._ready = ready
        self._told = told
        self._token = ""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX), timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)
        )

    async def close(self) -> None:
        await self._session.close()

    async def get(self, path: str) -> Any:
        """Raises TimeoutError when there is no good answer in time."""
        answer = await self._ask("GET", path, None, None, None)
        if answer is None or not answer.is_good:
            raise TimeoutError(f"GET {path}: {answer.status if answer else 'no answer'}")
        return answer.content

    async def post(self, path: str, body: Mapping[str, Any], *, key: str, give_up_s: float | None = None) -> Answer:
        """Repeated with its key until there is a last word. With `give_up_s` the first try is cut off after that.

        Raises TimeoutError when there is none in time.
        """
        self._told.requests += 1
        answer = await self._ask("POST", path, msgspec.json.encode(body), key, give_up_s)
        if answer is None:
            self._told.surprises.append(f"POST {path}: no last word in {PATIENCE_S:g} s")
            raise TimeoutError(f"POST {path}: no last word")
        self._told.note(key, path, answer)
        return answer

    async def administer(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """A request that moves no money. Raises RuntimeError when it is refused."""
        content = None if body is None else msgspec.json.encode(body)
        answer = await self._ask(method, path, content, None, None)
        if answer is None or not answer.is_good:
            raise RuntimeError(f"{method} {path}: {answer.body.decode() if answer else 'no answer'}")
        return answer.content

    async def steer(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> Any:
        """A request to the simulator's control. Raises RuntimeError when it is refused."""
        status, content = await self.tell_simulator(method, url, body)
        if status != 200:
            raise RuntimeError(f"{method} {url}: {status} {content}")
        return content

    async def tell_simulator(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """What the payer or the payer's bank does; it may come too late to matter. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    async with self._session.request(method, url, json=body) as answer:
                        content = await answer.read()
                    return answer.status, msgspec.json.decode(content) if content else {}
                except aiohttp.ClientError:
                    await asyncio.sleep(0.5)  # the instance has an outage

    async def _ask(
        self, method: str, path: str, body: bytes | None, key: str | None, give_up_s: float | None
    ) -> Answer | None:
        until = time.monotonic() + PATIENCE_S
        measured = method == "POST" and path == "/v1/payments" and give_up_s is None
        answer: Answer | None = None
        while time.monotonic() < until:
            self._told.tries += 1
            began = time.perf_counter()
            try:
                answer, retry_after_s = await self._exchange(method, path, body, key, give_up_s)
            except TimeoutError:
                self._told.given_up_early += give_up_s is not None
                give_up_s = None
                continue
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
                continue
            if answer.status == 401:
                self._token = ""
            elif answer.status in (429, 503) or (answer.status == 409 and answer.content.get("code") in AGAIN):
                await asyncio.sleep(min(retry_after_s or 0.2, 2.0))
            else:
                if measured and answer.is_good:
                    self._told.latencies_s.append(time.perf_counter() - began)
                return answer
            measured = False
        return answer if answer is not None and answer.status == 409 else None

    async def _exchange(
        self, method: str, path: str, body: bytes | None, key: str | None, give_up_s: float | None
    ) -> tuple[Answer, float]:
        headers = {"Authorization": f"Bearer {self._token or await self._log_in()}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = key
        timeout = aiohttp.ClientTimeout(total=give_up_s or TIMEOUT_S)
        async with self._session.request(
            method, self._ready.base_url + path, data=body, headers=headers, timeout=timeout
        ) as answer:
            content = await answer.read()
        retry_after = answer.headers.get("Retry-After", "")
        replayed = answer.headers.get("Idempotency-Replayed") == "true"
        return Answer(answer.status, content, replayed), float(retry_after) if retry_after.isdigit() else 0.0

    async def _log_in(self) -> str:
        async with self._session.post(
            self._ready.token_url,
            data={"grant_type": "client_credentials"},
            headers={"Authorization": aiohttp.encode_basic_auth(self._ready.client_id, self._ready.client_secret)},
        ) as answer:
            answer.raise_for_status()  # refused for the moment: comes again like any request
            self._token = msgspec.json.decode(await answer.read())["access_token"]
        return self._token
