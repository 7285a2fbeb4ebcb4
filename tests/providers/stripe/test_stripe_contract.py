"""What we send and read, held against what Stripe publishes: its OpenAPI contract and its official Python package."""

import importlib
import json
import re

import jsonschema
import pytest
import stripe as official

from interlock.core.kernel.errors import Unauthenticated
from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import Action, Outcome
from interlock.core.kernel.secrets import Secret
from interlock.providers.conformance import NOW, converse, lookups, operations
from interlock.providers.protocol import HttpRequest, Phase, RawNotification
from interlock.providers.stripe import API_VERSION, StripeProvider
from interlock.providers.stripe_objects import PAYMENT_INTENT_STATUS
from tests.providers.stripe import contract, fake_stripe

SECRET = "whsec_5f2c1a9be7"
REMOVED_IN_THE_NEXT_VERSION = {"payment_method_types"}
NEWER_THAN_THE_CONTRACT = {"final_capture", "payment_method_options[card][request_multicapture]"}


def requests_of(case, ops, answer=fake_stripe.well):
    return [request for op in ops for request in converse(case, op, lambda r, op=op: answer(op, r))[1]]


def varied(case):
    """Every kind of request there is: tokens and saved methods, return address or not, all amounts, all looks."""
    found = []
    for money in case.wire_amounts:
        for op in operations(case, amount=money):
            for fields in (
                {},
                {"token": "pm_card_visa"},
                {"return_url": "https://shop.example/return?order=17"},
                {"description": "Order 17 & more – ünïcode", "metadata": {"note": "a=b&c"}},
            ):
                found.append(type(op)(**{name: getattr(op, name) for name in op.__struct_fields__} | fields))
    for op in lookups(case):
        found.append(op)
        fields = {name: getattr(op, name) for name in op.__struct_fields__}
        if op.target is Action.AUTHORIZE:
            found.append(type(op)(**fields | {"provider_reference": None}))
        if op.target is Action.REFUND:
            found.append(type(op)(**fields | {"target_reference": fake_stripe.REFUND_ID}))
    return found


def test_every_request_is_in_the_published_contract():
    case = fake_stripe.case()
    requests = requests_of(case, varied(case))
    assert len(requests) > 100
    for request in requests:
        contract.check_request(request)
    kinds = {(r.method, re.sub(r"(pi|re)_[A-Z0-9]\w+", "{id}", r.path.partition("?")[0])) for r in requests}
    assert kinds == {
        ("POST", "/v1/payment_methods"),
        ("POST", "/v1/payment_intents"),
        ("POST", "/v1/payment_intents/{id}/capture"),
        ("POST", "/v1/payment_intents/{id}/cancel"),
        ("POST", "/v1/refunds"),
        ("GET", "/v1/payment_intents"),
        ("GET", "/v1/payment_intents/{id}"),
        ("GET", "/v1/refunds"),
        ("GET", "/v1/refunds/{id}"),
    }


def test_search_and_later_pages_are_in_the_published_contract():
    case = fake_stripe.case()
    op = next(op for op in varied(case) if op.action is Action.LOOKUP and op.provider_reference is None)
    other = fake_stripe.intent(op, status="succeeded", metadata={"attempt_id": "att_other"})

    def many_others(op, request):
        return fake_stripe.listed(other, has_more=True)

    requests = requests_of(case, [op], many_others)
    for request in requests:
        contract.check_request(request)
    assert "starting_after=" in requests[1].path
    assert requests[-1].path.startswith("/v1/payment_intents/search?")


def test_the_contract_check_refuses_what_is_not_in_it():
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for method, path, body in [
        ("POST", "/v1/payment_intents", b"amount=10&currency=eur&no_such_parameter=1"),
        ("POST", "/v1/payment_intents", b"amount=ten&currency=eur"),
        ("POST", "/v1/payment_intents", b"currency=eur"),
        ("POST", "/v1/payment_intents", b"amount=10&currency=eur&capture_method=later"),
        ("POST", "/v1/payment_intents/pi_1/no_such_action", b"amount=10"),
        ("GET", "/v1/payment_intents?metadata[attempt_id]=att_1", b""),
        ("GET", "/v1/payment_intents/search", b""),
    ]:
        with pytest.raises((AssertionError, jsonschema.ValidationError)):
            contract.check_request(HttpRequest(method, path, Phase.COMMIT, headers, body))


def test_every_parameter_is_known_to_the_official_package_also_the_newer_ones():
    case = fake_stripe.case(multicapture=True)
    kinds = {
        "/v1/payment_intents": "PaymentIntentCreateParams",
        "capture": "PaymentIntentCaptureParams",
        "cancel": "PaymentIntentCancelParams",
        "/v1/refunds": "RefundCreateParams",
        "/v1/payment_methods": "PaymentMethodCreateParams",
    }
    seen, unknown = set(), set()
    for request in requests_of(case, operations(case)):
        if request.method != "POST":
            continue
        kind = kinds.get(request.path) or kinds[request.path.rsplit("/", 1)[1]]
        known = _params(kind)
        fields = fake_stripe.form(request)
        unknown |= {name.split("[")[0] for name in fields} - known
        seen |= set(fields)
    assert unknown == REMOVED_IN_THE_NEXT_VERSION
    assert seen >= NEWER_THAN_THE_CONTRACT


