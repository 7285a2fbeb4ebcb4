"""People of a real OIDC issuer at the console, in a real browser: in, as what, proved once more, out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser

from tests.counterparts.oidc_provider import DESK_ID, DESK_SECRET, running_oidc_provider
from tests.e2e.console.browsing import Desk, Tab, chromium, desk
from tests.free_ports import free_ports

pytestmark = pytest.mark.xdist_group("console-issuer")
ROLES = {"payments-leads": "lead", "payments-readers": "viewer", "payments-admins": "admin"}


class Place:
    def __init__(self, desk: Desk, issuer: str, browser: Browser) -> None:
        self.desk, self.issuer, self._browser = desk, issuer, browser

    def tab(self, width: int = 1280, scheme: str = "light") -> Tab:
        tab = Tab(self._browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme), self.desk)
        tab.confirm_all()
        return tab

    def tell(self, path: str, **form: object) -> None:
        """The issuer's own people change something there."""
        urllib.request.urlopen(f"{self.issuer}{path}", urlencode(form, doseq=True).encode(), timeout=10).read()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("issuer")
    (port,) = free_ports(1)
    with running_oidc_provider(f"http://127.0.0.1:{port}") as issuer, chromium() as browser:
        sign_in = {
            "issuer": issuer,
            "client_id": DESK_ID,
            "name": "Example Corp",
            "scopes": ["openid", "profile", "email", "roles"],
            "role_claim": "realm_access.roles",
            "roles": ROLES,
        }
        kept = subprocess.run(
            [sys.executable, "-m", "interlock.entrypoints.cli", "operators", "issuer-secret", "--data", folder / "data"],
            input=DESK_SECRET, text=True, capture_output=True, timeout=60,
        )  # fmt: skip
        assert kept.returncode == 0, kept.stderr
        settings = {"INTERLOCK_SIGN_IN": json.dumps(sign_in)}
        with desk(folder, "--empty", "--port", str(port), settings=settings) as running:
            yield Place(running, issuer, browser)


def sign_in(tab: Tab, name: str, path: str = "/sign-in") -> None:
    tab.go(path)
    tab.page.click("text=Sign in with Example Corp")
    answer(tab, name)


def answer(tab: Tab, name: str) -> None:
    """At the issuer."""
    tab.page.fill("[name=login]", name)
    tab.page.click("[name=go]")


def shown(tab: Tab) -> str:
    return tab.page.inner_text(".top .who")


def clean(tab: Tab) -> None:
    wrong, tab.wrong = tab.wrong, []
    assert wrong == []


def test_somebody_comes_back_to_the_page_they_wanted_as_what_the_claim_says(place):
    tab = place.tab()
    tab.go("/risk?kind=uncertain")
    assert tab.violations() == []
    tab.page.click("text=Sign in with Example Corp")
    answer(tab, "ada")
    tab.page.wait_for_url("**/console/risk?kind=uncertain")
    assert shown(tab) == "ada lead"
    tab.go("/audit")
    text = tab.text()
    assert re.search(r"ada \(127\.0\.0\.1 [0-9a-f]{16}\)", text) and "operator.signed_in" in text.replace(" ", ".")
    clean(tab)


def test_who_has_no_role_here_is_told_so_and_is_not_in(place):
    tab = place.tab()
    tab.refused_is_wrong = False
    sign_in(tab, "otto")
    tab.page.wait_for_selector("h1:has-text('Not signed in')")
    assert "gives you no role at this desk" in tab.text()
    assert tab.violations() == []
    tab.go("/payments")
    assert "/sign-in" in tab.page.url
    clean(tab)


def test_who_changes_their_mind_at_the_issuer_may_try_again(place):
    tab = place.tab()
    tab.refused_is_wrong = False
    tab.go("/queues")
    tab.page.click("text=Sign in with Example Corp")
    tab.page.click("[name=cancel]")
    tab.page.wait_for_selector("h1:has-text('Not signed in')")
    assert "did not allow it" in tab.text()
    tab.page.click("text=Try again")
    tab.page.click("text=Sign in with Example Corp")
    answer(tab, "vera")
    tab.page.wait_for_url("**/console/queues")
    assert shown(tab) == "vera viewer"
    clean(tab)


