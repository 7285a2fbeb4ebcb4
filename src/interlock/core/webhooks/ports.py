"""What the handlers of webhooks need from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from interlock.core.kernel.clock import Clock
from interlock.core.kernel.documents import Documents
from interlock.core.kernel.ids import Ids
from interlock.core.kernel.queue import Queue, QueueSpec
from interlock.core.kernel.store import Store
from interlock.core.kernel.telemetry import Telemetry
from interlock.core.webhooks.sealing import Safe
from interlock.core.webhooks.subscriptions import Subscriptions
from interlock.core.webhooks.traffic import Traffic

QUEUE = "webhooks"
QUEUE_LEASE_S = 120.0
QUEUE_SPEC = QueueSpec(QUEUE, lease_s=QUEUE_LEASE_S, attempts_max=60)
"""A message dies only after hours without a store: retries of deliveries are new messages."""
EXCERPT_BYTES_MAX = 1_024


class Failure(StrEnum):
    """Why an attempt has no HTTP status."""

    FORBIDDEN_ADDRESS = "forbidden_address"
    """The name leads, or could lead, to an address that is refused."""
    BAD_URL = "bad_url"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    RESET = "reset"
    BAD_RESPONSE = "bad_response"
    """What came is not HTTP, or its head is too large."""


class SendResult(NamedTuple):
    """Either a status or a failure."""

    status: int | None
    failure: Failure | None
    duration_ms: int
    excerpt: bytes = b""
    """The body's beginning, at most EXCERPT_BYTES_MAX."""
    retry_after_s: float | None = None


class WebhookSender(Protocol):
    async def send(self, url: str, headers: Mapping[str, str], body: bytes, *, timeout_s: float) -> SendResult:
        """POST once, following no redirect, to no refused address. Answers within `timeout_s`; raises for defects only."""


async def one_by_one(work: Sequence[Awaitable[Any]]) -> None:
    for piece in work:
        await piece


NO_VAULT = Safe()
"""It remembers nothing."""


class Webhooks(NamedTuple):
    """The means of every handler here."""

    store: Store
    queue: Queue
    documents: Documents
    """For lists of events."""
    sender: WebhookSender
    clock: Clock
    ids: Ids
    telemetry: Telemetry
    random: Callable[[], float]
    """In [0, 1): jitter."""
    random_bytes: Callable[[int], bytes]
    """Unguessable: signing secrets."""
    subscriptions: Subscriptions
    traffic: Traffic
    safe: Safe = NO_VAULT
    timeout_s: float = 15.0
    """How long an endpoint may take."""
    allow_loopback: bool = False
    """Endpoints on this machine, also over plain http: for local mode only."""
    alone: bool = False
    """No other worker runs: whatever is being sent, and not by us, was left by one that has died."""
    together: Callable[[Sequence[Awaitable[Any]]], Awaitable[Any]] = one_by_one
    """Awaits all; bootstrap gives one that does so at the same time."""
