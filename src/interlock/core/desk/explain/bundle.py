"""A payment as a reproduction: what was asked of it and what its providers answered, in order, without anybody's data.

Left out: tokens, who issued a card, customers, references, descriptions, metadata. What providers sent is there in our words, as
the platform understood it at the time, so that a bundle replays the platform's part and not the adapter's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.events import Event
from interlock.core.kernel.providers import Action, Card, Decline, Outcome
from interlock.core.ledger.records import journal_of
from interlock.core.payments.events import decode_facts
from interlock.core.payments.model import Payment

FORM = "interlock/reproduction/1"


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a provider said of one attempt, in our words."""

    attempt: str
    outcome: Outcome
    captured: bool = False
    decline: Decline | None = None
    detail: str = ""


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One commit of the payment: what it recorded, and what led to it."""

    at: Millis
    event: str
    state: str
    cause: str
    attempt: str = ""
    """The attempt it is about: begun by it, or answered."""
    begins: bool = False
    """The attempt is recorded by this commit."""
    answer: Answer | None = None
    amount: int = 0
    """Of a refund or a dispute that begins here."""
    subject: str = ""
    """Id of the refund or dispute."""


class Made(msgspec.Struct, frozen=True, omit_defaults=True):
    """One attempt, as it was recorded."""

    id: str
    operation: Action
    provider: str
    amount: int
    outcome: Outcome | None
    final: bool = False
    reference: str | None = None
    """The provider's id of the payment."""


class Ends(msgspec.Struct, frozen=True):
    """Where the payment stands in the end: what a replay is held against."""

    state: str
    authorized: int
    captured: int
    refunded: int
    disputed: int
    attempts: tuple[tuple[str, str, str, int], ...]
    """Operation, provider, outcome, amount."""
    refunds: tuple[tuple[int, str], ...]
    disputes: tuple[tuple[int, str], ...]
    posted: Mapping[str, int]
    """Account -> net of what was booked."""
    steps: tuple[tuple[str, str], ...]
    """Event type and state of each commit."""


class Bundle(msgspec.Struct, frozen=True):
    form: str
    payment: str
    amount: int
    currency: str
    capture_method: str
    pinned: bool
    """A provider was asked for, so none followed it."""
    card: Card | None
    ids: Mapping[str, Sequence[str]]
    """Prefix -> ids in the order in which they were made."""
    attempts: tuple[Made, ...]
    steps: tuple[Step, ...]
    ends: Ends


class _Named(msgspec.Struct):
    id: str


class _Seen(msgspec.Struct):
    id: str
    outcome: Outcome | None
    decline: Decline | None


class _Snapshot(msgspec.Struct):
    attempts: list[_Seen]
    captures: list[_Named]
    refunds: list[_Named]
    disputes: list[_Named]


class _Subject(msgspec.Struct):
    id: str
    amount: int


class _Data(msgspec.Struct):
    payment: _Snapshot
    refund: _Subject | None = None
    dispute: _Subject | None = None


def bundle_of(payment: Payment, events: Sequence[Event]) -> Bundle:
    """From the payment as it stands and its whole history."""
    steps: list[Step] = []
    known: set[str] = set()
    ids: dict[str, list[str]] = {"pay": [payment.id], "att": [], "cap": [], "ref": [], "dsp": []}
    for event in events:
        data, facts = _data.decode(event.data), decode_facts(event.facts)
        for kind, things in (
            ("att", data.payment.attempts),
            ("cap", data.payment.captures),
            ("ref", data.payment.refunds),
            ("dsp", data.payment.disputes),
        ):
            ids[kind] += [one.id for one in things if one.id not in ids[kind]]
        begins = facts.attempt != "" and facts.attempt not in known
        known |= {one.id for one in data.payment.attempts}
        subject = data.refund or data.dispute
        steps.append(
            Step(
                event.at,
                event.type,
                facts.state,
                facts.cause,
                facts.attempt,
                begins,
                None if begins else _answer(payment, data.payment, facts.attempt, facts.detail),
                subject.amount if subject else 0,
                subject.id if subject else "",
            )
        )
    return Bundle(
        FORM,
        payment.id,
        payment.amount,
        payment.currency,
        payment.capture_method,
        payment.wanted_provider is not None,
        replace(payment.card, country=None, bin=None) if payment.card else None,
        ids,
        tuple(
            Made(one.id, one.operation, one.provider, one.amount, one.outcome, one.final, one.provider_reference)
            for one in payment.attempts
        ),
        tuple(steps),
        ends_of(payment, events),
    )


def _answer(payment: Payment, snapshot: _Snapshot, attempt_id: str, detail: str) -> Answer | None:
    seen = next((one for one in snapshot.attempts if one.id == attempt_id), None)
    attempt = payment.attempt(attempt_id)
    if seen is None or seen.outcome is None or attempt is None:
        return None
    taken = attempt.operation is Action.AUTHORIZE and attempt.capture and seen.outcome is Outcome.APPROVED
    return Answer(attempt_id, seen.outcome, taken, seen.decline, detail)


def ends_of(payment: Payment, events: Sequence[Event]) -> Ends:
    posted: dict[str, int] = {}
    for event in events:
        journal = journal_of(event)
        for account, amount in journal.postings if journal else ():
            posted[account] = posted.get(account, 0) + amount
    return Ends(
        payment.state,
        payment.amount_authorized,
        payment.amount_captured,
        payment.amount_refunded,
        payment.amount_disputed,
        tuple((one.operation.value, one.provider, str(one.outcome or ""), one.amount) for one in payment.attempts),
        tuple((one.amount, one.state.value) for one in payment.refunds),
        tuple((one.amount, one.state.value) for one in payment.disputes),
        {account: posted[account] for account in sorted(posted)},
        tuple((event.type, decode_facts(event.facts).state) for event in events),
    )


def encode_bundle(bundle: Bundle) -> bytes:
    return msgspec.json.format(_encoder.encode(bundle), indent=1)


def decode_bundle(raw: bytes) -> Bundle:
    """Raises msgspec.MsgspecError for what is no bundle."""
    made = _decoder.decode(raw)
    if made.form != FORM:
        raise msgspec.ValidationError(f"this is {made.form!r}, and not {FORM!r}")
    return made


def differences(wanted: Ends, found: Ends) -> list[tuple[str, Any, Any]]:
    """Fields in which two ends differ: name, wanted, found."""
    pairs = ((name, getattr(wanted, name), getattr(found, name)) for name in wanted.__struct_fields__)
    return [(name, one, other) for name, one, other in pairs if one != other]


_data = msgspec.json.Decoder(_Data)
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Bundle)
