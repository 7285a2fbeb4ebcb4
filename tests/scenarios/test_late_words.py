"""Words that come after everybody had gone on, and payments that live long: nothing raises, nothing is forgotten."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import Action, CallReport, Decline, Outcome, Result, Retry
from interlock.core.kernel.store import VALUE_BYTES_MAX, Delete
from interlock.core.ledger.verification import verify
from interlock.core.payments.calls import record_result
from interlock.core.payments.commits import Cause
from interlock.core.payments.handlers import load_payment
from interlock.core.payments.model import ATTEMPTS_MAX, FINAL_OUTCOMES, Refund, encode_payment
from interlock.core.payments.outcomes import apply_result
from interlock.core.payments.records import payment_key, payment_write
from interlock.core.payments.states import RefundState, State
from interlock.core.payments.verification import payment_check
from interlock.simulator.books import Verdict
from interlock.simulator.model import FollowOnRequest, Status
from tests.core.payments.aggregates import Numbered, cancel, create, hear, news
from tests.scenarios.world import DAY, HOUR, MINUTE, World


def approve_late(world, attempt_id, name="simulator_a"):
    """The bank says yes after all, and the provider tells us."""
    instance = world.instances[name]
    operation = instance.books.operation(attempt_id)
    assert instance.books.settle(operation, Verdict(Status.AUTHORIZED))
    instance.changed(operation)


async def put(world, payment):
    """Write a payment as if its history had led there."""
    key = payment_key(payment.tenant, payment.id)
    version = world.items[key].version
    write = payment_write(payment, version)
    await world.backing.overwrite(world.items[key]._replace(value=write.value, indexes=dict(write.indexes)))


async def with_many_attempts(world, payment_id, count=ATTEMPTS_MAX):
    """The payment after so many failed refunds."""
    payment = world.payment(payment_id)
    template = msgspec.structs.replace(
        payment.attempts[0],
        operation=Action.REFUND,
        outcome=Outcome.DECLINED,
        deadline=None,
        capture=False,
        decline=Decline("hard", "refund_exceeds_captured", Retry.NEVER, "refund_exceeds_captured"),
    )
    more, refunds = [], []
    for _ in range(count - len(payment.attempts)):
        refund = Refund(world.ids.new("ref"), 1, RefundState.FAILED, payment.created_at, payment.created_at)
        refunds.append(refund)
        more.append(msgspec.structs.replace(template, id=world.ids.new("att"), target=refund.id))
    payment = msgspec.structs.replace(
        payment, attempts=(*payment.attempts, *more), refunds=(*payment.refunds, *refunds)
    )
    await put(world, payment)
    return payment


async def test_payment_with_as_many_attempts_as_there_may_be_takes_no_more_commands():
    world = World()
    payment_id = await world.sale()
    await with_many_attempts(world, payment_id)
    refused = await world.act(payment_id, "refunds", {"amount": 100})
    assert (refused.status, refused.json["code"]) == (409, "too_many_operations")
    assert len(world.payment(payment_id).attempts) == ATTEMPTS_MAX


async def test_late_approval_on_a_payment_full_of_attempts_is_given_back_all_the_same():
    world = World()
    payment_id = (await world.pay(token="tok_decline_stolen")).json["id"]
    first = world.payment(payment_id).attempts[0].id
    await with_many_attempts(world, payment_id)
    approve_late(world, first)
    await world.run(MINUTE)
    payment = world.payment(payment_id)
    assert (payment.attempts[-1].reverses, payment.attempts[-1].outcome) == (True, Outcome.APPROVED)
    assert world.errors == [] and world.crashes == []


async def test_authorisation_of_a_payment_full_of_attempts_is_released_when_it_expires():
    world = World()
    payment_id = await world.authorize()
    await with_many_attempts(world, payment_id)
    assert (await world.act(payment_id, "cancel")).json["code"] == "too_many_operations"
    await world.run(7 * DAY + MINUTE)
    assert world.payment(payment_id).state is State.CANCELED
    assert world.errors == [] and world.crashes == []


async def test_payment_only_reserved_where_it_should_be_taken_is_captured_for_the_same_request():
    """The provider answers `authorized` to a charge that asked for capture."""
    world = World()
    instance = world.instances["simulator_a"]
    charge = instance.books.charge

    def only_reserves(ask, *args, **kwargs):
        return charge(msgspec.structs.replace(ask, capture=False), *args, **kwargs)

    instance.books.charge = only_reserves
    answer = await world.pay()
    assert (answer.status, answer.json["status"], answer.json["amount_captured"]) == (201, "succeeded", 1000)
    assert [attempt["operation"] for attempt in answer.json["attempts"]] == ["authorize", "capture"]
    await world.assert_invariants()


async def test_payment_taken_where_it_should_only_be_reserved_succeeds_with_an_alarm():
    world = World()
    instance = world.instances["simulator_a"]
    charge = instance.books.charge

    def takes(ask, *args, **kwargs):
        return charge(msgspec.structs.replace(ask, capture=True), *args, **kwargs)

    instance.books.charge = takes
    answer = await world.pay(capture_method="manual")
    assert (answer.json["status"], answer.json["amount_captured"]) == ("succeeded", 1000)
    assert world.alarms() == ["payment.captured_unasked"]
    await world.assert_invariants()


async def test_largest_payment_there_may_be_fits_into_the_store_with_its_largest_event():
    world = World()
    text = "\U0001f4b6" * 500
    answer = await world.pay(
        metadata={f"{i:040d}": text for i in range(20)}, description="d" * 255, reference="r" * 255, customer="c" * 255
    )
    assert answer.status == 201, answer.json
    payment = await with_many_attempts(world, answer.json["id"], ATTEMPTS_MAX - 1)
    assert len(encode_payment(payment)) < VALUE_BYTES_MAX * 3 // 4
    assert (await world.act(payment.id, "refunds", {"amount": 100})).status == 201
    assert len(world.payment(payment.id).attempts) == ATTEMPTS_MAX
    largest = max(len(event.data) + len(event.facts) for event in await world.store.history(payment.id))
    assert largest < VALUE_BYTES_MAX * 3 // 4


async def test_reversal_given_up_and_found_done_is_booked_and_no_other_is_sent():
    """A late approval's refund that nobody knew of went out after all."""
    world = World()
    answer = await world.pay(token="tok_late_approval")
    payment_id = answer.json["id"]
    world.faults(operations={"refund": {"late_accept": 1}}, late_accept_s=2 * 3600, notifications={"of_answers": True})
    await world.run(2 * MINUTE)
    assert world.payment(payment_id).attempts[0].late
    world.faults(operations={"refund": {"timeout_before_accept": 1}})
    await world.run(DAY)
    await world.settle()
    charge = world.instances["simulator_a"].books.charges_of(payment_id=payment_id)[0]
    assert charge.refunded == 1000
    await world.assert_invariants()


