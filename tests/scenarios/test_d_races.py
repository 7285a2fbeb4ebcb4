"""D. Two at once. Each story is told under many interleavings of the tasks; whichever wins, the money is right."""

import asyncio

import pytest

from interlock.core.payments.states import State
from tests.scenarios.world import HOUR, MINUTE, World

SEEDS = range(1, 16)


async def both(world, *requests):
    """Requests that are under way at the same time; their answers."""
    tasks = [world.begin("POST", f"/v1/payments/{pid}/{verb}", body, key=key) for pid, verb, body, key in requests]
    return [await world.finish(task) for task in tasks]


def outcomes(answers):
    return sorted(answer.status for answer in answers)


@pytest.mark.parametrize("seed", SEEDS)
async def test_capture_and_cancel_at_once_do_one_and_refuse_the_other(seed):
    """27."""
    world = World(seed=seed)
    payment_id = await world.authorize()
    answers = await both(world, (payment_id, "capture", None, "k2"), (payment_id, "cancel", None, "k3"))
    assert outcomes(answers) == [200, 409]
    assert {answer.json["code"] for answer in answers if answer.status == 409} <= {"payment_busy", "payment_state"}
    payment = world.payment(payment_id)
    assert (payment.state, payment.amount_captured) in ((State.SUCCEEDED, 1000), (State.CANCELED, 0))
    assert len(payment.attempts) == 2
    await world.assert_invariants()


@pytest.mark.parametrize("seed", SEEDS)
async def test_two_captures_at_once_take_the_money_once(seed):
    """28."""
    world = World(seed=seed)
    payment_id = await world.authorize()
    answers = await both(world, (payment_id, "capture", None, "k2"), (payment_id, "capture", None, "k3"))
    assert outcomes(answers) == [200, 409]
    assert world.payment(payment_id).amount_captured == 1000
    await world.assert_invariants()


@pytest.mark.parametrize("seed", SEEDS)
async def test_same_capture_twice_at_once_is_one_capture_and_both_get_its_answer(seed):
    """28, 36."""
    world = World(seed=seed)
    payment_id = await world.authorize()
    answers = await both(world, (payment_id, "capture", None, "k2"), (payment_id, "capture", None, "k2"))
    assert 200 in outcomes(answers)
    assert all(one.status == 200 or one.json["code"] == "request_in_flight" for one in answers)
    assert len(world.payment(payment_id).attempts) == 2
    await world.assert_invariants()


@pytest.mark.parametrize("seed", SEEDS)
async def test_two_refunds_at_once_above_the_total_give_back_one(seed):
    """29."""
    world = World(seed=seed)
    payment_id = await world.sale()
    answers = await both(
        world, (payment_id, "refunds", {"amount": 600}, "k2"), (payment_id, "refunds", {"amount": 600}, "k3")
    )
    assert outcomes(answers) == [201, 400]
    assert world.payment(payment_id).amount_refunded == 600
    await world.assert_invariants()


@pytest.mark.parametrize("seed", SEEDS)
async def test_two_refunds_at_once_within_the_total_both_go_out(seed):
    """29."""
    world = World(seed=seed)
    payment_id = await world.sale()
    answers = await both(
        world, (payment_id, "refunds", {"amount": 600}, "k2"), (payment_id, "refunds", {"amount": 400}, "k3")
    )
    assert outcomes(answers) == [201, 201]
    assert world.payment(payment_id).amount_refunded == 1000
    await world.assert_invariants()


@pytest.mark.parametrize("seed", SEEDS)
async def test_refund_and_dispute_at_once_never_take_more_than_was_captured(seed):
    """30: the provider takes both when they fit together, and refuses one when they do not."""
    world = World(seed=seed)
    payment_id = await world.sale()
    task = world.begin("POST", f"/v1/payments/{payment_id}/refunds", {"amount": 600}, key="k2")
    if seed % 2:
        await asyncio.sleep(0)
    world.control("POST", "/disputes", {"payment_id": payment_id, "amount": 500, "status": "opened"})
    await world.work()
    await world.finish(task)
    await world.run(HOUR)
    payment = world.payment(payment_id)
    assert payment.amount_refunded + payment.amount_disputed <= 1000
    assert payment.amount_disputed + sum(dispute.excess for dispute in payment.disputes) == 500
    await world.assert_invariants()


