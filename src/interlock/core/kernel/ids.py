"""Identifiers: a prefix that says what, then 26 characters that sort by time of creation."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Protocol

from msgspec import Meta

from interlock.core.kernel.clock import Millis

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
ID_LENGTH = 26
INSTANT_LENGTH = 10

PAYMENT, ATTEMPT, CAPTURE, REFUND, DISPUTE = "pay", "att", "cap", "ref", "dsp"
PAYMENT_METHOD, CUSTOMER, PAYOUT = "pm", "cus", "po"
EVENT, WEBHOOK_ENDPOINT, DELIVERY = "evt", "whe", "dlv"
JOURNAL, ACCOUNT = "jrn", "acc"
NOTIFICATION, REQUEST, CLIENT, AUDIT = "ntf", "req", "cli", "aud"
FILE = "fil"


def id_pattern(prefix: str) -> str:
    """The regular expression of ids of one kind, without its ends."""
    return f"{prefix}_[0-9a-hjkmnp-tv-z]{{{ID_LENGTH}}}"


PaymentId = Annotated[str, Meta(pattern=rf"^{id_pattern(PAYMENT)}\Z")]
EndpointId = Annotated[str, Meta(pattern=rf"^{id_pattern(WEBHOOK_ENDPOINT)}\Z")]
"""What bodies and queries name a payment and an endpoint by."""


class Ids(Protocol):
    """Makes identifiers. A port because it needs a clock and randomness."""

    def new(self, prefix: str) -> str:
        """`prefix_` and 26 characters: 48 bits of milliseconds, then 80 bits unique to this id, in Crockford's base 32."""


def format_id(prefix: str, at: Millis, unique: int) -> str:
    """The id for an instant and 80 unique bits; ids of one prefix sort by `at`, then by `unique`."""
    n = unique & (1 << 80) - 1
    pairs = _PAIRS
    return (
        f"{prefix}_{_instant(at)}{pairs[n >> 70]}{pairs[n >> 60 & 1023]}{pairs[n >> 50 & 1023]}{pairs[n >> 40 & 1023]}"
        f"{pairs[n >> 30 & 1023]}{pairs[n >> 20 & 1023]}{pairs[n >> 10 & 1023]}{pairs[n & 1023]}"
    )


@lru_cache(maxsize=64)  # the ids of a request are made within a few milliseconds
def _instant(at: Millis) -> str:
    return "".join(_PAIRS[at >> shift & 1023] for shift in (40, 30, 20, 10, 0))


def instant_of(id: str) -> Millis:
    """The milliseconds that an id begins with, whatever its prefix. Raises ValueError for what is no id."""
    at = 0
    for char in id.partition("_")[2][:INSTANT_LENGTH]:
        at = at * 32 + _ALPHABET.index(char)
    return at


def is_id(text: str, prefix: str) -> bool:
    """Whether `text` could be an id of that kind; says nothing of whether it exists."""
    head, _, tail = text.partition("_")
    return head == prefix and len(tail) == ID_LENGTH and not tail.strip(_ALPHABET)  # nothing but the alphabet
