"""Bulk repairs: previewed, approved by somebody else, done once each, whatever happens meanwhile."""

from __future__ import annotations

import pytest

from interlock.core.access.audit import list_audit
from interlock.core.desk.bulk.states import Stage
from interlock.core.desk.operators.identities import name_at_issuer
from interlock.core.desk.repair.handlers import ask_for_repair, decide_repair, stop_repair
from interlock.core.desk.repair.model import ITEMS_OF_A_PAGE, Action, Became, Item
from interlock.core.desk.repair.planning import plan
from interlock.core.desk.repair.records import load_repair, see_repair
from interlock.core.desk.repair.running import run_repair, run_repairs
from interlock.core.kernel.clock import utc_day
from interlock.core.kernel.errors import Conflict, Forbidden, Invalid, StoreUnavailable
from interlock.core.kernel.store import Store
from interlock.core.payments.states import State
from interlock.core.webhooks.ports import Failure, SendResult
from tests.core.desk.desk_world import DeskWorld
from tests.core.desk.repair.carrying import asked, carried_out, finished, refunds, rows
from tests.scenarios.world import DAY, MINUTE

ISSUER = "https://login.example.com"
PERSON = name_at_issuer(["ada@example.com"], issuer=ISSUER, subject="1")


async def test_each_payment_of_an_approved_repair_is_refunded_once_and_the_books_agree():
    world = DeskWorld()
    payments = [await world.sale(1000 + number, key=f"k{number}") for number in range(7)]
    items = await carried_out(world, await asked(world, Action.REFUND, *payments))
    assert [item.became for item in items] == [Became.DONE] * 7
    await world.settle()
    assert [refunds(world, payment) for payment in payments] == [[1000 + number] for number in range(7)]
    await world.assert_invariants()


async def test_nothing_is_done_before_somebody_approves():
    world = DeskWorld()
    payment = await world.sale(1000)
    repair = await asked(world, Action.REFUND, payment)
    assert await run_repairs(world.repairs) == 0
    await decide_repair(world.repairs, repair.id, by="grace", approve=False)
    assert await run_repairs(world.repairs) == 0
    assert refunds(world, payment) == []


@pytest.mark.parametrize(
    ("asker", "decider"),
    [
        (PERSON, name_at_issuer(["renamed@example.com"], issuer=ISSUER, subject="1")),
        (PERSON, "ada"),
        ("ada", PERSON),
    ],
)
async def test_person_of_an_issuer_is_no_second_person_by_another_name(asker, decider):
    world = DeskWorld()
    payment = await world.sale(1000)
    repair = await asked(world, Action.REFUND, payment, by=asker)
    with pytest.raises(Forbidden) as caught:
        await decide_repair(world.repairs, repair.id, by=decider, approve=True)
    assert caught.value.reason == "own_request"
    assert await run_repairs(world.repairs) == 0 and refunds(world, payment) == []
    somebody_else = name_at_issuer(["bob"], issuer=ISSUER, subject="2")
    assert (await decide_repair(world.repairs, repair.id, by=somebody_else, approve=True)).stage is Stage.APPROVED


@pytest.mark.parametrize(
    ("asker", "decider", "another"),
    [
        ("ada", "client:cli_1", "grace"),
        (PERSON, "client:cli_1", "grace"),
        ("client:cli_1", "ada", "client:cli_2"),
        ("client:cli_1", PERSON, "client:oidc:cli_1"),
    ],
)
async def test_what_a_person_asked_for_no_client_approves_and_the_other_way_round(asker, decider, another):
    world = DeskWorld()
    payment = await world.sale(1000)
    repair = await asked(world, Action.REFUND, payment, by=asker)
    with pytest.raises(Forbidden) as caught:
        await decide_repair(world.repairs, repair.id, by=decider, approve=True)
    assert caught.value.reason == "other_kind"
    assert await run_repairs(world.repairs) == 0 and refunds(world, payment) == []
    assert (await decide_repair(world.repairs, repair.id, by=another, approve=True)).stage is Stage.APPROVED


@pytest.mark.parametrize("name", ["ada", "ADA", " ada "])
async def test_who_asked_cannot_approve_and_may_reject(name):
    world = DeskWorld()
    payment = await world.sale(1000)
    repair = await asked(world, Action.REFUND, payment)
    with pytest.raises(Forbidden) as caught:
        await decide_repair(world.repairs, repair.id, by=name, approve=True)
    assert caught.value.reason == "own_request"
    assert (await load_repair(world.store, repair.id))[0].stage is Stage.WAITING
    assert (await decide_repair(world.repairs, repair.id, by="ada", approve=False)).stage is Stage.REJECTED


