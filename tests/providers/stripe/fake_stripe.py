"""Stripe's answers as the published contract describes them, made from what was asked. Keeps no state."""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from urllib.parse import parse_qsl, unquote

from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import Action
from interlock.core.kernel.secrets import Secret
from interlock.providers.conformance import Case
from interlock.providers.protocol import HttpReply, RawNotification
from interlock.providers.stripe import StripeProvider
from interlock.providers.stripe_objects import to_stripe

INTENT_ID = "pi_3MtwBwLkdIwHu7ix28a3tqPa"
CHARGE_ID = "ch_3MtwBwLkdIwHu7ix0snN0B15"
METHOD_ID = "pm_1Q0PsIJvEtkwdCNYMSaVuRz6"
REFUND_ID = "re_3MtwBwLkdIwHu7ix0Zx1nP3A"
CARD = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2031, "country": "US"}
"""As a payment method shows it: to most accounts without the first digits."""
KEY = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"


def form(request):
    return dict(parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True)) if request.body else {}


def metadata(op):
    return {"attempt_id": op.attempt_id, "payment_id": op.payment_id, "tenant": op.tenant}


def authorize_attempt(op):
    """The intent was made by the authorise attempt and carries its id for good."""
    authorize = (op.target or op.action) is Action.AUTHORIZE
    return op.attempt_id if authorize else "att_00000000000000000000000001"


def intent(op, *, status, amount=None, received=None, **fields):
    whole = to_stripe(op.amount) if amount is None else amount
    taken = received if received is not None else (whole if status == "succeeded" else 0)
    return {
        "id": INTENT_ID,
        "object": "payment_intent",
        "amount": whole,
        "amount_capturable": whole if status == "requires_capture" else 0,
        "amount_received": taken,
        "capture_method": "automatic" if op.capture else "manual",
        "client_secret": f"{INTENT_ID}_secret_YrKJUKribcBjcG8HVhfZluoGH",
        "created": 1_794_999_990,
        "currency": op.amount.currency.lower(),
        "last_payment_error": None,
        "latest_charge": {
            "id": CHARGE_ID,
            "object": "charge",
            "amount": whole,
            "amount_captured": taken,
            "amount_refunded": 0,
            "captured": taken > 0,
            "payment_method_details": {
                "type": "card",
                "card": {
                    "brand": "visa",
                    "last4": "4242",
                    "exp_month": 12,
                    "exp_year": 2031,
                    "capture_before": 1_795_600_000,
                    "country": "US",
                    "iin": "424242",
                },
            },
        },
        "livemode": False,
        "metadata": {**metadata(op), "attempt_id": authorize_attempt(op)},
        "next_action": None,
        "status": status,
        **fields,
    }


def refund(op, *, status="succeeded", **fields):
    return {
        "id": REFUND_ID,
        "object": "refund",
        "amount": to_stripe(op.amount),
        "charge": CHARGE_ID,
        "created": 1_794_999_995,
        "currency": op.amount.currency.lower(),
        "metadata": metadata(op),
        "payment_intent": INTENT_ID,
        "status": status,
        **fields,
    }


def reply(body, status=200, **headers):
    return HttpReply(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body).encode()
    )


def error(status, **fields):
    return reply({"error": {"message": "…", "type": "invalid_request_error", **fields}}, status)


def listed(*objects, has_more=False):
    return reply({"object": "list", "data": list(objects), "has_more": has_more, "url": "/v1/…"})


def well(op, request):
    """All goes well: the operation is carried out, and a look finds it."""
    asked = op.target or op.action
    if request.path == "/v1/payment_methods":
        return reply({"id": METHOD_ID, "object": "payment_method", "type": "card", "card": CARD})
    if asked is Action.REFUND:
        if request.method == "GET" and "?" in request.path:
            return listed(refund(op))
        return reply(refund(op))
    status = {
        Action.AUTHORIZE: "succeeded" if op.capture else "requires_capture",
        Action.CAPTURE: "succeeded",
        Action.VOID: "canceled",
    }[asked]
    found = intent(op, status=status)
    if request.method == "GET" and request.path.startswith("/v1/payment_intents?"):
        return listed(found)
    return reply(found)


def sign(body, at, secret):
    stamp = at // 1_000
    signature = hmac.new(secret.reveal().encode(), b"%d.%s" % (stamp, body), sha256).hexdigest()
    return RawNotification({"stripe-signature": f"t={stamp},v1={signature}"}, body, at)


def event(kind, obj, *, event_id="evt_1NG8Du2eZvKYlo2CUI79vXWy"):
    return json.dumps(
        {
            "id": event_id,
            "object": "event",
            "api_version": "2026-07-29.dahlia",
            "created": 1_794_999_999,
            "data": {"object": obj},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": "req_1", "idempotency_key": None},
            "type": kind,
        }
    ).encode()


def news(op):
    found = intent(op, status="succeeded" if op.capture else "requires_capture")
    kind = "payment_intent.succeeded" if op.capture else "payment_intent.amount_capturable_updated"
    return event(kind, found, event_id=f"evt_{op.attempt_id[4:]}")


def query(request):
    path, _, text = request.path.partition("?")
    return unquote(path), dict(parse_qsl(text))


def case(**options):
    return Case(
        provider=StripeProvider(**options),
        credentials={"secret_key": Secret(KEY)},
        answer=well,
        provider_reference=INTENT_ID,
        bin_field="iin",
        wire_amounts={
            Money(1999, "EUR"): b"amount=1999&currency=eur",
            Money(500, "JPY"): b"amount=500&currency=jpy",
            Money(5120, "KWD"): b"amount=5120&currency=kwd",
            Money(5, "ISK"): b"amount=500&currency=isk",
            Money(7, "UGX"): b"amount=700&currency=ugx",
            Money(1200, "MGA"): b"amount=12&currency=mga",
            Money(1045, "HUF"): b"amount=1045&currency=huf",
        },
        news=news,
        sign=sign,
    )
