"""What may be kept of an exchange with a provider: named fields, nothing else, and no number that could be a card's.

An allow-list, because a new field of a provider must not be the one that leaks. Values of allowed fields are masked too.
It runs for every exchange, so the list is a type and the decoder drops the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

import msgspec

KEPT_MAX = 2_048
"""Characters kept of one body."""
READ_MAX = 65_536
"""A longer body (a page of a list) is only measured."""

_FIELDS = """
id object type kind event action status state outcome result operation_id reference attempt attempt_id attempt_ref
our_reference merchant_reference provider_reference attempt_reference payment payment_id payment_intent tenant version
amount currency amount_authorized amount_capturable amount_to_capture amount_captured amount_received amount_refunded
capture captured capture_method capture_before confirm final final_capture final_status paid refunded disputed off_session
error errors code decline decline_code network_code network_decline_code advice_code retry reason message title detail param
failure_code failure_reason cancellation_reason last_payment_error retry_after retry_after_s
next_action redirect_to_url authorization_expires_at created livemode
authorize void charge latest_charge refund refunds operation operations
payment_method_types payment_method_details card brand last4 exp_month exp_year metadata data has_more
"""
KEPT_FIELDS = tuple(_FIELDS.split())
"""Names of JSON and form fields that are kept, wherever they stand, in the order in which they are shown."""

_KEPT_NAMES = frozenset(KEPT_FIELDS)
_Scalar = str | int | float | bool | None
_Kept: Any = msgspec.defstruct(
    "_Kept",
    [(name, "_Scalar | _Kept | list[_Scalar | _Kept] | msgspec.UnsetType", msgspec.UNSET) for name in KEPT_FIELDS],
    module=__name__,
)
_TOKENS = re.compile(r"\b(?:sk|rk|pk|whsec|tok|src|seti|ephkey)_\w{4,}|\w{0,40}_secret_\w+")
_TOKEN_MARKS = ("sk_", "rk_", "pk_", "whsec_", "tok_", "src_", "seti_", "ephkey_", "_secret_")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}")
_DIGITS = re.compile(r"\d(?:[ -]?\d){12,}")
_SHAPE = bytes(48 if 48 <= byte <= 57 else 46 for byte in range(256))
_LONG_NUMBER = b"0" * 13
_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_Kept | list[_Kept])


def redact(body: bytes, *, hide: Iterable[str] = ()) -> str | None:
    """`body` (JSON or a form) as it may be kept, or None for an empty one.

    `hide` are strings that must not appear: the payment token, the credentials. A body that is neither JSON nor a form is
    only measured: it could say anything.
    """
    if not body:
        return None
    if len(body) > READ_MAX:
        return f"[{len(body)} bytes, too long to keep]"
    try:
        text = _encoder.encode(_decoder.decode(body)).decode() if body[:1] in b"{[" else _form(body)
    except (ValueError, RecursionError):
        return f"[{len(body)} bytes, not readable]"
    return mask(text[: 4 * KEPT_MAX], hide=hide)[:KEPT_MAX]


def mask(text: str, *, hide: Iterable[str] = ()) -> str:
    """`text` without card numbers, tokens, keys and the strings in `hide`."""
    for secret in hide:
        if len(secret) >= 4 and secret in text:
            text = text.replace(secret, "[hidden]")
    # Cheap searches decide whether a pattern needs to look at all.
    for mark in _TOKEN_MARKS:
        if mark in text:
            text = _TOKENS.sub("[hidden]", text)
            break
    if "earer" in text or "asic" in text or "EARER" in text:
        text = _BEARER.sub(r"\1 [hidden]", text)
    if _LONG_NUMBER in text.encode("utf-8", "replace").translate(_SHAPE, b" -"):
        text = _DIGITS.sub(_mask_card, text)
    return text


def is_card_number(digits: str) -> bool:
    """Whether `digits` has the length and the check digit (Luhn) of a card number."""
    if not 12 <= len(digits) <= 19 or not digits.isascii() or not digits.isdigit():
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = ord(digit) - 48
        if place % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def _mask_card(match: re.Match[str]) -> str:
    """A card number may hide in a longer run of digits: every window of card length counts."""
    digits = match[0].replace(" ", "").replace("-", "")
    for length in range(min(19, len(digits)), 12, -1):
        for start in range(len(digits) - length + 1):
            if is_card_number(digits[start : start + length]):
                return f"[card …{digits[-4:]}]"
    return match[0]


def _form(body: bytes) -> str:
    """Raises ValueError for what is not a form."""
    fields = parse_qsl(body.decode("ascii"), strict_parsing=True, max_num_fields=200)
    return "&".join(f"{name}={value}" for name, value in fields if _last_word(name) in _KEPT_NAMES)


def _last_word(name: str) -> str:
    """`metadata[attempt_id]` is kept or not by `attempt_id`, `payment_method_types[]` by the word before the brackets."""
    words = name.replace("]", "").split("[")
    return words[-1] or words[0]
