"""Every action of the console, clicked by people with roles: what they see afterwards, and what is in the books."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import re
import sqlite3
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from msgspec.structs import replace
from playwright.sync_api import Browser

from interlock.config import Settings
from interlock.core.desk.risk.model import Kind
from interlock.core.desk.risk.records import BOOKS, Finding, open_write
from interlock.entrypoints.cli.stored import opened
from interlock.entrypoints.console.console import described_pages
from tests.e2e.console.browsing import Desk, Tab, chromium, desk

pytestmark = pytest.mark.xdist_group("console-actions")
PASSWORD = "correct horse battery"
DONE: set[str] = set()
"""Paths that somebody posted to."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("actions")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def admin(place, browser) -> Iterator[Tab]:
    yield signed_in(place, browser)


def signed_in(place: Desk, browser: Browser, name: str = "", password: str = "") -> Tab:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab = Tab(context, place)
    tab.page.on("request", _note)
    tab.confirm_all()
    tab.sign_in(name, password)
    return tab


def _note(request) -> None:
    if request.method == "POST":
        DONE.add(urllib.parse.urlsplit(request.url).path.removeprefix("/console"))


@pytest.fixture(scope="module")
def lead(admin, place, browser) -> Iterator[Tab]:
    """Somebody else, who may approve."""
    admin.go("/people")
    admin.page.fill("[name=name]", "grace")
    admin.page.fill("[name=password]", PASSWORD)
    admin.page.select_option("[name=role]", "lead")
    admin.page.click("text=Add >> nth=-1")
    assert "grace may sign in" in admin.text()
    yield signed_in(place, browser, "grace", PASSWORD)


def clean(tab: Tab) -> None:
    wrong, tab.wrong = tab.wrong, []
    assert wrong == []


# Each test stands on its own; the last one looks at what all of them have done.


def test_wrong_password_is_refused_in_the_same_words_for_everybody(place, browser):
    tab = Tab(browser.new_context(), place)
    tab.refused_is_wrong = False
    for name in ("admin", "nobody"):
        tab.go("/sign-in")
        tab.page.fill("[name=name]", name)
        tab.page.fill("[name=password]", "wrong")
        tab.page.click("button.main")
        assert "Name or password is wrong." in tab.text()
        assert tab.page.query_selector("nav.side") is None
    clean(tab)


def test_page_asked_for_without_a_session_is_shown_after_signing_in(place, browser):
    tab = Tab(browser.new_context(), place)
    tab.go("/risk?kind=uncertain")
    assert "/sign-in" in tab.page.url
    tab.page.fill("[name=name]", place.user)
    tab.page.fill("[name=password]", place.password)
    tab.page.click("button.main")
    tab.page.wait_for_selector("nav.side")
    assert tab.page.url.endswith("/console/risk?kind=uncertain")
    tab.page.on("request", _note)
    tab.page.click("text=Sign out")
    tab.page.wait_for_selector("[name=password]")
    tab.go("")
    assert "/sign-in" in tab.page.url
    clean(tab)


def test_shortcut_leads_to_the_box_and_the_box_to_the_payment(admin):
    admin.go("/queues")
    admin.page.keyboard.press("/")
    admin.page.keyboard.type("order-1001")
    admin.page.keyboard.press("Enter")
    admin.page.wait_for_url("**/payments/pay_*")
    assert "Timeline" in admin.text()
    clean(admin)


def test_theme_is_chosen_and_kept(admin):
    admin.go("")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    before = admin.page.evaluate(ground)
    admin.page.click("#theme")
    after = admin.page.evaluate(ground)
    admin.go("/risk")
    assert admin.page.evaluate(ground) == after != before
    admin.page.click("#theme")
    clean(admin)


def test_chart_is_drawn_and_its_payment_page_filters_the_timeline(admin):
    admin.go("")
    admin.page.wait_for_selector(".chart canvas")
    admin.go("/payments?status=succeeded")
    admin.page.click("tbody tr a >> nth=0")
    entries = admin.page.locator(".entry.exchange")
    assert entries.first.is_visible()
    admin.page.uncheck("[data-kind=exchange] >> nth=0")
    assert not entries.first.is_visible()
    admin.page.click("text=Copy >> nth=0")
    admin.picture("payment-wide-light")
    assert admin.violations() == []
    clean(admin)


def test_overview_brings_itself_up_to_date_when_something_happens(admin, place):
    admin.go("")
    admin.page.wait_for_load_state("load")
    tile = admin.page.locator(".tile .sub").first
    before = tile.inner_text()
    pay(place)
    admin.page.wait_for_function(
        "before => document.querySelector('.tile .sub').innerText !== before", arg=before, timeout=20_000
    )
    clean(admin)


