"""From real events to rows: exact figures, and what never leaves."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.access.audit import audit_event
from interlock.core.desk.queries.exports import CARD_NUMBER, rows_of, without_card_numbers
from interlock.core.desk.queries.tables import TABLES
from interlock.core.kernel.events import Event
from tests.core.desk.queries.stories import business_day, end_worlds, events_of
from tests.scenarios.world import NOW, World

MINUTE_MS = 60_000


@pytest.fixture(autouse=True)
async def worlds():
    yield
    await end_worlds()


async def test_sale_with_a_refund_becomes_rows_of_every_kind():
    world = World(release="1.0.0")
    payment = await world.sale(1000, reference="order-1", customer="cus-7")
    refund = (await world.act(payment, "refunds", {"amount": 200, "reason": "duplicate"})).json["id"]
    rows = rows_of(await world.store.history(payment))
    assert {table: len(found) for table, found in rows.items()} == {
        "events": 4,
        "payment_versions": 4,
        "exchanges": 2,
        "journals": 3,
        "postings": 6,
        "attempts": 2,
        "refunds": 1,
    }
    assert [row["type"] for row in rows["events"]] == [
        *("payment.created", "payment.succeeded", "refund.created", "refund.succeeded")
    ]
    last = rows["payment_versions"][-1]
    assert (last["version"], last["status"], last["state"]) == (4, "succeeded", "succeeded")
    assert (last["amount"], last["amount_captured"], last["amount_refunded"], last["currency"]) == (
        1000,
        1000,
        200,
        "EUR",
    )
    assert (last["reference"], last["customer"], last["card_brand"], last["card_last4"]) == (
        "order-1",
        "cus-7",
        "visa",
        "4242",
    )
    assert (last["attempts"], last["captures"], last["refunds"], last["disputes"]) == (2, 1, 1, 0)
    assert (last["created_at"], last["merchant"], last["provider"]) == (NOW, "ten_1", "simulator_a")
    attempts = [(one["number"], one["operation"], one["outcome"], one["payment_version"]) for one in rows["attempts"]]
    assert attempts == [(1, "authorize", "approved", 4), (2, "refund", "approved", 4)]
    assert (last["card_country"], last["card_bin"]) == ("US", "424242")
    assert [one["release"] for one in rows["attempts"]] == ["1.0.0", "1.0.0"]
    assert [(one["id"], one["status"], one["amount"], one["reason"]) for one in rows["refunds"]] == [
        (refund, "succeeded", 200, "duplicate")
    ]
    assert [(one["kind"], one["amount"]) for one in rows["journals"]] == [
        *(("capture", 1000), ("refund_reserved", 200), ("refund_succeeded", 200))
    ]
    assert [(one["account"], one["amount"]) for one in rows["postings"][:2]] == [
        *(("provider_receivable:simulator_a", 1000), ("merchant_payable", -1000))
    ]
    assert [(one["provider"], one["operation"], one["status"]) for one in rows["exchanges"]] == [
        *(("simulator_a", "authorize", 201), ("simulator_a", "refund", 201))
    ]


async def test_uncertain_payment_says_how_much_hangs_on_it_and_in_which_state_it_is():
    world = World()
    payment = (await world.pay(800, token="tok_timeout_after_accept")).json["id"]
    rows = rows_of(await world.store.history(payment))
    last = rows["payment_versions"][-1]
    assert (last["status"], last["state"], last["amount_uncertain"]) == ("processing", "uncertain", 800)
    assert (rows["events"][-1]["detail"], rows["exchanges"][-1]["status"]) == ("read_timeout", None)
    assert rows["exchanges"][-1]["duration_ms"] == 10_000
    assert rows["attempts"][0]["outcome"] == "unknown"
    assert rows["attempts"][0]["duration_ms"] == 10_000


async def test_rows_have_the_columns_of_their_tables_and_no_other():
    world, _ = await business_day()
    rows = rows_of(await events_of(world))
    assert set(rows) == set(TABLES)
    for table, found in rows.items():
        assert {name for row in found for name in row} == {one.name for one in TABLES[table].columns}, table


async def test_nothing_secret_or_unasked_is_in_any_row():
    world = World()
    await world.hook()
    metadata = {"note": "metadata-stays-here"}
    fields = {"metadata": metadata, "description": "described-here", "reference": "4111 1111 1111 1111"}
    await world.sale(1000, customer="4111111111111111", **fields)
    await world.settle()
    text = msgspec.json.encode(rows_of(await events_of(world))).decode()
    assert CARD_NUMBER in text
    for hidden in (
        *("tok_", "4111", "metadata-stays-here", "described-here", "sk_", "whsec_", "shop.example.com", "exp_month"),
        *("simulator.example", "Bearer", '"request"', '"reply"', "http"),
    ):
        assert hidden not in text, hidden


async def test_issuer_that_is_none_does_not_leave():
    world = World()
    payment = await world.sale(1000)
    *_, event = await world.store.history(payment)
    facts = msgspec.json.decode(event.facts)
    for told, known in (("4242424242424242", None), ("4111 1111 1", None), ("424242", "424242")):
        changed = msgspec.json.encode({**facts, "issuer": {"bin": told, "country": told}})
        (row,) = rows_of([msgspec.structs.replace(event, facts=msgspec.Raw(changed))])["payment_versions"]
        assert (row["card_country"], row["card_bin"]) == (None, known)


async def test_event_from_before_issuers_and_releases_were_kept_makes_rows_without_them():
    world = World()
    payment = await world.sale(1000)
    *_, event = await world.store.history(payment)
    facts = msgspec.json.decode(event.facts)
    del facts["issuer"]
    old = msgspec.structs.replace(event, facts=msgspec.Raw(msgspec.json.encode(facts)))
    rows = rows_of([old])
    assert (rows["payment_versions"][0]["card_bin"], rows["attempts"][0]["release"]) == (None, None)


async def test_events_of_other_things_are_rows_of_events_alone():
    world = World()
    await world.hook()
    rows = rows_of([one for one in await events_of(world) if one.type.startswith(("webhook_endpoint.", "audit."))])
    assert set(rows) == {"events"}
    told = {(one["type"], one["cause"], one["detail"]) for one in rows["events"]}
    assert told == {
        ("webhook_endpoint.created", "api", None),
        ("audit.recorded", "audit", "webhook_endpoint.created"),
    }


def test_facts_of_any_shape_make_a_row():
    for facts in (b"{}", b'{"cause":7,"actor":{"a":1}}', b"[1]", b"null"):
        event = Event("evt_1", "client.created", "ten_1", "cli_1", 1, NOW, facts=msgspec.Raw(facts))
        (row,) = rows_of([event])["events"]
        assert (row["id"], row["cause"], row["actor"]) == ("evt_1", None, None)


def test_audit_record_tells_who_did_what_and_no_detail():
    class Ids:
        def new(self, prefix):
            return f"{prefix}_1"

    detail = {"url": "https://secret"}
    _, event = audit_event(Ids(), NOW, actor="ada", action="x.done", target="t", tenant="~platform", detail=detail)
    (row,) = rows_of([event])["events"]
    assert (row["actor"], row["detail"], row["merchant"]) == ("ada", "x.done", "~platform")
    assert "secret" not in str(row)


async def test_order_of_events_and_repetition_make_no_other_rows():
    world, _ = await business_day()
    events = await events_of(world)
    straight, reverse = rows_of(events), rows_of(list(reversed(events)))
    assert set(straight) == set(reverse)
    for table in straight:
        assert sorted(map(str, straight[table])) == sorted(map(str, reverse[table])), table
    assert rows_of(events) == straight


def test_payment_event_without_a_payment_is_refused():
    with pytest.raises(ValueError, match="payment"):
        rows_of([Event("evt_1", "payment.created", "ten_1", "pay_1", 1, NOW)])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("4111111111111111", "[card number]"),
        ("pan 4111-1111-1111-1111.", "pan [card number]."),
        ("5500 0000 0000 0004 x", "[card number] x"),
        ("378282246310005", "[card number]"),
        ("4111111111111112", "4111111111111112"),
        ("order 1234567", "order 1234567"),
        ("x" * 300, "x" * 200),
        (None, None),
    ],
)
def test_card_numbers_are_replaced_and_other_numbers_are_not(text, shown):
    assert without_card_numbers(text) == shown


@given(st.integers(12, 18), st.randoms(), st.text("abc ", max_size=5), st.sampled_from(["", " ", "-"]))
def test_every_number_with_the_check_digit_of_luhn_is_hidden(length, chance, around, gap):
    digits = [chance.randrange(10) for _ in range(length)]
    weighed = [digit * 2 - 9 * (digit > 4) if place % 2 == 0 else digit for place, digit in enumerate(reversed(digits))]
    number = gap.join(map(str, [*digits, -sum(weighed) % 10]))
    assert without_card_numbers(f"{around}x{number}y{around}") == f"{around}x{CARD_NUMBER}y{around}"