async def test_decided_repair_is_not_decided_again():
    world = DeskWorld()
    payment = await world.sale(1000)
    repair = await asked(world, Action.REFUND, payment)
    await decide_repair(world.repairs, repair.id, by="grace", approve=True)
    for approve in (True, False):
        with pytest.raises(Conflict):
            await decide_repair(world.repairs, repair.id, by="edsger", approve=approve)


async def test_payment_that_changed_since_the_preview_is_skipped_with_the_reason():
    world = DeskWorld()
    first, second = [await world.sale(1000, key=f"k{number}") for number in range(2)]
    repair = await asked(world, Action.REFUND, first, second)
    await world.act(first, "refunds", {"amount": 400}, key="merchant")
    await world.settle()
    items = await carried_out(world, repair)
    assert (items[0].became, items[0].detail) == (
        Became.SKIPPED, "it was about 1000, and is about 600 now",
    )  # fmt: skip
    assert items[1].became is Became.DONE
    assert refunds(world, first) == [400]


async def test_payment_that_cannot_be_repaired_any_more_is_skipped_with_the_reason():
    world = DeskWorld()
    payment = await world.authorize(1000)
    repair = await asked(world, Action.CANCEL, payment)
    await world.act(payment, "capture", {"final": True}, key="merchant")
    await world.settle()
    (item,) = await carried_out(world, repair)
    assert (item.became, item.detail) == (Became.SKIPPED, "it cannot be cancelled any more")
    assert world.payment(payment).state is State.SUCCEEDED


async def test_preview_says_what_would_be_left_out_and_changes_nothing():
    world = DeskWorld()
    paid, failed = await world.sale(1000, key="a"), (await world.pay(token="tok_decline_stolen", key="b")).json["id"]
    await world.look()
    before = len(await world.every_event())
    planned = await plan(world.repairs, Action.REFUND, rows(world, paid, failed))
    assert [item.payment for item in planned.items] == [paid]
    assert [(item.payment, item.detail) for item in planned.left_out] == [(failed, "nothing can be given back")]
    assert len(await world.every_event()) == before


async def test_held_amounts_are_released():
    world = DeskWorld()
    payments = [await world.authorize(500, key=f"k{number}") for number in range(3)]
    await carried_out(world, await asked(world, Action.CANCEL, *payments))
    await world.settle()
    assert {world.payment(payment).state for payment in payments} == {State.CANCELED}
    await world.assert_invariants()


async def test_uncertain_payments_are_looked_up():
    world = DeskWorld(operations={"lookup": {"unavailable": 1}})
    world.mail_held = True
    payment = (await world.pay(1500, token="tok_timeout_after_accept")).json["id"]
    repair = await asked(world, Action.LOOK_UP, payment)
    world.faults()
    world.clock.advance(5 * MINUTE)
    (item,) = await carried_out(world, repair)
    assert (item.became, item.detail) == (Became.DONE, "state succeeded")


async def test_webhooks_that_were_given_up_are_sent_once_more():
    world = DeskWorld()
    await world.hook()

    async def refuse(url, headers, body, *, timeout_s):
        return SendResult(None, Failure.CONNECT, 3)

    listen, world.merchant.send = world.merchant.send, refuse
    payment = await world.sale(800)
    await world.run(5 * DAY)
    world.merchant.send = listen
    (item,) = await carried_out(world, await asked(world, Action.RETRY_WEBHOOKS, payment))
    assert item.became is Became.DONE
    await world.run(MINUTE)
    assert len(world.merchant.posts) >= 1


async def test_stopped_repair_goes_no_further_and_keeps_what_was_done():
    world = DeskWorld()
    payments = [await world.sale(1000, key=f"k{number}") for number in range(5)]
    repair = await asked(world, Action.REFUND, *payments)
    await decide_repair(world.repairs, repair.id, by="grace", approve=True)
    reads = 0
    get = world.repairs.payments.store.get

    async def stopping(key):
        nonlocal reads
        reads += key.partition.startswith("~desk/repairs") and key.sort == repair.id
        if reads == 5:
            reads += 1
            await stop_repair(world.repairs, repair.id, by="ada")
        return await get(key)

    store = _Store(world.repairs.payments.store, get=stopping)
    repairs = world.repairs._replace(payments=world.repairs.payments._replace(store=store))
    await world.finish(world.node.start(run_repair(repairs, repair.id)))
    done = sum(bool(refunds(world, payment)) for payment in payments)
    assert 0 < done < 5
    assert await run_repairs(world.repairs) == 0
    assert (await load_repair(world.store, repair.id))[0].stage is Stage.STOPPED


