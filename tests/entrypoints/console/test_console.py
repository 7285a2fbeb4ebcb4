"""The console without a browser: who is let in, what another site can do, and what of other people's words reaches a page."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from html import unescape
from urllib.parse import quote, urlencode

import aiohttp
import pytest
from msgspec.structs import replace

from interlock.backends.local.hashing import ThreadedHashing
from interlock.config import ProviderSettings
from interlock.core.desk.alerts.handlers import take
from interlock.core.desk.alerts.listing import load_alert
from interlock.core.desk.alerts.model import AlertSeverity, Signal, SignalState
from interlock.core.desk.explain.model import Explained, ObservationsView
from interlock.core.desk.figures.model import ATTEMPTS, DESK, MERCHANTS, PAYMENTS, PaymentRow, encode_row
from interlock.core.desk.operators.handlers import add_operator
from interlock.core.desk.operators.roles import ALLOWED, Role
from interlock.core.desk.operators.tries import FROM_ADDRESS
from interlock.core.kernel.documents import Document
from interlock.core.kernel.errors import Unavailable
from interlock.core.kernel.ids import PAYMENT, format_id
from interlock.core.kernel.providers import Exchange
from interlock.core.payments.timeline import TimelineEntry
from interlock.core.webhooks.handlers import list_endpoints, load_endpoint
from interlock.core.webhooks.records import endpoint_write
from interlock.entrypoints.console import risk_pages
from interlock.entrypoints.console.console import Front, console, described_pages
from interlock.entrypoints.console.guards import cookies_of, place_to_go
from interlock.entrypoints.console.masking import masked_story
from interlock.entrypoints.console.pages import pairs_of
from interlock.entrypoints.http.api import api
from interlock.entrypoints.http.server import HttpServer
from tests.core.desk.desk_world import operator
from tests.running import running

PASSWORD = "correct horse battery"


class Browser:
    """Cookies and a form token, no scripts."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session, self.url, self.csrf = session, url, ""

    async def get(self, path: str, **headers: str):
        async with self.session.get(f"{self.url}{path}", headers=headers, allow_redirects=False) as answer:
            return answer.status, answer.headers, await answer.text()

    async def post(self, path: str, form: dict[str, str] | None = None, **headers: str):
        body = urlencode({"csrf": self.csrf} | (form or {}))
        sent = {"Content-Type": "application/x-www-form-urlencoded"} | headers
        async with self.session.post(f"{self.url}{path}", data=body, headers=sent, allow_redirects=False) as answer:
            return answer.status, answer.headers, await answer.text()

    async def sign_in(self, name: str) -> None:
        status, headers, _ = await self.post("/console/sign-in", {"name": name, "password": PASSWORD})
        assert status == 303, headers
        _, _, page = await self.get("/console/queues")
        self.csrf = re.search(r'name="csrf" value="(\w+)"', page)[1]


@asynccontextmanager
async def at_desk(folder, *, streams=True, change=lambda platform: platform, **how):
    async with running(folder, **how) as node:
        for role in Role:
            await add_operator(
                node.platform.desk.operators,
                name=role,
                role=role,
                password=PASSWORD,
                actor="test",
                replace_existing=True,
            )
        front = Front(api(node.platform), console(change(node.platform), streams=streams))
        async with HttpServer(front) as port:

            def browser() -> Browser:
                jar = aiohttp.CookieJar(unsafe=True)
                made = aiohttp.ClientSession(cookie_jar=jar)
                sessions.append(made)
                return Browser(made, f"http://127.0.0.1:{port}")

            sessions: list[aiohttp.ClientSession] = []
            try:
                yield node, browser
            finally:
                front.close()
                for session in sessions:
                    await session.close()


def path_of(path: str) -> str:
    return "/console" + re.sub(r"\{\w+\}", "nothing", path).rstrip("/")


async def test_every_page_but_those_for_anybody_needs_a_session(tmp_path):
    async with at_desk(tmp_path) as (_, browser):
        stranger = browser()
        for page in described_pages():
            ask = stranger.get if page.method == "GET" else stranger.post
            status, headers, body = await ask(path_of(page.path))
            if page.permission is None:
                assert status in (200, 401, 404), page.path
            else:
                assert status == 303 and "/console/sign-in" in headers["Location"], page.path
                assert "ten_" not in body


