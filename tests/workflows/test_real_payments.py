"""Recovery, capture in time and bulk refunds with their real steps: what the providers saw, and what is in the books."""

import pytest

from interlock.core.kernel.alarms import Alarm, Severity
from interlock.core.kernel.clock import MINUTE, rfc3339
from interlock.core.kernel.errors import Conflict, Forbidden, NotFound
from interlock.core.kernel.workflows import Status
from interlock.core.payments.bulk_refunds import decide_bulk_refund, load_bulk_refund
from tests.scenarios.world import DAY
from tests.workflows.desk import Desk

LATER_MS = 10 * MINUTE


def rows(world, payment_id, operation):
    found = world.rows(payment_id)
    return [row for row in found if row["kind"] == operation]


# -- recover a payment -------------------------------------------------------------------------------------------------


async def test_uncertain_payment_is_looked_up_until_it_is_certain_and_is_charged_once():
    desk = Desk()
    answer = await desk.world.pay(token="tok_timeout_after_accept")
    assert answer.status == 202
    payment = answer.json["id"]
    done = await desk.finished(await desk.start("recover_payment", {"payment": payment}))
    assert done.output["status"] == "certain" and done.output["state"] == "succeeded"
    assert len(rows(desk.world, payment, "charge")) == 1
    assert "workflow.needs_attention" not in desk.world.alarms()
    await desk.world.assert_invariants()


async def test_payment_nobody_can_tell_of_calls_a_person_and_nothing_is_sent_again():
    desk = Desk(operations={"lookup": {"unavailable": 1}})
    payment = (await desk.world.pay(token="tok_timeout_after_accept")).json["id"]
    input = {"payment": payment, "tries_max": 4, "pause_s": 5}
    done = await desk.finished(await desk.start("recover_payment", input))
    assert done.output == {"status": "needs_attention", "payment": payment, "why": "tries_exhausted", "tries": 4}
    alarm = {"name": "recover_payment/x1", "aggregate": payment, "reason": "tries_exhausted"}
    assert ("error", "workflow.needs_attention", alarm) in desk.world.telemetry.lines
    what = f"recover_payment/x1: tries_exhausted ({payment})"
    named = {"workflow": "recover_payment", "execution": "x1"}
    assert desk.alarms.raised == [Alarm("workflow-needs-attention", Severity.WARNING, what, named)]
    assert len(rows(desk.world, payment, "charge")) == 1
    desk.world.faults()
    await desk.world.assert_invariants()


async def test_payment_that_is_certain_needs_one_look():
    desk = Desk()
    payment = await desk.world.sale()
    done = await desk.finished(await desk.start("recover_payment", {"payment": payment}))
    assert done.output == {"status": "certain", "payment": payment, "state": "succeeded", "tries": 1}


async def test_payment_of_another_tenant_is_none():
    desk = Desk()
    payment = await desk.world.sale()
    done = await desk.finished(await desk.start("recover_payment", {"payment": payment, "tenant": "ten_2"}))
    assert (done.output["status"], done.output["why"]) == ("needs_attention", "Rejected")


# -- capture later -----------------------------------------------------------------------------------------------------


async def later(desk, payment, **fields):
    at = rfc3339(desk.world.clock.now() + LATER_MS)
    return await desk.start("capture_later", {"payment": payment, "at": at} | fields)


async def test_authorised_payment_is_captured_at_its_time_and_not_before():
    desk = Desk()
    payment, began = await desk.world.authorize(1000), desk.world.clock.now()
    execution = await later(desk, payment, amount=600)
    done = await desk.finished(execution)
    assert done.output == {"status": "captured", "payment": payment}
    assert 0 <= desk.world.clock.now() - began - LATER_MS < 5_000
    assert [row["amount"] for row in rows(desk.world, payment, "capture")] == [600]
    assert desk.world.payment(payment).amount_captured == 600
    await desk.world.assert_invariants()


async def test_capture_run_again_is_answered_as_the_first_and_moves_nothing():
    desk = Desk()
    payment = await desk.world.authorize(1000)
    answers = [await desk.step("capture_payment", payment=payment, amount=None) for _ in range(3)]
    assert answers == [{"outcome": "captured", "state": "succeeded"}] * 3
    assert len(rows(desk.world, payment, "capture")) == 1


