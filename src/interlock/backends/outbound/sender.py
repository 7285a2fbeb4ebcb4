"""Sends webhooks over HTTP to URLs that merchants chose, and to nothing else on the way.

What protects us: the name is looked up once for each connection, every address it has must be one that may be called, and
the connection goes to just those addresses; no proxy, redirect or cookie; little is read, and not for long.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from functools import partial

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from interlock.core.kernel.clock import Clock
from interlock.core.webhooks.ports import EXCERPT_BYTES_MAX, Failure, SendResult
from interlock.core.webhooks.targets import refuse_address

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port -> addresses. Raises OSError when there are none."""
Refuse = Callable[[str], str | None]
"""Why an address may not be called; None: it may."""

CONNECT_TIMEOUT_S = 5.0
EXCERPT_TIMEOUT_S = 2.0
"""The status is what counts: for an answer's body nobody waits longer."""
KEEPALIVE_S = 4.0
"""Shorter than servers commonly keep idle connections, so that we rarely write into one that is being closed."""
CONNECTIONS_MAX = 256
LOOKUPS_AT_ONCE = 8
"""Threads of their own: names that never answer must not hold up anybody else's."""


class ForbiddenAddress(OSError):
    """The name leads to an address that may not be called."""


class AiohttpWebhookSender:
    """Implements WebhookSender. Make it within a running loop, and close it."""

    def __init__(
        self,
        *,
        clock: Clock,
        allow_loopback: bool = False,
        lookup: Lookup | None = None,
        refuse: Refuse | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """`lookup`, `refuse` and `ssl_context` are the system's resolver, the public rule and the system's trust if not given."""
        self._clock = clock
        self._refuse = refuse or partial(refuse_address, allow_loopback=allow_loopback)
        self._threads = ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="webhook-names")
        connector = aiohttp.TCPConnector(
            resolver=_CheckedResolver(lookup or self._ask_system, self._refuse),
            use_dns_cache=False,
            socket_factory=self._checked_socket,
            limit=CONNECTIONS_MAX,
            keepalive_timeout=KEEPALIVE_S,
            ssl=ssl_context or True,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity", "Accept": "*/*"},
            auto_decompress=False,
            trust_env=False,
        )

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, *, timeout_s: float) -> SendResult:
        began = self._clock.monotonic()
        try:
            target = _target(url)
            async with self._session.post(
                target,
                headers=headers,
                data=body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_TIMEOUT_S, timeout_s)),
            ) as answer:
                excerpt = await _beginning(answer)
                wait_s = _retry_after_s(answer.headers.get("Retry-After"), self._clock.now())
                return SendResult(answer.status, None, self._since(began), excerpt, wait_s)
        except (aiohttp.ClientError, OSError, ValueError, asyncio.IncompleteReadError) as error:
            return SendResult(None, classify(error), self._since(began))

    async def close(self) -> None:
        """Safe to repeat."""
        await self._session.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _since(self, began: float) -> int:
        return round((self._clock.monotonic() - began) * 1_000)

    async def _ask_system(self, host: str, port: int) -> list[str]:
        ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return [f"{place[0]}%{place[3]}" if len(place) == 4 and place[3] else str(place[0]) for *_, place in found]

    def _checked_socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """No socket is made for an address that may not be called. Addresses written into the URL are seen here only."""
        family, kind, protocol, _, place = info
        _require(self._refuse, str(place[0]))
        return socket.socket(family, kind, protocol)


class _CheckedResolver(AbstractResolver):
    """A name with one forbidden address is refused as a whole: nobody honest has such a name."""

    def __init__(self, lookup: Lookup, refuse: Refuse) -> None:
        self._lookup = lookup
        self._refuse = refuse

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = await self._lookup(host, port)
        for address in addresses:
            _require(self._refuse, address)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """There is nothing to close."""


def classify(error: BaseException) -> Failure:
    """What an exception of the HTTP client says of the attempt."""
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ForbiddenAddress):
        return Failure.FORBIDDEN_ADDRESS
    table: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Failure], ...] = (
        (ForbiddenAddress, Failure.FORBIDDEN_ADDRESS),
        (aiohttp.InvalidURL, Failure.BAD_URL),
        (aiohttp.ClientConnectorDNSError, Failure.DNS),
        ((aiohttp.ClientSSLError, ssl.SSLError, ssl.CertificateError), Failure.TLS),
        ((aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError), Failure.CONNECT),
        (TimeoutError, Failure.TIMEOUT),
        ((aiohttp.ClientResponseError, aiohttp.ClientPayloadError), Failure.BAD_RESPONSE),
        ((aiohttp.ClientError, OSError), Failure.RESET),
    )
    return next((failure for kinds, failure in table if isinstance(error, kinds)), Failure.BAD_URL)


def _target(url: str) -> URL:
    target = URL(url, encoded=True)
    if target.scheme not in ("http", "https") or not target.raw_host or target.user is not None:
        raise aiohttp.InvalidURL("not a webhook's URL")
    return target


def _require(refuse: Refuse, address: str) -> None:
    reason = refuse(address)
    if reason is not None:
        raise ForbiddenAddress(reason)


async def _beginning(answer: aiohttp.ClientResponse) -> bytes:
    """The body's first bytes, as far as they come soon. A connection with more to say is not used again."""
    parts: list[bytes] = []
    missing = EXCERPT_BYTES_MAX
    try:
        async with asyncio.timeout(EXCERPT_TIMEOUT_S):
            while missing and (part := await answer.content.read(missing)):
                parts.append(part)
                missing -= len(part)
    except (TimeoutError, aiohttp.ClientError, OSError):
        answer.close()
    if not answer.content.at_eof():
        answer.close()
    return b"".join(parts)


def _retry_after_s(value: str | None, now: int) -> float | None:
    """Seconds or an HTTP date; None if there is none, or none that can be read."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, at - now / 1_000)
