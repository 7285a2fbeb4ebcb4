"""Rows of payments and attempts, folded from events."""

import random

from interlock.core.desk.figures.model import DESK, POINTERS, decode_pointer, decode_row
from interlock.core.desk.figures.projection import project
from tests.core.desk.desk_world import DeskWorld
from tests.scenarios.world import MINUTE


async def test_payment_that_succeeded_is_a_row_with_its_money_and_one_attempt():
    world = DeskWorld(release="1.0.0")
    payment = await world.sale(1999, reference="order-17", customer="cus_9", token="tok_approve-card-40126310")
    await world.look()
    row = await world.row(payment)
    assert (row.status, row.state, row.amount, row.captured, row.currency) == (
        "succeeded",
        "succeeded",
        1999,
        1999,
        "EUR",
    )
    assert (row.reference, row.customer, row.provider, row.attempts) == ("order-17", "cus_9", "simulator_a", 1)
    assert (row.brand, row.last4, row.method) == ("visa", "3009", "card")
    assert (row.country, row.bin, row.version) == ("DE", "40126310", "1.0.0")
    assert row.attention == {}
    (attempt,) = await world.attempts()
    fields = attempt.fields
    assert (fields["outcome"], fields["operation"], fields["amount"], fields["merchant"]) == (
        "approved", "authorize", 1999, "ten_1",
    )  # fmt: skip
    assert (fields["country"], fields["bin"], fields["version"]) == ("DE", "40126310", "1.0.0")
    assert "error" not in fields


async def test_decline_is_an_attempt_with_its_reason():
    world = DeskWorld()
    answer = await world.pay(token="tok_decline_stolen")
    await world.look()
    row = await world.row(answer.json["id"])
    assert (row.status, row.decline) == ("failed", "stolen_card")
    assert {one.fields["error"] for one in await world.attempts()} == {"stolen_card"}


async def test_declined_attempt_and_the_one_that_followed_it_know_the_card():
    world = DeskWorld()
    token = "tok_decline_issuer_unavailable-at-simulator_a-card-497010"
    await world.sale(token=token)
    await world.look()
    found = {one.fields["provider"]: one.fields for one in await world.attempts()}
    assert {name: (fields["outcome"], fields["country"], fields["bin"]) for name, fields in found.items()} == {
        "simulator_a": ("declined", "FR", "497010"),
        "simulator_b": ("approved", "FR", "497010"),
    }


async def test_attempt_that_was_found_by_a_lookup_knows_the_card():
    world = DeskWorld()
    await world.pay(token="tok_timeout_after_accept-card-497010")
    await world.settle()
    await world.look()
    (attempt,) = await world.attempts()
    assert (attempt.fields["outcome"], attempt.fields["bin"]) == ("approved", "497010")


async def test_row_is_of_the_release_that_made_its_latest_try_and_each_attempt_of_its_own():
    world = DeskWorld(release="1.0.0")
    payment = await world.authorize(1000)
    world.release = "1.1.0"
    await world.restart()
    await world.act(payment, "capture")
    await world.settle()
    await world.look()
    assert (await world.row(payment)).version == "1.0.0"
    found = {one.fields["operation"]: one.fields["version"] for one in await world.attempts()}
    assert found == {"authorize": "1.0.0", "capture": "1.1.0"}


def test_rows_from_before_issuers_and_releases_were_kept_are_read():
    old = (
        b'{"id":"pay_1","merchant":"m","status":"failed","state":"failed","amount":1,"currency":"EUR","created_at":1,'
        b'"updated_at":2,"brand":"visa","last4":"4242","attempts":1}'
    )
    row = decode_row(old)
    assert (row.brand, row.country, row.bin, row.version) == ("visa", None, None, None)


async def test_uncertain_payment_asks_for_attention_until_it_is_known():
    world = DeskWorld(operations={"lookup": {"unavailable": 1}})
    answer = await world.pay(1500, token="tok_timeout_after_accept")
    world.mail_held = True
    await world.look()
    row = await world.row(answer.json["id"])
    assert row.attention == {"uncertain": 1500}
    world.faults()
    world.mail_held = False
    await world.settle()
    await world.look()
    row = await world.row(answer.json["id"])
    assert (row.status, row.attention) == ("succeeded", {})


async def test_refund_asks_for_attention_while_its_outcome_is_open():
    world = DeskWorld()
    payment = await world.sale(1000)
    world.faults(operations={"refund": {"timeout_after_accept": 1}, "lookup": {"unavailable": 1}})
    world.mail_held = True
    await world.act(payment, "refunds", {"amount": 300})
    await world.look()
    assert (await world.row(payment)).attention["refund_open"] == 300
    world.faults()
    world.mail_held = False
    await world.settle()
    await world.look()
    row = await world.row(payment)
    assert (row.attention, row.refunded) == ({}, 300)


async def until_late(world: DeskWorld, payment_id: str) -> None:
    for _ in range(200):
        if "payment.late_approval" in await world.events(payment_id):
            return
        await world.run(MINUTE)
    raise AssertionError("the provider never changed its mind")


async def test_late_approval_asks_for_attention_until_it_is_given_back():
    world = DeskWorld()
    answer = await world.pay(700, token="tok_late_approval")
    world.faults(operations={"refund": {"unavailable": 1}})
    await until_late(world, answer.json["id"])
    await world.look()
    assert (await world.row(answer.json["id"])).attention["late_approval"] == 700
    world.faults()
    await world.settle()
    await world.look()
    assert (await world.row(answer.json["id"])).attention == {}
    assert "payment.late_approval_reversed" in await world.events(answer.json["id"])


async def test_every_finished_attempt_of_a_payment_is_counted_once():
    world = DeskWorld()
    payment = await world.authorize(1000)
    await world.act(payment, "capture", {"amount": 400, "final": True}, key="k3")
    await world.act(payment, "refunds", {"amount": 100}, key="k4")
    await world.settle()
    await world.look()
    stored = {one.id: one.outcome for one in world.payment(payment).attempts}
    assert {one.id: one.fields["outcome"] for one in await world.attempts()} == stored
    assert len(stored) >= 3


async def test_events_in_any_order_and_twice_leave_the_same_rows():
    world = DeskWorld()
    for number in range(6):
        await world.pay(1000 + number, key=f"k{number}", token=("tok_approve", "tok_3ds", "tok_pending")[number % 3])
    await world.settle(most_s=60 * MINUTE)
    await world.look()
    wanted = [await world.row(one.id) for one in world.payments()]
    other = DeskWorld()
    events = await world.every_event() * 2
    random.Random(5).shuffle(events)
    for start in range(0, len(events), 3):
        await project(other.desk, events[start : start + 3])
    assert [await other.row(one.id) for one in world.payments()] == wanted
    assert {one.id: one.fields for one in await other.attempts()} == {
        one.id: one.fields for one in await world.attempts()
    }


async def test_refund_points_at_its_payment():
    world = DeskWorld()
    payment = await world.sale(1000)
    refund = (await world.act(payment, "refunds", {"amount": 100})).json["id"]
    await world.look()
    document = await world.desk.get(POINTERS.name, refund, tenant=DESK)
    assert document is not None
    assert decode_pointer(document.body).payment == payment


async def test_rows_hold_neither_token_nor_more_than_the_last_digits():
    world = DeskWorld()
    await world.pay(token="tok_approve")
    await world.look()
    kept = repr(world.desk._tenants)
    assert "tok_approve" not in kept.replace("simulator", "")
    assert "4242424242424242" not in kept
