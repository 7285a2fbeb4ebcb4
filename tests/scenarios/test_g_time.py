"""G. Clocks that differ, calendars, expiry, and what comes after an outage."""

import pytest

from interlock.core.kernel.clock import parse_rfc3339
from interlock.core.kernel.providers import Outcome
from interlock.core.payments.states import State
from interlock.core.routing.breaker import BreakerSettings
from tests.scenarios.node import Node
from tests.scenarios.world import DAY, HOUR, MINUTE, NOW, World


def lookups(world):
    return sum(call[0] == "interlock_sweeper_lookups_total" and n for call, n in world.telemetry.counts.items())


def at(world, instant):
    """Time goes by until this instant (RFC 3339) with nobody working."""
    world.clock.advance((parse_rfc3339(instant) - world.clock.now()) / 1000)


@pytest.mark.parametrize("ahead_s", [-20, -5, 5, 20])
async def test_nodes_whose_clocks_differ_do_everything_once(ahead_s):
    """50: one node takes the requests, another one sweeps and applies news."""
    world = World(seed=3, notifications={"drop_rate": 1}, latency={"kind": "constant", "ms": 4_000})
    front, back = world.node, Node(world, "back")
    back.clock.ahead_ms = ahead_s * 1000
    paid = world.begin(
        "POST",
        "/v1/payments",
        {"amount": 1000, "currency": "EUR", "payment_method": {"type": "card", "token": "tok_approve"}},
        key="k1",
    )
    await world.clock.settle()
    world.node = back
    await world.run(2)
    world.node = front
    answer = await world.finish(paid)
    assert (answer.status, answer.json["status"]) == (201, "succeeded")
    world.node = back
    await world.run(2 * MINUTE)
    back.clock.ahead_ms = 0
    await world.run(MINUTE)
    front.die()
    await world.assert_invariants()


@pytest.mark.parametrize("token", ["tok_timeout_after_accept", "tok_timeout_before_accept"])
async def test_clock_that_is_set_back_delays_the_lookup_and_loses_nothing(token):
    """50."""
    world = World(notifications={"drop_rate": 1})
    answer = await world.pay(token=token)
    world.clock.step_wall(-600_000)
    await world.run(15 * MINUTE)
    expected = State.SUCCEEDED if token == "tok_timeout_after_accept" else State.FAILED
    assert world.payment(answer.json["id"]).state is expected
    await world.assert_invariants()


async def test_month_ends_at_midnight_utc_whatever_local_clocks_do():
    """51: the last millisecond of a month is of that month; the night in which European clocks change is a night like any other."""
    world = World()
    at(world, "2027-02-28T23:59:59.999Z")
    late = await world.sale(1000, key="k1")
    at(world, "2027-03-01T00:00:00.000Z")
    early = await world.sale(2000, key="k2")
    await world.run(1)
    for instant, total in (("2027-02-28T23:59:59.999Z", 1000), ("2027-03-01T00:00:00.000Z", 3000)):
        answer = await world.ask("GET", f"/v1/balances?at={instant}")
        (payable,) = [row for row in answer.json["data"] if row["code"] == "merchant_payable"]
        assert payable["balance"] == total
    at(world, "2027-03-28T00:59:59.000Z")
    await world.sale(4000, key="k3")
    at(world, "2027-03-28T01:00:01.000Z")  # 02:59:59 to 03:00:01 in Berlin
    await world.sale(8000, key="k4")
    await world.run(1)
    days = {"2027-02-28": [late], "2027-03-01": [early]}
    for day, payments in days.items():
        answer = await world.ask("GET", f"/v1/ledger/journals?day={day}")
        assert [row["payment"] for row in answer.json["data"]] == payments
    assert len((await world.ask("GET", "/v1/ledger/journals?day=2027-03-28")).json["data"]) == 2
    await world.assert_invariants()


async def test_authorisation_expires_by_itself_and_is_canceled():
    """52."""
    world = World()
    await world.hook()
    payment_id = await world.authorize()
    await world.run(7 * DAY - MINUTE)
    assert world.payment(payment_id).state is State.AUTHORIZED
    await world.run(2 * MINUTE)
    payment = world.payment(payment_id)
    assert (payment.state, payment.cancel_reason) == (State.CANCELED, "authorization_expired")
    assert (await world.act(payment_id, "capture")).status == 409
    await world.assert_invariants()


async def test_part_captured_authorisation_that_expires_keeps_what_was_captured():
    """52, 48."""
    world = World()
    payment_id = await world.authorize()
    assert (await world.act(payment_id, "capture", {"amount": 300})).json["status"] == "requires_capture"
    await world.run(7 * DAY + MINUTE)
    payment = world.payment(payment_id)
    assert (payment.state, payment.amount_captured, payment.amount_released) == (State.SUCCEEDED, 300, 700)
    await world.assert_invariants()


@pytest.mark.parametrize("outage_s", [HOUR, 2 * DAY])
async def test_authorisation_that_expires_while_the_provider_is_down_is_released_without_a_storm(outage_s):
    """52, 53: nothing is sent, so it is tried again, and again later; the merchant does not hear of each attempt."""
    world = World(instances=("simulator_a",))
    await world.hook()
    payment_id = await world.authorize()
    await world.run(7 * DAY - MINUTE)
    world.faults(outages=[{"mode": "connect_refused", "for_s": outage_s}])
    await world.run(outage_s)
    assert len(world.payment(payment_id).attempts) <= 30, "each attempt waits longer than the one before"
    assert len(world.merchant.posts) <= 60
    await world.run(2 * HOUR)
    payment = world.payment(payment_id)
    assert (payment.state, payment.cancel_reason) == (State.CANCELED, "authorization_expired")
    assert not world.errors
    await world.assert_invariants()


