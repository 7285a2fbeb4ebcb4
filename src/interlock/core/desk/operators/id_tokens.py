"""What an ID token must say before somebody is let in: pure rules over claims whose signature has been verified.

Source: https://openid.net/specs/openid-connect-core-1_0.html, 3.1.3.7 (checked 2026-11-27)
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from typing import Any, NamedTuple

from interlock.core.access.claims import (
    Claims,
    check_audience,
    check_issuer,
    check_times,
    seconds_of,
    text_of,
)
from interlock.core.access.model import CLOCK_SKEW
from interlock.core.desk.operators.identities import name_at_issuer
from interlock.core.desk.operators.model import TrustedIssuer
from interlock.core.desk.operators.roles import Role
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import Unauthenticated

CALLED = ("preferred_username", "email", "sub")
"""Where an issuer says what it calls somebody, best first."""
VALUES_MAX = 1_000
"""Of the claim that holds roles; what stands behind them is not looked at."""


class Vouched(NamedTuple):
    """Somebody an issuer has vouched for."""

    subject: str
    operator: str
    """The name they act under."""
    role: Role | None
    """The highest one they have here; None: none."""
    authenticated_at: Millis | None
    """When they proved themselves to the issuer, if it says so."""


def vouched(claims: Claims, trusted: TrustedIssuer, *, nonce: str, begun_at: Millis, now: Millis) -> Vouched:
    """Raises Unauthenticated with the first rule the token breaks. `begun_at`: when it was asked for."""
    check_issuer(claims, trusted.issuer)
    check_audience(claims, trusted.client_id)
    _check_party(claims, trusted.client_id)
    check_times(claims, now)
    if seconds_of(claims, "iat") < begun_at - CLOCK_SKEW:
        raise Unauthenticated("made before it was asked for", code="token_too_old")
    given = claims.get("nonce")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), nonce.encode()):
        raise Unauthenticated("an answer to another question", code="token_nonce")
    subject = text_of(claims, "sub")
    called = [value for name in CALLED if isinstance(value := claims.get(name), str)]
    authenticated_at = seconds_of(claims, "auth_time") if "auth_time" in claims else None
    if authenticated_at is not None and authenticated_at > now + CLOCK_SKEW:
        raise Unauthenticated("somebody proved themselves in the future", code="token_not_yet_valid")
    return Vouched(
        subject,
        name_at_issuer(called, issuer=trusted.issuer, subject=subject),
        role_in(claims, trusted),
        authenticated_at,
    )


def role_in(claims: Claims, trusted: TrustedIssuer) -> Role | None:
    """The highest role among the values of the claim."""
    held = {trusted.roles[value] for value in _values(claims, trusted.role_claim) if value in trusted.roles}
    return max(held, key=list(Role).index) if held else None


def _check_party(claims: Claims, client_id: str) -> None:
    """A token for several is for us if it says that we asked for it. Some issuers name a project beside each client."""
    party = claims.get("azp")
    several = isinstance(claims.get("aud"), list) and len(claims["aud"]) > 1
    if party != client_id and (party is not None or several):
        raise Unauthenticated("asked for by somebody else", code="token_party")


def _values(claims: Claims, path: str) -> Iterator[str]:
    """Strings at the end of the path. A claim whose own name has dots, such as a URL, is found by that name."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for name in path.split("."):
            found = found.get(name) if isinstance(found, dict) else None
    if isinstance(found, str):
        yield found
    elif isinstance(found, list):
        yield from (one for one in found[:VALUES_MAX] if isinstance(one, str))
