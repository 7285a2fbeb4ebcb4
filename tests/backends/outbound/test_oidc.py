"""An OIDC issuer over HTTP: what it says of itself is believed only when it can be, and how we prove ourselves to it."""

import asyncio

import pytest
from aiohttp import web

from interlock.backends.memory.secrets import MemorySecrets
from interlock.backends.outbound import oidc
from interlock.backends.outbound.oidc import ANSWER_BYTES_MAX, CLIENT_SECRET, FRESH_S, AiohttpIssuer
from interlock.core.desk.operators.model import TrustedIssuer
from interlock.core.kernel.errors import Unavailable
from interlock.core.kernel.secrets import Secret
from tests.backends.outbound.issuer_server import ACCESS_TOKEN, CLIENT_ID, issuer_server
from tests.clocks import ManualClock

BACK = "https://pay.example.com/console/sign-in/callback"
WELL_KNOWN = "/.well-known/openid-configuration"
CHALLENGE_OF_V = "code_challenge=7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM"


def issuer_at(server, secrets=None, clock=None, **changes):
    trusted = TrustedIssuer(server.issuer, CLIENT_ID, "Example", ("openid",), "roles", {})
    return AiohttpIssuer(trusted._replace(**changes), secrets or MemorySecrets(), clock or ManualClock())


async def refusal(issuer):
    with pytest.raises(Unavailable) as refused:
        await issuer.metadata()
    return refused.value.reason


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"issuer": "https://other.example"}, "issuer_mismatch"),
        ({"authorization_endpoint": "http://login.example/authorize"}, "issuer_address"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "issuer_address"),
        ({"authorization_endpoint": "https://login.example/authorize#part"}, "issuer_address"),
        ({"authorization_endpoint": "https://login.example/\r\nset-cookie: a"}, "issuer_address"),
        ({"token_endpoint": "http://10.0.0.1/token"}, "issuer_address"),
        ({"token_endpoint": "https://user:pw@login.example/token"}, "issuer_address"),
        ({"jwks_uri": "file:///etc/passwd"}, "issuer_address"),
        ({"jwks_uri": "https://[::1"}, "issuer_address"),
        ({"jwks_uri": 7}, "issuer_malformed"),
        ({"code_challenge_methods_supported": ["plain"]}, "issuer_without_pkce"),
    ],
)
async def test_metadata_that_cannot_be_worked_with_is_refused(more, reason):
    async with issuer_server() as server:
        server.more = more
        assert await refusal(issuer_at(server)) == reason


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 302, "headers": {"Location": "/elsewhere"}},
        {"status": 500},
        {"text": "<html>"},
        {"text": "[1]"},
        {"text": "[" * 100_000},
        {"text": '"' + "x" * ANSWER_BYTES_MAX + '"'},
    ],
)
async def test_answer_that_is_no_metadata_is_refused_and_no_redirect_followed(answer):
    async with issuer_server() as server:
        server.raw[WELL_KNOWN] = web.Response(**answer)
        assert await refusal(issuer_at(server)) in ("issuer_malformed", "issuer_unavailable")
        assert server.asked == [WELL_KNOWN]


async def test_issuer_under_a_path_is_asked_there(monkeypatch):
    asked = []

    async def ask(method, url, form, headers):
        asked.append(url)
        raise Unavailable

    monkeypatch.setattr(oidc, "_ask", ask)
    for issuer in ("https://login.example/realms/pay", "https://login.example/"):
        made = AiohttpIssuer(TrustedIssuer(issuer, CLIENT_ID, "", (), "", {}), MemorySecrets(), ManualClock())
        with pytest.raises(Unavailable):
            await made.metadata()
    assert asked == [f"https://login.example/realms/pay{WELL_KNOWN}", f"https://login.example{WELL_KNOWN}"]


def test_issuer_elsewhere_has_addresses_of_its_own_machine_never_of_ours():
    assert not oidc._may_be_called("http://127.0.0.1/token", local=oidc._is_local("https://login.example"))
    assert oidc._may_be_called("http://127.0.0.1/token", local=oidc._is_local("http://localhost:1"))
    assert oidc._may_be_called("https://login.example/token", local=False)
    for issuer in ("http://login.example", "ftp://login.example", "https://", "login.example"):
        with pytest.raises(ValueError, match="https"):
            AiohttpIssuer(TrustedIssuer(issuer, CLIENT_ID, "", (), "", {}), MemorySecrets(), ManualClock())


async def test_metadata_are_asked_for_now_and_then_and_serve_while_the_issuer_is_away():
    async with issuer_server() as server:
        clock = ManualClock()
        issuer = issuer_at(server, clock=clock)
        first = await issuer.metadata()
        await issuer.metadata()
        assert server.asked == [WELL_KNOWN]
        clock.advance(FRESH_S)
        server.more = {"end_session_endpoint": "http://10.0.0.1/logout"}
        assert (await issuer.metadata()).end_session_endpoint == ""
    clock.advance(FRESH_S)
    assert (await issuer.metadata()).jwks_uri == first.jwks_uri


async def test_issuer_that_hangs_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(oidc, "TIMEOUT_S", 0.2)

    async def hang(reader, writer):
        await reader.read()  # until the other side gives up
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    issuer = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    made = AiohttpIssuer(TrustedIssuer(issuer, CLIENT_ID, "", (), "", {}), MemorySecrets(), ManualClock())
    async with asyncio.timeout(5):
        assert await refusal(made) == "issuer_unavailable"
    server.close()


@pytest.mark.parametrize("methods", [None, ["client_secret_basic"], ["client_secret_post"], ["private_key_jwt"]])
async def test_secret_is_sent_as_the_issuer_wants_it_and_nowhere_where_there_is_none(methods):
    async with issuer_server() as server:
        server.more = {"token_endpoint_auth_methods_supported": methods} if methods else {}
        secrets = MemorySecrets()
        issuer = issuer_at(server, secrets)

        async def redeem():
            code = server.give_code(f"https://x/?{CHALLENGE_OF_V}&redirect_uri={BACK}", "token")
            return await issuer.redeem(code, redirect_uri=BACK, verifier="v" * 43)

        assert await redeem() == ("token", ACCESS_TOKEN)
        assert server.authorizations == [""] and "client_secret" not in server.posted[0]
        server.secret = "a:b c+é/%"
        await secrets.put(CLIENT_SECRET, [Secret(server.secret)])
        assert await redeem() == ("token", ACCESS_TOKEN)
        posted = methods == ["client_secret_post"]
        assert (server.authorizations[1] == "") is posted and ("client_secret" in server.posted[1]) is posted


@pytest.mark.parametrize("answer", [{"text": "{}"}, {"text": '{"id_token": 7}'}, {"text": "no"}, {"status": 500}])
async def test_token_endpoint_that_gives_no_id_token_is_unavailable(answer):
    async with issuer_server() as server:
        server.raw["/token"] = web.Response(**answer)
        with pytest.raises(Unavailable):
            await issuer_at(server).redeem("c", redirect_uri=BACK, verifier="v" * 43)
