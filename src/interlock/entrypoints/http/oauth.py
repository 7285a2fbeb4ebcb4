"""The authorization server's three documents: a token, the public keys, and the metadata that names them.

`OAuth.token_endpoint` takes the raw form and the Authorization header and answers in the words of RFC 6749, not as a
problem document: OAuth clients parse these.
Source: RFC 6749 sections 2.3.1, 4.4 and 5; RFC 7521 section 4.2; RFC 8414 (checked 2026-11-22).
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple
from urllib.parse import unquote_plus

import msgspec
from msgspec import Meta

from interlock.core.access.authentication import Authenticator
from interlock.core.access.commands import IssueToken
from interlock.core.access.handlers import issue_token
from interlock.core.access.model import Client
from interlock.core.access.ports import Access
from interlock.core.access.scopes import SCOPES
from interlock.core.kernel.errors import Forbidden, OutcomeUnknown, RateLimited, Unauthenticated, Unavailable
from interlock.core.kernel.telemetry import Telemetry
from interlock.entrypoints.http.routing import CLIENT_BASIC, FORM, Answer, Call, Described, Route

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TOKEN_PATH = "/oauth/token"
JWKS_PATH = "/.well-known/jwks.json"
METADATA_PATH = "/.well-known/oauth-authorization-server"
FORM_BYTES_MAX = 16_384
FIELDS_MAX = 20
KEYS_CACHED_S = 300
"""How long others may keep our key set; half of what a new key is published before it signs."""
_FIELDS = ("grant_type", "scope", "client_id", "client_secret", "client_assertion", "client_assertion_type")


class TokenAnswer(NamedTuple):
    status: int
    body: bytes
    headers: Mapping[str, str]


class TokenGrant(msgspec.Struct, frozen=True):
    access_token: str
    token_type: str
    expires_in: int
    """Seconds."""
    scope: str


_FormText = Annotated[str, Meta(max_length=FORM_BYTES_MAX, pattern=r"^[ -~]*\Z")]


class TokenForm(msgspec.Struct, frozen=True):
    """For the document. A client without a secret proves itself by the last two, which go together."""

    grant_type: Literal["client_credentials"]
    scope: _FormText | msgspec.UnsetType = msgspec.UNSET
    """Of the client's scopes, those wanted, separated by spaces. All of them, if absent."""
    client_id: _FormText | msgspec.UnsetType = msgspec.UNSET
    client_assertion_type: Literal["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    client_assertion: _FormText | msgspec.UnsetType = msgspec.UNSET
    """RFC 7523."""


class Metadata(msgspec.Struct, frozen=True):
    """RFC 8414."""

    issuer: str
    token_endpoint: str
    jwks_uri: str
    scopes_supported: tuple[str, ...]
    response_types_supported: tuple[str, ...]
    grant_types_supported: tuple[str, ...]
    token_endpoint_auth_methods_supported: tuple[str, ...]
    token_endpoint_auth_signing_alg_values_supported: tuple[str, ...]


class PublicKey(msgspec.Struct, frozen=True):
    """RFC 7517."""

    kty: str
    kid: str
    use: str
    alg: str
    crv: str
    x: str
    y: str


class KeySet(msgspec.Struct, frozen=True):
    keys: tuple[PublicKey, ...]


class TokenError(msgspec.Struct, frozen=True):
    error: str
    """RFC 6749 section 5.2: invalid_request, invalid_client, invalid_scope, unsupported_grant_type ..."""
    error_description: str


class _Refused(Exception):
    def __init__(self, status: int, error: str, description: str, retry_after_s: int = 0) -> None:
        super().__init__(error)
        self.status = status
        self.error = TokenError(error, description)
        self.retry_after_s = retry_after_s


class OAuth:
    def __init__(self, access: Access, authenticator: Authenticator, telemetry: Telemetry) -> None:
        self._access = access
        self._authenticator = authenticator
        self._telemetry = telemetry

    async def token_endpoint(self, form: bytes, authorization: str | None) -> TokenAnswer:
        """POST /oauth/token. Never raises for what a client sends."""
        try:
            fields = parse_form(form)
            client = await self._client(fields, authorization or None)
            grant = fields.get("grant_type")
            if grant is None:
                raise _Refused(400, "invalid_request", "grant_type is missing")
            if grant != "client_credentials":
                raise _Refused(400, "unsupported_grant_type", "only client_credentials is offered")
            issued = await issue_token(self._access, client, IssueToken(client.id, fields.get("scope")))
        except _Refused as refused:
            return self._refusal(refused)
        except Unauthenticated as error:
            return self._refusal(_Refused(401, "invalid_client", error.detail))
        except Forbidden as error:
            return self._refusal(_Refused(400, "invalid_scope", error.detail))
        except RateLimited as error:
            return self._refusal(_Refused(429, "temporarily_unavailable", error.detail, error.retry_after_s))
        except Unavailable as error:
            return self._refusal(_Refused(503, "temporarily_unavailable", "try again", error.retry_after_s))
        except OutcomeUnknown:
            # Only a client assertion is written here: it may count as used, so the next try needs a new one.
            return self._refusal(_Refused(503, "temporarily_unavailable", "try again with a new assertion", 1))
        grant_body = TokenGrant(issued.token, "Bearer", issued.lifetime_s, issued.scope)
        return TokenAnswer(200, msgspec.json.encode(grant_body), _NO_STORE)

    async def jwks(self) -> bytes:
        """GET /.well-known/jwks.json."""
        return await self._access.tokens.public_keys()

    def metadata(self, base_url: str | None = None) -> bytes:
        """GET /.well-known/oauth-authorization-server. `base_url`: where the endpoints are; the issuer's own if None."""
        issuer = self._access.own.issuer
        base = (base_url or issuer).rstrip("/")
        document = Metadata(
            issuer,
            base + TOKEN_PATH,
            base + JWKS_PATH,
            SCOPES,
            (),
            ("client_credentials",),
            ("client_secret_basic", "private_key_jwt"),
            self._access.assertions.algorithms,
        )
        return msgspec.json.encode(document)

    async def _client(self, fields: Mapping[str, str], authorization: str | None) -> Client:
        """The client, by the one way it chose to prove itself."""
        assertion, type_ = fields.get("client_assertion"), fields.get("client_assertion_type")
        if authorization is not None and (assertion is not None or type_ is not None or "client_secret" in fields):
            raise _Refused(400, "invalid_request", "prove who you are in one way only")
        if "client_secret" in fields:
            raise _Refused(401, "invalid_client", "send the secret in the Authorization header (Basic)")
        if assertion is not None or type_ is not None:
            if assertion is None or type_ != ASSERTION_TYPE:
                raise _Refused(
                    400, "invalid_request", f"client_assertion goes with client_assertion_type {ASSERTION_TYPE}"
                )
            client = await self._authenticator.by_assertion(assertion)
        elif authorization is not None:
            client = await self._authenticator.by_secret(*parse_basic(authorization))
        else:
            raise _Refused(401, "invalid_client", "client authentication is needed")
        if fields.get("client_id", client.id) != client.id:
            raise _Refused(400, "invalid_request", "client_id is another client's")
        return client

    def _refusal(self, refused: _Refused) -> TokenAnswer:
        headers = dict(_NO_STORE)
        if refused.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="interlock", charset="UTF-8"'
        if refused.retry_after_s:
            headers["Retry-After"] = str(refused.retry_after_s)
        if refused.status in (401, 429):
            self._telemetry.count("interlock_auth_failures_total", reason=refused.error.error)
        return TokenAnswer(refused.status, msgspec.json.encode(refused.error), headers)


def parse_form(form: bytes) -> dict[str, str]:
    """The fields we know, by name; those we do not know are passed over, empty ones count as absent (RFC 6749, 3.2)."""
    if len(form) > FORM_BYTES_MAX:
        raise _Refused(400, "invalid_request", f"the form may have {FORM_BYTES_MAX} bytes")
    fields: dict[str, str] = {}
    parts = form.split(b"&") if form else []
    if len(parts) > FIELDS_MAX:
        raise _Refused(400, "invalid_request", f"the form may have {FIELDS_MAX} fields")
    for part in parts:
        name, _, value = part.partition(b"=")
        key, text = _form_text(name), _form_text(value)
        if key in fields:
            raise _Refused(400, "invalid_request", f"{key} is there twice")
        if key in _FIELDS:
            fields[key] = text
    return {key: text for key, text in fields.items() if text}


def parse_basic(authorization: str) -> tuple[str, str]:
    """client_id and secret, each form-encoded before base64 (RFC 6749, section 2.3.1)."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise _Refused(401, "invalid_client", "HTTP Basic or a client assertion is needed")
    try:
        text = b64decode(encoded.strip(" "), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise _Refused(401, "invalid_client", "the Authorization header is malformed") from None
    client_id, colon, secret = text.partition(":")
    if not colon:
        raise _Refused(401, "invalid_client", "the Authorization header is malformed")
    return unquote_plus(client_id), unquote_plus(secret)


def _form_text(raw: bytes) -> str:
    try:
        text = unquote_plus(raw.decode("ascii"), errors="strict")
    except UnicodeDecodeError:
        raise _Refused(400, "invalid_request", "the form is not UTF-8, percent-encoded") from None
    if _CONTROL.search(text):
        raise _Refused(400, "invalid_request", "control characters in the form")
    return text


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NO_STORE: Mapping[str, str] = MappingProxyType({"Cache-Control": "no-store", "Pragma": "no-cache"})


def oauth_routes(oauth: OAuth) -> tuple[Route, ...]:
    async def token(call: Call) -> Answer:
        answer = await oauth.token_endpoint(call.raw, call.headers.get("authorization"))
        return Answer(answer.status, answer.body, answer.headers)

    async def jwks(call: Call) -> Answer:
        return Answer(200, await oauth.jwks(), {"Cache-Control": f"public, max-age={KEYS_CACHED_S}"})

    async def metadata(call: Call) -> Answer:
        return Answer(200, oauth.metadata(), {"Cache-Control": f"public, max-age={KEYS_CACHED_S}"})

    refusals = {
        400: Described(TokenError, "The request or the scope is refused."),
        401: Described(
            TokenError,
            "The client is not known, or its credential is wrong.",
            headers={"WWW-Authenticate": "How a client proves itself."},
        ),
        429: Described(
            TokenError, "Too many failed attempts in this client's name.", headers={"Retry-After": "Seconds to wait."}
        ),
        503: Described(TokenError, "Nothing happened; try again.", headers={"Retry-After": "Seconds to wait."}),
    }
    return (
        Route(
            method="POST",
            path=TOKEN_PATH,
            endpoint=token,
            operation_id="issueToken",
            summary="Get an access token (client_credentials)",
            description="The client proves itself by HTTP Basic or by a signed assertion (private_key_jwt).",
            accepts=(FORM,),
            reads_body=True,
            raw_body=TokenForm,
            example={"grant_type": "client_credentials"},
            credentials=(CLIENT_BASIC, ""),
            answers={200: Described(TokenGrant, "An RFC 9068 access token."), **refusals},
            tags=("oauth",),
            challenge='Basic realm="interlock"',
        ),
        Route(
            method="GET",
            path=JWKS_PATH,
            endpoint=jwks,
            operation_id="getKeySet",
            summary="Public keys that verify our access tokens (JWK Set)",
            answers={200: Described(KeySet, "Active, next and previous keys.")},
            problems=(503,),
            tags=("oauth",),
        ),
        Route(
            method="GET",
            path=METADATA_PATH,
            endpoint=metadata,
            operation_id="getAuthorizationServerMetadata",
            summary="What this authorization server offers (RFC 8414)",
            answers={200: Described(Metadata, "Endpoints, scopes and methods.")},
            tags=("oauth",),
        ),
    )