async def test_what_a_role_may_not_is_refused_on_every_page(tmp_path):
    async with at_desk(tmp_path) as (_, browser):
        for role in Role:
            somebody = browser()
            await somebody.sign_in(role)
            for page in described_pages():
                if page.path in ("/live", "/sign-out", "/prove") or page.permission is None:
                    continue
                ask = somebody.get if page.method == "GET" else somebody.post
                status, _, body = await ask(path_of(page.path))
                refused = status == 403 and "this needs the role" in body.lower()
                assert refused == (page.permission not in ALLOWED[role]), (role, page.method, page.path, status)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
    ],
)
async def test_change_that_another_site_asks_for_is_refused(tmp_path, headers):
    async with at_desk(tmp_path) as (_, browser):
        admin = browser()
        await admin.sign_in("admin")
        form = {"name": "eve", "password": PASSWORD, "role": "admin"}
        status, _, _ = await admin.post("/console/people", form, **headers)
        assert status == 403
        _, _, page = await admin.get("/console/people")
        assert "eve" not in page


@pytest.mark.parametrize("token", ["", "0" * 64, "é"])
async def test_form_without_this_sessions_token_changes_nothing(tmp_path, token):
    async with at_desk(tmp_path) as (_, browser):
        admin = browser()
        await admin.sign_in("admin")
        admin.csrf = token
        status, _, _ = await admin.post("/console/people", {"name": "eve", "password": PASSWORD, "role": "admin"})
        assert status == 403
        _, _, page = await admin.get("/console/people")
        assert "eve" not in page


async def test_every_answer_says_what_a_browser_may_do_and_is_kept_nowhere(tmp_path):
    async with at_desk(tmp_path) as (_, browser):
        admin = browser()
        for path in ("/console/sign-in", "/console/nope", "/console"):
            _, headers, _ = await admin.get(path)
            policy = headers["content-security-policy"]
            assert "script-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
            assert headers["x-frame-options"] == "DENY"
            assert headers["cache-control"] == "no-store"
        await admin.sign_in("admin")
        _, headers, page = await admin.get("/console")
        assert headers["cache-control"] == "no-store"
        assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|style=|javascript:", page)


async def test_cookie_is_for_this_server_and_no_script(tmp_path):
    async with at_desk(tmp_path) as (_, browser):
        admin = browser()
        status, headers, _ = await admin.post("/console/sign-in", {"name": "admin", "password": PASSWORD})
        assert status == 303
        cookie = headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Path=/" in cookie


async def test_words_of_others_are_words_on_every_page(tmp_path):
    evil = "<script>alert(1)</script>\"'"
    async with at_desk(tmp_path) as (_, browser):
        admin = browser()
        await admin.sign_in("admin")
        for path in (
            f"/console/search?q={quote(evil)}",
            f"/console/payments?reference={quote(evil)}&merchant={quote(evil)}",
            f"/console/risk?merchant={quote(evil)}&kind={quote(evil)}",
            f"/console/blast?provider={quote(evil)}",
            f"/console/queues/webhooks?q={quote(evil)}",
            f"/console/audit?day={quote('2026-11-27')}&merchant={quote('x')}",
            f"/console/sign-in?to={quote(evil)}",
            f"/console/{quote(evil)}",
        ):
            _, _, page = await admin.get(path)
            assert "<script>alert" not in page, path
        await admin.post("/console/sign-in", {"name": evil, "password": "x"})


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("/console/risk?kind=uncertain", "/console/risk?kind=uncertain"),
        ("/console", "/console"),
        ("https://evil.example/console", "/console"),
        ("//evil.example/console", "/console"),
        ("/\\evil.example", "/console"),
        ("/console/\\evil", "/console"),
        ("/consoleevil", "/console"),
        ("javascript:alert(1)", "/console"),
        ("/console/\r\nset-cookie: a=b", "/console"),
        ("", "/console"),
    ],
)
def test_nobody_is_sent_elsewhere_after_signing_in(wanted, given):
    assert place_to_go(wanted) == given


