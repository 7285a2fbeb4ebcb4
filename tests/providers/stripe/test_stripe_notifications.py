"""What each of Stripe's events means."""

import json

import pytest

from interlock.core.kernel.errors import Invalid, Unauthenticated
from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import Action, DisputeNews, NotificationKind, Outcome
from interlock.core.kernel.secrets import Secret
from interlock.providers.conformance import NOW, operations
from interlock.providers.protocol import RawNotification
from interlock.providers.stripe import StripeProvider
from tests.providers.stripe.fake_stripe import CHARGE_ID, INTENT_ID, case, event, intent, refund, sign

SECRET = Secret("whsec_current")
AUTHORIZE, CHARGE, CAPTURE, VOID, REFUND = operations(case())


def receive(body, *, at=NOW, received_at=NOW):
    raw = sign(body, at, SECRET)._replace(received_at=received_at)
    return StripeProvider().notifications(raw, {"webhook_secret": [SECRET]})


@pytest.mark.parametrize(
    ("kind", "op", "status", "action", "outcome"),
    [
        ("payment_intent.succeeded", CHARGE, "succeeded", Action.AUTHORIZE, Outcome.APPROVED),
        ("payment_intent.succeeded", AUTHORIZE, "succeeded", Action.CAPTURE, Outcome.APPROVED),
        ("payment_intent.amount_capturable_updated", AUTHORIZE, "requires_capture", Action.AUTHORIZE, Outcome.APPROVED),
        ("payment_intent.processing", CHARGE, "processing", Action.AUTHORIZE, Outcome.PENDING),
        ("payment_intent.requires_action", CHARGE, "requires_action", Action.AUTHORIZE, Outcome.REQUIRES_ACTION),
        ("payment_intent.canceled", AUTHORIZE, "canceled", Action.VOID, Outcome.APPROVED),
        ("payment_intent.succeeded", CHARGE, "status_from_the_future", Action.AUTHORIZE, Outcome.UNKNOWN),
    ],
)
def test_news_of_an_intent(kind, op, status, action, outcome):
    (news,) = receive(event(kind, intent(op, status=status)))
    assert (news.kind, news.action, news.result.outcome) == (NotificationKind.ATTEMPT, action, outcome)
    assert (news.payment_id, news.tenant, news.provider_reference) == (op.payment_id, op.tenant, INTENT_ID)
    assert news.attempt_id == (op.attempt_id if action is Action.AUTHORIZE else None)
    assert news.occurred_at == 1_794_999_999_000
    if outcome is Outcome.APPROVED:
        assert news.result.amount == Money(1999, "EUR")


def test_news_of_a_failed_payment_tells_why():
    failed = intent(
        CHARGE,
        status="requires_payment_method",
        last_payment_error={"type": "card_error", "code": "card_declined", "decline_code": "expired_card"},
    )
    (news,) = receive(event("payment_intent.payment_failed", failed))
    assert (news.result.outcome, news.result.decline.code) == (Outcome.DECLINED, "expired_card")


@pytest.mark.parametrize("kind", ["refund.created", "refund.updated", "refund.failed", "charge.refund.updated"])
@pytest.mark.parametrize(("status", "outcome"), [("succeeded", Outcome.APPROVED), ("failed", Outcome.DECLINED)])
def test_news_of_a_refund_names_our_attempt(kind, status, outcome):
    (news,) = receive(event(kind, refund(REFUND, status=status)))
    assert (news.action, news.attempt_id, news.result.outcome) == (Action.REFUND, REFUND.attempt_id, outcome)
    assert news.result.amount == Money(1999, "EUR")
    assert news.payment_id == REFUND.payment_id