async def test_reversal_given_up_whose_refund_went_out_all_the_same_ends_the_reversing():
    """Two reversals were recorded; the provider did the first, and the second must not be asked for any more."""
    world = World()
    answer = await world.pay(token="tok_late_approval")
    payment_id = answer.json["id"]
    world.faults(operations={"refund": {"timeout_before_accept": 1}})
    await world.run(2 * MINUTE)
    while (first := world.payment(payment_id).attempts[1]).outcome is not Outcome.NOT_SENT:
        await world.run(MINUTE)
    assert first.reverses and world.payment(payment_id).attempts[2].reverses
    books = world.instances["simulator_a"].books
    charge = books.charges_of(payment_id=payment_id)[0]
    world.faults()
    operation = books.refund(charge, FollowOnRequest(first.id, 1000, "EUR"), world.clock.now())
    world.instances["simulator_a"].changed(operation)
    await world.run(DAY)
    payment = world.payment(payment_id)
    assert charge.refunded == 1000
    assert "payment.reversal_failed" not in world.alarms()
    assert len(payment.attempts) == 3, "no further reversal was recorded"
    await world.assert_invariants()


async def test_capture_given_up_and_found_done_is_given_back_and_the_payment_goes_on():
    world = World()
    payment_id = await world.authorize(amount=1000)
    world.faults(operations={"capture": {"timeout_before_accept": 1}}, notifications={"drop_rate": 1})
    assert (await world.act(payment_id, "capture", {"amount": 400})).status == 202
    await world.run(2 * HOUR)
    payment = world.payment(payment_id)
    assert (payment.state, payment.attempts[-1].outcome) == (State.AUTHORIZED, Outcome.NOT_SENT)
    # The provider had it in a queue for all that time.
    world.faults()
    books = world.instances["simulator_a"].books
    charge = books.charges_of(payment_id=payment_id)[0]
    operation = books.capture(charge, FollowOnRequest(payment.attempts[-1].id, 400, "EUR"), world.clock.now())
    world.instances["simulator_a"].changed(operation)
    await world.run(MINUTE)
    payment = world.payment(payment_id)
    assert (payment.amount_captured, payment.attempts[-1].reverses, charge.refunded) == (0, True, 400)
    assert (await world.act(payment_id, "capture", {"amount": 600, "final": True}, key="k3")).json[
        "status"
    ] == "succeeded"
    await world.assert_invariants()


