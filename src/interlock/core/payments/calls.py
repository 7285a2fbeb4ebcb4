"""Carrying out an attempt: the provider's call between the two commits, and every way its result comes in."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from interlock.core.kernel.errors import OutcomeUnknown, RequestInFlight, Unavailable, WriteConflict
from interlock.core.kernel.idempotency import Request
from interlock.core.kernel.providers import Action, CallReport, Outcome
from interlock.core.kernel.store import Store
from interlock.core.payments.commits import Cause, Held, Reply, commit, note
from interlock.core.payments.contradictions import contradiction_of, note_agreement, note_contradiction, of_payment
from interlock.core.payments.events import decode_facts
from interlock.core.payments.model import Attempt, Payment, decode_payment
from interlock.core.payments.news import Failover, News
from interlock.core.payments.operations import lookup_of, operation_of
from interlock.core.payments.outcomes import apply_result
from interlock.core.payments.ports import Payments
from interlock.core.payments.records import payment_key
from interlock.core.routing.model import Choice, Wanted, choose

SEND_WITHIN_SHARE = 8
"""An attempt is sent within this share of its time, or left to the sweeper: the rest is for the longest call there is."""
RECORD_TRIES_MAX = 20
"""How often a result that lost a race is applied to the payment's newer state."""


async def perform(p: Payments, held: Held, attempt_id: str, request: Request | None, *, resend: bool = False) -> Reply:
    """Carry out a recorded attempt, and those that follow from its result; the answer of the request.

    If this is interrupted at any point, the attempt's deadline brings the sweeper, which finishes the story.
    """
    cause = "api" if request is not None else "sweeper"
    next_attempt: str | None = attempt_id
    reply: Reply | None = None
    while next_attempt is not None:
        attempt = held.payment.attempt(next_attempt)
        assert attempt is not None
        _refuse_if_late(p, attempt)
        report = await p.gateway.call(attempt.provider, operation_of(held.payment, attempt), resend=resend)
        elsewhere = request is not None and report.result.outcome in (Outcome.DECLINED, Outcome.NOT_SENT)
        failover = await failover_of(p, held.payment, attempt) if elsewhere else None
        held, answered, next_attempt = await record_result(
            p, held, attempt.id, report, Cause(cause, request, report, attempt.id), failover
        )
        reply = answered or reply
        resend = False
    if reply is not None:
        return reply
    if request is None:
        return Reply(200, b"")
    answer = await stored_answer(p.store, held.payment.id, _request_of(held.payment, attempt_id))
    if answer is None:
        raise RequestInFlight("the operation goes on; repeat with the same key for its result")
    return answer._replace(replayed=False)  # a notification was faster, and answered for us


def _refuse_if_late(p: Payments, attempt: Attempt) -> None:
    """A worker that slept after it recorded the attempt must not send it: the sweeper may have given it up by now."""
    if p.clock.now() > max(attempt.started_at, attempt.sent_at) + p.timing.attempt_ms // SEND_WITHIN_SHARE:
        raise RequestInFlight("the operation was not sent in time and is being looked into", retry_after_s=5)


async def record_result(
    p: Payments,
    held: Held,
    attempt_id: str,
    report: CallReport,
    cause: Cause,
    failover: Failover | None = None,
    *,
    once: bool = False,
) -> tuple[Held, Reply | None, str | None]:
    """Write what a provider said into the payment; its present state, the answer if there is one, the attempt to go on with.

    Applied to the newest state however often it changes meanwhile; no news changes nothing, so this is safe to repeat.
    With `once` it is applied to the payment as held, and raises WriteConflict if that has changed.
    """
    asked_at, meant = 0, held.payment.attempt(attempt_id)
    for _ in range(RECORD_TRIES_MAX):
        attempt = held.payment.attempt(attempt_id)
        if attempt is None:
            return held, None, None
        if report.result.outcome is Outcome.NOT_SENT and attempt != meant:
            return (
                held,
                None,
                None,
            )  # that one request was not sent; somebody else has been at it since, and may have sent one
        doubtful = contradicts_last_word(attempt, report.result.outcome)
        if doubtful and not once and asked_at != held.item_version:
            # A provider that is asked again under a key it knows repeats what was true the first time.
            said = await _asked_about(p, held.payment, attempt, report)
            if said is None:
                if await _left_for_later(p, held, attempt):
                    return held, None, None
                held = await _reload(p, held.payment)
                continue
            asked_at, report, cause = held.item_version, said, cause._replace(report=said)
        news = News(
            result=report.result,
            now=p.clock.now(),
            timing=p.timing,
            new_id=p.ids.new,
            failover=failover,
            authorization_lifetime_ms=p.gateway.capabilities(attempt.provider).authorization_lifetime_ms,
        )
        decision = apply_result(held.payment, attempt, news)
        if decision is None:
            await _note_last_word(p, held.payment, attempt, report)
            return held, None, None
        try:
            held, reply = await commit(p, held, decision, cause)
        except (WriteConflict, OutcomeUnknown):
            if once:
                raise
            held = await _reload(p, held.payment)
            if decision.call is not None and held.payment.attempt(decision.call) is not None:
                return held, None, decision.call  # it is written, with the attempt that nobody but us will make now
            continue
        return held, reply, decision.call
    raise Unavailable("the payment is changing too fast to record a result", retry_after_s=2)


