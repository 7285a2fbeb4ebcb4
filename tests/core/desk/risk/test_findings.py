"""Money whose books do not agree, and providers that contradict: found from events and by the proof, and gone by themselves."""

import random

import pytest

from interlock.core.desk.risk.commands import ExplainFinding
from interlock.core.desk.risk.handlers import explain_finding
from interlock.core.desk.risk.looking import follow, prove
from interlock.core.desk.risk.model import Kind
from interlock.core.desk.risk.records import open_findings
from interlock.core.kernel.errors import Conflict, NotFound
from interlock.core.kernel.idempotency import Request
from interlock.core.kernel.store import ABSENT, Delete, Put
from interlock.core.ledger.records import journal_key, journal_of, journal_write
from tests.core.desk.desk_world import DeskWorld
from tests.scenarios.test_c_notifications import notice
from tests.scenarios.world import HOUR, MINUTE

SOMEBODY = Request("ten_1", None, "", "desk:ada", "req_1")


async def journals(world, payment_id):
    return [one for event in await world.store.history(payment_id) if (one := journal_of(event)) is not None]


async def lose_journal(world, payment_id, place=0):
    """Somebody's hand, or a restored backup."""
    journal = (await journals(world, payment_id))[place]
    item = await world.store.get(journal_key(journal))
    await world.store.commit([Delete(item.key, item.version)])
    return journal


async def proof(world):
    return await prove(world.watch, world.feed)


async def listed(world):
    return {(one.kind, one.payment, one.merchant, one.amount, one.currency) for one in await world.risks()}


# -- captured and not posted -------------------------------------------------------------------------------------------


async def test_payment_whose_books_agree_is_no_risk():
    world = DeskWorld()
    payment = await world.sale(800)
    await world.act(payment, "refunds", {"amount": 300})
    await world.settle()
    await world.look()
    await proof(world)
    assert await world.risks() == []


async def test_journal_that_is_not_in_the_ledger_when_its_event_is_followed_is_found_and_ends_when_it_is_back():
    world = DeskWorld()
    payment = await world.sale(800)
    journal = await lose_journal(world, payment)
    await world.look()
    (risk,) = await world.risks()
    assert (risk.kind, risk.payment, risk.merchant, risk.amount) == (Kind.NOT_POSTED, payment, "ten_1", 800)
    assert journal.id in risk.detail
    assert world.alarms() == ["payment.not_posted"]
    await world.store.commit([Put(journal_key(journal), journal_write(journal).value, ABSENT)])
    await world.look()
    assert await world.risks() == []


async def test_journal_lost_later_is_found_by_the_nightly_proof_and_its_finding_ends_with_the_proof_that_agrees():
    world = DeskWorld()
    payment = await world.sale(800)
    await world.look()
    journal = await lose_journal(world, payment)
    assert await world.risks() == []
    await proof(world)
    (risk,) = await world.risks()
    assert (risk.kind, risk.payment, risk.amount, risk.since) == (Kind.NOT_POSTED, payment, 800, world.clock.now())
    await world.run(MINUTE)
    await proof(world)
    assert [one.since for one in await world.risks()] == [risk.since]
    await world.store.commit([Put(journal_key(journal), journal_write(journal).value, ABSENT)])
    await proof(world)
    assert await world.risks() == []


async def test_damage_that_comes_while_a_proof_runs_and_has_passed_it_is_not_ended_by_that_proof():
    world = DeskWorld()
    payment = await world.sale(800)
    await lose_journal(world, payment)
    await world.look()

    class Passed:
        """A feed that this payment's history is not in any more."""

        def __getattr__(self, name):
            return getattr(world.feed, name)

        async def read(self, **given):
            found = await world.feed.read(**given)
            return [one for one in found if one.event.aggregate != payment]

    await prove(world.watch, Passed())
    (risk,) = await world.risks()
    assert (risk.kind, risk.payment) == (Kind.NOT_POSTED, payment)


async def test_journal_of_another_amount_in_the_ledger_is_found():
    world = DeskWorld()
    payment = await world.sale(800)
    (journal,) = await journals(world, payment)
    item = await world.store.get(journal_key(journal))
    await world.store.commit([Put(item.key, item.value.replace(b"800", b"900"), item.version)])
    await world.look()
    (risk,) = await world.risks()
    assert (risk.kind, risk.payment) == (Kind.NOT_POSTED, payment)


async def test_payment_restored_from_an_older_backup_is_found():
    world = DeskWorld()
    payment = await world.authorize(1000)
    key = next(key for key in world.items if key.sort == "payment")
    older = world.items[key]
    await world.act(payment, "capture")
    now = world.items[key]
    await world.store.commit([Put(key, older.value, now.version, older.indexes)])
    await world.look()
    (risk,) = await world.risks()
    assert (risk.kind, risk.payment, risk.amount) == (Kind.NOT_POSTED, payment, 1000)
    assert "events go on to" in risk.detail


