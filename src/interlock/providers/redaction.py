"""What may be kept of an exchange with a provider: named fields, nothing else, and no number that could be a card's.

An allow-list, because a new field of a provider must not be the one that leaks. Values of allowed fields are masked too.
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
_DEPTH_MAX = 6
_LIST_MAX = 20
_STRING_MAX = 200

_KEPT = """
action advice_code amount amount_authorized amount_capturable amount_captured amount_received
amount_refunded amount_to_capture attempt attempt_id attempt_ref attempt_reference
authorization_expires_at authorize brand cancellation_reason capture capture_before capture_method
captured card charge code confirm created currency data decline decline_code detail disputed error
errors event exp_month exp_year failure_code failure_reason final final_capture final_status
has_more id kind last4 last_payment_error latest_charge livemode merchant_reference message metadata
network_code network_decline_code next_action object off_session operation operation_id operations
our_reference outcome paid param payment payment_id payment_intent payment_method_details
payment_method_types provider_reference reason redirect_to_url reference refund refunded refunds
result retry retry_after retry_after_s state status tenant title type version void
"""

KEPT_FIELDS = frozenset(_KEPT.split())
"""Names of JSON and form fields whose scalar values are kept, wherever they stand; objects are kept field by field."""

_DIGITS = re.compile(r"\d(?:[ -]?\d){11,18}")
_TOKENS = re.compile(r"\b(?:sk|rk|pk|whsec|tok|src|seti|ephkey)_\w{4,}|\w{0,40}_secret_\w+")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}")
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def redact(body: bytes, *, hide: Iterable[str] = ()) -> str | None:
    """`body` (JSON or a form) as it may be kept, or None for an empty one.

    `hide` are strings that must not appear: the payment token, the credentials. A body that is neither JSON nor a form is
    only measured: it could say anything.
    """
    if not body:
        return None
    if len(body) > READ_MAX:
        return f"[{len(body)} bytes, too long to keep]"
    if body[:1] in b"{[":
        try:
            text = _encoder.encode(_keep(_decoder.decode(body), 0)).decode()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return f"[{len(body)} bytes, not readable]"
    elif (form := _form(body)) is not None:
        text = form
    else:
        return f"[{len(body)} bytes, not readable]"
    return mask(text[: 4 * KEPT_MAX], hide=hide)[:KEPT_MAX]


def mask(text: str, *, hide: Iterable[str] = ()) -> str:
    """`text` without card numbers, tokens, keys and the strings in `hide`."""
    for secret in hide:
        if len(secret) >= 4 and secret in text:
            text = text.replace(secret, "[hidden]")
    if "_" in text:
        text = _TOKENS.sub("[hidden]", text)
    if "earer" in text or "asic" in text or "EARER" in text:
        text = _BEARER.sub(r"\1 [hidden]", text)
    return _DIGITS.sub(_mask_card, text)


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
    digits = match[0].replace(" ", "").replace("-", "")
    # A card number may hide in a longer run of digits: any window of card length counts.
    for length in range(min(19, len(digits)), 12, -1):
        for start in range(len(digits) - length + 1):
            if is_card_number(digits[start : start + length]):
                return f"[card …{digits[-4:]}]"
    return match[0]


def _keep(value: Any, depth: int) -> Any:
    if isinstance(value, dict):
        if depth >= _DEPTH_MAX:
            return None
        return {name: _keep(inner, depth + 1) for name, inner in value.items() if name in KEPT_FIELDS}
    if isinstance(value, list):
        return None if depth >= _DEPTH_MAX else [_keep(inner, depth + 1) for inner in value[:_LIST_MAX]]
    return value[:_STRING_MAX] if isinstance(value, str) else value


def _form(body: bytes) -> str | None:
    try:
        fields = parse_qsl(body.decode("ascii"), strict_parsing=True, max_num_fields=200)
    except ValueError:
        return None
    return "&".join(f"{name}={value[:_STRING_MAX]}" for name, value in fields if _last_word(name) in KEPT_FIELDS)


def _last_word(name: str) -> str:
    """`metadata[attempt_id]` is kept or not by `attempt_id`, `payment_method_types[]` by the word before the brackets."""
    words = name.replace("]", "").split("[")
    return words[-1] or words[0]