def test_refunded_charge_is_one_news_for_each_refund_it_shows_and_else_of_no_consequence():
    second = refund(REFUND, id="re_2", amount=1, metadata={})
    charge = {"id": CHARGE_ID, "object": "charge", "payment_intent": INTENT_ID}
    shown = receive(event("charge.refunded", {**charge, "refunds": {"data": [refund(REFUND), second]}}))
    assert [news.attempt_id for news in shown] == [REFUND.attempt_id, None]
    assert len({news.id for news in shown}) == 2
    (bare,) = receive(event("charge.refunded", charge))
    assert (bare.kind, bare.provider_reference) == (NotificationKind.OTHER, INTENT_ID)


def dispute(status, **fields):
    return {
        "id": "dp_1",
        "object": "dispute",
        "amount": 1999,
        "currency": "eur",
        "payment_intent": INTENT_ID,
        "reason": "fraudulent",
        "status": status,
        **fields,
    }


@pytest.mark.parametrize(
    ("kind", "status", "told"),
    [
        ("charge.dispute.created", "needs_response", "opened"),
        ("charge.dispute.funds_withdrawn", "needs_response", "opened"),
        ("charge.dispute.closed", "won", "won"),
        ("charge.dispute.closed", "lost", "lost"),
    ],
)
def test_news_of_a_dispute(kind, status, told):
    (news,) = receive(event(kind, dispute(status)))
    assert (news.kind, news.provider_reference) == (NotificationKind.DISPUTE, INTENT_ID)
    assert news.dispute == DisputeNews("dp_1", told, Money(1999, "EUR"), "fraudulent")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("charge.dispute.created", dispute("warning_needs_response")),
        ("charge.dispute.closed", dispute("warning_closed")),
        ("charge.dispute.closed", dispute("status_from_the_future")),
        ("charge.dispute.updated", dispute("under_review")),
        ("charge.succeeded", {"id": CHARGE_ID}),
        ("customer.created", {"id": "cus_1"}),
        ("event.from.the.future", {"anything": [1, 2]}),
    ],
)
def test_event_of_no_consequence_is_understood_and_left_alone(kind, body):
    (news,) = receive(event(kind, body))
    assert (news.kind, news.result, news.dispute) == (NotificationKind.OTHER, None, None)


@pytest.mark.parametrize(
    ("kind", "body"),
    [("payment_intent.succeeded", {"id": "pi_1"}), ("refund.updated", {"amount": "x"}), ("charge.dispute.closed", {})],
)
def test_known_event_without_its_object_is_invalid(kind, body):
    with pytest.raises(Invalid):
        receive(event(kind, body))


@pytest.mark.parametrize("seconds", [-300, -1, 0, 1, 300])
def test_signature_within_five_minutes_counts(seconds):
    assert receive(event("customer.created", {}), at=NOW - seconds * 1_000)


@pytest.mark.parametrize("seconds", [-301, 301, 86_400])
def test_signature_older_or_newer_than_five_minutes_does_not(seconds):
    with pytest.raises(Unauthenticated):
        receive(event("customer.created", {}), at=NOW - seconds * 1_000)


def test_one_good_signature_among_several_is_enough():
    body = event("customer.created", {})
    header = sign(body, NOW, SECRET).headers["stripe-signature"]
    stamp, good = header.split(",")
    raw = RawNotification({"stripe-signature": f"{stamp},v0=abc,v1={'0' * 64},{good}"}, body, NOW)
    assert StripeProvider().notifications(raw, {"webhook_secret": [SECRET]})


@pytest.mark.parametrize("header", ["", "t=", "v1=abc", "t=abc,v1=abc", f"t={NOW // 1_000}", "t=٣,v1=a", "t=1" * 9_999])
def test_malformed_signature_is_refused(header):
    with pytest.raises(Unauthenticated):
        StripeProvider().notifications(
            RawNotification({"stripe-signature": header}, b"{}", NOW), {"webhook_secret": [SECRET]}
        )


def test_oversized_notification_is_refused_before_it_is_hashed():
    body = json.dumps({"id": "evt_1", "type": "customer.created", "x": "x" * 1_000_001}).encode()
    with pytest.raises(Unauthenticated):
        receive(body)
