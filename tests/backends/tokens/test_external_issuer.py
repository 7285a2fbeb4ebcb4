"""Tokens of an issuer outside, verified with the keys it publishes over HTTP, through its rotations and failures."""

import asyncio
import json

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from interlock.backends.tokens.remote_keys import RemoteKeys
from interlock.core.access.model import ExternalIssuer
from interlock.core.kernel.errors import Unauthenticated, Unavailable
from tests.backends.tokens.forging import b64, parts_of, public_forms, signed_with_hmac, with_claims
from tests.backends.tokens.jwks_server import jwks_server
from tests.clocks import ManualClock
from tests.core.access.world import ISSUER, make_world

LOGIN = "https://login.example"
ONE = ECKey.generate_key("P-256", {"kid": "one"})
TWO = ECKey.generate_key("P-256", {"kid": "two"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})


async def make_outside(server):
    return await make_world(external=[ExternalIssuer(LOGIN, server.uri, "interlock", "org", "scp")])


def token_by(world, key=ONE, head=None, **changes):
    now = world.clock.now() // 1000
    claims = {"iss": LOGIN, "aud": "interlock", "sub": "svc", "client_id": "svc", "org": "acme", "scp": "payments:read"}
    claims |= {"iat": now, "exp": now + 300, "jti": "t1"} | changes
    header = {"alg": "ES256", "kid": key.kid, "typ": "at+jwt"} | (head or {})
    header = {name: value for name, value in header.items() if value is not None}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(header, claims, key, algorithms=[header["alg"]])


async def refusal(world, token, error=Unauthenticated):
    with pytest.raises(error) as refused:
        await world.callers.verify(token)
    return refused.value.reason


async def fetched(world):
    """Wait until no fetch of keys is under way."""
    (_, remote), *_ = world.access.tokens._external.values()
    if remote._fetch is not None:
        await remote._fetch


@pytest.fixture
async def outside():
    async with jwks_server(ONE) as server:
        world = await make_outside(server)
        yield world, server
        await world.access.tokens.close()


async def test_token_of_the_external_issuer_is_accepted(outside):
    world, server = outside
    principal = await world.callers.verify(token_by(world))
    assert (principal.client_id, principal.tenant) == ("oidc:svc", "acme")
    assert principal.scopes == {"payments:read"}
    assert server.asked == 1


@pytest.mark.parametrize(("key", "alg"), [(RSA, "RS256"), (RSA, "PS256"), (ED, "Ed25519"), (ONE, "ES256")])
@pytest.mark.parametrize("typ", ["at+jwt", "JWT", None])
async def test_algorithms_and_types_in_use_are_accepted(outside, key, alg, typ):
    world, server = outside
    server.publish(ONE, RSA, ED)
    token = token_by(world, key, {"alg": alg, "typ": typ})
    assert (await world.callers.verify(token)).tenant == "acme"


@pytest.mark.parametrize(
    ("head", "changes", "reason"),
    [
        ({}, {"org": None}, "token_tenant"),
        ({}, {"org": None, "tenant": "acme"}, "token_tenant"),
        ({}, {"aud": "other"}, "token_audience"),
        ({}, {"exp": 1}, "token_expired"),
        ({}, {"nbf": 4_000_000_000}, "token_not_yet_valid"),
        ({}, {"iss": "https://evil.example"}, "token_issuer"),
        ({}, {"nonce": "n"}, "token_type"),
        ({"typ": "dpop+jwt"}, {}, "token_type"),
        ({"typ": "logout+jwt"}, {}, "token_type"),
        ({"typ": "client-authentication+jwt"}, {}, "token_type"),
        ({"kid": "unknown"}, {}, "token_key"),
    ],
)
async def test_external_token_that_breaks_one_rule_is_refused(outside, head, changes, reason):
    world, _ = outside
    assert await refusal(world, token_by(world, ONE, head, **changes)) == reason


async def test_external_issuer_cannot_speak_in_our_name_nor_we_in_its(outside):
    world, _ = outside
    made = await world.client()
    assert (
        await refusal(world, token_by(world, iss=ISSUER, client_id=made.client.id, sub=made.client.id)) == "token_key"
    )
    foreign = token_by(world, ONE, client_id=made.client.id)
    assert (await world.callers.verify(foreign)).client_id == f"oidc:{made.client.id}"


async def test_changed_claims_and_a_public_key_as_secret_are_refused(outside):
    world, _ = outside
    token = token_by(world)
    assert await refusal(world, with_claims(token, org="other")) == "token_signature"
    head, claims, _ = parts_of(token)
    for secret in public_forms(ONE):
        assert await refusal(world, signed_with_hmac(head | {"alg": "HS256"}, claims, secret)) == "token_algorithm"


async def test_shared_secret_among_the_published_keys_is_passed_over(outside):
    world, server = outside
    server.keys.append({"kty": "oct", "k": b64(b"x" * 32), "kid": "oct"})
    server.keys.append({"kty": "PQ", "kid": "future"})
    server.keys.append({"kty": "RSA", "n": "AQ", "e": "AQAB", "kid": "weak"})
    assert (await world.callers.verify(token_by(world))).tenant == "acme"
    assert await refusal(world, token_by(world, ONE, {"kid": "oct"})) == "token_key"


