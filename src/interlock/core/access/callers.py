"""Who calls the API: a token is verified once, then remembered until it expires.

Remembered tokens are looked up by the token itself. That tells nobody anything by its timing: the dictionary compares
strings only after their 64-bit hashes, keyed per process, are equal, so there is no prefix to find out byte by byte.
Every `RECHECK` the client's record and the signing key are looked at anew, so a disabled client or a dropped key ends
its tokens within that time, without the cost of another signature check.
"""

from __future__ import annotations

from collections import OrderedDict

from interlock.core.access.claims import OwnIssuer, external_principal, own_principal
from interlock.core.access.model import CLOCK_SKEW, Principal
from interlock.core.access.ports import TokenSignatures, Verified
from interlock.core.access.rates import Allowance, RateLimit, RateLimiter
from interlock.core.access.records import find_client
from interlock.core.kernel.clock import SECOND, Clock, Millis
from interlock.core.kernel.errors import Unauthenticated
from interlock.core.kernel.store import Store

RECHECK: Millis = 5 * SECOND
TOKENS_MAX = 10_000
BEARER_CHARS_MAX = 8_192


class _Known:
    """A verified token."""

    __slots__ = ("good_until", "principal", "verified")

    def __init__(self, principal: Principal, verified: Verified, good_until: Millis) -> None:
        self.principal = principal
        self.verified = verified
        self.good_until = good_until
        """Until then nothing needs to be looked at."""


class Callers:
    """Implements TokenVerifier, and says how often each caller may call."""

    def __init__(
        self,
        *,
        tokens: TokenSignatures,
        store: Store,
        clock: Clock,
        own: OwnIssuer,
        limiter: RateLimiter,
        tokens_max: int = TOKENS_MAX,
    ) -> None:
        self._tokens = tokens
        self._store = store
        self._clock = clock
        self._now = clock.now
        self._own = own
        self._limiter = limiter
        self._tokens_max = tokens_max
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._rates: OrderedDict[str, RateLimit] = OrderedDict()
        """Of clients that have a limit of their own."""

    async def authenticate(self, authorization: str) -> Principal:
        """The caller an Authorization header names. Raises Unauthenticated saying why not, Unavailable if unknowable."""
        if authorization[:7] == "Bearer ":
            return await self.verify(authorization[7:])
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("a bearer token is needed", code="token_missing")
        return await self.verify(token)

    async def verify(self, bearer: str) -> Principal:
        """The caller the token speaks for. Raises Unauthenticated saying why not, Unavailable if that cannot be told."""
        known = self._known.get(bearer)
        if known is not None:
            if self._now() < known.good_until:
                self._known.move_to_end(bearer)
                return known.principal
            return await self._recheck(bearer, known)
        if len(bearer) > BEARER_CHARS_MAX:
            raise Unauthenticated("the token is too long", code="token_malformed")
        return await self._admit(bearer, await self._tokens.read(bearer))

    def take(self, client_id: str) -> Allowance:
        """Count one request of this client."""
        return self._limiter.take(client_id, self._clock.monotonic(), self._rates.get(client_id))

    async def _recheck(self, bearer: str, known: _Known) -> Principal:
        try:
            if not await self._tokens.still_trusts(known.verified):
                raise Unauthenticated("the key that signed this token is no longer trusted", code="token_key")
            return await self._admit(bearer, known.verified)
        except Unauthenticated:
            self._known.pop(bearer, None)
            raise

    async def _admit(self, bearer: str, verified: Verified) -> Principal:
        now = self._now()
        if verified.external is None:
            principal = await self._of_client(own_principal(verified.claims, self._own, now))
        else:
            principal = external_principal(verified.claims, verified.external, now)
        good_until = min(principal.expires_at + CLOCK_SKEW, now + RECHECK)
        self._known[bearer] = _Known(principal, verified, good_until)
        if len(self._known) > self._tokens_max:
            self._known.popitem(last=False)
        return principal

    async def _of_client(self, principal: Principal) -> Principal:
        """The principal within what its client may do now."""
        held = await find_client(self._store, principal.client_id)
        if held is None or held.client.tenant != principal.tenant:
            raise Unauthenticated("there is no such client", code="client_unknown")
        client = held.client
        if client.disabled_at is not None:
            raise Unauthenticated("the client is disabled", code="client_disabled")
        self._remember_rate(client.id, client.rate)
        return principal._replace(
            scopes=principal.scopes & frozenset(client.scopes), api_version=client.api_version, rate=client.rate
        )

    def _remember_rate(self, client_id: str, rate: RateLimit | None) -> None:
        if rate is None:
            self._rates.pop(client_id, None)
            return
        self._rates[client_id] = rate
        self._rates.move_to_end(client_id)
        if len(self._rates) > self._tokens_max:
            self._rates.popitem(last=False)
