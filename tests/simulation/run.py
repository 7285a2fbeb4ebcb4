"""One seed, from its first request to its last proof."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

from tests.simulation.ending import end
from tests.simulation.loop import Stuck, close
from tests.simulation.offices import Office
from tests.simulation.reality import forbidden
from tests.simulation.shops import TENANTS, Shop
from tests.simulation.trace import Trace
from tests.simulation.watch import Violation
from tests.simulation.world import API_NODES, WORKERS, World


class Run(NamedTuple):
    """What became of a seed."""

    seed: int
    rule: str
    """The rule that was broken; empty if none was."""
    error: str
    faults: tuple[str, ...]
    """All that happened, by name."""
    counts: Counter[str]
    """... by kind."""
    checks: Counter[str]
    payments: int
    requests: int
    commits: int
    webhooks: int
    virtual_s: float
    trace: Trace

    @property
    def failed(self) -> bool:
        return bool(self.rule)


def simulate(seed: int, *, only: Collection[str] | None = None) -> Run:
    """Run one seed; with `only`, no other faults than those of these names."""
    collects = gc.isenabled()
    gc.disable()  # a world is one cycle: looking for garbage in it takes long and finds none
    try:
        return _simulate(seed, only)
    finally:
        if collects:
            gc.enable()


def _simulate(seed: int, only: Collection[str] | None) -> Run:
    with forbidden():
        world = World(seed, only=only)
        shops = [Shop(world, tenant) for tenant in TENANTS]
        rule = error = ""
        try:
            world.loop.run_until_complete(_day(world, shops))
        except Violation as violation:
            rule, error = violation.rule, str(violation)
        except Stuck as stuck:
            rule, error = "the platform comes to rest, and not before its work is done", repr(stuck)
        world.trace.close()
        virtual_s = world.loop.time()
        world.put_away()
        close(world.loop)
    return Run(
        seed=seed,
        rule=rule,
        error=error,
        faults=tuple(world.chaos.happened),
        counts=world.chaos.counts,
        checks=world.watch.checks,
        payments=len(world.watch.payments),
        requests=sum(shop.requests for shop in shops),
        commits=world.watch.commits,
        webhooks=sum(sum(shop.endpoint.taken.values()) for shop in shops),
        virtual_s=virtual_s,
        trace=world.trace,
    )


async def _day(world: World, shops: list[Shop]) -> None:
    """Open, trade in whatever weather, calm down, and prove."""
    world.chaos.calm = True
    for name in (*API_NODES, *WORKERS):
        world.start(name)
    for shop in shops:
        await shop.open()
    world.chaos.calm = False
    world.trouble()
    offices = [Office(world, shop) for shop in shops]
    await asyncio.gather(*(shop.trade() for shop in shops), *(office.work() for office in offices))
    world.calm()
    for shop, office in zip(shops, offices, strict=True):
        if shop.endpoint.locked:
            await office.rotate()
    await end(world, shops)
