"""Clients, their secrets, and who a token speaks for."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from interlock.core.access.rates import RateLimit
from interlock.core.kernel.clock import DAY, MINUTE, Millis

TENANT_PATTERN = r"^[A-Za-z0-9_-]{1,64}\Z"
"""A tenant begins partition keys, so it must not hold their separator."""
ACCESS_TOKEN_LIFETIME: Millis = 15 * MINUTE
CLOCK_SKEW: Millis = 30_000
"""How far the clocks of issuer and verifier may be apart."""
SECRET_GRACE: Millis = 1 * DAY
"""How long the old secret works beside the new one, unless told otherwise."""

is_tenant = re.compile(TENANT_PATTERN).fullmatch


class Principal(NamedTuple):
    """Who calls, as a verified token says and the client's record limits."""

    client_id: str
    tenant: str
    scopes: frozenset[str]
    token_id: str
    expires_at: Millis
    api_version: str | None = None
    """The dated version this client gets when a request names none; None: the platform's."""
    rate: RateLimit | None = None
    """None: the platform's."""


class ExternalIssuer(NamedTuple):
    """An OIDC issuer outside whose access tokens are taken beside our own. It is trusted with every tenant it names."""

    issuer: str
    jwks_uri: str
    audience: str
    tenant_claim: str = "tenant"
    scope_claim: str = "scope"


class ClientSecret(msgspec.Struct, frozen=True, omit_defaults=True):
    """A secret's digest; the secret itself is shown once and kept nowhere."""

    salt: str
    digest: str
    created_at: Millis
    expires_at: Millis | None = None
    """Set when a newer one took its place."""

    def __repr__(self) -> str:
        return f"ClientSecret(created_at={self.created_at}, expires_at={self.expires_at})"


class Client(msgspec.Struct, frozen=True, omit_defaults=True):
    """Software that may ask for tokens."""

    id: str
    tenant: str
    name: str
    scopes: tuple[str, ...]
    """What it may ask for, wild cards expanded."""
    created_at: Millis
    secrets: tuple[ClientSecret, ...] = ()
    """Newest first. Empty for a client that signs assertions."""
    public_keys: str = ""
    """JWK Set (JSON) that verifies its assertions; empty for a client with a secret."""
    api_version: str | None = None
    rate: RateLimit | None = None
    disabled_at: Millis | None = None


class Held(NamedTuple):
    """A client as loaded, with the version its next write expects."""

    client: Client
    version: int
