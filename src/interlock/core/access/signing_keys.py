"""The keys that sign our tokens, and how one takes over from another.

Each key says from when it signs; the rest follows. The active key is the latest that may sign. A later one is only
published yet, so that verifiers elsewhere know it before they meet it. An earlier one is published until the last token
it can have signed has expired. They live in the Secrets port, newest first.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from interlock.core.access.model import ACCESS_TOKEN_LIFETIME, CLOCK_SKEW
from interlock.core.kernel.clock import MINUTE, Millis
from interlock.core.kernel.secrets import Secret, Secrets

SECRET_NAME = "token_signing_keys"
PUBLISHED_FIRST: Millis = 10 * MINUTE
"""How long a new key is published before it signs: twice as long as verifiers may keep the published set."""
SEEN_LATE: Millis = 2 * MINUTE
"""How long a process may go on signing with a key before it notices the next."""


class SigningKey(msgspec.Struct, frozen=True):
    id: str
    jwk: str
    """The private key as a JWK (JSON)."""
    created_at: Millis
    signs_from: Millis

    def __repr__(self) -> str:
        return f"SigningKey({self.id!r}, signs_from={self.signs_from})"


def active_key(keys: Sequence[SigningKey], now: Millis) -> SigningKey | None:
    """The key that signs now."""
    return next((key for key in _newest_first(keys) if key.signs_from <= now), None)


def next_key(keys: Sequence[SigningKey], now: Millis) -> SigningKey | None:
    """The key that is published and does not sign yet."""
    return next((key for key in _newest_first(keys) if key.signs_from > now), None)


def needed_keys(
    keys: Sequence[SigningKey], now: Millis, *, lifetime: Millis = ACCESS_TOKEN_LIFETIME
) -> tuple[SigningKey, ...]:
    """Keys to publish and to verify with, newest first: next, active, and each previous one while its tokens live."""
    needed: list[SigningKey] = []
    successor: SigningKey | None = None
    for key in _newest_first(keys):
        if successor is None or now < successor.signs_from + lifetime + CLOCK_SKEW + SEEN_LATE:
            needed.append(key)
        successor = key
    return tuple(needed)


def with_new_key(
    keys: Sequence[SigningKey],
    fresh: SigningKey,
    *,
    drop_previous: bool = False,
    lifetime: Millis = ACCESS_TOKEN_LIFETIME,
) -> tuple[SigningKey, ...]:
    """The keys to keep from now on, newest first. `drop_previous`: only the fresh one, all tokens of others end now."""
    return (fresh,) if drop_previous else needed_keys((fresh, *keys), fresh.created_at, lifetime=lifetime)


async def load_keys(secrets: Secrets) -> tuple[SigningKey, ...]:
    """Newest first. Raises StoreUnavailable when the secrets cannot be read."""
    return tuple(_decoder.decode(value.reveal()) for value in await secrets.get(SECRET_NAME))


async def keep_keys(secrets: Secrets, keys: Sequence[SigningKey]) -> None:
    await secrets.put(SECRET_NAME, [Secret(_encoder.encode(key).decode()) for key in _newest_first(keys)])


def _newest_first(keys: Sequence[SigningKey]) -> list[SigningKey]:
    return sorted(keys, key=lambda key: (key.signs_from, key.created_at), reverse=True)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(SigningKey)
