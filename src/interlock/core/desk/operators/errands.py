"""To an issuer and back: an errand is begun, the browser carries it there, and what it comes back with lets somebody in.

Authorization code with PKCE. Source: https://openid.net/specs/openid-connect-core-1_0.html, RFC 7636, RFC 9207,
RFC 9700 (checked 2026-11-27)
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from interlock.core.access.model import CLOCK_SKEW
from interlock.core.desk.operators.handlers import (
    COOKIE_BYTES,
    COOKIE_CHARS,
    SignedIn,
    keep_proof,
    put_refusal_on_record,
    sign_in_by_issuer,
    sign_out,
)
from interlock.core.desk.operators.id_tokens import Vouched, vouched
from interlock.core.desk.operators.identities import issuer_host
from interlock.core.desk.operators.model import RETURN_CHARS_MAX, Errand
from interlock.core.desk.operators.ports import AtIssuer, IssuerMetadata, Operators
from interlock.core.desk.operators.records import (
    digest_of_text,
    errand_key,
    errand_write,
    find_errand,
    find_session,
)
from interlock.core.desk.operators.tries import count_errand
from interlock.core.kernel.errors import (
    Forbidden,
    NotFound,
    Rejected,
    Unauthenticated,
    WriteConflict,
)
from interlock.core.kernel.store import Delete

CODE_CHARS_MAX = 8_192
ANSWERS = {
    "access_denied": "you, or the issuer, did not allow it",
    "login_required": "the issuer wants you to sign in there first",
    "interaction_required": "the issuer wants something of you first",
    "consent_required": "the issuer wants your consent first",
    "temporarily_unavailable": "the issuer is busy; try again in a moment",
    "server_error": "the issuer has a fault; try again in a moment",
}
"""Error codes that people can do something about (RFC 6749, 4.1.2.1; OpenID Connect Core, 3.1.2.6)."""


class SetOut(NamedTuple):
    url: str
    """Where the browser goes."""
    cookie: str
    """What it must come back with."""


class Arrived(NamedTuple):
    operator: str
    cookie: str
    """Of the new session; empty: the one that was there is proved."""


async def set_out(o: Operators, *, redirect_uri: str, to: str, address: str, proving: SignedIn | None = None) -> SetOut:
    """Begin an errand. `proving`: whose session is to be proved once more, instead of opening a new one.

    `address`: where it is asked from; anybody may begin one.

    Raises NotFound where there is no issuer, Unavailable when it cannot be reached, RateLimited.
    """
    at = _issuer_of(o)
    count_errand(o, address, proving.key if proving else None)
    endpoint = (await at.endpoints.metadata()).authorization_endpoint
    state, nonce, verifier, cookie = (o.token_bytes(COOKIE_BYTES).hex() for _ in range(4))
    errand = Errand(
        browser=digest_of_text(cookie),
        issuer=at.trusted.issuer,
        nonce=nonce,
        verifier=verifier,
        to=to if len(to) <= RETURN_CHARS_MAX else "",
        begun_at=o.clock.now(),
        session=proving.key.partition if proving else "",
    )
    await o.store.commit([errand_write(errand_key(state), errand)])
    query = {
        "response_type": "code",
        "client_id": at.trusted.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(at.trusted.scopes),
        "state": state,
        "nonce": nonce,
        "code_challenge": _challenge(verifier),
        "code_challenge_method": "S256",
    } | ({"prompt": "login", "max_age": "0"} if proving else {})
    return SetOut(f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}", cookie)


async def take_up(o: Operators, *, state: str, cookie: str) -> Errand:
    """The errand that this browser began, used up by this. Raises Unauthenticated: there is none, or not any more."""
    gone = Unauthenticated("this sign-in was begun elsewhere, took too long, or was used already", code="no_errand")
    if len(state) != COOKIE_CHARS or len(cookie) != COOKIE_CHARS:
        raise gone
    key = errand_key(state)
    found = await find_errand(o.store, key)
    if found is None or not hmac.compare_digest(found[0].browser, digest_of_text(cookie)):
        raise gone
    try:
        await o.store.commit([Delete(key, found[1])])
    except WriteConflict:
        raise gone from None
    if found[0].ends_at() <= o.clock.now():
        raise gone
    return found[0]


async def arrive(
    o: Operators, errand: Errand, answer: Mapping[str, str], *, redirect_uri: str, who: SignedIn | None
) -> Arrived:
    """Let in whom the issuer vouches for, or prove the session of `who`. `answer`: what the browser brought.

    Raises Unauthenticated, Forbidden for somebody without a role here; both are put on record. Unavailable.
    """
    at = _issuer_of(o)
    try:
        somebody = await _vouched(o, at, errand, answer, redirect_uri)
    except Rejected as refusal:
        name = who.session.operator if who and errand.session else f"somebody ({issuer_host(errand.issuer)})"
        await put_refusal_on_record(o, name=name, reason=refusal.reason, issuer=errand.issuer)
        raise
    try:
        if errand.session:
            return await _prove(o, errand, somebody, who)
        return await _let_in(o, at, somebody)
    except Rejected as refusal:
        await put_refusal_on_record(o, name=somebody.operator, reason=refusal.reason, issuer=errand.issuer)
        raise


async def way_out(o: Operators, who: SignedIn, *, back_to: str) -> str:
    """Where somebody signs out of the issuer, too; empty where there is no such place."""
    if not who.session.issuer or o.at_issuer is None:
        return ""
    endpoint = (await o.at_issuer.endpoints.metadata()).end_session_endpoint
    query = urlencode({"client_id": o.at_issuer.trusted.client_id, "post_logout_redirect_uri": back_to})
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}" if endpoint else ""


async def _vouched(o: Operators, at: AtIssuer, errand: Errand, answer: Mapping[str, str], redirect_uri: str) -> Vouched:
    if errand.issuer != at.trusted.issuer:
        raise Unauthenticated("this sign-in was begun at another issuer", code="other_issuer")
    metadata = await at.endpoints.metadata()
    code = _code_in(answer, at, metadata)
    redeemed = await at.endpoints.redeem(code, redirect_uri=redirect_uri, verifier=errand.verifier)
    claims = await at.signatures.read(redeemed, jwks_uri=metadata.jwks_uri)
    return vouched(claims, at.trusted, nonce=errand.nonce, begun_at=errand.begun_at, now=o.clock.now())


def _code_in(answer: Mapping[str, str], at: AtIssuer, metadata: IssuerMetadata) -> str:
    """Whose answer it is comes first: another issuer's code must not be sent to this one, nor its error believed."""
    if answer.get("iss", "" if metadata.names_itself else at.trusted.issuer) != at.trusted.issuer:
        raise Unauthenticated("this is an answer of another issuer", code="other_issuer")
    if "error" in answer:
        detail = ANSWERS.get(answer["error"], "the issuer refused it")
        raise Unauthenticated(detail, code=answer["error"] if answer["error"] in ANSWERS else "issuer_refused")
    code = answer.get("code", "")
    if not 0 < len(code) <= CODE_CHARS_MAX:
        raise Unauthenticated("the answer brought no code", code="no_code")
    return code


