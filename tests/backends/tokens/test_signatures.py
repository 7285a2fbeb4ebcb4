"""Access tokens: whose signature counts, and every forgery that does not."""

import json

import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from interlock.backends.tokens.jose import JoseKeys, private_key
from interlock.backends.tokens.signatures import JoseTokens
from interlock.core.access.commands import IssueToken
from interlock.core.access.handlers import issue_token
from interlock.core.access.model import ExternalIssuer
from interlock.core.access.signing_keys import load_keys
from interlock.core.kernel.errors import Invalid, Unauthenticated, Unavailable
from tests.backends.tokens.forging import (
    b64,
    parts_of,
    public_forms,
    put_together,
    signed_with_hmac,
    unb64,
    with_claims,
    with_head,
)
from tests.clocks import ManualClock
from tests.core.access.world import ISSUER, make_world, scripted_bytes


async def a_token(world):
    made = await world.client()
    return (await issue_token(world.access, made.client, IssueToken(made.client.id))).token


async def own_key(world):
    (one,) = await load_keys(world.secrets)
    return private_key(one.jwk)


async def refusal(world, token):
    for verify in (world.access.tokens.read, world.callers.verify):
        with pytest.raises(Unauthenticated) as refused:
            await verify(token)
    return refused.value.reason


async def test_own_token_reads_back_as_it_was_signed():
    world = await make_world()
    token = await a_token(world)
    verified = await world.access.tokens.read(token)
    assert verified.claims == parts_of(token)[1]
    assert verified.external is None
    assert verified.key_id == parts_of(token)[0]["kid"]


@pytest.mark.parametrize(
    "changes", [{"tenant": "ten_b"}, {"scope": "payouts:write"}, {"exp": 4_000_000_000}, {"client_id": "cli_x"}]
)
async def test_changed_claims_break_the_signature(changes):
    world = await make_world()
    assert await refusal(world, with_claims(await a_token(world), **changes)) == "token_signature"


async def test_every_flipped_bit_of_the_signature_is_noticed():
    world = await make_world()
    token = await a_token(world)
    unsigned, _, signature = token.rpartition(".")
    raw = unb64(signature)
    for i in range(0, len(raw), 7):
        flipped = bytearray(raw)
        flipped[i] ^= 1
        assert await refusal(world, f"{unsigned}.{b64(bytes(flipped))}") == "token_signature"
    for cut in (b"", raw[:63], raw + b"\0", b"\0" * 64, b"\xff" * 64):
        assert await refusal(world, f"{unsigned}.{b64(cut)}") == "token_signature"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", "HS256", "HS512", "RS1", "EdDSA", "ES512"])
async def test_algorithm_that_is_not_allowed_is_refused_before_any_key_is_looked_for(alg):
    world = await make_world()
    head, claims, signature = parts_of(await a_token(world))
    for tail in ("", signature):
        assert await refusal(world, put_together(head | {"alg": alg}, claims, tail)) == "token_algorithm"


async def test_public_key_used_as_a_shared_secret_signs_nothing():
    world = await make_world()
    own_head, claims, _ = parts_of(await a_token(world))
    for secret in public_forms(await own_key(world)):
        for kid in (own_head["kid"], None):
            head = {"alg": "HS256", "typ": "at+jwt"} | ({"kid": kid} if kid else {})
            forged = signed_with_hmac(head, claims, secret)
            assert await refusal(world, forged) == "token_algorithm"


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES384", "Ed25519"])
async def test_own_tokens_are_signed_with_our_algorithm_only(alg):
    world = await make_world()
    assert await refusal(world, with_head(await a_token(world), alg=alg)) == "token_algorithm"


@pytest.mark.parametrize(
    "typ", [None, "JWT", "jwt", "application/jwt", "client-authentication+jwt", "logout+jwt", "at+jwt2"]
)
async def test_own_token_of_another_type_is_refused(typ):
    world = await make_world()
    key = await own_key(world)
    head, claims, _ = parts_of(await a_token(world))
    head = {name: value for name, value in (head | {"typ": typ}).items() if value is not None}
    token = jws.serialize_compact(head, json.dumps(claims), key, algorithms=["ES256"])
    assert await refusal(world, token) == "token_type"


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
async def test_type_is_compared_without_case_and_prefix(typ):
    world = await make_world()
    head, claims, _ = parts_of(await a_token(world))
    token = jws.serialize_compact(head | {"typ": typ}, json.dumps(claims), await own_key(world), algorithms=["ES256"])
    assert (await world.access.tokens.read(token)).claims == claims


async def test_stranger_who_signs_in_our_name_is_refused():
    world = await make_world()
    head, claims, _ = parts_of(await a_token(world))
    stranger = ECKey.generate_key("P-256")
    same_kid = jws.serialize_compact(head, json.dumps(claims), stranger, algorithms=["ES256"])
    assert await refusal(world, same_kid) == "token_signature"
    for kid in ({"kid": "unknown"}, {"kid": ""}):
        own_kid = jws.serialize_compact(head | kid, json.dumps(claims), stranger, algorithms=["ES256"])
        assert await refusal(world, own_kid) == "token_key"
    embedded = head | {"jwk": stranger.as_dict(private=False), "jku": "http://127.0.0.1:9/jwks"}
    token = jws.serialize_compact(embedded, json.dumps(claims), stranger, algorithms=["ES256"])
    assert await refusal(world, token) == "token_signature"


