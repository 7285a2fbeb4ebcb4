"""What a provider tells us: stored before anything else, applied once, and doubted where it does not fit."""

import random

import pytest

from interlock.backends.local.ids import SystemIds
from interlock.backends.memory.documents import MemoryDocuments
from interlock.backends.memory.queue import MemoryQueue
from interlock.core.kernel.errors import Invalid, OutcomeUnknown, StoreUnavailable, Unauthenticated
from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import (
    Action,
    Decline,
    DisputeNews,
    Notification,
    NotificationKind,
    Outcome,
    Result,
    Retry,
)
from interlock.core.kernel.queue import QueueSpec
from interlock.core.notifications.handlers import Notifications, apply, handle, receive
from interlock.core.notifications.model import (
    ID_BYTES_MAX,
    QUEUE,
    Progress,
    decode_notification,
    is_usable,
    notification_key,
)
from interlock.core.payments.commands import CapturePayment, CardToken, CreatePayment, RefundPayment
from interlock.core.payments.handlers import capture_payment, create_payment, load_payment, refund_payment
from interlock.core.payments.projection import COLLECTIONS, project
from interlock.core.payments.states import State
from tests.core.payments.platform import NOW, World, approved, request

NO = Decline("hard", "stolen_card", Retry.NEVER)


class Reader:
    """Reads what the test puts there, or raises it."""

    def __init__(self):
        self.news = []

    async def read(self, provider, headers, body, received_at):
        if isinstance(self.news, Exception):
            raise self.news
        return self.news


class Setting(World):
    def __init__(self):
        super().__init__()
        ids = SystemIds(self.clock, random_bits=random.Random(3).getrandbits)
        self.queue = MemoryQueue([QueueSpec(QUEUE, lease_s=60.0, attempts_max=25)], clock=self.clock, ids=ids)
        self.documents = MemoryDocuments(COLLECTIONS)
        self.reader = Reader()
        self.n = Notifications(self.payments, self.documents, self.queue, self.reader)

    async def pay(self, *answers, key="k1", capture_method="automatic"):
        self.will(*answers)
        command = CreatePayment(1000, "EUR", CardToken("card", "tok_x"), capture_method=capture_method)
        await create_payment(self.payments, command, request(key))
        return await self.payment(self.gateway.asked[-1][1].payment_id)

    async def payment(self, payment_id):
        return (await load_payment(self.payments, "ten_1", payment_id)).payment

    async def stored(self, notification_id="n1", provider="a"):
        item = await self.store.get(notification_key(provider, notification_id))
        return item and decode_notification(item)

    async def work(self):
        """Handle what is queued now; whether each is done."""
        messages = await self.queue.receive(QUEUE, limit=100)
        return [await handle(self.n, message) for message in messages]


def about(payment, outcome, *, attempt=0, id="n1", named=True, **fields):
    """News of one of a payment's attempts."""
    one = payment.attempts[attempt]
    result = {"provider_reference": "ch_1", "amount": Money(one.amount, "EUR")} | fields
    return Notification(
        id=id,
        kind=NotificationKind.ATTEMPT,
        occurred_at=NOW,
        attempt_id=one.id if named else None,
        payment_id=payment.id,
        tenant=payment.tenant,
        provider_reference="ch_1",
        action=one.operation,
        result=Result(outcome, **result),
    )


def dispute(payment, status, *, amount=600, currency="EUR", reference="dp_1"):
    news = DisputeNews(reference, status, Money(amount, currency), "fraudulent")
    return Notification(
        f"n_{status}", NotificationKind.DISPUTE, NOW, payment_id=payment.id, tenant="ten_1", dispute=news
    )


UNKNOWN = Result(Outcome.UNKNOWN, detail="read_timeout")


# Receiving


async def test_news_is_stored_and_queued_and_counted():
    setting = Setting()
    payment = await setting.pay(UNKNOWN)
    setting.reader.news = [
        about(payment, Outcome.APPROVED, captured=True),
        Notification("n2", NotificationKind.OTHER, NOW),
    ]
    assert await receive(setting.n, "a", {}, b"body") == 2
    assert [(await setting.stored(id)).progress for id in ("n1", "n2")] == [Progress.RECEIVED, Progress.RECEIVED]
    assert await setting.work() == [True, True]
    assert [(await setting.stored(id)).progress for id in ("n1", "n2")] == [Progress.APPLIED, Progress.IGNORED]
    assert (await setting.payment(payment.id)).state is State.SUCCEEDED