async def test_payer_who_never_acts_is_given_up_after_half_an_hour():
    """52."""
    world = World()
    answer = await world.pay(token="tok_3ds")
    await world.run(29 * MINUTE)
    assert world.payment(answer.json["id"]).state is State.REQUIRES_ACTION
    await world.run(2 * MINUTE)
    payment = world.payment(answer.json["id"])
    assert (payment.state, payment.cancel_reason) == (State.CANCELED, "abandoned")
    await world.assert_invariants()


async def test_payer_who_acted_unheard_is_not_given_up_while_the_provider_cannot_be_asked():
    """52, 53: an unanswered lookup says nothing about the payer."""
    world = World(notifications={"drop_rate": 1})
    answer = await world.pay(token="tok_3ds", capture_method="manual")
    payment_id = answer.json["id"]
    world.complete_challenge(payment_id)
    world.faults(operations={"lookup": {"unavailable": 1}}, notifications={"drop_rate": 1})
    await world.run(2 * HOUR)
    assert world.payment(payment_id).state is State.REQUIRES_ACTION
    world.faults()
    await world.run(HOUR)
    assert world.payment(payment_id).state is State.AUTHORIZED
    await world.assert_invariants()


async def test_release_of_an_abandoned_payment_that_the_provider_refuses_is_not_asked_for_every_second():
    """52, 53."""
    world = World()
    answer = await world.pay(token="tok_3ds")
    world.faults(operations={"void": {"rate_limited": 1}})
    await world.run(30 * MINUTE)
    before = len(world.payment(answer.json["id"]).attempts)
    await world.run(3 * HOUR)
    assert len(world.payment(answer.json["id"]).attempts) - before <= 20
    assert "payment.release_refused" in world.alarms()
    world.faults()
    await world.run(DAY)
    assert world.payment(answer.json["id"]).state is State.CANCELED
    assert not world.errors
    await world.assert_invariants()


async def test_after_an_outage_every_unknown_payment_is_found_without_a_storm():
    """53: an hour in which the provider takes requests and answers none."""
    world = World(breaker=BreakerSettings(calls_min=10_000), notifications={"drop_rate": 1})
    world.faults(
        operations={"charge": {"error_though_charged": 1}, "lookup": {"unavailable": 1}},
        notifications={"drop_rate": 1},
    )
    for i in range(60):
        assert (await world.pay(key=f"k{i}")).status == 202
    await world.run(HOUR)
    asked = lookups(world)
    assert asked <= 60 * 16, "the pauses double"
    world.faults()
    await world.run(11 * MINUTE)
    assert all(payment.state is State.SUCCEEDED for payment in world.payments())
    assert lookups(world) - asked == 60
    await world.assert_invariants()


async def test_open_breaker_stops_the_storm_and_payments_go_elsewhere_meanwhile():
    """53."""
    world = World(notifications={"drop_rate": 1})
    world.faults(rates={"unavailable": 1}, notifications={"drop_rate": 1})
    for i in range(20):
        await world.pay(key=f"k{i}")
    asked = len(world.instances["simulator_a"].books.requested)
    answer = await world.pay(key="elsewhere")
    assert answer.json["provider"] == "simulator_b"
    assert "breaker open" in world.payment(answer.json["id"]).attempts[-1].reason
    assert len(world.instances["simulator_a"].books.requested) == asked
    world.faults()
    await world.run(HOUR)
    assert (await world.pay(key="back")).json["provider"] == "simulator_a"
    await world.assert_invariants()


async def test_sweeper_reports_its_lag_while_there_is_one_and_not_after():
    """53."""
    world = World(notifications={"drop_rate": 1})
    await world.pay(token="tok_timeout_after_accept")
    world.clock.advance(92)
    world.node.turn()
    await world.clock.settle()
    assert world.telemetry.gauges["interlock_sweeper_lag_seconds"] == pytest.approx(90, abs=1)
    await world.run(5)
    assert world.telemetry.gauges["interlock_sweeper_lag_seconds"] == 0
    assert world.clock.now() > NOW


async def test_worker_that_slept_over_a_lookup_does_not_believe_what_was_true_when_it_asked():
    """The provider did not know the charge yet, and books it while the worker stands still."""
    world = World()
    world.faults(operations={"charge": {"late_accept": 1}}, late_accept_s=20, notifications={"drop_rate": 1})
    answer = await world.pay()
    assert (answer.status, answer.json["status"]) == (202, "processing")
    engine, asked = world.node.payments.gateway, []
    call = engine.call

    async def sleeps_over_the_first_lookup(provider, operation, **kwargs):
        report = await call(provider, operation, **kwargs)
        if not asked:
            world.clock.advance(10 * MINUTE)
        asked.append(report.result.outcome)
        return report

    engine.call = sleeps_over_the_first_lookup
    await world.run(10 * MINUTE)
    assert asked[0] is Outcome.NOT_SENT
    assert "payment.failed" not in await world.events(answer.json["id"])
    assert world.payment(answer.json["id"]).state is State.SUCCEEDED
    await world.assert_invariants()
