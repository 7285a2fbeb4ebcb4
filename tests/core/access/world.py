"""A platform's access part in memory, with a clock that the test moves."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass

from interlock.backends.local.ids import SystemIds
from interlock.backends.memory.secrets import MemorySecrets
from interlock.backends.memory.store import MemoryStore
from interlock.backends.tokens.jose import JoseKeys
from interlock.backends.tokens.signatures import JoseAssertions, JoseTokens
from interlock.core.access.authentication import Authenticator
from interlock.core.access.callers import Callers
from interlock.core.access.claims import OwnIssuer
from interlock.core.access.commands import CreateClient
from interlock.core.access.handlers import create_client, ensure_signing_key
from interlock.core.access.ports import Access
from interlock.core.access.rates import RateLimit, RateLimiter
from interlock.entrypoints.http.oauth import OAuth
from tests.clocks import ManualClock

ISSUER = "https://pay.example"
AUDIENCE = "interlock"
TENANT = "ten_a"
OPERATOR = "operator"


class Silent:
    """Telemetry that only remembers what was counted."""

    def __init__(self):
        self.counted = []

    def count(self, metric, amount=1, **labels):
        self.counted.append((metric, amount, labels))


def scripted_bytes():
    """Bytes that differ with each call and are the same in each run."""
    calls = itertools.count()

    def token_bytes(size):
        return hashlib.shake_256(f"call {next(calls)}".encode()).digest(size)

    return token_bytes


@dataclass
class World:
    clock: ManualClock
    store: MemoryStore
    secrets: MemorySecrets
    access: Access
    callers: Callers
    oauth: OAuth
    telemetry: Silent

    async def client(self, **changes):
        fields = {"tenant": TENANT, "name": "shop", "scopes": ("payments:*", "refunds:write")} | changes
        return await create_client(self.access, CreateClient(**fields), actor=OPERATOR)


async def make_world(*, external=(), tokens_max=100) -> World:
    clock = ManualClock()
    store = MemoryStore(clock)
    secrets = MemorySecrets()
    token_bytes = scripted_bytes()
    tokens = JoseTokens(secrets, clock, issuer=ISSUER, external=external)
    access = Access(
        store=store,
        secrets=secrets,
        clock=clock,
        ids=SystemIds(clock),
        token_bytes=token_bytes,
        tokens=tokens,
        assertions=JoseAssertions(),
        keys=JoseKeys(token_bytes),
        own=OwnIssuer(ISSUER, AUDIENCE),
        assertion_audiences=(ISSUER, f"{ISSUER}/oauth/token"),
    )
    await ensure_signing_key(access)
    callers = Callers(
        tokens=tokens,
        store=store,
        clock=clock,
        own=access.own,
        limiter=RateLimiter(RateLimit(100.0, 200)),
        tokens_max=tokens_max,
    )
    telemetry = Silent()
    return World(clock, store, secrets, access, callers, OAuth(access, Authenticator(access), telemetry), telemetry)


def items_of(store):
    """Everything stored, to show that a refusal changed nothing."""
    return dict(store._items), len(store._events)
