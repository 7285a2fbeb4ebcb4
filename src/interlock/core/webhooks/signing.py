"""Signatures as Standard Webhooks has them.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md (checked 2026-11-21)
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence

from interlock.core.kernel.clock import SECOND, Millis
from interlock.core.kernel.secrets import Secret

PREFIX = "whsec_"
SECRET_BYTES = 32
"""The standard allows 24 to 64."""


def new_secret(random_bytes: Callable[[int], bytes]) -> Secret:
    return Secret(PREFIX + b64encode(random_bytes(SECRET_BYTES)).decode())


def signed_headers(secrets: Sequence[Secret], *, message_id: str, at: Millis, body: bytes) -> dict[str, str]:
    """The headers of one attempt made at `at`: a signature for each secret, separated by spaces."""
    timestamp = str(at // SECOND)
    content = f"{message_id}.{timestamp}.".encode() + body
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(secret, content) for secret in secrets),
    }


def _signature(secret: Secret, content: bytes) -> str:
    key = b64decode(secret.reveal().removeprefix(PREFIX))
    return "v1," + b64encode(hmac.digest(key, content, "sha256")).decode()
