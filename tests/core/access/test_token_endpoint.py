"""POST /oauth/token as clients see it: what proves a client, what it is given, and how each refusal is worded."""

import json
from base64 import b64encode, urlsafe_b64decode
from urllib.parse import quote_plus, urlencode

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from interlock.core.access.commands import DisableClient, RotateClientSecret
from interlock.core.access.handlers import disable_client, rotate_client_secret
from interlock.core.access.scopes import require_scope
from interlock.core.kernel.clock import HOUR
from interlock.core.kernel.errors import Forbidden, OutcomeUnknown, StoreUnavailable
from tests.core.access.world import ISSUER, TENANT, items_of, make_world

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
GRANT = "grant_type=client_credentials"
BASIC = 'Basic realm="interlock", charset="UTF-8"'


def basic(client_id, secret):
    return "Basic " + b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()


async def ask(world, form=GRANT, authorization=None):
    raw = form if isinstance(form, bytes) else (form if isinstance(form, str) else urlencode(form)).encode()
    return await world.oauth.token_endpoint(raw, authorization)


def said(answer):
    return answer.status, json.loads(answer.body).get("error")


def claims_of(token):
    part = token.split(".")[1]
    return json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def head_of(token):
    part = token.split(".")[0]
    return json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))


async def known_client(world, **changes):
    made = await world.client(**changes)
    return made.client, basic(made.client.id, made.secret.reveal())


async def test_right_secret_gets_a_token_that_the_api_accepts():
    world = await make_world()
    client, authorization = await known_client(world)
    answer = await ask(world, authorization=authorization)
    body = json.loads(answer.body)
    assert answer.status == 200
    assert dict(answer.headers) == {"Cache-Control": "no-store", "Pragma": "no-cache"}
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 900)
    assert body["scope"] == "payments:read payments:write refunds:write"
    assert set(body) == {"access_token", "token_type", "expires_in", "scope"}
    head = head_of(body["access_token"])
    assert (head["typ"], head["alg"]) == ("at+jwt", "ES256")
    now = world.clock.now() // 1000
    claims = claims_of(body["access_token"])
    assert claims.pop("jti").startswith("atk_")
    assert claims == {
        "iss": ISSUER,
        "aud": "interlock",
        "sub": client.id,
        "client_id": client.id,
        "tenant": TENANT,
        "scope": body["scope"],
        "iat": now,
        "exp": now + 900,
    }
    principal = await world.callers.authenticate("Bearer " + body["access_token"])
    assert (principal.client_id, principal.tenant) == (client.id, TENANT)
    assert principal.scopes == {"payments:read", "payments:write", "refunds:write"}


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("payments:read", "payments:read"),
        ("refunds:write payments:read", "payments:read refunds:write"),
        ("payments:*", "payments:read payments:write"),
        ("", "payments:read payments:write refunds:write"),
    ],
)
async def test_token_has_the_scopes_asked_for(asked, granted):
    world = await make_world()
    _, authorization = await known_client(world)
    answer = await ask(world, {"grant_type": "client_credentials", "scope": asked}, authorization)
    assert json.loads(answer.body)["scope"] == granted
    assert claims_of(json.loads(answer.body)["access_token"])["scope"] == granted


