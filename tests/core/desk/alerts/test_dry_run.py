"""A rule that is shown is a rule that acts: the dry run says exactly what receiving does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.desk.alerts.commands import TryAlertRules
from interlock.core.desk.alerts.listing import Wanted
from interlock.core.desk.alerts.model import SIGNALS_KEPT, AlertFormat, AlertSeverity, Received
from interlock.core.desk.alerts.rehearsing import (
    SIGNALS_TRIED_MAX,
    Rehearsal,
    dry_run,
    dry_run_view,
    read_history,
    rehearse,
)
from interlock.core.desk.alerts.rules import (
    WEEKDAYS,
    AlertMatcher,
    AlertRule,
    DeduplicateAction,
    GroupAction,
    MaintenanceAction,
    SetSeverityAction,
    SilenceAction,
    ThresholdAction,
    WeeklyMaintenanceAction,
)
from interlock.core.desk.alerts.silences import Looked, end_of_quiet, end_silences
from interlock.core.desk.alerts.states import AlertState
from interlock.core.desk.alerts.verdicts import Fate
from interlock.core.kernel.clock import DAY, HOUR, SECOND
from interlock.core.kernel.errors import Invalid
from tests.core.desk.alerts.world import World, resolved, signal

BEGIN = datetime.fromtimestamp(World().clock.now() // SECOND, UTC)
_MOMENTS = st.integers(-3_600, 200_000).map(lambda seconds: BEGIN + timedelta(seconds=seconds))
_FIELDS = ("name", "source", "severity", "labels.provider", "labels.merchant")
_ACTIONS = (
    st.lists(st.sampled_from(_FIELDS), min_size=1, max_size=3).map(lambda by: GroupAction(tuple(by)))
    | st.integers(1, 90_000).map(DeduplicateAction)
    | _MOMENTS.map(SilenceAction)
    | st.tuples(_MOMENTS, st.integers(1, 90_000)).map(lambda t: MaintenanceAction(t[0], t[0] + timedelta(seconds=t[1])))
    | st.builds(
        WeeklyMaintenanceAction,
        st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=3).map(tuple),
        st.sampled_from(["00:00", "08:30", "23:59"]),
        st.integers(1, 2_000),
        st.sampled_from(["+00:00", "+05:30", "-08:00"]),
    )
    | st.builds(ThresholdAction, st.integers(2, 4), st.integers(1, 86_400))
    | st.sampled_from(AlertSeverity).map(SetSeverityAction)
)
_OPS = st.sampled_from(["=", "!=", "=~", "!~"])
_MATCHERS = st.builds(
    AlertMatcher,
    st.sampled_from([field for field in _FIELDS if field != "severity"]),
    _OPS,
    st.sampled_from(["acme", "a*", "*", "m_?", "", "Disk"]),
) | st.builds(AlertMatcher, st.just("severity"), _OPS, st.sampled_from(["error", "critical"]))
_RULES = st.lists(st.tuples(_ACTIONS, st.lists(_MATCHERS, max_size=2)), max_size=6).map(
    lambda found: tuple(AlertRule(f"r{place}", action, tuple(by)) for place, (action, by) in enumerate(found))
)
_ALERTS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["Disk", "Payments"]),
        "status": st.sampled_from(["firing", "firing", "resolved"]),
        "fingerprint": st.sampled_from(["f1", "f2", "f3"]),
        "severity": st.sampled_from([one.value for one in AlertSeverity]),
        "labels": st.fixed_dictionaries(
            {}, optional={"provider": st.sampled_from(["acme", "zed"]), "merchant": st.sampled_from(["m_1", "m_2"])}
        ),
    }
)
_STORIES = st.lists(
    st.tuples(st.sampled_from([0, 0, 1, 30, 600, 4_000, 50_000, 90_000]), st.lists(_ALERTS, min_size=1, max_size=4)),
    min_size=1,
    max_size=12,
)
"""Seconds that pass, and then a webhook's alerts."""


