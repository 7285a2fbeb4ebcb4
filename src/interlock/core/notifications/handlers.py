"""Taking notifications in, and applying them.

`receive` verifies and stores, quickly; `apply` runs from the queue, any number of times, in any order, also before the
commit of the very request the news is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from typing import NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from interlock.core.kernel.clock import MINUTE, Millis
from interlock.core.kernel.documents import Documents
from interlock.core.kernel.errors import Invalid, NotFound, WriteConflict
from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import (
    Action,
    CallReport,
    DisputeNews,
    Notification,
    NotificationKind,
    Outcome,
    Result,
)
from interlock.core.kernel.queue import Queue, QueueMessage
from interlock.core.kernel.store import ABSENT
from interlock.core.notifications.model import (
    QUEUE,
    Progress,
    StoredNotification,
    decode_notification,
    is_usable,
    notification_key,
    notification_write,
)
from interlock.core.payments.calls import contradicts_last_word, perform, record_result
from interlock.core.payments.commits import Cause, Held, commit
from interlock.core.payments.contradictions import (
    Contradiction,
    contradiction_of,
    note_agreement,
    note_contradiction,
    of_payment,
    of_stranger,
)
from interlock.core.payments.disputes import apply_dispute, contradicts_verdict
from interlock.core.payments.handlers import load_payment
from interlock.core.payments.model import Attempt
from interlock.core.payments.operations import lookup_of
from interlock.core.payments.ports import Payments
from interlock.core.payments.projection import locate

DISPUTE_STEPS_MAX = 3
CONFLICTS_MAX = 5
"""How often news that lost a race is weighed again before the queue brings it back."""
STRANGER_AFTER: Millis = 10 * MINUTE
"""News overtakes the commit it is about by seconds. What nobody knows after so long may be nobody's."""
AMOUNT_DOUBT = "notification.amount_mismatch"


class Reader(Protocol):
    """The providers' own reading of what they send."""

    async def read(
        self, provider: str, headers: Mapping[str, str], body: bytes, received_at: Millis
    ) -> list[Notification]:
        """Verify, then parse. Raises NotFound for an unknown provider, Unauthenticated for a bad signature, Invalid for a
        signed body that cannot be read."""


class Notifications(NamedTuple):
    """The means of the handlers here."""

    payments: Payments
    documents: Documents
    queue: Queue
    reader: Reader


class _Work(msgspec.Struct, frozen=True):
    provider: str
    id: str


async def receive(n: Notifications, provider: str, headers: Mapping[str, str], body: bytes) -> int:
    """Store what a provider tells us and queue it; how many notifications were in the body, known ones included.

    Durable when it returns, and safe to repeat: what is stored and not yet applied is queued again.
    Raises NotFound, Unauthenticated; a signed body that cannot be read is kept for people and counted as one.
    """
    p = n.payments
    now = p.clock.now()
    digest = sha256(body).hexdigest()
    try:
        news = await n.reader.read(provider, headers, body, now)
        if not all(is_usable(one.id) for one in news):
            raise Invalid("the notification's id cannot be one")
    except Invalid as error:
        unreadable = StoredNotification(digest, provider, now, Progress.UNREADABLE, None, digest, error.detail)
        try:
            await p.store.commit([notification_write(unreadable, ABSENT)])
        except WriteConflict:
            if await p.store.get(notification_key(provider, digest)) is None:
                raise
            return 1
        p.telemetry.error("notification.unreadable", provider=provider, body_digest=digest)
        return 1
    for one in news:
        stored = StoredNotification(one.id, provider, now, Progress.RECEIVED, one, digest)
        try:
            await p.store.commit([notification_write(stored, ABSENT)])
        except WriteConflict:
            known = await p.store.get(notification_key(provider, one.id))
            if known is None:
                raise  # a conflict in passing, and nothing is kept: the provider must repeat it
            if decode_notification(known).progress is not Progress.RECEIVED:
                p.telemetry.count("interlock_notifications_total", provider=provider, result="duplicate")
                continue
        await n.queue.send(QUEUE, _encoder.encode(_Work(provider, one.id)))
        p.telemetry.count("interlock_notifications_total", provider=provider, result="received")
    return len(news)


