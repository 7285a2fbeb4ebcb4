"""Finishing what was left open: by deadline, through an index, one payment at a time, never by sending blindly.

An attempt is looked up at its provider before anything else. Only when the provider does not know it, and has had time
enough to, is it over (authorise) or sent again under the same key (capture, void, refund).
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from interlock.core.kernel import ids
from interlock.core.kernel.clock import HOUR, MINUTE, Millis
from interlock.core.kernel.errors import WriteConflict
from interlock.core.kernel.providers import Action, CallReport, Outcome, Result
from interlock.core.kernel.store import Item
from interlock.core.payments.calls import perform, record_result
from interlock.core.payments.commits import Cause, Held, commit, note
from interlock.core.payments.contradictions import contradiction_of, note_contradiction, of_payment
from interlock.core.payments.decisions import expire
from interlock.core.payments.handlers import load_payment
from interlock.core.payments.model import FINAL_OUTCOMES, Attempt, Payment, decode_payment
from interlock.core.payments.news import retry_time
from interlock.core.payments.operations import lookup_of
from interlock.core.payments.ports import Payments
from interlock.core.payments.records import DUE_INDEX, DUE_SHARDS, due_until, next_due, payment_key
from interlock.core.payments.reversals import is_given_back
from interlock.core.payments.states import State

MISMATCHES = frozenset({"amount_mismatch", "reference_mismatch"})
"""Alarms of a lookup that says of something else than was asked about."""
RESENDS_MAX = 5
KEY_LIFETIME_MARGIN: Millis = 5 * MINUTE
"""A resend must be over well before the provider forgets the key."""


class Swept(NamedTuple):
    payment_id: str
    finished: bool
    """Nothing is due any more, or it is due later."""


class Looked(NamedTuple):
    payment: Payment
    """As it stands now."""
    asked: int
    """Attempts that a provider was asked about."""
    unsaid: tuple[str, ...]
    """For each attempt of which nothing could be learned: why."""

    @property
    def is_uncertain(self) -> bool:
        """Whether money may still have moved without our knowing."""
        return any(attempt.outcome in (None, Outcome.UNKNOWN) for attempt in self.payment.attempts)


async def due_payments(p: Payments, *, limit: int = 100) -> list[Item]:
    """Payments whose time has come, the longest overdue of each shard first."""
    until = due_until(p.clock.now())
    found: list[Item] = []
    for shard in range(DUE_SHARDS):
        page = await p.store.query_index(DUE_INDEX, f"due/{shard}", upto=until, limit=limit)
        found.extend(page.items)
    return found


async def oldest_unknown_s(p: Payments, *, look_at: int = 200) -> float:
    """Age in seconds of the oldest attempt whose outcome is unknown, among those that are looked into soonest."""
    now = p.clock.now()
    oldest = now
    for shard in range(DUE_SHARDS):
        page = await p.store.query_index(DUE_INDEX, f"due/{shard}", upto=due_until(now + HOUR), limit=look_at)
        for item in page.items:
            for attempt in decode_payment(item.value).attempts:
                if attempt.outcome is Outcome.UNKNOWN:
                    oldest = min(oldest, attempt.started_at)
    return (now - oldest) / 1000


async def sweep_payment(p: Payments, item: Item) -> Swept:
    """Do the one thing that is due for this payment. Safe to run on any number of workers at once."""
    fresh = await p.store.get(item.key)  # the index may lag
    if fresh is None:
        return Swept("", True)
    held = Held(decode_payment(fresh.value), fresh.version)
    payment, now = held.payment, p.clock.now()
    due = next_due(payment)
    if due is None or due > now:
        return Swept(payment.id, True)
    try:
        attempt = _first_due(payment, now)
        if attempt is not None:
            await _look_into(p, await _lease(p, held, attempt, now), attempt.id)
        else:
            await _expire(p, held, now)
    except WriteConflict:
        return Swept(payment.id, False)  # somebody else is at it
    return Swept(payment.id, True)


async def look_now(p: Payments, tenant: str, payment_id: str) -> Looked:
    """Ask about everything that is open, whether its time has come or not. Raises NotFound.

    Left alone is only a request that may still be on its way. Safe beside the sweeper and whoever else looks: each look begins
    with a lease, and who lost theirs writes nothing. Without news the next look stays when it was.
    """
    open_ids = [
        attempt.id
        for attempt in (await load_payment(p, tenant, payment_id)).payment.attempts
        if attempt.deadline is not None
    ]
    asked, unsaid = 0, []
    for attempt_id in open_ids:
        held, now = await load_payment(p, tenant, payment_id), p.clock.now()
        attempt = held.payment.attempt(attempt_id)
        if attempt is None or attempt.deadline is None:
            continue
        if attempt.outcome is None and now < _last_sent(attempt, p):
            unsaid.append("it was sent a moment ago, and the answer may be on its way")
            continue
        try:
            leased = await _lease(p, held, attempt, now)
            asked += 1
            report = await _look_into(p, leased, attempt.id, before=attempt if now < attempt.deadline else None)
        except WriteConflict:
            unsaid.append("somebody else is looking into it")
            continue
        if report.result.outcome is Outcome.UNKNOWN:
            unsaid.append(f"{attempt.provider} did not say ({report.result.detail or 'no answer'})")
        elif report.result.outcome is Outcome.NOT_SENT:
            unsaid.append(f"{attempt.provider} does not know it")
    stored = await p.store.get(payment_key(tenant, payment_id)) if not open_ids else None
    if stored is not None:
        await sweep_payment(p, stored)  # an authorisation that has expired
    return Looked((await load_payment(p, tenant, payment_id)).payment, asked, tuple(unsaid))


def _first_due(payment: Payment, now: Millis) -> Attempt | None:
    due = [attempt for attempt in payment.attempts if attempt.deadline is not None and attempt.deadline <= now]
    return min(due, key=lambda attempt: attempt.deadline or 0, default=None)


async def _lease(p: Payments, held: Held, attempt: Attempt, now: Millis) -> Held:
    """Keep others away for a while. Raises WriteConflict if another worker was faster."""
    until = max(now + p.timing.lease_ms, attempt.deadline or 0)  # never sooner: a payer may have until then to act
    leased = replace(attempt, deadline=until, lookups=attempt.lookups + 1)
    return await note(p, held, leased)


async def _look_into(p: Payments, held: Held, attempt_id: str, *, before: Attempt | None = None) -> CallReport:
    """`before`: the attempt as it stood, when its time has not come."""
    attempt = held.payment.attempt(attempt_id)
    assert attempt is not None
    asked_at = p.clock.now()
    report = await p.gateway.call(attempt.provider, lookup_of(held.payment, attempt))
    heard = report.result.outcome
    p.telemetry.count("interlock_sweeper_lookups_total", provider=attempt.provider, outcome=heard.value)
    if not attempt.is_open:
        await _ask_again(p, held, attempt, report)
    elif heard is Outcome.NOT_SENT:
        await _not_found(p, held, attempt, report, asked_at)
    elif heard is attempt.outcome or (heard is Outcome.UNKNOWN and attempt.outcome is not None):
        await _no_news(p, held, attempt, report, before)
    else:
        held, _, call = await record_result(p, held, attempt.id, report, Cause("lookup", None, report, attempt.id))
        if call is not None:
            await perform(p, held, call, None)
    return report


async def _ask_again(p: Payments, held: Held, attempt: Attempt, report: CallReport) -> None:
    """Something contradicted the last word on this attempt while its provider did not say which of both is true."""
    heard = report.result.outcome
    if heard not in FINAL_OUTCOMES:
        later = retry_time(attempt, Outcome.UNKNOWN, p.clock.now(), p.timing)
        await note(p, held, replace(attempt, deadline=later))
        return
    if heard is not Outcome.NOT_SENT:
        cause = Cause("lookup", None, report, attempt.id)
        held, _, call = await record_result(p, held, attempt.id, report, cause, once=True)
        if call is not None:
            await perform(p, held, call, None)
            return
    known = held.payment.attempt(attempt.id)
    if known is not None and known.deadline is not None:  # it was no news
        await note(p, held, replace(known, deadline=None))


async def _no_news(p: Payments, held: Held, attempt: Attempt, report: CallReport, before: Attempt | None) -> None:
    """Nothing new: look again later, or end a wait for a payer who does not come."""
    for what in set(report.alarms) & MISMATCHES:
        amount = report.result.amount
        said = "another reference" if amount is None else f"{amount.amount} {amount.currency}"
        known = f"{attempt.amount} {held.payment.currency}"
        found = contradiction_of(held.payment, attempt, what, known, said)
        await note_contradiction(p.store, p.clock, p.ids, of_payment(held.payment.id), found)
    if before is not None:
        await note(p, held, before)
        return
    now, heard = p.clock.now(), report.result.outcome
    if report.result.detail == "breaker_open":
        # We did not ask at all: that was no look, and makes no pause grow.
        attempt = replace(attempt, lookups=attempt.lookups - 1)
    assert attempt.outcome is not None
    look_at = retry_time(attempt, attempt.outcome, now, p.timing)
    if attempt.outcome is Outcome.REQUIRES_ACTION and held.payment.state is State.REQUIRES_ACTION:
        if heard is Outcome.REQUIRES_ACTION:
            await _abandon(p, held, attempt, now)
            return
        # The payer may have acted meanwhile: without an answer, nobody may say they did not.
        look_at = retry_time(attempt, heard, now, p.timing)
    await note(p, held, replace(attempt, deadline=look_at))


async def _abandon(p: Payments, held: Held, attempt: Attempt, now: Millis) -> None:
    """The payer did not act in time: release what the provider may hold."""
    quiet = replace(attempt, deadline=now + p.timing.action_ms)
    payment = replace(held.payment, attempts=held.payment.with_attempt(quiet))
    decision = expire(payment, request=p.ids.new(ids.REQUEST), new_id=p.ids.new, now=now, timing=p.timing)
    decision = decision._replace(payment=replace(decision.payment, cancel_reason="abandoned"))
    held, _ = await commit(
        p, held, decision, Cause("sweeper", attempt=decision.call or "", detail="action not completed")
    )
    assert decision.call is not None
    await perform(p, held, decision.call, None)


async def _not_found(p: Payments, held: Held, attempt: Attempt, report: CallReport, asked_at: Millis) -> None:
    """The provider did not know the attempt. Believe it only if a request on its way must have arrived when it was asked,
    which may be long ago for a worker that slept."""
    now = p.clock.now()
    can = p.gateway.capabilities(attempt.provider)
    settled_at = _last_sent(attempt, p) + can.lookup_settles_after_ms
    if asked_at < settled_at:
        await note(p, held, replace(attempt, deadline=max(settled_at, now)))
        return
    key_is_good = now + KEY_LIFETIME_MARGIN < attempt.started_at + can.idempotency_key_lifetime_ms
    needless = attempt.reverses and is_given_back(held.payment, attempt)
    if attempt.operation is not Action.AUTHORIZE and key_is_good and attempt.resends < RESENDS_MAX and not needless:
        again = replace(attempt, resends=attempt.resends + 1, sent_at=now, deadline=now + p.timing.attempt_ms)
        held = await note(p, held, again)
        await perform(p, held, attempt.id, None, resend=True)
        return
    never = Result(Outcome.NOT_SENT, detail="the provider does not know the attempt")
    over = CallReport(never, report.exchanges, report.alarms)
    await record_result(p, held, attempt.id, over, Cause("lookup", None, over, attempt.id))


def _last_sent(attempt: Attempt, p: Payments) -> Millis:
    """The latest moment at which a request for this attempt may have left: nobody sends so late that it is not over by then."""
    return max(attempt.started_at, attempt.sent_at) + p.timing.attempt_ms


async def _expire(p: Payments, held: Held, now: Millis) -> None:
    decision = expire(held.payment, request=p.ids.new(ids.REQUEST), new_id=p.ids.new, now=now, timing=p.timing)
    held, _ = await commit(
        p, held, decision, Cause("sweeper", attempt=decision.call or "", detail="authorisation expired")
    )
    assert decision.call is not None
    await perform(p, held, decision.call, None)
