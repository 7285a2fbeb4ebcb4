"""Who asks for a token: a client proves itself by its secret, or by an assertion signed with its own key.

Whatever is wrong, the answer is the same Unauthenticated with code invalid_client: it must not tell whether the client
exists. A right credential always passes, also while wrong ones are being held back, so that nobody can lock a client out
by failing in its name. Guessing gains nothing by that: a secret has 256 bits.
"""

from __future__ import annotations

from hashlib import sha256

from interlock.core.access.claims import client_assertion
from interlock.core.access.credentials import secret_matches
from interlock.core.access.model import CLOCK_SKEW, Client
from interlock.core.access.ports import Access
from interlock.core.access.rates import RateLimit, RateLimiter
from interlock.core.access.records import find_client, used_assertion
from interlock.core.kernel.errors import RateLimited, Unauthenticated, WriteConflict

FAILURES = RateLimit(per_s=0.2, burst=10)
"""Failed attempts per client: ten at once, then one in five seconds."""
_STRANGERS = ""
"""Attempts in the name of clients that do not exist share one bucket, so that inventing names costs no memory."""


class Authenticator:
    """Checks clients at the token endpoint and counts their failures, in this process's memory."""

    def __init__(self, access: Access, failures: RateLimiter | None = None) -> None:
        self._access = access
        self._failures = failures or RateLimiter(FAILURES)

    async def by_secret(self, client_id: str, secret: str) -> Client:
        """Raises Unauthenticated, or RateLimited after too many failures."""
        held = await find_client(self._access.store, client_id)
        client = held.client if held is not None else None
        now = self._access.clock.now()
        right = secret_matches(client.secrets if client is not None else (), secret, now)
        if client is None or not right or client.disabled_at is not None:
            raise self._refusal(client)
        return client

    async def by_assertion(self, assertion: str) -> Client:
        """Raises Unauthenticated, or RateLimited after too many failures. Each assertion works once."""
        a = self._access
        client: Client | None = None
        try:
            client_id = a.assertions.claimed_client(assertion)
            held = await find_client(a.store, client_id)
            client = held.client if held is not None else None
            if client is None or client.disabled_at is not None or not client.public_keys:
                raise Unauthenticated
            claims = a.assertions.read(assertion, client.public_keys)
            proof = client_assertion(claims, client_id=client.id, audiences=a.assertion_audiences, now=a.clock.now())
            digest = sha256(proof.jti.encode()).hexdigest()
            # Kept a little longer than the assertion is good for, however the clocks of our processes differ.
            await a.store.commit([used_assertion(client.id, digest, proof.expires_at + 2 * CLOCK_SKEW)])
        except (Unauthenticated, WriteConflict):
            raise self._refusal(client) from None
        return client

    def _refusal(self, client: Client | None) -> Unauthenticated | RateLimited:
        name = client.id if client is not None else _STRANGERS
        allowance = self._failures.take(name, self._access.clock.monotonic())
        if allowance.allowed:
            return Unauthenticated("unknown client or wrong credential", code="invalid_client")
        return RateLimited("too many failed attempts", retry_after_s=allowance.retry_after_s, code="too_many_failures")
