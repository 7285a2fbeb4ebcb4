"""E. The same key again: the same effect, the same answer, or a refusal that says why."""

import asyncio
import contextlib

import msgspec
import pytest

from interlock.core.kernel.idempotency import KEPT
from interlock.core.payments.states import State
from tests.scenarios.world import DAY, HOUR, MINUTE, World

CARD = {"type": "card", "token": "tok_approve"}
SALE = {"amount": 1000, "currency": "EUR", "payment_method": CARD}


async def test_same_key_with_another_body_is_refused_and_nothing_is_written():
    """35."""
    world = World()
    await world.pay()
    before = dict(world.items)
    other = await world.pay(2000)
    assert (other.status, other.json["code"], other.headers["content-type"]) == (
        422,
        "idempotency_key_reused",
        "application/problem+json",
    )
    assert dict(world.items) == before
    await world.assert_invariants()


async def test_same_body_written_differently_is_the_same_request():
    """35: what counts is the meaning, not the white space or the order."""
    world = World()
    first = await world.pay()
    spaced = b'{ "payment_method": {"token": "tok_approve", "type": "card"},\n"currency": "EUR", "amount": 1000 }'
    again = await world.ask("POST", "/v1/payments", spaced, key="k1")
    assert (again.status, again.body, again.replayed) == (201, first.body, True)


async def test_same_key_in_flight_is_409_with_retry_after_until_there_is_an_answer():
    """36."""
    world = World(latency={"kind": "constant", "ms": 3000})
    task = world.begin("POST", "/v1/payments", SALE, key="k1")
    await world.clock.run_for(1)
    for _ in range(3):
        meanwhile = await world.node.ask("POST", "/v1/payments", SALE, headers={"Idempotency-Key": "k1"})
        assert (meanwhile.status, meanwhile.json["code"]) == (409, "request_in_flight")
        assert int(meanwhile.headers["retry-after"]) >= 1
    first = await world.finish(task)
    again = await world.ask("POST", "/v1/payments", SALE, key="k1")
    assert (again.status, again.body) == (first.status, first.body)
    await world.assert_invariants()


@pytest.mark.parametrize("seed", range(1, 16))
async def test_many_with_one_key_at_once_make_one_payment_with_one_answer(seed):
    """36."""
    world = World(seed=seed)
    tasks = [world.begin("POST", "/v1/payments", SALE, key="k1") for _ in range(6)]
    answers = [await world.finish(task) for task in tasks]
    assert {answer.status for answer in answers} <= {201, 409}
    assert len({answer.body for answer in answers if answer.status == 201}) == 1
    assert len(world.payments()) == 1
    await world.assert_invariants()


async def test_same_key_after_a_crash_mid_way_gets_the_answer_the_platform_came_to():
    """37."""
    world = World(notifications={"drop_rate": 1})
    task = world.begin("POST", "/v1/payments", SALE, key="k1")
    while not world.instances["simulator_a"].books.requested:
        await asyncio.sleep(0)
    await world.restart()
    meanwhile = await world.ask("POST", "/v1/payments", SALE, key="k1")
    assert (meanwhile.status, meanwhile.json["code"]) == (409, "request_in_flight")
    other = await world.ask("POST", "/v1/payments", SALE | {"amount": 5}, key="k1")
    assert other.status == 422
    await world.run(MINUTE)
    answer = await world.ask("POST", "/v1/payments", SALE, key="k1")
    assert (answer.status, answer.json["status"], answer.replayed) == (201, "succeeded", True)
    assert task.done()
    await world.assert_invariants()


async def test_202_is_replayed_as_it_was_also_after_the_payment_went_on():
    """37."""
    world = World()
    first = await world.pay(token="tok_timeout_after_accept")
    await world.run(MINUTE)
    assert world.payment(first.json["id"]).state is State.SUCCEEDED
    again = await world.pay(token="tok_timeout_after_accept")
    assert (again.status, again.json["status"], again.body) == (202, "processing", first.body)
    await world.assert_invariants()


async def test_answer_of_a_request_that_took_two_providers_is_replayed_from_the_second():
    """37."""
    world = World()
    first = await world.pay(token="tok_connect_refused-at-simulator_a")
    assert first.json["provider"] == "simulator_b"
    again = await world.pay(token="tok_connect_refused-at-simulator_a")
    assert (again.body, again.replayed) == (first.body, True)
    await world.assert_invariants()