def token_of(place: Desk) -> str:
    """Of this machine's own client."""
    basic = base64.b64encode(f"{place.ready['client_id']}:{place.ready['client_secret']}".encode()).decode()
    asked = urllib.request.Request(
        place.ready["token_url"], data=b"grant_type=client_credentials", headers={"Authorization": f"Basic {basic}"}
    )
    return str(json.loads(urllib.request.urlopen(asked, timeout=10).read())["access_token"])


def post(place: Desk, path: str, body: object, **headers: str) -> dict[str, object]:
    asked = urllib.request.Request(
        f"{place.base_url}{path}",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token_of(place)}", "Content-Type": "application/json"} | headers,
    )
    answer: dict[str, object] = json.loads(urllib.request.urlopen(asked, timeout=20).read())
    return answer


KEYS = itertools.count()


def pay(place: Desk, **more: object) -> str:
    """A payment of this machine's own merchant, made through the API; its id."""
    body = {"amount": 1999, "currency": "EUR", "payment_method": {"type": "card", "token": "tok_approve"}} | more
    return str(post(place, "/v1/payments", body, **{"Idempotency-Key": f"key-{next(KEYS)}"})["id"])


def test_repair_is_asked_for_by_one_person_and_approved_by_another(admin, lead):
    admin.go("/repairs/new?action=refund&merchant=mer_tandem&currency=USD&from=2026-01-01T00:00")
    number = int(re.search(r"(\d+) payments would be repaired", admin.text())[1])
    assert number > 0
    admin.page.fill("[name=reason]", "charged twice on Friday")
    admin.page.click("text=Ask for approval")
    admin.page.wait_for_url("**/repairs/rpr_*")
    address = admin.page.url.partition("/console")[2].partition("?")[0]
    assert "You asked for it" in admin.text()
    assert admin.page.query_selector("button:has-text('Approve')") is None
    admin.picture("repair-wide-light")
    assert admin.violations() == []
    lead.go(address)
    lead.page.click("button:has-text('Approve')")
    lead.page.wait_for_selector(".said")
    for _ in range(60):
        lead.go(address)
        if "Refund done" in lead.text().replace("\n", " ")[:200]:
            break
        lead.page.wait_for_timeout(250)
    assert len(lead.page.query_selector_all("tbody .status.done")) == min(number, 50)
    clean(admin)
    clean(lead)


def test_payments_named_by_their_ids_are_previewed_and_what_is_unknown_is_said(admin, place):
    payment = pay(place)
    for _ in range(40):
        admin.go("/repairs/new")
        admin.page.select_option("[name=action]", "refund")
        admin.page.fill("[name=ids]", f"{payment}\nnobody-knows")
        admin.page.click("text=Preview")
        if "1 payments would be repaired" in admin.text():
            break
        admin.page.wait_for_timeout(100)
    assert "Left out: 1" in admin.text() and "nobody-knows" in admin.text()
    assert admin.page.input_value("[name=payments]").strip().split(":")[::2] == [payment, "1999"]
    assert admin.violations() == []
    admin.page.fill("[name=reason]", "charged twice")
    admin.page.click("text=Ask for approval")
    admin.page.wait_for_url("**/repairs/rpr_*")
    clean(admin)


def test_repair_that_is_rejected_or_stopped_does_nothing(admin, lead):
    for verb, words in (("Reject", "Nothing was done"), ("Stop", "What was done stays done")):
        admin.go("/repairs/new?action=refund&merchant=mer_atlas&from=2026-01-01T00:00")
        admin.page.fill("[name=reason]", "a mistake")
        admin.page.click("text=Ask for approval")
        admin.page.wait_for_url("**/repairs/rpr_*")
        lead.go(admin.page.url.partition("/console")[2])
        lead.page.click(f"button:has-text('{verb}')")
        assert words in lead.text()
    clean(admin)
    clean(lead)


def buried(place: Desk, number: int, word: str) -> None:
    """So many dead letters that hold this word."""
    with closing(sqlite3.connect(place.data / "interlock.db", timeout=10)) as database:
        database.executemany(
            "INSERT INTO queue_dead_letters (queue, id, attempts, sent_at, died_at, body) VALUES (?,?,?,?,?,?)",
            [
                ("notifications", f"msg_{word}{count:03}", 25, 10**12, 10**12, f'{{"provider":"{word}"}}'.encode())
                for count in range(number)
            ],
        )
        database.commit()


