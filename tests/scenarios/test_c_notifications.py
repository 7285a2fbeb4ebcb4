"""C. What providers tell us, whenever and however often it comes."""

import asyncio

import msgspec
import pytest

from interlock.core.kernel.secrets import Secret
from interlock.core.notifications.model import QUEUE, Progress, decode_notification
from interlock.core.payments.states import State
from interlock.simulator.books import Verdict
from interlock.simulator.messages import NoticeDocument, encode
from interlock.simulator.model import Status
from tests.providers.simulator.harness import SIGNING
from tests.scenarios.world import HOUR, MINUTE, World


def stored(world):
    """Every notification kept, in order of arrival."""
    return [decode_notification(item) for key, item in world.items.items() if key.sort == "notification"]


def notice(world, operation_id, *, status=None, name="simulator_a", **changed):
    """What the provider would say of one of its operations; `changed` are fields of the operation."""
    instance = world.instances[name]
    document = msgspec.to_builtins(instance.document(instance.books.operation(operation_id), status))
    told = NoticeDocument("notification", world.ids.new("snt"), "operation.updated", world.clock.now(), name)
    return encode(msgspec.structs.replace(told, operation=document | changed))


async def test_news_before_the_answer_finishes_the_payment_and_the_caller_still_gets_the_first_answer():
    """18."""
    world = World()
    await world.hook()
    world.mail_at_once = True
    answer = await world.pay(token="tok_notification_before_answer")
    assert (answer.status, answer.json["status"], answer.replayed) == (201, "succeeded", False)
    assert await world.events(answer.json["id"]) == ["payment.created", "payment.succeeded"]
    await world.assert_invariants()


@pytest.mark.parametrize("verb", ["capture", "cancel", "refunds"])
async def test_news_of_a_follow_on_before_its_answer_is_applied_once(verb):
    """18."""
    world = World()
    payment_id = await world.sale() if verb == "refunds" else await world.authorize()
    await world.run(1)
    world.mail_at_once = True
    answer = await world.act(payment_id, verb)
    assert answer.status == (201 if verb == "refunds" else 200)
    assert not answer.replayed
    await world.assert_invariants()


async def test_decline_told_before_the_answer_still_leaves_the_next_provider_to_the_caller():
    """18: the payer waits, and the caller may try elsewhere; whoever only hears of it may not."""
    world = World()
    world.mail_at_once = True
    answer = await world.pay(token="tok_decline_issuer_unavailable-at-simulator_a")
    assert (answer.json["status"], answer.json["provider"]) == ("succeeded", "simulator_b")
    await world.assert_invariants()


async def test_same_notification_twice_at_one_instant_is_kept_once_and_applied_once():
    """19."""
    world = World(seed=5, notifications={"of_answers": False})
    answer = await world.pay(token="tok_timeout_after_accept")
    world.mail.clear()
    body = notice(world, answer.json["attempts"][0]["id"])
    both = await asyncio.gather(world.tell_us(body), world.tell_us(body))
    assert [one.status for one in both] == [200, 200]
    assert len(stored(world)) == 1
    await world.run(1)
    assert await world.events(answer.json["id"]) == ["payment.created", "payment.processing", "payment.succeeded"]
    await world.assert_invariants()


async def test_duplicate_notifications_change_nothing():
    """19."""
    world = World()
    answer = await world.pay(token="tok_duplicate_notification")
    await world.run(5)
    assert len(stored(world)) == 1
    assert await world.events(answer.json["id"]) == ["payment.created", "payment.succeeded"]
    await world.assert_invariants()


async def test_older_news_after_the_last_word_changes_nothing():
    """20."""
    world = World()
    answer = await world.pay(token="tok_out_of_order_notifications")
    await world.run(5)
    assert [one.progress for one in stored(world)] == [Progress.APPLIED, Progress.APPLIED]
    assert await world.events(answer.json["id"]) == ["payment.created", "payment.succeeded"]
    await world.assert_invariants()


async def test_refund_sent_back_and_only_then_told_as_done_is_the_merchants_again():
    """20: the older word comes last, and must not win."""
    world = World()
    payment_id = await world.sale()
    await world.run(1)
    world.mail_held = True
    refund = (await world.act(payment_id, "refunds", {"amount": 400})).json
    attempt = world.last_attempt(payment_id).id
    world.control("POST", "/returns", {"attempt_id": attempt})
    done, returned = world.mail
    world.mail[:] = [returned, done]
    world.mail_held = False
    await world.run(MINUTE)
    payment = world.payment(payment_id)
    assert (payment.refund(refund["id"]).state, payment.refundable) == ("failed", 1000)
    await world.assert_invariants()


