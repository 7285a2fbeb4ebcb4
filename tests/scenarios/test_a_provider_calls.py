"""A. What a provider's answer, or its absence, does to a payment."""

import pytest

from interlock.core.payments.states import State
from interlock.simulator.books import Verdict
from interlock.simulator.model import Status
from tests.scenarios.world import DAY, HOUR, MINUTE, World


def charges(world, payment_id, name="simulator_a"):
    return world.instances[name].books.charges_of(payment_id=payment_id)


async def test_read_timeout_after_acceptance_is_answered_202_and_found_by_lookup():
    """1."""
    world = World()
    await world.hook()
    answer = await world.pay(token="tok_timeout_after_accept")
    assert (answer.status, answer.json["status"], answer.json["attempts"][0]["outcome"]) == (
        202,
        "processing",
        "unknown",
    )
    assert "payment.outcome_unknown" in world.alarms()
    await world.run(5)
    payment = world.payment(answer.json["id"])
    assert (payment.state, payment.amount_captured) == (State.SUCCEEDED, 1000)
    await world.assert_invariants()
    assert [row["times_requested"] for row in world.rows(payment.id)] == [1]


async def test_read_timeout_before_acceptance_fails_only_when_the_provider_must_have_heard_and_is_never_sent_again():
    """1."""
    world = World()
    answer = await world.pay(token="tok_timeout_before_accept")
    assert answer.status == 202
    await world.run(30)
    assert world.payment(answer.json["id"]).state is State.UNCERTAIN, "so soon, not knowing it proves nothing"
    await world.run(30)
    assert world.payment(answer.json["id"]).state is State.FAILED
    assert world.payment(answer.json["id"]).decline.code == "provider_unavailable"
    assert not charges(world, answer.json["id"])
    await world.assert_invariants()
    assert world.instances["simulator_a"].books.requested[answer.json["attempts"][0]["id"]][2] == 1


async def test_refused_connection_goes_to_the_next_provider_and_the_first_books_nothing():
    """2."""
    world = World()
    world.faults(outages=[{"mode": "connect_refused"}])
    answer = await world.pay()
    assert (answer.status, answer.json["status"], answer.json["provider"]) == (201, "succeeded", "simulator_b")
    assert [one["outcome"] for one in answer.json["attempts"]] == ["not_sent", "approved"]
    assert not world.instances["simulator_a"].books.requested
    await world.assert_invariants()


async def test_refused_connection_everywhere_fails_softly_with_nothing_charged():
    """2."""
    world = World(outages=[{"mode": "connect_refused"}])
    answer = await world.pay()
    assert (answer.status, answer.json["status"], answer.json["decline"]["kind"]) == (201, "failed", "soft")
    assert len(answer.json["attempts"]) == 2
    await world.assert_invariants()


@pytest.mark.parametrize("fault", ["garbage", "truncated", "stalled", "huge", "endless", "reset_after_accept"])
async def test_unreadable_answer_is_unknown_and_found_by_lookup(fault):
    """3."""
    world = World(operations={"charge": {fault: 1}})
    answer = await world.pay()
    assert (answer.status, answer.json["attempts"][0]["outcome"]) == (202, "unknown")
    await world.run(10)
    assert world.payment(answer.json["id"]).state is State.SUCCEEDED
    await world.assert_invariants()


@pytest.mark.parametrize("fault", ["garbage", "truncated", "error_though_charged", "timeout_after_accept"])
@pytest.mark.parametrize("verb", ["capture", "cancel", "refunds"])
async def test_unreadable_answer_to_a_follow_on_is_unknown_and_found_by_lookup(verb, fault):
    """3, 5: nothing is captured, released or given back a second time."""
    world = World()
    await world.hook()
    payment_id = await world.sale() if verb == "refunds" else await world.authorize()
    kind = {"capture": "capture", "cancel": "void", "refunds": "refund"}[verb]
    world.faults(operations={kind: {fault: 1}})
    answer = await world.act(payment_id, verb)
    assert answer.status == 202
    await world.assert_invariants()
    payment = world.payment(payment_id)
    assert (payment.state, payment.amount_captured, payment.amount_refunded) == {
        "capture": (State.SUCCEEDED, 1000, 0),
        "cancel": (State.CANCELED, 0, 0),
        "refunds": (State.SUCCEEDED, 1000, 1000),
    }[verb]