def test_events_are_replayed_to_one_group_when_somebody_else_has_approved_it(admin, lead):
    admin.go("/replays/new?kind=events")
    admin.page.select_option("[name=group]", "desk")
    admin.page.fill("[name=type]", "payment.succeeded")
    admin.page.fill("[name=rate]", "200")
    admin.page.click("button:has-text('Preview')")
    number = int(re.search(r"([\d\s]+) would be replayed", admin.text())[1].replace("\u202f", ""))
    assert number > 0
    assert admin.page.locator("tbody tr").count() == min(number, 50)
    admin.page.fill("[name=reason]", "rows were lost")
    admin.page.click("text=Ask for approval")
    admin.page.wait_for_url("**/replays/rpl_*")
    address = admin.page.url.partition("/console")[2].partition("?")[0]
    assert "You asked for it" in admin.text()
    assert admin.page.query_selector("button:has-text('Approve')") is None
    assert admin.violations() == []
    lead.go(address)
    lead.page.click("button:has-text('Approve')")
    lead.page.wait_for_selector(".said")
    # The page that is open brings itself up to date.
    admin.page.wait_for_selector("h1 .status.done", timeout=60_000)
    assert f"{number} of {number}" in admin.text().replace("\u202f", "")
    admin.picture("replay-wide-light")
    assert admin.violations() == []
    admin.go("/replays")
    assert "rows were lost" not in admin.text() and "events to desk" in admin.text()
    clean(admin)
    clean(lead)


def test_replay_of_dead_letters_is_paused_continued_and_stopped(admin, place):
    buried(place, 60, "sleepy")
    admin.go("/queues/notifications?q=sleepy")
    admin.page.click("text=A few at a time")
    admin.page.fill("[name=rate]", "1")
    admin.page.click("button:has-text('Preview')")
    assert "60 would be replayed" in admin.text()
    admin.page.fill("[name=reason]", "the provider is known again")
    admin.page.click("button.main:has-text('Replay')")
    admin.page.wait_for_url("**/replays/rpl_*")
    for button, stage in (("Pause", "paused"), ("Continue", "approved"), ("Pause", "paused"), ("Stop", "stopped")):
        admin.page.click(f"button:has-text('{button}')")
        admin.page.wait_for_selector(f"h1 .status.{stage}")
        assert admin.violations() == []
    assert admin.page.query_selector(".acts button") is None
    with closing(sqlite3.connect(place.data / "interlock.db", timeout=10)) as database:
        (left,) = database.execute("SELECT count(*) FROM queue_dead_letters WHERE id LIKE 'msg_sleepy%'").fetchone()
    assert 30 < left <= 60
    clean(admin)


def test_replay_that_is_rejected_tells_nobody_anything_and_a_wrong_filter_is_explained(admin, lead):
    admin.refused_is_wrong = False
    admin.go("/replays/new?kind=webhooks&payment=pay_1&rate=10")
    assert "this is no id of a payment" in admin.text()
    assert admin.violations() == []
    admin.refused_is_wrong = True
    admin.go("/replays/new?kind=events&group=outside&type=payment.succeeded&rate=1")
    admin.page.fill("[name=reason]", "a mistake")
    admin.page.click("text=Ask for approval")
    admin.page.wait_for_url("**/replays/rpl_*")
    lead.go(admin.page.url.partition("/console")[2])
    lead.page.click("button:has-text('Reject')")
    assert "Nothing was done" in lead.text()
    clean(admin)
    clean(lead)


def test_provider_is_switched_off_and_on_with_a_reason_and_payments_go_elsewhere(admin, place):
    admin.go("/providers/simulator")
    admin.page.fill("[name=why]", "it answers slowly")
    admin.page.click("text=Switch simulator off >> nth=-1")
    assert "is switched off" in admin.text()
    admin.page.wait_for_timeout(2_200)
    admin.go(f"/payments/{pay(place)}")
    admin.page.wait_for_selector(".facts")
    assert "Routed to simulator_b" in admin.text()
    admin.go("/providers/simulator")
    admin.page.fill("[name=why]", "it is well again")
    admin.page.click("text=Switch simulator on >> nth=-1")
    assert "is switched on" in admin.text()
    clean(admin)


def test_dead_letter_is_found_and_given_another_chance(admin, place):
    with closing(sqlite3.connect(place.data / "interlock.db", timeout=10)) as database:
        for number in range(2):
            database.execute(
                "INSERT INTO queue_dead_letters (queue, id, attempts, sent_at, died_at, body) VALUES (?,?,?,?,?,?)",
                ("notifications", f"msg_{number}", 25, 10**12, 10**12, b'{"provider":"nobody","id":"%d"}' % number),
            )  # fmt: skip
        database.commit()
    admin.go("/queues/notifications?q=nobody")
    assert admin.page.locator("tbody tr").count() == 2
    assert admin.violations() == []
    admin.page.click("text=Once more >> nth=0")
    assert "1 given another chance" in admin.text()
    admin.page.fill("main [name=q]", '"id": "1"')
    admin.page.click("main >> text=Search")
    admin.page.click("text=another chance >> nth=0")
    assert "1 given another chance" in admin.text()
    clean(admin)


