"""What people do: take, give away and close alerts; find them; make sources and rules."""

import msgspec
import pytest

from interlock.core.desk.alerts.commands import (
    AcknowledgeAlert,
    AssignAlert,
    CreateAlertSource,
    ReplaceAlertRules,
    ResolveAlert,
)
from interlock.core.desk.alerts.listing import Wanted, find_alerts, list_open, load_alert
from interlock.core.desk.alerts.model import REOPENS_WITHIN, Alert, AlertFormat, AlertSeverity, SourceProof
from interlock.core.desk.alerts.responding import acknowledge, assign, resolve
from interlock.core.desk.alerts.rule_set import load_rules, replace_rules
from interlock.core.desk.alerts.rules import AlertMatcher, AlertRule, DeduplicateAction
from interlock.core.desk.alerts.sources import SOURCES_MAX, create_source, delete_source, list_sources
from interlock.core.desk.alerts.states import AlertState
from interlock.core.kernel.clock import SECOND
from interlock.core.kernel.errors import Conflict, Invalid, NotFound, Unauthenticated
from tests.core.desk.alerts.world import TOPIC, World, request, resolved, signal


@pytest.fixture
def world() -> World:
    return World()


async def opened(world: World, fingerprint: str = "f1", **labels: str) -> Alert:
    found = (await world.fire(signal(fingerprint, **labels))).verdict.alert
    assert found is not None
    world.clock.advance(0.001)
    return found


# -- responding --------------------------------------------------------------------------------------------------------


async def test_who_acknowledges_what_nobody_has_is_its_assignee(world):
    alert = await opened(world)
    taken = await acknowledge(world.d, alert.id, AcknowledgeAlert("on it"), request("ada"))
    assert (taken.state, taken.assignee, taken.version) == ("acknowledged", "ada", 2)
    last = taken.history[-1]
    assert (last.what, last.by, last.note) == ("acknowledged", "ada", "on it")
    assert (await load_alert(world.d, alert.id)).alert == taken


async def test_acknowledging_again_is_no_change(world):
    alert = await opened(world)
    first = await acknowledge(world.d, alert.id, AcknowledgeAlert("on it"), request("ada"))
    assert await acknowledge(world.d, alert.id, AcknowledgeAlert("on it"), request("ada")) == first
    assert await acknowledge(world.d, alert.id, AcknowledgeAlert(), request("bob")) == first
    assert world.event_types() == ["alert.opened", "alert.acknowledged"]


async def test_assigning_changes_hands_and_not_the_state(world):
    alert = await opened(world)
    given = await assign(world.d, alert.id, AssignAlert("bob", "you know acme"), request("ada"))
    assert (given.state, given.assignee) == ("open", "bob")
    back = await assign(world.d, alert.id, AssignAlert(None), request("ada"))
    assert back.assignee is None
    assert world.event_types() == ["alert.opened", "alert.assigned", "alert.assigned"]


async def test_closed_alert_is_reopened_if_it_fires_again(world):
    alert = await opened(world)
    closed = await resolve(world.d, alert.id, ResolveAlert("fixed"), request("ada"))
    assert (closed.state, closed.members, closed.resolved_at) == ("resolved", (), world.clock.now())
    assert await resolve(world.d, alert.id, ResolveAlert("fixed"), request("ada")) == closed
    assert (await world.fire(resolved())).verdict.outcome == "ignored"
    assert (await world.fire(signal())).verdict.outcome == "reopened"


async def test_resolved_alert_takes_no_acknowledgement_and_stays_as_it_is(world):
    alert = await opened(world)
    closed = await resolve(world.d, alert.id, ResolveAlert(), request())
    for refused in (
        acknowledge(world.d, alert.id, AcknowledgeAlert(), request()),
        assign(world.d, alert.id, AssignAlert("bob"), request()),
    ):
        with pytest.raises(Conflict) as caught:
            await refused
        assert caught.value.reason == "alert_resolved"
    assert (await load_alert(world.d, alert.id)).alert == closed