async def test_journal_that_no_event_carries_is_found_by_the_proof_and_not_ended_by_a_look_at_the_payment():
    world = DeskWorld()
    payment = await world.sale(800)
    await world.run(1)
    (journal,) = await journals(world, payment)
    stray = type(journal)(
        **{name: getattr(journal, name) for name in journal.__struct_fields__} | {"id": world.ids.new("jrn")}
    )
    await world.store.commit([journal_write(stray)])
    await proof(world)
    (risk,) = await world.risks()
    assert (risk.kind, risk.payment, risk.amount) == (Kind.NOT_POSTED, payment, 800)
    await world.look()
    assert len(await world.risks()) == 1
    item = await world.store.get(journal_key(stray))
    await world.store.commit([Delete(item.key, item.version)])
    await proof(world)
    assert await world.risks() == []


async def test_books_that_differ_cannot_be_explained_away():
    world = DeskWorld()
    await lose_journal(world, await world.sale(800))
    await world.look()
    (risk,) = await world.risks()
    with pytest.raises(Conflict):
        await explain_finding(world.watch, risk.finding, ExplainFinding("it is fine"), SOMEBODY)
    assert len(await world.risks()) == 1


# -- a provider contradicts --------------------------------------------------------------------------------------------


async def test_answer_about_another_amount_is_drift_until_the_provider_says_the_amount_that_was_asked_for():
    world = DeskWorld(operations={"lookup": {"wrong_amount": 1}})
    world.mail_held = True
    payment = (await world.pay(1500, token="tok_wrong_amount")).json["id"]
    await world.look()
    (risk,) = await world.risks()
    assert (risk.kind, risk.payment, risk.amount, risk.currency) == (Kind.DRIFT, payment, 1500, "EUR")
    world.faults()
    world.mail_held = False
    await world.settle()
    await world.look()
    assert await world.risks() == []


async def test_lookup_that_speaks_of_another_amount_after_a_call_that_was_not_answered_is_drift():
    world = DeskWorld(operations={"lookup": {"wrong_amount": 1}})
    world.mail_held = True
    payment = (await world.pay(1500, token="tok_timeout_after_accept")).json["id"]
    await world.run(30)
    await world.look()
    assert (Kind.DRIFT, payment, "ten_1", 1500, "EUR") in await listed(world)


@pytest.mark.parametrize(
    ("said", "amount"), [({"amount": 1600}, 1600), ({"amount": 900}, 1500), ({"currency": "USD"}, 1500)]
)
async def test_notification_that_contradicts_what_is_booked_is_drift_until_a_later_one_agrees(said, amount):
    world = DeskWorld()
    payment = await world.sale(1500)
    await world.settle()
    attempt = world.last_attempt(payment).id
    await world.tell_us(notice(world, attempt, **said))
    await world.work_queue()
    await world.look()
    assert await listed(world) == {(Kind.DRIFT, payment, "ten_1", amount, "EUR")}
    await world.run(1)
    await world.tell_us(notice(world, attempt))
    await world.work_queue()
    await world.look()
    assert await world.risks() == []
    await world.assert_invariants()


async def test_money_taken_for_a_payment_nobody_knows_is_drift_without_a_payment():
    world = DeskWorld()
    payment = await world.sale(1500)
    await world.settle()
    stranger = "pay_" + "7" * 26
    body = notice(world, world.last_attempt(payment).id, metadata={"tenant": "ten_1", "payment_id": stranger})
    await world.tell_us(body)
    await world.run(5 * MINUTE)
    await world.look()
    assert await world.risks() == []
    await world.run(30 * MINUTE)
    await world.look()
    (risk,) = await world.risks()
    assert (risk.kind, risk.payment, risk.merchant, risk.amount) == (Kind.DRIFT, "", "", 1500)
    assert (risk.provider, risk.reference) == ("simulator_a", stranger)


async def contradicted(world):
    payment = await world.sale(1500)
    await world.settle()
    await world.tell_us(notice(world, world.last_attempt(payment).id, amount=1600))
    await world.work_queue()
    await world.look()
    return payment


async def test_explained_drift_is_over_with_its_reason_on_record_until_the_provider_contradicts_again():
    world = DeskWorld()
    payment = await contradicted(world)
    (risk,) = await world.risks()
    ended = await explain_finding(world.watch, risk.finding, ExplainFinding("  their test account "), SOMEBODY)
    assert (ended.ended_by, ended.reason) == ("desk:ada", "their test account")
    records = [event for event in await world.every_event() if event.type == "audit.recorded"]
    assert b"their test account" in bytes(records[-1].facts) and b"finding.explained" in bytes(records[-1].facts)
    await world.look()
    assert await world.risks() == []
    with pytest.raises(NotFound):
        await explain_finding(world.watch, risk.finding, ExplainFinding("again"), SOMEBODY)
    await world.run(1)
    await world.tell_us(notice(world, world.last_attempt(payment).id, amount=1700))
    await world.work_queue()
    await world.look()
    assert await listed(world) == {(Kind.DRIFT, payment, "ten_1", 1700, "EUR")}