async def test_dispute_above_what_a_refund_has_left_is_held_in_suspense_with_an_alarm():
    """30: the provider took both."""
    world = World()
    payment_id = await world.sale()
    world.mail_held = True
    world.control("POST", "/disputes", {"payment_id": payment_id, "amount": 500, "status": "opened"})
    world.faults(operations={"refund": {"timeout_before_accept": 1}})
    assert (await world.act(payment_id, "refunds", {"amount": 800})).status == 202
    world.mail_held = False
    await world.run(1)
    (dispute,) = world.payment(payment_id).disputes
    assert (dispute.amount, dispute.excess) == (200, 300)
    assert "payment.dispute_above_refundable" in world.alarms()
    world.faults()
    await world.run(HOUR)
    payment = world.payment(payment_id)
    assert payment.refunds[0].state == "failed", "the provider had only 500 left"
    world.control("POST", "/disputes", {"payment_id": payment_id, "status": "won"})
    await world.run(MINUTE)
    assert world.payment(payment_id).refundable == 1000
    await world.assert_invariants()


@pytest.mark.parametrize("seed", SEEDS)
async def test_two_confirms_at_once_authorise_once(seed):
    """31."""
    world = World(seed=seed)
    created = await world.pay(confirm=False)
    assert created.json["status"] == "requires_confirmation"
    payment_id = created.json["id"]
    answers = await both(world, (payment_id, "confirm", None, "k2"), (payment_id, "confirm", None, "k3"))
    assert outcomes(answers) == [200, 409]
    assert len(world.payment(payment_id).attempts) == 1
    await world.assert_invariants()


@pytest.mark.parametrize("seed", SEEDS)
async def test_confirm_and_cancel_at_once_do_not_both_happen(seed):
    """31."""
    world = World(seed=seed)
    payment_id = (await world.pay(confirm=False)).json["id"]
    answers = await both(world, (payment_id, "confirm", None, "k2"), (payment_id, "cancel", None, "k3"))
    assert outcomes(answers) == [200, 409]
    assert world.payment(payment_id).state in (State.SUCCEEDED, State.CANCELED)
    await world.assert_invariants()


async def test_refund_while_a_capture_is_unknown_is_refused_until_it_is_found():
    """32."""
    world = World()
    payment_id = await world.authorize()
    assert (await world.act(payment_id, "capture", {"amount": 300})).json["amount_captured"] == 300
    world.faults(
        operations={"capture": {"timeout_after_accept": 1}, "lookup": {"unavailable": 1}},
        notifications={"drop_rate": 1},
    )
    assert (await world.act(payment_id, "capture", {"amount": 500}, key="k3")).status == 202
    refused = await world.act(payment_id, "refunds", {"amount": 100}, key="k4")
    assert (refused.status, refused.json["code"]) == (409, "payment_busy")
    world.faults()
    await world.run(HOUR)
    assert (await world.act(payment_id, "refunds", {"amount": 800}, key="k5")).status == 201
    assert world.payment(payment_id).amount_captured == 800
    await world.assert_invariants()


async def test_capture_and_cancel_while_a_refund_is_unknown_are_refused():
    """32, the other way round."""
    world = World(notifications={"drop_rate": 1})
    payment_id = await world.authorize()
    await world.act(payment_id, "capture", {"amount": 300})
    world.faults(operations={"refund": {"garbage": 1}, "lookup": {"unavailable": 1}}, notifications={"drop_rate": 1})
    assert (await world.act(payment_id, "refunds", None, key="k3")).status == 202
    for verb, key in (("capture", "k4"), ("cancel", "k5"), ("refunds", "k6")):
        refused = await world.act(payment_id, verb, None, key=key)
        assert (refused.status, refused.json["code"]) == (409, "payment_busy"), verb
    await world.run(8 * 24 * HOUR)
    assert world.payment(payment_id).state is State.AUTHORIZED, "nor does the authorisation expire meanwhile"
    assert not world.errors
    world.faults()
    await world.run(2 * HOUR)
    payment = world.payment(payment_id)
    assert (payment.state, payment.amount_refunded, payment.cancel_reason) == (
        State.SUCCEEDED,
        300,
        "authorization_expired",
    )
    await world.assert_invariants()


