"""A payment's bundle, told again to a platform of its own, ends where the payment ended."""

import random

import msgspec
import pytest

from interlock.backends.local.ids import SystemIds
from interlock.backends.memory.store import MemoryStore
from interlock.core.desk.explain.bundle import Bundle, bundle_of, decode_bundle, differences, encode_bundle
from interlock.core.desk.explain.replaying import ReplayGateway, ReplayIds, replay
from interlock.core.payments.ports import Payments
from interlock.core.routing.handlers import Rules
from tests.clocks import ManualClock
from tests.core.desk.desk_world import DeskWorld
from tests.scenarios.world import DAY, MINUTE
from tests.telemetry import RecordingTelemetry


async def bundled(world: DeskWorld, payment: str) -> Bundle:
    made = bundle_of(world.payment(payment), await world.store.history(payment))
    return decode_bundle(encode_bundle(made))


async def replayed(bundle: Bundle):
    clock = ManualClock(bundle.steps[0].at)

    def set_time(at: int) -> None:
        clock.advance(max(0, at - clock.now()) / 1000)

    gateway = ReplayGateway(bundle, set_time)
    store = MemoryStore(clock)
    fresh = SystemIds(clock, random_bits=random.Random(2).getrandbits).new
    payments = Payments(
        store, gateway, Rules(store, clock), clock, ReplayIds(bundle, fresh), RecordingTelemetry()
    )  # fmt: skip
    return await replay(bundle, payments, gateway, set_time)


async def approved(world):
    return await world.sale(1999)


async def declined(world):
    return (await world.pay(token="tok_decline_stolen")).json["id"]


async def failed_over(world):
    return (await world.pay(token="tok_decline_issuer_unavailable-at-simulator_a")).json["id"]


async def authorised(world):
    return await world.authorize(1500)


async def captured_in_parts(world):
    payment = await world.authorize(1500)
    await world.act(payment, "capture", {"amount": 400}, key="c1")
    await world.act(payment, "capture", {"amount": 300, "final": True}, key="c2")
    return payment


async def cancelled(world):
    payment = await world.authorize(1500)
    await world.act(payment, "cancel", key="c")
    return payment


async def refunded_in_parts(world):
    payment = await world.sale(1500)
    await world.act(payment, "refunds", {"amount": 400}, key="r1")
    await world.act(payment, "refunds", {"amount": 300}, key="r2")
    return payment


async def uncertain_then_found(world):
    return (await world.pay(token="tok_timeout_after_accept")).json["id"]


async def uncertain_and_never_arrived(world):
    return (await world.pay(token="tok_timeout_before_accept")).json["id"]


async def error_though_charged(world):
    return (await world.pay(token="tok_error_though_charged")).json["id"]


async def garbage(world):
    return (await world.pay(token="tok_garbage")).json["id"]


async def wrong_amount(world):
    return (await world.pay(token="tok_wrong_amount")).json["id"]


async def pending(world):
    return (await world.pay(token="tok_pending")).json["id"]


async def challenged_and_passed(world):
    payment = (await world.pay(token="tok_3ds", return_url="https://shop.example.com/back")).json["id"]
    world.complete_challenge(payment)
    return payment


async def challenged_and_left(world):
    return (await world.pay(token="tok_3ds", return_url="https://shop.example.com/back")).json["id"]


async def late_approval(world):
    return (await world.pay(token="tok_late_approval")).json["id"]


async def disputed(world):
    return (await world.pay(token="tok_dispute")).json["id"]


async def told_twice(world):
    return (await world.pay(token="tok_duplicate_notification")).json["id"]


async def told_before_the_answer(world):
    world.mail_at_once = True
    return (await world.pay(token="tok_notification_before_answer")).json["id"]


async def confirmed_later(world):
    answer = await world.ask("POST", "/v1/payments", {"amount": 700, "currency": "EUR", "confirm": False}, key="c0")
    payment = answer.json["id"]
    await world.act(payment, "confirm", {"payment_method": {"type": "card", "token": "tok_approve"}}, key="c1")
    return payment


async def abandoned_before_anybody_was_asked(world):
    answer = await world.ask("POST", "/v1/payments", {"amount": 700, "currency": "EUR", "confirm": False}, key="c0")
    await world.act(answer.json["id"], "cancel", key="c1")
    return answer.json["id"]


async def expired(world):
    payment = await world.authorize(900)
    await world.run(8 * DAY)
    return payment


async def rate_limited(world):
    return (await world.pay(token="tok_rate_limited")).json["id"]


STORIES = (
    *(approved, declined, failed_over, authorised, captured_in_parts, cancelled, refunded_in_parts),
    *(uncertain_then_found, uncertain_and_never_arrived, error_though_charged, garbage, wrong_amount, pending),
    *(challenged_and_passed, challenged_and_left, late_approval, disputed, told_twice, told_before_the_answer),
    *(confirmed_later, abandoned_before_anybody_was_asked, expired, rate_limited),
)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_bundle_of_a_finished_payment_ends_where_it_ended(story):
    world = DeskWorld()
    payment = await story(world)
    await world.settle()
    bundle = await bundled(world, payment)
    assert differences(bundle.ends, await replayed(bundle)) == []


@pytest.mark.parametrize("story", [uncertain_then_found, pending, challenged_and_left, garbage, late_approval])
async def test_bundle_of_a_payment_that_is_under_way_ends_where_it_is(story):
    world = DeskWorld(operations={"lookup": {"unavailable": 1}})
    world.mail_held = True
    payment = await story(world)
    await world.clock.run_for(MINUTE / 60)
    bundle = await bundled(world, payment)
    assert differences(bundle.ends, await replayed(bundle)) == []


async def test_bundle_holds_no_token_and_nothing_of_the_customer():
    world = DeskWorld()
    payment = await world.sale(
        1999, customer="cus_9", reference="order-17", description="a gift", metadata={"email": "ada@example.com"}
    )
    text = encode_bundle(await bundled(world, payment)).decode()
    for secret in ("tok_approve", "cus_9", "order-17", "a gift", "ada@example.com", "ten_1"):
        assert secret not in text


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b'{"form":"other"}', b"\xff", b'{"form":"interlock/reproduction/1"}']
)
def test_what_is_no_bundle_is_refused(raw):
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
        decode_bundle(raw)


async def test_replay_that_ends_elsewhere_says_in_what():
    world = DeskWorld()
    bundle = await bundled(world, await world.sale(1999))
    changed = msgspec.structs.replace(bundle.ends, captured=5)
    assert differences(changed, await replayed(bundle)) == [("captured", 5, 1999)]