async def test_refund_never_heard_of_that_was_done_and_sent_back_and_told_backwards_is_the_merchants_again():
    """20."""
    world = World(operations={"refund": {"timeout_after_accept": 1}})
    payment_id = await world.sale()
    await world.run(1)
    world.mail_held = True
    assert (await world.act(payment_id, "refunds", {"amount": 400})).status == 202
    world.control("POST", "/returns", {"attempt_id": world.last_attempt(payment_id).id})
    world.mail.reverse()
    world.mail_held = False
    await world.run(MINUTE)
    assert world.payment(payment_id).refundable == 1000
    await world.assert_invariants()


@pytest.mark.parametrize("verdict", ["won", "lost"])
async def test_verdict_told_before_the_opening_of_its_dispute_stands(verdict):
    """20."""
    world = World()
    payment_id = await world.sale()
    await world.run(1)
    world.mail_held = True
    world.control("POST", "/disputes", {"payment_id": payment_id, "amount": 600, "status": "opened"})
    world.control("POST", "/disputes", {"payment_id": payment_id, "status": verdict})
    world.mail.reverse()
    world.mail_held = False
    await world.run(MINUTE)
    payment = world.payment(payment_id)
    assert [dispute.state for dispute in payment.disputes] == [verdict]
    assert payment.refundable == (1000 if verdict == "won" else 400)
    assert (await world.events(payment_id))[-2:] == ["dispute.opened", f"dispute.{verdict}"]
    await world.assert_invariants()


async def test_approval_told_after_the_authorisation_was_released_is_no_late_approval():
    """20, 33: the void that came between has let go of it."""
    world = World()
    answer = await world.pay(token="tok_3ds", capture_method="manual")
    payment_id = answer.json["id"]
    await world.run(1)
    world.mail_held = True
    world.complete_challenge(payment_id)
    assert (await world.act(payment_id, "cancel")).json["status"] == "canceled"
    world.mail_held = False
    await world.run(2 * HOUR)
    payment = world.payment(payment_id)
    assert (payment.state, len(payment.attempts)) == (State.CANCELED, 2)
    assert world.alarms() == []
    await world.assert_invariants()


async def test_dispute_told_before_the_capture_is_on_record_waits_for_it():
    """21."""
    world = World(operations={"lookup": {"unavailable": 1}})
    answer = await world.pay(token="tok_timeout_after_accept")
    payment_id = answer.json["id"]
    world.mail.clear()
    world.control("POST", "/disputes", {"payment_id": payment_id, "amount": 600, "status": "opened"})
    await world.run(MINUTE)
    assert not world.payment(payment_id).disputes
    assert stored(world)[-1].progress is Progress.RECEIVED
    world.faults()
    await world.run(HOUR)
    assert [dispute.amount for dispute in world.payment(payment_id).disputes] == [600]
    await world.assert_invariants()


async def test_news_that_names_only_the_providers_reference_waits_until_that_is_known():
    """21: it arrives before the read model has heard of the payment."""
    world = World(operations={"refund": {"timeout_after_accept": 1}}, notifications={"drop_rate": 1})
    payment_id = await world.sale()
    assert (await world.act(payment_id, "refunds", {"amount": 400})).status == 202
    body = notice(world, world.last_attempt(payment_id).id, metadata={})
    assert (await world.tell_us(body)).status == 200
    await world.work_queue()
    assert stored(world)[0].progress is Progress.RECEIVED
    await world.run(5)
    assert stored(world)[0].progress is Progress.APPLIED
    assert world.payment(payment_id).amount_refunded == 400
    await world.assert_invariants()


async def test_news_of_a_payment_nobody_knows_is_kept_tried_again_and_given_to_people():
    """21."""
    world = World()
    payment_id = await world.sale()
    body = notice(
        world,
        world.last_attempt(payment_id).id,
        metadata={"payment_id": "pay_00000000000000000000000000", "tenant": "ten_1"},
    )
    await world.tell_us(body)
    await world.run(3 * HOUR)
    (dead,) = await world.queue.dead_letters(QUEUE)
    assert dead.attempts == 25
    assert [one.progress for one in stored(world)].count(Progress.RECEIVED) == 1