@pytest.mark.parametrize(
    "asked", ["payouts:write", "payments:read payouts:write", "payouts:*", "*", "admin", " ", "payments"]
)
async def test_scope_beyond_what_the_client_may_have_is_refused_whole(asked):
    world = await make_world()
    _, authorization = await known_client(world)
    answer = await ask(world, {"grant_type": "client_credentials", "scope": asked}, authorization)
    assert said(answer) == (400, "invalid_scope")


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ("", 400, "invalid_request"),
        ("grant_type=", 400, "invalid_request"),
        ("grant_type=password", 400, "unsupported_grant_type"),
        ("grant_type=authorization_code&code=x", 400, "unsupported_grant_type"),
        (GRANT + "&" + GRANT, 400, "invalid_request"),
        (GRANT + "&scope=payments%3Aread&scope=payments%3Awrite", 400, "invalid_request"),
        (GRANT + "&client_id=cli_other", 400, "invalid_request"),
        (GRANT + "&client_secret=x", 400, "invalid_request"),
        (GRANT + "&client_assertion=x", 400, "invalid_request"),
        (GRANT + "&scope=%ff", 400, "invalid_request"),
        (GRANT + "&scope=a%0d%0aSet-Cookie:b", 400, "invalid_request"),
        (b"grant_type=\xff", 400, "invalid_request"),
        (GRANT + "&x=1" * 20, 400, "invalid_request"),
        (GRANT + "&x=" + "a" * 20_000, 400, "invalid_request"),
        ('{"grant_type":"client_credentials"}', 400, "invalid_request"),
    ],
)
async def test_malformed_request_is_refused_in_the_words_of_oauth(form, status, error):
    world = await make_world()
    _, authorization = await known_client(world)
    before = items_of(world.store)
    answer = await ask(world, form, authorization)
    assert said(answer) == (status, error)
    assert answer.headers["Cache-Control"] == "no-store"
    assert items_of(world.store) == before


async def test_fields_nobody_knows_are_passed_over():
    world = await make_world()
    client, authorization = await known_client(world)
    form = GRANT + f"&resource=https%3A%2F%2Fpay.example&client_id={client.id}"
    assert (await ask(world, form, authorization)).status == 200


async def test_every_unproved_client_gets_the_same_401_and_a_challenge():
    world = await make_world()
    client, authorization = await known_client(world)
    gone, gone_authorization = await known_client(world)
    await disable_client(world.access, DisableClient(gone.id), actor="ops")
    answers = [
        await ask(world, authorization=basic(client.id, "ics_wrong")),
        await ask(world, authorization=basic(client.id, "")),
        await ask(world, authorization=basic("cli_00000000000000000000000000", "ics_wrong")),
        await ask(world, authorization=basic("../../etc", "x")),
        await ask(world, authorization=basic("", "")),
        await ask(world, authorization=gone_authorization),
    ]
    assert {answer.status for answer in answers} == {401}
    assert {answer.body for answer in answers} == {answers[0].body}
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {BASIC}
    assert json.loads(answers[0].body)["error"] == "invalid_client"
    assert (await ask(world, authorization=authorization)).status == 200


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Basic", "Basic !", "Basic " + b64encode(b"no colon").decode(), "Basic /w==", "Bearer x", "Digest x"],
)
async def test_missing_or_malformed_authorization_is_401(authorization):
    world = await make_world()
    answer = await ask(world, GRANT, authorization)
    assert said(answer) == (401, "invalid_client")
    assert answer.headers["WWW-Authenticate"] == BASIC


async def test_secret_in_the_body_is_not_taken():
    world = await make_world()
    made = await world.client()
    form = {"grant_type": "client_credentials", "client_id": made.client.id, "client_secret": made.secret.reveal()}
    assert said(await ask(world, form)) == (401, "invalid_client")


async def test_rotated_secret_old_and_new_work_until_the_grace_ends():
    world = await make_world()
    client, old = await known_client(world)
    rotated = await rotate_client_secret(world.access, RotateClientSecret(client.id, HOUR), actor="ops")
    new = basic(client.id, rotated.secret.reveal())
    for authorization in (old, new):
        assert (await ask(world, authorization=authorization)).status == 200
    world.clock.advance(3_600)
    assert said(await ask(world, authorization=old)) == (401, "invalid_client")
    assert (await ask(world, authorization=new)).status == 200


async def test_failures_are_held_back_but_the_right_secret_always_passes():
    world = await make_world()
    client, authorization = await known_client(world)
    other, other_authorization = await known_client(world)
    wrong = basic(client.id, "ics_wrong")
    assert [(await ask(world, authorization=wrong)).status for _ in range(12)] == [401] * 10 + [429] * 2
    held_back = await ask(world, authorization=wrong)
    assert said(held_back) == (429, "temporarily_unavailable")
    assert held_back.headers["Retry-After"] == "5"
    assert (await ask(world, authorization=authorization)).status == 200
    assert (await ask(world, authorization=basic(other.id, "ics_wrong"))).status == 401
    assert (await ask(world, authorization=other_authorization)).status == 200
    world.clock.advance(5)
    assert (await ask(world, authorization=wrong)).status == 401