class Told(NamedTuple):
    fates: list[Fate]
    """What really became of each signal."""
    events: list[str]
    """What people were told, in order: the ends of silences too."""
    silences_ended: int


async def received_with(world: World, rules: tuple[AlertRule, ...], story: list) -> Told:
    """A story sent as webhooks, at a desk that looks at its silences at the very moments when they end."""
    token = await world.source("tool", AlertFormat.GENERIC)
    await world.rules(*rules)
    fates: list[Fate] = []
    events: list[str] = []
    ended = 0
    for pause, alerts in story:
        silences = await pass_time(world, rules, pause)
        events += silences
        ended += len(silences)
        receipt = await world.send("tool", {"alerts": alerts}, authorization=f"Bearer {token}")
        fates += receipt.fates
        events += [f"alert.{fate.verdict.outcome}" for fate in receipt.fates if fate.verdict.told]
    return Told(fates, events, ended)


async def pass_time(world: World, rules: tuple[AlertRule, ...], pause: float) -> list[str]:
    """Let time pass, and end silences when they end; the types of the events of it."""
    until, known = world.clock.now() + pause * SECOND, len(world.event_types())
    while True:
        ends = [
            end
            for alert in await world.alerts(Wanted(state=AlertState.SILENCED))
            for one in alert.muted
            if (end := end_of_quiet(rules, one, alert.last_at)) is not None and end <= until
        ]
        if not ends:
            break
        world.clock.advance((min(ends) - 1 - world.clock.now()) / SECOND)
        assert await end_silences(world.d) == Looked(0, None)
        world.clock.advance(0.001)
        assert (await end_silences(world.d)).opened > 0
    world.clock.advance((until - world.clock.now()) / SECOND)
    assert await end_silences(world.d) == Looked(0, None)
    return world.event_types()[known:]


async def history_of(world: World) -> list[Received]:
    now = world.clock.now()
    return [one async for one in read_history(world.d, since=now - 20 * DAY, until=now + 1)]


@settings(max_examples=150, deadline=None)
@given(_RULES, _STORIES)
def test_dry_run_over_a_history_says_what_receiving_it_did(rules, story):
    async def compare() -> None:
        world = World()
        told = await received_with(world, rules, story)
        history = await history_of(world)
        assert [fate.received for fate in told.fates] == history
        rehearsal = Rehearsal(rules)
        assert [rehearsal.feed(one) for one in history] == told.fates
        rehearsal.finish(world.clock.now())
        standing = {alert.id: alert for alert in rehearsal.alerts.values()}
        last = {fate.verdict.alert.id: fate.verdict.alert for fate in told.fates if fate.verdict.alert is not None}
        assert {alert.id: alert for alert in await world.alerts()} == last | standing
        assert rehearsal.silences_ended == told.silences_ended

    asyncio.run(compare())


@settings(max_examples=60, deadline=None)
@given(_RULES, _RULES, _STORIES)
def test_dry_run_of_other_rules_says_what_they_would_have_done(in_force, wanted, story):
    async def compare() -> None:
        one, other = World(seed=1), World(seed=2)
        await received_with(one, in_force, story)
        really = await received_with(other, wanted, story)
        foretold = dry_run(wanted, await history_of(one))
        assert [fate.verdict for fate in foretold] == [fate.verdict for fate in really.fates]

    asyncio.run(compare())


@settings(max_examples=60, deadline=None)
@given(_RULES, _STORIES)
def test_no_rule_hides_that_a_signal_came_and_every_event_is_told(rules, story):
    async def compare() -> None:
        world = World()
        told = await received_with(world, rules, story)
        alerts = await world.alerts()
        firing = sum(fate.received.signal.state == "firing" for fate in told.fates)
        assert sum(alert.count for alert in alerts) == firing
        assert sum(fate.verdict.told for fate in told.fates) + told.silences_ended == sum(one.version for one in alerts)
        assert [name for name in world.event_types() if name.startswith("alert.")] == told.events

    asyncio.run(compare())


# -- over what is kept -------------------------------------------------------------------------------------------------