async def test_notification_with_a_wrong_signature_is_refused_and_nothing_is_kept():
    """22."""
    world = World()
    answer = await world.pay(token="tok_timeout_after_accept")
    world.mail.clear()
    body = notice(world, answer.json["attempts"][0]["id"])
    for secrets in ((Secret("guessed"),), ()):
        assert (await world.tell_us(body, secrets=secrets)).status == 401
    assert (await world.tell_us(body + b" ", secrets=())).status == 401
    assert (await world.tell_us(body, name="nobody")).status == 404
    assert stored(world) == []
    await world.assert_invariants()


async def test_rotated_signing_secrets_are_both_taken_until_the_old_one_is_dropped():
    """22."""
    world = World()
    payment_id = await world.sale()
    new, old = Secret("fresh-signing-secret"), SIGNING[0]
    name = "provider/simulator_a/signing_secret"

    def body():
        return notice(world, world.last_attempt(payment_id).id)

    await world.secrets.put(name, [new, old])
    assert (await world.tell_us(body(), secrets=(old,))).status == 200
    assert (await world.tell_us(body(), secrets=(new,))).status == 200
    await world.secrets.put(name, [new])
    assert (await world.tell_us(body(), secrets=(old,))).status == 401
    assert (await world.tell_us(body(), secrets=(new,))).status == 200


async def test_old_notification_replayed_is_refused_and_a_fresh_copy_of_it_changes_nothing():
    """23."""
    world = World(notifications={"drop_rate": 1})
    payment_id = await world.sale()
    body = notice(world, world.last_attempt(payment_id).id)
    sent_at = world.clock.now()
    assert (await world.tell_us(body)).status == 200
    await world.run(4 * MINUTE)
    assert (await world.tell_us(body, at=sent_at)).status == 200
    await world.run(2 * MINUTE)
    assert (await world.tell_us(body, at=sent_at)).status == 401
    assert len(stored(world)) == 1
    assert await world.events(payment_id) == ["payment.created", "payment.succeeded"]
    await world.assert_invariants()


@pytest.mark.timeout(120)
async def test_burst_of_ten_thousand_is_taken_and_each_payment_moves_once():
    """24."""
    world = World(notifications={"drop_rate": 1}, operations={"charge": {"pending": 1}}, pending_s=80_000)
    ids = [(await world.pay(key=f"k{i}")).json["id"] for i in range(20)]
    instance = world.instances["simulator_a"]
    for operation in list(instance.books.operations.values()):
        instance.books.settle(operation, Verdict(Status.AUTHORIZED))
    instance._due.clear()
    taken = 0
    for round_ in range(500):
        for payment_id in ids:
            body = notice(world, world.payment(payment_id).attempts[0].id)
            taken += (await world.tell_us(body)).status == 200
        if round_ % 100 == 99:
            await world.work()
    assert taken == 10_000
    await world.run(MINUTE)
    assert (await world.queue.depth(QUEUE)).ready == 0
    for payment_id in ids:
        assert await world.events(payment_id) == ["payment.created", "payment.processing", "payment.succeeded"]
    await world.assert_invariants()


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"{}",
        b'{"object":"notification","id":"n1","type":"operation.updated","created_at":1}',
        b'{"object":"notification","id":"n1","type":"dispute.won","created_at":1,"dispute":{"id":"d","status":"lost"}}',
        b'{"object":"notification","id":5,"type":"x","created_at":"now"}',
        b'{"object":"notification","id":"","type":"x","created_at":1}',
        b'{"object":"notification","id":"' + b"n" * 2000 + b'","type":"x","created_at":1}',
        b'{"object":"notification","id":"a\\u0000b","type":"x","created_at":1}',
        b"[" * 500 + b"]" * 500,
    ],
)
async def test_signed_body_that_cannot_be_used_is_kept_for_people_and_taken_so_that_it_is_not_sent_again(body):
    """25."""
    world = World()
    for _ in range(2):
        assert (await world.tell_us(body)).status == 200
    (kept,) = stored(world)
    assert kept.progress is Progress.UNREADABLE
    assert world.alarms() == ["notification.unreadable"]
    await world.sale()
    await world.assert_invariants()


