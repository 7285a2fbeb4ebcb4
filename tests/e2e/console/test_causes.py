"""An issuer says no at one provider, among all the others: causes name both, in the browser, over HTTP and on the command line."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from interlock.simulator.cards import CARDS
from tests.e2e.console.browsing import Desk, Tab, chromium, desk
from tests.entrypoints.api.real import RealPlatform

pytestmark = pytest.mark.xdist_group("console-causes")
BROKEN, AT = "497010", "simulator_b"
PAYMENTS, AT_ONCE = 300, 20


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A sample day, and then an issuer that fails."""
    with desk(tmp_path_factory.mktemp("causes")) as running:
        platform = RealPlatform(running.data, running.ready)
        plan = json.dumps({"refusals": [{"bin": BROKEN, "declined": 0.9}]}).encode()
        urllib.request.urlopen(
            urllib.request.Request(f"{platform.simulator_url}/{AT}/faults", plan, method="PUT"), timeout=10
        )
        asyncio.run(trade(platform))
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


async def trade(platform: RealPlatform) -> None:
    """Sales with any card at any provider, until the desk has heard of all of them."""
    chance, turns = random.Random(5), asyncio.Semaphore(AT_ONCE)
    cards = [*CARDS, *[BROKEN] * 4]

    async def one() -> None:
        sale = {
            "amount": 1000,
            "currency": "EUR",
            "payment_method": {"type": "card", "token": f"tok_approve-card-{chance.choice(cards)}"},
            "routing": {"provider": chance.choice(platform.providers)},
        }
        async with turns:
            answer = await platform.ask("POST", "/v1/payments", sale)
        assert answer.status == 201, answer

    await asyncio.gather(*(one() for _ in range(PAYMENTS)))
    async with asyncio.timeout(60):
        while (await causes(platform))["drop"]["now_total"] < PAYMENTS:
            await asyncio.sleep(0.2)


async def causes(platform: RealPlatform) -> Any:
    answer = await platform.ask("GET", "/v1/desk/causes", key=None)
    assert answer.status == 200, answer
    return answer.json


def names_it(where: dict[str, str]) -> bool:
    """The error with which the issuer says no may be told with it, and nothing else."""
    return {("bin", BROKEN), ("provider", AT)} <= where.items() <= {
        ("bin", BROKEN), ("provider", AT), ("error", "issuer_unavailable")
    }  # fmt: skip


def test_issuer_that_fails_at_one_provider_is_named_over_http(place):
    platform = RealPlatform(place.data, place.ready)
    found = asyncio.run(causes(platform))
    assert found["verdict"] == "drop", found
    first = found["causes"][0]
    assert names_it(first["where"]), found
    assert first["share"] > 0.5 and first["evidence"]["before_total"] > 0 and not first["alternative"]


def test_issuer_that_fails_at_one_provider_is_named_in_the_browser_and_leads_to_what_it_touched(place, browser):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = Tab(context, place)
    tab.sign_in()
    tab.go("/causes?window=3h")
    row = tab.page.locator("tbody tr").first
    assert {f"bin={BROKEN}", f"provider={AT}"} <= set(row.locator(".tag").all_inner_texts())
    assert tab.violations() == []
    row.get_by_role("link", name="what it touched").click()
    tab.page.wait_for_load_state()
    assert tab.page.input_value("[name=bin]") == BROKEN
    assert tab.page.input_value("[name=provider]") == AT
    assert tab.wrong == [] and tab.violations() == []
    context.close()


def test_issuer_that_fails_at_one_provider_is_named_on_the_command_line(place):
    command = [sys.executable, "-m", "interlock.entrypoints.cli", "desk", "causes", "--data", str(place.data), "--json"]
    found = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout)
    assert found["verdict"] == "drop" and names_it(found["causes"][0]["where"]), found
