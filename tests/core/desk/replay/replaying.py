"""Replays in the desk's world: asked for, and carried out while time goes on."""

from __future__ import annotations

from typing import Any

from interlock.core.desk.bulk.states import Stage
from interlock.core.desk.replay.handlers import ask_for_replay
from interlock.core.desk.replay.model import Kind, Replay, Wanted
from interlock.core.desk.replay.records import load_replay
from interlock.core.desk.replay.running import run_replays
from interlock.core.webhooks.listing import Wanted as WantedDeliveries
from interlock.core.webhooks.listing import find_deliveries
from interlock.core.webhooks.model import Delivery
from tests.core.desk.desk_world import DeskWorld


async def asked(
    world: DeskWorld, kind: Kind = Kind.WEBHOOKS, *, rate: int = 200, by: str = "ada", **wanted: Any
) -> Replay:
    await world.look()
    world.clock.advance(1)  # what has just happened is before now
    return await ask_for_replay(
        world.replays, Wanted(kind=kind, **wanted), rate=rate, reason="their server was down", by=by
    )


async def turn(world: DeskWorld) -> int:
    """One worker comes by."""
    ran = await world.finish(world.node.start(run_replays(world.replays, world.told_again)))
    return int(ran.items)


async def carried_out(world: DeskWorld, replay: Replay) -> Replay:
    for _ in range(2_000):
        await turn(world)
        found, _ = await load_replay(world.store, replay.id)
        if found.stage is not Stage.APPROVED:
            return found
        world.clock.advance(0.05)
    raise AssertionError("it is never done")


async def deliveries(world: DeskWorld, tenant: str = "ten_1") -> list[Delivery]:
    found = await find_deliveries(world.node.webhooks, tenant, WantedDeliveries(), limit=1_000)
    return found.deliveries


async def told_shop(number: int) -> DeskWorld:
    """A merchant who has heard of so many sales."""
    world = DeskWorld()
    await world.hook()
    for count in range(number):
        await world.sale(1_000 + count, key=f"k{count}")
    await world.settle()
    return world
