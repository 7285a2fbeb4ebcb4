"""Commands over the store: two commits around each call, idempotency, races and interruptions."""

import asyncio

import msgspec
import pytest

from interlock.core.kernel.errors import (
    Conflict,
    IdempotencyKeyReused,
    Invalid,
    NotFound,
    RequestInFlight,
)
from interlock.core.kernel.providers import Action, CallReport, Decline, Outcome, Result, Retry
from interlock.core.payments.calls import record_result
from interlock.core.payments.commands import CapturePayment, CardToken, CreatePayment, RefundPayment, RoutingWish
from interlock.core.payments.commits import Cause
from interlock.core.payments.handlers import (
    capture_payment,
    create_payment,
    load_payment,
    load_refund,
    refund_payment,
)
from interlock.core.payments.model import decode_payment
from interlock.core.payments.records import payment_key
from interlock.core.payments.states import State
from interlock.core.payments.sweeping import due_payments, sweep_payment
from tests.core.payments.platform import NOW, World, approved, request

PAY = CreatePayment(1000, "EUR", CardToken("card", "tok_approve"))
MANUAL = CreatePayment(1000, "EUR", CardToken("card", "tok_approve"), capture_method="manual")


def body(reply):
    return msgspec.json.decode(reply.body)


async def sweep(world):
    for item in await due_payments(world.payments):
        await sweep_payment(world.payments, item)


async def stored(world, payment_id, tenant="ten_1"):
    return decode_payment((await world.store.get(payment_key(tenant, payment_id))).value)


async def test_create_answers_the_snapshot_of_the_second_commit():
    world = World()
    world.will(approved())
    reply = await create_payment(world.payments, PAY, request())
    assert reply.status == 201
    assert body(reply)["status"] == "succeeded"
    events = await world.store.history(body(reply)["id"])
    assert [(event.type, event.version) for event in events] == [("payment.created", 1), ("payment.succeeded", 2)]
    assert bytes(msgspec.json.decode(events[1].data, type=dict[str, msgspec.Raw])["payment"]) == reply.body


async def test_the_attempt_is_on_record_before_the_provider_is_called():
    world = World()
    heard = asyncio.get_running_loop().create_future()
    world.will(heard)
    task = asyncio.create_task(create_payment(world.payments, PAY, request()))
    while not world.gateway.asked:
        await asyncio.sleep(0)
    _, op, _ = world.gateway.asked[0]
    payment = await stored(world, op.payment_id)
    assert payment.state is State.AUTHORIZING
    assert payment.attempts[0].id == op.attempt_id
    heard.set_result(approved())
    await task


async def test_same_key_same_body_is_answered_byte_for_byte_without_a_second_call():
    world = World()
    world.will(approved())
    first = await create_payment(world.payments, PAY, request())
    again = await create_payment(world.payments, PAY, request())
    assert (again.status, again.body, again.replayed) == (first.status, first.body, True)
    assert len(world.gateway.asked) == 1


async def test_the_replay_is_the_old_answer_also_after_the_payment_went_on():
    world = World()
    world.will(approved(captured=False), approved(captured=False))
    first = await create_payment(world.payments, MANUAL, request())
    payment_id = body(first)["id"]
    await capture_payment(world.payments, payment_id, CapturePayment(), request("k2", path="/capture"))
    assert (await create_payment(world.payments, MANUAL, request())).body == first.body


async def test_same_key_other_body_is_refused_and_nothing_is_written():
    world = World()
    world.will(approved())
    await create_payment(world.payments, PAY, request(body="one"))
    with pytest.raises(IdempotencyKeyReused):
        await create_payment(world.payments, PAY, request(body="two"))
    assert len(world.gateway.asked) == 1


async def test_same_key_in_flight_is_refused_until_the_answer_is_there():
    world = World()
    heard = asyncio.get_running_loop().create_future()
    world.will(heard)
    task = asyncio.create_task(create_payment(world.payments, PAY, request()))
    while not world.gateway.asked:
        await asyncio.sleep(0)
    with pytest.raises(RequestInFlight):
        await create_payment(world.payments, PAY, request())
    heard.set_result(approved())
    first = await task
    assert (await create_payment(world.payments, PAY, request())).body == first.body


@pytest.mark.parametrize("other", [{"tenant": "ten_2"}, {"path": "/v1/other"}])
async def test_same_key_of_another_tenant_or_path_is_another_request(other):
    world = World()
    world.will(approved(), approved(reference="ch_2"))
    first = await create_payment(world.payments, PAY, request())
    second = await create_payment(world.payments, PAY, request(**other))
    assert body(first)["id"] != body(second)["id"]


