"""The simulator's good answers, for the conformance kit."""

from __future__ import annotations

import hmac
import json
from hashlib import sha256

from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import Action
from interlock.core.kernel.secrets import Secret
from interlock.providers.conformance import Case
from interlock.providers.protocol import HttpReply, RawNotification
from interlock.providers.simulator import KINDS, SimulatorProvider

CHARGE = "ch_1"


def shown(op):
    asked = op.target or op.action
    statuses = {Action.AUTHORIZE: "captured" if op.capture else "authorized", Action.CAPTURE: "captured"}
    return {
        "object": "operation",
        "id": f"op_{op.attempt_id[4:]}",
        "kind": KINDS[asked],
        "status": statuses.get(asked, "succeeded"),
        "reference": op.attempt_id,
        "charge": CHARGE,
        "amount": op.amount.amount,
        "currency": op.amount.currency,
        "card": {
            "brand": "visa",
            "last4": "4242",
            "exp_month": 12,
            "exp_year": 2031,
            "country": "FR",
            "bin": "497010",
        },
        "metadata": {"payment_id": op.payment_id, "tenant": op.tenant},
    }


def answer(op, request):
    return HttpReply(200, {}, json.dumps(shown(op)).encode())


def news(op):
    notice = {"object": "notification", "id": f"ntf_{op.attempt_id[4:]}", "type": "operation.updated"}
    return json.dumps({**notice, "created_at": 1_795_000_000_000, "operation": shown(op)}).encode()


def sign(body, at, secret):
    stamp = str(at // 1_000)
    digest = hmac.new(secret.reveal().encode(), stamp.encode() + b"." + body, sha256).hexdigest()
    return RawNotification({"simulator-timestamp": stamp, "simulator-signature": f"v1={digest}"}, body, at)


def case():
    return Case(
        provider=SimulatorProvider(),
        credentials={"api_key": Secret("sim_very_secret_1")},
        answer=answer,
        provider_reference=CHARGE,
        wire_amounts={
            Money(1999, "EUR"): b'"amount":1999,"currency":"EUR"',
            Money(500, "JPY"): b'"amount":500,"currency":"JPY"',
            Money(5123, "KWD"): b'"amount":5123,"currency":"KWD"',
        },
        token="tok_approve",
        news=news,
        sign=sign,
    )
