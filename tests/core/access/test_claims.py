"""What a token must say before it counts: one rule broken at a time."""

import pytest

from interlock.core.access.claims import (
    OwnIssuer,
    access_claims,
    client_assertion,
    external_principal,
    own_principal,
)
from interlock.core.access.model import ExternalIssuer, Principal
from interlock.core.kernel.errors import Unauthenticated

NOW = 1_800_000_000_000
S = NOW // 1000
OWN = OwnIssuer("https://pay.example", "interlock")
EXTERNAL = ExternalIssuer("https://login.example", "https://login.example/jwks", "interlock", "org", "permissions")
CLIENT = "cli_06f3n4r5t6v7w8x9y0z1a2b3c4"


def own_claims(**changes):
    claims = access_claims(
        OWN,
        client_id=CLIENT,
        tenant="ten_a",
        scopes=["payments:write", "payments:read"],
        token_id="atk_1",
        now=NOW,
        lifetime=900_000,
    )
    return without_none(claims | changes)


def external_claims(**changes):
    claims = {
        "iss": "https://login.example",
        "aud": ["other", "interlock"],
        "sub": "service-7",
        "exp": S + 60,
        "iat": S,
        "org": "acme",
        "permissions": ["payments:read", "openid"],
    }
    return without_none(claims | changes)


def without_none(claims):
    return {name: value for name, value in claims.items() if value is not None}


def test_access_token_says_what_rfc_9068_requires_and_the_tenant():
    assert own_claims() == {
        "iss": "https://pay.example",
        "aud": "interlock",
        "sub": CLIENT,
        "client_id": CLIENT,
        "tenant": "ten_a",
        "scope": "payments:read payments:write",
        "iat": S,
        "exp": S + 900,
        "jti": "atk_1",
    }


def test_own_claims_become_the_caller():
    assert own_principal(own_claims(), OWN, NOW) == Principal(
        CLIENT, "ten_a", frozenset({"payments:read", "payments:write"}), "atk_1", NOW + 900_000
    )


OWN_REFUSALS = [
    ({"iss": "https://other.example"}, "token_issuer"),
    ({"iss": None}, "token_issuer"),
    ({"iss": ["https://pay.example"]}, "token_issuer"),
    ({"aud": "other"}, "token_audience"),
    ({"aud": []}, "token_audience"),
    ({"aud": ["inter", "lock"]}, "token_audience"),
    ({"aud": "interlock2"}, "token_audience"),
    ({"aud": None}, "token_audience"),
    ({"aud": {"interlock": 1}}, "token_audience"),
    ({"exp": S - 30}, "token_expired"),
    ({"exp": S - 4000}, "token_expired"),
    ({"exp": None}, "token_malformed"),
    ({"exp": str(S + 60)}, "token_malformed"),
    ({"exp": True}, "token_malformed"),
    ({"exp": -1}, "token_malformed"),
    ({"exp": 10**400}, "token_malformed"),
    ({"exp": float("inf")}, "token_malformed"),
    ({"exp": float("nan")}, "token_malformed"),
    ({"nbf": S + 31}, "token_not_yet_valid"),
    ({"iat": S + 31}, "token_not_yet_valid"),
    ({"iat": None}, "token_malformed"),
    ({"nbf": "soon"}, "token_malformed"),
    ({"client_id": None}, "token_malformed"),
    ({"client_id": ""}, "token_malformed"),
    ({"client_id": "a\nb", "sub": "a\nb"}, "token_malformed"),
    ({"client_id": "x" * 257, "sub": "x" * 257}, "token_malformed"),
    ({"sub": "somebody"}, "token_malformed"),
    ({"jti": None}, "token_malformed"),
    ({"tenant": None}, "token_tenant"),
    ({"tenant": ""}, "token_tenant"),
    ({"tenant": "ten_a/pay"}, "token_tenant"),
    ({"tenant": "~platform"}, "token_tenant"),
    ({"tenant": "ten_a\n"}, "token_tenant"),
    ({"tenant": ["ten_a"]}, "token_tenant"),
    ({"scope": 7}, "token_malformed"),
]


