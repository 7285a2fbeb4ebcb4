"""What a repair says became of each payment is what became of it."""

from __future__ import annotations

from interlock.core.desk.repair.model import Action, Became
from interlock.core.kernel.providers import Outcome
from interlock.core.payments.states import RefundState, State
from interlock.core.payments.sweeping import Looked, look_now
from tests.core.desk.desk_world import DeskWorld
from tests.core.desk.repair.carrying import asked, carried_out

PAID = {"amount": 1000, "currency": "EUR", "payment_method": {"type": "card", "token": "tok_approve"}}


async def test_refund_that_did_not_happen_is_failed_with_the_reason():
    world = DeskWorld()
    payment = await world.sale(1000)
    repair = await asked(world, Action.REFUND, payment)
    world.faults(operations={"refund": {"rate_limited": 1}})
    (item,) = await carried_out(world, repair)
    (refund,) = world.payment(payment).refunds
    assert refund.state is RefundState.FAILED
    assert (item.became, item.detail) == (Became.FAILED, f"{refund.id} failed: provider_unavailable")


async def test_refund_whose_outcome_is_unknown_is_under_way_and_says_so():
    world = DeskWorld()
    world.mail_held = True
    payment = await world.sale(1000)
    repair = await asked(world, Action.REFUND, payment)
    world.faults(operations={"refund": {"timeout_before_accept": 1}, "lookup": {"unavailable": 1}})
    (item,) = await carried_out(world, repair)
    (refund,) = world.payment(payment).refunds
    assert refund.state is RefundState.PENDING
    assert (item.became, item.detail) == (
        Became.DONE, f"{refund.id} is under way: the provider has not said its last word",
    )  # fmt: skip


async def test_release_that_did_not_happen_is_failed_and_the_money_still_held():
    world = DeskWorld()
    payment = await world.authorize(1000)
    repair = await asked(world, Action.CANCEL, payment)
    world.faults(operations={"void": {"rate_limited": 1}})
    (item,) = await carried_out(world, repair)
    assert world.payment(payment).state is State.AUTHORIZED
    assert (item.became, item.detail[:37]) == (Became.FAILED, "not released, status requires_capture")


async def test_release_whose_outcome_is_unknown_is_under_way_and_says_so():
    world = DeskWorld()
    world.mail_held = True
    payment = await world.authorize(1000)
    repair = await asked(world, Action.CANCEL, payment)
    world.faults(operations={"void": {"timeout_before_accept": 1}, "lookup": {"unavailable": 1}})
    (item,) = await carried_out(world, repair)
    assert world.payment(payment).state is State.CANCEL_UNCERTAIN
    assert (item.became, item.detail) == (
        Became.DONE, "the release is under way: the provider has not said its last word",
    )  # fmt: skip


async def test_release_of_what_was_left_after_a_capture_in_part_is_done():
    world = DeskWorld()
    payment = await world.authorize(1000)
    await world.act(payment, "capture", {"amount": 400}, key="merchant")
    await world.settle()
    (item,) = await carried_out(world, await asked(world, Action.CANCEL, payment))
    assert world.payment(payment).state is State.SUCCEEDED
    assert (item.became, item.detail) == (Became.DONE, "released, status succeeded")


async def test_uncertain_payment_whose_time_has_not_come_is_asked_about_and_settled():
    world, payment = await uncertain()
    repair = await asked(world, Action.LOOK_UP, payment)
    world.faults()
    asked_before = world.payment(payment).attempts[0].lookups
    (item,) = await carried_out(world, repair)
    assert (item.became, item.detail) == (Became.DONE, "state succeeded")
    assert world.payment(payment).attempts[0].lookups == asked_before + 1


async def test_payment_that_stays_uncertain_is_not_done():
    world, payment = await uncertain()
    due = world.payment(payment).attempts[0].deadline
    (item,) = await carried_out(world, await asked(world, Action.LOOK_UP, payment))
    assert world.payment(payment).state is State.UNCERTAIN
    assert item.became is Became.FAILED
    assert item.detail.startswith("still uncertain: simulator_a did not say (")
    assert world.payment(payment).attempts[0].deadline == due


async def test_payer_who_has_time_left_is_not_given_up_by_a_look():
    world = DeskWorld()
    payment = (await world.pay(1000, token="tok_3ds")).json["id"]
    before = world.payment(payment)
    assert before.state is State.REQUIRES_ACTION
    (item,) = await carried_out(world, await asked(world, Action.LOOK_UP, payment))
    assert (item.became, item.detail) == (Became.DONE, "state requires_action")
    assert world.payment(payment) == before


async def test_request_that_may_still_be_on_its_way_is_left_to_who_sent_it():
    world = DeskWorld()
    looked = await look_at_one_that_is_being_sent(world)
    assert (looked.asked, looked.unsaid) == (0, ("it was sent a moment ago, and the answer may be on its way",))
    assert looked.is_uncertain


async def test_two_who_look_at_once_settle_it_once():
    world, payment = await uncertain()
    world.faults()
    both = [world.node.start(look_now(world.node.payments, "ten_1", payment)) for _ in range(2)]
    for look in both:
        await world.finish(look)
    assert (await world.events(payment)).count("payment.succeeded") == 1
    await world.assert_invariants()


async def look_at_one_that_is_being_sent(world: DeskWorld) -> Looked:
    world.faults(latency={"kind": "constant", "ms": 5000})
    sending = world.begin("POST", "/v1/payments", PAID, key="k1")
    await world.clock.settle()
    (payment,) = world.payments()
    looked = await world.finish(world.node.start(look_now(world.node.payments, "ten_1", payment.id)))
    await world.finish(sending)
    return looked


async def uncertain() -> tuple[DeskWorld, str]:
    """A payment that the platform looks at next in a while."""
    world = DeskWorld(operations={"lookup": {"unavailable": 1}})
    world.mail_held = True
    payment = (await world.pay(1500, token="tok_timeout_after_accept")).json["id"]
    await world.run(90)
    attempt = world.payment(payment).attempts[0]
    assert attempt.outcome is Outcome.UNKNOWN and attempt.deadline > world.clock.now()
    return world, payment
