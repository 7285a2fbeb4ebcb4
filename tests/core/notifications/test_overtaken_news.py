"""Notifications overtake each other: what contradicts the last word is asked for at the provider, and only that is believed."""

import msgspec
import pytest

from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import Action, Decline, Notification, NotificationKind, Outcome, Result, Retry
from interlock.core.notifications.handlers import Notifications, apply
from interlock.core.notifications.model import Progress
from interlock.core.payments.commands import CardToken, CreatePayment, RefundPayment
from interlock.core.payments.handlers import create_payment, load_payment, refund_payment
from interlock.core.payments.states import RefundState
from tests.core.payments.platform import World, approved, request

ASKED = Money(1999, "EUR")
RETURNED = Result(
    Outcome.DECLINED, provider_reference="ch_1", amount=ASKED, decline=Decline("hard", "returned_by_bank", Retry.NEVER)
)
SUCCEEDED = approved(captured=False, amount=ASKED)
UNHEARD = Result(Outcome.UNKNOWN, detail="read_timeout")


class Story:
    """A payment, refunded in full; the refund went out."""

    async def begin(self) -> "Story":
        self.world = World()
        self.world.will(approved(), approved(captured=False))
        command = CreatePayment(1999, "EUR", CardToken("card", "tok_1"))
        reply = await create_payment(self.world.payments, command, request())
        self.payment_id = msgspec.json.decode(reply.body)["id"]
        await refund_payment(self.world.payments, self.payment_id, RefundPayment(), request("k2", path="/refunds"))
        self.asked_before = len(self.world.gateway.asked)
        return self

    async def payment(self):
        return (await load_payment(self.world.payments, "ten_1", self.payment_id)).payment

    async def hears(self, result: Result, *, number: int) -> Progress | None:
        attempt = (await self.payment()).attempts[-1]
        news = Notification(
            id=f"ntf_{number}",
            kind=NotificationKind.ATTEMPT,
            occurred_at=self.world.clock.now(),
            attempt_id=attempt.id,
            payment_id=self.payment_id,
            tenant="ten_1",
            action=Action.REFUND,
            result=result,
        )
        return await apply(Notifications(self.world.payments, None, None, None), attempt.provider, news)

    @property
    def lookups(self) -> int:
        asked = self.world.gateway.asked[self.asked_before :]
        assert all(op.action is Action.LOOKUP for _, op, _ in asked)
        return len(asked)


@pytest.fixture
async def story():
    return await Story().begin()


async def test_news_that_agrees_with_the_last_word_asks_nobody(story):
    assert await story.hears(SUCCEEDED, number=1) is Progress.APPLIED
    assert story.lookups == 0
    assert (await story.payment()).refunds[0].state is RefundState.SUCCEEDED


async def test_returned_refund_is_believed_when_the_provider_says_so(story):
    story.world.will(RETURNED)
    assert await story.hears(RETURNED, number=1) is Progress.APPLIED
    assert story.lookups == 1
    assert (await story.payment()).refunds[0].state is RefundState.FAILED


async def test_old_success_that_arrives_after_the_return_does_not_revive_the_refund(story):
    story.world.will(RETURNED, RETURNED)
    await story.hears(RETURNED, number=2)
    before = await story.payment()
    assert await story.hears(SUCCEEDED, number=1) is Progress.APPLIED
    assert story.lookups == 2
    assert await story.payment() == before
    assert before.refunds[0].state is RefundState.FAILED


async def test_contradiction_waits_while_the_provider_cannot_be_asked(story):
    story.world.will(UNHEARD)
    before = await story.payment()
    assert await story.hears(RETURNED, number=1) is None
    assert await story.payment() == before
