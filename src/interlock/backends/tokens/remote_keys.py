"""Public keys of an external issuer, fetched over HTTP and kept.

One address, from the settings, is asked; redirects are not followed and nothing in a token can name another. The answer
is limited in size and time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

import aiohttp
from joserfc.jwk import Key

from interlock.backends.tokens.jose import public_keys
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.errors import Unavailable

FRESH_S = 600.0
"""For so long the keys are not asked for again, unless an unknown one turns up."""
USABLE_S = 3_600.0
"""For so long they serve while the issuer cannot be reached: a key it withdraws meanwhile is still believed."""
REFETCH_PAUSE_S = 30.0
"""Between two fetches that unknown key ids or failures set off: strangers' tokens must not make us flood the issuer."""
TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 262_144


class RemoteKeys:
    def __init__(self, uri: str, clock: Clock, *, refetch_pause_s: float = REFETCH_PAUSE_S) -> None:
        """Raises ValueError unless `uri` is https, or http on this machine."""
        parts = urlsplit(uri)
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
            raise ValueError("jwks_uri must be https, or http on loopback")
        if not parts.hostname or parts.username is not None:
            raise ValueError("jwks_uri must name a host and no user")
        self._uri = uri
        self._clock = clock
        self._pause_s = refetch_pause_s
        self._keys: Mapping[str, Key] = {}
        self._fetched_at: float | None = None
        self._asked_at: float | None = None
        self._fetch: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    async def keys(self) -> Mapping[str, Key]:
        """By id. Raises Unavailable when there are none young enough to trust and none can be fetched."""
        age = self._age()
        if age is None or age >= USABLE_S:
            await self._refetch()
            age = self._age()
        elif age >= FRESH_S:
            self._begin_fetch()  # nobody waits: an issuer that hangs must not make our callers hang
        if age is None or age >= USABLE_S:
            raise Unavailable("the token's issuer cannot be reached", retry_after_s=5, code="issuer_unavailable")
        return self._keys

    async def keys_with(self, key_id: str) -> Mapping[str, Key]:
        """As `keys`, asked for anew if `key_id` is not among them and the last time is long enough ago."""
        keys = await self.keys()
        if key_id not in keys:
            await self._refetch()
        return self._keys

    async def close(self) -> None:
        """Safe to repeat."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.gather(self._fetch, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _age(self) -> float | None:
        return None if self._fetched_at is None else self._clock.monotonic() - self._fetched_at

    async def _refetch(self) -> None:
        """Fetch, or wait for the fetch under way."""
        self._begin_fetch()
        if self._fetch is not None and not self._fetch.done():
            # Shielded: a caller that goes away must not take the fetch from the others.
            await asyncio.shield(self._fetch)

    def _begin_fetch(self) -> None:
        """Unless a fetch is under way or one was begun within the pause."""
        if self._fetch is not None and not self._fetch.done():
            return
        now = self._clock.monotonic()
        if self._asked_at is None or now - self._asked_at >= self._pause_s:
            self._asked_at = now
            self._fetch = asyncio.ensure_future(self._fetch_once())

    async def _fetch_once(self) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        try:
            async with self._session.get(
                self._uri, allow_redirects=False, headers={"Accept": "application/json, application/jwk-set+json"}
            ) as answer:
                content = await answer.content.read(ANSWER_BYTES_MAX + 1)
                while len(content) <= ANSWER_BYTES_MAX and (more := await answer.content.read(ANSWER_BYTES_MAX)):
                    content += more
                if answer.status != 200 or len(content) > ANSWER_BYTES_MAX:
                    return
            keys = public_keys(content)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return
        if keys:
            self._keys, self._fetched_at = keys, self._clock.monotonic()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