async def test_kind_nobody_knows_is_ignored():
    """25."""
    world = World()
    assert (
        await world.tell_us(b'{"object":"notification","id":"n1","type":"weather.changed","created_at":1}')
    ).status == 200
    await world.run(5)
    assert [one.progress for one in stored(world)] == [Progress.IGNORED]
    await world.assert_invariants()


async def test_status_nobody_knows_is_no_news_and_raises_an_alarm():
    """25: never success, never failure, and no answer for the caller who still waits."""
    world = World(notifications={"drop_rate": 1})
    task = world.begin(
        "POST",
        "/v1/payments",
        {"amount": 1000, "currency": "EUR", "payment_method": {"type": "card", "token": "tok_timeout_after_accept"}},
        key="k1",
    )
    await world.clock.run_for(1)
    (payment,) = world.payments()
    assert (await world.tell_us(notice(world, payment.attempts[0].id, status="reviewing"))).status == 200
    await world.work()
    assert world.payment(payment.id).attempts[0].outcome is None
    assert "notification.unknown_status" in world.alarms()
    answer = await world.finish(task)
    assert (answer.status, answer.json["attempts"][0]["outcome"]) == (202, "unknown")
    await world.assert_invariants()


async def test_poison_in_the_queue_dies_alone():
    """25, 55."""
    world = World()
    for body in (b"not even json", b'{"provider":"simulator_a","id":"n0"}'):
        await world.queue.send(QUEUE, body)
    answer = await world.pay(token="tok_pending")
    await world.run(10)
    assert world.payment(answer.json["id"]).state is State.SUCCEEDED
    await world.run(3 * HOUR)
    assert [letter.body for letter in await world.queue.dead_letters(QUEUE)] == [b"not even json"]


@pytest.mark.parametrize("about", [{"tenant": "ten_2"}, {"tenant": "../ten_1"}, {"tenant": "\x00"}])
async def test_news_that_names_another_tenant_touches_nothing(about):
    """26."""
    world = World(notifications={"drop_rate": 1}, operations={"lookup": {"unavailable": 1}})
    answer = await world.pay(token="tok_timeout_after_accept")
    payment_id = answer.json["id"]
    assert world.payment(payment_id).state is State.UNCERTAIN
    await world.tell_us(notice(world, answer.json["attempts"][0]["id"], metadata={"payment_id": payment_id} | about))
    await world.run(3 * HOUR)
    assert world.payment(payment_id).state is State.UNCERTAIN
    assert len(world.payments()) == 1
    assert (await world.queue.depth(QUEUE)).dead == 1


async def test_provider_that_speaks_of_anothers_payment_is_not_believed():
    """26."""
    world = World(notifications={"drop_rate": 1}, operations={"lookup": {"unavailable": 1}})
    answer = await world.pay(token="tok_timeout_after_accept")
    body = notice(world, answer.json["attempts"][0]["id"])
    assert (await world.tell_us(body, name="simulator_b")).status == 200
    await world.run(HOUR)
    assert world.payment(answer.json["id"]).state is State.UNCERTAIN


async def test_news_with_another_amount_than_asked_for_is_not_applied():
    """4, in a notification."""
    world = World(notifications={"drop_rate": 1})
    answer = await world.pay(token="tok_timeout_after_accept")
    await world.tell_us(notice(world, answer.json["attempts"][0]["id"], amount=999))
    await world.work_queue()
    assert world.payment(answer.json["id"]).state is State.UNCERTAIN
    assert "notification.amount_mismatch" in world.alarms()
    await world.run(10)
    assert world.payment(answer.json["id"]).amount_captured == 1000
    await world.assert_invariants()


async def test_news_of_another_kind_of_operation_than_the_attempt_it_names_is_not_applied():
    """8, in a notification: the word on a refund must not finish a charge."""
    world = World(notifications={"drop_rate": 1}, operations={"lookup": {"unavailable": 1}})
    answer = await world.pay(token="tok_timeout_after_accept")
    await world.tell_us(
        notice(
            world, answer.json["attempts"][0]["id"], kind="refund", status="declined", decline_code="returned_by_bank"
        )
    )
    await world.work_queue()
    assert world.payment(answer.json["id"]).state is State.UNCERTAIN
    assert "notification.unmatched" in world.alarms()
    world.faults()
    await world.run(MINUTE)
    await world.assert_invariants()
