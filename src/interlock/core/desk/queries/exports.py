"""From committed events to rows. What is not named here does not leave: no token, no metadata, no exchange's body, no address.

Texts that merchants and providers choose are looked through for card numbers, which are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from interlock.core.access.audit import AUDIT_RECORDED
from interlock.core.desk.queries.tables import Row, Value
from interlock.core.kernel.cards import bin_of, country_of
from interlock.core.kernel.clock import Millis, parse_rfc3339
from interlock.core.kernel.events import Event
from interlock.core.ledger.records import journal_of
from interlock.core.payments.events import Issuer, release_of

TEXT_MAX = 200
"""Characters of a text that somebody else chose."""
CARD_NUMBER = "[card number]"
ABOUT_PAYMENTS = ("payment.", "refund.", "dispute.")
_DIGITS = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)", re.ASCII)

Rows = dict[str, list[Row]]
"""Table -> its rows."""


class _Card(msgspec.Struct):
    brand: str
    last4: str


class _Method(msgspec.Struct):
    card: _Card | None = None


class _Decline(msgspec.Struct):
    kind: str
    code: str
    retry: str = ""
    network_code: str | None = None


class _Attempt(msgspec.Struct):
    id: str
    provider: str
    operation: str
    outcome: str | None
    decline: _Decline | None
    started_at: str
    finished_at: str | None


class _Refund(msgspec.Struct):
    id: str
    amount: int
    status: str
    reason: str | None
    failure: str | None
    created_at: str
    updated_at: str


class _Dispute(msgspec.Struct):
    id: str
    amount: int
    status: str
    reason: str
    opened_at: str
    updated_at: str


class _Payment(msgspec.Struct):
    """The members of a snapshot that are exported."""

    id: str
    status: str
    amount: int
    currency: str
    amount_authorized: int
    amount_captured: int
    amount_refunded: int
    amount_disputed: int
    capture_method: str
    provider: str | None
    customer: str | None
    reference: str | None
    payment_method: _Method | None
    decline: _Decline | None
    cancel_reason: str | None
    attempts: list[_Attempt]
    captures: list[msgspec.Raw]
    refunds: list[_Refund]
    disputes: list[_Dispute]
    version: int
    created_at: str
    updated_at: str
    authorization_expires_at: str | None = None


class _Data(msgspec.Struct):
    payment: _Payment


class _Exchange(msgspec.Struct):
    method: str
    phase: str
    started_at: Millis
    duration_ms: float
    status: int | None = None
    fault: str | None = None


class _Facts(msgspec.Struct):
    cause: str = ""
    actor: str = ""
    request_id: str = ""
    attempt: str = ""
    state: str = ""
    detail: str = ""
    route: str = ""
    exchanges: tuple[_Exchange, ...] = ()
    alarms: tuple[str, ...] = ()
    attention: dict[str, int] = {}
    issuer: Issuer = Issuer()
    releases: tuple[tuple[int, str], ...] = ()


def rows_of(events: Sequence[Event]) -> Rows:
    """What these events say, as rows of the tables. Safe to repeat, in any order: the same event gives the same rows.

    Raises ValueError for a payment's event that does not hold what such an event holds.
    """
    rows: Rows = {}
    newest: dict[str, tuple[Event, _Payment, _Facts]] = {}
    for event in events:
        if not event.type.startswith(ABOUT_PAYMENTS):
            _add(rows, "events", _other_event(event))
            continue
        payment, facts = _data.decode(event.data).payment, _facts.decode(event.facts)
        _add(rows, "events", _event(event, facts, payment.provider))
        _add(rows, "payment_versions", _payment_version(event, payment, facts))
        rows.setdefault("exchanges", []).extend(_exchanges(event, payment, facts))
        _book(rows, event)
        known = newest.get(payment.id)
        if known is None or known[1].version < payment.version:
            newest[payment.id] = event, payment, facts
    # A snapshot holds all that was ever asked of providers: of each payment only its newest one is taken apart.
    for event, payment, facts in newest.values():
        rows.setdefault("attempts", []).extend(_attempts(event, payment, facts))
        rows.setdefault("refunds", []).extend(_refunds(event, payment))
        rows.setdefault("disputes", []).extend(_disputes(event, payment))
    return {table: found for table, found in rows.items() if found}


def without_card_numbers(text: str | None, *, most: int = TEXT_MAX) -> str | None:
    """`text`, cut to so many characters, with whatever passes for a card number replaced."""
    if text is None:
        return None
    return _DIGITS.sub(lambda found: CARD_NUMBER if _is_card_number(found[0]) else found[0], text)[:most]


def _event(event: Event, facts: _Facts, provider: str | None) -> Row:
    return _event_row(
        event,
        cause=facts.cause,
        actor=facts.actor,
        state=facts.state,
        detail=facts.detail,
        route=facts.route,
        attempt=facts.attempt,
        provider=provider,
        alarms=",".join(facts.alarms),
        request_id=facts.request_id,
    )


def _other_event(event: Event) -> Row:
    """Of anything that is no payment: who and why, as far as it is said, and never what."""
    decoded = msgspec.json.decode(event.facts)
    said: Mapping[str, Any] = decoded if isinstance(decoded, dict) else {}
    if event.type == AUDIT_RECORDED:
        return _event_row(event, cause="audit", actor=said.get("actor"), detail=said.get("action"))
    return _event_row(event, cause=said.get("cause"), actor=said.get("actor"), request_id=said.get("request_id"))


def _event_row(event: Event, **said: Any) -> Row:
    row: dict[str, Value] = {
        "id": event.id,
        "type": event.type,
        "merchant": event.tenant,
        "aggregate": event.aggregate,
        "version": event.version,
        "occurred_at": event.at,
        "trace": event.trace.split("-")[1] if event.trace.count("-") == 3 else None,
    }
    for name in ("cause", "actor", "state", "detail", "route", "attempt", "provider", "alarms", "request_id"):
        value = said.get(name)
        row[name] = without_card_numbers(value) if isinstance(value, str) and value else None
    return row


def _payment_version(event: Event, payment: _Payment, facts: _Facts) -> Row:
    card = payment.payment_method.card if payment.payment_method else None
    decline = payment.decline
    return {
        "id": payment.id,
        "merchant": event.tenant,
        "version": payment.version,
        "event": event.id,
        "status": payment.status,
        "state": facts.state or None,
        "amount": payment.amount,
        "currency": payment.currency,
        "amount_authorized": payment.amount_authorized,
        "amount_captured": payment.amount_captured,
        "amount_refunded": payment.amount_refunded,
        "amount_disputed": payment.amount_disputed,
        "capture_method": payment.capture_method,
        "provider": payment.provider,
        "customer": without_card_numbers(payment.customer),
        "reference": without_card_numbers(payment.reference),
        "card_brand": card.brand if card else None,
        "card_last4": card.last4[-4:] if card else None,
        "card_country": country_of(facts.issuer.country),
        "card_bin": bin_of(facts.issuer.bin, brand=card.brand) if card else None,
        "decline_kind": decline.kind if decline else None,
        "decline_code": decline.code if decline else None,
        "cancel_reason": without_card_numbers(payment.cancel_reason),
        "attempts": len(payment.attempts),
        "captures": len(payment.captures),
        "refunds": len(payment.refunds),
        "disputes": len(payment.disputes),
        "amount_late": facts.attention.get("late_approval", 0),
        "amount_uncertain": facts.attention.get("uncertain", 0),
        "amount_refund_open": facts.attention.get("refund_open", 0),
        "authorization_expires_at": _at(payment.authorization_expires_at),
        "created_at": _at(payment.created_at),
        "updated_at": _at(payment.updated_at),
    }


def _attempts(event: Event, payment: _Payment, facts: _Facts) -> list[Row]:
    return [
        _attempt(event, payment, number, one, release_of(facts.releases, number - 1))
        for number, one in enumerate(payment.attempts, start=1)
    ]


def _attempt(event: Event, payment: _Payment, number: int, attempt: _Attempt, release: str | None) -> Row:
    started, finished = parse_rfc3339(attempt.started_at), _at(attempt.finished_at)
    decline = attempt.decline
    return {
        "id": attempt.id,
        "merchant": event.tenant,
        "payment": payment.id,
        "payment_version": payment.version,
        "number": number,
        "provider": attempt.provider,
        "operation": attempt.operation,
        "outcome": attempt.outcome,
        "decline_kind": decline.kind if decline else None,
        "decline_code": decline.code if decline else None,
        "network_code": without_card_numbers(decline.network_code) if decline else None,
        "retry": (decline.retry or None) if decline else None,
        "started_at": started,
        "finished_at": finished,
        "release": release,
        # Wall clocks step back now and then; a duration never does.
        "duration_ms": None if finished is None else max(0, finished - started),
    }


def _refunds(event: Event, payment: _Payment) -> list[Row]:
    return [
        {
            "id": refund.id,
            "merchant": event.tenant,
            "payment": payment.id,
            "payment_version": payment.version,
            "provider": payment.provider,
            "status": refund.status,
            "amount": refund.amount,
            "currency": payment.currency,
            "reason": without_card_numbers(refund.reason),
            "failure": without_card_numbers(refund.failure),
            "created_at": _at(refund.created_at),
            "updated_at": _at(refund.updated_at),
        }
        for refund in payment.refunds
    ]


def _disputes(event: Event, payment: _Payment) -> list[Row]:
    return [
        {
            "id": dispute.id,
            "merchant": event.tenant,
            "payment": payment.id,
            "payment_version": payment.version,
            "provider": payment.provider,
            "status": dispute.status,
            "amount": dispute.amount,
            "currency": payment.currency,
            "reason": without_card_numbers(dispute.reason),
            "opened_at": _at(dispute.opened_at),
            "updated_at": _at(dispute.updated_at),
        }
        for dispute in payment.disputes
    ]


def _exchanges(event: Event, payment: _Payment, facts: _Facts) -> list[Row]:
    attempt = next((one for one in payment.attempts if one.id == facts.attempt), None)
    return [
        {
            "event": event.id,
            "number": number,
            "merchant": event.tenant,
            "payment": payment.id,
            "attempt": facts.attempt or None,
            "provider": attempt.provider if attempt else payment.provider,
            "operation": attempt.operation if attempt else None,
            "method": exchange.method,
            "phase": exchange.phase,
            "status": exchange.status,
            "fault": exchange.fault,
            "started_at": exchange.started_at,
            "duration_ms": max(0, round(exchange.duration_ms)),
        }
        for number, exchange in enumerate(facts.exchanges, start=1)
    ]


def _book(rows: Rows, event: Event) -> None:
    journal = journal_of(event)
    if journal is None:
        return
    shared: dict[str, Value] = {
        "merchant": journal.tenant,
        "payment": journal.payment,
        "kind": journal.kind,
        "currency": journal.currency,
        "booked_at": journal.at,
    }
    debits = sum(posting.amount for posting in journal.postings if posting.amount > 0)
    own: dict[str, Value] = {
        "id": journal.id,
        "reference": journal.reference,
        "amount": debits,
        "event": event.id,
    }
    _add(rows, "journals", {**own, **shared})
    for line, posting in enumerate(journal.postings, start=1):
        row: dict[str, Value] = {
            "journal": journal.id,
            "line": line,
            "account": posting.account,
            "amount": posting.amount,
        }
        _add(rows, "postings", {**row, **shared})


def _add(rows: Rows, table: str, row: Row) -> None:
    rows.setdefault(table, []).append(row)


def _at(text: str | None) -> Millis | None:
    return None if text is None else parse_rfc3339(text)


def _is_card_number(text: str) -> bool:
    """13 to 19 digits with the check digit of Luhn."""
    digits = [int(one) for one in text if one.isdigit()]
    doubled = (digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


_data = msgspec.json.Decoder(_Data)
_facts = msgspec.json.Decoder(_Facts)
