"""Access tokens and client assertions: whose key must have signed this, and did it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from joserfc.jwk import Key

from interlock.backends.tokens.jose import (
    FOREIGN_ALGORITHMS,
    OWN_ALGORITHM,
    check_signature,
    key_set_json,
    open_token,
    pick_key,
    private_key,
    public_keys,
    sign,
)
from interlock.backends.tokens.remote_keys import RemoteKeys
from interlock.core.access.claims import Claims
from interlock.core.access.model import ACCESS_TOKEN_LIFETIME, ExternalIssuer
from interlock.core.access.ports import Verified
from interlock.core.access.signing_keys import SigningKey, active_key, load_keys, needed_keys
from interlock.core.kernel.clock import Clock, Millis
from interlock.core.kernel.errors import Unauthenticated, Unavailable
from interlock.core.kernel.secrets import Secrets

ACCESS_TOKEN_TYPE = "at+jwt"
OWN_KEYS_FRESH_S = 30.0
"""For so long the keys are not read from the secrets again; much less than a previous key is kept (SEEN_LATE)."""
OWN_KEYS_PAUSE_S = 1.0
"""Between two looks that unknown key ids set off."""
_EXTERNAL_TYPES = frozenset({"at+jwt", "jwt", ""})
"""RFC 9068 asks for at+jwt; many issuers still write JWT or nothing. Types made for another purpose are refused."""
_ASSERTION_TYPES = frozenset({"jwt", "client-authentication+jwt", ""})


class JoseTokens:
    """Implements TokenSignatures."""

    def __init__(
        self,
        secrets: Secrets,
        clock: Clock,
        *,
        issuer: str,
        external: Sequence[ExternalIssuer] = (),
        lifetime: Millis = ACCESS_TOKEN_LIFETIME,
    ) -> None:
        """Raises ValueError for an external issuer that calls itself as we do, or whose keys' address is unfit."""
        self._own = _OwnKeys(secrets, clock, lifetime)
        self._issuer = issuer
        self._external = {one.issuer: (one, RemoteKeys(one.jwks_uri, clock)) for one in external}
        if issuer in self._external or len(self._external) != len(external):
            raise ValueError("two issuers of one name")

    async def sign(self, claims: Mapping[str, Any]) -> str:
        key_id, key = await self._own.active()
        return sign(claims, key, key_id=key_id, type_=ACCESS_TOKEN_TYPE)

    async def read(self, token: str) -> Verified:
        # The issuer is claimed, not proved, at this point; it only says whose keys must have made the signature.
        parts = open_token(token, FOREIGN_ALGORITHMS)
        type_ = _type(parts.head.typ)
        issuer = parts.claims.get("iss")
        if issuer == self._issuer:
            if parts.head.alg != OWN_ALGORITHM:
                raise Unauthenticated("not signed with an algorithm that is allowed", code="token_algorithm")
            if type_ != ACCESS_TOKEN_TYPE:
                raise Unauthenticated("not an access token", code="token_type")
            key_id = parts.head.kid or ""
            key = (await self._own.keys_with(key_id)).get(key_id)
            if key is None:
                raise Unauthenticated("signed with a key we do not know", code="token_key")
            check_signature(token, key, (OWN_ALGORITHM,))
            return Verified(parts.claims, key_id, None)
        external, remote = self._external.get(issuer, (None, None)) if isinstance(issuer, str) else (None, None)
        if external is None or remote is None:
            raise Unauthenticated("not of an issuer that is trusted here", code="token_issuer")
        if type_ not in _EXTERNAL_TYPES:
            raise Unauthenticated("not an access token", code="token_type")
        keys = await (remote.keys() if parts.head.kid is None else remote.keys_with(parts.head.kid))
        key = pick_key(keys, parts.head.kid)
        if key is None:
            raise Unauthenticated("signed with a key the issuer does not publish", code="token_key")
        check_signature(token, key, FOREIGN_ALGORITHMS)
        return Verified(parts.claims, parts.head.kid or "", external)

    async def still_trusts(self, verified: Verified) -> bool:
        if verified.external is None:
            return verified.key_id in await self._own.keys()
        _, remote = self._external[verified.external.issuer]
        keys = await remote.keys()
        return verified.key_id in keys or (verified.key_id == "" and len(keys) == 1)

    async def public_keys(self) -> bytes:
        """Our JWK Set: the active key, the next one, and previous ones whose tokens may still live."""
        return await self._own.published()

    async def close(self) -> None:
        """Safe to repeat."""
        for _, remote in self._external.values():
            await remote.close()


class JoseAssertions:
    """Implements AssertionSignatures."""

    algorithms = FOREIGN_ALGORITHMS

    def claimed_client(self, assertion: str) -> str:
        subject = open_token(assertion, FOREIGN_ALGORITHMS).claims.get("sub")
        if not isinstance(subject, str):
            raise Unauthenticated("names no client", code="assertion_subject")
        return subject

    def read(self, assertion: str, public_keys_json: str) -> Claims:
        parts = open_token(assertion, FOREIGN_ALGORITHMS)
        if _type(parts.head.typ) not in _ASSERTION_TYPES:
            raise Unauthenticated("not a client assertion", code="token_type")
        key = pick_key(public_keys(public_keys_json), parts.head.kid)
        if key is None:
            raise Unauthenticated("signed with a key that is not registered", code="token_key")
        check_signature(assertion, key, FOREIGN_ALGORITHMS)
        return parts.claims


class _OwnKeys:
    """Our signing keys, read from the secrets now and then, so that a rotation by another process is noticed."""

    def __init__(self, secrets: Secrets, clock: Clock, lifetime: Millis) -> None:
        self._secrets = secrets
        self._clock = clock
        self._lifetime = lifetime
        self._signing: tuple[SigningKey, ...] = ()
        self._loaded: dict[str, Key] = {}
        self._read_at: float | None = None

    async def active(self) -> tuple[str, Key]:
        await self._refresh(OWN_KEYS_FRESH_S)
        key = active_key(self._signing, self._now())
        if key is None:
            raise Unavailable("there is no key to sign with", code="no_signing_key")
        return key.id, self._loaded[key.id]

    async def keys(self) -> Mapping[str, Key]:
        await self._refresh(OWN_KEYS_FRESH_S)
        return self._loaded

    async def keys_with(self, key_id: str) -> Mapping[str, Key]:
        keys = await self.keys()
        if key_id not in keys:
            await self._refresh(OWN_KEYS_PAUSE_S)
        return self._loaded

    async def published(self) -> bytes:
        await self._refresh(OWN_KEYS_PAUSE_S)
        return key_set_json([self._loaded[key.id] for key in self._needed() if key.id in self._loaded])

    async def _refresh(self, age_max_s: float) -> None:
        at = self._clock.monotonic()
        if self._read_at is not None and at - self._read_at < age_max_s:
            return
        self._signing = await load_keys(self._secrets)
        loaded = self._loaded
        self._loaded = {key.id: loaded.get(key.id) or private_key(key.jwk) for key in self._needed()}
        self._read_at = at

    def _needed(self) -> tuple[SigningKey, ...]:
        return needed_keys(self._signing, self._now(), lifetime=self._lifetime)

    def _now(self) -> Millis:
        return self._clock.now()


def _type(typ: str | None) -> str:
    """RFC 7515: compared without case, and `application/` may be left out."""
    return (typ or "").lower().removeprefix("application/")