@pytest.mark.parametrize("result", ["authenticated", "failed"])
@pytest.mark.parametrize("capture_method", ["automatic", "manual"])
@pytest.mark.parametrize("seed", SEEDS[:8])
async def test_cancel_while_the_payer_returns_from_the_challenge_ends_in_one_of_both(seed, capture_method, result):
    """33."""
    world = World(seed=seed)
    payment_id = (await world.pay(token="tok_3ds", capture_method=capture_method)).json["id"]
    world.mail_at_once = seed % 4 == 0
    task = world.begin("POST", f"/v1/payments/{payment_id}/cancel", None, key="k2")
    for _ in range(seed * 2):
        await asyncio.sleep(0)
    charge = world.instances["simulator_a"].books.charges_of(payment_id=payment_id)[0]
    if world.instances["simulator_a"].books.operations[charge.operation].status == "requires_action":
        world.complete_challenge(payment_id, result)
    answer = await world.finish(task)
    assert answer.status == 200
    await world.run(2 * HOUR)
    payment = world.payment(payment_id)
    assert payment.state in (State.SUCCEEDED, State.CANCELED, State.FAILED)
    assert payment.amount_captured in (0, 1000)
    assert not [alarm for alarm in world.alarms() if alarm != "payment.late_approval"]
    await world.assert_invariants()


@pytest.mark.parametrize("seed", SEEDS)
async def test_two_sweepers_at_once_look_once(seed):
    world = World(seed=seed, notifications={"drop_rate": 1})
    await world.pay(token="tok_timeout_after_accept")
    other = type(world.node)(world, "other")
    world.clock.advance(3)
    world.node.turn()
    other.turn()
    await world.clock.settle()
    await world.work()
    lookups = sum(call[0] == "interlock_sweeper_lookups_total" and n for call, n in world.telemetry.counts.items())
    assert lookups == 1
    other.die()
    await world.assert_invariants()


@pytest.mark.parametrize("seed", SEEDS)
async def test_answer_lookup_and_notification_at_once_record_the_charge_once(seed):
    """18, 17: the caller hears, the sweeper finds and the provider tells, all in the same instant."""
    world = World(seed=seed)
    world.faults(latency={"kind": "constant", "ms": 45})
    task = world.begin(
        "POST",
        "/v1/payments",
        {"amount": 1000, "currency": "EUR", "payment_method": {"type": "card", "token": "tok_approve"}},
        key="k1",
    )
    await world.clock.settle()
    (payment,) = world.payments()
    # The attempt's time is over while its call is still under way: a clock that jumps.
    world.clock.advance(41)
    await world.work()
    answer = await world.finish(task)
    assert answer.status in (201, 202)
    await world.run(MINUTE)
    assert world.payment(payment.id).state is State.SUCCEEDED
    assert (await world.events(payment.id)).count("payment.succeeded") == 1
    await world.assert_invariants()


@pytest.mark.parametrize("seed", SEEDS)
async def test_capture_at_the_instant_of_expiry_ends_captured_or_released_and_never_both(seed):
    """48, 52."""
    world = World(seed=seed)
    payment_id = await world.authorize()
    await world.run(7 * 24 * HOUR - 0.001)
    assert world.payment(payment_id).state is State.AUTHORIZED
    task = world.begin("POST", f"/v1/payments/{payment_id}/capture", None, key="k2")
    for _ in range(seed % 5):
        await asyncio.sleep(0)
    world.clock.advance(0.001)
    await world.work()
    await world.finish(task)
    await world.run(HOUR)
    payment = world.payment(payment_id)
    assert payment.state in (State.SUCCEEDED, State.CANCELED)
    await world.assert_invariants()