async def test_drift_that_was_ended_by_an_answer_does_not_come_back_with_money_that_moves_later():
    world = DeskWorld(operations={"lookup": {"wrong_amount": 1}})
    world.mail_held = True
    payment = (await world.pay(1500, token="tok_wrong_amount")).json["id"]
    await world.look()
    assert len(await world.risks()) == 1
    world.faults()
    world.mail_held = False
    await world.settle()
    await world.look()
    assert await world.risks() == []
    seen = len(await world.every_event())
    await world.act(payment, "refunds", {"amount": 300})
    await world.settle()
    await follow(world.watch, (await world.every_event())[seen:])
    assert await world.risks() == []


# -- what it reads -----------------------------------------------------------------------------------------------------


class CountedStore:
    def __init__(self, store):
        self._store = store
        self.histories = []

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def history(self, aggregate, **given):
        self.histories.append(aggregate)
        return await self._store.history(aggregate, **given)


async def test_payment_whose_events_came_together_is_looked_at_without_reading_them_once_more():
    world = DeskWorld()
    payment = await world.sale(800)
    await world.settle()
    events = [event for event in await world.every_event() if event.aggregate == payment]
    store = CountedStore(world.store)
    await lose_journal(world, payment)
    await follow(world.watch._replace(store=store), [*reversed(events), events[0]])
    assert store.histories == []
    (risk,) = await world.risks()
    assert (risk.kind, risk.payment, risk.amount) == (Kind.NOT_POSTED, payment, 800)


@pytest.mark.parametrize("told", [slice(None, 2), slice(1, 2), slice(2, None)], ids=["went on", "both", "began before"])
async def test_payment_that_went_on_meanwhile_or_began_before_is_read_whole(told):
    world = DeskWorld()
    payment = await world.sale(800)
    await world.settle()
    await world.act(payment, "refunds", {"amount": 300})
    await world.settle()
    await lose_journal(world, payment, place=1)
    events = [event for event in await world.every_event() if event.aggregate == payment]
    store = CountedStore(world.store)
    await follow(world.watch._replace(store=store), events[told])
    assert store.histories == [payment]
    (risk,) = await world.risks()
    assert (risk.kind, risk.payment, risk.amount) == (Kind.NOT_POSTED, payment, 300)


# -- all of it ---------------------------------------------------------------------------------------------------------


async def test_risk_list_is_the_truth_of_a_seeded_world_whatever_the_order_of_events():
    """Forty payments, some of which are damaged; the list names those, however its events come."""
    chance = random.Random(20)
    world = DeskWorld()
    truth = set()
    for number in range(40):
        amount = chance.randrange(100, 90_000)
        payment = await world.sale(amount, key=f"sale-{number}", reference=f"order-{number}")
        await world.settle()
        damage = chance.choice(("none", "none", "lost", "lost refund", "other amount", "stranger"))
        if damage == "lost":
            await lose_journal(world, payment)
            truth.add((Kind.NOT_POSTED, payment, "ten_1", amount, "EUR"))
        elif damage == "lost refund":
            await world.act(payment, "refunds", {"amount": 40}, key=f"refund-{number}")
            await world.settle()
            await lose_journal(world, payment, place=1)
            truth.add((Kind.NOT_POSTED, payment, "ten_1", 40, "EUR"))
        elif damage == "other amount":
            await world.tell_us(notice(world, world.last_attempt(payment).id, amount=amount + 7))
            await world.work_queue()
            truth.add((Kind.DRIFT, payment, "ten_1", amount + 7, "EUR"))
        elif damage == "stranger":
            told = {"tenant": "ten_1", "payment_id": f"pay_{number:026d}"}
            await world.tell_us(notice(world, world.last_attempt(payment).id, metadata=told))
            truth.add((Kind.DRIFT, "", "", amount, "EUR"))
    await world.run(HOUR)
    events = await world.every_event()
    shuffled = [*events, *chance.sample(events, len(events) // 2)]
    chance.shuffle(shuffled)
    for start in range(0, len(shuffled), 17):
        await follow(world.watch, shuffled[start : start + 17])
    assert await listed(world) == truth
    before = await open_findings(world.store)
    await follow(world.watch, events)
    await proof(world)
    assert await listed(world) == truth
    assert {one.id: one.since for one in await open_findings(world.store)} == {one.id: one.since for one in before}