async def test_store_that_cannot_answer_is_503_and_says_when_to_come_back():
    world = await make_world()
    _, authorization = await known_client(world)

    async def unavailable(key):
        raise StoreUnavailable("disk full", retry_after_s=3)

    world.store.get = unavailable
    answer = await ask(world, authorization=authorization)
    assert said(answer) == (503, "temporarily_unavailable")
    assert answer.headers["Retry-After"] == "3"
    assert b"disk" not in answer.body


# -- private_key_jwt --------------------------------------------------------------------------------------------------

KEY = ECKey.generate_key("P-256", {"kid": "one"})
OTHER_KEY = ECKey.generate_key("P-256", {"kid": "one"})
RSA = RSAKey.generate_key(2048, {"kid": "two"})
KEYS = json.dumps({"keys": [KEY.as_dict(private=False), RSA.as_dict(private=False)]})


async def signing_client(world):
    return (await world.client(public_keys=KEYS)).client


def assertion(world, client, key=KEY, head=None, **changes):
    now = world.clock.now() // 1000
    claims = {"iss": client.id, "sub": client.id, "aud": ISSUER, "exp": now + 60, "iat": now, "jti": "j1"} | changes
    header = {"alg": "ES256", "kid": "one"} | (head or {})
    return jwt.encode(header, claims, key, algorithms=[header["alg"]])


def form_with(token, **more):
    form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": token}
    return form | more


@pytest.mark.parametrize("audience", [ISSUER, ISSUER + "/oauth/token"])
async def test_signed_assertion_gets_a_token(audience):
    world = await make_world()
    client = await signing_client(world)
    answer = await ask(world, form_with(assertion(world, client, aud=audience), client_id=client.id))
    assert answer.status == 200
    assert claims_of(json.loads(answer.body)["access_token"])["client_id"] == client.id


async def test_each_of_the_clients_keys_may_sign():
    world = await make_world()
    client = await signing_client(world)
    for alg in ("RS256", "PS256"):
        token = assertion(world, client, RSA, {"alg": alg, "kid": "two"}, jti=alg)
        assert (await ask(world, form_with(token))).status == 200


async def test_assertion_works_once_even_for_another_process():
    world = await make_world()
    client = await signing_client(world)
    token = assertion(world, client)
    assert (await ask(world, form_with(token))).status == 200
    assert said(await ask(world, form_with(token))) == (401, "invalid_client")
    again = assertion(world, client)  # signed anew, same jti
    assert said(await ask(world, form_with(again))) == (401, "invalid_client")
    assert (await ask(world, form_with(assertion(world, client, jti="j2")))).status == 200


async def test_same_jti_of_two_clients_is_no_replay():
    world = await make_world()
    for client in (await signing_client(world), await signing_client(world)):
        assert (await ask(world, form_with(assertion(world, client)))).status == 200


async def test_used_assertion_is_remembered_at_least_as_long_as_it_could_be_used():
    world = await make_world()
    client = await signing_client(world)
    token = assertion(world, client)
    await ask(world, form_with(token))
    (kept,) = [item for key, item in world.store._items.items() if key.partition == f"{client.id}/assertions"]
    exp_ms = world.clock.now() + 60_000
    assert kept.expires_at > exp_ms + 30_000


