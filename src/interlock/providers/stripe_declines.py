"""Stripe's published decline codes, each with our word for it and what may help.

Source: https://docs.stripe.com/declines/codes and https://docs.stripe.com/declines/card#retrying-issuer-declines
(checked 2026-11-21). The retry column is ours, read from the table's "next steps":
  * ask the issuer, reason not given        another acquirer may be answered differently: OTHER_PROVIDER
  * limits, funds, issuer out of reach      the same card may work another time: SAME_LATER
  * wrong, expired or unfit card data       NEW_CREDENTIAL
  * authentication or PIN wanted            STEP_UP
  * lost, stolen, fraud, revoked, blocked   NEVER, and never at another provider
"""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

from interlock.core.kernel.providers import Decline, Retry


class Meaning(NamedTuple):
    kind: str
    code: str
    retry: Retry


_SOFT, _HARD = "soft", "hard"
_ELSEWHERE, _LATER, _NEW, _STEP_UP, _NEVER = (
    Retry.OTHER_PROVIDER,
    Retry.SAME_LATER,
    Retry.NEW_CREDENTIAL,
    Retry.STEP_UP,
    Retry.NEVER,
)

DECLINES = MappingProxyType(
    {
        "approve_with_id": Meaning(_SOFT, "try_again_later", _LATER),
        "authentication_not_handled": Meaning(_SOFT, "authentication_required", _STEP_UP),
        "authentication_required": Meaning(_SOFT, "authentication_required", _STEP_UP),
        "call_issuer": Meaning(_SOFT, "do_not_honor", _ELSEWHERE),
        "card_not_supported": Meaning(_HARD, "card_not_supported", _NEW),
        "card_velocity_exceeded": Meaning(_SOFT, "limit_exceeded", _LATER),
        "currency_not_supported": Meaning(_HARD, "currency_not_supported", _NEW),
        "do_not_honor": Meaning(_SOFT, "do_not_honor", _ELSEWHERE),
        "do_not_try_again": Meaning(_HARD, "do_not_honor", _NEVER),
        "duplicate_transaction": Meaning(_HARD, "duplicate_transaction", _NEVER),
        "expired_card": Meaning(_HARD, "expired_card", _NEW),
        "fraudulent": Meaning(_HARD, "suspected_fraud", _NEVER),
        "generic_decline": Meaning(_SOFT, "declined", _ELSEWHERE),
        "incorrect_address": Meaning(_SOFT, "incorrect_address", _NEW),
        "incorrect_cvc": Meaning(_SOFT, "incorrect_cvc", _NEW),
        "incorrect_number": Meaning(_HARD, "incorrect_number", _NEW),
        "incorrect_pin": Meaning(_SOFT, "incorrect_pin", _STEP_UP),
        "incorrect_zip": Meaning(_SOFT, "incorrect_address", _NEW),
        "insufficient_funds": Meaning(_SOFT, "insufficient_funds", _LATER),
        "invalid_account": Meaning(_HARD, "invalid_account", _NEW),
        "invalid_amount": Meaning(_HARD, "invalid_amount", _NEVER),
        "invalid_cvc": Meaning(_SOFT, "incorrect_cvc", _NEW),
        "invalid_expiry_month": Meaning(_HARD, "invalid_expiry", _NEW),
        "invalid_expiry_year": Meaning(_HARD, "invalid_expiry", _NEW),
        "invalid_number": Meaning(_HARD, "incorrect_number", _NEW),
        "invalid_pin": Meaning(_SOFT, "incorrect_pin", _STEP_UP),
        "issuer_not_available": Meaning(_SOFT, "issuer_unavailable", _LATER),
        "lost_card": Meaning(_HARD, "lost_card", _NEVER),
        "merchant_blacklist": Meaning(_HARD, "blocked", _NEVER),
        "mobile_device_authentication_required": Meaning(_SOFT, "authentication_required", _STEP_UP),
        "new_account_information_available": Meaning(_HARD, "invalid_account", _NEW),
        "no_action_taken": Meaning(_SOFT, "do_not_honor", _ELSEWHERE),
        "not_permitted": Meaning(_HARD, "not_permitted", _NEW),
        "offline_pin_required": Meaning(_SOFT, "pin_required", _STEP_UP),
        "online_or_offline_pin_required": Meaning(_SOFT, "pin_required", _STEP_UP),
        "pickup_card": Meaning(_HARD, "pickup_card", _NEVER),
        "pin_try_exceeded": Meaning(_HARD, "pin_tries_exceeded", _NEW),
        "processing_error": Meaning(_SOFT, "processing_error", _ELSEWHERE),
        "reenter_transaction": Meaning(_SOFT, "try_again_later", _LATER),
        "restricted_card": Meaning(_HARD, "restricted_card", _NEW),
        "revocation_of_all_authorizations": Meaning(_HARD, "revoked", _NEVER),
        "revocation_of_authorization": Meaning(_HARD, "revoked", _NEVER),
        "security_violation": Meaning(_HARD, "not_permitted", _NEW),
        "service_not_allowed": Meaning(_HARD, "not_permitted", _NEW),
        "stolen_card": Meaning(_HARD, "stolen_card", _NEVER),
        "stop_payment_order": Meaning(_HARD, "revoked", _NEVER),
        "testmode_decline": Meaning(_HARD, "test_card", _NEVER),
        "transaction_not_allowed": Meaning(_HARD, "not_permitted", _NEW),
        "try_again_later": Meaning(_SOFT, "try_again_later", _LATER),
        "withdrawal_count_limit_exceeded": Meaning(_SOFT, "limit_exceeded", _LATER),
    }
)
"""By `decline_code`: the whole of the published table of card decline codes, with the two deprecated ones."""

