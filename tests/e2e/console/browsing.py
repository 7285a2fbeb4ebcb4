"""A real Chromium at a real platform, filled with its sample day."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright

from tests.counterparts.paths import require

ROOT = Path(__file__).parents[3]
START_S = 90.0
STOP_S = 15.0
PICTURES = os.environ.get("PICTURES_OF_CONSOLE", "")
"""A folder that gets a picture of each page."""
PICTURE_TRIES = 3
"""On a busy machine Chromium now and then has no frame to give."""


KEPT = frozenset(
    {
        *("overview-wide-light", "overview-wide-dark", "overview-phone-light", "payment-wide-light"),
        "payment-observed-wide-light",
        *("alerts-open-wide-light", "alert-wide-light", "causes-wide-light", "blast-wide-light", "risk-wide-light"),
        *(
            "repair-preview-wide-light",
            "repair-wide-light",
            "replay-events-preview-wide-light",
            "replay-wide-light",
            "provider-wide-light",
            "objective-wide-light",
        ),
        *("sql-wide-light", "queues-wide-light", "people-wide-light", "audit-wide-light", "payments-phone-dark"),
    }
)
"""Pictures that documents show."""


class Desk:
    """The platform's console, as its ready file says how to reach it."""

    def __init__(self, data: Path, ready: dict[str, Any]) -> None:
        self.data = data
        self.base_url: str = ready["base_url"]
        self.console_url: str = ready["console_url"]
        self.user: str = ready["console_user"]
        self.password: str = ready["console_password"]
        self.ready = ready


@contextmanager
def desk(folder: Path, *options: str, settings: Mapping[str, str] | None = None) -> Iterator[Desk]:
    """`interlock up` with its sample day, unless `options` say otherwise; `settings` are variables of its environment."""
    ready_file = folder / "ready.json"
    data = folder / "data"
    command = [sys.executable, "-m", "interlock.entrypoints.cli", "up", "--data", str(data), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--ready-file", str(ready_file), *options],
        stdout=subprocess.DEVNULL,
        stderr=(folder / "stderr").open("wb"),
        env={**os.environ, **(settings or {})},
    )
    try:
        until = time.monotonic() + START_S
        while not ready_file.exists():
            assert process.poll() is None, (folder / "stderr").read_text()
            assert time.monotonic() < until, "the platform does not get ready"
            time.sleep(0.05)
        yield Desk(data, json.loads(ready_file.read_text()))
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def chromium() -> Iterator[Browser]:
    program = require("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(program), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A page that remembers whatever went wrong on it."""

    def __init__(self, context: BrowserContext, desk: Desk) -> None:
        self.page: Page = context.new_page()
        self.desk = desk
        self.wrong: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("response", self._answered)
        self.refused_is_wrong = True

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.wrong.append(f"console: {message.text}")

    def _answered(self, response: Any) -> None:
        if response.status >= 400 and self.refused_is_wrong:
            self.wrong.append(f"{response.status} from {response.url}")

    def sign_in(self, name: str = "", password: str = "") -> None:
        self.go("")
        self.page.fill("[name=name]", name or self.desk.user)
        self.page.fill("[name=password]", password or self.desk.password)
        self.page.click("main form button")
        self.page.wait_for_selector("nav.side")

    def go(self, path: str) -> None:
        self.page.goto(f"{self.desk.console_url}{path}", wait_until="load")

    def text(self) -> str:
        self._whole()
        return self.page.inner_text("main")

    def _whole(self) -> None:
        """A click ends when the next page begins to come."""
        self.page.wait_for_load_state("load")

    def confirm_all(self) -> None:
        self.page.on("dialog", lambda dialog: dialog.accept())

    def violations(self) -> list[str]:
        """What axe finds: rule, and where."""
        self._whole()
        self.page.evaluate(require("axe").read_text())
        found = self.page.evaluate(
            "axe.run(document, {runOnly: ['wcag2a','wcag2aa','wcag21a','wcag21aa','wcag22aa','best-practice']})"
            ".then(r => r.violations.map(v => v.id + ': ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 140)).join(' | ')))"
        )
        return list(found)

    def picture(self, name: str) -> None:
        if PICTURES and name in KEPT:
            self._whole()
            Path(PICTURES).mkdir(parents=True, exist_ok=True)
            for tries_left in reversed(range(PICTURE_TRIES)):
                try:
                    self.page.screenshot(path=str(Path(PICTURES) / f"{name}.png"))
                    return
                except Error:
                    if not tries_left:
                        raise
