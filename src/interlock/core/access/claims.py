"""What a token must say before it counts: pure rules over claims whose signature has been verified.

Source: RFC 9068 (access tokens), RFC 7523 section 3 (client assertions), RFC 7519 section 4.1 (checked 2026-11-22).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from interlock.core.access.model import CLOCK_SKEW, ExternalIssuer, Principal, is_tenant
from interlock.core.access.scopes import known, scope_text
from interlock.core.kernel.clock import MINUTE, Millis
from interlock.core.kernel.errors import Unauthenticated

Claims = Mapping[str, Any]

ASSERTION_LIFETIME_MAX: Millis = 5 * MINUTE
CLAIM_CHARS_MAX = 256
EXTERNAL_PREFIX = "oidc:"
"""Before the client_id of an external issuer's token, so that it can never be one of our clients."""
_SECONDS_MAX = 253_402_300_800
"""Year 9999."""
_ID_TOKEN_MARKS = ("nonce", "at_hash", "c_hash")


class OwnIssuer(NamedTuple):
    """What our own tokens are made with and checked for."""

    issuer: str
    audience: str


def access_claims(
    own: OwnIssuer,
    *,
    client_id: str,
    tenant: str,
    scopes: Collection[str],
    token_id: str,
    now: Millis,
    lifetime: Millis,
) -> dict[str, Any]:
    """The claims of an access token of ours (RFC 9068 section 2.2), and our tenant claim."""
    return {
        "iss": own.issuer,
        "aud": own.audience,
        "sub": client_id,
        "client_id": client_id,
        "tenant": tenant,
        "scope": scope_text(scopes),
        "iat": now // 1000,
        "exp": (now + lifetime) // 1000,
        "jti": token_id,
    }


def own_principal(claims: Claims, own: OwnIssuer, now: Millis) -> Principal:
    """The caller a token of ours speaks for. Raises Unauthenticated with the first rule it breaks."""
    check_issuer(claims, own.issuer)
    check_audience(claims, own.audience)
    expires_at = check_times(claims, now)
    client_id = text_of(claims, "client_id")
    if text_of(claims, "sub") != client_id:
        raise Unauthenticated("sub is not client_id", code="token_malformed")
    seconds_of(claims, "iat")
    return Principal(client_id, _tenant(claims, "tenant"), _scopes(claims, "scope"), text_of(claims, "jti"), expires_at)


def external_principal(claims: Claims, external: ExternalIssuer, now: Millis) -> Principal:
    """The caller a token of an external issuer speaks for. Raises Unauthenticated with the first rule it breaks.

    Issuers differ in where they name the client: client_id (RFC 9068), azp, or only sub. What marks an ID token, which
    tells who logged in and grants nothing, is refused.
    """
    check_issuer(claims, external.issuer)
    check_audience(claims, external.audience)
    expires_at = check_times(claims, now)
    if any(mark in claims for mark in _ID_TOKEN_MARKS):
        raise Unauthenticated("this is an ID token, not an access token", code="token_type")
    name = next((claim for claim in ("client_id", "azp") if claim in claims), "sub")
    client_id = EXTERNAL_PREFIX + text_of(claims, name)
    token_id = text_of(claims, "jti") if "jti" in claims else ""
    return Principal(
        client_id,
        _tenant(claims, external.tenant_claim),
        _scopes(claims, external.scope_claim),
        token_id,
        expires_at,
    )


class Assertion(NamedTuple):
    """A client assertion that passed every rule but one: whether it was used before."""

    jti: str
    expires_at: Millis


def client_assertion(claims: Claims, *, client_id: str, audiences: Collection[str], now: Millis) -> Assertion:
    """Raises Unauthenticated with the first rule the assertion breaks.

    The audience must be one of `audiences` and nothing beside it: an assertion meant for two servers could be passed on
    by one of them.
    """
    check_issuer(claims, client_id)
    if text_of(claims, "sub") != client_id:
        raise Unauthenticated("sub is not the client", code="assertion_subject")
    audience = claims.get("aud")
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    if not isinstance(audience, str) or audience not in audiences:
        raise Unauthenticated("meant for somebody else", code="token_audience")
    expires_at = check_times(claims, now)
    if expires_at > now + ASSERTION_LIFETIME_MAX + CLOCK_SKEW:
        raise Unauthenticated("valid for too long", code="assertion_lifetime")
    return Assertion(text_of(claims, "jti"), expires_at)


def check_issuer(claims: Claims, issuer: str) -> None:
    if claims.get("iss") != issuer:
        raise Unauthenticated("not of this issuer", code="token_issuer")


def check_audience(claims: Claims, audience: str) -> None:
    meant_for = claims.get("aud")
    if meant_for != audience and not (isinstance(meant_for, list) and audience in meant_for):
        raise Unauthenticated("meant for somebody else", code="token_audience")


def check_times(claims: Claims, now: Millis) -> Millis:
    """When it expires. The two clocks may be CLOCK_SKEW apart."""
    expires_at = seconds_of(claims, "exp")
    if now >= expires_at + CLOCK_SKEW:
        raise Unauthenticated("expired", code="token_expired")
    for claim in ("nbf", "iat"):
        if claim in claims and seconds_of(claims, claim) > now + CLOCK_SKEW:
            raise Unauthenticated("not valid yet", code="token_not_yet_valid")
    return expires_at


def seconds_of(claims: Claims, name: str) -> Millis:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _SECONDS_MAX:
        raise Unauthenticated(f"{name} is not a time", code="token_malformed")
    return int(value * 1000)


def text_of(claims: Claims, name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= CLAIM_CHARS_MAX or not value.isprintable():
        raise Unauthenticated(f"{name} is missing or is no plain text", code="token_malformed")
    return value


def _tenant(claims: Claims, name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or is_tenant(value) is None:
        raise Unauthenticated("names no tenant", code="token_tenant")
    return value


def _scopes(claims: Claims, name: str) -> frozenset[str]:
    """Words separated by spaces (RFC 6749) or a list; those that mean nothing here are passed over."""
    value = claims.get(name, "")
    if isinstance(value, str):
        return known(value.split(" "))
    if isinstance(value, list):
        return known(word for word in value if isinstance(word, str))
    raise Unauthenticated("scope is no text", code="token_malformed")
