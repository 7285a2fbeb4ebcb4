"""From a simulated provider that refuses cards to the statement that names them: the whole platform in between."""

import random

from interlock.core.desk.localisation.counting import leaves, telling
from interlock.core.desk.localisation.localising import localise
from interlock.simulator.cards import CARDS
from tests.core.desk.desk_world import DeskWorld

BETWEEN_S = 6.0


async def trade(world: DeskWorld, number: int, *, seed: int) -> int:
    """Sales with any card at either provider; when they began."""
    chance, since = random.Random(seed), world.clock.now()
    cards = [*CARDS, *["497010"] * 3]
    for place in range(number):
        token = "tok_decline_insufficient_funds" if chance.random() < 0.05 else "tok_approve"
        await world.pay(
            1000 + place,
            key=f"{seed}-{place}",
            token=f"{token}-card-{chance.choice(cards)}",
            tenant=chance.choice(("ten_1", "ten_2")),
            routing={"provider": chance.choice(("simulator_a", "simulator_b"))},
        )
        world.clock.advance(BETWEEN_S)
    return since


async def found_in(world: DeskWorld, since: int):
    await world.look()
    until = world.clock.now() + 1
    return localise(
        *telling(await leaves(world.desk, world.desk, since=since, until=until, before_since=0, before_until=since))
    )


async def test_bin_that_fails_at_one_provider_is_named_first_with_its_provider():
    world = DeskWorld(release="1.0.0")
    await trade(world, 300, seed=1)
    calm = await trade(world, 100, seed=2)
    assert (await found_in(world, calm)).verdict == "calm"
    world.control("PUT", "/faults", {"refusals": [{"bin": "497010", "declined": 0.9}]}, name="simulator_b")
    broken = await trade(world, 200, seed=3)
    finding = await found_in(world, broken)
    assert finding.verdict == "drop"
    first = finding.causes[0]
    assert {("provider", "simulator_b"), ("bin", "497010")} <= set(first.where)
    assert set(first.where) <= {("provider", "simulator_b"), ("bin", "497010"), ("error", "issuer_unavailable")}
    assert first.statement.startswith("provider=simulator_b and bin=497010")
    assert first.share > 0.8


async def test_release_that_fails_during_a_rolling_deploy_is_named_first():
    world = DeskWorld(release="1.0.0")
    await trade(world, 150, seed=4)
    deploy = await trade(world, 100, seed=5)
    world.release = "1.1.0"
    await world.restart()
    for name in world.instances:
        world.faults(name, refusals=[{"brand": brand, "declined": 0.6} for brand in ("visa", "mastercard", "amex")])
    await trade(world, 100, seed=6)
    finding = await found_in(world, deploy)
    assert finding.verdict == "drop"
    assert ("version", "1.1.0") in finding.causes[0].where
    assert set(finding.causes[0].where) <= {("version", "1.1.0"), ("error", "issuer_unavailable")}