def test_cookies_and_forms_are_read_as_they_are_written():
    assert cookies_of("a=1; b=2; a=3; c") == {"a": "1", "b": "2", "c": ""}
    assert pairs_of("a=1&a=2&b=&c=%C3%A9", "/form") == {"a": "1", "c": "é"}


async def test_viewer_sees_no_customer_and_no_reference_anywhere(tmp_path):
    async with at_desk(tmp_path) as (node, browser):
        body = {"amount": 100, "currency": "EUR", "confirm": False, "customer": "cus_hidden", "reference": "ref-hidden"}
        status, made = await node.ask("POST", "/v1/payments", body, key="k")
        assert status == 201, made
        viewer, support = browser(), browser()
        await viewer.sign_in("viewer")
        await support.sign_in("support")
        async with asyncio.timeout(20):
            while "ref-hidden" not in (await support.get("/console/payments"))[2]:
                await asyncio.sleep(0.05)
        for path in ("/console/payments", f"/console/payments/{made['id']}", f"/console/payments/{made['id']}/json"):
            page = (await viewer.get(path))[2]
            assert "cus_hidden" not in page and "ref-hidden" not in page, path
        for field, guess in (("customer", "cus_hidden"), ("reference", "ref-hidden")):
            status, _, page = await viewer.get(f"/console/payments?{field}={guess}")
            assert status == 403 and made["id"] not in page, "a guess is not confirmed"
            assert made["id"] not in (await viewer.get(f"/console/search?q={guess}"))[2]
            assert (await support.get(f"/console/search?q={guess}"))[0] == 303


def test_viewer_sees_that_somebody_was_asked_and_not_what_was_said():
    asked = Exchange("POST", "https://provider/charges", "commit", 1, 2.0, 200, None, '{"last4":"4242"}', None)
    attempt = {"status": 500, "excerpt": "no room for Ada Lovelace"}
    entries = [
        TimelineEntry("t", "exchange", "asked", exchange=asked),
        TimelineEntry("t", "delivery", "sent", delivery={"id": "dlv_1", "attempts": [attempt]}),
    ]
    observed = ObservationsView((), (), False, None)
    story = Explained("pay_1", "succeeded", "captured", "why", None, [], entries, observations=observed)
    assert masked_story(story, operator(role=Role.SUPPORT)) is story
    seen = masked_story(story, operator(role=Role.VIEWER))
    assert (seen.entries[0].exchange.request, seen.entries[0].exchange.reply) == ("•••", None)
    assert seen.entries[1].delivery == {"id": "dlv_1", "attempts": [{"status": 500, "excerpt": "•••"}]}


async def test_open_page_hears_what_changed_and_is_not_waited_for_when_the_server_stops(tmp_path):
    async with at_desk(tmp_path) as (node, browser):
        viewer = browser()
        await viewer.sign_in("viewer")
        answer = await viewer.session.get(f"{viewer.url}/console/live")
        assert answer.headers["Content-Type"] == "text/event-stream"
        await answer.content.readuntil(b"retry: 5000\n\n")
        row = Document("att_" + "z" * 26, DESK, 1, {"provider": "acme"}, b"{}")
        await node.platform.storage.documents.upsert(ATTEMPTS.name, [row])
        async with asyncio.timeout(15):
            heard = b""
            while b"event: payments" not in heard:
                heard += await answer.content.readany()
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 6, "drained, not cut off"


async def test_streams_are_for_who_is_signed_in(tmp_path):
    async with at_desk(tmp_path) as (_, browser):
        status, headers, _ = await browser().get("/console/live")
        assert status == 303 and "/sign-in" in headers["Location"]


