"""Findings kept up: events say which payments to look at, a look says what is so now.

An event is only a reason to look, so one that comes twice, late or out of order ends in the same findings. What is read for a
payment is its own history, unless the batch has all of it; a batch in which no money moved and nothing is open reads nothing but
the open findings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from msgspec.structs import replace

from interlock.core.desk.risk.books import SEEN_HERE, Books, Difference, look_at_books
from interlock.core.desk.risk.drift import Drift, speaks_of_drift, standing_drift
from interlock.core.desk.risk.model import Kind
from interlock.core.desk.risk.ports import Watch
from interlock.core.desk.risk.records import (
    BOOKS,
    OPEN_MAX,
    Finding,
    HeldFinding,
    end_writes,
    last_ended,
    open_findings,
    open_of,
    open_write,
)
from interlock.core.kernel import ids
from interlock.core.kernel.errors import Unavailable
from interlock.core.kernel.events import Event
from interlock.core.kernel.feed import Feed
from interlock.core.kernel.store import Store, whole_history
from interlock.core.ledger.verification import Report, verify
from interlock.core.payments.contradictions import PREFIX, of_payment
from interlock.core.payments.verification import payment_check

READS_MAX = 5
HISTORY_MAX = 200
"""Events of a payment that are read each time it moves. Beyond it the nightly proof is left to find what is wrong."""
MOVING = ("refund.", "dispute.", "payment.captured", "payment.succeeded", "payment.late_", "payment.reversal_")
"""Events of money that moved have these types, or a journal."""

PROOF_ONLY = "events_differ"
"""Code of what a proof finds of a payment and a look does not: its events, one for each version, and its snapshot."""


async def follow(w: Watch, events: Sequence[Event]) -> None:
    """Look at every payment that these events are a reason to look at. Safe to repeat; durable when it returns.

    Raises WriteConflict when somebody else looked at the same time: look again.
    """
    told: dict[str, list[Event]] = {}
    for event in events:
        subject = _subject(event)
        if subject is not None:
            told.setdefault(subject, []).append(event)
    opened = await open_findings(w.store)
    known = {one.subject for one in opened}
    for subject, its in told.items():
        if subject in known or (len(opened) >= OPEN_MAX and any(map(_is_reason, its))):
            await look_at(w, subject)
        elif any(map(_is_reason, its)):
            await _look_first(w, subject, its)


def _subject(event: Event) -> str | None:
    if event.aggregate.startswith(PREFIX):
        return event.aggregate.removeprefix(PREFIX)
    return event.aggregate if ids.is_id(event.aggregate, ids.PAYMENT) else None


def _is_reason(event: Event) -> bool:
    if event.aggregate.startswith(PREFIX) or speaks_of_drift(event):
        return True
    moves = event.type.startswith(MOVING) or b'"journal"' in bytes(event.facts)
    return moves and event.version <= HISTORY_MAX


async def look_at(w: Watch, subject: str, *, proof: Sequence[Difference] = ()) -> None:
    """Look at one payment, or at what a provider says of a stranger, and open and end findings.

    `proof` is what a proof found that is read wider than one payment. Raises WriteConflict, Unavailable: look again.
    """
    events, books = await _read(w.store, subject) if ids.is_id(subject, ids.PAYMENT) else ([], None)
    held = {(one.finding.kind, one.finding.about): one for one in await open_of(w.store, subject)}
    if books is not None:
        await _keep_books(w, events[0], books, held.get((Kind.NOT_POSTED, BOOKS)), proof)
    standing = await _standing(w.store, subject, events, books)
    for about, drift in standing.items():
        finding = _drift_finding(subject, about, drift, events[0].tenant if events else "")
        await _keep_drift(w, finding, held.get((Kind.DRIFT, about)))
    for (kind, about), one in held.items():
        if kind is Kind.DRIFT and about not in standing:
            await end(w, one)


async def _look_first(w: Watch, subject: str, told: Sequence[Event]) -> None:
    """Look at what nothing is open of, and open what is found.

    Of the journals those are looked for that came with these events. A provider's word against ours is one of these events, or
    was followed before and is over: without one, and with nothing in the payment's own events, there is no drift to look for.
    """
    own = {event.version: event for event in told if event.aggregate == subject}
    since = min((version for version, event in own.items() if _is_reason(event)), default=HISTORY_MAX)
    is_payment = ids.is_id(subject, ids.PAYMENT)
    events, books = await _read(w.store, subject, since_version=since, told=own) if is_payment else ([], None)
    if books is not None:
        await _keep_books(w, events[0], books, None, ())
    if any(event.aggregate != subject for event in told) or any(map(speaks_of_drift, events)):
        for about, drift in (await _standing(w.store, subject, events, books)).items():
            await _keep_drift(w, _drift_finding(subject, about, drift, events[0].tenant if events else ""), None)


async def _standing(store: Store, subject: str, events: Sequence[Event], books: Books | None) -> dict[str, Drift]:
    said = await store.history(of_payment(subject))
    payment = books.payment if books is not None else None
    return {f"{one.about}/{one.what}": one for one in standing_drift((*events, *said), payment)}


async def _read(
    store: Store, payment: str, *, since_version: int = 0, told: Mapping[int, Event] = MappingProxyType({})
) -> tuple[list[Event], Books | None]:
    """A payment's events, and its books as they stand with the last of them. No events: no books.

    `told` are events of it by version; if they are all there are, none is read.
    """
    events = [told[version] for version in sorted(told)]
    if not events or events[-1].version != len(events):  # one is missing
        events = await whole_history(store, payment)
    for _ in range(READS_MAX):
        if not events:
            return [], None
        if len(events) > HISTORY_MAX and since_version:
            return events, None
        books = await look_at_books(store, events, since_version=since_version)
        if books is not None:
            return events, books
        events = await whole_history(store, payment)
    raise Unavailable("the payment changes too fast to be looked at", retry_after_s=1)


async def prove(w: Watch, histories: Feed) -> Report:
    """Prove the whole ledger; make findings of what is wrong, and end those that stood before and are not found any more.

    Balances that are wrong are no payment's, and are not among them: the report says so. Raises Unavailable.
    """
    standing = await open_findings(w.store)
    report = await verify(w.store, histories, check_payment=payment_check(w.store))
    found: dict[str, list[Difference]] = {}
    for one in report.findings:
        if one.payment:
            said = f"{one.code.replace('_', ' ')} {one.subject}: {one.detail}"
            found.setdefault(one.payment, []).append(Difference(one.code, said, 0))
    for payment, differences in found.items():
        await look_at(w, payment, proof=differences)
    if report.more:
        return report  # what was not named may be there
    gone = {one.subject for one in standing if one.kind is Kind.NOT_POSTED} - found.keys()
    for subject in sorted(gone):
        _, books = await _read(w.store, subject)
        if books is not None and books.differences:
            continue  # it went wrong, or was found out, after the proof had passed it
        for held in await open_of(w.store, subject):
            if held.finding.kind is Kind.NOT_POSTED:
                await end(w, held)
    return report


async def end(w: Watch, held: HeldFinding) -> None:
    """A later look agrees."""
    ended = replace(held.finding, ended_at=w.clock.now())
    await w.store.commit(end_writes(held, ended))


async def _keep_books(
    w: Watch, first: Event, books: Books, held: HeldFinding | None, proof: Sequence[Difference]
) -> None:
    wider = [one for one in proof if one.code not in SEEN_HERE]
    if not books.differences:
        # It compares more of a payment than a look does.
        wider += [one._replace(code=PROOF_ONLY) for one in proof if one.code == "payment_differs"]
    differences = [*books.differences, *wider]
    if not differences:
        # What only a proof can find, only a proof can find gone.
        if held is not None and (proof or SEEN_HERE.issuperset(held.finding.codes)):
            await end(w, held)
        return
    payment = books.payment
    codes = {one.code for one in differences}
    if held is not None and not proof:
        codes |= set(held.finding.codes) - SEEN_HERE
    at_stake = max(one.amount for one in differences)
    finding = Finding(
        kind=Kind.NOT_POSTED,
        subject=first.aggregate,
        about=BOOKS,
        payment=first.aggregate,
        merchant=first.tenant,
        amount=at_stake or (payment.amount_captured if payment is not None else 0),
        currency=books.currency,
        since=w.clock.now() if held is None else held.finding.since,
        seen="",
        detail="; ".join(dict.fromkeys(one.detail for one in differences))[:1_000],
        codes=tuple(sorted(codes)),
        provider=payment.provider if payment is not None else None,
        reference=payment.reference if payment is not None else None,
    )
    if held is None:
        await w.store.commit([open_write(finding)])
        w.telemetry.error("payment.not_posted", payment_id=first.aggregate, tenant=first.tenant)
    elif held.finding != finding:
        await w.store.commit([open_write(finding, held.item_version)])


async def _keep_drift(w: Watch, finding: Finding, held: HeldFinding | None) -> None:
    if held is not None:
        if held.finding != finding:
            await w.store.commit([open_write(finding, held.item_version)])
        return
    ended = await last_ended(w.store, finding)
    if ended is not None and ended.ended_by and ended.seen == finding.seen:
        return  # explained, and nothing was said since
    await w.store.commit([open_write(finding)])
    w.telemetry.error("provider.drift_found", payment_id=finding.payment, provider=finding.provider or "none")


def _drift_finding(subject: str, about: str, drift: Drift, merchant: str) -> Finding:
    return Finding(
        kind=Kind.DRIFT,
        subject=subject,
        about=about,
        payment=subject if merchant else "",
        merchant=merchant,
        amount=drift.amount,
        currency=drift.currency,
        since=drift.since,
        seen=drift.seen,
        detail=drift.detail,
        provider=drift.provider,
        reference=drift.reference,
    )