@pytest.mark.parametrize(("verb", "state"), [("cancel", "canceled"), ("capture", "succeeded")])
async def test_void_or_capture_by_somebody_else_ends_it_quietly(verb, state):
    desk = Desk()
    payment = await desk.world.authorize(1000)
    execution = await later(desk, payment)
    assert (await desk.world.act(payment, verb)).status == 200
    done = await desk.finished(execution)
    assert done.output == {"status": "not_needed", "payment": payment, "state": state}
    assert len(rows(desk.world, payment, "capture")) == (verb == "capture")
    assert desk.world.alarms() == []
    await desk.world.assert_invariants()


async def test_capture_of_unknown_outcome_goes_on_to_recovery_and_is_taken_once():
    desk = Desk()
    payment = await desk.world.authorize(1000)
    execution = await later(desk, payment)
    desk.world.faults(operations={"capture": {"timeout_after_accept": 1}})
    done = await desk.finished(execution)
    assert done.output == {"status": "recovering", "payment": payment, "recovery": "recover_payment/x1"}
    recovered = await desk.finished("recover_payment/x1")
    assert (recovered.output["status"], recovered.output["state"]) == ("certain", "succeeded")
    assert desk.world.payment(payment).amount_captured == 1000
    assert len(rows(desk.world, payment, "capture")) == 1
    await desk.world.assert_invariants()


async def test_capture_of_too_much_calls_a_person_and_takes_nothing():
    desk = Desk()
    payment = await desk.world.authorize(1000)
    done = await desk.finished(await later(desk, payment, amount=1001))
    assert (done.output["status"], done.output["why"]) == ("needs_attention", "Invalid")
    assert rows(desk.world, payment, "capture") == []


async def test_store_that_takes_nothing_for_a_while_is_waited_for():
    desk = Desk()
    payment = await desk.world.authorize(1000)
    execution = await later(desk, payment)
    desk.world.fail("unavailable", "unavailable", when="store.get")
    done = await desk.finished(execution)
    assert done.output == {"status": "captured", "payment": payment}
    assert (await desk.history(execution))[2].startswith("Capture: failed Unavailable, retried, ")


# -- bulk refunds ------------------------------------------------------------------------------------------------------


async def bulk(desk, items, id="b1"):
    """A request that waits for its second person."""
    execution = await desk.start("bulk_refund", {"requested_by": "ann", "items": items}, id)

    async def is_asked():
        try:
            return await load_bulk_refund(desk.means.payments, tenant="ten_1", id=id)
        except NotFound:
            return False

    await desk.until(is_asked)
    return execution


async def decide(desk, by, *, approve=True, id="b1"):
    await decide_bulk_refund(desk.means.payments, desk.workflows, tenant="ten_1", id=id, by=by, approve=approve)


async def test_bulk_refund_approved_by_another_refunds_what_it_can_and_tells_of_each():
    desk = Desk()
    sales = [await desk.world.sale(1000, key=f"s{n}") for n in range(4)]
    assert (await desk.world.act(sales[1], "refunds", {"amount": 1000}, key="r")).status == 201
    items = [{"payment": payment, "amount": 300} for payment in sales[:3]]
    items.append({"payment": sales[3], "reason": "duplicate"})
    execution = await bulk(desk, items)
    await decide(desk, "bob")
    done = await desk.finished(execution)
    assert done.status is Status.SUCCEEDED
    assert (done.output["outcome"], done.output["refunded"]) == ("approved", 3)
    assert done.output["not_refunded"] == [{"item": 1, "payment": sales[1], "status": "failed", "error": "Rejected"}]
    refunded = [desk.world.payment(payment).amount_refunded for payment in sales]
    assert refunded == [300, 1000, 300, 1000]
    assert [len(rows(desk.world, payment, "refund")) for payment in sales] == [1, 1, 1, 1]
    assert "payment.bulk_refund_incomplete" in desk.world.alarms()
    kept = await load_bulk_refund(desk.means.payments, tenant="ten_1", id="b1")
    assert (kept.stage, kept.decided_by, kept.token, len(kept.results)) == ("approved", "bob", "", 4)
    await desk.world.assert_invariants()


