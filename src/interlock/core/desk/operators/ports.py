"""What signing in needs from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from interlock.core.access.claims import Claims
from interlock.core.access.rates import RateLimiter
from interlock.core.desk.operators.model import TrustedIssuer
from interlock.core.desk.operators.refusals import Refusals
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.ids import Ids
from interlock.core.kernel.store import Store


class IssuerMetadata(NamedTuple):
    """What an issuer says of itself, checked: it is the one that was asked for, and its addresses may be called."""

    authorization_endpoint: str
    jwks_uri: str
    end_session_endpoint: str = ""
    """Empty: it has none."""
    names_itself: bool = False
    """Its answers by way of the browser say whose they are (RFC 9207); one that does not is not its answer."""


class Redeemed(NamedTuple):
    """What a code was worth. Neither has been looked at yet."""

    id_token: str
    access_token: str
    """Nothing is asked with it: it only has to be the one that the ID token names. Empty: there was none."""

    def __repr__(self) -> str:
        return "Redeemed()"


class IssuerEndpoints(Protocol):
    """An OIDC issuer outside, asked over the network."""

    async def metadata(self) -> IssuerMetadata:
        """Raises Unavailable: it cannot be reached, or what it says cannot be worked with."""

    async def redeem(self, code: str, *, redirect_uri: str, verifier: str) -> Redeemed:
        """The tokens for a code.

        Raises Unauthenticated when the issuer refuses the code, Unavailable when it cannot be asked or refuses us.
        """


class IdTokenSignatures(Protocol):
    async def read(self, redeemed: Redeemed, *, jwks_uri: str) -> Claims:
        """Check form, type, algorithm and signature of the ID token, and that `at_hash`, if it has one, is of the access token.

        Raises Unauthenticated, or Unavailable if a key cannot be fetched.
        """


class AtIssuer(NamedTuple):
    """The means of signing in at an issuer."""

    trusted: TrustedIssuer
    endpoints: IssuerEndpoints
    signatures: IdTokenSignatures


class Operators(NamedTuple):
    """The means of every handler here."""

    store: Store
    clock: Clock
    ids: Ids
    token_bytes: Callable[[int], bytes]
    """n unpredictable bytes."""
    limiter: RateLimiter
    """Of tries to sign in. Its own rate is that of one name from one address."""
    digest_of: Callable[[str, str], Awaitable[str]]
    """Of a password and a salt, as `passwords.py` says and aside from all other work. Raises Unavailable if too many want that."""
    refusals: Refusals
    at_issuer: AtIssuer | None = None
    """None: people sign in here alone."""
    passwords: bool = True
    """Whether people sign in with passwords of this platform."""