@pytest.fixture
def world() -> World:
    return World()


async def test_dry_run_tells_what_each_rule_would_do_and_changes_nothing(world):
    for fingerprint in ("f1", "f2", "f3"):
        await world.fire(signal(fingerprint, provider="acme"))
        world.clock.advance(1)
    await world.fire(resolved("f1", provider="acme"))
    world.clock.advance(1)
    before = world.items()
    rule = AlertRule("by-provider", GroupAction(("labels.provider",)))
    view = dry_run_view(await rehearse(world.d, TryAlertRules((rule,))))
    assert (view.signals, view.alerts, view.told, view.complete) == (4, 1, 3, True)
    assert view.outcomes == {"opened": 1, "repeated": 2, "partly_resolved": 1}
    assert view.acted == {"by-provider": 3}
    assert [(one.fingerprint, one.outcome) for one in view.data][-1] == ("f1", "partly_resolved")
    assert world.items() == before


async def test_dry_run_without_rules_tries_those_in_force(world):
    await world.rules(AlertRule("r", SilenceAction(BEGIN + timedelta(days=1))))
    await world.fire(signal())
    world.clock.advance(1)
    assert (await rehearse(world.d, TryAlertRules())).outcomes == {"silenced": 1}
    assert (await rehearse(world.d, TryAlertRules(()))).outcomes == {"opened": 1}


async def test_dry_run_tells_of_silences_that_end_by_themselves(world):
    await world.fire(signal())
    world.clock.advance(3_600)
    quiet = AlertRule("r", SilenceAction(BEGIN + timedelta(minutes=30)))
    found = await rehearse(world.d, TryAlertRules((quiet,)))
    assert (found.outcomes, found.told) == ({"silenced": 1}, 2)
    longer = AlertRule("r", SilenceAction(BEGIN + timedelta(hours=2)))
    assert (await rehearse(world.d, TryAlertRules((longer,)))).told == 1


async def test_dry_run_reads_the_time_asked_for_across_days(world):
    for _ in range(6):
        await world.fire(signal())
        world.clock.advance(10 * HOUR // SECOND)
    since, until = BEGIN + timedelta(hours=10), BEGIN + timedelta(hours=40)
    found = await rehearse(world.d, TryAlertRules((), since, until))
    assert [fate.received.at - World().clock.now() for fate in found.fates] == [10 * HOUR, 20 * HOUR, 30 * HOUR]


async def test_dry_run_says_how_far_it_came_when_there_is_too_much(world):
    for number in range(SIGNALS_TRIED_MAX + 1):
        await world.fire(signal(f"f{number % 7}"))
        world.clock.advance(0.001)
    found = await rehearse(world.d, TryAlertRules())
    assert (found.signals, found.complete) == (SIGNALS_TRIED_MAX, False)
    assert found.until == World().clock.now() + SIGNALS_TRIED_MAX


async def test_signals_are_read_for_thirty_days_and_no_longer(world):
    await world.fire(signal())
    begin = world.clock.now()
    world.clock.advance(SIGNALS_KEPT // SECOND - 1)
    assert len([one async for one in read_history(world.d, since=begin, until=begin + DAY)]) == 1
    world.clock.advance(1)
    assert [one async for one in read_history(world.d, since=begin, until=begin + DAY)] == []


async def test_dry_run_of_impossible_rules_or_times_is_refused(world):
    twice = (AlertRule("r", SilenceAction(BEGIN)), AlertRule("r", SilenceAction(BEGIN)))
    with pytest.raises(Invalid) as caught:
        await rehearse(world.d, TryAlertRules(twice))
    assert caught.value.faults[0].pointer == "/rules/1/id"
    for since, until in ((BEGIN, BEGIN), (BEGIN - timedelta(days=40), BEGIN), (BEGIN, BEGIN + timedelta(days=3))):
        with pytest.raises(Invalid) as caught:
            await rehearse(world.d, TryAlertRules((), since, until))
        assert caught.value.faults[0].pointer == "/since"
