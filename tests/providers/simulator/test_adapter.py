"""The adapter by itself: what each answer and notification means in our words."""

import json

import pytest

from interlock.core.kernel.errors import Invalid, Unauthenticated
from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import Action, NotificationKind, Outcome, Result, Retry
from interlock.core.kernel.secrets import Secret
from interlock.providers.protocol import Context, Fault, FaultClass, HttpReply, Phase, advance
from interlock.providers.simulator import DECLINES, KINDS, STATUSES, SimulatorProvider
from interlock.simulator.behaviours import TOKENS
from interlock.simulator.model import Kind, Status
from tests.providers.simulator.harness import API_KEY, PAYMENT, TENANT, charge, instance, lookup_of, operation, signed

NOW = 1_800_000_000_000
CONTEXT = Context(NOW, {"api_key": API_KEY})
SECRET = Secret("current-signing-secret")


def start(op):
    conversation = SimulatorProvider().run(op, CONTEXT)
    return conversation, advance(conversation, None)


def reply_to(op, status, document, *, headers=None):
    """The result of one exchange."""
    conversation, _ = start(op)
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    result = advance(conversation, HttpReply(status, headers or {}, body))
    assert isinstance(result, Result)
    return result


def shown(op, status, **fields):
    return {
        "object": "operation",
        "id": "sop_1",
        "kind": KINDS[op.target or op.action],
        "status": status,
        "reference": op.attempt_id,
        "charge": "sch_1",
        "amount": op.amount.amount,
        "currency": op.amount.currency,
        "created_at": NOW,
        **fields,
    }


def error(code):
    return {"error": {"code": code, "message": "in words"}}


def test_words_of_the_adapter_are_those_of_the_server():
    assert set(STATUSES) == {status.value for status in Status}
    assert set(KINDS.values()) == {kind.value for kind in Kind} - {"lookup"}
    said = {behaviour.verdict.decline_code for behaviour in TOKENS.values()} - {None}
    assert said <= set(DECLINES)


@pytest.mark.parametrize(
    ("status", "http", "outcome", "captured"),
    [
        ("authorized", 201, Outcome.APPROVED, False),
        ("captured", 201, Outcome.APPROVED, True),
        ("pending", 201, Outcome.PENDING, False),
        ("declined", 402, Outcome.DECLINED, False),
    ],
)
def test_one_table_serves_answers_lookups_and_notifications(status, http, outcome, captured):
    op = operation(capture=True)
    document = shown(op, status, metadata={"payment_id": PAYMENT, "tenant": TENANT})
    answered = reply_to(op, http, document)
    found = reply_to(lookup_of(op), 200, document)
    body = {
        "object": "notification",
        "id": "snt_1",
        "type": "operation.updated",
        "created_at": NOW,
        "operation": document,
    }
    raw = signed(json.dumps(body).encode(), NOW, SECRET)
    (news,) = SimulatorProvider().notifications(raw, {"signing_secret": [SECRET]})
    assert answered == found == news.result
    assert (answered.outcome, answered.captured) == (outcome, captured)
    assert answered.amount == Money(1999, "EUR")
    assert (answered.provider_reference, answered.attempt_reference) == ("sch_1", "sop_1")
    assert (news.kind, news.attempt_id, news.action) == (NotificationKind.ATTEMPT, op.attempt_id, Action.AUTHORIZE)
    assert (news.payment_id, news.tenant, news.occurred_at) == (PAYMENT, TENANT, NOW)


@pytest.mark.parametrize(
    ("code", "kind", "ours", "retry"),
    [
        ("insufficient_funds", "soft", "insufficient_funds", Retry.SAME_LATER),
        ("stolen_card", "hard", "stolen_card", Retry.NEVER),
        ("issuer_unavailable", "soft", "issuer_unavailable", Retry.OTHER_PROVIDER),
        ("authentication_failed", "soft", "authentication_failed", Retry.STEP_UP),
        ("token_unknown", "hard", "invalid_payment_method", Retry.NEW_CREDENTIAL),
        ("a_reason_from_the_future", "soft", "declined", Retry.NEVER),
    ],
)
def test_decline_says_whether_another_try_helps(code, kind, ours, retry):
    op = operation()
    decline = reply_to(op, 402, shown(op, "declined", decline_code=code)).decline
    assert (decline.kind, decline.code, decline.retry, decline.network_code) == (kind, ours, retry, code)


