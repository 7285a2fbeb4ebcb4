"""Signatures of ID tokens: what an attacker can put together, and keys that the issuer changes."""

import hashlib
from base64 import urlsafe_b64encode

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from interlock.backends.tokens.id_tokens import ID_TOKEN_CHARS_MAX, JoseIdTokens
from interlock.core.desk.operators.ports import Redeemed
from interlock.core.kernel.errors import Unauthenticated, Unavailable
from tests.backends.tokens.forging import parts_of, public_forms, put_together, signed_with_hmac, with_claims, with_head
from tests.backends.tokens.jwks_server import jwks_server
from tests.clocks import ManualClock

ONE = ECKey.generate_key("P-256", {"kid": "one"})
TWO = ECKey.generate_key("P-256", {"kid": "two"})
P384 = ECKey.generate_key("P-384", {"kid": "p384"})
OKP = OKPKey.generate_key("Ed25519", {"kid": "okp"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
CLAIMS = {"iss": "https://login.example", "sub": "person-1", "nonce": "n"}


def token_by(key=ONE, head=None, **claims):
    header = {"alg": "ES256", "kid": key.kid, "typ": "JWT"} | (head or {})
    header = {name: value for name, value in header.items() if value is not None}
    return jwt.encode(header, CLAIMS | claims, key, algorithms=[header["alg"]])


@pytest.fixture
async def tokens():
    made = JoseIdTokens(ManualClock())
    yield made
    await made.close()


async def refusal(tokens, token, uri):
    with pytest.raises(Unauthenticated) as refused:
        await tokens.read(Redeemed(token, ""), jwks_uri=uri)
    return refused.value.reason


@pytest.mark.parametrize("typ", ["JWT", "jwt", None])
async def test_token_of_a_published_key_is_read(tokens, typ):
    async with jwks_server(ONE, RSA) as server:
        assert await tokens.read(Redeemed(token_by(head={"typ": typ}), ""), jwks_uri=server.uri) == CLAIMS
        assert await tokens.read(Redeemed(token_by(RSA, {"alg": "RS256"}), ""), jwks_uri=server.uri) == CLAIMS


async def test_token_without_a_signature_of_the_issuer_is_refused(tokens):
    async with jwks_server(ONE) as server:
        right = token_by()
        head, claims, _ = parts_of(right)
        unsigned = put_together(head | {"alg": "none"}, claims)
        assert await refusal(tokens, unsigned, server.uri) == "token_algorithm"
        assert await refusal(tokens, put_together(head | {"alg": "NoNe"}, claims), server.uri) == "token_algorithm"
        for secret in public_forms(ONE):
            forged = signed_with_hmac(head | {"alg": "HS256"}, claims, secret)
            assert await refusal(tokens, forged, server.uri) == "token_algorithm"
        shared = jwt.encode({"alg": "HS256", "kid": "one"}, CLAIMS, OctKey.import_key("s" * 32))
        assert await refusal(tokens, shared, server.uri) == "token_algorithm"
        assert await refusal(tokens, with_claims(right, sub="admin"), server.uri) == "token_signature"
        assert await refusal(tokens, right[:-4] + "AAAA", server.uri) == "token_signature"
        assert await refusal(tokens, token_by(TWO, {"kid": "one"}), server.uri) == "token_signature"
        assert await refusal(tokens, with_head(right, alg="RS256"), server.uri) == "token_signature"
        assert await refusal(tokens, token_by(head={"typ": "at+jwt"}), server.uri) == "token_type"
        assert await refusal(tokens, token_by(head={"typ": "logout+jwt"}), server.uri) == "token_type"
        assert await refusal(tokens, token_by(pad="x" * ID_TOKEN_CHARS_MAX), server.uri) == "token_malformed"
        assert (
            await refusal(tokens, with_head(right, jku="https://evil.example/jwks", kid="evil"), server.uri)
            == "token_key"
        )
        for nothing in ("", ".", "..", "a.b", "é.é.é"):
            assert await refusal(tokens, nothing, server.uri) == "token_malformed"
        assert await tokens.read(Redeemed(right, ""), jwks_uri=server.uri) == CLAIMS
        assert server.elsewhere == 0


async def test_token_with_two_hundred_groups_is_read(tokens):
    async with jwks_server(ONE) as server:
        groups = [f"{number:036d}" for number in range(200)]
        assert (await tokens.read(Redeemed(token_by(groups=groups), ""), jwks_uri=server.uri))["groups"] == groups


async def test_key_that_turns_up_later_is_fetched_though_not_for_every_token(tokens):
    async with jwks_server(ONE) as server:
        await tokens.read(Redeemed(token_by(), ""), jwks_uri=server.uri)
        server.publish(ONE, TWO)
        assert await refusal(tokens, token_by(TWO), server.uri) == "token_key"
        assert server.asked == 1
        tokens._clock.advance(2)
        assert await tokens.read(Redeemed(token_by(TWO), ""), jwks_uri=server.uri) == CLAIMS
        assert server.asked == 2


async def test_keys_that_moved_are_fetched_where_they_are_and_the_old_ones_count_no_more(tokens):
    async with jwks_server(ONE) as old, jwks_server(TWO) as new:
        await tokens.read(Redeemed(token_by(ONE), ""), jwks_uri=old.uri)
        assert await tokens.read(Redeemed(token_by(TWO), ""), jwks_uri=new.uri) == CLAIMS
        tokens._clock.advance(2)
        assert await refusal(tokens, token_by(ONE), new.uri) == "token_key"


@pytest.mark.parametrize("uri", ["http://login.example/jwks", "file:///etc/passwd", "https://user@login.example/jwks"])
async def test_keys_at_an_address_that_is_not_https_are_not_asked_for(tokens, uri):
    with pytest.raises(Unavailable):
        await tokens.read(Redeemed(token_by(), ""), jwks_uri=uri)


@pytest.mark.parametrize(
    ("key", "algorithm", "digest"),
    [
        (ONE, "ES256", hashlib.sha256),
        (RSA, "RS256", hashlib.sha256),
        (RSA, "PS256", hashlib.sha256),
        (P384, "ES384", hashlib.sha384),
        (OKP, "Ed25519", hashlib.sha512),
    ],
)
async def test_access_token_is_told_by_half_of_the_digest_that_the_algorithm_uses(tokens, key, algorithm, digest):
    made = digest(b"access").digest()
    half = urlsafe_b64encode(made[: len(made) // 2]).rstrip(b"=").decode()
    async with jwks_server(key) as server:
        token = token_by(key, {"alg": algorithm}, at_hash=half)
        assert (await tokens.read(Redeemed(token, "access"), jwks_uri=server.uri))["at_hash"] == half
        assert await refusal(tokens, token, server.uri) == "token_at_hash"
        for wrong in (half[:-1], f"{half}=", "", "é", 7, None, [half]):
            token = token_by(key, {"alg": algorithm}, at_hash=wrong)
            with pytest.raises(Unauthenticated):
                await tokens.read(Redeemed(token, "access"), jwks_uri=server.uri)