async def test_crash_between_two_providers_is_answered_by_whatever_the_second_one_did():
    """37: the failover's attempt is on record, and the call to the second provider was made."""
    world = World(notifications={"drop_rate": 1})
    world.faults("simulator_b", latency={"kind": "constant", "ms": 5000}, notifications={"drop_rate": 1})
    body = SALE | {"payment_method": {"type": "card", "token": "tok_connect_refused-at-simulator_a"}}
    world.begin("POST", "/v1/payments", body, key="k1")
    await world.clock.run_for(1)
    assert world.instances["simulator_b"].books.requested
    await world.restart()
    answer = await world.insist("POST", "/v1/payments", body, key="k1")
    assert (answer.status, answer.json["status"], answer.json["provider"]) == (201, "succeeded", "simulator_b")
    await world.assert_invariants()


async def test_same_key_of_another_tenant_or_for_another_path_is_another_request():
    """38."""
    world = World()
    mine = await world.authorize(key="k")
    theirs = await world.pay(key="k", tenant="ten_2")
    assert theirs.status == 201 and theirs.json["id"] != mine
    assert (await world.act(mine, "capture", {"amount": 100}, key="k")).status == 200
    assert (await world.act(mine, "refunds", {"amount": 100}, key="k")).status == 201
    second = await world.authorize(key="k-other")
    assert (await world.act(second, "capture", {"amount": 100}, key="k")).status == 200
    assert (await world.act(mine, "capture", None, key="k9", tenant="ten_2")).status == 404
    await world.assert_invariants()


async def test_key_given_twice_or_not_at_all_or_out_of_form_is_refused_and_nothing_is_written():
    """39."""
    world = World()
    for key, code in (("a\nb", "repeated"), ("k\nk", "repeated"), (" ", "bad_format"), ("x" * 256, "bad_format")):
        refused = await world.ask("POST", "/v1/payments", SALE, key=key)
        assert (refused.status, refused.json["errors"][0]["code"]) == (400, code), key
    missing = await world.ask("POST", "/v1/payments", SALE)
    assert (missing.status, missing.json["errors"][0]["pointer"]) == (400, "/header/Idempotency-Key")
    assert not world.payments() and not world.items


async def test_key_written_plain_and_quoted_is_one_key():
    """39."""
    world = World()
    first = await world.ask("POST", "/v1/payments", SALE, key="k1")
    assert (await world.ask("POST", "/v1/payments", SALE, key='"k1"')).body == first.body


async def test_key_is_kept_to_the_last_millisecond_of_its_time_and_then_free():
    """40."""
    world = World()
    first = await world.pay()
    world.clock.advance((KEPT - 1) / 1000)
    assert (await world.pay()).body == first.body
    world.clock.advance(0.001)
    second = await world.pay(2000)
    assert (second.status, second.json["amount"]) == (201, 2000)
    assert KEPT >= 7 * DAY * 1000
    world.answered.clear()
    await world.assert_invariants()


@pytest.mark.parametrize("seed", range(1, 8))
async def test_two_at_once_with_a_key_whose_time_is_over_make_one_payment(seed):
    """40."""
    world = World(seed=seed)
    await world.pay()
    world.clock.advance(KEPT / 1000)
    world.answered.clear()
    tasks = [world.begin("POST", "/v1/payments", SALE, key="k1") for _ in range(3)]
    answers = [await world.finish(task) for task in tasks]
    assert {answer.status for answer in answers} <= {201, 409}
    assert len(world.payments()) == 2
    await world.assert_invariants()


async def test_record_that_was_dropped_after_its_time_makes_the_key_free():
    """40."""
    world = World()
    await world.pay()
    world.clock.advance(KEPT / 1000)
    assert await world.backing.drop_expired(now=world.clock.now()) == 1
    assert (await world.pay(3000)).status == 201
    assert len(world.payments()) == 2


async def test_failure_of_ours_is_not_stored_and_the_key_goes_on():
    """41: nothing was written, so the same key simply does it."""
    world = World()
    world.fail("unavailable")
    failed = await world.pay()
    assert (failed.status, failed.json["code"]) == (503, "store_unavailable")
    assert not world.payments() and not world.instances["simulator_a"].books.requested
    answer = await world.pay()
    assert (answer.status, answer.json["status"], answer.replayed) == (201, "succeeded", False)
    await world.assert_invariants()


async def test_failure_after_the_provider_was_called_is_in_flight_until_it_is_found_out():
    """41, 12."""
    world = World(notifications={"drop_rate": 1})
    world.fail(None, "unavailable")
    failed = await world.pay()
    assert failed.status == 503
    assert (await world.pay()).json["code"] == "request_in_flight"
    await world.run(MINUTE)
    answer = await world.pay()
    assert (answer.status, answer.json["status"]) == (201, "succeeded")
    await world.assert_invariants()