ERRORS = MappingProxyType(
    {
        "amount_too_large": Meaning(_HARD, "invalid_amount", _ELSEWHERE),
        "amount_too_small": Meaning(_HARD, "invalid_amount", _ELSEWHERE),
        "balance_insufficient": Meaning(_SOFT, "insufficient_balance", _LATER),
        "insufficient_funds": Meaning(_SOFT, "insufficient_balance", _LATER),
        "capture_charge_authorization_expired": Meaning(_HARD, "authorization_expired", _NEVER),
        "charge_expired_for_capture": Meaning(_HARD, "authorization_expired", _NEVER),
        "charge_already_captured": Meaning(_HARD, "already_captured", _NEVER),
        "charge_already_refunded": Meaning(_HARD, "already_refunded", _NEVER),
        "charge_disputed": Meaning(_HARD, "disputed", _NEVER),
        "card_declined": Meaning(_SOFT, "declined", _ELSEWHERE),
        "card_decline_rate_limit_exceeded": Meaning(_SOFT, "limit_exceeded", _LATER),
        "invalid_characters": Meaning(_HARD, "invalid_request", _NEVER),
        "invalid_charge_amount": Meaning(_HARD, "invalid_amount", _ELSEWHERE),
        "invalid_charge_amount_no_decimal_compatible": Meaning(_HARD, "invalid_amount", _ELSEWHERE),
        "payment_intent_authentication_failure": Meaning(_SOFT, "authentication_failed", _STEP_UP),
        "payment_method_invalid_parameter": Meaning(_HARD, "invalid_payment_method", _NEW),
        "payment_method_unactivated": Meaning(_HARD, "method_not_supported", _ELSEWHERE),
        "payment_method_unexpected_state": Meaning(_HARD, "invalid_payment_method", _NEW),
        "refund_disputed_payment": Meaning(_HARD, "disputed", _NEVER),
        "token_already_used": Meaning(_HARD, "invalid_payment_method", _NEW),
    }
)
"""By `code`, where there is no decline code. Source: https://docs.stripe.com/error-codes (checked 2026-11-21)."""

ADVICE = MappingProxyType(
    {
        "confirm_card_data": Retry.NEW_CREDENTIAL,
        "do_not_try_again": Retry.NEVER,
        "try_again_later": Retry.SAME_LATER,
    }
)
"""By `advice_code`: the network's own word on a retry beats ours."""

UNLISTED = Meaning(_HARD, "declined", _NEVER)
"""A code we do not know: still a decline, and the careful reading of it."""


def decline(
    decline_code: str | None, code: str | None, *, advice: str | None = None, message: str | None = None
) -> Decline:
    """Our reading of a card error."""
    meaning = DECLINES.get(decline_code or "") or DECLINES.get(code or "") or ERRORS.get(code or "") or UNLISTED
    retry = ADVICE.get(advice or "", meaning.retry)
    kind = "hard" if advice == "do_not_try_again" else meaning.kind
    return Decline(kind, meaning.code, retry, decline_code or code, message[:200] if message else None)