async def test_void_given_up_and_found_done_cancels_the_payment():
    world = World()
    payment_id = await world.authorize()
    world.faults(operations={"void": {"timeout_before_accept": 1}}, notifications={"drop_rate": 1})
    assert (await world.act(payment_id, "cancel")).status == 202
    await world.run(2 * HOUR)
    payment = world.payment(payment_id)
    assert (payment.state, payment.attempts[-1].outcome) == (State.AUTHORIZED, Outcome.NOT_SENT)
    world.faults()
    books = world.instances["simulator_a"].books
    charge = books.charges_of(payment_id=payment_id)[0]
    operation = books.void(charge, FollowOnRequest(payment.attempts[-1].id), world.clock.now())
    world.instances["simulator_a"].changed(operation)
    await world.run(MINUTE)
    assert world.payment(payment_id).state is State.CANCELED
    await world.assert_invariants()


async def test_refund_given_up_and_found_done_counts_and_one_too_many_goes_to_suspense():
    world = World()
    payment_id = await world.sale()
    world.faults(operations={"refund": {"timeout_before_accept": 1}}, notifications={"drop_rate": 1})
    assert (await world.act(payment_id, "refunds", {"amount": 400})).status == 202
    await world.run(2 * HOUR)
    assert world.payment(payment_id).refunds[0].state == "failed"
    world.faults()
    books = world.instances["simulator_a"].books
    charge = books.charges_of(payment_id=payment_id)[0]
    operation = books.refund(charge, FollowOnRequest(world.last_attempt(payment_id).id, 400, "EUR"), world.clock.now())
    world.instances["simulator_a"].changed(operation)
    await world.run(MINUTE)
    payment = world.payment(payment_id)
    assert (payment.refunds[0].state, payment.refundable) == ("succeeded", 600)
    await world.assert_invariants()


@pytest.mark.parametrize("result", ["authenticated", "failed"])
async def test_second_failed_over_attempt_is_the_one_that_counts(result):
    """3-D Secure at the second provider, after the first could not be reached."""
    world = World()
    world.faults(outages=[{"mode": "connect_refused"}])
    answer = await world.pay(token="tok_3ds")
    assert (answer.json["status"], answer.json["provider"]) == ("requires_action", "simulator_b")
    world.complete_challenge(answer.json["id"], result, name="simulator_b")
    await world.run(MINUTE)
    expected = State.SUCCEEDED if result == "authenticated" else State.FAILED
    assert world.payment(answer.json["id"]).state is expected
    await world.assert_invariants()


