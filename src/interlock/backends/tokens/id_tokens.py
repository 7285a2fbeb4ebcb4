"""ID tokens of the issuer at which people sign in: was this signed with a key that the issuer publishes?"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode

from interlock.backends.tokens.jose import FOREIGN_ALGORITHMS, check_signature, open_token, pick_key
from interlock.backends.tokens.remote_keys import RemoteKeys
from interlock.core.access.claims import Claims
from interlock.core.desk.operators.ports import Redeemed
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.errors import Unauthenticated, Unavailable

ID_TOKEN_CHARS_MAX = 65_536
"""Longer than an access token: some issuers write down each group somebody is in."""
REFETCH_PAUSE_S = 1.0
"""Shorter than for access tokens: strangers cannot hand us ID tokens, they come from the issuer itself."""
_TYPES = frozenset({"jwt", ""})
_DIGESTS = {"ES384": hashlib.sha384, "Ed25519": hashlib.sha512}
"""By which an algorithm digests what it signs; all others by SHA-256."""


class JoseIdTokens:
    """Implements IdTokenSignatures."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._uri = ""
        self._remote: RemoteKeys | None = None

    async def read(self, redeemed: Redeemed, *, jwks_uri: str) -> Claims:
        token = redeemed.id_token
        parts = open_token(token, FOREIGN_ALGORITHMS, chars_max=ID_TOKEN_CHARS_MAX)
        if (parts.head.typ or "").lower().removeprefix("application/") not in _TYPES:
            raise Unauthenticated("not an ID token", code="token_type")
        remote = await self._keys_at(jwks_uri)
        keys = await (remote.keys() if parts.head.kid is None else remote.keys_with(parts.head.kid))
        key = pick_key(keys, parts.head.kid)
        if key is None:
            raise Unauthenticated("signed with a key the issuer does not publish", code="token_key")
        check_signature(token, key, FOREIGN_ALGORITHMS)
        if "at_hash" in parts.claims:
            _check_half(parts.claims["at_hash"], redeemed.access_token, parts.head.alg)
        return parts.claims

    async def close(self) -> None:
        """Safe to repeat."""
        if self._remote is not None:
            await self._remote.close()
            self._remote = None

    async def _keys_at(self, uri: str) -> RemoteKeys:
        """An issuer may move them: what was known of the old address is forgotten."""
        if self._remote is None or uri != self._uri:
            await self.close()
            try:
                self._remote, self._uri = RemoteKeys(uri, self._clock, refetch_pause_s=REFETCH_PAUSE_S), uri
            except ValueError:
                raise Unavailable(
                    "the issuer's keys are at an address that is not https", code="issuer_address"
                ) from None
        return self._remote


def _check_half(given: object, access_token: str, algorithm: str) -> None:
    """OpenID Connect Core, 3.1.3.8: the left half of the access token's digest."""
    digest = _DIGESTS.get(algorithm, hashlib.sha256)(access_token.encode("utf-8", "surrogatepass")).digest()
    half = urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), half):
        raise Unauthenticated("given with another access token", code="token_at_hash")
