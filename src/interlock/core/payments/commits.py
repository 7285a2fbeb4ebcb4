"""A decision made durable: payment, journal, idempotency record and event in one transaction."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from interlock.core.kernel import ids
from interlock.core.kernel.events import Event
from interlock.core.kernel.idempotency import Request, record_write
from interlock.core.kernel.providers import CallReport
from interlock.core.kernel.store import Write
from interlock.core.ledger.records import encode_journal, journal_write
from interlock.core.payments.attention import attention_of
from interlock.core.payments.decisions import Decision
from interlock.core.payments.events import ABSENT, AnswerNote, Facts, Issuer, encode_facts
from interlock.core.payments.journals import journal_of
from interlock.core.payments.model import Attempt, Payment
from interlock.core.payments.ports import Payments
from interlock.core.payments.records import payment_write, refund_pointer
from interlock.core.payments.views import dispute_views, encode_view, payment_view, refund_view


class Reply(NamedTuple):
    """The answer to a request: what goes over the wire, byte for byte."""

    status: int
    body: bytes
    replayed: bool = False


class Held(NamedTuple):
    """A payment as read from, or written to, the store."""

    payment: Payment
    item_version: int


class Cause(NamedTuple):
    """Why a commit is made, for its facts."""

    kind: str
    """api, lookup, notification or sweeper."""
    request: Request | None = None
    report: CallReport | None = None
    attempt: str = ""
    detail: str = ""


class Claim(NamedTuple):
    """The idempotency record to write along with the first commit of a request."""

    request: Request
    request_id: str
    expected: int
    """Version of an expired record that is replaced, or ABSENT."""


async def commit(
    p: Payments, before: Held | None, decision: Decision, cause: Cause, claim: Claim | None = None
) -> tuple[Held, Reply | None]:
    """Write what was decided; the payment as it now stands, and the answer if this commit gives one.

    Raises WriteConflict if the payment or the idempotency record changed since it was read; see Store.commit for the rest.
    """
    p.telemetry.about(decision.payment.id)
    now = p.clock.now()
    item_version = before.item_version if before else 0
    payment = replace(
        decision.payment,
        version=(before.payment.version if before else 0) + 1,
        attempts=_marked(before.payment.attempts if before else (), decision.payment.attempts, p.release),
    )
    writes: list[Write] = []
    if claim is not None:
        record = record_write(
            claim.request, aggregate=payment.id, request_id=claim.request_id, now=now, expected=claim.expected
        )
        if record is not None:
            writes.append(record)
    writes.append(payment_write(payment, item_version))
    journal = None
    if decision.booking is not None:
        journal = journal_of(decision.booking, payment, journal_id=p.ids.new(ids.JOURNAL), at=now)
        writes.append(journal_write(journal))
    if decision.event == "refund.created" and decision.subject:
        writes.append(refund_pointer(payment.tenant, decision.subject, payment.id))
    members = _members(payment, decision.subject)
    note = AnswerNote(*decision.answer) if decision.answer else None
    facts = Facts(
        cause=cause.kind,
        actor=cause.request.actor if cause.request else "",
        request_id=cause.request.id if cause.request else "",
        attempt=cause.attempt,
        state=payment.state,
        detail=cause.detail or (cause.report.result.detail or "" if cause.report else ""),
        route=_route(payment, decision),
        exchanges=cause.report.exchanges if cause.report else (),
        journal=msgspec.Raw(encode_journal(journal)) if journal else ABSENT,
        answer=note,
        alarms=(*decision.alarms, *(cause.report.alarms if cause.report else ())),
        attention=attention_of(payment),
        issuer=_issuer(payment),
        releases=_releases(payment.attempts),
        learned=_learned(before.payment if before else None, payment),
    )
    event = Event(
        id=p.ids.new(ids.EVENT),
        type=decision.event,
        tenant=payment.tenant,
        aggregate=payment.id,
        version=payment.version,
        at=now,
        data=msgspec.Raw(_object(members)),
        facts=msgspec.Raw(encode_facts(facts)),
        trace=cause.request.trace if cause.request else "",
    )
    await p.store.commit(writes, (event,))
    for alarm in decision.alarms:  # those of the report have been raised where they were noticed
        p.telemetry.error(f"payment.{alarm}", payment_id=payment.id, attempt_id=cause.attempt, tenant=payment.tenant)
    reply = Reply(note.status, members[note.member]) if note else None
    return Held(payment, item_version + 1), reply


async def note(p: Payments, held: Held, attempt: Attempt) -> Held:
    """Write an attempt's book-keeping, its deadline say: no state changes, so there is no event. Raises as `commit` does."""
    payment = replace(held.payment, attempts=held.payment.with_attempt(attempt))
    await p.store.commit([payment_write(payment, held.item_version)])
    return Held(payment, held.item_version + 1)


def _members(payment: Payment, subject: str | None) -> dict[str, bytes]:
    """The event's data: the payment, and the refund or dispute the event is about."""
    members = {"payment": encode_view(payment_view(payment))}
    if subject is None:
        return members
    refund = payment.refund(subject)
    if refund is not None:
        return {"refund": encode_view(refund_view(payment, refund)), **members}
    dispute = next(view for view in dispute_views(payment) if view.id == subject)
    return {"dispute": encode_view(dispute), **members}


def _marked(before: tuple[Attempt, ...], after: tuple[Attempt, ...], release: str) -> tuple[Attempt, ...]:
    """The attempts; those that begin with this commit know which release they began under."""
    if len(after) == len(before) or not release:
        return after
    return (*after[: len(before)], *(replace(attempt, release=release) for attempt in after[len(before) :]))


def _issuer(payment: Payment) -> Issuer | None:
    card = payment.card
    return Issuer(card.country, card.bin) if card is not None and (card.country or card.bin) else None


def _releases(attempts: tuple[Attempt, ...]) -> tuple[tuple[int, str], ...]:
    found: list[tuple[int, str]] = []
    for place, attempt in enumerate(attempts):
        if attempt.release != (found[-1][1] if found else ""):
            found.append((place, attempt.release))
    return tuple(found)


def _learned(before: Payment | None, after: Payment) -> str:
    """A provider's id of the payment that is new with this commit; of the provider that was asked, not of the latest."""
    known = {(attempt.provider, attempt.provider_reference) for attempt in before.attempts} if before else ()
    for attempt in after.attempts:
        if attempt.provider_reference is not None and (attempt.provider, attempt.provider_reference) not in known:
            return f"{attempt.provider}:{attempt.provider_reference}"
    return ""


def _object(members: dict[str, bytes]) -> bytes:
    return b"{" + b",".join(b'"%b":%b' % (name.encode(), body) for name, body in members.items()) + b"}"


def _route(payment: Payment, decision: Decision) -> str:
    attempt = payment.attempt(decision.call) if decision.call else None
    return f"{attempt.provider}: {attempt.reason}" if attempt else ""