async def test_two_items_of_one_payment_are_two_refunds():
    desk = Desk()
    sale = await desk.world.sale(1000)
    execution = await bulk(desk, [{"payment": sale, "amount": 100}] * 2)
    await decide(desk, "bob")
    assert (await desk.finished(execution)).output["refunded"] == 2
    assert desk.world.payment(sale).amount_refunded == 200


async def test_who_asked_cannot_approve_and_nobody_decides_twice():
    desk = Desk()
    sale = await desk.world.sale(1000)
    execution = await bulk(desk, [{"payment": sale}])
    with pytest.raises(Forbidden):
        await decide(desk, "ann")
    assert (await desk.workflows.describe(execution)).status is Status.RUNNING
    await decide(desk, "bob")
    with pytest.raises(Conflict):
        await decide(desk, "carl", approve=False)
    assert (await desk.finished(execution)).output["outcome"] == "approved"
    with pytest.raises(Conflict):
        await decide(desk, "carl")
    assert desk.world.payment(sale).amount_refunded == 1000


@pytest.mark.parametrize("by", ["bob", "ann"])
async def test_rejected_by_another_or_taken_back_it_ends_with_nothing_done(by):
    desk = Desk()
    sale = await desk.world.sale(1000)
    execution = await bulk(desk, [{"payment": sale}])
    await decide(desk, by, approve=False)
    done = await desk.finished(execution)
    assert done.output == {"outcome": "rejected", "refunded": 0, "not_refunded": []}
    kept = await load_bulk_refund(desk.means.payments, tenant="ten_1", id="b1")
    assert (kept.stage, kept.decided_by) == ("rejected", by)
    assert rows(desk.world, sale, "refund") == []
    assert desk.world.alarms() == []


async def test_unanswered_for_three_days_it_ends_with_nothing_done():
    desk = Desk()
    sale = await desk.world.sale(1000)
    execution = await bulk(desk, [{"payment": sale}])
    desk.world.clock.advance(3 * DAY - 60)
    await desk.pause()
    assert (await desk.workflows.describe(execution)).status is Status.RUNNING
    desk.world.clock.advance(60)
    assert (await desk.finished(execution)).output["outcome"] == "timed_out"
    with pytest.raises(Conflict):
        await decide(desk, "bob")
    assert rows(desk.world, sale, "refund") == []


async def test_item_of_unknown_outcome_is_told_as_unknown_and_refunded_once():
    desk = Desk()
    sale = await desk.world.sale(1000)
    desk.world.faults(operations={"refund": {"timeout_after_accept": 1}})
    execution = await bulk(desk, [{"payment": sale, "amount": 300}])
    await decide(desk, "bob")
    done = await desk.finished(execution)
    assert done.output["not_refunded"] == [{"item": 0, "payment": sale, "status": "unknown", "error": "OutcomeUnknown"}]
    desk.world.faults()
    await desk.world.settle()
    assert desk.world.payment(sale).amount_refunded == 300
    assert len(rows(desk.world, sale, "refund")) == 1
    await desk.world.assert_invariants()


async def test_malformed_bulk_refund_fails_before_anybody_is_asked():
    desk = Desk()
    sale = await desk.world.sale(1000)
    for n, items in enumerate(([], [{"payment": sale, "amount": -1}], [{"payment": "x"}], [{"payment": sale}] * 201)):
        done = await desk.finished(await desk.start("bulk_refund", {"requested_by": "ann", "items": items}, f"m{n}"))
        assert (done.status, done.error) == (Status.FAILED, "Invalid")
    assert rows(desk.world, sale, "refund") == []


async def test_two_hundred_items_pass_through_whole():
    desk = Desk()
    sale = await desk.world.sale(1000)
    execution = await bulk(desk, [{"payment": sale, "amount": 1001}] * 200)
    await decide(desk, "bob")
    done = await desk.finished(execution)
    assert (done.status, len(done.output["not_refunded"])) == (Status.SUCCEEDED, 200)


async def test_token_of_a_bulk_refund_is_in_no_repr():
    desk = Desk()
    await bulk(desk, [{"payment": await desk.world.sale(1000)}])
    kept = await load_bulk_refund(desk.means.payments, tenant="ten_1", id="b1")
    assert len(kept.token) > 40
    assert kept.token not in repr(kept)
    assert kept.token not in repr(desk.world.telemetry.lines)