class _Store:
    """A store with some of its methods replaced."""

    def __init__(self, store: Store, **replaced: object) -> None:
        self._store = store
        self.__dict__ |= replaced

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


@pytest.mark.parametrize("at", range(1, 40, 2))
async def test_repair_that_died_anywhere_is_finished_with_one_refund_each(at):
    """The process ends at its nth step; what comes after it knows only what is stored."""
    world = DeskWorld()
    payments = [await world.sale(1000, key=f"k{number}") for number in range(3)]
    repair = await asked(world, Action.REFUND, *payments)
    await decide_repair(world.repairs, repair.id, by="grace", approve=True)
    world.node.kill_at = world.node.steps + at
    task = world.node.start(run_repair(world.repairs, repair.id))
    try:
        await world.finish(task)
    except BaseException:
        assert world.node.dead
    if world.node.dead:
        await world.restart()
    items = await finished(world, repair)
    assert [item.became for item in items] == [Became.DONE] * 3
    await world.settle()
    assert [refunds(world, payment) for payment in payments] == [[1000]] * 3
    await world.assert_invariants()


async def test_two_workers_at_once_repair_each_payment_once():
    world = DeskWorld(seed=5)
    payments = [await world.sale(1000, key=f"k{number}") for number in range(6)]
    repair = await asked(world, Action.REFUND, *payments)
    await decide_repair(world.repairs, repair.id, by="grace", approve=True)
    eager = world.repairs._replace(lease=0)
    both = [world.node.start(run_repair(eager, repair.id)) for _ in range(2)]
    for task in both:
        try:
            await world.finish(task)
        except Exception as error:
            assert type(error).__name__ == "WriteConflict", error
    await finished(world, repair)
    await world.settle()
    assert [refunds(world, payment) for payment in payments] == [[1000]] * 6
    await world.assert_invariants()


async def test_repair_whose_time_is_over_begins_no_payment_and_the_next_goes_on_at_once():
    world = DeskWorld()
    payments = [await world.sale(1000 + number, key=f"k{number}") for number in range(4)]
    repair = await asked(world, Action.REFUND, *payments)
    await decide_repair(world.repairs, repair.id, by="grace", approve=True)

    class Clock:
        """As much time as there are refunds."""

        def __getattr__(self, name: str) -> object:
            return getattr(world.repairs.payments.clock, name)

        def monotonic(self) -> float:
            return float(sum(bool(refunds(world, payment)) for payment in payments))

    repairs = world.repairs._replace(payments=world.repairs.payments._replace(clock=Clock()))
    assert await run_repairs(repairs, until=0.0) == 0
    assert await world.finish(world.node.start(run_repair(repairs, repair.id, until=1.0))) == 1
    assert (await load_repair(world.store, repair.id))[0].stage is Stage.APPROVED
    assert await world.finish(world.node.start(run_repairs(world.repairs))) == 3
    assert (await load_repair(world.store, repair.id))[0].stage is Stage.DONE
    assert [refunds(world, payment) for payment in payments] == [[1000 + number] for number in range(4)]


async def test_store_that_fails_for_a_while_only_delays_it():
    world = DeskWorld()
    payments = [await world.sale(1000, key=f"k{number}") for number in range(3)]
    repair = await asked(world, Action.REFUND, *payments)
    await decide_repair(world.repairs, repair.id, by="grace", approve=True)
    world.fail(None, None, "unavailable", "unknown, done", None, "unknown, not done", "unavailable")
    for _ in range(8):
        try:
            await world.finish(world.node.start(run_repairs(world.repairs)))
        except Exception as error:
            assert isinstance(error, StoreUnavailable) or type(error).__name__ == "OutcomeUnknown", error
        await world.run(31)
    await finished(world, repair)
    await world.settle()
    assert [refunds(world, payment) for payment in payments] == [[1000]] * 3


async def test_many_payments_stand_on_several_pages():
    world = DeskWorld()
    number = ITEMS_OF_A_PAGE + 3
    payments = [await world.sale(100, key=f"k{place}") for place in range(number)]
    repair = await asked(world, Action.REFUND, *payments)
    assert repair.pages == 2
    items = await carried_out(world, repair)
    assert [item.became for item in items] == [Became.DONE] * number
    ended, _ = await load_repair(world.store, repair.id)
    assert (ended.done, ended.skipped, ended.failed, ended.left) == (number, 0, 0, 0)


