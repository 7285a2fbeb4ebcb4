"""F. The ledger under everything that happens to payments."""

import msgspec
import pytest

from interlock.core.kernel.events import decode_event, encode_event
from interlock.core.kernel.money import AMOUNT_MAX, Money
from interlock.core.ledger.model import booked
from interlock.core.ledger.verification import verify
from interlock.core.payments.states import State
from interlock.core.payments.verification import payment_check
from tests.scenarios.node import Node
from tests.scenarios.world import DAY, HOUR, MINUTE, World


async def balance(world, code="merchant_payable", tenant="ten_1", currency="EUR", at=None):
    """An account's balance as the API tells it."""
    answer = await world.ask("GET", "/v1/balances" + (f"?at={at}" if at else ""), tenant=tenant)
    rows = [row for row in answer.json["data"] if row["code"].partition(":")[0] == code and row["currency"] == currency]
    return sum(row["balance"] for row in rows)


async def findings(world):
    report = await verify(world.store, world.feed, check_payment=payment_check(world.store))
    return {finding.code for finding in report.findings}


async def test_hot_account_is_folded_exactly_and_no_payment_writes_what_another_one_writes():
    """42: one merchant, one currency, hundreds of payments, three consumers."""
    world = World(seed=4)
    written = {}
    commit = world.store.commit

    async def watched(writes, events=()):
        if events and events[0].type.startswith("payment."):
            for write in writes:
                assert written.setdefault(write.key, events[0].aggregate) == events[0].aggregate, "a shared item"
        await commit(writes, events)

    world.store.commit = watched
    others = [Node(world, f"other{i}") for i in range(2)]
    for i in range(150):
        await world.pay(100 + i, key=f"k{i}")
        if i % 10 == 0:
            for node in (world.node, *others):
                node.turn()
            await world.clock.settle()
    for node in others:
        node.die()
    await world.run(MINUTE)
    assert await balance(world) == sum(100 + i for i in range(150))
    world.answered.clear()
    await world.assert_invariants()


async def test_batch_that_fails_half_way_is_counted_once_when_it_comes_again():
    """43."""
    world = World()
    for i in range(30):
        await world.pay(1000, key=f"k{i}")
    # The second chunk of the fold cannot be written; the bus gives the whole batch again.
    world.fail(None, "unavailable", holds=lambda args: any("/bal" in write.key.partition for write in args[0]))
    await world.run(MINUTE)
    assert any("ledger_balances" in error for error in world.errors)
    assert await balance(world) == 30_000
    await world.assert_invariants()


@pytest.mark.parametrize(("currency", "amount", "part"), [("JPY", 1999, 333), ("KWD", 1_234_567, 1), ("EUR", 1, 1)])
async def test_currencies_without_and_with_three_decimals_are_whole_numbers_throughout(currency, amount, part):
    """44."""
    world = World()
    payment_id = await world.sale(amount, currency=currency)
    assert (await world.act(payment_id, "refunds", {"amount": part})).json["amount"] == part
    await world.run(1)
    assert await balance(world, currency=currency) == amount - part
    assert await balance(world, currency="USD") == 0
    await world.assert_invariants()


def test_split_by_largest_remainder_loses_no_unit():
    """44."""
    for amount, weights in ((1999, [971, 29]), (100, [1, 1, 1]), (1, [1, 1, 1]), (-100, [1, 1, 1]), (7, [0, 1])):
        parts = Money(amount, "JPY").allocate(weights)
        assert sum(part.amount for part in parts) == amount
    assert [part.amount for part in Money(100, "KWD").allocate([1, 1, 1])] == [34, 33, 33]


async def test_largest_amounts_add_up_to_the_unit_and_larger_ones_are_refused():
    """45."""
    world = World()
    for i in range(3):
        await world.pay(AMOUNT_MAX, key=f"k{i}")
    refused = await world.pay(AMOUNT_MAX + 1, key="more")
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (400, "/amount")
    await world.run(1)
    assert await balance(world) == 3 * AMOUNT_MAX
    await world.assert_invariants()


