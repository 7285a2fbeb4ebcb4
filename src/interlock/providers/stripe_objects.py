"""Stripe's objects as far as we read them, its currencies, and what each status means to us.

Source: https://docs.stripe.com/api/payment_intents/object, https://docs.stripe.com/api/refunds/object,
https://docs.stripe.com/currencies (checked 2026-11-21). Status tables are compared with the published contract by a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any

import msgspec

from interlock.core.kernel.cards import bin_of, country_of
from interlock.core.kernel.currencies import EXPONENTS
from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import Action, Card, Decline, Outcome, Result, Retry
from interlock.providers.stripe_declines import decline

ZERO_DECIMAL = frozenset(
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"]
)
"""Amounts in whole units. MGA has two decimals in ISO 4217 and none at Stripe."""
THREE_DECIMAL = frozenset(["BHD", "JOD", "KWD", "OMR", "TND"])
"""Thousandths, of which the last digit must be 0."""
TWO_DECIMAL_WHOLE = frozenset({"ISK", "UGX"})
"""No decimals in ISO 4217; at Stripe hundredths that must be whole units. (HUF and TWD are so for payouts only.)"""
_PRESENTMENT = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BWP BYN BZD CAD CDF CHF CLP CNY COP CRC CVE
CZK DJF DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR ISK JMD JOD JPY KES KGS
KHR KMF KRW KWD KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD
OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SEK SGD SHP SLE SOS SRD SZL THB TJS TND TOP TRY TTD TWD
TZS UAH UGX USD UYU UZS VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW
"""
CURRENCIES = frozenset(_PRESENTMENT.split())
"""Presentment currencies for cards; which of them an account may use depends on its country."""


def to_stripe(money: Money) -> int | None:
    """The amount as Stripe counts it, or None if it cannot be said there."""
    amount, currency = money.amount, money.currency
    if currency in TWO_DECIMAL_WHOLE:
        return amount * 100
    if currency == "MGA":
        return amount // 100 if amount % 100 == 0 else None
    if currency in THREE_DECIMAL:
        return amount if amount % 10 == 0 else None
    return amount


