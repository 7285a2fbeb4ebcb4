"""Where a provider contradicts what it said, or what we hold: folded from a payment's events and from its contradictions.

Pure, and over whole histories: whoever sees an event twice, late or out of order comes to the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.events import Event
from interlock.core.kernel.providers import Outcome
from interlock.core.payments.contradictions import (
    AGREED,
    CONTRADICTED,
    EVENT_TYPES,
    decode_agreement,
    decode_contradiction,
)
from interlock.core.payments.events import decode_facts
from interlock.core.payments.model import Payment

DRIFTING = MappingProxyType(
    {
        "amount_mismatch": "its answer is about another amount",
        "reference_mismatch": "its answer is about another payment of its own",
        "captured_unasked": "it took the money, and was asked to reserve it only",
        "late_void": "it let go of what had gone on here",
        "reversed_twice": "it gave a late approval back twice",
        "refund_above_captured": "it gave back more than was taken",
        "dispute_above_refundable": "more is disputed than it holds",
    }
)
"""Alarms in a payment's events that say so, in words."""
ENDED_BY_ANSWER = frozenset({"amount_mismatch", "reference_mismatch"})
"""A clear answer about the attempt ends these; the others are about money that has moved, and a person says when they are over."""
_FINAL = (Outcome.APPROVED, Outcome.DECLINED, Outcome.NOT_SENT)


class Drift(NamedTuple):
    """One contradiction that stands."""

    about: str
    """Attempt, dispute or the provider's reference."""
    what: str
    detail: str
    amount: int
    currency: str
    provider: str | None
    reference: str | None
    since: Millis
    seen: str
    """Id of the event that said so last."""

    @property
    def key(self) -> tuple[str, str]:
        return self.about, self.what


def standing_drift(events: Iterable[Event], payment: Payment | None) -> list[Drift]:
    """What stands after these, which are all events of a payment and of its contradictions."""
    standing: dict[tuple[str, str], Drift] = {}
    for event in sorted(events, key=lambda one: (one.at, one.type in EVENT_TYPES, one.version)):
        if event.type == CONTRADICTED:
            found = decode_contradiction(event)
            said = f"{found.what.replace('_', ' ')}: {found.known} here, {found.heard} there"
            whose = (found.amount, found.currency, found.provider, found.reference or None)
            _stand(standing, Drift(found.about, found.what, said, *whose, event.at, event.id))
        elif event.type == AGREED:
            about = decode_agreement(event).about
            standing = {key: one for key, one in standing.items() if key[0] != about}
        else:
            _of_payment(standing, event, payment)
    return list(standing.values())


def speaks_of_drift(event: Event) -> bool:
    """Whether a payment's event may begin one."""
    return b'"alarms"' in bytes(event.facts) and any(name in DRIFTING for name in decode_facts(event.facts).alarms)


def _of_payment(standing: dict[tuple[str, str], Drift], event: Event, payment: Payment | None) -> None:
    facts = decode_facts(event.facts)
    data = _data.decode(event.data)
    attempt = next((one for one in data.payment.attempts if one.id == facts.attempt), None)
    if attempt is not None and attempt.outcome in _FINAL:
        words = [key for key, one in standing.items() if key[0] == attempt.id and _ends(one, event)]
        for key in words:
            del standing[key]
    if event.type == "dispute.won" and data.dispute is not None:
        standing.pop((data.dispute.id, "dispute_above_refundable"), None)
    for alarm in facts.alarms:
        if alarm in DRIFTING:
            about = data.dispute.id if data.dispute is not None else facts.attempt or event.aggregate
            amount = _amount(about, payment) or data.payment.amount
            provider = attempt.provider if attempt is not None else data.payment.provider
            whose = (amount, data.payment.currency, provider, data.payment.reference)
            _stand(standing, Drift(about, alarm, DRIFTING[alarm], *whose, event.at, event.id))


def _amount(about: str, payment: Payment | None) -> int:
    """Of an attempt, or what of a dispute is beyond what was there; zero where nobody knows."""
    if payment is None:
        return 0
    attempt = payment.attempt(about)
    dispute = next((one for one in payment.disputes if one.id == about), None)
    return attempt.amount if attempt is not None else dispute.excess if dispute is not None else 0


def _ends(one: Drift, event: Event) -> bool:
    """A final answer says which of two words is true, unless it is the very event that began this."""
    return (one.what in ENDED_BY_ANSWER or one.what not in DRIFTING) and one.seen != event.id


def _stand(standing: dict[tuple[str, str], Drift], drift: Drift) -> None:
    known = standing.get(drift.key)
    standing[drift.key] = drift if known is None else drift._replace(since=known.since)


class _Attempt(msgspec.Struct):
    id: str
    provider: str
    outcome: str | None


class _Dispute(msgspec.Struct):
    id: str


class _Payment(msgspec.Struct):
    amount: int
    currency: str
    reference: str | None
    provider: str | None
    attempts: list[_Attempt]


class _Data(msgspec.Struct):
    payment: _Payment
    dispute: _Dispute | None = None


_data = msgspec.json.Decoder(_Data)