async def test_reference_of_the_provider_that_declined_does_not_stick_to_the_next_one():
    """A payment lives at one provider, under that provider's own reference."""
    world = World(notifications={"drop_rate": 1})
    world.faults("simulator_b", operations={"charge": {"timeout_after_accept": 1}}, notifications={"drop_rate": 1})
    answer = await world.pay(token="tok_decline_issuer_unavailable-at-simulator_a")
    payment = world.payment(answer.json["id"])
    assert (payment.provider, payment.provider_reference) == ("simulator_b", None)
    learned = [msgspec.json.decode(event.facts).get("learned") for event in await world.store.history(payment.id)]
    first = world.instances["simulator_a"].books.charges_of(payment_id=payment.id)[0].id
    assert f"simulator_b:{first}" not in learned
    assert f"simulator_a:{first}" in learned
    await world.run(MINUTE)
    second = world.instances["simulator_b"].books.charges_of(payment_id=payment.id)[0].id
    assert world.payment(payment.id).provider_reference == second
    await world.assert_invariants()


OUTCOMES = st.sampled_from(
    ["timeout_after_accept", "timeout_before_accept", "garbage", "rate_limited", "pending", "reset_before_accept"]
)


@given(
    charge=st.lists(OUTCOMES, max_size=2, unique=True),
    follow=st.lists(OUTCOMES, max_size=3, unique=True),
    manual=st.booleans(),
    verbs=st.lists(st.sampled_from(["capture", "cancel", "refunds"]), max_size=4),
    seed=st.integers(1, 1000),
)
@settings(max_examples=40, deadline=None)
async def test_whatever_fails_every_open_attempt_is_due_and_all_ends_as_the_books_say(
    charge, follow, manual, verbs, seed
):
    world = World(seed=seed)
    rates = {"operations": {"charge": dict.fromkeys(charge, 0.4), "lookup": {"unavailable": 0.3}}, "seed": seed}
    for kind in ("capture", "void", "refund"):
        rates["operations"][kind] = dict.fromkeys(follow, 0.3)
    for name in world.instances:
        world.faults(name, **rates)
    answer = await world.pay(capture_method="manual" if manual else "automatic")
    if answer.status < 300:
        for i, verb in enumerate(verbs):
            body = {"amount": 300} if verb != "cancel" else None
            await world.act(answer.json["id"], verb, body, key=f"v{i}")
            for payment in world.payments():
                for attempt in payment.attempts:
                    assert attempt.outcome in FINAL_OUTCOMES or attempt.deadline is not None
                    if attempt.deadline is not None:
                        assert world.due_at(payment) <= attempt.deadline
            await world.run(20)
    await world.assert_invariants()


async def test_unknown_result_word_is_never_taken_for_the_last_one():
    """A result that says UNKNOWN of an attempt that is finished is no news."""
    world = World()
    payment_id = await world.sale()
    held = await load_payment(world.node.payments, "ten_1", payment_id)
    for outcome in (Outcome.UNKNOWN, Outcome.PENDING, Outcome.NOT_SENT, Outcome.REQUIRES_ACTION):
        report = CallReport(Result(outcome))
        _, reply, call = await record_result(
            world.node.payments, held, held.payment.attempts[0].id, report, Cause("lookup", None, report)
        )
        assert (reply, call) == (None, None)
    assert world.payment(payment_id) == held.payment


async def test_rules_that_cannot_be_read_lose_no_answer_that_does_not_need_them():
    """The provider said yes: that is written down, whatever else the store cannot do at the moment."""
    world = World()
    world.faults(latency={"kind": "constant", "ms": 3000})
    task = world.begin(
        "POST",
        "/v1/payments",
        {"amount": 1000, "currency": "EUR", "payment_method": {"type": "card", "token": "tok_approve"}},
        key="k1",
    )
    await world.clock.run_for(1)
    world.fail("unavailable", when="store.get", holds=lambda args: args[0].partition.endswith("/routing"))
    answer = await world.finish(task)
    assert (answer.status, answer.json["status"]) == (201, "succeeded")
    world.fault_of = lambda called, args: None
    await world.assert_invariants()


async def test_payment_of_a_rule_that_is_deleted_meanwhile_does_not_leave_that_rule():
    """Failover stays within what the merchant asked for."""
    world = World(instances=("simulator_a", "simulator_b"))
    await world.ask("PUT", "/v1/routing/rules", {"rules": [{"name": "only_a", "providers": ["simulator_a"]}]})
    world.faults(outages=[{"mode": "connect_refused"}], latency={"kind": "constant", "ms": 0})
    commit = world.store.commit

    async def slow(writes, events=()):
        await commit(writes, events)
        if events and events[0].type == "payment.created":
            (key,) = (key for key in world.items if key.partition.endswith("/routing"))
            await commit([Delete(key, world.items[key].version)])
            world.clock.advance(3)

    world.store.commit = slow
    answer = await world.pay(routing={"rule": "only_a"})
    assert (answer.json["status"], len(answer.json["attempts"])) == ("failed", 1)
    world.store.commit = commit
    await world.assert_invariants()


