"""What the desk does by itself, step by step, on a clock that is moved by hand."""

from __future__ import annotations

import asyncio

from interlock.core.desk.figures.model import COUNTS, DESK
from interlock.core.desk.figures.remembering import RememberedTallies
from interlock.core.desk.localisation.counting import PAST
from interlock.core.desk.overview.handlers import look
from interlock.core.desk.slo.counting import CountedAttempts
from interlock.core.desk.slo.ports import Objectives
from interlock.core.kernel.clock import DAY
from interlock.entrypoints.desk_loops import Rememberer
from tests.core.desk.desk_world import DeskWorld
from tests.scenarios.world import HOUR


async def test_days_are_counted_before_somebody_looks_and_then_only_the_newest():
    world = DeskWorld()
    await world.sale(1000, key="old")
    await world.run(3 * 24 * HOUR)
    await world.sale(2000, key="new")
    await world.look()
    tallies = RememberedTallies(world.desk, world.desk, world.clock)
    node = world.node.payments
    counted = CountedAttempts(tallies, world.desk)
    objectives = Objectives(node.store, world.clock, node.ids, node.telemetry, counted)
    past = RememberedTallies(world.desk, world.desk, world.clock, PAST)
    rememberer = Rememberer(tallies, past, objectives, days=5)

    async def remembered() -> set[str]:
        found = await world.desk.find(COUNTS.name, tenant=DESK, limit=5_000)
        return {one.id.rpartition(".")[2] for one in found if ".day." in one.id}

    async def step() -> None:
        task = asyncio.create_task(rememberer.step())
        await world.clock.run_for(1)
        if not task.done():
            await world.clock.run_for(300)
        await task

    for _ in range(5):
        await step()
    today = world.clock.now() // DAY * DAY
    assert await remembered() == {f"{today - back * DAY:013d}" for back in range(1, 5)}
    await step()
    assert len(await remembered()) == 4

    plain = world.desk.tally
    asked: list[str] = []

    async def tally(collection: str, **given: object) -> object:
        asked.append(str(given["id_from"]))
        return await plain(collection, **given)  # type: ignore[arg-type]

    world.desk.tally = tally  # type: ignore[method-assign,assignment]
    seen = await look(tallies, since=today - 4 * DAY, until=today)
    assert sum(flow.payments for flow in seen.flows) == 1
    assert asked == []