def test_answer_of_the_issuer_works_once_and_in_its_own_browser_alone(place):
    tab, other = place.tab(), place.tab()
    tab.refused_is_wrong = other.refused_is_wrong = False
    came: list[str] = []
    tab.page.on("request", lambda request: came.append(request.url) if "/callback" in request.url else None)
    tab.page.route("**/console/sign-in/callback*", lambda route: route.abort())
    tab.go("/sign-in")
    tab.page.click("text=Sign in with Example Corp")
    tab.page.fill("[name=login]", "ada")
    with pytest.raises(Exception, match="ERR_FAILED"):
        with tab.page.expect_navigation():
            tab.page.click("[name=go]")
        tab.page.goto(came[0])
    other.page.goto(came[0])
    assert "begun elsewhere" in other.text()
    tab.page.unroute("**/console/sign-in/callback*")
    tab.page.goto(came[0])
    assert shown(tab) == "ada lead"
    tab.page.goto(came[0])
    assert "was used already" in tab.text()


def test_dangerous_things_send_to_the_issuer_once_more_and_back(place):
    tab = place.tab()
    sign_in(tab, "ada")
    tab.page.wait_for_selector("nav.side")
    tab.go("/providers/simulator")
    tab.page.fill("[name=why]", "it answers slowly")
    tab.page.click("text=Switch simulator off >> nth=-1")
    tab.page.wait_for_selector("h1:has-text('Prove that it is you')")
    assert tab.page.query_selector("main [type=password]") is None
    assert tab.violations() == []
    tab.page.click("text=Go on at Example Corp")
    answer(tab, "ada")
    tab.page.wait_for_url("**/console/providers/simulator")
    assert "Proved" in tab.text()
    for verb in ("off", "on"):
        tab.page.fill("[name=why]", "it answers slowly")
        tab.page.click(f"text=Switch simulator {verb} >> nth=-1")
        assert f"is switched {verb}" in tab.text()
    clean(tab)


def test_somebody_else_does_not_prove_a_session(place):
    tab = place.tab()
    sign_in(tab, "ada")
    tab.page.wait_for_selector("nav.side")
    tab.refused_is_wrong = False
    tab.go("/prove?to=/console/providers/simulator")
    tab.page.click("text=Go on at Example Corp")
    answer(tab, "vera")
    tab.page.wait_for_selector("h1:has-text('Not proved')")
    assert "somebody else" in tab.text()
    tab.go("/providers/simulator")
    tab.page.fill("[name=why]", "it answers slowly")
    tab.page.click("text=Switch simulator off >> nth=-1")
    tab.page.wait_for_selector("h1:has-text('Prove that it is you')")
    clean(tab)


def test_new_role_counts_from_the_next_sign_in_and_ends_a_session_that_is_to_be_proved(place):
    place.tell("/role", name="vera", role=["payments-leads"])
    tab = place.tab()
    sign_in(tab, "vera")
    tab.page.wait_for_selector("nav.side")
    assert shown(tab) == "vera lead"
    place.tell("/role", name="vera", role=["payments-readers"])
    tab.go("/queues")
    assert shown(tab) == "vera lead"
    tab.refused_is_wrong = False
    tab.go("/prove")
    tab.page.click("text=Go on at Example Corp")
    answer(tab, "vera")
    tab.page.wait_for_selector("h1:has-text('Not')")
    assert "role has changed" in tab.text()
    tab.page.click("text=Try again")
    tab.page.click("text=Sign in with Example Corp")
    tab.page.wait_for_selector("nav.side")
    assert shown(tab) == "vera viewer"
    clean(tab)


def test_signing_out_leads_through_the_issuer_and_back_to_the_sign_in_page(place):
    tab = place.tab()
    sign_in(tab, "ada")
    tab.page.wait_for_selector("nav.side")
    tab.page.click("text=Sign out")
    tab.page.wait_for_selector("h1:has-text('Sign out?')")
    tab.page.click("[name=logout]")
    tab.page.wait_for_url("**/console/sign-in*")
    tab.page.click("text=Sign in with Example Corp")
    assert tab.page.wait_for_selector("[name=login]"), "the issuer does not remember who it was"
    tab.go("/queues")
    assert "/sign-in" in tab.page.url
    clean(tab)


def test_keys_that_the_issuer_changes_are_noticed(place):
    place.tell("/rotate")
    tab = place.tab()
    sign_in(tab, "ada")
    tab.page.wait_for_selector("nav.side", timeout=10_000)
    assert shown(tab) == "ada lead"
    clean(tab)


def test_local_operator_of_the_same_name_is_somebody_else(place):
    tab, local = place.tab(), place.tab()
    sign_in(tab, "admin")
    tab.page.wait_for_selector("nav.side")
    assert shown(tab) == "admin viewer"
    local.sign_in()
    assert shown(local) == "admin admin"
    tab.refused_is_wrong = False
    tab.go("/people")
    assert "needs the role lead" in tab.text()
    clean(tab)
    clean(local)