def test_webhook_is_sent_once_more_from_its_list_and_from_its_payment(admin, place):
    post(place, "/v1/webhook_endpoints", {"url": "http://127.0.0.1:9/hook", "events": ["*"]})
    payment = pay(place, amount=778)
    for _ in range(80):
        admin.go("/webhooks?merchant=ten_local")
        if admin.page.locator("text=Send once more").count():
            break
        admin.page.wait_for_timeout(250)
    admin.refused_is_wrong = False
    admin.page.click("text=Send once more >> nth=0")
    admin.page.wait_for_load_state()
    admin.go(f"/payments/{payment}")
    admin.page.click("text=Send once more >> nth=0")
    admin.page.wait_for_load_state()
    admin.refused_is_wrong = True
    clean(admin)


def test_payment_that_waits_is_looked_into_now(admin, place):
    payment = pay(place, payment_method={"type": "card", "token": "tok_pending"})
    for _ in range(40):
        admin.refused_is_wrong = False
        admin.go(f"/payments/{payment}")
        if admin.page.locator("text=Look into it now").count():
            break
        admin.page.wait_for_timeout(100)
    admin.refused_is_wrong = True
    admin.page.click("text=Look into it now")
    assert "Its provider was asked" in admin.text()
    clean(admin)


def found(place: Desk, payment: str, kind: Kind) -> Finding:
    """Have something found of a payment that no look at the payment itself ends."""
    subject, about = ("simulator/ch_1", "ch_1/amount_mismatch") if kind is Kind.DRIFT else (payment, BOOKS)
    finding = Finding(
        kind=kind, subject=subject, about=about, payment=payment, merchant="ten_local", amount=2_099, currency="EUR",
        since=int(time.time() * 1000), seen="evt_1", detail="amount mismatch: 1999 EUR here, 2099 EUR there",
        codes=("journal_orphan",), provider="simulator",
    )  # fmt: skip

    async def write() -> None:
        async with opened(replace(Settings(), data=str(place.data))) as platform:
            await platform.storage.store.commit([open_write(finding)])

    with ThreadPoolExecutor() as beside:  # the browser's own loop runs in this thread
        beside.submit(lambda: asyncio.run(write())).result()
    return finding


def test_providers_contradiction_is_found_at_its_payment_and_explained(admin, place):
    payment = pay(place)
    found(place, payment, Kind.DRIFT)
    admin.go("/risk?kind=provider_drift")
    admin.page.click("td >> text=provider drift")
    admin.page.wait_for_url("**/risk/findings/fnd_*")
    assert "2099 EUR there" in admin.text()
    admin.picture("finding-wide-light")
    assert admin.violations() == []
    admin.page.fill("[name=reason]", "their test charge, taken back there")
    admin.page.click("text=Mark as explained")
    assert "Explained, and off the list" in admin.text()
    assert payment not in admin.text()
    clean(admin)


def test_books_that_differ_are_shown_and_cannot_be_closed(admin, place):
    payment = pay(place)
    finding = found(place, payment, Kind.NOT_POSTED)
    admin.go(f"/risk/findings/{finding.id}")
    assert "Nobody can close it by hand" in admin.text()
    assert admin.page.query_selector("main form") is None
    assert admin.violations() == []
    admin.page.click("text=What to do")
    assert "ledger verify" in admin.text()
    clean(admin)


def test_objectives_with_a_mistake_are_refused_with_the_line_and_the_old_ones_stay(admin):
    admin.go("/objectives/file")
    text = admin.page.input_value("[name=text]")
    admin.refused_is_wrong = False
    admin.page.fill("[name=text]", text.replace("target: 0.995", "target: 1.995", 1))
    admin.page.click("text=Use this")
    assert re.search(r"line \d+", admin.text())
    assert "Nothing was changed" in admin.text()
    admin.refused_is_wrong = True
    admin.go("/objectives/file")
    assert admin.page.input_value("[name=text]") == text
    admin.page.fill("[name=text]", text.replace("target: 0.995", "target: 0.99", 1))
    admin.page.click("text=Use this")
    assert "is in use" in admin.text()
    clean(admin)