@pytest.mark.parametrize("verb", ["cancel", "capture"])
async def test_void_found_done_while_another_operation_is_under_way_ends_the_payment_all_the_same(verb):
    """The first void was given up; the provider did it after all, and says so in the middle of the next operation."""
    world = World()
    payment_id = await world.authorize()
    world.faults(operations={"void": {"timeout_before_accept": 1}}, notifications={"drop_rate": 1})
    assert (await world.act(payment_id, "cancel")).status == 202
    await world.run(2 * HOUR)
    first = world.last_attempt(payment_id)
    assert first.outcome is Outcome.NOT_SENT
    world.faults(latency={"kind": "constant", "ms": 2000}, notifications={"of_answers": False})
    books = world.instances["simulator_a"].books
    charge = books.charges_of(payment_id=payment_id)[0]
    operation = books.void(charge, FollowOnRequest(first.id), world.clock.now())
    task = world.begin("POST", f"/v1/payments/{payment_id}/{verb}", None, key="k3")
    await world.clock.run_for(0.5)
    world.faults()
    world.instances["simulator_a"].changed(operation)
    await world.run(1)
    assert world.payment(payment_id).attempts[1].outcome is Outcome.APPROVED
    answer = await world.finish(task)
    assert (answer.status, answer.json["status"]) == (200, "canceled")
    await world.assert_invariants()


def test_money_taken_while_a_void_was_said_to_be_done_is_what_counts():
    """Both words are on record; the payment says what the books say, and the merchant may refund."""
    new_id = Numbered()
    waiting = hear(create(new_id), Outcome.REQUIRES_ACTION, new_id, next_action={"type": "redirect"})
    canceling = cancel(waiting.payment, new_id)
    taken = apply_result(
        canceling.payment, canceling.payment.attempts[0], news(Outcome.APPROVED, new_id, captured=True)
    )
    voided = apply_result(taken.payment, taken.payment.attempts[1], news(Outcome.APPROVED, new_id))
    assert (voided.payment.state, voided.payment.amount_captured, voided.payment.refundable) == (
        State.SUCCEEDED,
        1000,
        1000,
    )
    assert voided.answer == ("req_cancel", 200, "payment")


@pytest.mark.parametrize("verdict", ["won", "lost"])
async def test_dispute_of_a_late_approval_is_held_in_suspense_and_its_reversal_goes_to_people(verdict):
    """The payment had failed, the money was taken, and the payer's bank was faster than our refund."""
    world = World()
    answer = await world.pay(token="tok_late_approval")
    payment_id = answer.json["id"]
    world.faults(operations={"refund": {"unavailable": 1}})
    await world.run(MINUTE)
    assert world.payment(payment_id).attempts[0].late
    charge = world.instances["simulator_a"].books.charges_of(payment_id=payment_id)[0]
    world.control("POST", "/disputes", {"charge": charge.id, "amount": 1000, "status": "opened"})
    world.faults()
    await world.run(DAY)
    (dispute,) = world.payment(payment_id).disputes
    assert (dispute.amount, dispute.excess, world.payment(payment_id).refundable) == (0, 1000, 0)
    assert {"payment.dispute_above_refundable", "payment.reversal_failed"} <= set(world.alarms())
    world.control("POST", "/disputes", {"charge": charge.id, "status": verdict})
    await world.run(MINUTE)
    assert world.payment(payment_id).disputes[0].state == verdict
    assert (await world.queue.depth("notifications")).dead == 0
    report = await verify(world.store, world.feed, check_payment=payment_check(world.store))
    assert report.sound, report.findings


