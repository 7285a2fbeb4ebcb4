"""A silence ends by itself: what fires then is opened, though its tool says nothing again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from interlock.core.desk.alerts.commands import AcknowledgeAlert
from interlock.core.desk.alerts.model import LABELS_CHARACTERS_MAX, MUTED_CHARACTERS_MAX, MUTED_MAX, AlertSeverity
from interlock.core.desk.alerts.records import alert_write, decode_alert
from interlock.core.desk.alerts.responding import acknowledge
from interlock.core.desk.alerts.rules import (
    AlertMatcher,
    AlertRule,
    GroupAction,
    SetSeverityAction,
    SilenceAction,
    ThresholdAction,
    WeeklyMaintenanceAction,
)
from interlock.core.desk.alerts.silences import end_silences
from interlock.core.kernel.clock import SECOND
from interlock.core.kernel.store import VALUE_BYTES_MAX
from interlock.entrypoints.desk_loops import Unsilencer
from tests.core.desk.alerts.world import World, request, resolved, signal


@pytest.fixture
def world() -> World:
    return World()


def silence(world: World, seconds: float, id: str = "quiet", **labels: str) -> AlertRule:
    until = datetime.fromtimestamp(world.clock.now() // SECOND, UTC) + timedelta(seconds=seconds)
    matchers = tuple(AlertMatcher(f"labels.{name}", "=", text) for name, text in labels.items())
    return AlertRule(id, SilenceAction(until), matchers)


async def opened(world: World) -> int:
    return (await end_silences(world.d)).opened


async def states(world: World) -> list[str]:
    return [one.state for one in await world.alerts()]


async def test_silenced_alert_opens_when_its_silence_ends_and_not_before(world):
    await world.rules(silence(world, 60))
    await world.fire(signal())
    world.clock.advance(59.999)
    assert await opened(world) == 0
    world.clock.advance(0.001)
    assert await opened(world) == 1
    (alert,) = await world.alerts()
    assert (alert.state, alert.noticed_at, alert.count, alert.muted) == ("open", world.clock.now(), 1, ())
    line = alert.history[-1]
    assert (line.what, line.by, line.note) == ("opened", "~platform", "its silence is over")
    assert world.event_types() == ["alert_rules.replaced", "alert.silenced", "alert.opened"]


async def test_end_of_a_silence_is_told_once(world):
    await world.rules(silence(world, 60))
    await world.fire(signal())
    world.clock.advance(60)
    assert [await opened(world), await opened(world)] == [1, 0]
    assert world.event_types().count("alert.opened") == 1


async def test_alert_that_was_over_before_its_silence_ended_stays_resolved(world):
    await world.rules(silence(world, 60))
    await world.fire(signal())
    await world.fire(resolved())
    world.clock.advance(60)
    assert await opened(world) == 0
    assert await states(world) == ["resolved"]


async def test_silence_that_is_taken_out_of_the_rules_has_ended(world):
    await world.rules(silence(world, 3_600))
    await world.fire(signal())
    await world.rules()
    assert await opened(world) == 1


async def test_alert_stays_silent_while_another_rule_is_silent_about_it(world):
    await world.rules(silence(world, 60), silence(world, 120, "longer"))
    await world.fire(signal())
    world.clock.advance(60)
    assert await opened(world) == 0
    world.clock.advance(60)
    assert await opened(world) == 1


async def test_end_of_a_weekly_maintenance_opens_what_fires(world):
    begin = datetime.fromtimestamp(world.clock.now() // SECOND, UTC)
    day = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[begin.weekday()]
    await world.rules(AlertRule("weekly", WeeklyMaintenanceAction((day,), f"{begin:%H:%M}", 30)))
    await world.fire(signal())
    world.clock.advance(30 * 60 - begin.second - 1)
    assert await opened(world) == 0
    world.clock.advance(1)
    assert await opened(world) == 1


async def test_silence_of_a_severity_that_a_rule_sets_holds_until_its_end(world):
    until = datetime.fromtimestamp(world.clock.now() // SECOND, UTC) + timedelta(seconds=60)
    quiet = AlertRule("quiet", SilenceAction(until), (AlertMatcher("severity", "=", "info"),))
    await world.rules(AlertRule("minor", SetSeverityAction(AlertSeverity.INFO)), quiet)
    await world.fire(signal())
    assert await opened(world) == 0
    world.clock.advance(60)
    assert await opened(world) == 1


async def test_alert_that_fired_too_seldom_for_its_threshold_is_held_when_its_silence_ends(world):
    await world.rules(silence(world, 60), AlertRule("often", ThresholdAction(2, 600)))
    await world.fire(signal())
    world.clock.advance(60)
    assert await opened(world) == 1
    (alert,) = await world.alerts()
    assert (alert.state, alert.noticed_at, alert.history[-1].rules) == ("held", 0, ("often",))
    assert world.event_types()[-1] == "alert.held"


# -- groups ------------------------------------------------------------------------------------------------------------


async def test_group_opens_when_the_first_silence_of_what_fires_in_it_ends(world):
    group = AlertRule("all", GroupAction(("name",)))
    await world.rules(group, silence(world, 60, "short", provider="acme"), silence(world, 120, "long", provider="zed"))
    await world.fire(signal("f1", provider="acme"))
    await world.fire(signal("f2", provider="zed"))
    world.clock.advance(60)
    assert await opened(world) == 1


async def test_group_stays_silent_when_what_fires_in_it_no_longer_is_that_whose_silence_ended(world):
    group = AlertRule("all", GroupAction(("name",)))
    await world.rules(group, silence(world, 60, "short", provider="acme"), silence(world, 120, "long", provider="zed"))
    await world.fire(signal("f1", provider="acme"))
    await world.fire(signal("f2", provider="zed"))
    await world.fire(resolved("f1", provider="acme"))
    world.clock.advance(60)
    assert await opened(world) == 0
    world.clock.advance(60)
    assert await opened(world) == 1


async def test_group_that_fires_and_is_then_silenced_by_one_more_opens_with_the_end_of_that_silence(world):
    await world.rules(AlertRule("all", GroupAction(("name",))), silence(world, 60, provider="zed"))
    await world.fire(signal("f1", provider="acme"))
    await world.fire(signal("f2", provider="zed"))
    assert (await states(world), await opened(world)) == (["silenced"], 0)
    world.clock.advance(60)
    assert (await opened(world), await states(world)) == (1, ["open"])


async def test_silenced_group_of_the_largest_signals_fits_into_an_item(world):
    await world.rules(AlertRule("all", GroupAction(("name",))), silence(world, 60))
    wide = {f"{number}": "\u00e9" * 508 for number in range(LABELS_CHARACTERS_MAX // 510)}
    for number in range(MUTED_MAX + 1):
        await world.fire(signal(f"f{number}", **wide))
        await world.fire(signal(f"s{number}"))
    (alert,) = await world.alerts()
    kept = sum(len(name) + len(text) for one in alert.muted for name, text in one.labels.items())
    assert kept <= MUTED_CHARACTERS_MAX
    assert len(alert.muted) <= MUTED_MAX
    assert alert.muted[-1].fingerprint == f"s{MUTED_MAX}"
    sizes = [len(item.value) for item in world.items().values() if b'"muted"' in item.value]
    assert max(sizes) < VALUE_BYTES_MAX
    world.clock.advance(60)
    assert await opened(world) == 1


# -- others at the same time -------------------------------------------------------------------------------------------


async def test_alert_that_somebody_takes_at_the_same_time_is_theirs(world):
    await world.rules(silence(world, 60))
    await world.fire(signal())
    world.clock.advance(60)
    (alert,) = await world.alerts()

    async def rival() -> None:
        await acknowledge(world.d, alert.id, AcknowledgeAlert(), request())

    world.store.before_commit = rival
    assert await opened(world) == 0
    (alert,) = await world.alerts()
    assert (alert.state, alert.muted) == ("acknowledged", ())
    assert "alert.opened" not in world.event_types()


async def test_silenced_alert_of_before_this_was_remembered_opens_too(world):
    await world.rules(silence(world, 60, provider="acme"))
    await world.fire(signal(provider="acme"))
    key, item = next((key, item) for key, item in world.items().items() if b'"muted"' in item.value)
    alert = replace(decode_alert(item), muted=())
    world.memory._items[key] = item._replace(value=alert_write(alert, key, item.version).value)
    assert await opened(world) == 0
    world.clock.advance(60)
    assert await opened(world) == 1


async def test_loop_looks_at_every_page_and_then_rests(world):
    await world.rules(silence(world, 60))
    for number in range(401):
        await world.fire(signal(f"f{number}"))
    world.clock.advance(60)
    loop = Unsilencer(world.d, interval_s=5.0)
    await loop.step()
    await loop.step()
    last = asyncio.create_task(loop.step())
    await world.clock.settle()
    assert await states(world) == ["open"] * 401
    await world.clock.run_for(4.9)
    assert not last.done()
    await world.clock.run_for(0.1)
    assert last.done()
