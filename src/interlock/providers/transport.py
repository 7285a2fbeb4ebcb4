"""How a request reaches a provider: the Transport seam, and the real one over HTTP.

The transport's one duty beside carrying bytes is to say truthfully how a request failed: whether it can have arrived. What is
in doubt is reported as sent.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp
import msgspec
from yarl import URL

from interlock.core.kernel.secrets import Secret
from interlock.providers.protocol import Fault, FaultClass, HttpReply, HttpRequest


class ProviderConfig(msgspec.Struct, frozen=True):
    """Where one configured provider is and how long we wait for it. Raises ValueError for a URL we would not call."""

    name: str
    base_url: str
    """Origin and, if need be, a path; https, or http on loopback. Nothing else is ever called."""
    credentials: Mapping[str, Secret] = {}
    connect_timeout_s: float = 3.0
    """For a free connection, the name, TCP and TLS together."""
    read_timeout_s: float = 20.0
    """Longest silence while an answer is awaited."""
    total_timeout_s: float = 30.0
    """For one request, and for starting another one within the same call."""
    reply_bytes_max: int = 1_000_000
    connections_max: int = 200

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"base_url of {self.name} is not an http(s) URL")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError(f"base_url of {self.name} has a user, query or fragment")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ValueError(f"base_url of {self.name} must be https: plain http is for loopback only")
        if min(self.connect_timeout_s, self.read_timeout_s, self.total_timeout_s, self.reply_bytes_max) <= 0:
            raise ValueError(f"time and size limits of {self.name} must be positive")


class Transport(Protocol):
    async def send(self, request: HttpRequest, config: ProviderConfig) -> HttpReply | Fault:
        """Send once, never twice, and only to the configured origin; follow no redirect.

        Answers a Fault for whatever prevents a complete answer; raises for defects only.
        """

    async def close(self) -> None: ...


class AiohttpTransport:
    """HTTP/1.1 with one pool of kept-alive connections per provider.

    A kept-alive connection that the provider closes just as we write is indistinguishable from one that died while the
    request was worked on: both are RESET, hence UNKNOWN for a commit. To make it rare, we drop idle connections before
    servers usually do, and the event loop drops those whose end it has seen.
    """

    def __init__(self, *, keepalive_s: float = 4.0, ssl_context: ssl.SSLContext | None = None) -> None:
        self._keepalive_s = keepalive_s
        self._ssl = ssl_context
        self._sessions: dict[str, tuple[aiohttp.ClientSession, str, int]] = {}

    async def send(self, request: HttpRequest, config: ProviderConfig) -> HttpReply | Fault:
        session, base, limit = self._sessions.get(config.name) or self._open(config)
        url = URL(base + checked_path(request.path), encoded=True)
        try:
            async with session.request(
                request.method, url, headers=request.headers, data=request.body or None, allow_redirects=False
            ) as reply:
                length = reply.content_length
                if length is not None and length > limit:
                    reply.close()
                    return Fault(FaultClass.TOO_LARGE, f"{length} bytes announced")
                chunks: list[bytes] = []
                size = 0
                while chunk := await reply.content.readany():
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > limit:
                        reply.close()
                        return Fault(FaultClass.TOO_LARGE, f"more than {limit} bytes")
                headers = {name.lower(): value for name, value in reply.headers.items()}
                return HttpReply(reply.status, headers, chunks[0] if len(chunks) == 1 else b"".join(chunks))
        except (aiohttp.ClientError, OSError, ssl.SSLError) as error:
            return classify(error)

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, {}
        for session, _, _ in sessions.values():
            await session.close()

    def _open(self, config: ProviderConfig) -> tuple[aiohttp.ClientSession, str, int]:
        connector = aiohttp.TCPConnector(
            limit=config.connections_max, keepalive_timeout=self._keepalive_s, ssl=self._ssl or True
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "interlock", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(
                total=config.total_timeout_s,
                connect=config.connect_timeout_s,
                sock_connect=config.connect_timeout_s,
                sock_read=config.read_timeout_s,
            ),
            trust_env=False,
        )
        # On a dead kept-alive connection the client would by itself repeat what HTTP calls idempotent, PUT and DELETE
        # among it. There is no public switch; tests/providers/engine proves that every method is sent once.
        session._retry_connection = False
        entry = self._sessions[config.name] = (session, config.base_url.rstrip("/"), config.reply_bytes_max)
        return entry


def checked_path(path: str) -> str:
    """`path`, if joining it to an origin cannot name another one. Raises ValueError (a defect of the adapter) otherwise."""
    if not path.startswith("/") or path.startswith("//") or not path.isascii() or not path.isprintable():
        raise ValueError("a provider's path starts with one slash and is printable ASCII")
    if " " in path or "#" in path or "\\" in path:
        raise ValueError("a provider's path is percent-encoded and has no fragment")
    return path


def classify(error: BaseException) -> Fault:
    """The fault an exception of the HTTP client stands for. Whatever may have come after the first byte counts as sent."""
    kind = FaultClass.RESET
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        kind = FaultClass.DNS
    elif isinstance(error, aiohttp.ClientSSLError | aiohttp.ServerFingerprintMismatch | ssl.SSLCertVerificationError):
        kind = FaultClass.TLS
    elif isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        kind = FaultClass.CONNECT
    elif isinstance(error, TimeoutError):
        # Silence, or the total limit: in the latter case not even the connection may have stood, but nobody can tell.
        kind = FaultClass.READ_TIMEOUT
    elif isinstance(error, aiohttp.ClientPayloadError | aiohttp.ClientResponseError):
        # The body ended early, or what came is not HTTP.
        kind = FaultClass.TRUNCATED
    elif isinstance(error, aiohttp.ClientConnectionResetError | BrokenPipeError):
        kind = FaultClass.WRITE
    return Fault(kind, type(error).__name__)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
