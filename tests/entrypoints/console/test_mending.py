"""Repairs, looks and second chances as the console asks for them: what a page showed is done, and what it left out is said."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

import pytest
from msgspec.structs import replace

from interlock.core.access.audit import list_audit
from interlock.core.desk.bulk.states import Stage
from interlock.core.desk.explain.search import find_row
from interlock.core.desk.figures.model import DESK, PAYMENTS, encode_row
from interlock.core.desk.repair.handlers import decide_repair
from interlock.core.desk.repair.model import ITEMS_MAX, Became
from interlock.core.desk.repair.records import list_repairs, load_page, load_repair
from interlock.core.desk.slo import handlers
from interlock.core.kernel.clock import utc_day
from interlock.core.kernel.documents import Document
from interlock.core.kernel.errors import StoreUnavailable
from interlock.core.payments.sweeping import Looked
from interlock.entrypoints.console import choosing, queue_pages
from interlock.entrypoints.console.pages import FIELD_CHARS_MAX
from interlock.entrypoints.console.payment_pages import said_of
from tests.core.payments.aggregates import Numbered, succeeded
from tests.entrypoints.console.test_console import at_desk

DEFAULT = Path(handlers.__file__).with_name("default.openslo.yaml")
UNKNOWN = "pay_" + "0" * 26


async def payments(node, number: int) -> list[str]:
    """So many payments that wait for their confirmation, and that the desk knows."""
    made = []
    for count in range(number):
        body = {"amount": 100, "currency": "EUR", "confirm": False}
        status, payment = await node.ask("POST", "/v1/payments", body, key=f"k{count}")
        assert status == 201, payment
        made.append(payment["id"])
    async with asyncio.timeout(20):
        for payment in made:
            while await find_row(node.platform.storage.documents, payment) is None:
                await asyncio.sleep(0.02)
    return made


async def lead(browser):
    made = browser()
    await made.sign_in("lead")
    return made


def tokens(page: str) -> list[str]:
    return re.search(r'name="payments" value="([^"]*)"', page)[1].split()


async def told(node, tenant: str) -> list[tuple[str, str, dict]]:
    storage = node.platform.storage
    page = await list_audit(storage.store, tenant=tenant, day=utc_day(storage.clock.now()))
    return [(one.action, one.target, one.detail) for one in page.records]


async def test_ids_without_a_payment_are_named_among_what_is_left_out(tmp_path):
    async with at_desk(tmp_path) as (node, browser):
        (payment,) = await payments(node, 1)
        somebody = await lead(browser)
        form = {"action": "cancel", "ids": f"{payment} {UNKNOWN}, hello<b> {payment}"}
        status, _, page = await somebody.post("/console/repairs/new", form)
        assert (status, tokens(page)) == (200, [f"{payment}:1:100"])
        assert "Left out: 2" in page and f"<code>{UNKNOWN}</code>" in page and "<code>hello&lt;b&gt;</code>" in page


@pytest.mark.parametrize("by", ["ids", "filter"])
async def test_preview_that_did_not_look_at_all_says_so(tmp_path, monkeypatch, by):
    monkeypatch.setattr(choosing, "PREVIEWED_MAX", 2)
    async with at_desk(tmp_path) as (node, browser):
        made = await payments(node, 3)
        somebody = await lead(browser)
        asked = f"ids={'+'.join(made)}" if by == "ids" else "merchant=ten_1&from=2026-01-01T00:00"
        _, _, page = await somebody.get(f"/console/repairs/new?action=cancel&{asked}")
        assert len(tokens(page)) == 2
        assert "There are more than the first 2, which were looked at. The others are left out" in page


async def test_repair_is_of_what_the_preview_showed_and_skips_what_has_changed_since(tmp_path):
    async with at_desk(tmp_path) as (node, browser):
        first, second = await payments(node, 2)
        somebody = await lead(browser)
        form = {"action": "cancel", "payments": f"{first}:1:40 {second}:1:100", "reason": "never paid"}
        status, headers, _ = await somebody.post("/console/repairs", form)
        assert status == 303
        repair = headers["Location"].rpartition("/")[2]
        store = node.platform.storage.store
        items, _ = await load_page(store, repair, 0)
        assert [(one.payment, one.version, one.amount) for one in items] == [(first, 1, 40), (second, 1, 100)]
        await decide_repair(node.platform.desk.repairs, repair, by="grace", approve=True)
        async with asyncio.timeout(20):
            while (await load_repair(store, repair))[0].stage is not Stage.DONE:
                await asyncio.sleep(0.05)
        items, _ = await load_page(store, repair, 0)
        assert [(one.became, one.detail) for one in items] == [
            (Became.SKIPPED, "it was about 40, and is about 100 now"),
            (Became.DONE, "released, status canceled"),
        ]


@pytest.mark.parametrize(
    "name", ["{payment}", "{payment}:1", "{payment}:x:100", "{payment}:1:-5", f"{UNKNOWN}:1:1", "x"]
)
async def test_payment_that_no_preview_named_so_is_refused_and_nothing_is_asked_for(tmp_path, name):
    async with at_desk(tmp_path) as (node, browser):
        (payment,) = await payments(node, 1)
        somebody = await lead(browser)
        form = {"action": "cancel", "payments": name.format(payment=payment), "reason": "why"}
        status, _, page = await somebody.post("/console/repairs", form)
        assert status == 400 and "is no payment of a preview" in page
        assert await list_repairs(node.platform.storage.store) == []


async def test_as_many_payments_as_a_repair_takes_fit_into_its_form(tmp_path):
    async with at_desk(tmp_path) as (node, browser):
        (payment,) = await payments(node, 1)
        documents = node.platform.storage.documents
        row = await find_row(documents, payment)
        names = [f"pay_{number:026d}" for number in range(ITEMS_MAX)]
        rows = [Document(name, DESK, 1, {}, encode_row(replace(row, id=name))) for name in names]
        await documents.upsert(PAYMENTS.name, rows)
        somebody = await lead(browser)
        form = {"action": "cancel", "payments": " ".join(f"{name}:12:100000000" for name in names), "reason": "why"}
        assert len(form["payments"]) > 2 * FIELD_CHARS_MAX
        status, headers, page = await somebody.post("/console/repairs", form)
        assert status == 303, page
        repair, _ = await load_repair(node.platform.storage.store, headers["Location"].rpartition("/")[2])
        assert repair.items == ITEMS_MAX


async def test_rules_and_objectives_longer_than_a_usual_field_can_be_changed(tmp_path):
    async with at_desk(tmp_path) as (_, browser):
        somebody = await lead(browser)
        padding = " " * FIELD_CHARS_MAX
        rules = {"version": "0", "do": "use", "rules": f"[{padding}]"}
        status, headers, page = await somebody.post("/console/alert-rules", rules)
        assert (status, headers["Location"]) == (303, "/console/alert-rules"), page
        longer = DEFAULT.read_text() + "# more\n" * FIELD_CHARS_MAX
        assert 100_000 < len(longer) < 200_000
        status, headers, page = await somebody.post("/console/objectives/file", {"version": "0", "text": longer})
        assert (status, headers.get("Location")) == (303, "/console/objectives"), page


async def test_fields_of_other_forms_stay_as_short_as_they_were(tmp_path):
    async with at_desk(tmp_path) as (_, browser):
        somebody = await lead(browser)
        status, _, page = await somebody.post("/console/queues/webhooks/redrive", {"q": "x" * (FIELD_CHARS_MAX + 1)})
        assert status == 400 and "this is too long" in page


def buried(folder, number: int) -> None:
    with closing(sqlite3.connect(folder / "interlock.db", timeout=10)) as database:
        database.executemany(
            "INSERT INTO queue_dead_letters (queue, id, attempts, sent_at, died_at, body) VALUES (?,?,?,?,?,?)",
            [
                ("notifications", f"msg_{count:04}", 25, 10**12, 10**12, b'{"provider":"word%d."}' % count)
                for count in range(number)
            ],
        )
        database.commit()


def form_of(page: str) -> dict[str, str]:
    """Of the button for all that fit."""
    inside = page.partition('data-confirm="Give')[2].partition("</form>")[0]
    return dict(re.findall(r'name="(q|after|last)" value="([^"]*)"', inside))


async def test_chance_given_on_a_later_page_is_given_to_its_letters(tmp_path):
    async with at_desk(tmp_path) as (node, browser):
        buried(tmp_path, 60)
        somebody = await lead(browser)
        _, _, first = await somebody.get("/console/queues/notifications")
        assert "Give all 60 another chance" in first
        behind = re.search(r'href="([^"]+)" rel="next"', first)[1].replace("&amp;", "&")
        _, _, second = await somebody.get(behind)
        assert "Give these 10 another chance" in second
        buried_later = "msg_9999"
        with closing(sqlite3.connect(tmp_path / "interlock.db", timeout=10)) as database:
            database.execute("UPDATE queue_dead_letters SET id = ? WHERE id = 'msg_0000'", (buried_later,))
            database.commit()
        status, headers, _ = await somebody.post("/console/queues/notifications/redrive", form_of(second))
        assert status == 303 and "10%20given%20another%20chance" in headers["Set-Cookie"]
        left = [one.id for one in await node.platform.storage.queue.dead_letters("notifications")]
        assert left == [*(f"msg_{count:04}" for count in range(1, 50)), buried_later]


async def test_more_than_are_done_at_once_are_not_promised(tmp_path, monkeypatch):
    monkeypatch.setattr(queue_pages, "AT_ONCE_MAX", 5)
    async with at_desk(tmp_path) as (node, browser):
        buried(tmp_path, 8)
        somebody = await lead(browser)
        _, _, page = await somebody.get("/console/queues/notifications")
        assert "Give these 5 another chance" in page
        await somebody.post("/console/queues/notifications/redrive", form_of(page))
        assert len(await node.platform.storage.queue.dead_letters("notifications")) == 3


async def test_letter_behind_those_that_one_page_looks_at_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(queue_pages, "LOOKED_AT", 10)
    async with at_desk(tmp_path) as (_, browser):
        buried(tmp_path, 11)
        somebody = await lead(browser)
        _, _, page = await somebody.get("/console/queues/notifications?q=word10.")
        assert "None of the 10 dead letters looked at holds this." in page
        behind = re.search(r'href="([^"]+)" rel="next"', page)[1].replace("&amp;", "&")
        _, _, page = await somebody.get(behind)
        assert "word10." in page and "Give these 1 another chance" in page and 'rel="next"' not in page


async def test_second_chance_that_is_cut_off_has_its_record(tmp_path, monkeypatch):
    async with at_desk(tmp_path) as (node, browser):
        buried(tmp_path, 2)
        somebody = await lead(browser)

        async def cut_off(*args):
            raise StoreUnavailable("cut off")

        monkeypatch.setattr(type(node.platform.storage.queue), "redrive", cut_off)
        status, _, _ = await somebody.post("/console/queues/notifications/redrive", {"q": "word1."})
        assert status == 503
        detail = {"count": 1, "filter": "word1.", "first": "msg_0001", "last": "msg_0001"}
        assert ("queue.redriven", "notifications", detail) in await told(node, "~platform")


async def test_look_into_a_payment_is_in_the_audit_trail_and_says_what_it_found(tmp_path):
    async with at_desk(tmp_path) as (node, browser):
        (payment,) = await payments(node, 1)
        somebody = await lead(browser)
        status, headers, _ = await somebody.post(f"/console/payments/{payment}/look-up")
        assert status == 303
        assert "Nothing of it was open: it is requires payment method." in unquote(headers["Set-Cookie"])
        assert ("payment.looked_into", payment, {}) in await told(node, "ten_1")


def test_look_that_nobody_answered_is_not_said_to_have_found_anything():
    payment = succeeded(Numbered())
    assert said_of(Looked(payment, 1, ("a did not say (timeout)",))) == (
        f"Nothing new, it is still {payment.state}: a did not say (timeout)."
    )
    assert said_of(Looked(payment, 1, ())) == f"Its provider was asked: it is {payment.state}."