@pytest.mark.parametrize(
    ("status", "document", "outcome", "detail"),
    [
        (401, error("unauthenticated"), Outcome.NOT_SENT, "credentials_refused"),
        (429, error("rate_limited"), Outcome.NOT_SENT, "rate_limited"),
        (400, error("invalid_request"), Outcome.DECLINED, "invalid_request"),
        (404, error("charge_unknown"), Outcome.DECLINED, "charge_unknown"),
        (409, error("idempotency_key_reused"), Outcome.UNKNOWN, "idempotency_key_reused"),
        (404, error("no_such_path"), Outcome.UNKNOWN, "http_404"),
        (500, error("internal_error"), Outcome.UNKNOWN, "http_500"),
        (503, error("invalid_request"), Outcome.UNKNOWN, "http_503"),
        (429, b"slow down", Outcome.UNKNOWN, "http_429"),
        (200, b"<html>", Outcome.UNKNOWN, "unreadable_answer"),
    ],
)
def test_error_answers_prove_only_what_they_say(status, document, outcome, detail):
    result = reply_to(operation(), status, document)
    assert (result.outcome, result.detail) == (outcome, detail)


@pytest.mark.parametrize(
    ("given", "wait_s"), [("7", 7.0), ("999999", 3600.0), ("-1", None), ("soon", None), ("", None)]
)
def test_rate_limited_says_how_long_to_wait(given, wait_s):
    result = reply_to(operation(), 429, error("rate_limited"), headers={"retry-after": given})
    assert result.retry_after_s == wait_s


def test_unknown_status_is_unknown_and_alarming():
    op = operation()
    for http in (201, 402):
        result = reply_to(op, http, shown(op, "half_captured"))
        assert (result.outcome, result.detail) == (Outcome.UNKNOWN, "unknown_status")


def test_answer_about_another_reference_is_unknown():
    op = operation()
    result = reply_to(op, 201, shown(op, "captured", reference="att_someone_elses"))
    assert (result.outcome, result.detail) == (Outcome.UNKNOWN, "reference_mismatch")
    found = reply_to(lookup_of(op), 200, shown(op, "captured", reference="att_someone_elses"))
    assert found.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(("http", "status"), [(200, "declined"), (402, "captured")])
def test_status_line_and_body_that_contradict_each_other_are_unknown(http, status):
    op = operation()
    assert reply_to(op, http, shown(op, status)).outcome is Outcome.UNKNOWN


def test_answer_about_another_kind_of_operation_is_unknown():
    op = operation(Action.REFUND, provider_reference="sch_1")
    assert reply_to(op, 201, shown(op, "succeeded", kind="void")).outcome is Outcome.UNKNOWN


def test_wrong_amount_is_handed_on_for_the_engine_to_see():
    op = operation()
    assert reply_to(op, 201, shown(op, "captured", amount=2000)).amount == Money(2000, "EUR")
    assert reply_to(op, 201, shown(op, "captured", currency="XXX")).outcome is Outcome.UNKNOWN


def test_required_action_leads_to_an_address_or_is_unknown():
    op = operation()
    good = reply_to(op, 201, shown(op, "requires_action", action_url="https://bank.example/3ds/1"))
    assert good.outcome is Outcome.REQUIRES_ACTION
    assert good.next_action == {"type": "redirect", "url": "https://bank.example/3ds/1"}
    for wrong in (None, "javascript:alert(1)", ""):
        assert reply_to(op, 201, shown(op, "requires_action", action_url=wrong)).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("status", "document", "outcome"),
    [
        (404, error("operation_unknown"), Outcome.NOT_SENT),
        (404, error("no_such_path"), Outcome.UNKNOWN),
        (404, b"not found", Outcome.UNKNOWN),
        (401, error("unauthenticated"), Outcome.UNKNOWN),
        (429, error("rate_limited"), Outcome.UNKNOWN),
        (500, b"", Outcome.UNKNOWN),
    ],
)
def test_lookup_says_unknown_to_the_provider_only_in_its_own_words(status, document, outcome):
    assert reply_to(lookup_of(operation()), status, document).outcome is outcome


@pytest.mark.parametrize("kind", list(FaultClass))
def test_fault_of_a_charge_is_not_sent_only_before_its_first_byte(kind):
    conversation, request = start(operation())
    assert request.phase is Phase.COMMIT
    result = advance(conversation, Fault(kind))
    assert result.outcome is (Outcome.NOT_SENT if kind.before_sending else Outcome.UNKNOWN)
    assert result.detail == kind.value


@pytest.mark.parametrize("kind", list(FaultClass))
def test_any_fault_while_preparing_is_not_sent(kind):
    conversation, request = start(operation(token="tok_connect_refused"))
    assert (request.phase, request.path) == (Phase.PREPARE, "/v1/tokens/tok_connect_refused/session")
    assert advance(conversation, Fault(kind)).outcome is Outcome.NOT_SENT


def test_prepared_token_is_charged_with_its_session_and_then_faults_count():
    conversation, _ = start(operation(token="tok_connect_refused-at-simulator_b"))
    request = advance(conversation, HttpReply(201, {}, b'{"object":"session","id":"sse_1"}'))
    assert request.phase is Phase.COMMIT and json.loads(request.body)["session"] == "sse_1"
    assert advance(conversation, Fault(FaultClass.RESET)).outcome is Outcome.UNKNOWN