async def handle(n: Notifications, message: QueueMessage) -> bool:
    """Apply one queued notification. False: not yet possible, give the message back to try later."""
    work = _decoder.decode(message.body)
    item = await n.payments.store.get(notification_key(work.provider, work.id))
    if item is None:
        return True
    stored = decode_notification(item)
    if stored.progress is not Progress.RECEIVED or stored.news is None:
        return True
    progress = await apply(n, work.provider, stored.news)
    if progress is None:
        await _note_stranger(n, stored)
        return False
    await _note_found(n, stored)
    with suppress(WriteConflict):  # another worker applied it, too; both did the same
        await n.payments.store.commit([notification_write(replace(stored, progress=progress), item.version)])
    return True


async def apply(n: Notifications, provider: str, news: Notification) -> Progress | None:
    """Bring the news into the payment it is about; None when that payment, or its turn, has not come yet."""
    if news.kind is NotificationKind.OTHER:
        return Progress.IGNORED
    held = await _find(n, provider, news)
    if held is None:
        return None
    if news.dispute is not None:
        return await _apply_dispute(n, provider, held, news)
    for _ in range(CONFLICTS_MAX):
        try:
            return await _apply_result(n, provider, held, news)
        except WriteConflict:  # what is known now may be another reason to doubt
            held = await load_payment(n.payments, held.payment.tenant, held.payment.id)
    return None


async def _apply_result(n: Notifications, provider: str, held: Held, news: Notification) -> Progress | None:
    """Raises WriteConflict if the payment has changed since it was read."""
    attempt = _attempt_meant(held, provider, news)
    if attempt is None or news.result is None:
        n.payments.telemetry.error("notification.unmatched", provider=provider, payment_id=held.payment.id)
        return Progress.IGNORED
    doubt = _doubt(news.result, held, attempt)
    if doubt is not None:
        # Whatever it is about, it does not tell what became of what was asked for: a lookup will.
        p = n.payments
        p.telemetry.error(doubt, provider=provider, payment_id=held.payment.id, attempt_id=attempt.id)
        if doubt == AMOUNT_DOUBT:
            await note_contradiction(
                p.store, p.clock, p.ids, of_payment(held.payment.id), _other_amount(held, attempt, news)
            )
        return Progress.IGNORED
    if attempt.outcome is None and attempt.operation is Action.AUTHORIZE and news.result.outcome is Outcome.DECLINED:
        return None  # its caller is about to hear the same, and may still try another provider
    report = CallReport(news.result)
    if contradicts_last_word(attempt, news.result.outcome):
        # Notifications overtake each other, so this may be older than what is known. The provider says what is true now.
        named = replace(attempt, provider_reference=attempt.provider_reference or news.provider_reference)
        report = await n.payments.gateway.call(provider, lookup_of(held.payment, named))
        if report.result.outcome not in (Outcome.APPROVED, Outcome.DECLINED):
            return None
    cause = Cause("notification", None, report, attempt.id, detail=news.id)
    held, _, call = await record_result(n.payments, held, attempt.id, report, cause, once=True)
    if call is not None:
        await perform(n.payments, held, call, None)
    return Progress.APPLIED


async def _find(n: Notifications, provider: str, news: Notification) -> Held | None:
    """The payment meant, which must live at the provider that speaks."""
    tenant, payment_id = news.tenant, news.payment_id
    if (tenant is None or payment_id is None) and news.provider_reference is not None:
        located = await locate(n.documents, provider, news.provider_reference)
        if located is not None:
            tenant, payment_id = located.tenant, located.payment
    if tenant is None or payment_id is None:
        return None
    try:
        held = await load_payment(n.payments, tenant, payment_id)
    except NotFound:
        return None
    if all(attempt.provider != provider for attempt in held.payment.attempts):
        return None
    return held


def _doubt(result: Result, held: Held, attempt: Attempt) -> str | None:
    """Why the news cannot be taken as the word on this attempt, if there is a reason; the name of the alarm."""
    if result.outcome is Outcome.UNKNOWN:
        return "notification.unknown_status"
    if result.amount is not None and result.amount != Money(attempt.amount, held.payment.currency):
        return AMOUNT_DOUBT
    return None


def _other_amount(held: Held, attempt: Attempt, news: Notification) -> Contradiction:
    assert news.result is not None and news.result.amount is not None, "doubted for its amount"
    currency, amount = held.payment.currency, news.result.amount
    is_same_currency = amount.currency == currency
    return contradiction_of(
        held.payment,
        attempt,
        "amount_mismatch" if is_same_currency else "currency_mismatch",
        f"{attempt.amount} {currency}",
        f"{amount.amount} {amount.currency}",
        amount.amount if is_same_currency else 0,
    )