async def test_bank_that_sends_a_reversal_back_leaves_the_money_in_suspense_for_people():
    world = World()
    answer = await world.pay(token="tok_late_approval")
    await world.run(10)
    payment = world.payment(answer.json["id"])
    (reversal,) = [attempt for attempt in payment.attempts if attempt.reverses]
    assert reversal.outcome is Outcome.APPROVED
    world.control("POST", "/returns", {"attempt_id": reversal.id})
    await world.run(10)
    assert world.last_attempt(payment.id).outcome is Outcome.DECLINED
    assert (await world.events(payment.id))[-1] == "payment.reversal_failed"
    assert "payment.reversal_returned" in world.alarms()
    await world.assert_invariants()
    report = await verify(world.store, world.feed, check_payment=payment_check(world.store))
    assert report.sound, report.findings


@pytest.mark.parametrize("silent_s", [0, 60])
async def test_answer_repeated_to_a_stale_worker_after_the_bank_sent_the_refund_back_is_asked_about(silent_s):
    """A provider repeats under a known key what was true the first time. While it cannot be asked, the last word stands."""
    world = World()
    payment_id = await world.sale()
    await world.act(payment_id, "refunds")
    attempt = world.last_attempt(payment_id)
    world.control("POST", "/returns", {"attempt_id": attempt.id})
    await world.run(10)
    assert world.last_attempt(payment_id).outcome is Outcome.DECLINED
    if silent_s:
        world.faults(operations={"lookup": {"unavailable": 1}})
    await hear_again(world, payment_id)
    assert world.payment(payment_id).amount_refunded == 0
    assert (world.last_attempt(payment_id).deadline is None) is not bool(silent_s)
    await world.run(silent_s)
    world.faults()
    await world.run(10 * MINUTE)
    assert world.last_attempt(payment_id).deadline is None
    assert (await world.events(payment_id))[-1] == "refund.failed"
    await world.assert_invariants()


async def test_word_that_could_not_be_asked_about_at_once_and_was_true_is_believed_in_the_end():
    """The return was never announced: an answer that says so comes while the provider cannot be asked."""
    world = World(notifications={"drop_rate": 1})
    payment_id = await world.sale()
    await world.act(payment_id, "refunds")
    world.control("POST", "/returns", {"attempt_id": world.last_attempt(payment_id).id})
    world.faults(operations={"lookup": {"unavailable": 1}})
    await hear_again(world, payment_id, Outcome.DECLINED)
    assert world.payment(payment_id).amount_refunded == 1000
    world.faults()
    await world.run(10 * MINUTE)
    assert world.payment(payment_id).amount_refunded == 0
    await world.assert_invariants()


async def test_lookup_that_found_nothing_says_nothing_once_somebody_else_has_sent_the_attempt():
    """Its worker slept over it; meanwhile the request that was given up for lost woke, went out and led to a challenge."""
    world = World(latency={"kind": "constant", "ms": 2_000})
    body = {"amount": 1000, "currency": "EUR", "payment_method": {"type": "card", "token": "tok_3ds"}}
    task = world.begin("POST", "/v1/payments", body, key="k1")
    await world.clock.run_for(0.5)
    (payment,) = world.payments()
    asked = await load_payment(world.node.payments, "ten_1", payment.id)
    assert (await world.finish(task)).json["status"] == "requires_action"
    await hear_again(world, payment.id, Outcome.NOT_SENT, held=asked)
    assert world.payment(payment.id).state is State.REQUIRES_ACTION
    world.complete_challenge(payment.id, "authenticated")
    await world.run(MINUTE)
    assert world.payment(payment.id).state is State.SUCCEEDED
    await world.assert_invariants()


async def hear_again(world, payment_id, outcome=Outcome.APPROVED, *, held=None):
    """A worker that slept brings what it was answered about the last attempt, and knows the payment as `held`."""
    held = held or await load_payment(world.node.payments, "ten_1", payment_id)
    attempt = held.payment.attempts[-1]
    report = CallReport(Result(outcome, amount=Money(attempt.amount, held.payment.currency)))
    cause = Cause("api", None, report, attempt.id)
    await world.finish(world.node.start(record_result(world.node.payments, held, attempt.id, report, cause)))
