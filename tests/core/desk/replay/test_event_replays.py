"""Events told once more: harmless for every group that may be chosen, and enough to make what was lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from interlock.backends.memory.documents import MemoryDocuments
from interlock.core.access.audit_chain import verify
from interlock.core.desk.bulk.states import Stage
from interlock.core.desk.figures.model import COLLECTIONS
from interlock.core.desk.replay.handlers import decide_replay
from interlock.core.desk.replay.model import Group, Kind, Replay
from interlock.core.desk.replay.running import TOLD_WITHIN
from interlock.core.kernel.errors import Forbidden, Invalid, StoreUnavailable
from interlock.core.kernel.feed import START
from interlock.core.kernel.store import Delete, Item
from interlock.core.ledger.projection import JOURNALS, balances
from interlock.core.payments.projection import COLLECTIONS as PAYMENT_COLLECTIONS
from interlock.core.webhooks.events import COLLECTIONS as WEBHOOK_COLLECTIONS
from interlock.entrypoints.effects import REPLAYED, REPLAYS_WRITER
from tests.core.desk.desk_world import DeskWorld
from tests.core.desk.replay.replaying import asked, carried_out, deliveries
from tests.scenarios.world import MINUTE

EVERY = (*COLLECTIONS, *PAYMENT_COLLECTIONS, *WEBHOOK_COLLECTIONS, JOURNALS)


async def lived() -> DeskWorld:
    """Sales, a refund, a release, a decline and a failed delivery, all over."""
    world = DeskWorld()
    await world.hook()
    first = await world.sale(1_000, key="a")
    await world.act(first, "refunds", {"amount": 400}, key="b")
    held = await world.authorize(700, key="c")
    await world.act(held, "cancel", key="d")
    await world.pay(token="tok_decline_stolen", key="e")
    await world.ask("POST", "/v1/webhook_endpoints", {"url": "https://shop.example.com/late", "events": ["*"]})
    await world.sale(2_000, key="f")
    await world.settle()
    await world.look()
    return world


async def documents(world: DeskWorld) -> dict[str, Any]:
    found = {}
    for collection in EVERY:
        for tenant in ("ten_1", "~desk"):
            found[f"{collection.name}/{tenant}"] = await world.desk.find(collection.name, tenant=tenant, limit=1_000)
    return found


def stored(world: DeskWorld) -> dict[Any, Any]:
    """Everything but replays themselves, what tells of them, and how far the relay is with that."""
    passing = ("~desk/replays", "~platform/audit", "relay/events")
    return {key: item for key, item in world.items.items() if not key.partition.startswith(passing)}


async def lose(world: DeskWorld, falls: Callable[[Item], bool]) -> None:
    gone = [item for item in world.items.values() if falls(item)]
    assert gone
    for item in gone:
        await world.store.commit([Delete(item.key, item.version)])


async def replayed(world: DeskWorld, group: Group, **wanted: Any) -> Replay:
    replay = await asked(world, Kind.EVENTS, group=group, **wanted)
    assert replay.stage is Stage.WAITING, "events need somebody else, however few they are"
    await decide_replay(world.replays, replay.id, by="grace", approve=True)
    return await carried_out(world, replay)


@pytest.mark.parametrize("group", [one for one in Group if one is not Group.OUTSIDE])
async def test_everything_told_to_a_group_once_more_changes_nothing(group):
    world = await lived()
    before, rows, heard = stored(world), await documents(world), world.merchant.heard.copy()
    books = [one.outbox for one in world.instances.values()], [world.rows(one.id) for one in world.payments()]
    sums = (await balances(world.store, "ten_1")).totals
    for _ in range(2):
        replay = await replayed(world, group)
        assert (replay.stage, replay.failed, replay.skipped) == (Stage.DONE, 0, 0)
        assert replay.done == replay.items >= 12
    await world.settle()
    assert stored(world) == before
    assert await documents(world) == rows
    assert world.merchant.heard == heard
    assert books == ([one.outbox for one in world.instances.values()], [world.rows(one.id) for one in world.payments()])
    assert list((await balances(world.store, "ten_1")).totals) == list(sums)
    assert not (await verify(world.store)).breaks
    await world.assert_invariants()


async def test_lists_and_rows_that_were_lost_are_made_again():
    world = await lived()
    rows = await documents(world)
    world.desk = MemoryDocuments(EVERY)
    for group in (Group.READ_MODELS, Group.DESK):
        replay = await decided(world, group)
        await carried_out(world, replay)
    assert await documents(world) == rows


async def decided(world: DeskWorld, group: Group) -> Replay:
    """Without the desk being brought up to date before."""
    kept, world.look = world.look, nothing  # type: ignore[method-assign]
    replay = await asked(world, Kind.EVENTS, group=group)
    world.look = kept  # type: ignore[method-assign]
    return await decide_replay(world.replays, replay.id, by="grace", approve=True)


async def nothing() -> None:
    return None


async def test_journals_that_were_never_counted_are_counted_once():
    world = await lived()
    sums = list((await balances(world.store, "ten_1")).totals)
    await lose(world, lambda item: "/bal" in item.key.partition or "/jrn_counted" in item.key.partition)
    assert list((await balances(world.store, "ten_1")).totals) == []
    for _ in range(2):
        await replayed(world, Group.LEDGER_BALANCES)
    assert list((await balances(world.store, "ten_1")).totals) == sums
    assert any(key.sort.endswith(str(REPLAYS_WRITER)) for key in world.items)


async def test_delivery_that_was_never_made_is_made_and_arrives_once():
    world = await lived()
    lost = (await deliveries(world))[0]
    heard = Counter(world.merchant.heard)
    await lose(world, lambda item: lost.id.encode() in item.value)
    assert lost.id not in {one.id for one in await deliveries(world)}
    await replayed(world, Group.WEBHOOKS)
    await world.run(MINUTE)
    assert Counter(world.merchant.heard) == heard + Counter([lost.event])


async def test_event_older_than_deliveries_are_kept_is_not_fanned_out_again():
    world = await lived()
    heard = world.merchant.heard.copy()
    world.clock.advance(TOLD_WITHIN / 1_000 + 60)
    replay = await replayed(world, Group.WEBHOOKS)
    old = "it is older than deliveries are kept: it might be sent again"
    assert (replay.skipped, replay.reasons) == (replay.items - replay.done, {old: replay.skipped})
    assert replay.skipped > 10
    await world.run(MINUTE)
    assert world.merchant.heard == heard


async def test_what_is_published_once_more_for_others_is_marked():
    world = await lived()
    reader = await world.bus.subscribe("events", group="others", member="m")
    before = await reader.receive(limit=1_000)
    events = {record.event.id for record in await world.feed.read(after=START, limit=1_000)}
    replay = await asked(world, Kind.EVENTS, group=Group.OUTSIDE, type="payment.succeeded")
    await decide_replay(world.replays, replay.id, by="grace", approve=True)
    await carried_out(world, replay)
    marked = [one.message for one in await reader.receive(limit=1_000) if REPLAYED in one.message.headers]
    assert {message.id for message in marked} < events
    assert len(marked) == replay.items == 2
    known = {record.message.id: record.message for record in before}
    assert all(known[one.id]._replace(headers={}) == one._replace(headers={}) for one in marked)


async def test_one_payments_events_alone_are_told():
    world = await lived()
    payment = world.payments()[0].id
    replay = await replayed(world, Group.DESK, payment=payment)
    assert replay.done == replay.items == len(await world.store.history(payment))


async def test_who_asked_cannot_approve():
    world = await lived()
    replay = await asked(world, Kind.EVENTS, group=Group.DESK)
    with pytest.raises(Forbidden):
        await decide_replay(world.replays, replay.id, by="Ada", approve=True)


async def test_group_that_refuses_one_event_is_told_the_others(monkeypatch):
    world = await lived()
    replay = await asked(world, Kind.EVENTS, group=Group.DESK)
    await decide_replay(world.replays, replay.id, by="grace", approve=True)
    bad = (await world.feed.read(after=START, limit=5))[3].event.id
    told: list[str] = []

    async def hears(events):
        if any(event.id == bad for event in events):
            raise Invalid("it does not fit")
        told.extend(event.id for event in events)

    monkeypatch.setattr(DeskWorld, "told_again", {Group.DESK: hears})
    ended = await carried_out(world, replay)
    assert (ended.failed, ended.done, ended.reasons) == (1, ended.items - 1, {"it does not fit": 1})
    assert [remark.id for remark in ended.remarks] == [bad]
    assert bad not in told
    assert len(set(told)) == ended.done


async def test_group_that_is_down_hears_everything_later(monkeypatch):
    world = await lived()
    replay = await asked(world, Kind.EVENTS, group=Group.DESK)
    await decide_replay(world.replays, replay.id, by="grace", approve=True)
    told: list[str] = []
    down = 3

    async def hears(events):
        nonlocal down
        if down:
            down -= 1
            raise StoreUnavailable("down")
        told.extend(event.id for event in events)

    monkeypatch.setattr(DeskWorld, "told_again", {Group.DESK: hears})
    ended = await carried_out(world, replay)
    assert (ended.stage, ended.done, ended.skipped) == (Stage.DONE, ended.items, 0)
    assert len(told) == len(set(told)) == ended.items