@pytest.mark.parametrize("fault", ["wrong_amount", "wrong_currency"])
async def test_answer_with_another_amount_is_unknown_with_an_alarm_and_found_by_lookup(fault):
    """4."""
    world = World(operations={"charge": {fault: 1}})
    answer = await world.pay()
    assert answer.json["attempts"][0]["outcome"] == "unknown"
    assert world.alarms() == ["provider.alarm_raised", "payment.outcome_unknown"]
    await world.run(10)
    assert world.payment(answer.json["id"]).amount_captured == 1000
    await world.assert_invariants()


async def test_provider_that_goes_on_lying_keeps_the_payment_uncertain_and_nothing_else_starts():
    """4, 9: a lookup that names another amount is no answer either."""
    world = World(
        operations={"charge": {"wrong_amount": 1}, "lookup": {"wrong_amount": 1}}, notifications={"drop_rate": 1}
    )
    answer = await world.pay()
    payment_id = answer.json["id"]
    await world.run(3 * HOUR)
    assert world.payment(payment_id).state is State.UNCERTAIN
    refused = await world.act(payment_id, "cancel")
    assert (refused.status, refused.json["code"]) == (409, "payment_busy")
    lookups = sum(call[0] == "interlock_sweeper_lookups_total" and n for call, n in world.telemetry.counts.items())
    assert 20 < lookups < 60, "the pauses grow"
    world.faults()
    await world.run(HOUR)
    assert world.payment(payment_id).state is State.SUCCEEDED
    await world.assert_invariants()


async def test_server_error_though_charged_is_unknown_and_found_by_lookup():
    """5."""
    world = World()
    answer = await world.pay(token="tok_error_though_charged")
    assert answer.json["attempts"][0]["outcome"] == "unknown"
    await world.run(10)
    assert world.payment(answer.json["id"]).amount_captured == 1000
    await world.assert_invariants()


async def test_rate_limited_authorisation_goes_to_the_next_provider():
    """6."""
    world = World()
    answer = await world.pay(token="tok_rate_limited-at-simulator_a")
    assert (answer.json["status"], answer.json["provider"]) == ("succeeded", "simulator_b")
    await world.assert_invariants()


@pytest.mark.parametrize("verb", ["capture", "cancel", "refunds"])
async def test_rate_limited_follow_on_did_not_happen_and_can_be_asked_again(verb):
    """6."""
    world = World()
    payment_id = await world.sale() if verb == "refunds" else await world.authorize()
    before = world.payment(payment_id)
    world.faults(rates={"rate_limited": 1})
    await world.act(payment_id, verb)
    after = world.payment(payment_id)
    assert (after.state, after.refundable, after.capturable) == (before.state, before.refundable, before.capturable)
    world.faults()
    assert (await world.act(payment_id, verb, key="k3")).json["status"] in ("succeeded", "canceled")
    await world.assert_invariants()


async def test_refund_whose_key_the_provider_has_forgotten_is_given_up_and_never_sent_again():
    """7."""
    world = World()
    payment_id = await world.sale()
    world.faults(
        operations={"refund": {"timeout_before_accept": 1}, "lookup": {"unavailable": 1}},
        notifications={"drop_rate": 1},
    )
    assert (await world.act(payment_id, "refunds")).status == 202
    await world.run(DAY + HOUR)
    assert world.payment(payment_id).refunds[0].state == "pending", "nobody said that it did not happen"
    world.faults()
    await world.run(HOUR)
    payment = world.payment(payment_id)
    assert (payment.refunds[0].state, payment.refundable) == ("failed", 1000)
    assert world.instances["simulator_a"].books.requested[payment.attempts[-1].id][2] == 1
    await world.assert_invariants()


async def test_refund_the_provider_never_got_is_sent_again_under_its_own_key_while_that_is_good():
    """7."""
    world = World(operations={"refund": {"timeout_before_accept": 1}})
    payment_id = await world.sale()
    assert (await world.act(payment_id, "refunds", {"amount": 400})).status == 202
    world.faults()
    await world.run(5 * MINUTE)
    payment = world.payment(payment_id)
    assert payment.amount_refunded == 400
    assert (payment.attempts[-1].resends, len(payment.attempts)) == (1, 2)
    await world.assert_invariants()


async def test_answer_about_another_reference_is_unknown_with_an_alarm():
    """8."""
    world = World(operations={"charge": {"wrong_reference": 1}})
    answer = await world.pay()
    assert answer.json["attempts"][0]["outcome"] == "unknown"
    assert "provider.alarm_raised" in world.alarms()
    await world.run(10)
    assert world.payment(answer.json["id"]).state is State.SUCCEEDED
    await world.assert_invariants()


