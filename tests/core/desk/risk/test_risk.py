"""What needs somebody, and what a filter touched."""

import random
from collections import defaultdict

import msgspec
import pytest

from interlock.backends.memory.documents import MemoryDocuments
from interlock.core.desk.figures.model import COLLECTIONS, DESK, PAYMENTS, PaymentRow, encode_row
from interlock.core.desk.risk import handlers
from interlock.core.desk.risk.handlers import at_risk, blast_radius
from interlock.core.desk.risk.model import Exposure, Filter, Kind, Risk, exposures
from interlock.core.kernel.documents import Document
from interlock.core.kernel.ids import format_id
from interlock.core.webhooks.ports import Failure, SendResult
from tests.core.desk.desk_world import DeskWorld
from tests.scenarios.world import DAY, MINUTE


async def test_uncertain_payment_is_at_risk_once_the_platform_has_had_its_time():
    world = DeskWorld(operations={"lookup": {"unavailable": 1}})
    world.mail_held = True
    answer = await world.pay(1500, token="tok_timeout_after_accept", reference="order-1")
    await world.look()
    assert await world.risks() == []
    world.clock.advance(3 * MINUTE)
    (risk,) = await world.risks()
    assert (risk.kind, risk.payment, risk.amount, risk.merchant) == (Kind.UNCERTAIN, answer.json["id"], 1500, "ten_1")
    world.faults()
    world.mail_held = False
    await world.settle()
    await world.look()
    assert await world.risks() == []


async def test_webhook_that_was_given_up_puts_its_payment_on_the_list():
    world = DeskWorld()
    await world.hook()

    async def send(url, headers, body, *, timeout_s):
        return SendResult(None, Failure.CONNECT, 3)

    world.merchant.send = send
    payment = await world.sale(800)
    await world.run(5 * DAY)
    await world.look()
    (risk,) = await world.risks()
    assert (risk.kind, risk.payment, risk.amount) == (Kind.WEBHOOK_UNDELIVERED, payment, 800)
    assert risk.detail.startswith("payment.")


def risk(payment: str, amount: int, kind: Kind = Kind.UNCERTAIN, merchant: str = "m") -> Risk:
    return Risk(kind, payment, merchant, amount, "EUR", "acme", None, 0)


def test_payment_at_risk_for_two_reasons_is_counted_once_with_the_larger_amount():
    found = exposures([risk("a", 100), risk("a", 300, Kind.REFUND_STUCK), risk("b", 5), risk("c", 7, merchant="n")])
    assert found == [Exposure("m", "EUR", 2, 305), Exposure("n", "EUR", 1, 7)]


START = 1_800_000_000_000
FIELDS = ("merchant", "status", "provider", "reference", "customer")


def seeded(seed: int, number: int) -> list[PaymentRow]:
    """Payments of a few merchants, some orders tried again under their reference."""
    chance = random.Random(seed)
    rows: list[PaymentRow] = []
    for place in range(number):
        at = START + chance.randrange(3 * 3_600_000)
        retried = rows and chance.random() < 0.3
        earlier = chance.choice(rows) if retried else None
        rows.append(
            PaymentRow(
                id=format_id("pay", at, chance.getrandbits(80)),
                country=chance.choice((None, "FR", "DE")),
                bin=chance.choice((None, "497010", "40126310")),
                version=chance.choice(("1.0.0", "1.1.0")),
                merchant=earlier.merchant if earlier else chance.choice("abcde"),
                status=chance.choice(("succeeded", "failed", "processing", "requires_capture")),
                state="x",
                amount=chance.randrange(1, 50_000) if not earlier or chance.random() < 0.2 else earlier.amount,
                currency=earlier.currency if earlier else chance.choice(("EUR", "JPY")),
                created_at=at,
                updated_at=at,
                provider=chance.choice(("acme", "zeta")),
                reference=earlier.reference if earlier else (f"order-{place}" if chance.random() < 0.8 else None),
                customer=f"cus_{chance.randrange(40)}",
            )
        )
    return rows


