"""One box for whatever somebody has in hand."""

import pytest

from interlock.backends.memory.documents import MemoryDocuments
from interlock.core.desk.explain import search as searching
from interlock.core.desk.explain.search import card_days, merchants, search
from interlock.core.desk.figures.model import COLLECTIONS, DESK, MERCHANTS
from interlock.core.kernel.documents import Document
from tests.core.desk.desk_world import DeskWorld

PROVIDERS = ("simulator_a", "simulator_b")


async def found(world: DeskWorld, text: str, **more: object) -> list[tuple[str, str]]:
    hits = await search(world.desk, text, providers=PROVIDERS, now=world.clock.now(), **more)  # type: ignore[arg-type]
    return [(hit.payment.id, hit.matched) for hit in hits]


async def test_everything_a_payment_is_known_by_finds_it():
    world = DeskWorld()
    payment = await world.sale(1999, reference="order-17", customer="cus_9")
    refund = (await world.act(payment, "refunds", {"amount": 100})).json["id"]
    await world.sale(500, key="other", reference="order-18")
    await world.look()
    held = world.payment(payment)
    event = (await world.store.history(payment))[0].id
    for text, matched in (
        (payment, "payment"),
        (held.attempts[0].id, "attempt"),
        (refund, "refund"),
        (event, "event"),
        ("order-17", "reference"),
        ("cus_9", "customer"),
        (held.provider_reference, "provider reference"),
        ("4242 19.99 today", "card, amount and day"),
        ("4242 1999 today", "card, amount and day"),
        ("  order-17  ", "reference"),
    ):
        assert await found(world, text) == [(payment, matched)], text


async def test_what_nobody_knows_finds_nothing():
    world = DeskWorld()
    await world.sale(1999)
    await world.look()
    for text in (
        "",
        "   ",
        "pay_01m8bwsa4tbksrgx5pcfhtvdce",
        "order",
        "4242 19.98 today",
        "4242 19.99 yesterday",
        "\x00",
        "é" * 500,
    ):
        assert await found(world, text) == []


async def test_other_merchants_payments_are_left_out_when_one_is_asked_for():
    world = DeskWorld()
    mine = await world.sale(500, reference="same", key="a")
    theirs = await world.sale(500, reference="same", key="b", tenant="ten_2")
    await world.look()
    assert {one for one, _ in await found(world, "same")} == {mine, theirs}
    assert await found(world, "same", merchant="ten_2") == [(theirs, "reference")]


@pytest.mark.parametrize(
    ("text", "cards"),
    [
        ("4242 19.99 2026-11-27", ["4242/1999/2026-11-27", "4242/19990/2026-11-27"]),
        ("4242 19.99 EUR 2026-11-27", ["4242/1999/2026-11-27"]),
        ("4242 19,99eur 2026-11-27", ["4242/1999/2026-11-27"]),
        ("4242 500 JPY 2026-11-27", ["4242/500/2026-11-27"]),
        ("4242 1.234 KWD 2026-11-27", ["4242/1234/2026-11-27"]),
        ("4242 500 2026-11-27", ["4242/500/2026-11-27", "4242/50000/2026-11-27", "4242/500000/2026-11-27"]),
        ("4242 1.234 JPY 2026-11-27", []),
        ("4242 19.99", []),
        ("424 19.99 today", []),
    ],
)
def test_card_amount_and_day_are_read_as_people_write_them(text, cards):
    assert card_days(text, 0) == cards


async def test_every_merchant_is_known_however_many_there_are(monkeypatch):
    monkeypatch.setattr(searching, "MERCHANTS_AT_ONCE", 3)
    documents = MemoryDocuments(COLLECTIONS)
    for number in range(8):
        await documents.upsert(MERCHANTS.name, [Document(f"mer_{number}", DESK, 1, {}, b"{}")])
    assert await merchants(documents) == [f"mer_{number}" for number in range(8)]
    assert await merchants(documents, limit=2) == ["mer_0", "mer_1"]
