"""The simulator's adapter withstands the kit every provider must withstand."""

import json

import pytest

from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import Action
from interlock.core.kernel.secrets import Secret
from interlock.providers.conformance import CHECKS, Case
from interlock.providers.protocol import HttpReply
from interlock.providers.simulator import KINDS, SimulatorProvider
from tests.providers.simulator.harness import API_KEY, signed

CHARGE = "sch_00000000000000000000000001"


def shown(op):
    asked = op.target or op.action
    if asked is Action.AUTHORIZE:
        status = "captured" if op.capture else "authorized"
    else:
        status = "succeeded"
    return {
        "object": "operation",
        "id": f"sop_{op.attempt_id[4:]}",
        "kind": KINDS[asked],
        "status": status,
        "reference": op.attempt_id,
        "charge": CHARGE,
        "amount": op.amount.amount,
        "currency": op.amount.currency,
        "created_at": 1_795_000_000_000,
        "card": {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2031},
        "metadata": {"payment_id": op.payment_id, "tenant": op.tenant},
    }


def good_answer(op, request):
    if request.path.endswith("/session"):
        return HttpReply(201, {}, b'{"object":"session","id":"sse_1"}')
    return HttpReply(200 if request.method == "GET" else 201, {}, json.dumps(shown(op)).encode())


def news(op):
    document = {
        "object": "notification",
        "id": f"snt_{op.attempt_id[4:]}",
        "type": "operation.updated",
        "created_at": 1_795_000_000_000,
        "instance": "simulator",
        "operation": shown(op),
    }
    return json.dumps(document).encode()


def case(token):
    return Case(
        provider=SimulatorProvider(),
        credentials={"api_key": API_KEY, "signing_secret": Secret("current-signing-secret")},
        answer=good_answer,
        provider_reference=CHARGE,
        wire_amounts={
            Money(1999, "EUR"): b'"amount":1999,"currency":"EUR"',
            Money(500, "JPY"): b'"amount":500,"currency":"JPY"',
            Money(1_500, "KWD"): b'"amount":1500,"currency":"KWD"',
        },
        token=token,
        news=news,
        sign=signed,
    )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_simulator_withstands(check):
    check(case("tok_approve"))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_simulator_withstands_with_a_token_that_is_prepared(check):
    check(case("tok_connect_refused"))