@pytest.mark.parametrize(("changes", "reason"), OWN_REFUSALS)
def test_own_token_that_breaks_one_rule_is_refused_with_that_reason(changes, reason):
    with pytest.raises(Unauthenticated) as refused:
        own_principal(own_claims(**changes), OWN, NOW)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "changes", [{"exp": S - 29}, {"nbf": S + 30}, {"iat": S + 30}, {"aud": ["interlock"]}, {"exp": S + 0.5}]
)
def test_clocks_half_a_minute_apart_are_tolerated(changes):
    assert own_principal(own_claims(**changes), OWN, NOW).client_id == CLIENT


def test_scopes_nobody_knows_grant_nothing():
    assert own_principal(own_claims(scope="admin * payments:delete"), OWN, NOW).scopes == frozenset()
    assert own_principal(own_claims(scope=None), OWN, NOW).scopes == frozenset()


@pytest.mark.parametrize(
    ("changes", "client"),
    [
        ({}, "oidc:service-7"),
        ({"azp": "app"}, "oidc:app"),
        ({"azp": "app", "client_id": "client"}, "oidc:client"),
        ({"client_id": CLIENT}, f"oidc:{CLIENT}"),
    ],
)
def test_external_caller_is_named_so_that_it_cannot_be_one_of_ours(changes, client):
    principal = external_principal(external_claims(**changes), EXTERNAL, NOW)
    assert principal == Principal(client, "acme", frozenset({"payments:read"}), "", (S + 60) * 1000)


@pytest.mark.parametrize("scope", ["payments:read openid", ["payments:read", 7, None]])
def test_external_scopes_may_be_text_or_a_list(scope):
    assert external_principal(external_claims(permissions=scope), EXTERNAL, NOW).scopes == {"payments:read"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"org": None}, "token_tenant"),
        ({"org": None, "tenant": "ten_a"}, "token_tenant"),
        ({"org": "a/b"}, "token_tenant"),
        ({"iss": "https://pay.example"}, "token_issuer"),
        ({"aud": "other"}, "token_audience"),
        ({"exp": S - 31}, "token_expired"),
        ({"nonce": "n"}, "token_type"),
        ({"at_hash": "h"}, "token_type"),
        ({"sub": None}, "token_malformed"),
    ],
)
def test_external_token_that_breaks_one_rule_is_refused_with_that_reason(changes, reason):
    with pytest.raises(Unauthenticated) as refused:
        external_principal(external_claims(**changes), EXTERNAL, NOW)
    assert refused.value.reason == reason


AUDIENCES = ("https://pay.example", "https://pay.example/oauth/token")


def assertion_claims(**changes):
    claims = {"iss": CLIENT, "sub": CLIENT, "aud": "https://pay.example", "exp": S + 60, "jti": "one"}
    return without_none(claims | changes)


@pytest.mark.parametrize("audience", [*AUDIENCES, ["https://pay.example"]])
def test_assertion_for_this_server_passes(audience):
    proof = client_assertion(assertion_claims(aud=audience), client_id=CLIENT, audiences=AUDIENCES, now=NOW)
    assert proof == ("one", (S + 60) * 1000)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "cli_other"}, "token_issuer"),
        ({"sub": "cli_other"}, "assertion_subject"),
        ({"aud": "https://other.example"}, "token_audience"),
        ({"aud": ["https://pay.example", "https://other.example"]}, "token_audience"),
        ({"aud": []}, "token_audience"),
        ({"aud": None}, "token_audience"),
        ({"exp": None}, "token_malformed"),
        ({"exp": S - 30}, "token_expired"),
        ({"exp": S + 5 * 60 + 31}, "assertion_lifetime"),
        ({"nbf": S + 31}, "token_not_yet_valid"),
        ({"jti": None}, "token_malformed"),
        ({"jti": "x" * 257}, "token_malformed"),
    ],
)
def test_assertion_that_breaks_one_rule_is_refused_with_that_reason(changes, reason):
    with pytest.raises(Unauthenticated) as refused:
        client_assertion(assertion_claims(**changes), client_id=CLIENT, audiences=AUDIENCES, now=NOW)
    assert refused.value.reason == reason