@pytest.mark.parametrize(
    ("key", "head", "changes"),
    [
        (OTHER_KEY, {}, {}),
        (KEY, {"kid": "two"}, {}),
        (KEY, {"kid": "three"}, {}),
        (KEY, {"typ": "at+jwt"}, {}),
        (KEY, {}, {"aud": "https://other.example"}),
        (KEY, {}, {"aud": [ISSUER, "https://other.example"]}),
        (KEY, {}, {"exp": 1}),
        (KEY, {}, {"exp": 4_000_000_000}),
        (KEY, {}, {"iss": "cli_other"}),
        (KEY, {}, {"sub": "cli_other"}),
        (KEY, {}, {"jti": ""}),
        (KEY, {}, {"sub": 7}),
    ],
)
async def test_assertion_that_proves_nothing_is_refused_and_not_used_up(key, head, changes):
    world = await make_world()
    client = await signing_client(world)
    before = items_of(world.store)
    answer = await ask(world, form_with(assertion(world, client, key, head, **changes)))
    assert said(answer) == (401, "invalid_client")
    assert items_of(world.store) == before


@pytest.mark.parametrize(
    "changes",
    [{"client_assertion": None}, {"client_assertion_type": None}, {"client_assertion_type": "urn:saml"}],
)
async def test_assertion_and_its_type_come_together(changes):
    world = await make_world()
    form = form_with(assertion(world, await signing_client(world))) | changes
    form = {name: value for name, value in form.items() if value is not None}
    assert said(await ask(world, form)) == (400, "invalid_request")


async def test_assertion_with_another_clients_id_is_refused():
    world = await make_world()
    form = form_with(assertion(world, await signing_client(world)), client_id="cli_other")
    assert said(await ask(world, form)) == (400, "invalid_request")


async def test_client_with_a_secret_cannot_use_assertions_and_the_reverse():
    world = await make_world()
    with_secret, _ = await known_client(world)
    assert said(await ask(world, form_with(assertion(world, with_secret)))) == (401, "invalid_client")
    with_keys = await signing_client(world)
    assert said(await ask(world, authorization=basic(with_keys.id, ""))) == (401, "invalid_client")


async def test_disabled_client_cannot_use_assertions():
    world = await make_world()
    client = await signing_client(world)
    await disable_client(world.access, DisableClient(client.id), actor="ops")
    assert said(await ask(world, form_with(assertion(world, client)))) == (401, "invalid_client")


async def test_lost_answer_while_using_up_an_assertion_asks_for_a_new_one():
    world = await make_world()
    client = await signing_client(world)

    async def lost(writes, events=()):
        raise OutcomeUnknown("no answer")

    world.store.commit = lost
    answer = await ask(world, form_with(assertion(world, client)))
    assert said(answer) == (503, "temporarily_unavailable")
    assert "new assertion" in json.loads(answer.body)["error_description"]


# -- documents --------------------------------------------------------------------------------------------------------


async def test_metadata_names_the_endpoints_and_what_is_offered():
    world = await make_world()
    document = json.loads(world.oauth.metadata())
    assert document["issuer"] == ISSUER
    assert document["token_endpoint"] == ISSUER + "/oauth/token"
    assert document["jwks_uri"] == ISSUER + "/.well-known/jwks.json"
    assert document["grant_types_supported"] == ["client_credentials"]
    assert document["token_endpoint_auth_methods_supported"] == ["client_secret_basic", "private_key_jwt"]
    assert "ES256" in document["token_endpoint_auth_signing_alg_values_supported"]
    assert not {"none", "HS256"} & set(document["token_endpoint_auth_signing_alg_values_supported"])
    assert (
        json.loads(world.oauth.metadata("http://127.0.0.1:8080/"))["token_endpoint"]
        == "http://127.0.0.1:8080/oauth/token"
    )


async def test_key_set_holds_public_halves_only():
    world = await make_world()
    (key,) = json.loads(await world.oauth.jwks())["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("EC", "P-256", "sig", "ES256")


async def test_token_without_the_scope_does_not_pass_the_check():
    world = await make_world()
    _, authorization = await known_client(world)
    answer = await ask(world, {"grant_type": "client_credentials", "scope": "payments:read"}, authorization)
    principal = await world.callers.verify(json.loads(answer.body)["access_token"])
    require_scope(principal, "payments:read")
    with pytest.raises(Forbidden):
        require_scope(principal, "payments:write")
