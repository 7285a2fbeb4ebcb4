"""Signing in at an issuer without a browser: who is let in, what other sites and issuers can do, and what people are told."""

from __future__ import annotations

import re
import time
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from msgspec.structs import replace

from interlock.backends.tokens import id_tokens
from interlock.config import SignInSettings
from interlock.core.access.audit import list_audit
from interlock.core.kernel.clock import utc_day
from interlock.entrypoints.console.guards import Cookies
from tests.backends.outbound.issuer_server import CLIENT_ID, issuer_server, new_key
from tests.entrypoints.console.test_console import PASSWORD, at_desk

SESSION, ERRAND = "interlock-desk", "interlock-errand"


@asynccontextmanager
async def desk_with_issuer(folder, **changes):
    async with issuer_server() as issuer:
        sign_in = SignInSettings(issuer.issuer, CLIENT_ID, {"leads": "lead", "readers": "viewer"}, name="Example Corp")
        async with at_desk(folder, sign_in=replace(sign_in, **changes)) as (node, browser):
            yield node, browser, issuer


def claims(issuer, url, **changes):
    now = int(time.time())
    made = {
        "iss": issuer.issuer,
        "aud": CLIENT_ID,
        "sub": "person-1",
        "iat": now,
        "exp": now + 300,
        "nonce": parse_qs(urlsplit(url).query)["nonce"][0],
        "preferred_username": "ada",
        "roles": ["leads"],
    } | changes
    return {name: value for name, value in made.items() if value is not None}


async def set_out(browser, path="/console/sign-in/issuer"):
    status, headers, _ = await browser.get(path)
    assert status == 303
    return headers["Location"]


