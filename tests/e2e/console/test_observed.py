"""Log lines and spans on a payment's page, shown and hidden, at both widths and in light and dark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.e2e.console.browsing import Desk, Tab, chromium, desk
from tests.e2e.console.test_actions import clean, pay
from tests.e2e.console.test_pages import BYTES_MAX, WIDTHS

pytestmark = pytest.mark.xdist_group("console-observed")
SHOW = "text=/^Show log lines and spans/"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("observed"), "--empty") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def tab_at(place: Desk, browser: Browser, width: str = "wide", scheme: str = "light") -> Tab:
    tab = Tab(browser.new_context(viewport={"width": WIDTHS[width], "height": 900}, color_scheme=scheme), place)
    tab.sign_in()
    return tab


def go_to_observed(tab: Tab, payment: str) -> None:
    """A moment after the payment: its row and its lines are written beside it, by a consumer each."""
    tab.refused_is_wrong = False
    for _ in range(80):
        tab.go(f"/payments/{payment}?show=observations")
        if tab.page.locator(".entry.line", has_text="payment.succeeded").count():
            break
        tab.page.wait_for_timeout(100)
    tab.refused_is_wrong = True
    tab.go(f"/payments/{payment}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_lines_and_a_waterfall_are_shown_filtered_and_hidden(place, browser, width, scheme):
    tab = tab_at(place, browser, width, scheme)
    go_to_observed(tab, pay(place))
    assert tab.page.locator(".entry.line, .entry.trace").count() == 0
    tab.page.click(SHOW)
    tab.page.wait_for_selector(".entry.trace")
    lines, waterfall = tab.page.locator(".entry.line"), tab.page.locator(".entry.trace .waterfall").first
    assert "payment.succeeded" in "".join(lines.all_inner_texts())
    assert "provider.call" in waterfall.inner_text()
    bars = [bar.bounding_box()["width"] for bar in waterfall.locator("rect").all()]
    assert len(bars) >= 2 and bars[0] == max(bars) and min(bars) > 0
    assert "tok_approve" not in tab.page.content()
    tab.picture(f"payment-observed-{width}-{scheme}")
    tab.page.evaluate("scrollTo(0, 0)")  # at #timeline the bar above covers half a link of the menu beside it
    assert tab.violations() == []
    assert tab.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    assert len(tab.page.content()) < BYTES_MAX
    tab.page.uncheck("[data-kind=line] >> nth=0")
    assert not lines.first.is_visible() and tab.page.locator(".entry.event").first.is_visible()
    tab.page.click("text=Hide log lines and spans")
    tab.page.wait_for_selector(SHOW)
    assert tab.page.locator(".entry.line, .entry.trace").count() == 0
    clean(tab)


def test_page_is_whole_where_lines_cannot_be_read_and_says_so(place, browser):
    tab = tab_at(place, browser)
    payment = pay(place)
    go_to_observed(tab, payment)
    entries = tab.page.locator(".entry").count()
    file, aside = place.data / "observations.db", place.data / "observations.db.aside"
    file.rename(aside)
    file.mkdir()
    try:
        tab.go(f"/payments/{payment}")
        assert "Log lines could not be read." in tab.text()
        assert tab.page.locator(".entry").count() == entries
        tab.go(f"/payments/{payment}?show=observations")
        assert "Log lines could not be read. Everything else is here." in tab.text()
        assert tab.page.locator(".entry").count() == entries
        assert tab.violations() == []
    finally:
        file.rmdir()
        aside.rename(file)
    clean(tab)