def from_stripe(amount: int, currency: str) -> Money | None:
    """The other way; None for what we cannot express."""
    code = currency.upper()
    if code not in EXPONENTS:
        return None
    if code in TWO_DECIMAL_WHOLE:
        return Money(amount // 100, code) if amount % 100 == 0 else None
    return Money(amount * 100 if code == "MGA" else amount, code)


class CardDetails(msgspec.Struct, frozen=True):
    brand: str | None = None
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None
    capture_before: int | None = None
    country: Any = None
    iin: Any = None
    """Told to few accounts only."""


class MethodDetails(msgspec.Struct, frozen=True):
    card: CardDetails | None = None


class Charge(msgspec.Struct, frozen=True):
    id: str
    amount: int = 0
    amount_captured: int | None = None
    amount_refunded: int = 0
    captured: bool = False
    payment_method_details: MethodDetails | None = None


class StripeError(msgspec.Struct, frozen=True):
    type: str | None = None
    code: str | None = None
    decline_code: str | None = None
    advice_code: str | None = None
    message: str | None = None
    param: str | None = None
    payment_intent: PaymentIntent | None = None
    payment_method: Any = None
    """Along with a decline: what was declined."""


class Redirect(msgspec.Struct, frozen=True):
    url: str | None = None


class NextAction(msgspec.Struct, frozen=True):
    type: str
    redirect_to_url: Redirect | None = None


class PaymentIntent(msgspec.Struct, frozen=True):
    id: str
    amount: int
    currency: str
    status: str
    object: str = "payment_intent"
    amount_received: int | None = None
    amount_capturable: int | None = None
    capture_method: str | None = None
    metadata: Mapping[str, str] = {}
    latest_charge: Charge | str | None = None
    last_payment_error: StripeError | None = None
    next_action: NextAction | None = None
    cancellation_reason: str | None = None

    @property
    def received(self) -> int | None:
        """What was taken so far, in Stripe's units."""
        if self.amount_received is not None:
            return self.amount_received
        charge = self.latest_charge
        if not isinstance(charge, Charge):
            return None
        if charge.amount_captured is not None:
            return charge.amount_captured
        # Before `amount_captured` existed, a partial capture was told as a refund of the rest.
        return charge.amount - charge.amount_refunded if charge.captured else 0


class Refund(msgspec.Struct, frozen=True):
    id: str
    amount: int
    currency: str
    status: str | None
    object: str = "refund"
    payment_intent: str | None = None
    metadata: Mapping[str, str] | None = None
    failure_reason: str | None = None


class IntentPage(msgspec.Struct, frozen=True):
    data: list[PaymentIntent]
    has_more: bool = False


class RefundPage(msgspec.Struct, frozen=True):
    data: list[Refund]
    has_more: bool = False


class Method(msgspec.Struct, frozen=True):
    id: str
    card: Any = None


class ErrorBody(msgspec.Struct, frozen=True):
    error: StripeError


class Means(Enum):
    """What a status says about the money."""

    TAKEN = "taken"
    RESERVED = "reserved"
    WORKING = "working"
    WAITS_FOR_PAYER = "waits_for_payer"
    REFUSED = "refused"
    RELEASED = "released"
    UNDECIDED = "undecided"


PAYMENT_INTENT_STATUS = MappingProxyType(
    {
        "succeeded": Means.TAKEN,
        "requires_capture": Means.RESERVED,
        "processing": Means.WORKING,
        "requires_action": Means.WAITS_FOR_PAYER,
        "requires_payment_method": Means.REFUSED,
        "canceled": Means.RELEASED,
        "requires_confirmation": Means.UNDECIDED,
    }
)
"""For answers and notifications alike. `requires_confirmation` cannot come of what we send, so it proves nothing."""

REFUND_STATUS = MappingProxyType(
    {
        "succeeded": Outcome.APPROVED,
        "pending": Outcome.PENDING,
        "requires_action": Outcome.PENDING,
        "failed": Outcome.DECLINED,
        "canceled": Outcome.DECLINED,
    }
)

AUTHORIZATION_GONE = Decline("hard", "authorization_expired", Retry.NEVER)
ALREADY_CAPTURED = Decline("hard", "already_captured", Retry.NEVER)


def unknown(detail: str, *, reference: str | None = None) -> Result:
    return Result(Outcome.UNKNOWN, provider_reference=reference, detail=detail)


def authorization_of(intent: PaymentIntent, *, capture: bool) -> Result:
    """What became of the authorise attempt this intent was made for, and of which card it was, whatever became of it."""
    return msgspec.structs.replace(_authorization_of(intent, capture=capture), card=_card_of(intent))


def _authorization_of(intent: PaymentIntent, *, capture: bool) -> Result:
    means = PAYMENT_INTENT_STATUS.get(intent.status)
    total = from_stripe(intent.amount, intent.currency)
    match means:
        case Means.TAKEN | Means.RESERVED:
            taken = means is Means.TAKEN
            amount = total
            if taken and capture and intent.received is not None:
                amount = from_stripe(intent.received, intent.currency)
            return Result(
                Outcome.APPROVED,
                provider_reference=intent.id,
                amount=amount,
                captured=taken,
                authorization_expires_at=None if taken else _capture_before(intent),
            )
        case Means.WORKING:
            return Result(Outcome.PENDING, provider_reference=intent.id, amount=total)
        case Means.WAITS_FOR_PAYER:
            return _waits_for_payer(intent, total)
        case Means.REFUSED if intent.last_payment_error is not None:
            return Result(Outcome.DECLINED, provider_reference=intent.id, decline=decline_of(intent.last_payment_error))
        case Means.RELEASED:
            gone = Decline("hard", "canceled", Retry.NEVER, intent.cancellation_reason)
            return Result(Outcome.DECLINED, provider_reference=intent.id, decline=gone)
        case None:
            return unknown("unknown_status", reference=intent.id)
        case _:
            return unknown(intent.status, reference=intent.id)


def capture_of(intent: PaymentIntent) -> Result:
    """What became of the one capture this intent can have had."""
    match PAYMENT_INTENT_STATUS.get(intent.status):
        case Means.TAKEN:
            received = intent.received
            amount = None if received is None else from_stripe(received, intent.currency)
            return Result(Outcome.APPROVED, provider_reference=intent.id, amount=amount, captured=True)
        case Means.RESERVED:
            return Result(Outcome.NOT_SENT, provider_reference=intent.id, detail="not captured")
        case Means.WORKING:
            return Result(Outcome.PENDING, provider_reference=intent.id)
        case Means.RELEASED:
            return Result(Outcome.DECLINED, provider_reference=intent.id, decline=AUTHORIZATION_GONE)
        case None:
            return unknown("unknown_status", reference=intent.id)
        case _:
            return unknown(intent.status, reference=intent.id)


def void_of(intent: PaymentIntent) -> Result:
    """What became of the release of this intent."""
    match PAYMENT_INTENT_STATUS.get(intent.status):
        case Means.RELEASED:
            left = intent.amount - (intent.received or 0)
            return Result(Outcome.APPROVED, provider_reference=intent.id, amount=from_stripe(left, intent.currency))
        case Means.TAKEN:
            return Result(Outcome.DECLINED, provider_reference=intent.id, captured=True, decline=ALREADY_CAPTURED)
        case None:
            return unknown("unknown_status", reference=intent.id)
        case _:
            return Result(Outcome.NOT_SENT, provider_reference=intent.id, detail="not canceled")


def refund_of(refund: Refund) -> Result:
    outcome = REFUND_STATUS.get(refund.status or "")
    if outcome is None:
        return Result(
            Outcome.UNKNOWN,
            provider_reference=refund.payment_intent,
            attempt_reference=refund.id,
            detail="unknown_status",
        )
    failed = outcome is Outcome.DECLINED
    return Result(
        outcome,
        provider_reference=refund.payment_intent,
        attempt_reference=refund.id,
        amount=from_stripe(refund.amount, refund.currency),
        decline=Decline("hard", "refund_failed", Retry.NEVER, refund.failure_reason) if failed else None,
    )


def decline_of(error: StripeError) -> Decline:
    return decline(error.decline_code, error.code, advice=error.advice_code, message=error.message)


def result_of(action: Action, intent: PaymentIntent, *, capture: bool) -> Result:
    if action is Action.CAPTURE:
        return capture_of(intent)
    return void_of(intent) if action is Action.VOID else authorization_of(intent, capture=capture)


def _waits_for_payer(intent: PaymentIntent, amount: Money | None) -> Result:
    action = intent.next_action
    url = action.redirect_to_url.url if action is not None and action.redirect_to_url is not None else None
    kind = action.type if action is not None else "unknown"
    next_action = {"type": "redirect", "url": url} if url is not None else {"type": kind}
    return Result(Outcome.REQUIRES_ACTION, provider_reference=intent.id, amount=amount, next_action=next_action)


def _card_details(intent: PaymentIntent) -> CardDetails | None:
    charge = intent.latest_charge
    details = charge.payment_method_details if isinstance(charge, Charge) else None
    return details.card if details is not None else None


def card_of_method(method: Any) -> Card | None:
    """The card of a payment method, where one is shown whole: its id alone tells nothing."""
    try:
        shown = msgspec.convert(method, MethodDetails)
    except msgspec.ValidationError:
        return None
    return _card(shown.card)


def _card_of(intent: PaymentIntent) -> Card | None:
    error = intent.last_payment_error
    return _card(_card_details(intent)) or (card_of_method(error.payment_method) if error is not None else None)


def _card(card: CardDetails | None) -> Card | None:
    if card is None or card.brand is None or card.last4 is None or card.exp_month is None or card.exp_year is None:
        return None
    country, number = country_of(card.country), bin_of(card.iin, brand=card.brand)
    return Card(card.brand, card.last4, card.exp_month, card.exp_year, country, number)


def _capture_before(intent: PaymentIntent) -> int | None:
    card = _card_details(intent)
    return card.capture_before * 1_000 if card is not None and card.capture_before is not None else None