async def test_known_news_is_queued_again_only_while_it_is_not_applied():
    setting = Setting()
    payment = await setting.pay(UNKNOWN)
    setting.reader.news = [about(payment, Outcome.APPROVED, captured=True)]
    for _ in range(2):
        await receive(setting.n, "a", {}, b"body")
    assert (await setting.queue.depth(QUEUE)).ready == 2
    assert await setting.work() == [True, True]
    await receive(setting.n, "a", {}, b"body")
    assert (await setting.queue.depth(QUEUE)).ready == 0
    assert setting.telemetry.counts["interlock_notifications_total", ("provider", "a"), ("result", "duplicate")] == 1


async def test_same_id_of_two_providers_is_two_notifications():
    setting = Setting()
    setting.reader.news = [Notification("n1", NotificationKind.OTHER, NOW)]
    for provider in ("a", "b"):
        await receive(setting.n, provider, {}, b"body")
    assert await setting.work() == [True, True]
    assert (await setting.stored(provider="b")).provider == "b"


async def test_unverified_news_is_refused_and_nothing_is_kept():
    setting = Setting()
    setting.reader.news = Unauthenticated("not theirs")
    with pytest.raises(Unauthenticated):
        await receive(setting.n, "a", {}, b"body")
    assert not setting.store._items


async def test_unreadable_news_is_kept_once_with_an_alarm_and_taken():
    setting = Setting()
    setting.reader.news = Invalid("no idea")
    for _ in range(3):
        assert await receive(setting.n, "a", {}, b"body") == 1
    assert len(setting.store._items) == 1
    assert setting.telemetry.alarms() == ["notification.unreadable"]


@pytest.mark.parametrize("bad", ["", "x" * (ID_BYTES_MAX + 1), "ä" * ID_BYTES_MAX, "a\0b"])
async def test_news_without_a_usable_id_is_unreadable(bad):
    setting = Setting()
    setting.reader.news = [Notification(bad, NotificationKind.OTHER, NOW)]
    assert await receive(setting.n, "a", {}, b"body") == 1
    assert setting.telemetry.alarms() == ["notification.unreadable"]
    assert not is_usable(bad) and is_usable("x" * ID_BYTES_MAX)


@pytest.mark.parametrize("error", [StoreUnavailable, OutcomeUnknown])
async def test_news_that_could_not_be_stored_or_queued_is_not_acknowledged_and_comes_through_when_repeated(error):
    for broken in ("store", "queue"):
        setting = Setting()
        payment = await setting.pay(UNKNOWN)
        setting.reader.news = [about(payment, Outcome.APPROVED, captured=True)]
        port, name = (setting.store, "commit") if broken == "store" else (setting.queue, "send")
        working = getattr(port, name)

        async def fails(*args, _working=working, **kwargs):
            if error is OutcomeUnknown:
                await _working(*args, **kwargs)
            raise error("broken")

        setattr(port, name, fails)
        with pytest.raises(error):
            await receive(setting.n, "a", {}, b"body")
        setattr(port, name, working)
        await receive(setting.n, "a", {}, b"body")
        assert all(await setting.work())
        assert (await setting.payment(payment.id)).state is State.SUCCEEDED


async def test_work_on_news_that_is_not_there_any_more_is_done():
    setting = Setting()
    await setting.queue.send(QUEUE, b'{"provider":"a","id":"gone"}')
    assert await setting.work() == [True]


# Applying


async def test_news_applied_twice_by_two_workers_moves_the_payment_once():
    setting = Setting()
    payment = await setting.pay(UNKNOWN)
    news = about(payment, Outcome.APPROVED, captured=True)
    assert [await apply(setting.n, "a", news) for _ in range(2)] == [Progress.APPLIED, Progress.APPLIED]
    assert len(await setting.store.history(payment.id)) == 3


async def test_news_without_our_ids_is_found_by_the_providers_reference_once_the_read_model_knows_it():
    setting = Setting()
    payment = await setting.pay(Result(Outcome.PENDING, provider_reference="ch_1"))
    news = Notification(
        "n1",
        NotificationKind.ATTEMPT,
        NOW,
        provider_reference="ch_1",
        action=Action.AUTHORIZE,
        result=Result(Outcome.APPROVED, provider_reference="ch_1", amount=Money(1000, "EUR"), captured=True),
    )
    assert await apply(setting.n, "a", news) is None
    await project(setting.documents, await setting.store.history(payment.id))
    assert await apply(setting.n, "b", news) is None, "that reference is another provider's"
    assert await apply(setting.n, "a", news) is Progress.APPLIED
    assert (await setting.payment(payment.id)).state is State.SUCCEEDED


