"""Webhooks sent once more: the same ids, in their order, once each, no faster than was asked, until somebody stops it."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from interlock.core.access.audit import list_audit
from interlock.core.desk.bulk.states import Stage
from interlock.core.desk.replay.handlers import continue_replay, decide_replay, pause_replay, stop_replay
from interlock.core.desk.replay.model import ALONE_MAX, Kind, Wanted
from interlock.core.desk.replay.planning import plan
from interlock.core.desk.replay.records import load_replay
from interlock.core.desk.replay.running import TRIES_MAX, TURNS_A_SECOND, run_replays
from interlock.core.kernel.clock import utc_day
from interlock.core.kernel.errors import Conflict, Invalid
from interlock.core.webhooks.ports import Failure, SendResult
from interlock.core.webhooks.states import DeliveryState
from tests.core.desk.desk_world import DeskWorld
from tests.core.desk.replay.replaying import asked, carried_out, deliveries, told_shop, turn
from tests.scenarios.node import Died
from tests.scenarios.world import DAY, MINUTE

REFUSED = SendResult(None, Failure.CONNECT, 3)


async def given_up() -> DeskWorld:
    """Everything that was to tell of a sale is dead."""
    world = DeskWorld()
    await world.hook()
    world.merchant.otherwise = REFUSED
    await world.sale(800)
    while {one.state for one in await deliveries(world)} != {DeliveryState.DEAD}:
        await world.run(DAY)
    assert len(await deliveries(world)) > 1
    return world


async def test_what_arrived_is_sent_once_more_with_the_same_ids_in_the_order_of_its_payment():
    world = await told_shop(4)
    heard = world.merchant.heard.copy()
    replay = await carried_out(world, await asked(world))
    await world.run(MINUTE)
    assert (replay.stage, replay.done, replay.skipped, replay.failed) == (Stage.DONE, len(heard), 0, 0)
    again = world.merchant.heard[len(heard) :]
    assert Counter(again) == Counter(heard)
    for payment in world.payments():
        own = {event.id: event.version for event in await world.store.history(payment.id)}
        versions = [own[event] for event in again if event in own]
        assert versions == sorted(versions)
    assert {one.asked_by for one in await deliveries(world)} == {replay.id}
    await world.assert_invariants()


async def test_only_what_fits_is_sent():
    world = await told_shop(3)
    payment = world.payments()[1].id
    before = len(world.merchant.posts)
    replay = await carried_out(world, await asked(world, payment=payment, type="payment.succeeded"))
    await world.run(MINUTE)
    (post,) = world.merchant.posts[before:]
    assert replay.done == 1
    (succeeded,) = [one for one in await world.store.history(payment) if one.type == "payment.succeeded"]
    assert post.event == succeeded.id


async def test_every_merchants_deliveries_are_found_and_a_time_window_holds():
    world = DeskWorld()
    for tenant in ("ten_1", "ten_2", "ten_3"):
        await world.ask(
            "POST", "/v1/webhook_endpoints", {"url": "https://shop.example.com/x", "events": ["*"]}, tenant=tenant
        )
    for tenant in ("ten_1", "ten_2", "ten_3"):
        await world.sale(key=f"a{tenant}", tenant=tenant)
    await world.settle()
    since = world.clock.now() + 1_000
    world.clock.advance(2)
    await world.sale(key="b", tenant="ten_3")
    await world.settle()
    await world.look()
    world.clock.advance(1)
    every = await plan(world.replays, Wanted(kind=Kind.WEBHOOKS), 10)
    late = await plan(world.replays, Wanted(kind=Kind.WEBHOOKS, since=since), 10)
    early = await plan(world.replays, Wanted(kind=Kind.WEBHOOKS, before=since), 10)
    assert {one.name for one in every.by_merchant} == {"ten_1", "ten_2", "ten_3"}
    assert [one.name for one in late.by_merchant] == ["ten_3"]
    assert early.items + late.items == every.items == len(world.merchant.posts)
    assert every.complete
    assert every.seconds == -(-every.items // 10)


async def test_preview_counts_what_would_be_sent_and_changes_nothing():
    world = await told_shop(5)
    await world.look()
    world.clock.advance(1)
    before = dict(world.items)
    planned = await plan(world.replays, Wanted(kind=Kind.WEBHOOKS, status="delivered"), 2)
    assert planned.items == len(world.merchant.posts)
    assert sum(one.number for one in planned.by_type) == planned.items
    assert [one.name for one in planned.by_merchant] == ["ten_1"]
    assert (planned.needs_approval, planned.complete, planned.warnings) == (False, True, ())
    ids = [one.id for one in planned.first]
    assert ids == sorted(ids)
    assert dict(world.items) == before
    assert (await plan(world.replays, Wanted(kind=Kind.WEBHOOKS, status="dead"), 2)).items == 0


async def test_endpoint_that_takes_nothing_is_warned_of_and_skipped_with_the_reason():
    world = await told_shop(2)
    await world.look()
    (endpoint,) = {one.endpoint for one in await deliveries(world)}
    number = len(await deliveries(world))
    assert (await world.ask("PATCH", f"/v1/webhook_endpoints/{endpoint}", {"enabled": False})).status == 200
    world.clock.advance(1)
    planned = await plan(world.replays, Wanted(kind=Kind.WEBHOOKS), 10)
    assert planned.warnings == (f"{number} to {endpoint} would be skipped: it is disabled",)
    replay = await carried_out(world, await asked(world))
    assert (replay.done, replay.skipped, replay.reasons) == (0, number, {"its endpoint is disabled": number})
    assert replay.remarks[0].detail == "its endpoint is disabled"
    assert {one.state for one in await deliveries(world)} == {DeliveryState.DELIVERED}


async def test_dead_deliveries_are_given_one_attempt():
    world = await given_up()
    world.merchant.otherwise = SendResult(200, None, 5)
    world.merchant.posts.clear()
    number = len(await deliveries(world))
    replay = await carried_out(world, await asked(world, status="dead"))
    await world.run(MINUTE)
    assert (replay.done, len(world.merchant.posts)) == (number, number)
    assert {one.state for one in await deliveries(world)} == {DeliveryState.DELIVERED}


async def test_delivery_that_has_another_status_by_now_is_skipped():
    world = await given_up()
    replay = await asked(world, status="dead", rate=1)
    await turn(world)  # the first one, at one a second
    world.merchant.otherwise = SendResult(200, None, 5)
    second = sorted(await deliveries(world), key=lambda one: one.id)[1]
    assert (await world.ask("POST", f"/v1/webhook_deliveries/{second.id}/retry", None, key="by-hand")).status == 202
    await world.run(MINUTE)
    ended = await carried_out(world, replay)
    # What has left the index of the dead is not met at all, and is told by what is left.
    assert ended.done + ended.skipped + ended.left == replay.items
    assert ended.done < replay.items


@pytest.mark.parametrize("rate", [1, 3, 8, 40])
async def test_rate_holds_over_two_workers(rate):
    world = await told_shop(24)
    replay = await asked(world, rate=rate)
    began = world.clock.now()
    done_at: list[int] = []
    for _ in range(4_000):
        for _ in range(2):
            done_at += [world.clock.now()] * await turn(world)
        if (await load_replay(world.store, replay.id))[0].stage is Stage.DONE:
            break
        world.clock.advance(0.02)
    assert len(done_at) == replay.items
    for place, at in enumerate(done_at):
        within = sum(at <= other < at + 1_000 for other in done_at[place:])
        assert within <= rate + max(1, rate // TURNS_A_SECOND), f"{within} within a second"
    needed = replay.items / rate
    assert needed - 1 <= (done_at[-1] - began) / 1_000 <= needed * 1.3 + 1


async def test_stopped_replay_goes_no_further_and_keeps_its_count():
    world = await told_shop(6)
    replay = await asked(world, rate=4)
    assert await turn(world) == 1
    stopped = await stop_replay(world.replays, replay.id, by="ada")
    world.clock.advance(60)
    assert await turn(world) == 0
    assert (stopped.stage, stopped.done, stopped.left) == (Stage.STOPPED, 1, replay.items - 1)
    assert await stop_replay(world.replays, replay.id, by="ada") == stopped
    for act in (pause_replay, continue_replay):
        with pytest.raises(Conflict):
            await act(world.replays, replay.id, by="ada")
    await world.run(MINUTE)
    assert sum(bool(one.asked_by) for one in await deliveries(world)) == 1


async def test_stop_in_the_middle_of_a_turn_ends_it_after_that_turn_and_what_was_done_counts():
    world = await told_shop(10)
    replay = await asked(world, rate=20)
    running = world.node.start(run_replays(world.replays, world.told_again))
    while not any(one.asked_by for one in await deliveries(world)):
        await asyncio.sleep(0)
        assert not running.done()
    await stop_replay(world.replays, replay.id, by="ada")
    await world.finish(running)
    found, _ = await load_replay(world.store, replay.id)
    assert (found.stage, found.done) == (Stage.STOPPED, 20 // TURNS_A_SECOND)
    assert sum(bool(one.asked_by) for one in await deliveries(world)) == found.done
    world.clock.advance(60)
    assert await turn(world) == 0


async def test_paused_replay_goes_on_where_it_was():
    world = await told_shop(4)
    replay = await asked(world, rate=4)
    await turn(world)
    await pause_replay(world.replays, replay.id, by="ada")
    world.clock.advance(60)
    assert await turn(world) == 0
    await continue_replay(world.replays, replay.id, by="grace")
    ended = await carried_out(world, replay)
    assert (ended.stage, ended.done) == (Stage.DONE, replay.items)
    await world.run(MINUTE)
    assert {one.attempts_total for one in await deliveries(world)} == {2}


async def test_replay_killed_at_any_step_asks_for_each_delivery_once():
    deaths = 0
    for kill_at in range(1, 400):
        world = await told_shop(2)
        heard = Counter(world.merchant.heard)
        replay = await asked(world, rate=16)
        world.node.kill_at = world.node.steps + kill_at
        try:
            ended = await carried_out(world, replay)
        except Died:
            deaths += 1
            await world.restart()
            world.clock.advance(31)
            ended = await carried_out(world, replay)
        assert (ended.stage, ended.done, ended.left) == (Stage.DONE, replay.items, 0)
        world.node.kill_at = None
        await world.run(MINUTE)
        assert Counter(world.merchant.heard) == Counter({event: 2 * number for event, number in heard.items()})
        if world.deaths == 0:
            break
    assert deaths > 40


async def test_replay_that_comes_to_nothing_again_and_again_pauses_itself_and_says_so():
    world = await told_shop(1)
    replay = await asked(world)
    world.fail(*["unavailable"] * 60, when="queue.send")
    for _ in range(TRIES_MAX + 2):
        await turn(world)
        world.clock.advance(10)
    found, _ = await load_replay(world.store, replay.id)
    assert found.stage is Stage.PAUSED
    assert found.note == f"{TRIES_MAX} turns in a row came to nothing"
    world.fail()
    await continue_replay(world.replays, replay.id, by="ada")
    assert (await carried_out(world, replay)).done == replay.items


async def test_many_need_somebody_else_also_when_they_are_asked_for_bit_by_bit(monkeypatch):
    world = await told_shop(3)
    number = len(world.merchant.posts)
    monkeypatch.setattr("interlock.core.desk.replay.handlers.ALONE_MAX", number + 1)
    first = await asked(world)
    second = await asked(world, by="ADA ")
    of_another = await asked(world, by="grace")
    assert [one.stage for one in (first, second, of_another)] == [Stage.APPROVED, Stage.WAITING, Stage.APPROVED]
    assert (await decide_replay(world.replays, second.id, by="grace", approve=True)).stage is Stage.APPROVED
    world.clock.advance(3_700)
    assert (await asked(world)).stage is Stage.APPROVED
    assert ALONE_MAX == 1_000


async def test_each_step_is_in_the_audit_trail():
    world = await told_shop(2)
    replay = await asked(world, rate=4)
    await turn(world)
    await pause_replay(world.replays, replay.id, by="grace")
    await continue_replay(world.replays, replay.id, by="ada")
    await carried_out(world, replay)
    page = await list_audit(world.store, tenant="~platform", day=utc_day(world.clock.now()))
    steps = [(one.action, one.actor) for one in reversed(page.records) if one.target == replay.id]
    assert steps == [
        ("replay.requested", "ada"),
        ("replay.paused", "grace"),
        ("replay.continued", "ada"),
        ("replay.done", "platform"),
    ]


@pytest.mark.parametrize(
    ("wanted", "rate", "pointers"),
    [
        ({"kind": Kind.WEBHOOKS, "queue": "webhooks"}, 10, ["/wanted/queue"]),
        ({"kind": Kind.WEBHOOKS}, 0, ["/rate"]),
        ({"kind": Kind.WEBHOOKS}, 201, ["/rate"]),
        ({"kind": Kind.EVENTS}, 10, ["/wanted/group"]),
        ({"kind": Kind.DEAD_LETTERS, "queue": "nope"}, 10, ["/wanted/queue"]),
        ({"kind": Kind.WEBHOOKS, "payment": "pay_1"}, 10, ["/wanted/payment"]),
        ({"kind": Kind.WEBHOOKS, "since": 20, "before": 10}, 10, ["/wanted/since"]),
    ],
)
async def test_what_makes_no_sense_is_refused(wanted, rate, pointers):
    world = DeskWorld()
    with pytest.raises(Invalid) as caught:
        await plan(world.replays, Wanted(**wanted), rate)
    assert [fault.pointer for fault in caught.value.faults] == pointers


async def test_replay_without_a_reason_or_of_nothing_is_refused_and_leaves_no_trace():
    world = await told_shop(1)
    before = {key for key in world.items if key.partition.startswith("~desk")}
    with pytest.raises(Invalid):
        await asked(world, status="dead")
    assert {key for key in world.items if key.partition.startswith("~desk")} == before


async def test_store_that_fails_for_a_moment_delays_and_loses_nothing():
    world = await told_shop(3)
    replay = await asked(world)
    failed = 0

    def fault(called, args):
        nonlocal failed
        if called == "store.commit" and "dlv" in str(args[0][0].key) and failed < 2:
            failed += 1
            return "unavailable"
        return None

    world.fault_of = fault
    ended = await carried_out(world, replay)
    assert (failed, ended.done, ended.failed) == (2, replay.items, 0)
    await world.run(MINUTE)
    assert {one.attempts_total for one in await deliveries(world)} == {2}