def _attempt_meant(held: Held, provider: str, news: Notification) -> Attempt | None:
    """By our own id if the provider gives it back, else the one of that operation there that the news can be about."""
    if news.attempt_id is not None:
        attempt = held.payment.attempt(news.attempt_id)
        fits = attempt is not None and attempt.provider == provider and attempt.operation is news.action
        return attempt if fits else None
    fitting = [
        attempt
        for attempt in held.payment.attempts
        if attempt.provider == provider and attempt.operation is news.action and not attempt.reverses
    ]
    known = [attempt for attempt in fitting if news.result is not None and attempt.outcome is news.result.outcome]
    likely = [attempt for attempt in fitting if attempt.is_open] or known[-1:] or fitting
    return likely[-1] if len(likely) == 1 or (likely and news.action is Action.AUTHORIZE) else None


async def _apply_dispute(n: Notifications, provider: str, held: Held, news: Notification) -> Progress | None:
    assert news.dispute is not None
    p, amount = n.payments, news.dispute.amount
    if amount.currency != held.payment.currency or amount.amount <= 0:
        doubt = "currency_mismatch" if amount.currency != held.payment.currency else "amount_mismatch"
        p.telemetry.error(f"notification.{doubt}", provider=provider, payment_id=held.payment.id)
        await _note_dispute(p, provider, held, news.dispute, doubt)
        return Progress.IGNORED
    if held.payment.amount_captured == 0 and held.payment.open_attempts:
        return None  # the capture is not on record yet
    for _ in range(DISPUTE_STEPS_MAX):
        decision = apply_dispute(held.payment, news.dispute, provider=provider, new_id=p.ids.new, now=p.clock.now())
        if decision is None:
            if contradicts_verdict(held.payment, news.dispute):
                p.telemetry.error("notification.contradicting_verdicts", provider=provider, payment_id=held.payment.id)
                await _note_dispute(p, provider, held, news.dispute, "contradicting_verdicts")
            else:
                await note_agreement(p.store, p.clock, p.ids, of_payment(held.payment.id), news.dispute.reference)
            return Progress.APPLIED
        try:
            held, _ = await commit(p, held, decision, Cause("notification", detail=news.id))
        except WriteConflict:
            held = await load_payment(p, held.payment.tenant, held.payment.id)
    return None


async def _note_dispute(p: Payments, provider: str, held: Held, news: DisputeNews, what: str) -> None:
    payment = held.payment
    known = next((str(one.state) for one in payment.disputes if one.reference == news.reference), "no dispute")
    is_same_currency = news.amount.currency == payment.currency
    found = Contradiction(
        what=what,
        about=news.reference,
        provider=provider,
        merchant=payment.tenant,
        payment=payment.id,
        amount=max(news.amount.amount if is_same_currency else payment.amount, 0),
        currency=payment.currency,
        known=known,
        heard=f"{news.status} {news.amount.amount} {news.amount.currency}",
    )
    await note_contradiction(p.store, p.clock, p.ids, of_payment(payment.id), found)


async def _note_stranger(n: Notifications, stored: StoredNotification) -> None:
    """Money that was taken for something that has not become a payment of ours for long: somebody must ask whose it is."""
    news, p = stored.news, n.payments
    if news is None or p.clock.now() - stored.received_at < STRANGER_AFTER or not _took_money(news):
        return
    if await _find(n, stored.provider, news) is not None:
        return
    assert news.result is not None
    reference, amount = _stranger(news), news.result.amount
    found = Contradiction(
        what="unknown_payment",
        about=reference,
        provider=stored.provider,
        amount=amount.amount if amount is not None else 0,
        currency=amount.currency if amount is not None else "",
        known="no such payment",
        heard=f"{news.action} {news.result.outcome}",
        reference=reference,
    )
    await note_contradiction(p.store, p.clock, p.ids, of_stranger(stored.provider, reference), found)


async def _note_found(n: Notifications, stored: StoredNotification) -> None:
    """What was said of a stranger has become a payment's."""
    news, p = stored.news, n.payments
    if news is None or p.clock.now() - stored.received_at < STRANGER_AFTER or not _took_money(news):
        return
    reference = _stranger(news)
    await note_agreement(p.store, p.clock, p.ids, of_stranger(stored.provider, reference), reference)


def _took_money(news: Notification) -> bool:
    if news.result is None or news.result.outcome is not Outcome.APPROVED:
        return False
    return news.action in (Action.CAPTURE, Action.REFUND) or news.result.captured


def _stranger(news: Notification) -> str:
    """What all news of the same thing has in common, as far as it can be part of a key."""
    return next(one for one in (news.payment_id, news.provider_reference, news.id) if one and is_usable(one))


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Work)
