"""How payments go: counts folded into lanes, flows and points."""

from msgspec.structs import replace

from interlock.core.desk.overview.handlers import look, look_at_endpoints
from interlock.core.desk.overview.model import Counted, InSlot, Point, endpoint_health, overview, percentile
from interlock.core.webhooks.handlers import list_endpoints
from interlock.core.webhooks.ports import Failure, SendResult
from tests.core.desk.desk_world import DeskWorld
from tests.scenarios.world import HOUR


def counted(outcome: str, number: int = 1, **more: object) -> Counted:
    fields: dict[str, object] = {
        "provider": "acme", "method": "card", "operation": "authorize", "error": None, "speed": 100,
        "currency": "EUR", "amount": 100 * number,
    }  # fmt: skip
    return Counted(outcome=outcome, number=number, **(fields | more))  # type: ignore[arg-type]


def test_answers_of_no_count_against_success_and_not_against_the_provider():
    seen = overview(
        [counted("approved", 90), counted("declined", 6, error="insufficient_funds"), counted("unknown", 4, error="reset")],
        [], since=0, until=1,
    )  # fmt: skip
    (lane,) = seen.lanes
    assert (lane.attempts, lane.approved, lane.declined, lane.failed) == (100, 90, 6, 4)
    assert lane.errors == (("insufficient_funds", 6), ("reset", 4))


def test_pending_attempts_and_other_operations_make_no_success():
    slots = [InSlot(1, "acme", "authorize", "pending", 5), InSlot(1, "acme", "capture", "approved", 3)]
    seen = overview([counted("pending", 5), counted("approved", 3, operation="capture")], slots, since=0, until=1)
    assert (seen.lanes, seen.flows, seen.points) == ((), (), {})


def test_money_is_summed_by_currency_of_what_was_approved():
    seen = overview(
        [counted("approved", 2), counted("approved", 1, currency="USD", amount=7), counted("declined", 9)],
        [], since=0, until=1,
    )  # fmt: skip
    assert [(flow.currency, flow.payments, flow.amount) for flow in seen.flows] == [("EUR", 2, 200), ("USD", 1, 7)]


def test_points_count_answers_and_what_never_came_slot_by_slot():
    outcomes = (("approved", 1, 5), ("declined", 1, 2), ("unknown", 1, 1), ("requires_action", 2, 4))
    slots = [InSlot(slot, "acme", "authorize", outcome, number) for outcome, slot, number in outcomes]
    assert overview([], slots, since=0, until=1).points == {"acme": (Point(1, 8, 5, 1), Point(2, 4, 4, 0))}


def test_percentiles_are_the_classes_that_hold_them():
    assert percentile({100: 50, 500: 45, 10_000: 5}, 50) == 100
    assert percentile({100: 50, 500: 45, 10_000: 5}, 95) == 500
    assert percentile({100: 50, 500: 44, 10_000: 6}, 95) == 10_000
    assert percentile({None: 10}, 50) is None
    assert percentile({}, 95) is None


async def test_overview_counts_what_happened_in_its_time_and_nothing_before():
    world = DeskWorld()
    await world.sale(1000, key="old")
    await world.run(2 * HOUR)
    await world.sale(2000, key="a")
    await world.sale(300, key="b", tenant="ten_2")
    await world.pay(token="tok_decline_stolen", key="c")
    await world.look()
    now = world.clock.now()
    seen = await look(world.desk, since=now - 3_600_000, until=now + 1_000)
    (lane,) = [one for one in seen.lanes if one.provider == "simulator_a"]
    assert (lane.approved, lane.declined) == (2, 1)
    assert [(flow.currency, flow.payments, flow.amount) for flow in seen.flows] == [("EUR", 2, 2300)]
    mine = await look(world.desk, since=now - 3_600_000, until=now + 1_000, merchant="ten_2")
    assert [(flow.payments, flow.amount) for flow in mine.flows] == [(1, 300)]
    every = await look(world.desk, since=now - 5 * 3_600_000, until=now + 1_000)
    assert every.flows[0].payments == 3


def answering(result: SendResult):
    async def send(url, headers, body, *, timeout_s):
        return result

    return send


async def test_endpoint_that_does_not_answer_is_trouble_until_it_answers_again():
    world = DeskWorld()
    await world.hook()
    taken = world.merchant.send
    world.merchant.send = answering(SendResult(None, Failure.CONNECT, 3))
    begun = world.clock.now()
    await world.sale(800)
    await world.run(HOUR)
    await world.look()
    health = await look_at_endpoints(world.desk, world.node.webhooks)
    (trouble,) = health.troubled
    assert (health.enabled, health.off, trouble.merchant, trouble.why) == (1, 0, "ten_1", "failing")
    assert begun <= trouble.since < begun + 60_000
    world.merchant.send = taken
    await world.run(5 * HOUR)
    assert (await look_at_endpoints(world.desk, world.node.webhooks)).troubled == ()


async def test_endpoint_that_said_it_is_gone_is_trouble_and_one_that_was_switched_off_is_none():
    world = DeskWorld()
    await world.hook()
    world.merchant.send = answering(SendResult(410, None, 3))
    await world.sale(800)
    await world.run(HOUR)
    await world.look()
    gone = await look_at_endpoints(world.desk, world.node.webhooks)
    assert [(gone.enabled, gone.off), [one.why for one in gone.troubled]] == [(0, 1), ["gone"]]
    (endpoint,) = await list_endpoints(world.node.webhooks, "ten_1")
    off = endpoint_health([replace(endpoint, disabled_reason="by_merchant")])
    assert (off.off, off.troubled) == (1, ())
