"""Open pages that cannot have a stream bring themselves up to date by looks, in a real browser."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from interlock.core.desk.figures.model import ATTEMPTS, DESK
from interlock.core.desk.operators.handlers import add_operator
from interlock.core.desk.operators.roles import Role
from interlock.core.kernel.documents import Document
from interlock.entrypoints.console.console import Front, console
from interlock.entrypoints.http.api import api
from interlock.entrypoints.http.server import HttpServer, reserve
from tests.e2e.console.browsing import Desk, Tab, chromium
from tests.running import RunningPlatform, running

pytestmark = pytest.mark.xdist_group("console-looks")
PASSWORD = "correct horse battery"
LOOK_MS = 15_000
HIDDEN = "Object.defineProperty(document, 'hidden', {configurable: true, get: () => window.isUnseen === true})"


class Place(Desk):
    """A desk in a thread of this process, with its own loop."""

    def __init__(self, folder: Path, node: RunningPlatform, port: int, loop: asyncio.AbstractEventLoop) -> None:
        url = f"http://127.0.0.1:{port}"
        ready = {"base_url": url, "console_url": f"{url}/console", "console_user": "ada", "console_password": PASSWORD}
        super().__init__(folder, ready)
        self._node, self._loop = node, loop

    def count_an_attempt(self) -> None:
        """What the desk's consumer does when one has ended."""
        documents = self._node.platform.storage.documents
        row = Document("att_" + "z" * 26, DESK, 1, {"provider": "acme"}, b"{}")
        asyncio.run_coroutine_threadsafe(documents.upsert(ATTEMPTS.name, [row]), self._loop).result(20)


@contextmanager
def served(folder: Path, *, streams: bool) -> Iterator[Place]:
    made: list[Place] = []
    ready, ends = threading.Event(), threading.Event()

    async def serve() -> None:
        async with running(folder) as node:
            operators = node.platform.desk.operators
            await add_operator(operators, name="ada", role=Role.ADMIN, password=PASSWORD, actor="test")
            address = reserve("127.0.0.1")
            port = address.getsockname()[1]
            platform = node.platform._replace(issuer=f"http://127.0.0.1:{port}")
            front = Front(api(platform), console(platform, streams=streams))
            async with HttpServer(front, reserved=address):
                made.append(Place(folder, node, port, asyncio.get_running_loop()))
                ready.set()
                await asyncio.to_thread(ends.wait)
                front.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(30)
        yield made[0]
    finally:
        ends.set()
        thread.join(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running_browser:
        yield running_browser


def opened(place: Place, browser: Browser, **routes: Any) -> tuple[Tab, list[str]]:
    """The overview, on a clock that only the test moves, and the addresses its scripts ask for."""
    tab = Tab(browser.new_context(), place)
    tab.sign_in()
    for path, answer in routes.items():
        tab.page.route(f"**/console/{path}", answer)
    tab.page.add_init_script(HIDDEN)
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url.partition("/console")[2]))
    tab.page.clock.install()
    tab.go("")
    return tab, asked


def test_page_that_is_told_not_to_stream_shows_what_happened_after_its_next_look(tmp_path, browser):
    with served(tmp_path, streams=False) as place:
        tab, asked = opened(place, browser)
        tab.page.wait_for_load_state("networkidle")
        with tab.page.expect_response("**/live/marks"):
            tab.page.clock.fast_forward(LOOK_MS)
        place.count_an_attempt()
        assert [one for one in asked if one.startswith("/parts/")] == [], "nothing had happened"
        with tab.page.expect_response("**/parts/overview*"):
            tab.page.clock.fast_forward(LOOK_MS)
        assert "/live" not in asked
        assert tab.wrong == []
        tab.page.context.close()


def test_page_whose_stream_is_refused_looks_instead(tmp_path, browser):
    with served(tmp_path, streams=True) as place:
        tab, asked = opened(place, browser, live=lambda route: route.fulfill(status=503))
        tab.page.wait_for_load_state("networkidle")
        place.count_an_attempt()
        with tab.page.expect_response("**/parts/overview*"):
            tab.page.clock.fast_forward(LOOK_MS)
        assert "/live" in asked
        tab.page.context.close()


def test_page_that_nobody_sees_does_not_look_until_somebody_does(tmp_path, browser):
    with served(tmp_path, streams=False) as place:
        tab, asked = opened(place, browser)
        tab.page.wait_for_load_state("networkidle")
        tab.page.evaluate("window.isUnseen = true")
        tab.page.clock.fast_forward(10 * LOOK_MS)
        tab.page.wait_for_load_state("networkidle")
        assert asked.count("/live/marks") == 1
        with tab.page.expect_response("**/live/marks"):
            tab.page.evaluate("window.isUnseen = false; document.dispatchEvent(new Event('visibilitychange'))")
        tab.page.context.close()


def test_what_happened_unseen_is_shown_when_somebody_looks_again(tmp_path, browser):
    with served(tmp_path, streams=False) as place:
        tab, asked = opened(place, browser)
        tab.page.wait_for_load_state("networkidle")
        place.count_an_attempt()
        tab.page.evaluate("document.querySelector('#live').insertAdjacentHTML('afterbegin', '<input id=note>')")
        tab.page.focus("#note")
        tab.page.clock.fast_forward(LOOK_MS)
        tab.page.wait_for_load_state("networkidle")
        assert [one for one in asked if one.startswith("/parts/")] == [], "what is being filled in is left alone"
        with tab.page.expect_response("**/parts/overview*"):
            tab.page.evaluate("document.activeElement.blur()")
            tab.page.clock.run_for(10)
        tab.page.context.close()


def test_page_of_somebody_who_signed_out_elsewhere_stops_looking(tmp_path, browser):
    with served(tmp_path, streams=False) as place:
        tab, asked = opened(place, browser)
        tab.page.wait_for_load_state("networkidle")
        tab.page.context.clear_cookies()
        with tab.page.expect_response(lambda answer: "/sign-in" in answer.url):
            tab.page.clock.fast_forward(LOOK_MS)
        tab.page.clock.fast_forward(10 * LOOK_MS)
        tab.page.wait_for_load_state("networkidle")
        assert asked.count("/live/marks") == 2
        tab.page.context.close()