def test_source_is_added_its_alert_is_taken_assigned_and_resolved(admin, place):
    admin.go("/alert-sources")
    admin.page.fill("[name=id]", "watch")
    admin.page.fill("[name=name]", "Our Alertmanager")
    admin.page.click("text=Add >> nth=-1")
    token = admin.page.inner_text(".copy")
    alert = {
        "status": "firing",
        "labels": {"alertname": "SuccessBurn", "provider": "simulator_b", "severity": "critical"},
        "annotations": {"summary": "simulator_b burns its budget"},
        "startsAt": "2026-11-27T08:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": "bc14aff99f9a8fff",
    }
    body = {
        "receiver": "desk", "status": "firing", "alerts": [alert], "groupLabels": {}, "commonLabels": {},
        "commonAnnotations": {}, "externalURL": "http://vm:9093", "version": "4", "groupKey": "{}", "truncatedAlerts": 0,
    }  # fmt: skip
    assert post(place, "/v1/alerts/in/watch", body, Authorization=f"Bearer {token}")["received"] == 1
    admin.go("/alerts")
    admin.picture("alerts-open-wide-light")
    admin.page.click("text=SuccessBurn")
    assert admin.violations() == []
    admin.page.click("text=Acknowledge >> nth=0")
    admin.page.click("text=I take it")
    admin.picture("alert-wide-light")
    admin.page.fill("[name=note]", "the provider is well again")
    admin.page.click("button:has-text('Resolve')")
    assert "resolved" in admin.page.inner_text("h1")
    assert "the provider is well again" in admin.text()
    admin.go("/alert-sources")
    admin.page.click("text=Delete")
    assert "Nothing is taken from it any more" in admin.text()
    clean(admin)


def test_rules_are_tried_before_they_are_used(admin):
    admin.go("/alert-rules")
    admin.page.click("text=Try on the last day")
    assert "What would have become of" in admin.text()
    admin.page.click("text=Use these")
    assert "act from now on" in admin.text()
    admin.refused_is_wrong = False
    admin.page.fill("[name=rules]", "[{]")
    admin.page.click("text=Use these")
    assert "Nothing was changed" in admin.text()
    admin.refused_is_wrong = True
    clean(admin)


def test_question_from_the_library_is_answered_kept_and_deleted(admin):
    admin.go("/sql?name=success_by_provider_hour")
    admin.page.click("text=Run >> nth=-1")
    admin.page.wait_for_selector("table", timeout=60_000)
    assert "simulator_b" in admin.text()
    admin.picture("sql-wide-light")
    assert admin.violations() == []
    admin.page.click("text=Keep this question")
    admin.page.fill("[name=name] >> nth=-1", "mine")
    admin.page.fill("[name=question]", "how it goes")
    admin.page.click("button:has-text('Keep')")
    assert "Kept, for everybody" in admin.text()
    admin.page.click("text=Delete mine")
    assert "Deleted" in admin.text()
    admin.go("/sql")
    admin.page.fill("[name=sql]", "SELECT * FROM read_csv('/etc/passwd')")
    admin.page.click("text=Run >> nth=-1")
    assert "root:" not in admin.text()
    assert admin.page.locator(".warn").count() == 1
    clean(admin)


def test_somebody_is_shut_out_and_their_session_is_over(admin, place, browser):
    admin.go("/people")
    admin.page.fill("[name=name]", "mallory")
    admin.page.fill("[name=password]", PASSWORD)
    admin.page.select_option("[name=role]", "viewer")
    admin.page.click("text=Add >> nth=-1")
    viewer = signed_in(place, browser, "mallory", PASSWORD)
    viewer.go("/payments")
    assert "•••" in viewer.text()
    assert viewer.page.query_selector("text=Audit trail") is None
    viewer.refused_is_wrong = False
    viewer.go("/audit")
    assert "needs the role lead" in viewer.text()
    admin.go("/people")
    admin.page.click("tr:has-text('mallory') >> text=Shut out")
    assert "may not sign in any more" in admin.text()
    viewer.go("/payments")
    assert "/sign-in" in viewer.page.url
    clean(admin)


def test_proof_is_asked_for_when_it_is_old(admin, place):
    admin.go("/prove?to=/console/people")
    admin.page.fill("[name=password]", place.password)
    admin.page.click("text=Go on")
    assert "Proved" in admin.text()
    assert admin.page.url.endswith("/console/people")
    clean(admin)


def test_every_action_there_is_was_done():
    actions = {page.path for page in described_pages() if page.method == "POST"}
    done = {
        action for action in actions if any(re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", action), path) for path in DONE)
    }
    assert actions - done == set()