def back(issuer, url, answer=None, **changes):
    """The path by which the issuer sends the browser back."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    code = issuer.give_code(url, issuer.token(claims(issuer, url, **changes)))
    brought = {"code": code, "state": asked["state"]} | (answer or {})
    return f"{urlsplit(asked['redirect_uri']).path}?{urlencode(brought)}"


def cookies_set(headers):
    return {one.partition("=")[0]: one for one in headers.getall("Set-Cookie", [])}


async def refusals(node):
    day = utc_day(node.platform.storage.clock.now())
    page = await list_audit(node.platform.storage.store, tenant="~platform", day=day)
    return [one.detail["reason"] for one in reversed(page.records) if one.action == "operator.refused"]


async def test_somebody_comes_back_to_the_page_they_wanted_and_is_in(tmp_path):
    async with desk_with_issuer(tmp_path) as (node, browser, issuer):
        somebody = browser()
        _, _, page = await somebody.get("/console/sign-in?to=/console/queues")
        assert "Sign in with Example Corp" in page and 'name="password"' in page
        status, headers, _ = await somebody.get("/console/sign-in/issuer?to=/console/queues")
        cookie = cookies_set(headers)[ERRAND]
        assert status == 303
        assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Path=/" in cookie and "Max-Age=600" in cookie
        asked = parse_qs(urlsplit(headers["Location"]).query)
        assert asked["redirect_uri"] == [f"{node.platform.issuer}/console/sign-in/callback"]
        status, headers, _ = await somebody.get(back(issuer, headers["Location"]))
        assert (status, headers["Location"]) == (303, "/console/queues")
        assert "Max-Age=0" in cookies_set(headers)[ERRAND] and "HttpOnly" in cookies_set(headers)[SESSION]
        _, _, page = await somebody.get("/console/queues")
        assert re.search(r'title="ada \(127\.0\.0\.1 [0-9a-f]{16}\)">ada <span class="role">lead<', page)
        assert ("issuer", "signed_in") in [
            (one["way"], one["result"]) for one in counted(node, "interlock_sign_ins_total")
        ]


def counted(node, name):
    text = node.platform.storage.telemetry.exposition().decode()
    return [dict(re.findall(r'(\w+)="([^"]*)"', line)) for line in text.splitlines() if line.startswith(f"{name}{{")]


@pytest.mark.parametrize("wanted", ["https://evil.example/console", "//evil.example", "/v1/payments", "javascript:x()"])
async def test_nobody_is_sent_to_another_place_after_signing_in(tmp_path, wanted):
    async with desk_with_issuer(tmp_path) as (_, browser, issuer):
        somebody = browser()
        url = await set_out(somebody, f"/console/sign-in/issuer?to={quote(wanted, safe='')}")
        assert wanted not in url
        status, headers, _ = await somebody.get(back(issuer, url))
        assert (status, headers["Location"]) == (303, "/console")


async def test_who_has_no_role_is_told_by_whom_and_where_to_ask_and_has_no_session(tmp_path):
    async with desk_with_issuer(tmp_path) as (node, browser, issuer):
        somebody = browser()
        status, headers, page = await somebody.get(back(issuer, await set_out(somebody), roles=["office"]))
        assert status == 403 and SESSION not in cookies_set(headers)
        assert "Example Corp knows you, and gives you no role at this desk" in page and "<code>no_role</code>" in page
        status, headers, _ = await somebody.get("/console/queues")
        assert status == 303 and "/sign-in" in headers["Location"]
        assert await refusals(node) == ["no_role"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://evil.example"}, "token_issuer"),
        ({"aud": "another"}, "token_audience"),
        ({"aud": [CLIENT_ID, "another"]}, "token_party"),
        ({"exp": 1_700_000_000}, "token_expired"),
        ({"iat": 1_700_000_000}, "token_too_old"),
        ({"iat": 4_000_000_000}, "token_not_yet_valid"),
        ({"nonce": "another"}, "token_nonce"),
        ({"at_hash": "another"}, "token_at_hash"),
        ({"sub": None}, "token_malformed"),
    ],
)
async def test_bad_token_lets_nobody_in_and_says_why(tmp_path, changes, reason):
    async with desk_with_issuer(tmp_path) as (node, browser, issuer):
        somebody = browser()
        status, headers, page = await somebody.get(back(issuer, await set_out(somebody), **changes))
        assert status == 401 and SESSION not in cookies_set(headers)
        assert f"<code>{reason}</code>" in page and "Try again" in page
        assert await refusals(node) == [reason]


async def test_answer_works_once_and_in_the_browser_that_began_alone(tmp_path):
    async with desk_with_issuer(tmp_path) as (_, browser, issuer):
        mine, theirs = browser(), browser()
        path = back(issuer, await set_out(mine))
        await set_out(theirs)
        status, headers, page = await theirs.get(path)
        assert status == 401 and cookies_set(headers) == {}, "what they have begun themselves goes on"
        assert "begun elsewhere" in page and issuer.posted == []
        status, headers, _ = await mine.get(path)
        assert status == 303 and SESSION in cookies_set(headers)
        status, headers, page = await mine.get(path)
        assert status == 401 and SESSION not in cookies_set(headers) and "Already used" in page
        assert len(issuer.posted) == 1, "the code was sent once"


@pytest.mark.parametrize("answer", [{"iss": "https://evil.example"}, {"iss": "https://evil.example", "error": "x"}])
async def test_code_of_another_issuer_is_sent_nowhere(tmp_path, answer):
    async with desk_with_issuer(tmp_path) as (node, browser, issuer):
        somebody = browser()
        status, _, page = await somebody.get(back(issuer, await set_out(somebody), answer))
        assert status == 401 and "answer of another issuer" in page
        assert issuer.posted == [] and await refusals(node) == ["other_issuer"]


async def test_issuer_that_promises_to_name_itself_must_do_so(tmp_path):
    async with desk_with_issuer(tmp_path) as (_, browser, issuer):
        issuer.more = {"authorization_response_iss_parameter_supported": True}
        somebody = browser()
        status, _, _ = await somebody.get(back(issuer, await set_out(somebody)))
        assert status == 401 and issuer.posted == []
        status, _, _ = await somebody.get(back(issuer, await set_out(somebody), {"iss": issuer.issuer}))
        assert status == 303


async def test_words_of_the_issuer_do_not_reach_the_page(tmp_path):
    evil = "<script>alert(1)</script>"
    async with desk_with_issuer(tmp_path) as (_, browser, issuer):
        somebody = browser()
        answer = {"error": evil, "error_description": evil, "iss": issuer.issuer}
        status, _, page = await somebody.get(back(issuer, await set_out(somebody), answer))
        assert status == 401 and "alert(1)" not in page and "The issuer refused it" in page
        status, _, page = await somebody.get(back(issuer, await set_out(somebody), {"error": "access_denied"}))
        assert status == 401 and "did not allow it" in page


async def test_issuer_that_is_away_is_said_to_be_and_passwords_still_work(tmp_path):
    async with desk_with_issuer(tmp_path) as (node, browser, issuer):
        somebody = browser()
        url = await set_out(somebody)
        node.platform.desk.operators.at_issuer.endpoints._known = None
        await issuer.stop()
        status, headers, page = await somebody.get("/console/sign-in/issuer?to=/console/queues")
        assert status == 503 and int(headers["Retry-After"]) > 0
        assert "The issuer cannot be reached" in page and 'href="/console/sign-in?to=%2Fconsole%2Fqueues"' in page
        status, headers, page = await somebody.get(back(issuer, url))
        assert status == 503 and SESSION not in cookies_set(headers)
        await somebody.sign_in("viewer")


async def test_key_that_the_issuer_changes_is_fetched_and_a_key_it_never_published_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(id_tokens, "REFETCH_PAUSE_S", 0.0)
    async with desk_with_issuer(tmp_path) as (_, browser, issuer):
        somebody = browser()
        assert (await somebody.get(back(issuer, await set_out(somebody))))[0] == 303
        issuer.keys = [new_key("key-2")]
        other = browser()
        assert (await other.get(back(issuer, await set_out(other))))[0] == 303
        published, issuer.keys = issuer.keys, [new_key("key-3")]
        url = await set_out(third := browser())
        path = back(issuer, url)
        issuer.keys = published
        status, _, page = await third.get(path)
        assert status == 401 and "<code>token_key</code>" in page


async def test_fresh_proof_of_the_same_person_is_asked_for_and_counts(tmp_path):
    async with desk_with_issuer(tmp_path) as (_, browser, issuer):
        lead = browser()
        await lead.get(back(issuer, await set_out(lead)))
        _, _, page = await lead.get("/console/queues")
        lead.csrf = re.search(r'name="csrf" value="(\w+)"', page)[1]
        status, headers, _ = await lead.post("/console/providers/simulator/switch", {"off": "1", "why": "slow"})
        assert status == 303 and headers["Location"].startswith("/console/prove")
        _, _, page = await lead.get("/console/prove")
        assert "Go on at Example Corp" in page and 'type="password"' not in page
        url = await set_out(lead, "/console/prove/issuer?to=/console/queues")
        asked = parse_qs(urlsplit(url).query)
        assert (asked["prompt"], asked["max_age"]) == (["login"], ["0"])
        now = int(time.time())
        for changes, reason in (
            ({}, "no_auth_time"),
            ({"auth_time": now - 3_600}, "not_fresh"),
            ({"auth_time": now, "sub": "person-2"}, "other_person"),
        ):
            url = await set_out(lead, "/console/prove/issuer")
            status, _, page = await lead.get(back(issuer, url, **changes))
            assert status == 401 and f"<code>{reason}</code>" in page and "Not proved" in page
        url = await set_out(lead, "/console/prove/issuer?to=/console/queues")
        status, headers, _ = await lead.get(back(issuer, url, auth_time=int(time.time())))
        assert (status, headers["Location"]) == (303, "/console/queues") and SESSION not in cookies_set(headers)
        status, headers, _ = await lead.post("/console/prove", {"password": PASSWORD})
        assert status == 403, "a password proves nothing for who has none here"


async def test_signing_out_ends_the_session_here_also_when_the_issuer_is_away(tmp_path):
    async with desk_with_issuer(tmp_path) as (node, browser, issuer):
        for is_away in (False, True):
            somebody = browser()
            await somebody.get(back(issuer, await set_out(somebody)))
            _, _, page = await somebody.get("/console/queues")
            somebody.csrf = re.search(r'name="csrf" value="(\w+)"', page)[1]
            if is_away:
                node.platform.desk.operators.at_issuer.endpoints._known = None
                await issuer.stop()
            status, headers, page = await somebody.post("/console/sign-out")
            assert status == 200 and "Max-Age=0" in cookies_set(headers)[SESSION]
            assert (f"{issuer.issuer}/logout?client_id=desk&amp;post_logout" in page) is not is_away
            assert ("You may still be signed in at Example Corp" in page) is is_away
            assert (await somebody.get("/console/queues"))[0] == 303


async def test_where_passwords_are_off_there_is_no_field_for_one_and_none_is_taken(tmp_path):
    async with desk_with_issuer(tmp_path, passwords=False) as (_, browser, issuer):
        somebody = browser()
        _, _, page = await somebody.get("/console/sign-in")
        assert "Sign in with Example Corp" in page and "password" not in page
        status, headers, _ = await somebody.post("/console/sign-in", {"name": "admin", "password": PASSWORD})
        assert status == 403 and SESSION not in cookies_set(headers)
        assert (await somebody.get(back(issuer, await set_out(somebody))))[0] == 303


async def test_without_an_issuer_there_is_no_way_to_one(tmp_path):
    async with at_desk(tmp_path) as (_, browser):
        somebody = browser()
        assert "issuer" not in (await somebody.get("/console/sign-in"))[2]
        for path in ("/sign-in/issuer", "/sign-in/callback?code=a&state=b"):
            assert (await somebody.get(f"/console{path}"))[0] == 404
        await somebody.sign_in("admin")
        assert (await somebody.get("/console/prove/issuer"))[0] == 404


async def test_local_session_is_not_proved_at_the_issuer(tmp_path):
    async with desk_with_issuer(tmp_path) as (_, browser, _issuer):
        admin = browser()
        await admin.sign_in("admin")
        assert (await admin.get("/console/prove/issuer"))[0] == 404
        assert 'type="password"' in (await admin.get("/console/prove"))[2]


def test_over_https_nobody_else_can_have_set_the_cookie_of_an_errand():
    made = Cookies(secure=True)
    name, value = made.set(made.errand, "x", max_age_s=600)
    assert (name, value) == (
        "set-cookie",
        "__Host-interlock-errand=x; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=600",
    )
