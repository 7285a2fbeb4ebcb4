"""Everything that happened to a payment, in order: what `explain` and GET /timeline show."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.kernel.clock import rfc3339
from interlock.core.kernel.events import Event
from interlock.core.kernel.providers import Exchange
from interlock.core.payments.events import EVENT_TYPES, decode_facts
from interlock.core.payments.model import Payment
from interlock.core.payments.records import next_due
from interlock.core.payments.states import REFUNDABLE, STATUS, TRANSITIONS, State, Trigger


class TimelineEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    at: str
    kind: str
    """event, exchange, journal or delivery."""
    title: str
    event: str | None = None
    cause: str | None = None
    attempt: str | None = None
    state: str | None = None
    detail: str | None = None
    route: str | None = None
    request_id: str | None = None
    alarms: tuple[str, ...] = ()
    exchange: Exchange | None = None
    journal: dict[str, Any] | None = None
    delivery: dict[str, Any] | None = None
    """A webhook delivery, as GET /v1/webhook_deliveries shows it."""


class Timeline(msgspec.Struct, frozen=True):
    payment: str
    status: str
    state: str
    why: str
    """The present state in words."""
    next_at: str | None
    """When the platform looks at it next by itself."""
    may: list[str]
    """What may be asked for now: confirm, capture, cancel, refund."""
    entries: list[TimelineEntry]


WHY = {
    State.REQUIRES_PAYMENT_METHOD: "Created without a payment method; confirm it with one.",
    State.REQUIRES_CONFIRMATION: "Created with `confirm: false`; no provider has heard of it.",
    State.AUTHORIZING: "The provider was asked, or is about to be; no answer is on record.",
    State.PENDING: "The provider has it and will say later; it is asked from time to time.",
    State.UNCERTAIN: "It is not known whether the provider authorised it; it is being looked up, and nothing is sent meanwhile.",
    State.REQUIRES_ACTION: "The payer must act at `next_action`.",
    State.AUTHORIZED: "The amount is reserved; capture or cancel it before the authorisation expires.",
    State.CAPTURING: "A capture was sent; its result is not on record yet.",
    State.CAPTURE_UNCERTAIN: "It is not known whether the capture happened; it is being looked up.",
    State.CANCELING: "A release was sent; its result is not on record yet.",
    State.CANCEL_UNCERTAIN: "It is not known whether the release happened; it is being looked up.",
    State.SUCCEEDED: "All that will be captured is captured.",
    State.CANCELED: "Nothing is held and nothing was taken.",
    State.FAILED: "Declined, or no provider could be reached; nothing was taken.",
}


def timeline(payment: Payment, events: list[Event]) -> Timeline:
    """The payment's story from its own history."""
    entries: list[TimelineEntry] = []
    for event in events:
        entries.extend(_entries(event))
    due = next_due(payment)
    return Timeline(
        payment=payment.id,
        status=STATUS[payment.state],
        state=payment.state,
        why=WHY[payment.state],
        next_at=rfc3339(due) if due is not None else None,
        may=possible(payment),
        entries=entries,
    )


def possible(payment: Payment) -> list[str]:
    """Commands that the payment's state and what is left of its money allow now, from the table of states."""
    state = payment.state
    allowed = {
        "confirm": (state, Trigger.CONFIRM) in TRANSITIONS or (state, Trigger.METHOD_GIVEN) in TRANSITIONS,
        "capture": (state, Trigger.CAPTURE) in TRANSITIONS and payment.capturable > 0,
        "cancel": (state, Trigger.CANCEL) in TRANSITIONS or (state, Trigger.ABANDON) in TRANSITIONS,
        "refund": state in REFUNDABLE and payment.refundable > 0,
    }
    return [name for name, yes in allowed.items() if yes and not payment.has_unknown]


def _entries(event: Event) -> list[TimelineEntry]:
    """The exchanges that led to the event, the event, and the journal it booked."""
    facts = decode_facts(event.facts)
    entries = [
        TimelineEntry(
            at=rfc3339(exchange.started_at),
            kind="exchange",
            title=f"{exchange.method} {exchange.url} -> {exchange.status or exchange.fault} in {exchange.duration_ms:.0f} ms",
            attempt=facts.attempt or None,
            exchange=exchange,
        )
        for exchange in facts.exchanges
    ]
    entries.append(
        TimelineEntry(
            at=rfc3339(event.at),
            kind="event",
            title=EVENT_TYPES.get(event.type, event.type),
            event=event.type,
            cause=facts.cause,
            attempt=facts.attempt or None,
            state=facts.state or None,
            detail=facts.detail or None,
            route=facts.route or None,
            request_id=facts.request_id or None,
            alarms=facts.alarms,
        )
    )
    if bytes(facts.journal):
        entries.append(
            TimelineEntry(
                at=rfc3339(event.at), kind="journal", title="booked", journal=msgspec.json.decode(facts.journal)
            )
        )
    return entries