@pytest.mark.parametrize("amount", [0, -1, 1.5, "1000", True, None])
async def test_amount_that_is_none_is_refused_and_nothing_is_written(amount):
    """45."""
    world = World()
    body = {"amount": amount, "currency": "EUR", "payment_method": {"type": "card", "token": "tok_approve"}}
    refused = await world.ask("POST", "/v1/payments", body, key="k1")
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (400, "/amount")
    assert not world.items
    payment_id = await world.sale()
    assert (
        await world.act(payment_id, "refunds", {"amount": amount} if amount is not None else {"amount": 0})
    ).status == 400


async def test_day_that_is_over_keeps_its_balance_whatever_is_booked_later():
    """46: corrections are journals of their own day."""
    world = World()
    payment_id = await world.sale(1000)
    await world.run(1)
    end_of_day = "2027-01-15T23:59:59.999Z"
    await world.run(2 * DAY)
    assert await balance(world, at=end_of_day) == 1000
    await world.act(payment_id, "refunds", {"amount": 400})
    world.control("POST", "/disputes", {"payment_id": payment_id, "amount": 300, "status": "opened"})
    await world.run(MINUTE)
    assert await balance(world) == 300
    assert await balance(world, at=end_of_day) == 1000
    await world.assert_invariants()


async def test_clock_set_back_over_midnight_books_on_the_earlier_day_and_every_balance_is_still_its_fold():
    """46."""
    world = World()
    await world.sale(1000, key="k1")
    await world.run(DAY)
    await world.sale(2000, key="k2")
    await world.run(1)
    world.clock.step_wall(-86_400_000)
    await world.sale(4000, key="k3")
    await world.run(1)
    world.clock.step_wall(86_400_000)
    await world.run(1)
    assert await balance(world) == 7000
    world.answered.clear()
    await world.assert_invariants()


@pytest.mark.parametrize("seed", range(1, 6))
async def test_storm_of_conflicts_slows_down_and_breaks_nothing(seed):
    """47: every third commit of a payment meets one."""
    world = World(seed=seed)
    dice = world.random

    def fault_of(called, args):
        return "conflict" if called == "store.commit" and len(args) > 1 and args[1] and dice.random() < 0.3 else None

    for i in range(10):
        world.fault_of = fault_of
        paid = await world.ask(
            "POST",
            "/v1/payments",
            {"amount": 1000, "currency": "EUR", "payment_method": {"type": "card", "token": "tok_approve"}},
            key=f"k{i}",
        )
        if paid.status == 201 and paid.json["status"] == "succeeded":
            await world.act(paid.json["id"], "refunds", {"amount": 100}, key=f"r{i}")
        await world.run(1)
    world.fault_of = lambda called, args: None
    await world.assert_invariants()


async def test_capture_after_the_hold_has_expired_is_refused_before_anybody_is_asked():
    """48."""
    world = World()
    payment_id = await world.authorize()
    world.clock.advance(7 * DAY)
    refused = await world.act(payment_id, "capture")
    assert (refused.status, refused.json["code"]) == (409, "authorization_expired")
    assert len(world.payment(payment_id).attempts) == 1
    await world.run(MINUTE)
    assert world.payment(payment_id).state is State.CANCELED
    assert await balance(world) == 0
    await world.assert_invariants()


async def test_capture_the_provider_takes_for_too_late_leaves_nothing_booked():
    """48: the bank let go earlier than it had said."""
    world = World()
    payment_id = await world.authorize()
    (charge,) = world.instances["simulator_a"].books.charges_of(payment_id=payment_id)
    charge.expires_at = world.clock.now()
    answer = await world.act(payment_id, "capture")
    assert (answer.status, answer.json["status"], answer.json["amount_captured"]) == (200, "requires_capture", 0)
    assert (await world.events(payment_id))[-1] == "payment.capture_failed"
    await world.run(8 * DAY)
    assert await balance(world) == 0
    await world.assert_invariants()