async def test_alert_that_another_took_the_place_of_is_still_found_and_changes_no_more(world):
    old = await opened(world)
    closed = await resolve(world.d, old.id, ResolveAlert(), request())
    world.clock.advance(REOPENS_WITHIN // SECOND + 1)
    new = await opened(world)
    assert new.id != old.id
    assert (await load_alert(world.d, old.id)).alert == closed
    with pytest.raises(Conflict):
        await acknowledge(world.d, old.id, AcknowledgeAlert(), request())


@pytest.mark.parametrize("wrong", ["alr_", "alr_" + "0" * 26, "evt_" + "0" * 26, "x" * 40])
async def test_alert_that_does_not_exist_is_not_found(world, wrong):
    with pytest.raises(NotFound):
        await resolve(world.d, wrong, ResolveAlert(), request())


async def test_signal_that_comes_between_is_not_overwritten(world):
    alert = await opened(world)

    async def rival() -> None:
        await world.fire(signal())

    world.store.before_commit = rival
    taken = await acknowledge(world.d, alert.id, AcknowledgeAlert(), request())
    assert (taken.state, taken.count, taken.version) == ("acknowledged", 2, 3)


async def test_recovery_that_comes_between_makes_the_acknowledgement_a_conflict(world):
    alert = await opened(world)

    async def rival() -> None:
        await world.fire(resolved())

    world.store.before_commit = rival
    with pytest.raises(Conflict):
        await acknowledge(world.d, alert.id, AcknowledgeAlert(), request())
    assert (await load_alert(world.d, alert.id)).alert.state == "resolved"


# -- finding -----------------------------------------------------------------------------------------------------------


async def test_lists_filter_by_state_severity_and_name(world):
    first = await opened(world, "f1")
    second = await opened(world, "f2")
    minor = (await world.fire(signal("f3", name="LedgerLag", severity=AlertSeverity.INFO))).verdict.alert
    await acknowledge(world.d, second.id, AcknowledgeAlert(), request())

    async def found(**wanted) -> list[str]:
        return [alert.id for alert in await world.alerts(Wanted(**wanted))]

    assert await found() == [minor.id, second.id, first.id]
    assert await found(state=AlertState.OPEN) == [minor.id, first.id]
    assert await found(state=AlertState.ACKNOWLEDGED) == [second.id]
    assert await found(severity=AlertSeverity.ERROR) == [second.id, first.id]
    assert await found(name="Ledger*") == [minor.id]
    assert await found(state=AlertState.RESOLVED) == []


async def test_open_alerts_are_listed_worst_first_then_newest_first(world):
    names = []
    for place, severity in enumerate(("info", "critical", "error", "critical")):
        names.append((await world.fire(signal(f"f{place}", severity=AlertSeverity(severity)))).verdict.alert.id)
        world.clock.advance(1)
    await world.fire(resolved("f2"))
    assert [alert.id for alert in await list_open(world.d)] == [names[3], names[1], names[0]]


async def test_pages_follow_each_other_in_both_directions(world):
    ids = [(await opened(world, f"f{number}")).id for number in range(5)][::-1]
    first = await find_alerts(world.d, Wanted(), limit=2)
    second = await find_alerts(world.d, Wanted(), limit=2, after=first.next)
    last = await find_alerts(world.d, Wanted(), limit=2, after=second.next)
    assert [[alert.id for alert in page.alerts] for page in (first, second, last)] == [ids[:2], ids[2:4], ids[4:]]
    assert last.next is None
    newer = await find_alerts(world.d, Wanted(), limit=2, before=ids[4])
    assert [alert.id for alert in newer.alerts] == ids[2:4]
    assert newer.next == ids[2]


# -- sources and rules -------------------------------------------------------------------------------------------------


async def test_token_is_shown_once_and_stands_nowhere(world):
    token = await world.source("prom", AlertFormat.ALERTMANAGER)
    assert token.startswith("ics_")
    stored = b"".join(item.value for item in world.items().values())
    assert token.encode() not in stored
    assert [event.type for event in world.memory._events] == ["audit.recorded"]


@pytest.mark.parametrize(
    ("format", "proof", "topic", "pointer"),
    [
        (AlertFormat.CLOUDWATCH, SourceProof.BEARER, None, "/proof"),
        (AlertFormat.ALERTMANAGER, SourceProof.HMAC, None, "/proof"),
        (AlertFormat.SLACK, SourceProof.ROUTING_KEY, None, "/proof"),
        (AlertFormat.CLOUDWATCH, SourceProof.SNS, None, "/topic_arn"),
        (AlertFormat.GRAFANA, SourceProof.BEARER, TOPIC, "/topic_arn"),
    ],
)
async def test_source_with_a_proof_its_tool_cannot_give_is_refused(world, format, proof, topic, pointer):
    with pytest.raises(Invalid) as caught:
        await create_source(world.d, CreateAlertSource("s", "S", format, proof, topic), request())
    assert [fault.pointer for fault in caught.value.faults] == [pointer]
    assert await list_sources(world.d) == []


async def test_source_of_the_same_id_is_a_conflict_and_the_first_one_keeps_its_token(world):
    token = await world.source("prom", AlertFormat.GENERIC)
    with pytest.raises(Conflict) as caught:
        await world.source("prom", AlertFormat.GENERIC)
    assert caught.value.reason == "source_exists"
    body = {"name": "n", "status": "firing"}
    assert (await world.send("prom", body, authorization=f"Bearer {token}")).result == "accepted"


async def test_deleted_source_is_no_longer_believed_and_may_be_made_anew(world):
    token = await world.source("prom", AlertFormat.GENERIC)
    await delete_source(world.d, "prom", request())
    with pytest.raises(Unauthenticated):
        await world.send("prom", {"name": "n", "status": "firing"}, authorization=f"Bearer {token}")
    with pytest.raises(NotFound):
        await delete_source(world.d, "prom", request())
    assert await world.source("prom", AlertFormat.GENERIC) != token


async def test_rules_are_not_replaced_over_others_changes(world):
    first, second = AlertRule("a", DeduplicateAction(60)), AlertRule("b", DeduplicateAction(60))
    standing = await replace_rules(world.d, ReplaceAlertRules(0, (first,)), request("ada"))
    assert (standing.version, standing.updated_by) == (1, "ada")
    with pytest.raises(Conflict) as caught:
        await replace_rules(world.d, ReplaceAlertRules(0, (second,)), request("bob"))
    assert caught.value.reason == "rules_changed"
    assert await replace_rules(world.d, ReplaceAlertRules(0, (first,)), request("ada")) == standing
    assert (await load_rules(world.d)).rules == (first,)
    history = await world.memory.history("alert_rules")
    assert [event.type for event in history] == ["alert_rules.replaced"]
    assert msgspec.json.decode(history[0].data)["alert_rules"]["rules"][0]["id"] == "a"


async def test_rules_that_race_are_replaced_by_one_only(world):
    first, second = AlertRule("a", DeduplicateAction(60)), AlertRule("b", DeduplicateAction(60))

    async def rival() -> None:
        await replace_rules(world.d, ReplaceAlertRules(0, (second,)), request("bob"))

    world.store.before_commit = rival
    with pytest.raises(Conflict):
        await replace_rules(world.d, ReplaceAlertRules(0, (first,)), request("ada"))
    assert (await load_rules(world.d)).rules == (second,)


async def test_rules_too_large_for_one_item_are_refused(world):
    long = tuple(AlertMatcher("name", "=", "x" * 500) for _ in range(8))
    rules = tuple(AlertRule(f"r{number}", DeduplicateAction(60), long) for number in range(100))
    with pytest.raises(Invalid) as caught:
        await replace_rules(world.d, ReplaceAlertRules(0, rules), request())
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [("/rules", "bad_length")]
    assert (await load_rules(world.d)).version == 0


async def test_more_sources_than_there_may_be_are_refused(world):
    for number in range(SOURCES_MAX):
        await world.source(f"s{number}", AlertFormat.GENERIC)
    with pytest.raises(Conflict) as caught:
        await world.source("one-more", AlertFormat.GENERIC)
    assert caught.value.reason == "too_many_sources"
    assert len(await list_sources(world.d)) == SOURCES_MAX
