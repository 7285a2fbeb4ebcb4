"""The issuer at which people sign in, from the command line: its secret, and whether it can be worked with."""

import json

import pytest
from typer.testing import CliRunner

from interlock.backends.outbound import oidc
from interlock.core.kernel.errors import Unavailable
from interlock.entrypoints.cli.main import app

ISSUER = "https://login.example.com/realms/pay"
SIGN_IN = {"issuer": ISSUER, "client_id": "desk", "roles": {"leads": "lead"}}
METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/jwks",
}


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setenv("INTERLOCK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("INTERLOCK_SIGN_IN", json.dumps(SIGN_IN))
    monkeypatch.setenv("INTERLOCK_BASE_URL", "https://pay.example.com")

    def run(*arguments, stdin=""):
        return CliRunner().invoke(app, ["operators", *arguments], input=stdin)

    return run


@pytest.fixture
def issuer_says(monkeypatch):
    def says(metadata):
        async def ask(method, url, form, headers):
            assert (method, url) == ("GET", f"{ISSUER}/.well-known/openid-configuration")
            if metadata is None:
                raise Unavailable("the issuer cannot be reached", code="issuer_unavailable")
            return 200, json.dumps(metadata).encode()

        monkeypatch.setattr(oidc, "_ask", ask)

    return says


def test_secret_is_kept_and_a_new_one_takes_its_place_and_neither_is_shown(run, tmp_path):
    for secret in ("a secret of the issuer", "another+one/="):
        done = run("issuer-secret", stdin=f"{secret}\n")
        assert done.exit_code == 0, done.stderr
        assert secret not in done.stdout + done.stderr
    found = json.loads((tmp_path / "data" / "secrets.json").read_text())
    assert "another+one/=" in json.dumps(found) and "a secret of the issuer" not in json.dumps(found)


def test_secret_that_is_not_there_is_not_kept(run, tmp_path):
    assert run("issuer-secret").exit_code == 2
    assert run("issuer-secret", stdin="  \n").exit_code == 2
    assert not (tmp_path / "data").exists()


def test_issuer_that_can_be_worked_with_is_shown_with_what_to_register_there(run, issuer_says):
    issuer_says(METADATA)
    shown = run("issuer", "--json")
    assert shown.exit_code == 0, shown.stderr
    assert json.loads(shown.stdout) == {
        "issuer": ISSUER,
        "client_id": "desk",
        "redirect_uri": "https://pay.example.com/console/sign-in/callback",
        "post_logout_redirect_uri": "https://pay.example.com/console/sign-in",
        "authorization_endpoint": f"{ISSUER}/authorize",
        "jwks_uri": f"{ISSUER}/jwks",
        "end_session_endpoint": None,
        "role_claim": "roles",
        "roles": {"leads": "lead"},
    }
    assert "leads -> lead" in run("issuer").stdout


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (None, "cannot be reached"),
        (METADATA | {"issuer": f"{ISSUER}/"}, "calls itself otherwise"),
        (METADATA | {"token_endpoint": "http://login.example.com/token"}, "not https"),
    ],
)
def test_issuer_that_cannot_be_worked_with_ends_with_status_1_and_the_reason(run, issuer_says, metadata, said):
    issuer_says(metadata)
    ended = run("issuer")
    assert ended.exit_code == 1 and said in ended.stderr


def test_issuer_that_is_not_set_ends_with_status_1(run, monkeypatch):
    monkeypatch.delenv("INTERLOCK_SIGN_IN")
    ended = run("issuer")
    assert ended.exit_code == 1 and "sign_in" in ended.stderr
