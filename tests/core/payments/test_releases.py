"""Which release started an attempt, and what is known of a card's issuer: in facts, for operators alone."""

import pytest

from interlock.core.kernel.providers import Card, Decline, Outcome, Result, Retry
from interlock.core.payments.commands import CardToken, CreatePayment, RefundPayment
from interlock.core.payments.events import Issuer, decode_facts, release_of
from interlock.core.payments.handlers import create_payment, load_payment, refund_payment
from tests.core.payments.platform import World, approved, request

PAY = CreatePayment(1000, "EUR", CardToken("card", "tok_approve"))
FRENCH = Card("visa", "4242", 12, 2031, "FR", "497010")


async def paid(world: World, *answers) -> str:
    world.will(*answers)
    await create_payment(world.payments, PAY, request())
    (payment_id,) = {op.payment_id for _, op, _ in world.gateway.asked}
    return payment_id


async def facts(world: World, payment_id: str):
    return [decode_facts(event.facts) for event in await world.store.history(payment_id)]


async def test_attempt_keeps_the_release_it_was_started_by():
    world = World()
    world.payments = world.payments._replace(release="1.4.0")
    payment_id = await paid(world, approved())
    world.payments = world.payments._replace(release="1.5.0")
    world.will(approved(captured=False))
    await refund_payment(world.payments, payment_id, RefundPayment(400), request("k2"))
    held = await load_payment(world.payments, "ten_1", payment_id)
    assert [attempt.release for attempt in held.payment.attempts] == ["1.4.0", "1.5.0"]
    assert [one.releases for one in await facts(world, payment_id)] == [
        ((0, "1.4.0"),),
        ((0, "1.4.0"),),
        ((0, "1.4.0"), (1, "1.5.0")),
        ((0, "1.4.0"), (1, "1.5.0")),
    ]


async def test_attempts_of_one_release_are_noted_once():
    world = World()
    world.payments = world.payments._replace(release="1.4.0")
    payment_id = await paid(world, approved())
    world.will(approved(captured=False))
    await refund_payment(world.payments, payment_id, RefundPayment(400), request("k2"))
    assert (await facts(world, payment_id))[-1].releases == ((0, "1.4.0"),)


@pytest.mark.parametrize(
    ("releases", "found"),
    [
        ((), [None, None, None]),
        (((0, "a"),), ["a", "a", "a"]),
        (((1, "b"),), [None, "b", "b"]),
        (((0, "a"), (2, "b")), ["a", "a", "b"]),
        (((0, "a"), (1, ""), (2, "c")), ["a", None, "c"]),
    ],
)
def test_release_of_each_place(releases, found):
    assert [release_of(releases, place) for place in range(3)] == found


async def test_issuer_is_told_to_operators_and_not_to_merchants():
    world = World()
    payment_id = await paid(world, approved(card=FRENCH))
    *_, last = await world.store.history(payment_id)
    assert decode_facts(last.facts).issuer == Issuer("FR", "497010")
    assert b"497010" not in bytes(last.data)
    assert b'"country"' not in bytes(last.data)


async def test_declined_authorization_keeps_what_its_answer_told_of_the_card():
    world = World()
    decline = Decline("hard", "do_not_honor", Retry.NEVER)
    payment_id = await paid(world, Result(Outcome.DECLINED, decline=decline, card=FRENCH))
    assert (await load_payment(world.payments, "ten_1", payment_id)).payment.card == FRENCH
    assert (await facts(world, payment_id))[-1].issuer == Issuer("FR", "497010")


async def test_next_provider_that_tells_less_of_the_card_takes_nothing_away():
    world = World()
    decline = Decline("soft", "issuer_unavailable", Retry.OTHER_PROVIDER)
    plain = Card("visa", "4242", 12, 2031)
    payment_id = await paid(
        world, Result(Outcome.DECLINED, decline=decline, card=FRENCH), approved(reference="ch_2", card=plain)
    )
    assert (await load_payment(world.payments, "ten_1", payment_id)).payment.card == FRENCH


async def test_card_without_an_issuer_is_no_fact():
    world = World()
    payment_id = await paid(world, approved(card=Card("visa", "4242", 12, 2031)))
    assert all(one.issuer is None for one in await facts(world, payment_id))