def journal_item(world):
    return next(item for item in world.items.values() if "/jrn/" in item.key.partition)


async def test_journal_that_somebody_changed_is_found():
    """49."""
    world = World()
    await world.sale()
    await world.run(1)
    assert await findings(world) == set()
    item = journal_item(world)
    await world.backing.overwrite(item._replace(value=item.value.replace(b"1000", b"9000")))
    assert "journal_altered" in await findings(world)


async def test_journal_that_was_taken_away_is_found():
    """49."""
    world = World()
    await world.sale()
    await world.run(1)
    await world.backing.remove(journal_item(world).key)
    assert "journal_missing" in await findings(world)


async def test_payment_that_somebody_changed_is_found():
    """49."""
    world = World()
    payment_id = await world.sale()
    await world.run(1)
    (key,) = (key for key in world.items if key.sort == "payment")
    item = world.items[key]
    value = item.value.replace(b'"amount_captured":1000', b'"amount_captured":9000')
    assert value != item.value
    await world.backing.overwrite(item._replace(value=value))
    assert await findings(world) == {"payment_differs"}
    assert world.payment(payment_id).amount_captured == 9000


async def test_event_that_somebody_changed_is_found():
    """49."""
    world = World()
    payment_id = await world.sale()
    await world.run(1)
    last = (await world.store.history(payment_id))[-1]
    changed = decode_event(encode_event(last).replace(b'"amount_captured":1000', b'"amount_captured":1001'))
    await world.backing.rewrite_event(changed)
    assert "payment_differs" in await findings(world)


async def test_journal_slipped_in_beside_the_payments_is_found():
    """49."""
    from interlock.core.ledger.records import journal_write

    world = World()
    payment_id = await world.sale()
    await world.run(1)
    forged = booked(
        "capture",
        5000,
        id=world.ids.new("jrn"),
        tenant="ten_1",
        currency="EUR",
        at=world.clock.now(),
        payment=payment_id,
        reference="att_forged",
        provider="simulator_a",
    )
    await world.store.commit([journal_write(forged)])
    assert "journal_orphan" in await findings(world)


async def test_sums_that_somebody_changed_are_found():
    """49."""
    world = World()
    await world.sale()
    await world.run(1)
    (key,) = (key for key in world.items if key.partition.endswith("/bal") and key.sort.startswith("month/"))
    item = world.items[key]
    await world.backing.overwrite(item._replace(value=item.value.replace(b"1000", b"2000")))
    assert "balance_wrong" in await findings(world)


async def test_books_of_many_stories_agree_to_the_unit():
    """4: sale, partial captures, refunds, disputes, late approvals, expiry, two currencies, two tenants."""
    world = World(notifications={"duplicate_rate": 0.3, "delay_ms": 300, "jitter_ms": 4000})
    await world.hook()
    sale = await world.sale(5000, key="a")
    await world.act(sale, "refunds", {"amount": 1200}, key="a1")
    await world.act(sale, "refunds", None, key="a2")
    held = await world.authorize(9000, key="b", currency="JPY")
    for i in range(3):
        await world.act(held, "capture", {"amount": 2000}, key=f"b{i}")
    await world.act(held, "cancel", None, key="b9")
    await world.pay(700, token="tok_dispute", key="c", tenant="ten_2")
    await world.pay(800, token="tok_late_approval", key="d")
    await world.pay(900, token="tok_timeout_after_accept", key="e")
    await world.authorize(1100, key="f")
    await world.pay(1300, token="tok_out_of_order_notifications", key="g")
    await world.pay(1500, token="tok_pending", key="h")
    await world.run(8 * DAY - HOUR)
    await world.assert_invariants()
    assert await balance(world, currency="JPY") == 6000
    assert await balance(world, "disputes_held", tenant="ten_2") == 700
    assert msgspec.json.decode(world.merchant.posts[0].body)["type"] == "payment.created"