async def test_news_that_names_no_attempt_means_the_one_that_is_open():
    """A capture that failed, and another one after it: the provider says only that the payment was captured."""
    setting = Setting()
    payment = await setting.pay(approved(captured=False), capture_method="manual")
    setting.will(Result(Outcome.DECLINED, decline=NO), Result(Outcome.UNKNOWN))
    for key in ("k2", "k3"):
        await capture_payment(setting.payments, payment.id, CapturePayment(), request(key, path="/capture"))
    payment = await setting.payment(payment.id)
    assert [attempt.outcome for attempt in payment.attempts] == ["approved", "declined", "unknown"]
    news = about(payment, Outcome.APPROVED, attempt=2, named=False)
    assert await apply(setting.n, "a", news) is Progress.APPLIED
    assert (await setting.payment(payment.id)).amount_captured == 1000
    assert await apply(setting.n, "a", news) is Progress.APPLIED, "told again, it is no news"
    assert "notification.unmatched" not in setting.telemetry.alarms()


async def test_news_that_names_no_attempt_and_fits_several_open_ones_is_for_people():
    setting = Setting()
    payment = await setting.pay(approved())
    setting.will(Result(Outcome.PENDING), Result(Outcome.PENDING))
    for key in ("k2", "k3"):
        await refund_payment(setting.payments, payment.id, RefundPayment(300), request(key, path="/refunds"))
    payment = await setting.payment(payment.id)
    news = about(payment, Outcome.APPROVED, attempt=2, named=False)
    assert await apply(setting.n, "a", news) is Progress.IGNORED
    assert setting.telemetry.alarms() == ["notification.unmatched"]
    assert (await setting.payment(payment.id)).amount_refunded == 0


async def test_news_of_an_attempt_that_belongs_to_another_payment_is_for_people():
    setting = Setting()
    one = await setting.pay(UNKNOWN)
    other = await setting.pay(UNKNOWN, key="k2")
    news = about(one, Outcome.APPROVED, captured=True)
    mixed = Notification(
        "n1", NotificationKind.ATTEMPT, NOW, news.attempt_id, other.id, "ten_1", "ch_1", news.action, news.result
    )
    assert await apply(setting.n, "a", mixed) is Progress.IGNORED
    for payment in (one, other):
        assert (await setting.payment(payment.id)).state is State.UNCERTAIN


async def test_decline_while_the_caller_waits_is_left_to_it():
    setting = Setting()
    payment = await setting.pay(UNKNOWN)
    held = await load_payment(setting.payments, "ten_1", payment.id)
    assert held.payment.attempts[0].outcome is Outcome.UNKNOWN
    assert await apply(setting.n, "a", about(payment, Outcome.DECLINED, decline=NO)) is Progress.APPLIED
    assert (await setting.payment(payment.id)).state is State.FAILED


async def test_news_that_contradicts_the_last_word_is_asked_about_under_the_reference_it_names():
    setting = Setting()
    payment = await setting.pay(Result(Outcome.DECLINED, decline=NO))
    setting.will(approved(reference="ch_1"), approved(reference="ch_1"))
    assert await apply(setting.n, "a", about(payment, Outcome.APPROVED, captured=True)) is Progress.APPLIED
    _, lookup, _ = setting.gateway.asked[1]
    assert (lookup.action, lookup.target, lookup.provider_reference) == (Action.LOOKUP, Action.AUTHORIZE, "ch_1")
    assert (await setting.payment(payment.id)).attempts[0].late


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.NOT_SENT, Outcome.PENDING])
async def test_contradiction_that_nobody_can_settle_now_comes_again(outcome):
    setting = Setting()
    payment = await setting.pay(Result(Outcome.DECLINED, decline=NO))
    setting.will(Result(outcome))
    assert await apply(setting.n, "a", about(payment, Outcome.APPROVED, captured=True)) is None
    assert (await setting.payment(payment.id)) == payment