async def test_a_key_is_free_again_after_its_time():
    world = World()
    world.will(approved(), approved(reference="ch_2"))
    first = await create_payment(world.payments, PAY, request())
    world.at(NOW + 8 * 86_400_000 - 1)
    assert (await create_payment(world.payments, PAY, request())).replayed
    world.at(NOW + 8 * 86_400_000)
    second = await create_payment(world.payments, PAY, request())
    assert body(second)["id"] != body(first)["id"]


async def test_crash_during_the_call_is_finished_by_the_sweeper_and_the_retry_gets_its_answer():
    world = World()
    world.will(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await create_payment(world.payments, PAY, request())
    with pytest.raises(RequestInFlight):
        await create_payment(world.payments, PAY, request())
    world.at(NOW + 41_000)
    world.will(approved())
    await sweep(world)
    reply = await create_payment(world.payments, PAY, request())
    assert (reply.status, body(reply)["status"], reply.replayed) == (201, "succeeded", True)
    assert [op.action for _, op, _ in world.gateway.asked] == [Action.AUTHORIZE, Action.LOOKUP]


async def test_an_authorise_attempt_the_provider_never_heard_of_fails_and_is_never_sent_again():
    world = World()
    world.will(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await create_payment(world.payments, PAY, request())
    for later in (41_000, 50_000, 60_000):
        world.at(NOW + later)
        world.will(Result(Outcome.NOT_SENT))
        await sweep(world)
    reply = await create_payment(world.payments, PAY, request())
    assert body(reply)["status"] == "failed"
    assert body(reply)["decline"]["code"] == "provider_unavailable"
    assert {op.action for _, op, _ in world.gateway.asked[1:]} == {Action.LOOKUP}


async def test_a_refund_the_provider_never_heard_of_is_sent_again_under_the_same_key():
    world = World()
    world.will(approved(), asyncio.CancelledError())
    payment_id = body(await create_payment(world.payments, PAY, request()))["id"]
    with pytest.raises(asyncio.CancelledError):
        await refund_payment(world.payments, payment_id, RefundPayment(400), request("k2"))
    world.at(NOW + 41_000)
    world.will(Result(Outcome.NOT_SENT))
    await sweep(world)
    world.at(NOW + 46_000)
    world.will(Result(Outcome.NOT_SENT), approved())
    await sweep(world)
    reply = await refund_payment(world.payments, payment_id, RefundPayment(400), request("k2"))
    assert (reply.status, body(reply)["status"]) == (201, "succeeded")
    sent = [(op.attempt_id, resend) for _, op, resend in world.gateway.asked if op.action is Action.REFUND]
    assert sent[0][0] == sent[1][0]
    assert [resend for _, resend in sent] == [False, True]


async def test_unknown_is_answered_202_looked_up_with_growing_pauses_and_never_sent_elsewhere():
    world = World()
    world.will(Result(Outcome.UNKNOWN, detail="read_timeout"))
    reply = await create_payment(world.payments, PAY, request())
    assert (reply.status, body(reply)["status"], body(reply)["attempts"][0]["outcome"]) == (
        202,
        "processing",
        "unknown",
    )
    assert world.telemetry.alarms() == ["payment.outcome_unknown"]
    for pause in (2_000, 4_000, 8_000):
        world.at(world.clock.now() + pause - 1)
        assert await due_payments(world.payments) == []
        world.at(world.clock.now() + 1)
        world.will(Result(Outcome.UNKNOWN))
        await sweep(world)
    world.at(world.clock.now() + 16_000)
    world.will(approved())
    await sweep(world)
    assert (await stored(world, body(reply)["id"])).state is State.SUCCEEDED
    assert {provider for provider, _, _ in world.gateway.asked} == {"a"}
    assert (await create_payment(world.payments, PAY, request())).body == reply.body


async def test_not_sent_goes_to_the_next_provider():
    world = World()
    world.will(Result(Outcome.NOT_SENT, detail="connect"), approved())
    reply = await create_payment(world.payments, PAY, request())
    assert body(reply)["provider"] == "b"
    assert [attempt["outcome"] for attempt in body(reply)["attempts"]] == ["not_sent", "approved"]


async def test_a_pinned_provider_is_never_left():
    world = World()
    world.will(Result(Outcome.NOT_SENT))
    pinned = CreatePayment(1000, "EUR", CardToken("card", "tok_x"), routing=RoutingWish("b"))
    reply = await create_payment(world.payments, pinned, request())
    assert body(reply)["status"] == "failed"
    assert [provider for provider, _, _ in world.gateway.asked] == ["b"]


async def test_an_unknown_pinned_provider_is_refused_and_nothing_is_written():
    world = World()
    pinned = CreatePayment(1000, "EUR", CardToken("card", "tok_x"), routing=RoutingWish("zzz"))
    with pytest.raises(Invalid) as refused:
        await create_payment(world.payments, pinned, request())
    assert refused.value.faults[0].pointer == "/routing/provider"
    assert await world.store.get(request().key) is None


async def test_two_refunds_at_once_above_the_total_give_back_only_one():
    world = World()
    world.will(approved(), approved(), approved())
    payment_id = body(await create_payment(world.payments, PAY, request()))["id"]
    both = await asyncio.gather(
        refund_payment(world.payments, payment_id, RefundPayment(600), request("k2")),
        refund_payment(world.payments, payment_id, RefundPayment(600), request("k3")),
        return_exceptions=True,
    )
    refused = [outcome for outcome in both if isinstance(outcome, Invalid)]
    assert len(refused) == 1
    assert (await stored(world, payment_id)).amount_refunded == 600


async def test_two_captures_at_once_take_the_money_once():
    world = World()
    world.will(approved(captured=False), approved())
    payment_id = body(await create_payment(world.payments, MANUAL, request()))["id"]
    both = await asyncio.gather(
        capture_payment(world.payments, payment_id, CapturePayment(), request("k2")),
        capture_payment(world.payments, payment_id, CapturePayment(), request("k3")),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, Conflict) for outcome in both) == 1
    assert (await stored(world, payment_id)).amount_captured == 1000


async def test_same_capture_twice_at_once_is_one_capture_and_one_is_in_flight():
    world = World()
    heard = asyncio.get_running_loop().create_future()
    world.will(approved(captured=False), heard)
    payment_id = body(await create_payment(world.payments, MANUAL, request()))["id"]
    first = asyncio.create_task(capture_payment(world.payments, payment_id, CapturePayment(), request("k2")))
    while len(world.gateway.asked) < 2:
        await asyncio.sleep(0)
    with pytest.raises(RequestInFlight):
        await capture_payment(world.payments, payment_id, CapturePayment(), request("k2"))
    heard.set_result(approved())
    reply = await first
    assert (await capture_payment(world.payments, payment_id, CapturePayment(), request("k2"))).body == reply.body
    assert (await stored(world, payment_id)).amount_captured == 1000


async def test_two_sweepers_at_once_look_once():
    world = World()
    world.will(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await create_payment(world.payments, PAY, request())
    world.at(NOW + 41_000)
    world.will(approved(), approved())
    (item,) = await due_payments(world.payments)
    await asyncio.gather(sweep_payment(world.payments, item), sweep_payment(world.payments, item))
    assert [op.action for _, op, _ in world.gateway.asked] == [Action.AUTHORIZE, Action.LOOKUP]


async def test_a_worker_that_slept_past_its_time_does_not_send():
    world = World()
    store_commit = world.store.commit

    async def slow_commit(writes, events=()):
        await store_commit(writes, events)
        world.at(NOW + 60_000)

    world.store.commit = slow_commit
    with pytest.raises(RequestInFlight):
        await create_payment(world.payments, PAY, request())
    assert world.gateway.asked == []


async def test_a_stale_workers_approval_is_recorded_and_given_back():
    world = World()
    heard = asyncio.get_running_loop().create_future()
    world.will(heard)
    task = asyncio.create_task(create_payment(world.payments, PAY, request()))
    while not world.gateway.asked:
        await asyncio.sleep(0)
    world.at(NOW + 50_000)
    world.will(Result(Outcome.NOT_SENT))
    await sweep(world)
    payment_id = world.gateway.asked[0][1].payment_id
    assert (await stored(world, payment_id)).state is State.FAILED
    world.will(
        approved(reference="ch_late"), approved(reference="re_1")
    )  # asked whether that is true now; then given back
    heard.set_result(approved(reference="ch_late"))
    reply = await task
    assert body(reply)["status"] == "failed"
    payment = await stored(world, payment_id)
    assert [(a.operation, a.outcome, a.late, a.reverses) for a in payment.attempts] == [
        (Action.AUTHORIZE, Outcome.APPROVED, True, False),
        (Action.REFUND, Outcome.APPROVED, False, True),
    ]
    assert "payment.late_approval" in world.telemetry.alarms()


async def test_authorisation_expires_by_itself():
    world = World()
    world.will(approved(captured=False))
    payment_id = body(await create_payment(world.payments, MANUAL, request()))["id"]
    world.at((await stored(world, payment_id)).authorization_expires_at)
    world.will(Result(Outcome.DECLINED, decline=Decline("hard", "expired", Retry.NEVER)))
    await sweep(world)
    payment = await stored(world, payment_id)
    assert (payment.state, payment.cancel_reason) == (State.CANCELED, "authorization_expired")


async def test_a_payer_who_never_acts_is_given_up():
    world = World()
    world.will(
        Result(Outcome.REQUIRES_ACTION, provider_reference="ch_1", next_action={"type": "redirect", "url": "http://x"})
    )
    payment_id = body(await create_payment(world.payments, PAY, request()))["id"]
    world.at(NOW + 30 * 60_000)
    world.will(Result(Outcome.REQUIRES_ACTION), approved(captured=False))
    await sweep(world)
    payment = await stored(world, payment_id)
    assert (payment.state, payment.cancel_reason) == (State.CANCELED, "abandoned")
    assert await due_payments(world.payments) == []


async def test_another_tenants_payment_is_not_found():
    world = World()
    world.will(approved())
    payment_id = body(await create_payment(world.payments, PAY, request()))["id"]
    with pytest.raises(NotFound):
        await load_payment(world.payments, "ten_2", payment_id)


async def test_a_refund_is_found_by_its_id():
    world = World()
    world.will(approved(), approved())
    payment_id = body(await create_payment(world.payments, PAY, request()))["id"]
    refund_id = body(await refund_payment(world.payments, payment_id, RefundPayment(), request("k2")))["id"]
    assert (await load_refund(world.payments, "ten_1", refund_id)).payment.id == payment_id
    with pytest.raises(NotFound):
        await load_refund(world.payments, "ten_2", refund_id)


async def test_a_notification_that_is_faster_than_the_answer_gives_the_answer():
    world = World()
    heard = asyncio.get_running_loop().create_future()
    world.will(heard)
    task = asyncio.create_task(create_payment(world.payments, PAY, request()))
    while not world.gateway.asked:
        await asyncio.sleep(0)
    _, op, _ = world.gateway.asked[0]
    held = await load_payment(world.payments, "ten_1", op.payment_id)
    report = CallReport(approved())
    await record_result(world.payments, held, op.attempt_id, report, Cause("notification", None, report))
    heard.set_result(approved())
    reply = await task
    assert (reply.status, body(reply)["status"], reply.replayed) == (201, "succeeded", False)
    events = await world.store.history(op.payment_id)
    assert [event.type for event in events] == ["payment.created", "payment.succeeded"]


async def test_an_authorisation_expires_only_after_the_unknown_refund_is_known():
    world = World()
    world.will(approved(captured=False), approved(), Result(Outcome.UNKNOWN))
    payment_id = body(await create_payment(world.payments, MANUAL, request()))["id"]
    await capture_payment(world.payments, payment_id, CapturePayment(400), request("k2"))
    await refund_payment(world.payments, payment_id, RefundPayment(100), request("k3"))
    payment = await stored(world, payment_id)
    world.at(payment.authorization_expires_at)
    world.will(Result(Outcome.UNKNOWN))
    await sweep(world)
    assert (await stored(world, payment_id)).state is State.AUTHORIZED
    world.at(payment.authorization_expires_at + 3_600_000)
    world.will(approved())
    await sweep(world)
    world.will(approved())
    await sweep(world)
    assert (await stored(world, payment_id)).state is State.SUCCEEDED
    assert (await stored(world, payment_id)).amount_released == 600


async def test_a_look_that_never_left_makes_no_pause_grow():
    world = World()
    world.will(Result(Outcome.UNKNOWN, detail="read_timeout"))
    payment_id = body(await create_payment(world.payments, PAY, request()))["id"]
    for _ in range(3):
        world.at(world.clock.now() + 2_000)
        world.will(Result(Outcome.UNKNOWN, detail="breaker_open"))
        await sweep(world)
        assert (await stored(world, payment_id)).attempts[0].deadline == world.clock.now() + 2_000
