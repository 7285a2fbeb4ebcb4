"""Every page of the console in a real browser, in light and dark, wide and narrow: no error, nothing that people cannot use."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from interlock.entrypoints.console.console import described_pages
from tests.e2e.console.browsing import Desk, Tab, chromium, desk

pytestmark = pytest.mark.xdist_group("console-pages")
WIDTHS = {"wide": 1280, "phone": 390}
BYTES_MAX = 300_000
PAGES = {
    "overview": "",
    "overview-week": "?range=7d",
    "alerts": "/alerts",
    "alert-rules": "/alert-rules",
    "alert-sources": "/alert-sources",
    "risk": "/risk",
    "risk-uncertain": "/risk?kind=uncertain",
    "repairs": "/repairs",
    "repair-new": "/repairs/new",
    "repair-preview": "/repairs/new?action=refund&provider=simulator_b&from=2026-01-01T00:00",
    "replays": "/replays",
    "replay-new": "/replays/new",
    "replay-preview": "/replays/new?kind=webhooks&rate=10",
    "replay-events": "/replays/new?kind=events",
    "replay-events-preview": "/replays/new?kind=events&group=desk&from=2026-01-01T00:00&type=payment.succeeded&rate=50",
    "replay-letters": "/replays/new?kind=dead_letters&queue=webhooks&rate=5",
    "objectives": "/objectives",
    "objective": "/objectives/payments-availability",
    "objectives-file": "/objectives/file",
    "sla-report": "/objectives/report",
    "payments": "/payments",
    "payments-failed": "/payments?status=failed",
    "search-nothing": "/search?q=nobody-knows",
    "search-several": "/search?q=mer",
    "runbook": "/operations/slo-burn-page",
    "causes": "/causes",
    "causes-day": "/causes?window=24h",
    "sql": "/sql",
    "sql-library": "/sql?name=success_by_provider_hour",
    "blast": "/blast?from=2026-01-01T00:00&provider=simulator_b",
    "providers": "/providers",
    "provider": "/providers/simulator_b",
    "webhooks": "/webhooks",
    "queues": "/queues",
    "queue": "/queues/webhooks",
    "ledger": "/ledger",
    "people": "/people",
    "audit": "/audit?verify=yes",
    "prove": "/prove",
}
UNSEEN = {"/live", "/live/marks", "/static/{name}", "/parts/overview", "/sign-in"}
"""Not pages, or seen on the way to all others."""
AT_AN_ISSUER = {"/sign-in/issuer", "/sign-in/callback", "/prove/issuer"}
"""Ways to an issuer and back: test_sign_in_at_issuer.py goes them."""
DOWNLOADS = {"/objectives/rules", "/payments/{payment}/json", "/payments/{payment}/reproduction"}
BY_A_LINK = {
    "/payments/{payment}",
    "/alerts/{alert}",
    "/repairs/{repair}",
    "/replays/{replay}",
    "/risk/findings/{finding}",
}
"""Pages of one thing: visited by the tests of actions, which make the things."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def test_every_page_there_is_has_its_visit():
    shown = {page.path for page in described_pages() if page.method == "GET"}
    visited = {re.sub(r"\?.*", "", path) or "/" for path in PAGES.values()}
    covered = {
        path
        for path in shown
        if path in visited or any(re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), one) for one in visited)
    }
    assert shown - covered - UNSEEN - AT_AN_ISSUER - DOWNLOADS - BY_A_LINK == set()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_pages_are_free_of_errors_and_usable_by_everybody(place, browser, width, scheme):
    context = browser.new_context(viewport={"width": WIDTHS[width], "height": 900}, color_scheme=scheme)
    tab = Tab(context, place)
    found: dict[str, list[str]] = {}
    tab.go("")
    found["sign-in"] = tab.violations()
    tab.picture(f"sign-in-{width}-{scheme}")
    tab.sign_in()
    for name, path in PAGES.items():
        tab.go(path)
        tab.page.wait_for_timeout(50)
        wrong = tab.violations()
        wide = tab.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            wrong.append(f"the page is {wide} px wider than the window")
        size = len(tab.page.content())
        if size > BYTES_MAX:
            wrong.append(f"{size} bytes")
        tab.picture(f"{name}-{width}-{scheme}")
        found[name] = wrong
    context.close()
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
    assert tab.wrong == []
