"""What a provider said that does not fit what it had said, or what we hold: kept as events, beside the alarm.

Nothing of it changes a payment, so it stands in an aggregate of its own for each payment, and merchants see none of it. What
came with a change of the payment is among that event's alarms already.
"""

from __future__ import annotations

from types import MappingProxyType

import msgspec

from interlock.core.access.audit import PLATFORM
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.errors import Unavailable, WriteConflict
from interlock.core.kernel.events import Event
from interlock.core.kernel.ids import EVENT, Ids
from interlock.core.kernel.store import Store
from interlock.core.payments.model import Attempt, Payment

EVENT_TYPES = MappingProxyType(
    {
        "provider.contradicted": "A provider said something that does not fit what it had said, or what we hold.",
        "provider.agreed": "It said again what we hold: what it had contradicted is over.",
    }
)
"""Every type and what it means. They are the platform's: merchants see none of them."""
CONTRADICTED, AGREED = EVENT_TYPES
KEPT_MAX = 200
"""Events of one aggregate. A provider that changes its mind all day is one thing to look at, and has its alarms."""
CONFLICTS_MAX = 8
PREFIX = "drift/"


class Contradiction(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that a provider said, in our words."""

    what: str
    """The alarm's word, such as amount_mismatch."""
    about: str
    """The attempt, or the provider's reference of a dispute."""
    provider: str
    merchant: str = ""
    """Empty, like `payment`, when nobody knows whose it is."""
    payment: str = ""
    amount: int = 0
    """Minor units that hang on it: the larger of what is known and what was heard."""
    currency: str = ""
    known: str = ""
    heard: str = ""
    reference: str = ""
    """The provider's own, where there is no payment of ours."""


class Agreement(msgspec.Struct, frozen=True):
    about: str


def of_payment(payment_id: str) -> str:
    """The aggregate in which contradictions about a payment stand."""
    return f"{PREFIX}{payment_id}"


def of_stranger(provider: str, reference: str) -> str:
    """... about something at a provider that no payment of ours is."""
    return f"{PREFIX}{provider}/{reference}"


def contradiction_of(
    payment: Payment, attempt: Attempt, what: str, known: str, heard: str, amount: int = 0
) -> Contradiction:
    """About an attempt. `amount` is what was heard, if it is another."""
    return Contradiction(
        what=what,
        about=attempt.id,
        provider=attempt.provider,
        merchant=payment.tenant,
        payment=payment.id,
        amount=max(attempt.amount, amount),
        currency=payment.currency,
        known=known,
        heard=heard,
    )


async def note_contradiction(store: Store, clock: Clock, ids: Ids, aggregate: str, found: Contradiction) -> None:
    """Put it on record. Safe to repeat: the same, while it stands, is no news. Raises Unavailable, OutcomeUnknown."""
    for _ in range(CONFLICTS_MAX):
        history = await store.history(aggregate)
        if len(history) >= KEPT_MAX or _standing(history).get((found.about, found.what)) == found:
            return
        if await _noted(store, clock, ids, aggregate, len(history), CONTRADICTED, found):
            return
    raise Unavailable("others are writing of this payment at the same time; repeat", retry_after_s=1)


async def note_agreement(store: Store, clock: Clock, ids: Ids, aggregate: str, about: str) -> None:
    """The provider said of `about` what we hold. Where nothing is contradicted nothing is written. Raises as above."""
    for _ in range(CONFLICTS_MAX):
        history = await store.history(aggregate)
        if all(one != about for one, _ in _standing(history)):
            return
        if await _noted(store, clock, ids, aggregate, len(history), AGREED, Agreement(about)):
            return
    raise Unavailable("others are writing of this payment at the same time; repeat", retry_after_s=1)


def decode_contradiction(event: Event) -> Contradiction:
    return _contradiction.decode(event.facts)


def decode_agreement(event: Event) -> Agreement:
    return _agreement.decode(event.facts)


def _standing(history: list[Event]) -> dict[tuple[str, str], Contradiction]:
    standing: dict[tuple[str, str], Contradiction] = {}
    for event in history:
        if event.type == CONTRADICTED:
            found = decode_contradiction(event)
            standing[found.about, found.what] = found
        else:
            about = decode_agreement(event).about
            standing = {key: found for key, found in standing.items() if key[0] != about}
    return standing


async def _noted(
    store: Store, clock: Clock, ids: Ids, aggregate: str, version: int, type: str, facts: Contradiction | Agreement
) -> bool:
    event = Event(
        ids.new(EVENT),
        type,
        PLATFORM,
        aggregate,
        version + 1,
        clock.now(),
        facts=msgspec.Raw(_encoder.encode(facts)),
    )
    try:
        await store.commit([], (event,))
    except WriteConflict:
        return False
    return True


_encoder = msgspec.json.Encoder()
_contradiction = msgspec.json.Decoder(Contradiction)
_agreement = msgspec.json.Decoder(Agreement)
