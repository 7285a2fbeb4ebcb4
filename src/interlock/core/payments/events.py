"""The events of payments: every type, and what goes into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from interlock.core.kernel.providers import Exchange

EVENT_TYPES = MappingProxyType(
    {
        "payment.created": "A payment exists; unless `confirm` was false its first attempt is recorded.",
        "payment.requires_action": "The payer must act (3-D Secure).",
        "payment.processing": "An operation is recorded or its outcome is not known yet.",
        "payment.authorized": "The amount is reserved at the provider.",
        "payment.captured": "Part of the amount is captured; more can be.",
        "payment.capture_failed": "A capture did not happen; what was authorised still is.",
        "payment.cancel_failed": "A cancel did not happen; the payment is as before.",
        "payment.succeeded": "All that will be captured is captured.",
        "payment.failed": "Declined, or no provider could be reached. Final.",
        "payment.canceled": "Nothing is held any more and nothing was taken. Final.",
        "payment.late_approval": "A provider approved after the payment had gone on; it is being given back.",
        "payment.late_approval_reversed": "The late approval was given back.",
        "payment.late_void": "A void taken as failed turned out done, after the payment had gone on.",
        "payment.reversal_pending": "Giving a late approval back is not finished.",
        "payment.reversal_failed": "Giving a late approval back was refused too often, or it came back; a person must act.",
        "refund.created": "A refund's amount is reserved.",
        "refund.processing": "The refund's outcome is not known yet.",
        "refund.succeeded": "The refund went out.",
        "refund.failed": "The refund did not go out, or came back; its amount is the merchant's again.",
        "dispute.opened": "The payer's bank disputes the payment; the amount is held.",
        "dispute.won": "The dispute was decided for the merchant; the hold is released.",
        "dispute.lost": "The dispute was decided for the payer; the amount is gone.",
    }
)
"""Every type and what it means to a merchant. The reference page is made from this."""


ABSENT = msgspec.Raw()
"""No JSON value at all; a member left at this is left out."""


class AnswerNote(msgspec.Struct, frozen=True):
    """The API request this event answered: the stored answer is `data[member]`, byte for byte."""

    request: str
    status: int
    member: str


class Issuer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a card's issuer, for people who look for causes. Merchants are not told."""

    country: str | None = None
    bin: str | None = None


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What operators see of a commit beside the snapshot."""

    cause: str
    """Who heard or asked: api, lookup, notification or sweeper."""
    actor: str = ""
    request_id: str = ""
    attempt: str = ""
    state: str = ""
    """The payment's fine-grained state after this."""
    detail: str = ""
    route: str = ""
    """Why the provider of a newly recorded attempt was chosen."""
    exchanges: tuple[Exchange, ...] = ()
    """Redacted."""
    journal: msgspec.Raw = ABSENT
    answer: AnswerNote | None = None
    alarms: tuple[str, ...] = ()
    attention: Mapping[str, int] = MappingProxyType({})
    """What is not settled after this (`Attention`), and how much hangs on it."""
    issuer: Issuer | None = None
    releases: tuple[tuple[int, str], ...] = ()
    """Which release of the platform started the attempts: from which place on (0 is the first attempt), and its name."""
    learned: str = ""
    """`provider:reference` under which the provider now knows the payment, in the commit that learned it."""


def release_of(releases: Sequence[tuple[int, str]], place: int) -> str | None:
    """The release that started the attempt at this place; None if that was not kept."""
    return next((name for since, name in reversed(releases) if since <= place), "") or None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Facts)


def encode_facts(facts: Facts) -> bytes:
    return _encoder.encode(facts)


def decode_facts(raw: bytes) -> Facts:
    return _decoder.decode(raw)