async def _let_in(o: Operators, at: AtIssuer, somebody: Vouched) -> Arrived:
    if somebody.role is None:
        detail = f"{at.trusted.name} knows you, and gives you no role at this desk; ask who looks after it there"
        raise Forbidden(detail, code="no_role")
    cookie = await sign_in_by_issuer(
        o,
        name=somebody.operator,
        role=somebody.role,
        issuer=at.trusted.issuer,
        subject=somebody.subject,
        authenticated_at=somebody.authenticated_at,
    )
    return Arrived(somebody.operator, cookie)


async def _prove(o: Operators, errand: Errand, somebody: Vouched, who: SignedIn | None) -> Arrived:
    if who is None or who.key.partition != errand.session:
        raise Unauthenticated("the session that was to be proved is over", code="session_over")
    if (who.session.issuer, who.session.subject) != (errand.issuer, somebody.subject):
        raise Unauthenticated("you are signed in as somebody else", code="other_person")
    if somebody.authenticated_at is None:
        raise Unauthenticated("the issuer does not say when you proved yourself", code="no_auth_time")
    if somebody.authenticated_at < errand.begun_at - CLOCK_SKEW:
        raise Unauthenticated("the issuer did not ask you once more", code="not_fresh")
    found = await find_session(o.store, who.key)
    if found is None:
        raise Unauthenticated("the session that was to be proved is over", code="session_over")
    if somebody.role != who.session.role:
        await sign_out(o, who)
        raise Unauthenticated("your role has changed; sign in again", code="role_changed")
    await keep_proof(o, who.key, *found)
    return Arrived(who.session.operator, "")


def _issuer_of(o: Operators) -> AtIssuer:
    if o.at_issuer is None:
        raise NotFound("people sign in here with a password alone")
    return o.at_issuer


def _challenge(verifier: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