def _params(kind):
    """The parameters of one method in the official package."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower()
    typed = getattr(importlib.import_module(f"stripe.params._{name}"), kind)
    return typed.__required_keys__ | typed.__optional_keys__


def test_our_status_table_is_the_contracts():
    assert set(PAYMENT_INTENT_STATUS) == contract.enum_of("payment_intent", "status")


def test_dispute_statuses_we_read_are_the_contracts():
    assert {"won", "lost", "needs_response", "warning_closed"} <= contract.enum_of("dispute", "status")


def test_objects_in_our_tests_are_what_the_contract_describes():
    schemas = contract.load()["components"]["schemas"]
    case = fake_stripe.case()
    op = operations(case)[0]
    for name, obj in (
        ("payment_intent", fake_stripe.intent(op, status="succeeded")),
        ("refund", fake_stripe.refund(op)),
    ):
        assert set(obj) <= set(schemas[name]["properties"])


def test_pinned_version_is_an_earlier_one_than_the_official_packages():
    assert official.api_version > API_VERSION


def test_our_requests_carry_version_key_and_idempotency_header():
    case = fake_stripe.case()
    for request in requests_of(case, operations(case)):
        assert request.headers["Stripe-Version"] == API_VERSION
        assert request.headers["Authorization"] == f"Bearer {fake_stripe.KEY}"
        own_key = request.headers.get("Idempotency-Key")
        assert (request.phase, request.idempotency_header, own_key) in (
            (Phase.COMMIT, "Idempotency-Key", None),
            (Phase.PREPARE, None, "att_00000000000000000000000001-method"),
            (Phase.PREPARE, None, "att_00000000000000000000000002-method"),
        )


def official_header(body, at_s, secret=SECRET):
    signature = official.WebhookSignature._compute_signature(f"{at_s}.{body.decode()}", secret)
    return f"t={at_s},v1={signature}"


def test_what_the_official_package_signs_we_accept_and_what_we_accept_it_verifies(monkeypatch):
    monkeypatch.setattr("time.time", lambda: NOW / 1_000)
    case = fake_stripe.case()
    for op in operations(case)[:2]:
        body = fake_stripe.news(op)
        header = official_header(body, NOW // 1_000)
        (news,) = StripeProvider().notifications(
            RawNotification({"stripe-signature": header}, body, NOW), {"webhook_secret": [Secret(SECRET)]}
        )
        event = official.Webhook.construct_event(body, header, SECRET)
        assert (event.id, event.created * 1_000) == (news.id, news.occurred_at)
        intent = event.data.object
        assert (intent.id, intent.metadata["attempt_id"]) == (news.provider_reference, news.attempt_id)
        assert news.result.outcome is Outcome.APPROVED
        assert news.result.amount == Money(intent.amount, intent.currency.upper())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body, header: (body + b" ", header),
        lambda body, header: (body.replace(b"1999", b"9999"), header),
        lambda body, header: (body, header.replace("v1=", "v0=")),
        lambda body, header: (body, header[:-1] + ("0" if header[-1] != "0" else "1")),
        lambda body, header: (body, official_header(body, NOW // 1_000 - 301)),
        lambda body, header: (body, official_header(body, NOW // 1_000, "whsec_other")),
        lambda body, header: (body, ""),
    ],
)
def test_what_the_official_package_refuses_we_refuse(spoil, monkeypatch):
    monkeypatch.setattr("time.time", lambda: NOW / 1_000)
    good = fake_stripe.news(operations(fake_stripe.case())[0])
    body, header = spoil(good, official_header(good, NOW // 1_000))
    with pytest.raises(official.SignatureVerificationError):
        official.Webhook.construct_event(body, header, SECRET)
    with pytest.raises(Unauthenticated):
        StripeProvider().notifications(
            RawNotification({"stripe-signature": header}, body, NOW), {"webhook_secret": [Secret(SECRET)]}
        )


def test_official_package_parses_the_objects_we_read():
    case = fake_stripe.case()
    op = operations(case)[1]
    read = official.PaymentIntent.construct_from(fake_stripe.intent(op, status="succeeded"), "sk_test")
    result, _ = converse(case, op, lambda r: fake_stripe.well(op, r))
    assert (read.id, read.amount_received) == (result.provider_reference, result.amount.amount)
    card = read.latest_charge.payment_method_details.card
    assert (card.brand, card.last4, card.exp_month, card.exp_year) == tuple(
        getattr(result.card, name) for name in ("brand", "last4", "exp_month", "exp_year")
    )
    assert json.loads(fake_stripe.news(op))["object"] == "event"
