"""The fault plan: what it accepts, and that the same seed gives the same faults."""

import json
import random
from collections import Counter

import pytest

from interlock.simulator.faults import USUAL_MIX, FaultDice, FaultKind, OutageMode
from interlock.simulator.messages import Manner
from interlock.simulator.model import Kind
from tests.clocks import ManualClock
from tests.providers.simulator.harness import ask, charge, instance, plan


def dice(fault_plan, salt="simulator_a"):
    return FaultDice(fault_plan, salt=salt, set_at=1_000_000)


def test_same_seed_gives_the_same_faults_and_another_gives_others():
    def drawn(seed, salt="simulator_a"):
        one = dice(plan(seed=seed, rate=0.5, latency={"kind": "log_normal", "median_ms": 80, "p99_ms": 900}), salt)
        return [(one.fault(Kind.CHARGE), one.latency_s()) for _ in range(50)]

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    assert drawn(7) != drawn(7, "simulator_b")


def test_rate_is_shared_among_the_usual_faults():
    one = dice(plan(rate=0.5))
    counts = Counter(one.fault(Kind.REFUND) for _ in range(20_000))
    assert 9_500 < counts[None] < 10_500
    assert set(counts) == {None, *USUAL_MIX}
    assert all(800 < counts[kind] < 1_200 for kind in USUAL_MIX)


def test_rates_of_one_operation_replace_the_general_ones():
    one = dice(plan(rates={"garbage": 1}, operations={"refund": {"timeout_after_accept": 1}, "capture": {}}))
    assert one.fault(Kind.CHARGE) is FaultKind.GARBAGE
    assert one.fault(Kind.REFUND) is FaultKind.TIMEOUT_AFTER_ACCEPT
    assert one.fault(Kind.CAPTURE) is None


def test_lookups_are_spared_unless_named():
    assert dice(plan(rate=1)).fault(Kind.LOOKUP) is None
    assert dice(plan(operations={"lookup": {"unavailable": 1}})).fault(Kind.LOOKUP) is FaultKind.UNAVAILABLE


def test_log_normal_latency_has_the_median_and_the_99th_percentile_asked_for():
    one = dice(plan(latency={"kind": "log_normal", "median_ms": 80, "p99_ms": 900}))
    sample = sorted(one.latency_s() for _ in range(40_000))
    assert sample[20_000] == pytest.approx(0.080, rel=0.05)
    assert sample[39_600] == pytest.approx(0.900, rel=0.12)


def test_constant_latency_is_constant():
    one = dice(plan(latency={"kind": "constant", "ms": 25}))
    assert {one.latency_s() for _ in range(10)} == {0.025}


def test_outages_last_from_their_start_to_their_end():
    clock = ManualClock()
    provider = instance(clock)
    provider.set_plan(
        plan(
            outages=[
                {"mode": "connect_refused", "from_s": 10, "for_s": 5},
                {"mode": "unavailable", "from_s": 20},
            ]
        )
    )
    seen = []
    for _ in range(5):
        seen.append((provider.is_refusing(), provider.dice.outage(clock.now()), provider.next_due()))
        clock.advance(5)
    start = clock.now() - 25_000
    assert seen == [
        (False, None, start + 10_000),
        (False, None, start + 10_000),
        (True, OutageMode.CONNECT_REFUSED, start + 15_000),
        (False, None, start + 20_000),
        (False, OutageMode.UNAVAILABLE, None),
    ]


@pytest.mark.parametrize(
    ("mode", "manner"), [("reset", Manner.RESET), ("hang", Manner.HANG), ("unavailable", Manner.ANSWER)]
)
def test_outage_books_nothing_and_leaves_control_reachable(mode, manner):
    provider = instance(fault_plan=plan(outages=[{"mode": mode}]))
    reaction = charge(provider)
    assert (reaction.manner, reaction.reply.status) == (manner, 503)
    assert not provider.books.requested
    assert ask(provider, "GET", "/books").reply.status == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 1.1},
        {"rate": -0.1},
        {"rate": 0.1, "rates": {"garbage": 0.1}},
        {"rates": {"garbage": 0.6, "reset_after_accept": 0.6}},
        {"rates": {"gremlins": 0.1}},
        {"operations": {"charge": {"garbage": 0.6, "huge": 0.6}}},
        {"operations": {"lookup": {"late_accept": 0.1}}},
        {"operations": {"teleport": {}}},
        {"latency": {"kind": "log_normal", "median_ms": 10}},
        {"latency": {"kind": "log_normal", "median_ms": 10, "p99_ms": 5}},
        {"outages": [{"mode": "meteor"}]},
        {"unheard_of": 1},
        {"hang_s": -1},
        [],
    ],
)
def test_plan_that_makes_no_sense_is_refused_and_the_old_one_stays(wrong):
    provider = instance(fault_plan=plan(seed=42))
    assert ask(provider, "PUT", "/faults", json.dumps(wrong).encode()).reply.status == 400
    assert provider.dice.plan.seed == 42


def test_plan_reads_back_as_it_was_set():
    provider = instance()
    wanted = {"seed": 3, "rates": {"garbage": 0.25}, "operations": {"refund": {"huge": 0.5}}, "hang_s": 0.5}
    ask(provider, "PUT", "/faults", wanted)
    shown = json.loads(ask(provider, "GET", "/faults").reply.body)
    assert wanted.items() <= shown.items()


def test_same_seed_and_requests_give_the_same_story_byte_for_byte():
    def story(seed):
        clock = ManualClock()
        provider = instance(
            clock, fault_plan=plan(seed=seed, rate=0.4, notifications={"jitter_ms": 50, "drop_rate": 0.2})
        )
        shuffled = random.Random(1)
        told = []
        for number in range(60):
            told.append(charge(provider, key=f"att_{number}", amount=shuffled.randint(1, 999)))
            clock.advance(0.05)
            provider.advance()
            told.append(list(provider.outbox))
            provider.outbox.clear()
        return told

    assert story(5) == story(5)
    assert story(5) != story(6)
