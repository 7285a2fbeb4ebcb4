"""What the handlers of alerts need from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from interlock.core.desk.alerts.sns import SnsMessage
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.ids import Ids
from interlock.core.kernel.store import Store
from interlock.core.kernel.telemetry import Telemetry
from interlock.core.webhooks.sealing import Safe

BODY_BYTES_MAX = 1_048_576
"""Of one webhook. A server may allow less."""


class SnsSignatures(Protocol):
    """Amazon SNS, as far as the network is needed for it. Both are asked only after `check_message` believed the addresses."""

    async def verify(self, message: SnsMessage) -> None:
        """The certificate at `signing_cert_url` is Amazon's and signed `string_to_sign(message)`.

        Version 1 is RSA with SHA-1, version 2 with SHA-256, both PKCS #1 v1.5. Certificates may be remembered by their URL.
        No redirect is followed. Raises Unauthenticated if it did not sign, Unavailable if the certificate cannot be had now.
        """

    async def confirm(self, subscribe_url: str) -> None:
        """Confirm the subscription: one GET, following no redirect. Safe to repeat. Raises Unavailable."""


NO_VAULT = Safe()
"""It remembers nothing."""


class AlertDesk(NamedTuple):
    """The means of every handler here."""

    store: Store
    clock: Clock
    ids: Ids
    telemetry: Telemetry
    sns: SnsSignatures
    token_bytes: Callable[[int], bytes]
    """Unguessable: tokens and signing secrets of sources."""
    safe: Safe = NO_VAULT
    """Where signing secrets are sealed."""
