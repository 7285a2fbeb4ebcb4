"""An issuer without a network: it implements IssuerEndpoints and IdTokenSignatures, and passes their contract."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from urllib.parse import parse_qs, urlsplit

from interlock.core.desk.operators.model import TrustedIssuer
from interlock.core.desk.operators.ports import IssuerMetadata, Redeemed
from interlock.core.desk.operators.roles import Role
from interlock.core.kernel.errors import Unauthenticated, Unavailable

ISSUER = "https://login.example.com/realms/pay"
TRUSTED = TrustedIssuer(
    ISSUER,
    "desk",
    "Example Corp",
    ("openid", "profile"),
    "realm_access.roles",
    {"readers": Role.VIEWER, "helpers": Role.SUPPORT, "leads": Role.LEAD},
)


ACCESS_TOKEN = "an access token that nobody uses"


def half_of(access_token: str) -> str:
    """What at_hash says of it."""
    return urlsafe_b64encode(hashlib.sha256(access_token.encode()).digest()[:16]).rstrip(b"=").decode()


class FakeIssuer:
    def __init__(self, issuer: str = ISSUER) -> None:
        self.issuer = issuer
        self.key = "key-1"
        self.published = {"key-1"}
        self.codes: dict[str, tuple[dict[str, str], str]] = {}
        self.is_down = False
        self.refuses_client = False
        self.names_itself = False
        self.has_way_out = True

    async def metadata(self) -> IssuerMetadata:
        if self.is_down:
            raise Unavailable("the issuer cannot be reached", code="issuer_unavailable")
        way_out = f"{self.issuer}/logout" if self.has_way_out else ""
        return IssuerMetadata(f"{self.issuer}/authorize", f"{self.issuer}/jwks", way_out, self.names_itself)

    async def redeem(self, code: str, *, redirect_uri: str, verifier: str) -> Redeemed:
        if self.is_down:
            raise Unavailable("the issuer cannot be reached", code="issuer_unavailable")
        if self.refuses_client:
            raise Unavailable("the issuer refuses this platform", code="client_refused")
        asked, token = self.codes.pop(code, ({}, ""))
        challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        if (asked.get("code_challenge"), asked.get("redirect_uri")) != (challenge, redirect_uri):
            raise Unauthenticated("the issuer does not take this answer any more", code="code_refused")
        return Redeemed(token, ACCESS_TOKEN)

    async def read(self, redeemed: Redeemed, *, jwks_uri: str) -> dict[str, object]:
        try:
            opened = json.loads(redeemed.id_token)
        except ValueError:
            raise Unauthenticated("not a signed token", code="token_malformed") from None
        if opened["key"] not in self.published:
            raise Unauthenticated("signed with a key the issuer does not publish", code="token_key")
        if opened["claims"].get("at_hash", half_of(redeemed.access_token)) != half_of(redeemed.access_token):
            raise Unauthenticated("given with another access token", code="token_at_hash")
        return opened["claims"]

    # What its people do.

    def give_code(self, url: str, token: str) -> str:
        code = f"code-{len(self.codes) + 1}"
        self.codes[code] = ({name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}, token)
        return code

    def token(self, claims: dict[str, object]) -> str:
        return json.dumps({"key": self.key, "claims": claims})