@pytest.mark.parametrize("issuer", ["https://evil.example", ISSUER + "/", None, 7, ["x"], {"a": 1}])
async def test_issuer_that_is_not_trusted_is_refused(issuer):
    world = await make_world()
    assert await refusal(world, with_claims(await a_token(world), iss=issuer)) == "token_issuer"


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "e30.e30.",
        "e30.e30.e30",
        "bnVsbA.e30.x",
        "W10.W10.x",
        "é.é.é",
        "a" * 9_000,
        f"{b64(b'{' * 3000)}.e30.x",
        f"{b64(b'[' * 3000)}.e30.x",
        put_together({"alg": 7}, {}),
        put_together({"alg": ["ES256"]}, {}),
        put_together({"alg": "ES256", "kid": 7}, {}),
        put_together({"alg": "ES256", "typ": []}, {}),
        put_together({"alg": "ES256", "crit": ["exp"]}, {}),
        put_together({"alg": "ES256", "crit": []}, {}),
        put_together({"alg": "ES256", "b64": False, "crit": ["b64"]}, {}),
        put_together({"alg": "ES256"}, []),
        b64(b'{"alg":"ES256"}') + "." + b64(b"\xff\xfe") + ".x",
        f" {put_together({'alg': 'ES256'}, {})}",
        f"{put_together({'alg': 'ES256'}, {})}\n",
        f"{put_together({'alg': 'ES256'}, {})}=",
    ],
)
async def test_garbage_is_refused_as_malformed(token):
    world = await make_world()
    assert await refusal(world, token) == "token_malformed"


async def test_without_a_key_there_is_no_token_and_the_caller_may_come_back():
    world = await make_world()
    made = await world.client()
    await world.secrets.put("token_signing_keys", [])
    world.clock.advance(60)
    with pytest.raises(Unavailable) as refused:
        await issue_token(world.access, made.client, IssueToken(made.client.id))
    assert refused.value.reason == "no_signing_key"


async def test_our_own_name_cannot_be_an_external_issuers():
    world = await make_world()
    external = ExternalIssuer(ISSUER, "http://127.0.0.1:1/jwks", "interlock")
    with pytest.raises(ValueError, match="two issuers"):
        JoseTokens(world.secrets, ManualClock(), issuer=ISSUER, external=[external])


# -- keys -------------------------------------------------------------------------------------------------------------


def test_signing_keys_come_from_the_randomness_they_are_given():
    first, second = JoseKeys(scripted_bytes()), JoseKeys(scripted_bytes())
    one, again, other = first.new_signing_key(), second.new_signing_key(), first.new_signing_key()
    assert one == again
    assert one != other
    key = private_key(one[1])
    assert (key.kid, key.thumbprint(), key.curve_name) == (one[0], one[0], "P-256")
    assert "d" not in key.as_dict(private=False)


@pytest.mark.parametrize("raw", [b"\0" * 48, b"\xff" * 48])
def test_extreme_randomness_still_makes_a_key_on_the_curve(raw):
    _, jwk = JoseKeys(lambda n: raw).new_signing_key()
    assert private_key(jwk).is_private


EC = ECKey.generate_key("P-256", {"kid": "a"})
PUBLIC = EC.as_dict(private=False)


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [EC.as_dict(private=True)],
        [{"kty": "oct", "k": b64(b"x" * 32), "kid": "a"}],
        [{name: value for name, value in PUBLIC.items() if name != "kid"}],
        [PUBLIC, PUBLIC],
        [PUBLIC | {"use": "enc"}],
        [PUBLIC | {"x": b64(b"\1" * 32)}],
        [PUBLIC | {"crv": "P-521"}],
        [PUBLIC | {"kid": 7}],
        [{"kty": "RSA", "n": b64(b"\xff" * 128), "e": "AQAB", "kid": "a"}],
        [{"kid": "a"}],
        [PUBLIC | {"kid": str(n)} for n in range(51)],
    ],
)
def test_public_keys_that_cannot_serve_are_refused(keys):
    with pytest.raises(Invalid) as refused:
        JoseKeys(scripted_bytes()).check_public_keys(json.dumps({"keys": keys}))
    assert all(fault.pointer.startswith("/public_keys") for fault in refused.value.faults)
    assert EC.as_dict(private=True)["d"] not in str(refused.value) + repr(refused.value.faults)


def test_private_key_among_the_public_ones_is_named_as_such():
    with pytest.raises(Invalid) as refused:
        JoseKeys(scripted_bytes()).check_public_keys(json.dumps({"keys": [PUBLIC, EC.as_dict(private=True)]}))
    assert ("/public_keys/keys/1", "private_key") in [fault[:2] for fault in refused.value.faults]


def test_public_keys_that_can_serve_pass():
    JoseKeys(scripted_bytes()).check_public_keys(json.dumps({"keys": [PUBLIC, PUBLIC | {"kid": "b", "use": "sig"}]}))
