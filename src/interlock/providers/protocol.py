"""The sans-IO provider protocol: an adapter yields requests and is sent replies; the engine does everything else.

Of an adapter asked to `run` an operation:
  * it yields `HttpRequest`s and receives, for each, an `HttpReply` (any status) or a `Fault` (no complete answer);
  * it returns a `Result`. It never decides by itself that money did not move: an answer it does not understand is UNKNOWN;
  * it keeps no state and reads no clock: what it needs is in the operation and the context.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.providers import Capabilities, Notification, Operation, Result
from interlock.core.kernel.secrets import Secret


class Phase(StrEnum):
    """What a request may do, and so what its loss means."""

    PREPARE = "prepare"
    """Cannot move money (tokens, sessions): any fault means NOT_SENT."""
    COMMIT = "commit"
    """Money may move: a fault after the connection stood means UNKNOWN."""
    READ = "read"
    """Looks only; may be repeated."""


class HttpRequest(msgspec.Struct, frozen=True):
    method: str
    path: str
    """Path and query, joined to the provider's base URL; never another host."""
    phase: Phase
    headers: Mapping[str, str] = {}
    body: bytes = b""
    idempotency_header: str | None = None
    """Name of the header in which the engine puts the attempt's id."""

    def __repr__(self) -> str:
        return f"HttpRequest({self.method} {self.path.partition('?')[0]} {self.phase})"


class HttpReply(msgspec.Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def __repr__(self) -> str:
        return f"HttpReply({self.status}, {len(self.body)} bytes)"


class FaultClass(StrEnum):
    """How a request failed, in the order a request lives."""

    BREAKER_OPEN = "breaker_open"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    WRITE = "write"
    READ_TIMEOUT = "read_timeout"
    RESET = "reset"
    TRUNCATED = "truncated"
    TOO_LARGE = "too_large"

    @property
    def before_sending(self) -> bool:
        """Whether not one byte of the request can have reached the provider."""
        return self in (FaultClass.BREAKER_OPEN, FaultClass.DNS, FaultClass.CONNECT, FaultClass.TLS)


class Fault(msgspec.Struct, frozen=True):
    kind: FaultClass
    detail: str = ""


class Context(NamedTuple):
    """What an adapter may know beside the operation."""

    now: Millis
    credentials: Mapping[str, Secret]
    """By the names the adapter's `credential_names` lists."""
    resend: bool = False
    """This attempt was sent before; a lookup found nothing."""


Conversation = Generator[HttpRequest, "HttpReply | Fault", Result]


class RawNotification(NamedTuple):
    """A notification as it came in: nothing in it is trusted yet."""

    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    received_at: Millis


class SettlementLine(NamedTuple):
    """One line of a provider's settlement file, in our words."""

    kind: str
    provider_reference: str
    attempt_id: str | None
    gross: int
    fee: int
    net: int
    currency: str
    booked_at: Millis


@runtime_checkable
class Provider(Protocol):
    name: str
    capabilities: Capabilities
    credential_names: tuple[str, ...]
    """What `run` needs."""
    signing_secret_name: str
    """Under which name `notifications` finds the secrets that sign."""

    def run(self, op: Operation, ctx: Context) -> Conversation:
        """Carry out one operation; see the module's head for the rules."""

    def notifications(self, raw: RawNotification, secrets: Mapping[str, list[Secret]]) -> list[Notification]:
        """Verify, THEN parse. Raises Unauthenticated for a bad, missing or old signature, Invalid for a signed body it
        cannot read. `secrets` holds every signing secret still valid, newest first, by credential name."""


@runtime_checkable
class SettlementReader(Protocol):
    """Optional ability: read the provider's settlement files."""

    def settlement(self, lines: Iterable[bytes]) -> Iterator[SettlementLine]: ...


def advance(conversation: Conversation, reply: HttpReply | Fault | None) -> HttpRequest | Result:
    """Send `reply` (None to start) into a conversation: its next request, or its result."""
    try:
        return next(conversation) if reply is None else conversation.send(reply)
    except StopIteration as done:
        result: Any = done.value
        assert isinstance(result, Result), "an adapter returns a Result"
        return result
