"""From a webhook to an alert: what is proved, what becomes of it, and what a race leaves."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace

from interlock.core.desk.alerts.commands import AcknowledgeAlert
from interlock.core.desk.alerts.formats import parse
from interlock.core.desk.alerts.handlers import take
from interlock.core.desk.alerts.model import (
    HISTORY_MAX,
    MEMBERS_MAX,
    REOPENS_WITHIN,
    AlertFormat,
    AlertSeverity,
    SignalState,
    SourceProof,
    alert_id,
    place_in,
    place_of,
)
from interlock.core.desk.alerts.ports import BODY_BYTES_MAX
from interlock.core.desk.alerts.proofs import signature_of
from interlock.core.desk.alerts.responding import acknowledge
from interlock.core.desk.alerts.rules import (
    AlertMatcher,
    AlertRule,
    DeduplicateAction,
    GroupAction,
    SetSeverityAction,
    SilenceAction,
    ThresholdAction,
)
from interlock.core.kernel.clock import SECOND
from interlock.core.kernel.errors import (
    Invalid,
    PayloadTooLarge,
    StoreUnavailable,
    Unauthenticated,
    Unavailable,
    WriteConflict,
)
from interlock.core.kernel.store import VALUE_BYTES_MAX
from tests.core.desk.alerts.world import World, request, resolved, seconds, signal

FIRING = {"name": "DiskFull", "status": "firing", "fingerprint": "d1"}


@pytest.fixture
def world() -> World:
    return World()


def until(world: World, seconds: float) -> datetime:
    return datetime.fromtimestamp(world.clock.now() // SECOND, UTC) + timedelta(seconds=seconds)


async def outcomes(world: World, *signals) -> list[str]:
    """What becomes of signals a millisecond apart."""
    found = []
    for one in signals:
        found.append((await world.fire(one)).verdict.outcome)
        world.clock.advance(0.001)
    return found


# -- proofs ------------------------------------------------------------------------------------------------------------


async def test_bearer_token_is_taken_and_any_other_is_refused_without_trace(world):
    token = await world.source("s", AlertFormat.GENERIC)
    before = world.items()
    for wrong in ("", "Bearer", f"Bearer {token}x", f"Basic {token}", f"Bearer {token[:-1]}"):
        with pytest.raises(Unauthenticated):
            await world.send("s", FIRING, authorization=wrong)
    assert world.items() == before
    assert (await world.send("s", FIRING, authorization=f"bearer {token}")).result == "accepted"
    assert world.webhooks() == {("generic", "unauthenticated"): 5, ("generic", "accepted"): 1}


async def test_source_that_does_not_exist_is_refused_like_a_wrong_token(world):
    await world.source("s", AlertFormat.GENERIC)
    said = set()
    for source in ("s", "nobody"):
        with pytest.raises(Unauthenticated) as caught:
            await world.send(source, FIRING, authorization="Bearer x")
        said.add((caught.value.detail, caught.value.reason))
    assert len(said) == 1
    assert world.webhooks() == {("generic", "unauthenticated"): 1, ("unknown", "unauthenticated"): 1}


async def test_token_of_one_source_opens_no_other(world):
    token = await world.source("one", AlertFormat.GENERIC)
    await world.source("two", AlertFormat.GENERIC)
    with pytest.raises(Unauthenticated):
        await world.send("two", FIRING, authorization=f"Bearer {token}")


async def test_basic_needs_the_sources_id_and_its_token(world):
    token = await world.source("s", AlertFormat.DATADOG, SourceProof.BASIC)
    body = {"title": "t", "transition": "Warn", "alert_id": "1"}

    def basic(user: str, password: str) -> str:
        return "Basic " + b64encode(f"{user}:{password}".encode()).decode()

    for wrong in (basic("x", token), basic("s", "x"), f"Bearer {token}", "Basic !!!", "Basic /w=="):
        with pytest.raises(Unauthenticated):
            await world.send("s", body, authorization=wrong)
    assert (await world.send("s", body, authorization=basic("s", token))).result == "accepted"


async def test_routing_key_in_the_body_is_the_token(world):
    key = await world.source("pd", AlertFormat.PAGERDUTY, SourceProof.ROUTING_KEY)
    body = {"event_action": "trigger", "dedup_key": "d", "payload": {"summary": "s", "source": "x", "severity": "info"}}
    with pytest.raises(Unauthenticated):
        await world.send("pd", body | {"routing_key": "R123"})
    with pytest.raises(Invalid):
        await world.send("pd", body)
    assert (await world.send("pd", body | {"routing_key": key})).result == "accepted"


@pytest.mark.parametrize(
    ("format", "prefix", "body"),
    [
        (AlertFormat.GRAFANA, "x_grafana_alerting_", {"alerts": [{"status": "firing", "labels": {"alertname": "A"}}]}),
        (AlertFormat.GENERIC, "x_interlock_", FIRING),
    ],
)
async def test_signed_webhook_is_taken_once_within_its_time(world, format, prefix, body):
    secret = await world.source("s", format, SourceProof.HMAC)
    raw, stamp = msgspec.json.encode(body), seconds(world.clock)
    headers = {f"{prefix}signature": signature_of(secret, stamp, raw), f"{prefix}timestamp": stamp}
    for changed in (raw + b" ", raw.replace(b"firing", b"FIRING")):
        with pytest.raises(Unauthenticated):
            await world.send("s", changed, **headers)
    with pytest.raises(Unauthenticated):
        await world.send("s", raw, **headers | {f"{prefix}timestamp": str(int(stamp) + 1)})
    with pytest.raises(Unauthenticated):
        await world.send("s", raw, **{f"{prefix}signature": headers[f"{prefix}signature"]})
    assert [(await world.send("s", raw, **headers)).result for _ in range(2)] == ["accepted", "duplicate"]
    world.clock.advance(301)
    with pytest.raises(Unauthenticated) as caught:
        await world.send("s", raw, **headers)
    assert caught.value.reason == "stale"
    assert (await world.alerts())[0].count == 1


async def test_signed_webhook_that_failed_half_way_is_taken_when_it_is_repeated(world):
    secret = await world.source("s", AlertFormat.GENERIC, SourceProof.HMAC)
    raw, stamp = msgspec.json.encode({"alerts": [FIRING, FIRING | {"fingerprint": "d2"}]}), seconds(world.clock)
    headers = {"x_interlock_signature": signature_of(secret, stamp, raw), "x_interlock_timestamp": stamp}
    done = world.store.commits

    async def full_disk() -> None:
        if world.store.commits > done:
            raise StoreUnavailable("full")
        world.store.before_commit = full_disk

    world.store.before_commit = full_disk
    with pytest.raises(Unavailable):
        await world.send("s", raw, **headers)
    assert [alert.fingerprint for alert in await world.alerts()] == ["d1"]
    assert (await world.send("s", raw, **headers)).result == "accepted"
    assert {alert.fingerprint: alert.count for alert in await world.alerts()} == {"d1": 1, "d2": 1}
    assert world.event_types() == ["alert.opened", "alert.opened"]
    assert world.webhooks() == {("generic", "unavailable"): 1, ("generic", "accepted"): 1}


async def test_body_that_cannot_be_read_is_counted_and_changes_nothing(world):
    token = await world.source("s", AlertFormat.GENERIC)
    before = world.items()
    with pytest.raises(Invalid):
        await world.send("s", {"alerts": [FIRING, {"name": "x"}]}, authorization=f"Bearer {token}")
    with pytest.raises(PayloadTooLarge):
        await world.send("s", b" " * (BODY_BYTES_MAX + 1), authorization=f"Bearer {token}")
    assert world.items() == before
    assert world.webhooks() == {("generic", "invalid"): 1, ("generic", "too_large"): 1}


# -- one alert's life --------------------------------------------------------------------------------------------------


async def test_alert_opens_repeats_resolves_and_reopens(world):
    assert await outcomes(world, signal(), signal(), resolved(), resolved(), signal()) == [
        "opened", "repeated", "resolved", "ignored", "reopened",
    ]  # fmt: skip
    (alert,) = await world.alerts()
    assert (alert.state, alert.count, alert.version) == ("open", 3, 4)
    assert [entry.what for entry in alert.history] == ["opened", "resolved", "reopened"]
    assert world.event_types() == ["alert.opened", "alert.repeated", "alert.resolved", "alert.reopened"]
    history = await world.memory.history(alert.id)
    assert [event.version for event in history] == [1, 2, 3, 4]
    assert msgspec.json.decode(history[-1].data)["alert"]["state"] == "open"


async def test_what_fires_long_after_it_was_resolved_is_another_alert_and_the_old_one_stays_readable(world):
    await outcomes(world, signal(), resolved())
    (old,) = await world.alerts()
    world.clock.advance(REOPENS_WITHIN // SECOND + 1)
    assert await outcomes(world, signal()) == ["opened"]
    new, kept = await world.alerts()
    assert kept == old
    assert (new.count, new.version, new.state) == (1, 1, "open")
    assert new.id > old.id
    assert place_in(new.id) == place_in(old.id) == place_of("prom/f1")


async def test_ids_follow_from_key_and_time():
    assert alert_id("prom/f1", 5) == alert_id("prom/f1", 5)
    assert alert_id("prom/f1", 5) < alert_id("prom/f2", 6)
    assert place_in("alr_nonsense") == ""


async def test_pagerdutys_acknowledge_takes_the_alert_up(world):
    taken = signal(state=SignalState.ACKNOWLEDGED)
    assert await outcomes(world, taken, signal(), taken, taken, signal()) == [
        "ignored", "opened", "acknowledged", "ignored", "repeated",
    ]  # fmt: skip
    (alert,) = await world.alerts()
    assert alert.state == "acknowledged"


async def test_clock_that_steps_back_does_not_turn_an_alerts_time(world):
    await world.fire(signal())
    world.clock.step_wall(-60_000)
    fate = await world.fire(signal())
    assert fate.received.at == fate.verdict.at == world.clock.now() + 60_000


async def test_history_keeps_its_last_lines_only(world):
    for _ in range(HISTORY_MAX):
        await outcomes(world, signal(), resolved())
    (alert,) = await world.alerts()
    assert len(alert.history) == HISTORY_MAX
    assert alert.history[-1].what == "resolved"


# -- rules -------------------------------------------------------------------------------------------------------------


async def test_group_is_one_alert_that_ends_with_its_last_member(world):
    await world.rules(AlertRule("by-provider", GroupAction(("labels.provider",))))
    fates = await outcomes(
        world,
        signal("f1", provider="acme", merchant="m_1"),
        signal("f2", severity=AlertSeverity.CRITICAL, provider="acme", merchant="m_2"),
        signal("f3", provider="zed"),
        resolved("f1", provider="acme"),
    )
    assert fates == ["opened", "repeated", "opened", "partly_resolved"]
    zed, acme = await world.alerts()
    assert (acme.labels, acme.severity, len(acme.members)) == ({"provider": "acme"}, "critical", 1)
    assert await outcomes(world, resolved("f2", provider="acme")) == ["resolved"]
    assert zed.state == "open"


async def test_member_is_resolved_where_it_fires_whatever_became_of_the_rules(world):
    await world.rules(AlertRule("by-provider", GroupAction(("labels.provider",))))
    await outcomes(world, signal("f1", provider="acme"), signal("f2", provider="acme"))
    await world.rules()
    assert await outcomes(world, signal("f1", provider="acme"), resolved("f1"), resolved("f2")) == [
        "repeated", "partly_resolved", "resolved",
    ]  # fmt: skip
    assert [alert.state for alert in await world.alerts()] == ["resolved"]
    assert await outcomes(world, signal("f1", provider="acme")) == ["opened"]
    assert sorted(alert.key[:6] for alert in await world.alerts()) == ["prom/f", "~group"]


async def test_group_that_outgrows_its_memory_is_left_to_people(world):
    await world.rules(AlertRule("all", GroupAction(("name",))))
    for number in range(MEMBERS_MAX + 1):
        await world.fire(signal(f"f{number}"))
    for number in range(MEMBERS_MAX + 1):
        await world.fire(resolved(f"f{number}"))
    (alert,) = await world.alerts()
    assert (alert.state, alert.uncounted, len(alert.members), alert.count) == ("open", True, 0, MEMBERS_MAX + 1)


async def test_silenced_alert_opens_with_the_first_firing_after_the_silence(world):
    await world.rules(AlertRule("quiet", SilenceAction(until(world, 60))))
    assert await outcomes(world, signal(), signal()) == ["silenced", "silenced"]
    (alert,) = await world.alerts()
    assert (alert.state, alert.noticed_at, alert.count) == ("silenced", 0, 2)
    assert alert.history[0].rules == ("quiet",)
    world.clock.advance(60)
    assert await outcomes(world, signal()) == ["opened"]
    assert world.event_types() == ["alert_rules.replaced", "alert.silenced", "alert.opened"]


async def test_alert_that_comes_back_in_a_silence_has_not_been_heard_of_again(world):
    await outcomes(world, signal(), resolved())
    assert (await world.alerts())[0].noticed_at > 0
    await world.rules(AlertRule("quiet", SilenceAction(until(world, 60))))
    await outcomes(world, signal())
    (alert,) = await world.alerts()
    assert (alert.state, alert.noticed_at, alert.resolved_at) == ("silenced", 0, None)


async def test_silence_takes_an_open_alert_away_but_not_one_that_somebody_has(world):
    await outcomes(world, signal("f1"), signal("f2"), signal("f2", SignalState.ACKNOWLEDGED))
    await world.rules(AlertRule("quiet", SilenceAction(until(world, 60))))
    await outcomes(world, signal("f1"), signal("f2"))
    assert {alert.fingerprint: alert.state for alert in await world.alerts()} == {
        "f1": "silenced",
        "f2": "acknowledged",
    }


async def test_threshold_holds_until_enough_came_within_its_window(world):
    await world.rules(AlertRule("thrice", ThresholdAction(3, 60)))
    for pause in (0, 40, 40):
        world.clock.advance(pause)
        assert await outcomes(world, signal()) == ["held"]
    world.clock.advance(10)
    assert await outcomes(world, signal(), signal()) == ["opened", "repeated"]
    assert world.event_types() == ["alert_rules.replaced", "alert.held", "alert.opened", "alert.repeated"]


async def test_duplicate_within_the_window_is_counted_and_not_told_unless_it_is_worse(world):
    await world.rules(AlertRule("once", DeduplicateAction(60)))
    assert await outcomes(world, signal(), signal(), signal(severity=AlertSeverity.CRITICAL)) == [
        "opened", "deduplicated", "repeated",
    ]  # fmt: skip
    world.clock.advance(59.9)
    assert await outcomes(world, signal()) == ["deduplicated"]
    world.clock.advance(1)
    assert await outcomes(world, signal()) == ["repeated"]
    (alert,) = await world.alerts()
    assert (alert.count, alert.version) == (5, 3)


async def test_severity_is_set_before_other_rules_look_at_it(world):
    await world.rules(
        AlertRule("hush", SilenceAction(until(world, 60)), (AlertMatcher("severity", "=", "info"),)),
        AlertRule("minor", SetSeverityAction(AlertSeverity.INFO), (AlertMatcher("labels.env", "=", "dev"),)),
    )
    fates = [await world.fire(signal("f1", env="dev")), await world.fire(signal("f2", env="prod"))]
    assert [(fate.verdict.outcome, fate.verdict.rules) for fate in fates] == [
        ("silenced", ("minor", "hush")),
        ("opened", ()),
    ]


async def test_largest_alert_there_can_be_fits_into_an_item_and_an_event(world):
    await world.rules(AlertRule("all", GroupAction(("name",))))
    huge = {"name": "n", "status": "firing", "labels": {f"{number}": "\U0001f525" * 512 for number in range(64)}}
    huge |= {"summary": "\U0001f525" * 1_024, "runbook_url": "https://x.example/" + "a" * 2_000}
    (signal_read,) = parse(AlertFormat.GENERIC, msgspec.json.encode(huge), source="s")
    for number in range(MEMBERS_MAX):
        alert = (await world.fire(replace(signal_read, fingerprint=f"f{number}"))).verdict.alert
    for number in range(HISTORY_MAX):
        note = f"{number}" + "\U0001f525" * 490
        alert = await acknowledge(world.d, alert.id, AcknowledgeAlert(note), request())
    assert (len(alert.members), len(alert.history)) == (MEMBERS_MAX, HISTORY_MAX)
    assert 150_000 < len(msgspec.json.encode(alert)) < VALUE_BYTES_MAX


# -- races -------------------------------------------------------------------------------------------------------------


async def test_two_who_open_the_same_alert_make_one(world):
    async def rival() -> None:
        await world.fire(signal())

    world.store.before_commit = rival
    fate = await world.fire(signal())
    (alert,) = await world.alerts()
    assert (alert.count, fate.verdict.outcome) == (2, "repeated")
    assert world.event_types() == ["alert.opened", "alert.repeated"]


@pytest.mark.parametrize("number", [1, 3])
async def test_signed_webhook_sent_twice_at_once_is_taken_once(world, number):
    secret = await world.source("s", AlertFormat.GENERIC, SourceProof.HMAC)
    alerts = [FIRING | {"fingerprint": f"d{place}"} for place in range(number)]
    raw, stamp = msgspec.json.encode({"alerts": alerts}), seconds(world.clock)
    headers = {"x_interlock_signature": signature_of(secret, stamp, raw), "x_interlock_timestamp": stamp}
    theirs = []

    async def rival() -> None:
        theirs.append(await world.send("s", raw, **headers))

    world.store.before_commit = rival
    mine = await world.send("s", raw, **headers)
    assert [mine.result, theirs[0].result] == ["duplicate", "accepted"]
    assert [alert.count for alert in await world.alerts()] == [1] * number
    assert world.event_types() == ["alert.opened"] * number


async def test_end_that_overtakes_a_firing_leaves_what_came_last(world):
    await world.fire(signal())

    async def rival() -> None:
        await world.fire(resolved())

    world.store.before_commit = rival
    await world.fire(signal())
    (alert,) = await world.alerts()
    assert (alert.state, alert.count) == ("open", 2)
    assert world.event_types() == ["alert.opened", "alert.resolved", "alert.reopened"]


async def test_rules_that_change_meanwhile_do_not_put_one_signal_into_two_alerts(world):
    rules = (AlertRule("by-name", GroupAction(("name",))),)

    async def rival() -> None:
        await take(world.d, rules, signal(), world.clock.now())

    world.store.before_commit = rival
    await take(world.d, (), signal(), world.clock.now())
    (alert,) = await world.alerts()
    assert (alert.key[:6], alert.count) == ("~group", 2)


async def test_signal_that_loses_every_race_is_given_back(world):
    async def always() -> None:
        world.store.before_commit = always
        raise WriteConflict(("p", "s"))

    world.store.before_commit = always
    with pytest.raises(Unavailable):
        await world.fire(signal())
    assert await world.alerts() == []
