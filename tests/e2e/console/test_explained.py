"""Two hundred payments of every kind, explained on their pages and as JSON: nothing missing against the store, nothing secret."""

from __future__ import annotations

import asyncio
import http.cookiejar
import re
import urllib.parse
import urllib.request
from collections.abc import Collection, Iterator
from html import unescape
from typing import Any

import msgspec
import pytest

from interlock.bootstrap import open_platform, open_storage
from interlock.config import Settings
from interlock.core.desk.figures.model import DESK, PAYMENTS, decode_row
from interlock.core.payments.events import decode_facts
from interlock.core.payments.handlers import load_payment
from interlock.core.webhooks.listing import deliveries_of
from tests.e2e.console.browsing import Desk, desk

pytestmark = pytest.mark.xdist_group("console-explained")
NUMBER = 200
PASSES = 6
"""The platform goes on while it is read: what moved meanwhile is read once more."""
CARD = re.compile(r"(?<![\d.\w-])(?:\d[ -]?){12,18}\d(?![\d.\w-])")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("explained")) as running:
        yield running


class Reader:
    """Somebody signed in, without a browser."""

    def __init__(self, place: Desk) -> None:
        self._place = place
        self._open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())).open
        form = urllib.parse.urlencode({"name": place.user, "password": place.password}).encode()
        self._open(f"{place.console_url}/sign-in", form, timeout=20).read()

    def read(self, path: str) -> str:
        with self._open(f"{self._place.console_url}{path}", timeout=20) as answer:
            return str(answer.read().decode())


def luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def secrets_in(text: str, known: list[str], ids: frozenset[str] = frozenset()) -> list[str]:
    """Card numbers that are none of `ids`, card tokens, and whatever of `known` is in a text."""
    cards = [one for one in CARD.findall(text) if one[0] in "23456" and luhn(re.sub(r"\D", "", one))]  # not a time
    cards = [one for one in cards if one not in ids]
    tokens = re.findall(r"\btok_\w+|\bics_[\w-]+|\bwhsec_[\w+/=]+|Bearer [\w.-]{20,}", text)
    return [*cards, *tokens, *(secret for secret in known if secret in text)]


Stored = dict[str, Any]
"""What of a payment stands in the store."""


async def stored(place: Desk, only: Collection[str] = ()) -> dict[str, Stored]:
    """What stands of each payment, or of `only` these, read as the platform's tools read it."""
    settings = Settings(data=str(place.data))
    with open("/dev/null", "wb") as nowhere:
        storage = open_storage(settings, log=nowhere, shared=True)
        platform = await open_platform(settings, storage, issuer="http://127.0.0.1")
        try:
            rows = [
                decode_row(one.body) for one in await storage.documents.find(PAYMENTS.name, tenant=DESK, limit=1000)
            ]
            kinds: dict[tuple[str, int], list[object]] = {}
            for row in rows:
                kinds.setdefault((row.status, row.attempts), []).append(row)
            chosen = [row for round_ in range(NUMBER) for ones in kinds.values() for row in ones[round_ : round_ + 1]]
            found = {}
            for row in [one for one in rows if one.id in only] if only else chosen[:NUMBER]:
                history = await storage.store.history(row.id)
                facts = [decode_facts(event.facts) for event in history]
                payment = (await load_payment(platform.payments, row.merchant, row.id)).payment
                deliveries = await deliveries_of(platform.webhooks, row.merchant, row.id)
                found[row.id] = {
                    "events": [event.type for event in history],
                    "exchanges": [(one.method, one.url, one.status) for fact in facts for one in fact.exchanges],
                    "journals": sum(bool(bytes(fact.journal)) for fact in facts),
                    "routes": [fact.route for fact in facts if fact.route],
                    "requests": [fact.request_id for fact in facts if fact.request_id],
                    "attempts": [one.id for one in payment.attempts],
                    "state": payment.state.value,
                    "deliveries": len(deliveries),
                }
            return found
        finally:
            await platform.close()


def missing_of(there: Stored, page: str, raw: str) -> list[str]:
    """What is in the store and not in what the desk tells."""
    story = msgspec.json.decode(raw)
    entries = story["entries"]
    missing = []
    if [one.get("event") for one in entries if one["kind"] == "event"] != there["events"]:
        missing.append("events in JSON")
    shown = [
        (one["exchange"]["method"], one["exchange"]["url"], one["exchange"].get("status"))
        for one in entries
        if one["kind"] == "exchange"
    ]
    if sorted(shown, key=str) != sorted(there["exchanges"], key=str):
        missing.append("exchanges in JSON")
    if sum(one["kind"] == "journal" for one in entries) != there["journals"]:
        missing.append("journals in JSON")
    if sum(one["kind"] == "delivery" for one in entries) != there["deliveries"]:
        missing.append("deliveries in JSON")
    if story["state"] != there["state"] or not story["why"]:
        missing.append("state in JSON")
    missing += [f"{event} on the page" for event in there["events"] if event not in page]
    missing += [f"{route} on the page" for route in there["routes"] if f"Routed to {route}" not in page]
    missing += [f"{one} on the page" for one in (*there["requests"], *there["attempts"]) if one not in page]
    missing += [f"{url} on the page" for _, url, _ in there["exchanges"] if url not in page]
    return missing


@pytest.mark.timeout(300)
def test_two_hundred_payments_are_explained_with_nothing_missing_and_nothing_secret(place):
    reader = Reader(place)
    known = [place.ready["client_secret"], place.ready["webhook_secret"], place.password]
    before = asyncio.run(stored(place))
    assert len(before) == NUMBER
    assert len({(tuple(there["events"]), there["state"]) for there in before.values()}) >= 6, "payments of many kinds"
    wrong: dict[str, list[str]] = {}
    seen_spans: set[str] = set()
    explained = 0
    for _ in range(PASSES):
        told = {
            payment: (
                unescape(reader.read(f"/payments/{payment}?show=observations")),
                reader.read(f"/payments/{payment}/json"),
            )
            for payment in before
        }
        after = asyncio.run(stored(place, before))
        for payment, (page, raw) in told.items():
            # One span in some thousands has sixteen decimal digits, and one in ten of these looks like a card's number.
            spans = frozenset(re.findall(r'"(?:span|parent)": ?"([0-9a-f]{16})"', raw))
            seen_spans |= spans
            found = [f"secret: {one}" for text in (page, raw) for one in secrets_in(text, known, spans)]
            if after[payment] == before[payment]:
                explained += 1
                found += missing_of(before[payment], page, raw)
            if found:
                wrong[payment] = found
        before = {payment: there for payment, there in after.items() if there != before[payment]}
        if not before:
            break
    assert wrong == {}
    assert explained == NUMBER, f"{sorted(before)} moved whenever they were read"
    assert seen_spans, "no payment tells its spans"


def test_secrets_would_be_found_if_they_were_there():
    assert secrets_in("card 4242 4242 4242 4242 was used", []) == ["4242 4242 4242 4242"]
    assert secrets_in("4000000000000002", []) == ["4000000000000002"]
    assert secrets_in("4000000000000002 4242424242424242", [], frozenset({"4000000000000002"})) == ["4242424242424242"]
    assert secrets_in("tok_approve and hunter2", ["hunter2"]) == ["tok_approve", "hunter2"]
    assert secrets_in("pay_01m8bxmw44kkwk44k1efzqrhkx 2026-11-27 08:09:58.158 1234567890123456", []) == []