@pytest.mark.parametrize("done", ["done", "not done"])
@pytest.mark.parametrize("which", [1, 2])
async def test_commit_whose_outcome_is_unknown_is_neither_lost_nor_doubled(which, done):
    """41: of the first commit or the second, and it did happen or did not."""
    world = World()
    await world.hook()
    world.fail(*[None] * (which - 1), f"unknown, {done}")
    first = await world.pay()
    if which == 1:
        assert (first.status, first.json["code"]) == (503, "outcome_unknown")
    else:
        assert (first.status, first.json["status"], first.replayed) == (201, "succeeded", False)
    answer = await world.insist("POST", "/v1/payments", SALE, key="k1")
    assert answer.status == 201
    expected = "failed" if (which, done) == (1, "done") else "succeeded"
    assert answer.json["status"] == expected
    assert len(world.payments()) == 1
    await world.assert_invariants()


@pytest.mark.parametrize("done", ["done", "not done"])
async def test_unknown_commit_of_a_failover_goes_on_to_the_next_provider(done):
    """41: whether the second attempt is on record or not, the payer who waits is served."""
    world = World()
    world.fail(None, f"unknown, {done}")
    answer = await world.pay(token="tok_connect_refused-at-simulator_a")
    assert (answer.status, answer.json["status"], answer.json["provider"]) == (201, "succeeded", "simulator_b")
    await world.assert_invariants()


@pytest.mark.parametrize("done", ["done", "not done"])
@pytest.mark.parametrize("which", [1, 2])
async def test_refund_whose_commit_is_unknown_goes_out_once(which, done):
    """41."""
    world = World()
    payment_id = await world.sale()
    await world.run(1)
    world.fail(*[None] * (which - 1), f"unknown, {done}")
    await world.act(payment_id, "refunds", {"amount": 400})
    answer = await world.insist("POST", f"/v1/payments/{payment_id}/refunds", {"amount": 400}, key="k2")
    assert (answer.status, answer.json["status"]) == (201, "succeeded")
    assert world.payment(payment_id).amount_refunded == 400
    await world.assert_invariants()


async def test_rejected_request_is_not_stored_and_may_succeed_later_with_the_same_key():
    """41: nothing happened, so nothing has to be answered for good."""
    world = World()
    payment_id = await world.authorize()
    assert (await world.act(payment_id, "refunds", {"amount": 100}, key="k2")).status == 409
    await world.act(payment_id, "capture", None, key="k3")
    assert (await world.act(payment_id, "refunds", {"amount": 100}, key="k2")).status == 201
    await world.assert_invariants()


async def test_stored_answer_outlives_the_rule_and_the_provider_it_was_routed_by():
    """37: what was answered is answered again, whatever was configured since."""
    world = World()
    rules = {"rules": [{"name": "eu", "providers": ["simulator_b"]}]}
    assert (await world.ask("PUT", "/v1/routing/rules", rules)).status == 200
    first = await world.pay(routing={"rule": "eu"})
    assert first.json["provider"] == "simulator_b"
    assert (await world.ask("PUT", "/v1/routing/rules", {"rules": []})).status == 200
    again = await world.pay(routing={"rule": "eu"})
    assert (again.status, again.body, again.replayed) == (201, first.body, True)
    assert (await world.pay(key="k2", routing={"rule": "eu"})).json["errors"][0]["code"] == "unknown_rule"
    await world.assert_invariants()


async def test_answer_is_found_again_in_a_history_of_more_than_a_thousand_events():
    """37: a payment may live long."""
    world = World()
    payment_id = await world.authorize(1000)
    attempt = world.payment(payment_id).attempts[0]
    store = world.store
    # Older news that comes and goes: each is an event of its own.
    template = (await store.history(payment_id))[-1]
    silent = msgspec.structs.replace(template, facts=msgspec.Raw(b'{"cause":"sweeper"}'))
    for version in range(3, 1204):
        await store.commit([], [msgspec.structs.replace(silent, id=f"evt_{version}", version=version)])
    item = world.items[next(key for key in world.items if key.sort == "payment")]
    payment = msgspec.json.decode(item.value)
    assert payment["attempts"][0]["id"] == attempt.id
    payment["version"] = 1203
    await world.backing.overwrite(item._replace(value=msgspec.json.encode(payment)))
    first = await world.act(payment_id, "capture", {"amount": 400})
    again = await world.act(payment_id, "capture", {"amount": 400})
    assert (again.status, again.body, again.replayed) == (200, first.body, True)


async def test_record_and_payment_appear_together_or_not_at_all():
    """37: at no point between two awaits is there one without the other."""
    from tests.scenarios.node import Died

    for kill_at in range(1, 30):
        world = World()
        world.node.kill_at = kill_at
        with contextlib.suppress(Died):
            await world.pay()
        records = [key for key in world.items if key.sort == "record"]
        assert len(records) == len(world.payments())
    await world.run(HOUR)