def test_preparation_that_fails_charges_nothing():
    for status, body in [(503, b""), (200, b"{}"), (500, b'{"error":{"code":"internal_error"}}')]:
        conversation, _ = start(operation(token="tok_connect_refused"))
        result = advance(conversation, HttpReply(status, {}, body))
        assert (result.outcome, result.detail) == (Outcome.NOT_SENT, "preparation_failed")


def test_charge_carries_what_the_provider_needs_and_the_engine_its_key():
    op = operation(capture=True, amount=500, currency="JPY", return_url="https://shop.example/back")
    _, request = start(op)
    assert (request.method, request.path, request.idempotency_header) == ("POST", "/v1/charges", "Idempotency-Key")
    assert request.headers["authorization"] == f"Bearer {API_KEY.reveal()}"
    assert json.loads(request.body) == {
        "reference": op.attempt_id,
        "amount": 500,
        "currency": "JPY",
        "token": "tok_approve",
        "capture": True,
        "return_url": "https://shop.example/back",
        "metadata": {"payment_id": PAYMENT, "tenant": TENANT},
    }


def test_void_names_no_amount_and_takes_none_from_the_answer():
    op = operation(Action.VOID, amount=700, provider_reference="sch_1")
    _, request = start(op)
    assert json.loads(request.body) == {"reference": op.attempt_id}
    assert reply_to(op, 201, shown(op, "succeeded", amount=300)).amount is None


def test_operation_on_a_charge_nobody_named_is_not_sent():
    _, result = start(operation(Action.CAPTURE))
    assert (result.outcome, result.detail) == (Outcome.NOT_SENT, "no_provider_reference")


def test_references_cannot_change_the_path():
    _, request = start(operation(Action.REFUND, provider_reference="../../reset?x=#"))
    assert request.path == "/v1/charges/..%2F..%2Freset%3Fx%3D%23/refunds"


def notification(**fields):
    return {"object": "notification", "id": "snt_1", "type": "operation.updated", "created_at": NOW, **fields}


def read(document, *, secrets=(SECRET,), signing=SECRET, at=NOW):
    raw = signed(json.dumps(document).encode(), at, signing)
    return SimulatorProvider().notifications(raw._replace(received_at=NOW), {"signing_secret": list(secrets)})


@pytest.mark.parametrize("status", ["opened", "won", "lost"])
def test_dispute_news(status):
    dispute = {"id": "sds_1", "status": status, "charge": "sch_1", "amount": 300, "currency": "EUR", "reason": "fraud"}
    dispute["metadata"] = {"payment_id": PAYMENT, "tenant": TENANT}
    (news,) = read(notification(type=f"dispute.{status}", dispute=dispute))
    assert (news.kind, news.provider_reference, news.payment_id) == (NotificationKind.DISPUTE, "sch_1", PAYMENT)
    assert (news.dispute.reference, news.dispute.status, news.dispute.amount) == ("sds_1", status, Money(300, "EUR"))


def test_news_of_another_type_is_of_no_consequence():
    (news,) = read(notification(type="payout.sent"))
    assert (news.kind, news.result) == (NotificationKind.OTHER, None)


@pytest.mark.parametrize(
    "document",
    [
        notification(),
        notification(operation={"object": "operation"}),
        notification(type="dispute.opened"),
        notification(type="operation.updated", dispute={"id": "sds_1"}),
        {"object": "operation"},
    ],
)
def test_signed_news_that_lacks_what_it_promises_is_invalid(document):
    with pytest.raises(Invalid):
        read(document)


def test_tenant_without_payment_is_not_believed():
    op = operation()
    (news,) = read(notification(operation=shown(op, "captured", metadata={"tenant": TENANT})))
    assert (news.tenant, news.payment_id) == (None, None)


@pytest.mark.parametrize(
    ("off_ms", "good"), [(0, True), (300_000, True), (301_000, False), (-300_000, True), (-301_000, False)]
)
def test_notifications_are_taken_within_five_minutes(off_ms, good):
    document = notification(type="payout.sent")
    if good:
        assert read(document, at=NOW - off_ms)
    else:
        with pytest.raises(Unauthenticated):
            read(document, at=NOW - off_ms)


def test_either_secret_counts_while_they_are_rotated_and_none_when_withdrawn():
    old, new = Secret("old"), Secret("new")
    document = notification(type="payout.sent")
    assert read(document, secrets=(new, old), signing=old)
    assert read(document, secrets=(new, old), signing=new)
    with pytest.raises(Unauthenticated):
        read(document, secrets=(new,), signing=old)


def test_what_the_real_instance_says_is_understood():
    provider = instance()
    op = operation(capture=True)
    reaction = charge(provider, key=op.attempt_id, capture=True)
    result = reply_to(op, reaction.reply.status, reaction.reply.body)
    assert (result.outcome, result.captured, result.amount) == (Outcome.APPROVED, True, op.amount)
    assert result.card.last4 == "4242"
