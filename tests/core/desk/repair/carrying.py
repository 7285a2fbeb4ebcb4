"""Repairs from their preview to their end, in the desk's world."""

from __future__ import annotations

from collections.abc import AsyncIterator

from interlock.core.desk.bulk.states import Stage
from interlock.core.desk.explain.search import find_row
from interlock.core.desk.figures.model import PaymentRow
from interlock.core.desk.repair.handlers import ask_for_repair, decide_repair
from interlock.core.desk.repair.model import Action, Item, Repair
from interlock.core.desk.repair.planning import plan
from interlock.core.desk.repair.records import load_page, load_repair
from interlock.core.desk.repair.running import run_repairs
from tests.core.desk.desk_world import DeskWorld


async def rows(world: DeskWorld, *payments: str) -> AsyncIterator[PaymentRow]:
    for payment in payments:
        row = await find_row(world.desk, payment)
        assert row is not None
        yield row


async def asked(world: DeskWorld, action: Action, *payments: str, by: str = "ada") -> Repair:
    await world.look()
    planned = await plan(world.repairs, action, rows(world, *payments))
    return await ask_for_repair(world.repairs, action, planned.items, reason="charged twice", by=by)


async def carried_out(world: DeskWorld, repair: Repair) -> list[Item]:
    """Approved, and done by the platform while time goes on."""
    await decide_repair(world.repairs, repair.id, by="grace", approve=True)
    return await finished(world, repair)


async def finished(world: DeskWorld, repair: Repair) -> list[Item]:
    for _ in range(50):
        await world.finish(world.node.start(run_repairs(world.repairs)))
        found, _ = await load_repair(world.store, repair.id)
        if found.stage is not Stage.APPROVED:
            return [
                item for number in range(found.pages) for item in (await load_page(world.store, repair.id, number))[0]
            ]
        await world.run(31)
    raise AssertionError("it is never done")


def refunds(world: DeskWorld, payment: str) -> list[int]:
    return [one.amount for one in world.payment(payment).refunds]