def contradicts_last_word(attempt: Attempt, heard: Outcome) -> bool:
    """Whether this would turn a yes into a no, or a no into a yes. Which of both is true now, only the provider can say."""
    if attempt.is_open or heard not in (Outcome.APPROVED, Outcome.DECLINED):
        return False
    return (attempt.outcome is Outcome.APPROVED) != (heard is Outcome.APPROVED)


async def _asked_about(p: Payments, payment: Payment, attempt: Attempt, report: CallReport) -> CallReport | None:
    """What the provider says now of an attempt; None if it does not say."""
    now = await p.gateway.call(attempt.provider, lookup_of(payment, attempt))
    if now.result.outcome not in (Outcome.APPROVED, Outcome.DECLINED):
        return None
    return CallReport(now.result, (*report.exchanges, *now.exchanges), (*report.alarms, *now.alarms))


async def _left_for_later(p: Payments, held: Held, attempt: Attempt) -> bool:
    """Have the sweeper ask; the last word stands until then. False if the payment has changed meanwhile."""
    try:
        await note(p, held, replace(attempt, deadline=p.clock.now() + p.timing.unknown_first_ms))
    except (WriteConflict, OutcomeUnknown):
        return False
    return True


async def failover_of(p: Payments, payment: Payment, attempt: Attempt) -> Failover | None:
    """How the next provider is chosen after this attempt; None when nothing may be tried elsewhere."""
    if attempt.operation is not Action.AUTHORIZE or payment.wanted_provider is not None:
        return None
    rules, off = await p.rules.of(payment.tenant), await p.rules.switched_off()

    def next_provider(now: Payment) -> Choice:
        tried = [known.provider for known in now.attempts if known.operation is Action.AUTHORIZE]
        wanted = Wanted(Action.AUTHORIZE, now.method_type, now.currency, rule=now.wanted_rule)
        return choose(wanted, rules=rules, roster=p.gateway, tried=tried, off=off)

    return next_provider


async def stored_answer(store: Store, aggregate: str, request_id: str) -> Reply | None:
    """The answer an earlier commit gave to a request: the snapshot in its event."""
    version = 0
    while events := await store.history(aggregate, after_version=version):
        for event in events:
            note = decode_facts(event.facts).answer
            if note is not None and note.request == request_id:
                return Reply(note.status, bytes(_members.decode(event.data)[note.member]), replayed=True)
        version = events[-1].version
    return None


async def _reload(p: Payments, payment: Payment) -> Held:
    item = await p.store.get(payment_key(payment.tenant, payment.id))
    assert item is not None, "a payment is never deleted"
    return Held(decode_payment(item.value), item.version)


def _request_of(payment: Payment, attempt_id: str) -> str:
    attempt = payment.attempt(attempt_id)
    return attempt.request if attempt else ""


async def _note_last_word(p: Payments, payment: Payment, attempt: Attempt, report: CallReport) -> None:
    """Two final words that differ, and no rule to reconcile them: a person must look. Or the same again: then nobody must."""
    heard = report.result.outcome
    final = (Outcome.APPROVED, Outcome.DECLINED)
    if heard not in final or attempt.outcome not in final or attempt.released:
        return
    where = of_payment(payment.id)
    if heard is attempt.outcome:
        await note_agreement(p.store, p.clock, p.ids, where, attempt.id)
        return
    p.telemetry.error(
        "payment.contradicting_outcomes",
        payment_id=payment.id,
        attempt_id=attempt.id,
        known=str(attempt.outcome),
        heard=str(heard),
    )
    found = contradiction_of(payment, attempt, "contradicting_outcomes", str(attempt.outcome), str(heard))
    await note_contradiction(p.store, p.clock, p.ids, where, found)


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