async def test_overview_names_endpoints_that_take_nothing(tmp_path):
    async with at_desk(tmp_path) as (node, browser):
        storage = node.platform.storage
        await storage.documents.upsert(MERCHANTS.name, [Document("ten_1", DESK, 1, {}, b"{}")])
        wanted = {"url": "https://shop.example.com/hooks?a=1&b=2", "events": ["*"]}
        made = await node.ask("POST", "/v1/webhook_endpoints", wanted, key="k1")
        assert made[0] == 201, made
        (endpoint,) = await list_endpoints(node.platform.webhooks, "ten_1")
        held = await load_endpoint(node.platform.webhooks, "ten_1", endpoint.id)
        await storage.store.commit([endpoint_write(replace(endpoint, failing_since=1), held.item_version)])
        viewer = browser()
        await viewer.sign_in("viewer")
        _, _, page = await viewer.get("/console")
        assert "Endpoint that takes nothing" in page and "https://shop.example.com/hooks?a=1&amp;b=2" in page


async def test_overview_names_an_open_alert_behind_many_that_are_over(tmp_path):
    async with at_desk(tmp_path) as (node, browser):
        desk, now = node.platform.desk.alerts, node.platform.storage.clock.now()

        async def fire(number: int, state: SignalState) -> None:
            name = f"LostAlert{number}"
            await take(desk, (), Signal("s", name, name, AlertSeverity.CRITICAL, state), now)

        await fire(0, SignalState.FIRING)
        for number in range(1, 60):
            await fire(number, SignalState.FIRING)
            await fire(number, SignalState.RESOLVED)
        viewer = browser()
        await viewer.sign_in("viewer")
        _, _, page = await viewer.get("/console")
        assert re.findall(r"LostAlert\d+", page) == ["LostAlert0"]


async def test_open_page_that_looks_sees_the_mark_of_what_changed(tmp_path):
    async with at_desk(tmp_path) as (node, browser):
        viewer = browser()
        await viewer.sign_in("viewer")
        before = await viewer.get("/console/live/marks")
        row = Document("att_" + "z" * 26, DESK, 1, {"provider": "acme"}, b"{}")
        await node.platform.storage.documents.upsert(ATTEMPTS.name, [row])
        async with asyncio.timeout(15):
            while json.loads((after := await viewer.get("/console/live/marks"))[2])["payments"] != row.id:
                await asyncio.sleep(0.1)
        assert before[1]["Content-Type"] == "application/json"
        assert before[1]["Cache-Control"] == "no-store"
        changed = {topic for topic, mark in json.loads(after[2]).items() if json.loads(before[2])[topic] != mark}
        assert changed == {"payments"}


async def test_where_answers_cannot_go_on_pages_say_so_and_the_stream_is_none(tmp_path):
    async with at_desk(tmp_path, streams=False) as (_, browser):
        viewer = browser()
        await viewer.sign_in("viewer")
        _, _, page = await viewer.get("/console")
        assert 'data-live-by="looks"' in page
        status, headers, body = await viewer.get("/console/live")
        assert (status, headers["Content-Type"], set(json.loads(body))) == (
            200,
            "application/json",
            {"payments", "alerts", "queues", "replays"},
        )


async def test_page_of_sql_says_what_is_missing_and_where_to_go_instead(tmp_path):
    def change(platform):
        return platform._replace(desk=platform.desk._replace(queries=None, exports=None))

    async with at_desk(tmp_path, change=change) as (_, browser):
        admin = browser()
        await admin.sign_in("admin")
        status, _, page = await admin.get("/console/sql")
        assert status == 200 and "does not have DuckDB" in page
        for path in ("causes", "blast", "payments"):
            assert f'href="/console/{path}"' in page
        status, _, page = await admin.post("/console/sql", {"sql": "select 1"})
        assert status == 503 and "not installed here" in page


