"""What access needs from outside: signatures, beside the kernel's store, secrets, clock and ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from interlock.core.access.claims import Claims, OwnIssuer
from interlock.core.access.model import ACCESS_TOKEN_LIFETIME, ExternalIssuer, Principal
from interlock.core.kernel.clock import Clock, Millis
from interlock.core.kernel.ids import Ids
from interlock.core.kernel.secrets import Secrets
from interlock.core.kernel.store import Store


class TokenVerifier(Protocol):
    async def verify(self, bearer: str) -> Principal:
        """The caller the token speaks for. Raises Unauthenticated saying why not, Unavailable if that cannot be told."""


class Verified(NamedTuple):
    """Claims whose signature is right; whether they count is for `claims.py` to say."""

    claims: Claims
    key_id: str
    external: ExternalIssuer | None
    """Whose token it is; None: ours."""


class TokenSignatures(Protocol):
    """Access tokens, ours and those of external issuers."""

    async def sign(self, claims: Mapping[str, Any]) -> str:
        """An access token (typ at+jwt) signed with the active key. Raises Unavailable when there is no key."""

    async def read(self, token: str) -> Verified:
        """Check form, type, algorithm and signature. Raises Unauthenticated, or Unavailable if a key cannot be fetched."""

    async def still_trusts(self, verified: Verified) -> bool:
        """Whether the key that verified a token is still one to verify with."""

    async def public_keys(self) -> bytes:
        """Our JWK Set (JSON): the active key, the next one, and previous ones whose tokens may still live."""


class AssertionSignatures(Protocol):
    """Client assertions (RFC 7523), verified with the client's registered public keys."""

    @property
    def algorithms(self) -> tuple[str, ...]:
        """What they may be signed with."""

    def claimed_client(self, assertion: str) -> str:
        """Who the assertion says it is from; nothing is verified. Raises Unauthenticated if it is malformed."""

    def read(self, assertion: str, public_keys: str) -> Claims:
        """Its claims. Raises Unauthenticated unless one of the keys made the signature."""


class KeyMaker(Protocol):
    def new_signing_key(self) -> tuple[str, str]:
        """A fresh key's id and its private JWK as JSON."""

    def check_public_keys(self, public_keys: str) -> None:
        """Raises Invalid unless this is a JWK Set of public keys, each with an id of its own and strong enough."""


class Access(NamedTuple):
    """The means of every handler here."""

    store: Store
    secrets: Secrets
    clock: Clock
    ids: Ids
    token_bytes: Callable[[int], bytes]
    """n unpredictable bytes."""
    tokens: TokenSignatures
    assertions: AssertionSignatures
    keys: KeyMaker
    own: OwnIssuer
    assertion_audiences: tuple[str, ...]
    """What a client assertion may name as its audience: the issuer, and the token endpoint's URL."""
    lifetime: Millis = ACCESS_TOKEN_LIFETIME