async def test_contradiction_the_provider_does_not_repeat_changes_nothing():
    setting = Setting()
    payment = await setting.pay(Result(Outcome.DECLINED, decline=NO))
    setting.will(Result(Outcome.DECLINED, decline=NO))
    assert await apply(setting.n, "a", about(payment, Outcome.APPROVED, captured=True)) is Progress.APPLIED
    assert (await setting.payment(payment.id)) == payment


@pytest.mark.parametrize(
    ("fields", "alarm"),
    [
        ({"amount": Money(999, "EUR")}, "notification.amount_mismatch"),
        ({"amount": Money(1000, "USD")}, "notification.amount_mismatch"),
    ],
)
async def test_news_of_another_amount_changes_nothing_and_is_seen(fields, alarm):
    setting = Setting()
    payment = await setting.pay(UNKNOWN)
    assert await apply(setting.n, "a", about(payment, Outcome.APPROVED, captured=True, **fields)) is Progress.IGNORED
    assert setting.telemetry.alarms()[-1] == alarm
    assert (await setting.payment(payment.id)) == payment


# Disputes


async def test_dispute_before_the_capture_is_on_record_waits():
    setting = Setting()
    payment = await setting.pay(UNKNOWN)
    assert await apply(setting.n, "a", dispute(payment, "opened")) is None


async def test_dispute_told_twice_is_held_once():
    setting = Setting()
    payment = await setting.pay(approved())
    for _ in range(2):
        assert await apply(setting.n, "a", dispute(payment, "opened")) is Progress.APPLIED
    assert (await setting.payment(payment.id)).amount_disputed == 600


@pytest.mark.parametrize("verdict", ["won", "lost"])
async def test_opening_told_after_the_verdict_is_old_news(verdict):
    setting = Setting()
    payment = await setting.pay(approved())
    for status in (verdict, "opened", verdict):
        assert await apply(setting.n, "a", dispute(payment, status)) is Progress.APPLIED
    payment = await setting.payment(payment.id)
    assert [one.state for one in payment.disputes] == [verdict]
    events = [event.type for event in await setting.store.history(payment.id)]
    assert events[-2:] == ["dispute.opened", f"dispute.{verdict}"]
    assert setting.telemetry.alarms() == []


async def test_two_verdicts_that_differ_are_for_people_and_the_first_stands():
    setting = Setting()
    payment = await setting.pay(approved())
    for status in ("lost", "won"):
        assert await apply(setting.n, "a", dispute(payment, status)) is Progress.APPLIED
    assert [one.state for one in (await setting.payment(payment.id)).disputes] == ["lost"]
    assert setting.telemetry.alarms() == ["notification.contradicting_verdicts"]


@pytest.mark.parametrize(
    ("fields", "alarm"),
    [
        ({"currency": "USD"}, "notification.currency_mismatch"),
        ({"amount": 0}, "notification.amount_mismatch"),
        ({"amount": -600}, "notification.amount_mismatch"),
    ],
)
async def test_dispute_that_makes_no_sense_changes_nothing_and_is_seen(fields, alarm):
    setting = Setting()
    payment = await setting.pay(approved())
    assert await apply(setting.n, "a", dispute(payment, "opened", **fields)) is Progress.IGNORED
    assert setting.telemetry.alarms() == [alarm]
    assert (await setting.payment(payment.id)) == payment


async def test_dispute_beyond_what_a_refund_has_left_goes_to_suspense():
    setting = Setting()
    payment = await setting.pay(approved())
    setting.will(approved())
    await refund_payment(setting.payments, payment.id, RefundPayment(800), request("k2", path="/refunds"))
    await apply(setting.n, "a", dispute(payment, "opened"))
    (held,) = (await setting.payment(payment.id)).disputes
    assert (held.amount, held.excess) == (200, 400)
    assert setting.telemetry.alarms() == ["payment.dispute_above_refundable"]


async def test_dispute_that_loses_a_race_is_weighed_again():
    setting = Setting()
    payment = await setting.pay(approved())
    commit, raced = setting.store.commit, []

    async def races(writes, events=()):
        if not raced:
            raced.append(1)
            setting.will(approved())
            await refund_payment(setting.payments, payment.id, RefundPayment(800), request("k2", path="/refunds"))
        await commit(writes, events)

    setting.store.commit = races
    assert await apply(setting.n, "a", dispute(payment, "opened")) is Progress.APPLIED
    payment = await setting.payment(payment.id)
    assert (payment.amount_refunded, payment.amount_disputed, payment.refundable) == (800, 200, 0)
