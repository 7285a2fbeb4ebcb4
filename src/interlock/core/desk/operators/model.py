"""Operators and their sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from interlock.core.desk.operators.roles import Role
from interlock.core.kernel.clock import HOUR, MINUTE, Millis

SESSION_MAX: Millis = 12 * HOUR
"""A shift. After it one signs in again."""
SESSION_IDLE: Millis = 2 * HOUR
STEPPED_UP: Millis = 10 * MINUTE
"""So long after a password, or a fresh answer of the issuer, dangerous things may be done."""
SEEN_EVERY: Millis = 5 * MINUTE
"""A session's last use is written down at most so often."""
ERRAND_LASTS: Millis = 10 * MINUTE
"""So long somebody may take to sign in at an issuer."""
RETURN_CHARS_MAX = 2_000
PASSWORD_MIN = 12
PASSWORD_MAX = 200
OPERATOR_NAME = r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}\Z"
OperatorName = Annotated[str, Meta(pattern=OPERATOR_NAME)]


class Operator(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody who works at the desk."""

    name: str
    role: Role
    created_at: Millis
    salt: str = ""
    digest: str = ""
    """Of the password; empty for who signs in at an issuer."""
    disabled_at: Millis | None = None

    def __repr__(self) -> str:
        return f"Operator({self.name} {self.role})"


class Session(msgspec.Struct, frozen=True, omit_defaults=True):
    """One signed-in browser. The cookie's text is kept nowhere: the session stands under its digest."""

    operator: str
    role: Role
    csrf: str
    created_at: Millis
    seen_at: Millis
    stepped_up_at: Millis
    issuer: str = ""
    """Who vouched for the operator; empty: this platform, by password."""
    subject: str = ""
    """What the issuer calls them for good."""
    salt: str = ""
    """Of the password that opened it: another one has another salt, and this session is over."""

    def __repr__(self) -> str:
        return f"Session({self.operator} {self.role})"

    def ends_at(self) -> Millis:
        return min(self.created_at + SESSION_MAX, self.seen_at + SESSION_IDLE)

    def is_stepped_up(self, now: Millis) -> bool:
        return now - self.stepped_up_at < STEPPED_UP


class TrustedIssuer(NamedTuple):
    """An OIDC issuer at which people sign in."""

    issuer: str
    client_id: str
    """What the issuer calls this platform."""
    name: str
    """As people know it."""
    scopes: tuple[str, ...]
    role_claim: str
    """Name of a claim, or a path to it with dots."""
    roles: Mapping[str, Role]
    """A value of that claim -> what its holder may."""


class Errand(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody on the way to an issuer and back. It stands under the digest of its state, and works once."""

    browser: str
    """Digest of the cookie that must come back with it."""
    issuer: str
    nonce: str
    verifier: str
    to: str
    """Where they wanted to go."""
    begun_at: Millis
    session: str = ""
    """Which session is to be proved; empty: a new one is opened."""

    def __repr__(self) -> str:
        return f"Errand(begun_at={self.begun_at})"

    def ends_at(self) -> Millis:
        return self.begun_at + ERRAND_LASTS
