"""A small business day on the real platform, in virtual time, and what was exported of it."""

from interlock.backends.duckdb.files import ParquetFiles
from interlock.backends.memory.blobs import MemoryBlobs
from interlock.core.desk.queries.handlers import export
from interlock.core.desk.queries.ports import Exports
from interlock.core.kernel.feed import START
from tests.scenarios.backing import CHOICE
from tests.scenarios.world import MINUTE, World

BATCH = 7
"""Small and odd, so that one payment's events are spread over several segments."""


async def events_of(world):
    """All that was committed, in the order of commits."""
    found, after = [], START
    while records := await world.feed.read(after=after):
        found += [record.event for record in records]
        after = records[-1].position
    return found


async def business_day():
    """The world, and payments by what they are about. One stays uncertain: its provider is not asked any more."""
    world = World(seed=3, release="1.0.0")
    paid = {}
    paid["sale"] = await world.sale(1000, key="k-sale", reference="order-1", customer="cus-7")
    paid["again"] = await world.sale(1000, key="k-again", reference="order-1")
    paid["manual"] = await world.authorize(500, key="k-manual", reference="order-2")
    await world.run(5 * MINUTE)
    await world.act(paid["manual"], "capture", {"amount": 300}, key="k-capture")
    refund = await world.act(paid["sale"], "refunds", {"amount": 200, "reason": "duplicate"}, key="k-refund")
    assert refund.status == 201, refund
    paid["stolen"] = (await world.pay(700, token="tok_decline_stolen", key="k-stolen")).json["id"]
    failover = "tok_decline_issuer_unavailable-at-simulator_a"
    paid["failover"] = (await world.pay(900, token=failover, key="k-failover")).json["id"]
    paid["disputed"] = await world.sale(400, key="k-disputed", tenant="ten_2")
    await world.settle()
    world.control("POST", "/disputes", {"payment_id": paid["disputed"], "amount": 400, "status": "opened"})
    await world.settle()
    paid["held"] = await world.authorize(600, key="k-held", reference="4111 1111 1111 1111")
    paid["uncertain"] = (await world.pay(800, token="tok_timeout_after_accept", key="k-uncertain")).json["id"]
    return world, paid


async def exported(events, blobs=None, batch=BATCH):
    """Blobs with the segments of these events."""
    means = Exports(MemoryBlobs() if blobs is None else blobs, ParquetFiles())
    for start in range(0, len(events), batch):
        await export(means, events[start : start + batch])
    return means


async def end_worlds():
    await CHOICE.close()