async def test_private_key_that_an_issuer_publishes_by_mistake_verifies_nothing(outside):
    world, server = outside
    server.keys.append(TWO.as_dict(private=True))
    assert await refusal(world, token_by(world, TWO)) == "token_key"


async def test_rotated_in_key_is_fetched_when_it_is_first_met(outside):
    world, server = outside
    await world.callers.verify(token_by(world))
    server.publish(TWO, ONE)
    world.clock.advance(31)
    assert (await world.callers.verify(token_by(world, TWO))).tenant == "acme"
    assert (await world.callers.verify(token_by(world, ONE, jti="t2"))).tenant == "acme"
    assert server.asked == 2


async def test_withdrawn_key_ends_the_tokens_it_signed(outside):
    world, server = outside
    token = token_by(world, exp=4_000_000_000)
    await world.callers.verify(token)
    server.publish(TWO)
    world.clock.advance(601)
    await world.callers.verify(token)  # sets off the fetch and does not wait for it
    await fetched(world)
    world.clock.advance(5)
    assert await refusal(world, token) == "token_key"
    assert server.asked == 2


async def test_strangers_with_invented_keys_do_not_make_us_flood_the_issuer(outside):
    world, server = outside
    await world.callers.verify(token_by(world))
    world.clock.advance(31)
    for n in range(50):
        assert await refusal(world, token_by(world, TWO, {"kid": f"invented{n}"})) == "token_key"
    assert server.asked == 2
    world.clock.advance(30)
    await refusal(world, token_by(world, TWO, {"kid": "invented"}))
    assert server.asked == 3


async def test_many_who_need_the_keys_at_once_share_one_fetch():
    async with jwks_server(ONE) as server:
        world = await make_outside(server)
        server.gate = asyncio.Event()
        waiting = [asyncio.ensure_future(world.callers.verify(token_by(world, jti=str(n)))) for n in range(20)]
        while server.asked == 0:
            await asyncio.sleep(0)
        waiting[0].cancel()  # who began the fetch goes away; the others still get it
        await asyncio.sleep(0)
        server.gate.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert {one.tenant for one in results[1:]} == {"acme"}
        assert server.asked == 1
        await world.access.tokens.close()


async def test_issuer_that_is_down_is_no_verdict_until_keys_are_too_old(outside):
    world, server = outside
    token = token_by(world, exp=4_000_000_000)
    await world.callers.verify(token)
    server.gate = asyncio.Event()
    server.status = 500
    world.clock.advance(3_560)
    assert (await world.callers.verify(token)).tenant == "acme"  # although the issuer hangs
    server.gate.set()
    await fetched(world)
    world.clock.advance(39)
    assert (await world.callers.verify(token)).tenant == "acme"
    await fetched(world)
    world.clock.advance(31)
    assert await refusal(world, token, Unavailable) == "issuer_unavailable"
    server.status = 200
    world.clock.advance(31)
    assert (await world.callers.verify(token)).tenant == "acme"


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 404},
        {"status": 302, "location": "/elsewhere"},
        {"raw": b"<html>"},
        {"raw": b"[]"},
        {"raw": b'{"keys": 7}'},
        {"raw": b'{"keys": []}'},
        {"raw": b"\xff\xfe"},
        {"raw": json.dumps({"keys": [ONE.as_dict(private=False)]}).encode() + b" " * 300_000},
        {"raw": b'{"keys":' + b"[" * 5000},
    ],
)
async def test_answer_that_is_no_key_set_is_no_key_set(outside, answer):
    world, server = outside
    for name, value in answer.items():
        setattr(server, name, value)
    assert await refusal(world, token_by(world), Unavailable) == "issuer_unavailable"
    assert server.elsewhere == 0


async def test_nobody_listening_is_unavailable():
    async with jwks_server(ONE) as server:
        pass
    world = await make_outside(server)
    assert await refusal(world, token_by(world), Unavailable) == "issuer_unavailable"
    await world.access.tokens.close()


async def test_token_without_key_id_is_fine_while_the_issuer_has_one_key(outside):
    world, server = outside
    token = token_by(world, ONE, {"kid": None})
    assert (await world.callers.verify(token)).tenant == "acme"
    server.publish(ONE, TWO)
    world.clock.advance(3_601)
    assert await refusal(world, token_by(world, ONE, {"kid": None}, jti="t2")) == "token_key"


@pytest.mark.parametrize(
    "uri",
    [
        "http://login.example/jwks",
        "ftp://127.0.0.1/jwks",
        "file:///etc/passwd",
        "https://user@login.example/jwks",
        "https:///jwks",
        "",
    ],
)
def test_address_of_the_keys_must_be_safe(uri):
    with pytest.raises(ValueError, match="jwks_uri"):
        RemoteKeys(uri, ManualClock())


@pytest.mark.parametrize("uri", ["https://login.example/jwks", "http://127.0.0.1:8/jwks", "http://[::1]:8/jwks"])
def test_https_or_loopback_is_safe(uri):
    RemoteKeys(uri, ManualClock())
