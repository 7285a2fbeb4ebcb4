"""An OIDC issuer as far as signing people in needs the network: what it says of itself, and its token endpoint.

Only the configured issuer is asked, and addresses it names itself: https, or http on this machine while the issuer is there,
too. No redirect, proxy or cookie; answers are limited in size and time.
Source: https://openid.net/specs/openid-connect-discovery-1_0.html, RFC 6749 2.3.1 and 4.1.3 (checked 2026-11-27)
"""

from __future__ import annotations

from base64 import b64encode
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote_plus, urlsplit

import aiohttp
import msgspec

from interlock.core.desk.operators.model import TrustedIssuer
from interlock.core.desk.operators.ports import IssuerMetadata, Redeemed
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.errors import Unauthenticated, Unavailable
from interlock.core.kernel.secrets import Secrets

WELL_KNOWN = "/.well-known/openid-configuration"
CLIENT_SECRET = "console/client_secret"
"""Name of the secret; without one the issuer takes us for a public client."""
FRESH_S = 600.0
"""For so long what an issuer says of itself is not asked for again."""
TIMEOUT_S = 10.0
ANSWER_BYTES_MAX = 262_144
ADDRESS_CHARS_MAX = 2_000


class _Metadata(msgspec.Struct, frozen=True):
    """What we need of it; everything else is passed over."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str = ""
    authorization_response_iss_parameter_supported: bool = False
    code_challenge_methods_supported: tuple[str, ...] | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class AiohttpIssuer:
    """Implements IssuerEndpoints."""

    def __init__(self, trusted: TrustedIssuer, secrets: Secrets, clock: Clock) -> None:
        """Raises ValueError for an issuer at an address that we would not call."""
        if not _may_be_called(trusted.issuer, local=True):
            raise ValueError("an issuer's address is https, or http on loopback")
        self._trusted = trusted
        self._secrets = secrets
        self._clock = clock
        self._known: _Metadata | None = None
        self._known_at = 0.0

    async def metadata(self) -> IssuerMetadata:
        known = await self._metadata()
        return IssuerMetadata(
            known.authorization_endpoint,
            known.jwks_uri,
            known.end_session_endpoint,
            known.authorization_response_iss_parameter_supported,
        )

    async def redeem(self, code: str, *, redirect_uri: str, verifier: str) -> Redeemed:
        known = await self._metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers = {"Accept": "application/json"}
        await self._prove_ourselves(known, form, headers)
        status, content = await _ask("POST", known.token_endpoint, form, headers)
        answer = _table(content)
        if status == 400 and answer.get("error") == "invalid_grant":
            raise Unauthenticated("the issuer does not take this answer any more", code="code_refused")
        token = answer.get("id_token")
        if status in (400, 401, 403):
            raise Unavailable("the issuer refuses this platform as its client", code="client_refused")
        if status != 200 or not isinstance(token, str):
            raise Unavailable("the issuer gives no ID token", code="issuer_unavailable")
        access_token = answer.get("access_token")
        return Redeemed(token, access_token if isinstance(access_token, str) else "")

    async def _prove_ourselves(self, known: _Metadata, form: dict[str, str], headers: dict[str, str]) -> None:
        """Read from the secrets each time: a new one works at once."""
        secrets = await self._secrets.get(CLIENT_SECRET)
        methods, client_id = known.token_endpoint_auth_methods_supported, self._trusted.client_id
        if not secrets:
            form["client_id"] = client_id
        elif "client_secret_basic" not in methods and "client_secret_post" in methods:
            form |= {"client_id": client_id, "client_secret": secrets[0].reveal()}
        else:
            pair = f"{quote_plus(client_id)}:{quote_plus(secrets[0].reveal())}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"

    async def _metadata(self) -> _Metadata:
        """Raises Unavailable. What was known serves on while the issuer cannot be asked: it seldom changes."""
        now = self._clock.monotonic()
        if self._known is not None and now - self._known_at < FRESH_S:
            return self._known
        try:
            status, content = await _ask("GET", self._trusted.issuer.removesuffix("/") + WELL_KNOWN, None, {})
        except Unavailable:
            if self._known is None:
                raise
            return self._known
        self._known, self._known_at = self._checked(status, content), now
        return self._known

    def _checked(self, status: int, content: bytes) -> _Metadata:
        if status != 200:
            raise Unavailable(f"the issuer answers {status} when it is asked about itself", code="issuer_unavailable")
        try:
            found = msgspec.json.decode(content, type=_Metadata)
        except (msgspec.DecodeError, RecursionError):
            raise Unavailable("what the issuer says of itself cannot be read", code="issuer_malformed") from None
        if found.issuer != self._trusted.issuer:
            raise Unavailable("the issuer calls itself otherwise than the settings do", code="issuer_mismatch")
        local = _is_local(self._trusted.issuer)
        needed = (found.authorization_endpoint, found.token_endpoint, found.jwks_uri)
        if not all(_may_be_called(one, local=local) for one in needed):
            raise Unavailable("the issuer has an address that is not https", code="issuer_address")
        if found.code_challenge_methods_supported is not None and "S256" not in found.code_challenge_methods_supported:
            raise Unavailable("the issuer does not know PKCE with S256", code="issuer_without_pkce")
        if found.end_session_endpoint and not _may_be_called(found.end_session_endpoint, local=local):
            return msgspec.structs.replace(found, end_session_endpoint="")
        return found


async def _ask(method: str, url: str, form: dict[str, str] | None, headers: dict[str, str]) -> tuple[int, bytes]:
    """Status and body. Raises Unavailable."""
    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            ) as session,
            session.request(method, url, data=form, headers=headers, allow_redirects=False) as answer,
        ):
            content = b""
            while len(content) <= ANSWER_BYTES_MAX and (more := await answer.content.read(ANSWER_BYTES_MAX)):
                content += more
            if len(content) > ANSWER_BYTES_MAX:
                raise Unavailable("the issuer says too much", code="issuer_malformed")
            return answer.status, content
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        raise Unavailable("the issuer cannot be reached", retry_after_s=5, code="issuer_unavailable") from None


def _table(content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return {}


def _may_be_called(url: str, *, local: bool) -> bool:
    """https, or http on this machine if `local`; no user, no fragment."""
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.username is None and not parts.fragment and len(url) <= ADDRESS_CHARS_MAX
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url
    return named and plain and (parts.scheme == "https" or (local and _is_local(url)))


def _is_local(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        return parts.scheme == "http" and ip_address(host).is_loopback
    except ValueError:
        return parts.scheme == "http" and host == "localhost"