async def test_large_blast_radius_shows_what_was_counted_first_and_asks_for_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(risk_pages, "COUNTED_FIRST", 3)
    async with at_desk(tmp_path) as (node, browser):
        now = node.platform.storage.clock.now()
        rows = [PaymentRow(format_id(PAYMENT, now, n), "m", "failed", "failed", 5, "EUR", now, now) for n in range(5)]
        documents = [Document(row.id, DESK, 1, {"merchant": "m"}, encode_row(row)) for row in rows]
        await node.platform.storage.documents.upsert(PAYMENTS.name, documents)
        viewer = browser()
        await viewer.sign_in("viewer")
        path, counted = "/console/blast?merchant=m&before=2100-01-01T00:00", '<td class="n">{}</td>'.format
        page = (await viewer.get(path))[2]
        rest = unescape(re.search(r'hx-get="([^"]+)" hx-trigger="load" hx-target="#found"', page)[1])
        assert counted(3) in page and "newest 3 payments" in page
        part = (await viewer.get(rest, **{"HX-Request": "true"}))[2]
        assert counted(5) in part and "<html" not in part and "hx-get" not in part
        assert counted(5) in (await viewer.get(rest))[2]


async def test_breaker_of_another_process_is_not_guessed_at(tmp_path):
    def change(platform):
        return platform._replace(storage=platform.storage._replace(database=None))

    one = ProviderSettings("acme", "simulator", "http://127.0.0.1:1")
    secrets = [("acme", name, "x" * 20) for name in ("api_key", "signing_secret")]
    for seen, change_to in ((True, lambda platform: platform), (False, change)):
        async with at_desk(tmp_path, change=change_to, providers=[one], credentials=secrets) as (_, browser):
            viewer = browser()
            await viewer.sign_in("viewer")
            page = (await viewer.get("/console/providers"))[2]
            assert ("in each process" not in page) == seen
            page = (await viewer.get("/console/providers/acme"))[2]
            assert ("provider-breaker-open" not in page) == seen


@pytest.mark.parametrize(
    ("verb", "form", "pointer"),
    [
        ("acknowledge", {"note": "n" * 501}, "/form/note"),
        ("assign", {"assignee": "a" * 201}, "/form/assignee"),
        ("assign", {"assignee": "a\tb"}, "/form/assignee"),
        ("resolve", {"note": "n" * 501}, "/form/note"),
    ],
)
async def test_words_about_an_alert_are_held_to_the_limits_of_the_command(tmp_path, verb, form, pointer):
    async with at_desk(tmp_path) as (node, browser):
        desk, now = node.platform.desk.alerts, node.platform.storage.clock.now()
        fate = await take(desk, (), Signal("s", "f", "Lost", AlertSeverity.CRITICAL, SignalState.FIRING), now)
        support = browser()
        await support.sign_in("support")
        before = fate.verdict.alert
        status, _, page = await support.post(f"/console/alerts/{before.id}/{verb}", form)
        assert status == 400 and pointer in page
        assert (await load_alert(desk, before.id)).alert == before


async def test_stranger_with_many_names_is_slowed_down_and_whoever_is_in_may_still_prove_themselves(tmp_path):
    async with at_desk(tmp_path) as (node, browser):
        lead, stranger = browser(), browser()
        await lead.sign_in("lead")
        statuses = [
            (await stranger.post("/console/sign-in", {"name": f"nobody-{number}", "password": "x"}))[0]
            for number in range(3)
        ]
        operators = node.platform.desk.operators
        now = operators.clock.monotonic()
        while operators.limiter.take("sign_in_from/127.0.0.1", now, FROM_ADDRESS).allowed:
            pass
        status, _, page = await stranger.post("/console/sign-in", {"name": "nobody", "password": "x"})
        assert (statuses, status) == ([401] * 3, 429) and "too many tries" in page.lower()
        assert (await lead.post("/console/prove", {"password": PASSWORD}))[0] == 303


async def test_sign_in_that_finds_no_room_is_asked_to_come_back(tmp_path):
    async def full(password, salt):
        raise Unavailable("many people sign in at this moment; try again", code="busy")

    def change(platform):
        assert platform.desk.operators.digest_of.__self__.__class__ is ThreadedHashing
        return platform._replace(
            desk=platform.desk._replace(operators=platform.desk.operators._replace(digest_of=full))
        )

    async with at_desk(tmp_path, change=change) as (_, browser):
        status, _, page = await browser().post("/console/sign-in", {"name": "lead", "password": PASSWORD})
        assert status == 503 and "try again" in page
