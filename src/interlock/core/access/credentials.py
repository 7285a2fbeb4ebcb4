"""Client secrets: made, stored as a digest, compared.

A secret is 256 random bits, so nobody finds it by guessing, however fast they can guess: a slow, memory-hard hash would
protect nothing and would let strangers spend our CPU at the token endpoint. HMAC-SHA-256 keyed with a salt of its own
keeps equal secrets from looking equal and a stolen store from yielding secrets.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence

import msgspec

from interlock.core.access.model import ClientSecret
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.secrets import Secret

SECRET_PREFIX = "ics_"
"""So that secret scanners recognise one that leaked."""
SECRET_BYTES = 32
SALT_BYTES = 16
SECRET_CHARS_MAX = 256
"""Longer text is no secret of ours and is not hashed."""

_NOBODY = ClientSecret("00" * SALT_BYTES, "!" * 64, 0)
"""Compared with when there is no secret, so that the time taken does not tell; no digest looks like this one."""


def new_secret(token_bytes: Callable[[int], bytes], now: Millis) -> tuple[Secret, ClientSecret]:
    """A fresh secret, and what is stored of it."""
    text = SECRET_PREFIX + urlsafe_b64encode(token_bytes(SECRET_BYTES)).rstrip(b"=").decode()
    salt = token_bytes(SALT_BYTES).hex()
    return Secret(text), ClientSecret(salt, _digest(salt, text), now)


def superseded(secrets: Sequence[ClientSecret], fresh: ClientSecret, *, grace: Millis) -> tuple[ClientSecret, ...]:
    """`fresh` and the newest of the old ones, which works for `grace` longer: two at most, however often one rotates."""
    if not secrets or grace <= 0:
        return (fresh,)
    return fresh, msgspec.structs.replace(secrets[0], expires_at=fresh.created_at + grace)


def secret_matches(secrets: Sequence[ClientSecret], presented: str, now: Millis) -> bool:
    """Whether `presented` is one of those that work now. Every candidate is compared, each in constant time."""
    if len(presented) > SECRET_CHARS_MAX:
        presented = ""
    candidates = [secret for secret in secrets if _works(secret, now)]
    found = False
    for secret in candidates or [_NOBODY]:
        found = hmac.compare_digest(_digest(secret.salt, presented), secret.digest) or found
    return found


def _works(secret: ClientSecret, now: Millis) -> bool:
    return secret.expires_at is None or now < secret.expires_at


def _digest(salt: str, text: str) -> str:
    return hmac.digest(bytes.fromhex(salt), text.encode("utf-8", "surrogatepass"), "sha256").hex()
