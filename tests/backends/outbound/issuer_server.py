"""A small OIDC issuer on loopback: it gives codes, takes them once, signs ID tokens, and can be told to misbehave."""

from __future__ import annotations

import hashlib
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, unquote_plus, urlsplit

from aiohttp import web
from joserfc.jwk import ECKey

from interlock.backends.tokens.jose import sign

CLIENT_ID = "desk"
ACCESS_TOKEN = "an access token that nobody uses"


def new_key(key_id: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": key_id, "use": "sig"})


class IssuerServer:
    def __init__(self) -> None:
        self.issuer = ""
        self.secret = ""
        """Of the client; empty: it is a public one."""
        self.keys = [new_key("key-1")]
        self.codes: dict[str, tuple[dict[str, str], str]] = {}
        """Code -> what it was asked for with, and the ID token it is worth."""
        self.more: dict[str, object] = {}
        """Into the metadata, over what is there."""
        self.raw: dict[str, web.Response] = {}
        """By path, instead of the right answer."""
        self.asked: list[str] = []
        self.posted: list[dict[str, str]] = []
        self.authorizations: list[str] = []
        self.stop: Callable[[], Awaitable[None]]
        """Nobody is there any more."""

    def give_code(self, url: str, token: str) -> str:
        """As if somebody had signed in whom the browser brought to `url`."""
        code = f"code-{len(self.codes) + 1}"
        self.codes[code] = ({name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}, token)
        return code

    def token(self, claims: dict[str, object]) -> str:
        key = self.keys[0]
        return sign(claims, key, key_id=key.kid or "", type_="JWT")

    def metadata(self) -> dict[str, object]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "end_session_endpoint": f"{self.issuer}/logout",
            "code_challenge_methods_supported": ["plain", "S256"],
        } | self.more

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if request.path in self.raw:
            return self.raw[request.path]
        if request.path == "/.well-known/openid-configuration":
            return web.json_response(self.metadata())
        if request.path == "/jwks":
            return web.json_response({"keys": [key.as_dict(private=False) for key in self.keys]})
        if request.path == "/token":
            return self._redeem({name: str(value) for name, value in (await request.post()).items()}, request)
        return web.Response(status=404)

    def _redeem(self, form: dict[str, str], request: web.Request) -> web.Response:
        self.posted.append(form)
        self.authorizations.append(request.headers.get("Authorization", ""))
        if not self._is_client(form, self.authorizations[-1]):
            return web.json_response({"error": "invalid_client"}, status=401)
        asked, token = self.codes.pop(form.get("code", ""), ({}, ""))
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = urlsafe_b64encode(digest).rstrip(b"=").decode()
        right = (asked.get("code_challenge"), asked.get("redirect_uri")) == (challenge, form.get("redirect_uri"))
        if not right or form.get("grant_type") != "authorization_code":
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response({"access_token": ACCESS_TOKEN, "token_type": "Bearer", "id_token": token})

    def _is_client(self, form: dict[str, str], authorization: str) -> bool:
        if not self.secret:
            return form.get("client_id") == CLIENT_ID and not authorization
        if not authorization:
            return (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, self.secret)
        pair = b64decode(authorization.removeprefix("Basic ")).decode().split(":")
        return [unquote_plus(one) for one in pair] == [CLIENT_ID, self.secret]


@asynccontextmanager
async def issuer_server():
    server = IssuerServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.stop = runner.cleanup
    server.issuer = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
