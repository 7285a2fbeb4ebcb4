"""What every issuer adapter does: the one that speaks HTTP, and the one that other tests use."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from interlock.backends.memory.secrets import MemorySecrets
from interlock.backends.outbound.oidc import AiohttpIssuer
from interlock.backends.tokens.id_tokens import JoseIdTokens
from interlock.core.desk.operators.ports import Redeemed
from interlock.core.kernel.errors import Unauthenticated, Unavailable
from tests.backends.outbound.issuer_server import CLIENT_ID, issuer_server, new_key
from tests.clocks import ManualClock
from tests.core.desk.operators.fake_issuer import ACCESS_TOKEN, TRUSTED, FakeIssuer, half_of

BACK = "https://pay.example.com/console/sign-in/callback"
VERIFIER = "v" * 64
CHALLENGE = "w1TpKUdYE9hUAcNSeeSRFioHDxfUxuHho_JHAfZ_vDM"
ASKED = f"code_challenge={CHALLENGE}&redirect_uri={BACK}"


def given(id_token: str) -> Redeemed:
    return Redeemed(id_token, ACCESS_TOKEN)


class Case:
    """An issuer of one kind, and what its own people may do to it."""

    def __init__(self, endpoints, signatures, theirs) -> None:
        self.endpoints, self.signatures, self.theirs = endpoints, signatures, theirs

    def code(self, token: str) -> str:
        return self.theirs.give_code(f"https://issuer/authorize?{ASKED}", token)


class Fake(Case):
    def __init__(self) -> None:
        issuer = FakeIssuer()
        super().__init__(issuer, issuer, issuer)

    def rotate(self) -> None:
        self.theirs.key = "key-2"
        self.theirs.published.add("key-2")

    def sign_unpublished(self, claims) -> str:
        self.theirs.key = "key-9"
        return self.theirs.token(claims)

    def go_down(self) -> None:
        self.theirs.is_down = True

    def refuse_client(self) -> None:
        self.theirs.refuses_client = True


class Http(Case):
    def __init__(self, server, stack) -> None:
        clock = ManualClock()
        trusted = TRUSTED._replace(issuer=server.issuer, client_id=CLIENT_ID)
        signatures = JoseIdTokens(clock)
        stack.push_async_callback(signatures.close)
        super().__init__(AiohttpIssuer(trusted, MemorySecrets(), clock), signatures, server)
        self.clock = clock

    def rotate(self) -> None:
        self.theirs.keys.insert(0, new_key("key-2"))
        self.clock.advance(2)

    def sign_unpublished(self, claims) -> str:
        self.theirs.keys.insert(0, new_key("key-9"))
        token = self.theirs.token(claims)
        self.theirs.keys.pop(0)
        return token

    def go_down(self) -> None:
        self.theirs.raw = dict.fromkeys(("/.well-known/openid-configuration", "/token"), None)

    def refuse_client(self) -> None:
        self.theirs.secret = "another"


@pytest.fixture(params=["memory", "http"])
async def case(request):
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield Fake()
        else:
            yield Http(await stack.enter_async_context(issuer_server()), stack)


async def test_issuer_says_where_people_sign_in_and_out(case):
    metadata = await case.endpoints.metadata()
    assert metadata.authorization_endpoint == f"{case.theirs.issuer}/authorize"
    assert metadata.jwks_uri == f"{case.theirs.issuer}/jwks"
    assert metadata.end_session_endpoint == f"{case.theirs.issuer}/logout"
    assert not metadata.names_itself


async def test_code_is_worth_its_token_once(case):
    code = case.code("the token")
    assert await case.endpoints.redeem(code, redirect_uri=BACK, verifier=VERIFIER) == given("the token")
    with pytest.raises(Unauthenticated) as refused:
        await case.endpoints.redeem(code, redirect_uri=BACK, verifier=VERIFIER)
    assert refused.value.reason == "code_refused"


@pytest.mark.parametrize(
    ("code", "redirect_uri", "verifier"),
    [(None, BACK, "w" * 64), (None, f"{BACK}/else", VERIFIER), ("guessed", BACK, VERIFIER)],
)
async def test_code_of_another_question_is_refused(case, code, redirect_uri, verifier):
    given = case.code("the token")
    with pytest.raises(Unauthenticated) as refused:
        await case.endpoints.redeem(code or given, redirect_uri=redirect_uri, verifier=verifier)
    assert refused.value.reason == "code_refused"


async def test_issuer_that_cannot_be_reached_is_unavailable(case):
    case.go_down()
    with pytest.raises(Unavailable):
        await case.endpoints.metadata()
    with pytest.raises(Unavailable):
        await case.endpoints.redeem("code", redirect_uri=BACK, verifier=VERIFIER)


async def test_issuer_that_refuses_us_is_unavailable_and_says_that_it_is_our_fault(case):
    code = case.code("the token")
    case.refuse_client()
    with pytest.raises(Unavailable) as refused:
        await case.endpoints.redeem(code, redirect_uri=BACK, verifier=VERIFIER)
    assert refused.value.reason == "client_refused"


async def test_token_is_read_also_after_the_issuer_changed_its_key(case):
    jwks_uri = (await case.endpoints.metadata()).jwks_uri
    old = case.theirs.token({"sub": "a"})
    assert (await case.signatures.read(given(old), jwks_uri=jwks_uri))["sub"] == "a"
    case.rotate()
    new = case.theirs.token({"sub": "b"})
    assert (await case.signatures.read(given(new), jwks_uri=jwks_uri))["sub"] == "b"
    assert (await case.signatures.read(given(old), jwks_uri=jwks_uri))["sub"] == "a"


async def test_token_of_an_unpublished_key_and_what_is_no_token_are_refused(case):
    jwks_uri = (await case.endpoints.metadata()).jwks_uri
    await case.signatures.read(given(case.theirs.token({"sub": "a"})), jwks_uri=jwks_uri)
    for token in (case.sign_unpublished({"sub": "a"}), "", "a.b.c", "no token"):
        with pytest.raises(Unauthenticated):
            await case.signatures.read(given(token), jwks_uri=jwks_uri)


async def test_token_that_names_an_access_token_comes_with_that_one(case):
    jwks_uri = (await case.endpoints.metadata()).jwks_uri
    token = case.theirs.token({"sub": "a", "at_hash": half_of(ACCESS_TOKEN)})
    assert (await case.signatures.read(given(token), jwks_uri=jwks_uri))["sub"] == "a"
    for access_token in ("another", ""):
        with pytest.raises(Unauthenticated) as refused:
            await case.signatures.read(Redeemed(token, access_token), jwks_uri=jwks_uri)
        assert refused.value.reason == "token_at_hash"


def test_tokens_are_in_no_representation():
    assert "token" not in f"{given('the token')!r} {given('the token')}"
