"""A row for each payment and one for each attempt, as the desk keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from interlock.core.kernel.clock import MINUTE, Millis
from interlock.core.kernel.documents import Collection

DESK = "~desk"
"""In place of a tenant: the desk sees all of them. No tenant can be called so."""

SLOT: Millis = 5 * MINUTE
"""Attempts are counted by slots of this length."""

SPEEDS_MS = (50, 100, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 30_000)
"""Upper bounds of the classes of how long an attempt took; one that took longer has none."""

PAYMENTS = Collection(
    "desk_payments",
    ("merchant", "status", "provider", "reference", "customer", "card", "attention"),
    ("currency", "amount", "method"),
)
ATTEMPTS = Collection(
    "desk_attempts",
    (),
    (
        *("slot", "merchant", "provider", "operation", "method", "brand", "outcome", "error", "speed"),
        *("country", "bin", "version"),
        *("currency", "amount", "duration_ms"),
    ),
)
POINTERS = Collection("desk_pointers")
"""From the id of a refund or a dispute to its payment."""
MERCHANTS = Collection("desk_merchants")
COUNTS = Collection("desk_counts")
"""Attempts counted, by the hour and by the day; `remembering.py` says how."""
COLLECTIONS = (PAYMENTS, ATTEMPTS, POINTERS, MERCHANTS, COUNTS)


class PaymentRow(msgspec.Struct, frozen=True):
    """What lists and sums show of a payment. Nothing here needs to be kept from who may see payments at all."""

    id: str
    merchant: str
    status: str
    state: str
    amount: int
    currency: str
    created_at: Millis
    updated_at: Millis
    """Of its latest event."""
    captured: int = 0
    refunded: int = 0
    disputed: int = 0
    provider: str | None = None
    reference: str | None = None
    customer: str | None = None
    method: str | None = None
    brand: str | None = None
    last4: str | None = None
    country: str | None = None
    """Of the card's issuer."""
    bin: str | None = None
    version: str | None = None
    """The release of the platform that made the latest attempt to authorise it."""
    decline: str | None = None
    attempts: int = 0
    attention: Mapping[str, int] = {}
    """Kind -> minor units that hang on it."""


class Pointer(msgspec.Struct, frozen=True):
    """Whose payment something belongs to."""

    merchant: str
    payment: str


class AttemptRow(NamedTuple):
    """One attempt that has an outcome, by what it may be counted by."""

    id: str
    started_at: Millis
    merchant: str
    provider: str
    operation: str
    outcome: str
    currency: str
    amount: int
    method: str | None
    brand: str | None
    error: str | None
    """Why it was no success: the decline's code, or what is not known."""
    duration_ms: int
    country: str | None = None
    """Of the card's issuer, as far as it is known when the attempt has its outcome."""
    bin: str | None = None
    version: str | None = None
    """The release of the platform that made it."""


def speed_of(duration_ms: int) -> int | None:
    """The class a duration falls in, by its upper bound."""
    return next((bound for bound in SPEEDS_MS if duration_ms <= bound), None)


def slot_of(at: Millis) -> int:
    return at // SLOT


def card_day(*, last4: str, amount: int, day: str) -> str:
    """What a payer can tell of a payment: the card's last digits, the amount in minor units and the UTC day."""
    return f"{last4}/{amount}/{day}"


def encode_pointer(pointer: Pointer) -> bytes:
    return _encoder.encode(pointer)


def decode_pointer(body: bytes) -> Pointer:
    return _pointer.decode(body)


def encode_row(row: PaymentRow) -> bytes:
    return _encoder.encode(row)


def decode_row(body: bytes) -> PaymentRow:
    return _decoder.decode(body)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(PaymentRow)
_pointer = msgspec.json.Decoder(Pointer)