@pytest.mark.parametrize(("number", "reason"), [(0, "why"), (1, ""), (1, "   ")])
async def test_repair_of_nothing_or_without_a_reason_is_refused(number, reason):
    world = DeskWorld()
    items = [Item("pay_x", "ten_1", 1, 1, "EUR")] * number
    with pytest.raises(Invalid):
        await ask_for_repair(world.repairs, Action.REFUND, items, reason=reason, by="ada")


async def test_every_step_of_a_repair_is_in_the_audit_trail():
    world = DeskWorld()
    payment = await world.sale(1000)
    repair = await asked(world, Action.REFUND, payment)
    await carried_out(world, repair)
    page = await list_audit(world.store, tenant="~platform", day=utc_day(world.clock.now()))
    told = [(one.actor, one.action) for one in reversed(page.records) if one.target == repair.id]
    assert told == [("ada", "repair.requested"), ("grace", "repair.approved"), ("platform", "repair.done")]


async def test_approved_repair_behind_hundreds_of_newer_ones_is_carried_out():
    world = DeskWorld()
    payment = await world.sale(1000)
    repair = await asked(world, Action.REFUND, payment)
    for _ in range(250):
        world.clock.advance(1)
        item = Item(payment, "ten_1", 1, 1, "EUR")
        await ask_for_repair(world.repairs, Action.REFUND, [item], reason="newer", by="ada")
    (item,) = await carried_out(world, repair)
    assert item.became is Became.DONE
    assert refunds(world, payment) == [1000]


async def test_stopped_repair_says_how_much_was_done_and_how_much_is_left():
    world = DeskWorld()
    payments = [await world.sale(1000, key=f"k{number}") for number in range(3)]
    repair = await asked(world, Action.REFUND, *payments)
    await decide_repair(world.repairs, repair.id, by="grace", approve=True)
    get = world.repairs.payments.store.get

    async def stopping(key):
        """When two are refunded and the third one is about to be looked at."""
        if key.partition.startswith("~desk/repairs") and sum(map(bool, (refunds(world, one) for one in payments))) == 2:
            who, asked_by[:] = asked_by[:1], []
            for one in who:
                await stop_repair(world.repairs, repair.id, by=one)
        return await get(key)

    asked_by = ["ada"]
    store = _Store(world.repairs.payments.store, get=stopping)
    repairs = world.repairs._replace(payments=world.repairs.payments._replace(store=store))
    await world.finish(world.node.start(run_repair(repairs, repair.id)))
    assert [refunds(world, one) for one in payments] == [[1000], [1000], []]
    found, _ = await load_repair(world.store, repair.id)
    assert (found.stage, found.done, found.left) == (Stage.STOPPED, 2, 1)
    page = await list_audit(world.store, tenant="~platform", day=utc_day(world.clock.now()))
    (told,) = [one.detail for one in page.records if one.action == "repair.stopped"]
    assert told == {"action": "refund", "done": 2, "skipped": 0, "failed": 0, "left": 1}


async def test_item_under_way_when_it_is_stopped_is_counted_when_it_is_done():
    world = DeskWorld()
    payments = [await world.sale(1000, key=f"k{number}") for number in range(2)]
    repair = await asked(world, Action.REFUND, *payments)
    await decide_repair(world.repairs, repair.id, by="grace", approve=True)
    world.faults(latency={"kind": "constant", "ms": 3000})
    task = world.node.start(run_repair(world.repairs, repair.id))
    await world.clock.settle()
    while (await see_repair(world.store, repair.id)).done == 0:
        await world.clock.run_for(0.5)
    await world.clock.settle()
    assert [refunds(world, one) for one in payments] == [[1000], [1000]]
    await stop_repair(world.repairs, repair.id, by="ada")
    await world.finish(task)
    found, _ = await load_repair(world.store, repair.id)
    assert (found.stage, found.done, found.left) == (Stage.STOPPED, 2, 0)


async def test_head_says_how_far_it_is_from_page_to_page():
    world = DeskWorld()
    payments = [await world.sale(100, key=f"k{place}") for place in range(ITEMS_OF_A_PAGE + 1)]
    repair = await asked(world, Action.REFUND, *payments)
    await decide_repair(world.repairs, repair.id, by="grace", approve=True)
    heads = []
    commit = world.repairs.payments.store.commit

    async def noting(writes, events=()):
        await commit(writes, events)
        heads.append((await load_repair(world.store, repair.id))[0].done)

    store = _Store(world.repairs.payments.store, commit=noting)
    repairs = world.repairs._replace(payments=world.repairs.payments._replace(store=store))
    await world.finish(world.node.start(run_repair(repairs, repair.id)))
    assert list(dict.fromkeys(heads)) == [0, ITEMS_OF_A_PAGE, ITEMS_OF_A_PAGE + 1]