def truth(rows: list[PaymentRow]) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    """(merchant, currency) -> payments, orders, amount, not paid: the slow and obvious way."""
    orders: dict[tuple[str, str], dict[str, list[PaymentRow]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        orders[row.merchant, row.currency][row.reference or row.id].append(row)
    return {
        where: (
            sum(len(tries) for tries in every.values()),
            len(every),
            sum(max(one.amount for one in tries) for tries in every.values()),
            sum(
                max(one.amount for one in tries)
                for tries in every.values()
                if not any(one.status in ("succeeded", "requires_capture") for one in tries)
            ),
        )
        for where, every in orders.items()
    }


async def kept(rows: list[PaymentRow]) -> MemoryDocuments:
    documents = MemoryDocuments(COLLECTIONS)
    for row in rows:
        fields = {name: value for name in FIELDS if (value := getattr(row, name)) is not None}
        await documents.upsert(PAYMENTS.name, [Document(row.id, DESK, 1, fields, encode_row(row))])
    return documents


async def test_blast_radius_of_any_filter_is_what_a_slow_count_says():
    rows = seeded(11, 1_500)
    documents = await kept(rows)
    chance = random.Random(3)
    for _ in range(40):
        low = START + chance.randrange(3 * 3_600_000)
        wanted = Filter(
            created_from=low,
            created_before=low + chance.randrange(3_600_000),
            merchant=chance.choice((None, None, "a")),
            provider=chance.choice((None, "acme")),
            status=chance.choice((None, "failed")),
            currency=chance.choice((None, None, "JPY")),
            country=chance.choice((None, None, "FR")),
            bin=chance.choice((None, None, None, "497010")),
            version=chance.choice((None, None, "1.1.0")),
            amount_min=chance.choice((None, 1_000)),
        )
        found = await blast_radius(documents, wanted)
        fitting = [row for row in rows if wanted.fits(row)]
        assert {
            (one.merchant, one.currency): (one.payments, one.orders, one.amount, one.not_paid) for one in found.touched
        } == truth(fitting)
        assert (found.payments, found.merchants) == (len(fitting), len({row.merchant for row in fitting}))
        assert sum(found.statuses.values()) == len(fitting)
        assert found.complete


def test_filter_refuses_fields_it_does_not_know():
    try:
        msgspec.convert({"created_from": 0, "created_before": 1, "colour": "red"}, Filter)
    except msgspec.ValidationError as error:
        assert "colour" in str(error)
    else:
        raise AssertionError("an unknown field was taken")


async def test_what_has_waited_longest_is_found_behind_any_number_of_fresh_refunds(monkeypatch):
    monkeypatch.setattr(handlers, "RISKS_MAX", 20)
    monkeypatch.setattr(handlers, "AT_ONCE", 7)
    world = DeskWorld(operations={"lookup": {"unavailable": 1}})
    world.mail_held = True
    answer = await world.pay(9999, token="tok_timeout_after_accept")
    await world.look()
    world.clock.advance(3 * DAY)
    now = world.clock.now()
    for number in range(40):
        new = format_id("pay", now, number)
        row = PaymentRow(new, "m", "succeeded", "captured", 5, "EUR", now, now, attention={"refund_open": 5})
        document = Document(row.id, DESK, 1, {"merchant": "m", "attention": "refund_open"}, encode_row(row))
        await world.desk.upsert(PAYMENTS.name, [document])
    found = await at_risk(world.desk, world.node.webhooks, world.clock.now())
    assert [one.payment for one in found.risks] == [answer.json["id"]]
    assert found.complete is False


async def test_filter_without_an_end_reaches_as_far_as_ids_do():
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"created_from": 0, "created_before": 2**53}, Filter)
    rows = seeded(1, 30)
    documents = await kept(rows)
    latest = msgspec.convert({"created_from": 0, "created_before": 2**48 - 1 - 60_000}, Filter)
    assert (await blast_radius(documents, latest)).payments == 30
