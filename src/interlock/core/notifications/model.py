"""A notification as it is kept."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.providers import Notification
from interlock.core.kernel.store import Item, Key, Put

QUEUE = "notifications"
ID_BYTES_MAX = 500


class Progress(StrEnum):
    RECEIVED = "received"
    APPLIED = "applied"
    """Its news is in the payment, or it was no news."""
    IGNORED = "ignored"
    """Understood, and of no consequence here."""
    UNREADABLE = "unreadable"
    """Signed by the provider and not understood: a person must look."""


class StoredNotification(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    provider: str
    received_at: Millis
    progress: Progress
    news: Notification | None = None
    body_digest: str = ""
    """SHA-256 of the body as it came."""
    detail: str = ""


def is_usable(notification_id: str) -> bool:
    """Whether a provider's id can tell its notifications apart and be part of a key."""
    return 0 < len(notification_id.encode()) <= ID_BYTES_MAX and "\0" not in notification_id


def notification_key(provider: str, notification_id: str) -> Key:
    """One item for each (provider, id): a second arrival finds it taken."""
    return Key(f"ntf/{provider}/{notification_id}", "notification")


def notification_write(stored: StoredNotification, expected: int) -> Put:
    return Put(notification_key(stored.provider, stored.id), _encoder.encode(stored), expected)


def decode_notification(item: Item) -> StoredNotification:
    return _decoder.decode(item.value)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(StoredNotification)
