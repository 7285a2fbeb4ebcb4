"""The desk's rows, folded from events: a moment behind the truth, and rebuildable from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from interlock.core.desk.figures.model import (
    ATTEMPTS,
    DESK,
    MERCHANTS,
    PAYMENTS,
    POINTERS,
    AttemptRow,
    PaymentRow,
    Pointer,
    card_day,
    encode_pointer,
    encode_row,
    slot_of,
    speed_of,
)
from interlock.core.desk.figures.remembering import recount
from interlock.core.kernel.clock import Millis, parse_rfc3339, utc_day
from interlock.core.kernel.documents import Document, Documents, Scalar
from interlock.core.kernel.events import Event
from interlock.core.kernel.providers import Action
from interlock.core.payments.attention import Attention
from interlock.core.payments.events import Issuer, release_of

NAMED = ("refund.", "dispute.")
"""Events whose subjects have an id of their own."""
ABOUT_PAYMENTS = ("payment.", *NAMED)


class _Card(msgspec.Struct):
    brand: str
    last4: str


class _Method(msgspec.Struct):
    type: str
    card: _Card | None


class _Code(msgspec.Struct):
    code: str


class _Id(msgspec.Struct):
    id: str


class _Attempt(msgspec.Struct):
    id: str
    provider: str
    operation: str
    outcome: str | None
    decline: _Code | None
    started_at: str
    finished_at: str | None


class _Snapshot(msgspec.Struct):
    id: str
    status: str
    amount: int
    currency: str
    amount_captured: int
    amount_refunded: int
    amount_disputed: int
    provider: str | None
    customer: str | None
    reference: str | None
    payment_method: _Method | None
    decline: _Code | None
    attempts: list[_Attempt]
    refunds: list[_Id]
    disputes: list[_Id]
    created_at: str


class _Data(msgspec.Struct):
    payment: _Snapshot


class _Facts(msgspec.Struct):
    state: str = ""
    attempt: str = ""
    detail: str = ""
    attention: Mapping[str, int] = {}
    issuer: Issuer = Issuer()
    releases: tuple[tuple[int, str], ...] = ()


async def project(documents: Documents, events: Sequence[Event]) -> None:
    """Bring the rows up to these events. Safe to repeat, in any order."""
    payments: dict[str, Document] = {}
    attempts: list[Document] = []
    merchants: dict[str, Document] = {}
    pointers: list[Document] = []
    for event in events:
        if not event.type.startswith(ABOUT_PAYMENTS):
            continue
        snapshot, facts = _data.decode(event.data).payment, _facts.decode(event.facts)
        known = payments.get(event.aggregate)
        if known is None or known.version < event.version:
            payments[event.aggregate] = _payment(event, snapshot, facts)
        concerned = next((one for one in snapshot.attempts if one.id == facts.attempt), None)
        if concerned is not None and concerned.outcome is not None:
            attempts.append(_attempt(event, _row(event, snapshot, concerned, facts)))
        if event.type.startswith(NAMED):
            pointers += [_pointer(one.id, event) for one in (*snapshot.refunds, *snapshot.disputes)]
        if event.version == 1:
            merchants[event.tenant] = Document(event.tenant, DESK, 1, {}, b"{}")
    if payments:
        await documents.upsert(PAYMENTS.name, list(payments.values()))
    if attempts:
        await documents.upsert(ATTEMPTS.name, attempts)
        await recount(documents, [one.id for one in attempts])
    if pointers:
        await documents.upsert(POINTERS.name, pointers)
    if merchants:
        await documents.upsert(MERCHANTS.name, list(merchants.values()))


def _payment(event: Event, snapshot: _Snapshot, facts: _Facts) -> Document:
    method = snapshot.payment_method
    card = method.card if method else None
    created_at = parse_rfc3339(snapshot.created_at)
    row = PaymentRow(
        id=event.aggregate,
        merchant=event.tenant,
        status=snapshot.status,
        state=facts.state,
        amount=snapshot.amount,
        currency=snapshot.currency,
        created_at=created_at,
        updated_at=event.at,
        captured=snapshot.amount_captured,
        refunded=snapshot.amount_refunded,
        disputed=snapshot.amount_disputed,
        provider=snapshot.provider,
        reference=snapshot.reference,
        customer=snapshot.customer,
        method=method.type if method else None,
        brand=card.brand if card else None,
        last4=card.last4 if card else None,
        country=facts.issuer.country,
        bin=facts.issuer.bin,
        version=_latest_version(snapshot, facts),
        decline=snapshot.decline.code if snapshot.decline else None,
        attempts=len(snapshot.attempts),
        attention=facts.attention,
    )
    fields: dict[str, Scalar | None] = {
        "merchant": row.merchant,
        "status": row.status,
        "provider": row.provider,
        "reference": row.reference,
        "customer": row.customer,
        "card": card_day(last4=card.last4, amount=row.amount, day=utc_day(created_at)) if card else None,
        "attention": next((kind for kind in Attention if kind in row.attention), None),
        "currency": row.currency,
        "amount": row.amount,
        "method": row.method,
    }
    return Document(row.id, DESK, event.version, _given(fields), encode_row(row))


def finished_attempts(events: Iterable[Event]) -> list[AttemptRow]:
    """Attempts that these events brought to an outcome: one that has another one later is there again."""
    found = []
    for event in events:
        if event.type.startswith(ABOUT_PAYMENTS):
            snapshot, facts = _data.decode(event.data).payment, _facts.decode(event.facts)
            concerned = next((one for one in snapshot.attempts if one.id == facts.attempt), None)
            if concerned is not None and concerned.outcome is not None:
                found.append(_row(event, snapshot, concerned, facts))
    return found


def _latest_version(snapshot: _Snapshot, facts: _Facts) -> str | None:
    tries = [place for place, one in enumerate(snapshot.attempts) if one.operation == Action.AUTHORIZE]
    return release_of(facts.releases, tries[-1]) if tries else None


def _row(event: Event, snapshot: _Snapshot, attempt: _Attempt, facts: _Facts) -> AttemptRow:
    method = snapshot.payment_method
    started_at = parse_rfc3339(attempt.started_at)
    finished_at: Millis = parse_rfc3339(attempt.finished_at) if attempt.finished_at else event.at
    declined = attempt.decline.code if attempt.decline else None
    return AttemptRow(
        id=attempt.id,
        started_at=started_at,
        merchant=event.tenant,
        provider=attempt.provider,
        operation=attempt.operation,
        outcome=attempt.outcome or "",
        currency=snapshot.currency,
        amount=snapshot.amount,
        method=method.type if method else None,
        brand=method.card.brand if method and method.card else None,
        error=declined or (facts.detail or None if attempt.outcome in ("unknown", "not_sent") else None),
        duration_ms=finished_at - started_at,
        country=facts.issuer.country,
        bin=facts.issuer.bin,
        version=release_of(facts.releases, snapshot.attempts.index(attempt)),
    )


def _attempt(event: Event, row: AttemptRow) -> Document:
    fields: dict[str, Scalar | None] = {
        "slot": slot_of(row.started_at),
        "merchant": row.merchant,
        "provider": row.provider,
        "operation": row.operation,
        "method": row.method,
        "brand": row.brand,
        "outcome": row.outcome,
        "error": row.error,
        "speed": speed_of(row.duration_ms),
        "currency": row.currency,
        "amount": row.amount,
        "duration_ms": row.duration_ms,
        "country": row.country,
        "bin": row.bin,
        "version": row.version,
    }
    return Document(row.id, DESK, event.version, _given(fields), encode_pointer(Pointer(event.tenant, event.aggregate)))


def _pointer(id: str, event: Event) -> Document:
    return Document(id, DESK, event.version, {}, encode_pointer(Pointer(event.tenant, event.aggregate)))


def _given(fields: Mapping[str, Scalar | None]) -> dict[str, Scalar]:
    return {name: value for name, value in fields.items() if value is not None}


_data = msgspec.json.Decoder(_Data)
_facts = msgspec.json.Decoder(_Facts)
