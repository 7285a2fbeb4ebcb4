"""How a request reaches a provider: the Transport seam, and the real one over HTTP.

The transport's one duty beside carrying bytes is to say truthfully how a request failed: whether it can have arrived. What is
in doubt is reported as sent.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from interlock.core.kernel.secrets import Secret
from interlock.providers.connection import Connection, Limits
from interlock.providers.protocol import Fault, FaultClass, HttpReply, HttpRequest

WITHOUT_BODY = frozenset({"GET", "DELETE"})
"""Methods whose empty body needs no mention."""
METHODS = WITHOUT_BODY | {"POST", "PUT", "PATCH"}
"""Not HEAD: its answer announces a body that does not come."""

_BREAKS = re.compile(r"[\r\n\0]")


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


class HttpTransport:
    """HTTP/1.1 with one pool of kept-alive connections per provider.

    A kept-alive connection that the provider closes just as we write is indistinguishable from one that died while the
    request was worked on: both are RESET, hence UNKNOWN for a commit. To make it rare, we drop idle connections before
    servers usually do, and those whose end we have seen at once.
    """

    def __init__(self, *, keepalive_s: float = 4.0, ssl_context: ssl.SSLContext | None = None) -> None:
        self._keepalive_s = keepalive_s
        self._ssl = ssl_context
        self._pools: dict[str, _Pool] = {}

    async def send(self, request: HttpRequest, config: ProviderConfig) -> HttpReply | Fault:
        pool = self._pools.get(config.name) or self._open(config)
        message = pool.written(request)
        ends_at = pool.loop.time() + config.total_timeout_s
        connection = pool.idle() or await pool.connected()
        if isinstance(connection, Fault):
            return connection
        answer = connection.ask(message, ends_at=ends_at)
        try:
            return await answer
        except asyncio.CancelledError:
            connection.abort()
            raise
        finally:
            pool.take_back(connection)

    async def close(self) -> None:
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()

    def _open(self, config: ProviderConfig) -> _Pool:
        pool = self._pools[config.name] = _Pool(config, self._keepalive_s, self._ssl)
        return pool


class _Pool:
    """The connections to one provider. Who waits is given the next one that comes free, or told that there is room for
    another; who comes later waits behind."""

    def __init__(self, config: ProviderConfig, keepalive_s: float, ssl_context: ssl.SSLContext | None) -> None:
        parts = urlsplit(config.base_url)
        self.loop = asyncio.get_running_loop()
        self._config = config
        self._limits = Limits(config.read_timeout_s, config.total_timeout_s, keepalive_s, config.reply_bytes_max)
        self._host, self._port = str(parts.hostname), parts.port
        self._path = parts.path.rstrip("/")
        self._ssl: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._ssl = ssl_context or ssl.create_default_context()
        self._fixed = f"Host: {parts.netloc}\r\nUser-Agent: interlock\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._connecting = 0
        self._promised = 0
        """Rooms kept for waiters who were told and have not run yet."""
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()

    def written(self, request: HttpRequest) -> bytes:
        """The request as it goes over the wire. Raises ValueError (a defect of the adapter) for what would break out of it."""
        headers = request.headers
        if request.method not in METHODS or _BREAKS.search("".join(headers) + "".join(headers.values())):
            raise ValueError("a method we do not know, or a line break in a header")
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if request.body or request.method not in WITHOUT_BODY:
            lines += f"Content-Length: {len(request.body)}\r\n"
        target = self._path + checked_path(request.path)
        return f"{request.method} {target} HTTP/1.1\r\n{self._fixed}{lines}\r\n".encode() + request.body

    def idle(self) -> Connection | None:
        """The connection used last, if it may be used again."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable():
                return connection
            connection.abort()
        return None

    async def connected(self) -> Connection | Fault:
        """A free connection, or a new one. Until it stands not one byte was sent, whatever goes wrong."""
        limit_s = min(self._config.connect_timeout_s, self._config.total_timeout_s)
        try:
            async with asyncio.timeout(limit_s):
                while self._waiting or self._is_full():
                    given = await self._next()
                    if given is None:
                        break  # there is room, kept until here
                    if given.is_usable():
                        return given
                return await self._connect()
        except (OSError, ssl.SSLError) as error:
            return not_connected(error)

    def take_back(self, connection: Connection) -> None:
        if connection.is_usable() and not self._wake(connection):
            self._idle.append(connection)

    def _is_full(self) -> bool:
        return len(self._open) + self._connecting + self._promised >= self._config.connections_max

    def close(self) -> None:
        for connection in list(self._open):
            connection.abort()

    async def _connect(self) -> Connection:
        self._connecting += 1
        try:
            _, connection = await self.loop.create_connection(
                lambda: Connection(self.loop, self._limits, self._lost),
                self._host,
                self._port or (443 if self._ssl else 80),
                ssl=self._ssl,
            )
        except BaseException:
            self._wake()
            raise
        finally:
            self._connecting -= 1
        if not connection.is_usable():
            raise ConnectionResetError("closed before it was used")
        self._open.add(connection)
        return connection

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._wake()

    async def _next(self) -> Connection | None:
        """In turn: a connection that came free, or None when there is room to make one."""
        waiter: asyncio.Future[Connection | None] = self.loop.create_future()
        self._waiting.append(waiter)
        try:
            given = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._pass_on(self._taken(waiter.result()))  # told, and gives up: the next one has its turn
            raise
        return self._taken(given)

    def _taken(self, given: Connection | None) -> Connection | None:
        if given is None:
            self._promised -= 1
        return given

    def _pass_on(self, given: Connection | None) -> None:
        if given is not None:
            self.take_back(given)
        else:
            self._wake()

    def _wake(self, connection: Connection | None = None) -> bool:
        """Tell the first who waits; False if nobody does."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                if connection is None:
                    self._promised += 1
                waiter.set_result(connection)
                return True
        return False


def checked_path(path: str) -> str:
    """`path`, if joining it to an origin cannot name another one. Raises ValueError (a defect of the adapter) otherwise."""
    if not path.startswith("/") or path.startswith("//") or not path.isascii() or not path.isprintable():
        raise ValueError("a provider's path starts with one slash and is printable ASCII")
    if " " in path or "#" in path or "\\" in path:
        raise ValueError("a provider's path is percent-encoded and has no fragment")
    return path


def not_connected(error: BaseException) -> Fault:
    """The fault that kept a connection from standing. None of them has sent anything."""
    kind = FaultClass.CONNECT
    if isinstance(error, socket.gaierror):
        kind = FaultClass.DNS
    elif isinstance(error, ssl.SSLError):
        kind = FaultClass.TLS
    return Fault(kind, type(error).__name__)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