@pytest.mark.parametrize(
    "token", ["tok_timeout_after_accept", "tok_timeout_before_accept", "tok_garbage", "tok_error_though_charged"]
)
async def test_unknown_is_never_tried_elsewhere(token):
    """9."""
    world = World()
    await world.pay(token=token)
    await world.run(HOUR)
    assert not world.instances["simulator_b"].books.requested
    await world.assert_invariants()


async def test_decline_that_another_provider_may_change_is_tried_there_and_others_are_not():
    """9."""
    world = World()
    there = await world.pay(token="tok_decline_issuer_unavailable-at-simulator_a")
    assert (there.json["status"], there.json["provider"]) == ("succeeded", "simulator_b")
    here = await world.pay(token="tok_decline_stolen-at-simulator_a", key="k2")
    assert (here.json["status"], here.json["decline"]["code"]) == ("failed", "stolen_card")
    await world.assert_invariants()


@pytest.mark.parametrize(("capture_method", "back"), [("automatic", "refund"), ("manual", "void")])
async def test_approval_after_a_declared_failure_is_given_back_and_both_are_on_record(capture_method, back):
    """10."""
    world = World()
    await world.hook()
    answer = await world.pay(token="tok_late_approval", capture_method=capture_method)
    assert (answer.status, answer.json["status"]) == (201, "failed")
    await world.run(MINUTE)
    payment = world.payment(answer.json["id"])
    assert (payment.state, payment.amount_captured) == (State.FAILED, 0)
    assert [(a.operation, a.outcome, a.late, a.reverses) for a in payment.attempts] == [
        ("authorize", "approved", True, False),
        (back, "approved", False, True),
    ]
    assert "payment.late_approval" in world.alarms()
    await world.assert_invariants()


async def test_charge_accepted_after_it_was_given_up_is_given_back():
    """10: the request was on its way for longer than anybody waits."""
    world = World(operations={"charge": {"late_accept": 1}}, late_accept_s=300)
    answer = await world.pay()
    await world.run(4 * MINUTE)
    assert world.payment(answer.json["id"]).state is State.FAILED
    await world.run(4 * MINUTE)
    payment = world.payment(answer.json["id"])
    assert (payment.attempts[0].late, payment.attempts[-1].reverses, payment.attempts[-1].outcome) == (
        True,
        True,
        "approved",
    )
    await world.assert_invariants()


async def test_late_approval_of_the_first_provider_leaves_the_second_ones_charge_alone():
    """10."""
    world = World()
    world.faults(late_approval_s=30)
    answer = await world.pay(token="tok_decline_issuer_unavailable-at-simulator_a")
    payment_id, first = answer.json["id"], answer.json["attempts"][0]["id"]
    books = world.instances["simulator_a"].books
    assert books.settle(books.operation(first), Verdict(Status.AUTHORIZED))
    world.instances["simulator_a"].changed(books.operation(first))
    await world.run(MINUTE)
    payment = world.payment(payment_id)
    assert (payment.state, payment.provider, payment.amount_captured) == (State.SUCCEEDED, "simulator_b", 1000)
    assert charges(world, payment_id)[0].refunded == 1000
    await world.assert_invariants()


async def test_pending_that_ends_declined_fails_and_charges_nothing():
    """The provider has it, and says no later."""
    world = World(operations={"charge": {"pending": 1}}, pending_s=80_000)
    answer = await world.pay()
    assert (answer.status, answer.json["status"]) == (202, "processing")
    instance = world.instances["simulator_a"]
    operation = instance.books.operation(answer.json["attempts"][0]["id"])
    instance.books.settle(operation, Verdict(Status.DECLINED, "insufficient_funds"))
    instance._due.clear()
    instance.changed(operation)
    await world.run(MINUTE)
    payment = world.payment(answer.json["id"])
    assert (payment.state, payment.decline.code) == (State.FAILED, "insufficient_funds")
    await world.assert_invariants()


async def test_refund_that_is_pending_for_days_stays_reserved_and_is_asked_about_now_and_then():
    world = World(operations={"refund": {"pending": 1}}, pending_s=3 * 86_400, notifications={"drop_rate": 1})
    payment_id = await world.sale()
    assert (await world.act(payment_id, "refunds", {"amount": 400})).status == 202
    await world.run(2 * DAY)
    assert (world.payment(payment_id).refundable, world.payment(payment_id).amount_refunded) == (600, 0)
    more = await world.act(payment_id, "refunds", {"amount": 700}, key="k3")
    assert more.json["code"] == "amount_too_large"
    await world.run(2 * DAY)
    assert world.payment(payment_id).amount_refunded == 400
    lookups = sum(call[0] == "interlock_sweeper_lookups_total" and n for call, n in world.telemetry.counts.items())
    assert 70 < lookups < 100
    await world.assert_invariants()
