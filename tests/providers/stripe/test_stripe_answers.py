"""What each of Stripe's answers means. Conversations are held by hand: no network."""

import msgspec
import pytest

from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import Action, Card, Outcome, Retry
from interlock.providers.conformance import converse, operations
from interlock.providers.protocol import Fault, FaultClass, HttpReply
from interlock.providers.stripe_declines import ADVICE, DECLINES, ERRORS, decline
from interlock.providers.stripe_objects import CURRENCIES, REFUND_STATUS, from_stripe, to_stripe
from tests.providers.stripe.fake_stripe import (
    CARD,
    CHARGE_ID,
    INTENT_ID,
    REFUND_ID,
    case,
    error,
    form,
    intent,
    listed,
    query,
    refund,
    reply,
    well,
)

CASE = case()
MULTICAPTURE = case(multicapture=True)
AUTHORIZE, CHARGE, CAPTURE, VOID, REFUND = [
    msgspec.structs.replace(op, token="pm_card_visa" if op.token else "") for op in operations(CASE)
]


def look(op, **fields):
    known = {"action": Action.LOOKUP, "target": op.action, "token": "", "provider_reference": INTENT_ID}
    return msgspec.structs.replace(op, **{**known, **fields})


def ask(op, *replies, kit=CASE, resend=False):
    """The result, and the requests made; answers come in order."""
    answers = list(replies)
    result, requests = converse(kit, op, lambda _: answers.pop(0), resend=resend)
    assert not answers, "not every answer was asked for"
    return result, requests


def test_authorization_reserves_and_tells_card_and_expiry():
    result, (request,) = ask(AUTHORIZE, reply(intent(AUTHORIZE, status="requires_capture")))
    assert (result.outcome, result.captured) == (Outcome.APPROVED, False)
    assert result.card == Card("visa", "4242", 12, 2031, "US", "424242")
    assert result.authorization_expires_at == 1_795_600_000_000
    assert form(request) == {
        "amount": "1999",
        "currency": "eur",
        "confirm": "true",
        "capture_method": "manual",
        "payment_method_types[]": "card",
        "payment_method": "pm_card_visa",
        "off_session": "true",
        "metadata[attempt_id]": AUTHORIZE.attempt_id,
        "metadata[payment_id]": AUTHORIZE.payment_id,
        "metadata[tenant]": "ten_1",
        "expand[]": "latest_charge",
    }


def test_return_address_means_that_the_payer_is_there():
    op = msgspec.structs.replace(AUTHORIZE, return_url="https://shop.example/back")
    _, (request,) = ask(op, reply(intent(op, status="requires_capture")))
    assert form(request)["return_url"] == "https://shop.example/back"
    assert "off_session" not in form(request)


def test_token_becomes_a_payment_method_before_money_can_move():
    op = msgspec.structs.replace(AUTHORIZE, token="tok_visa")
    result, (made, used) = ask(op, reply({"id": "pm_1"}), reply(intent(op, status="requires_capture")))
    assert result.outcome is Outcome.APPROVED
    assert (made.path, made.phase.value, form(made)) == (
        "/v1/payment_methods",
        "prepare",
        {"type": "card", "card[token]": "tok_visa"},
    )
    assert form(used)["payment_method"] == "pm_1"


DECLINED = {"type": "card_error", "code": "card_declined", "decline_code": "do_not_honor"}
VISA = Card("visa", "4242", 12, 2031, "US")


def test_declined_authorization_tells_its_card():
    told = {**DECLINED, "payment_method": {"id": "pm_1", "object": "payment_method", "type": "card", "card": CARD}}
    whole = intent(AUTHORIZE, status="requires_payment_method", latest_charge=CHARGE_ID)
    result, _ = ask(AUTHORIZE, error(402, **told, payment_intent=whole))
    assert (result.outcome, result.card) == (Outcome.DECLINED, VISA)
    found = intent(AUTHORIZE, status="requires_payment_method", latest_charge=CHARGE_ID, last_payment_error=told)
    result, _ = ask(look(AUTHORIZE), reply(found))
    assert (result.outcome, result.card) == (Outcome.DECLINED, VISA)


@pytest.mark.parametrize(
    "answer",
    [
        error(402, **DECLINED),
        error(400, code="amount_too_small"),
        HttpReply(500, {}, b""),
        Fault(FaultClass.READ_TIMEOUT),
    ],
)
def test_card_that_the_preparation_showed_is_known_however_it_ends(answer):
    op = msgspec.structs.replace(AUTHORIZE, token="tok_visa")
    result, _ = ask(op, reply({"id": "pm_1", "card": {**CARD, "iin": "42424242"}}), answer)
    assert result.outcome is not Outcome.APPROVED
    assert result.card == Card("visa", "4242", 12, 2031, "US", "42424242")


@pytest.mark.parametrize(
    "odd", [None, [], "pm_1", {"brand": "visa"}, {**CARD, "last4": 4242}, {**CARD, "exp_year": "x"}]
)
def test_card_that_cannot_be_read_is_not_known_and_no_matter(odd):
    op = msgspec.structs.replace(AUTHORIZE, token="tok_visa")
    result, _ = ask(op, reply({"id": "pm_1", "card": odd}), error(402, **DECLINED, payment_method=odd))
    assert (result.outcome, result.card) == (Outcome.DECLINED, None)


def test_token_that_is_refused_is_a_decline_for_want_of_another():
    op = msgspec.structs.replace(AUTHORIZE, token="tok_used")
    result, requests = ask(op, error(400, code="token_already_used"))
    assert (result.outcome, result.decline.retry) == (Outcome.DECLINED, Retry.NEW_CREDENTIAL)
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("succeeded", Outcome.APPROVED),
        ("requires_capture", Outcome.APPROVED),
        ("processing", Outcome.PENDING),
        ("requires_action", Outcome.REQUIRES_ACTION),
        ("canceled", Outcome.DECLINED),
        ("requires_confirmation", Outcome.UNKNOWN),
        ("requires_payment_method", Outcome.UNKNOWN),
        ("a_new_one", Outcome.UNKNOWN),
        ("", Outcome.UNKNOWN),
    ],
)
def test_each_status_of_an_authorization(status, outcome):
    for op in (CHARGE, look(CHARGE)):
        result, _ = ask(op, reply(intent(op, status=status)))
        assert result.outcome is outcome
        assert result.captured is (status == "succeeded")


def test_payer_is_sent_to_the_address_stripe_gives():
    action = {"type": "redirect_to_url", "redirect_to_url": {"url": "https://hooks.stripe.com/3ds", "return_url": "x"}}
    result, _ = ask(AUTHORIZE, reply(intent(AUTHORIZE, status="requires_action", next_action=action)))
    assert result.next_action == {"type": "redirect", "url": "https://hooks.stripe.com/3ds"}
    sdk, _ = ask(AUTHORIZE, reply(intent(AUTHORIZE, status="requires_action", next_action={"type": "use_stripe_sdk"})))
    assert sdk.next_action == {"type": "use_stripe_sdk"}


def test_card_decline_is_read_from_the_table_and_names_the_intent():
    failed = intent(AUTHORIZE, status="requires_payment_method")
    answer = error(
        402,
        type="card_error",
        code="card_declined",
        decline_code="insufficient_funds",
        message="Your card has insufficient funds.",
        payment_intent=failed,
    )
    result, _ = ask(AUTHORIZE, answer)
    assert (result.outcome, result.provider_reference) == (Outcome.DECLINED, INTENT_ID)
    assert (result.decline.kind, result.decline.code, result.decline.retry, result.decline.network_code) == (
        "soft",
        "insufficient_funds",
        Retry.SAME_LATER,
        "insufficient_funds",
    )


def test_decline_found_later_is_read_from_the_last_error():
    failed = intent(
        look(AUTHORIZE),
        status="requires_payment_method",
        last_payment_error={"type": "card_error", "code": "card_declined", "decline_code": "stolen_card"},
    )
    result, _ = ask(look(AUTHORIZE), reply(failed))
    assert (result.outcome, result.decline.code, result.decline.retry) == (
        Outcome.DECLINED,
        "stolen_card",
        Retry.NEVER,
    )


def test_decline_about_another_attempts_intent_is_in_doubt():
    theirs = intent(AUTHORIZE, status="requires_payment_method", metadata={"attempt_id": "att_other"})
    result, _ = ask(AUTHORIZE, error(402, type="card_error", code="card_declined", payment_intent=theirs))
    assert (result.outcome, result.detail) == (Outcome.UNKNOWN, "reference_mismatch")


@pytest.mark.parametrize(
    ("answer", "outcome", "detail"),
    [
        (error(409, code="idempotency_key_in_use"), Outcome.UNKNOWN, "idempotency_key_in_use"),
        (error(400, type="idempotency_error"), Outcome.UNKNOWN, "idempotency_key_reused"),
        (error(429, code="rate_limit"), Outcome.NOT_SENT, "rate_limit"),
        (error(429, code="lock_timeout"), Outcome.NOT_SENT, "lock_timeout"),
        (error(401), Outcome.NOT_SENT, "credentials_refused"),
        (error(403), Outcome.NOT_SENT, "credentials_refused"),
        (error(424, type="api_error"), Outcome.UNKNOWN, "api_error"),
        (error(500, type="api_error"), Outcome.UNKNOWN, "http_500"),
        (error(503, type="api_error"), Outcome.UNKNOWN, "http_503"),
        (error(400, code="amount_too_small"), Outcome.DECLINED, "amount_too_small"),
        (error(400, code="parameter_unknown"), Outcome.DECLINED, "parameter_unknown"),
        (error(404, code="resource_missing", param="payment_method"), Outcome.DECLINED, "resource_missing"),
    ],
)
def test_each_kind_of_error(answer, outcome, detail):
    for op in (AUTHORIZE, CAPTURE, REFUND):
        result, _ = ask(op, answer)
        assert (result.outcome, result.detail) == (outcome, detail)


def test_rate_limit_tells_how_long_to_wait():
    limited = HttpReply(429, {"retry-after": "7"}, error(429, code="rate_limit").body)
    assert ask(AUTHORIZE, limited)[0].retry_after_s == 7.0
    odd = HttpReply(429, {"retry-after": "soon"}, error(429, code="rate_limit").body)
    assert ask(AUTHORIZE, odd)[0].retry_after_s is None


def test_refusal_of_the_payment_method_asks_for_another_and_other_refusals_for_another_provider():
    missing, _ = ask(AUTHORIZE, error(404, code="resource_missing", param="payment_method"))
    assert missing.decline.retry is Retry.NEW_CREDENTIAL
    strange, _ = ask(AUTHORIZE, error(400, code="parameter_unknown"))
    assert (strange.decline.retry, strange.decline.network_code) == (Retry.OTHER_PROVIDER, "parameter_unknown")


def test_replayed_answer_is_checked_against_the_intent_as_it_is_now():
    then = reply(intent(CHARGE, status="processing"), idempotent_replayed="true")
    result, requests = ask(CHARGE, then, reply(intent(CHARGE, status="succeeded")), resend=True)
    assert (result.outcome, result.captured) == (Outcome.APPROVED, True)
    assert requests[1].path == f"/v1/payment_intents/{INTENT_ID}?expand%5B%5D=latest_charge"


def test_replayed_answer_counts_when_the_intent_cannot_be_looked_at():
    then = reply(intent(CHARGE, status="processing"), idempotent_replayed="true")
    assert ask(CHARGE, then, error(500))[0].outcome is Outcome.PENDING


def test_capture_takes_the_amount_and_releases_the_rest():
    part = msgspec.structs.replace(CAPTURE, amount=Money(500, "EUR"))
    captured = intent(part, status="succeeded", amount=1999, received=500)
    result, (request,) = ask(part, reply(captured))
    assert (result.outcome, result.amount, result.captured) == (Outcome.APPROVED, Money(500, "EUR"), True)
    assert request.path == f"/v1/payment_intents/{INTENT_ID}/capture"
    assert form(request) == {"amount_to_capture": "500", "expand[]": "latest_charge"}


def test_capture_of_what_was_captured_already_is_found_out_by_looking():
    part = msgspec.structs.replace(CAPTURE, amount=Money(500, "EUR"))
    refused = error(400, code="payment_intent_unexpected_state")
    done, _ = ask(part, refused, reply(intent(part, status="succeeded", amount=1999, received=500)))
    assert (done.outcome, done.amount) == (Outcome.APPROVED, Money(500, "EUR"))
    expired, _ = ask(part, refused, reply(intent(part, status="canceled")))
    assert (expired.outcome, expired.decline.code) == (Outcome.DECLINED, "authorization_expired")
    still, _ = ask(part, refused, reply(intent(part, status="requires_capture")))
    assert still.outcome is Outcome.DECLINED
    blind, _ = ask(part, refused, error(500))
    assert blind.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("succeeded", Outcome.APPROVED),
        ("requires_capture", Outcome.NOT_SENT),
        ("processing", Outcome.PENDING),
        ("canceled", Outcome.DECLINED),
        ("requires_action", Outcome.UNKNOWN),
        ("a_new_one", Outcome.UNKNOWN),
    ],
)
def test_each_status_when_a_capture_is_looked_up(status, outcome):
    assert ask(look(CAPTURE), reply(intent(look(CAPTURE), status=status)))[0].outcome is outcome


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("canceled", Outcome.APPROVED),
        ("succeeded", Outcome.DECLINED),
        ("requires_capture", Outcome.NOT_SENT),
        ("requires_action", Outcome.NOT_SENT),
        ("a_new_one", Outcome.UNKNOWN),
    ],
)
def test_each_status_when_a_release_is_looked_up(status, outcome):
    result, _ = ask(look(VOID), reply(intent(look(VOID), status=status)))
    assert result.outcome is outcome
    assert result.captured is (status == "succeeded")


def test_release_of_what_was_captured_in_the_meantime_says_so():
    refused = error(400, code="payment_intent_unexpected_state")
    result, _ = ask(VOID, refused, reply(intent(VOID, status="succeeded")))
    assert (result.outcome, result.captured, result.decline.code) == (Outcome.DECLINED, True, "already_captured")
    gone, _ = ask(VOID, refused, reply(intent(VOID, status="canceled")))
    assert gone.outcome is Outcome.APPROVED


@pytest.mark.parametrize(
    ("status", "outcome"), [*REFUND_STATUS.items(), ("new", Outcome.UNKNOWN), (None, Outcome.UNKNOWN)]
)
def test_each_status_of_a_refund(status, outcome):
    result, (request,) = ask(REFUND, reply(refund(REFUND, status=status)))
    assert (result.outcome, result.attempt_reference) == (outcome, REFUND_ID)
    assert form(request)["payment_intent"] == INTENT_ID
    found, _ = ask(look(REFUND, target_reference=REFUND_ID), reply(refund(look(REFUND), status=status)))
    assert found.outcome is outcome


def test_refund_lookup_reads_every_page_until_it_finds_ours():
    other = refund(REFUND, metadata={"attempt_id": "att_other"}, id="re_other")
    ours = refund(look(REFUND))
    result, requests = ask(look(REFUND), listed(other, has_more=True), listed(other, ours))
    assert (result.outcome, result.attempt_reference) == (Outcome.APPROVED, REFUND_ID)
    assert query(requests[1])[1]["starting_after"] == "re_other"
    assert ask(look(REFUND), listed(other))[0].outcome is Outcome.NOT_SENT
    assert ask(look(REFUND), listed())[0].outcome is Outcome.NOT_SENT
    assert ask(look(REFUND), listed(other, has_more=True), error(500))[0].outcome is Outcome.UNKNOWN
    assert ask(look(REFUND), *[listed(other, has_more=True)] * 10)[0].outcome is Outcome.UNKNOWN


def test_lookup_without_the_intents_id_lists_since_the_attempt_and_then_reads_the_intent():
    op = look(CHARGE, provider_reference=None)
    found = intent(op, status="succeeded")
    result, requests = ask(op, listed(intent(op, status="succeeded", metadata={}), found), reply(found))
    assert result.outcome is Outcome.APPROVED
    assert query(requests[0]) == (
        "/v1/payment_intents",
        {"created[gte]": str(op.started_at // 1_000 - 300), "limit": "100"},
    )


def test_list_read_to_its_end_without_our_attempt_means_not_sent():
    op = look(CHARGE, provider_reference=None)
    other = intent(op, status="succeeded", metadata={"attempt_id": "att_other"})
    assert ask(op, listed())[0].outcome is Outcome.NOT_SENT
    assert ask(op, listed(other, has_more=True), listed(other))[0].outcome is Outcome.NOT_SENT


def test_list_too_long_to_read_is_searched_and_not_finding_proves_nothing():
    op = look(CHARGE, provider_reference=None)
    pages = [listed(intent(op, status="succeeded", metadata={"attempt_id": "att_other"}), has_more=True)] * 10
    found = intent(op, status="succeeded")
    assert ask(op, *pages, listed())[0].outcome is Outcome.UNKNOWN
    assert ask(op, *pages, error(400))[0].outcome is Outcome.UNKNOWN
    result, requests = ask(op, *pages, listed(found), reply(found))
    assert result.outcome is Outcome.APPROVED
    assert query(requests[10]) == (
        "/v1/payment_intents/search",
        {"query": f'metadata["attempt_id"]:"{op.attempt_id}"'},
    )


def test_lookup_of_a_missing_intent_is_unknown_because_we_know_it_was_there():
    assert ask(look(CAPTURE), error(404, code="resource_missing"))[0].outcome is Outcome.UNKNOWN
    assert ask(look(CAPTURE, provider_reference=None))[0].outcome is Outcome.UNKNOWN
    assert ask(look(REFUND, provider_reference=None))[0].outcome is Outcome.UNKNOWN


def test_every_lookup_only_asks_once_where_the_id_is_known():
    for op in (AUTHORIZE, CHARGE, CAPTURE, VOID):
        _, requests = converse(CASE, look(op), lambda r, op=op: well(look(op), r))
        assert [request.method for request in requests] == ["GET"]


def test_multicapture_marks_each_capture_and_finds_it_by_its_mark():
    op = msgspec.structs.replace(CAPTURE, amount=Money(500, "EUR"), final=False)
    mark = f"capture_{op.attempt_id}"
    marked = intent(op, status="requires_capture", amount=1999, received=500, metadata={mark: "500"})
    result, (request,) = ask(op, reply(marked), kit=MULTICAPTURE)
    assert (result.outcome, result.amount) == (Outcome.APPROVED, Money(500, "EUR"))
    assert form(request)["final_capture"] == "false"
    assert form(request)[f"metadata[{mark}]"] == "500"
    assert len(mark) <= 40
    found, _ = ask(look(op), reply(marked), kit=MULTICAPTURE)
    assert found.outcome is Outcome.APPROVED
    not_yet = intent(op, status="requires_capture", amount=1999, metadata={"capture_att_other": "500"}, received=500)
    assert ask(look(op), reply(not_yet), kit=MULTICAPTURE)[0].outcome is Outcome.NOT_SENT


def test_release_of_the_rest_of_a_partly_captured_intent():
    op = msgspec.structs.replace(VOID, amount=Money(1499, "EUR"))
    ended = intent(op, status="succeeded", amount=1999, received=500)
    assert ask(op, reply(ended), kit=MULTICAPTURE)[0].outcome is Outcome.APPROVED
    assert ask(op, reply(intent(op, status="succeeded", amount=1999, received=1999)), kit=MULTICAPTURE)[0].captured


@pytest.mark.parametrize("money", [Money(5123, "KWD"), Money(1001, "BHD"), Money(150, "MGA")])
def test_amount_stripe_cannot_take_is_refused_before_anything_is_sent(money):
    for op in (AUTHORIZE, CAPTURE, REFUND):
        result, requests = ask(msgspec.structs.replace(op, amount=money))
        assert (result.outcome, result.decline.code, result.decline.retry) == (
            Outcome.DECLINED,
            "invalid_amount",
            Retry.OTHER_PROVIDER,
        )
        assert requests == []


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Money(1999, "EUR"), 1999),
        (Money(500, "JPY"), 500),
        (Money(5120, "KWD"), 5120),
        (Money(5, "ISK"), 500),
        (Money(5, "UGX"), 500),
        (Money(500, "MGA"), 5),
        (Money(1045, "HUF"), 1045),
        (Money(80045, "TWD"), 80045),
    ],
)
def test_amounts_in_stripes_units(ours, theirs):
    assert to_stripe(ours) == theirs
    assert from_stripe(theirs, ours.currency.lower()) == ours


def test_every_currency_goes_there_and_back():
    for currency in CURRENCIES:
        money = Money(10_000, currency)
        assert from_stripe(to_stripe(money), currency.lower()) == money
    assert from_stripe(150, "isk") is None
    assert from_stripe(100, "zzz") is None


def test_decline_table_is_the_published_one():
    assert len(DECLINES) == 50
    assert {"do_not_try_again", "try_again_later"} <= set(DECLINES)


def test_declines_that_speak_of_theft_or_fraud_are_hard_and_never_tried_elsewhere():
    for code in (
        "stolen_card",
        "lost_card",
        "pickup_card",
        "fraudulent",
        "merchant_blacklist",
        "duplicate_transaction",
    ):
        assert (DECLINES[code].kind, DECLINES[code].retry) == ("hard", Retry.NEVER)


def test_networks_advice_beats_the_table():
    assert decline("generic_decline", "card_declined").retry is Retry.OTHER_PROVIDER
    for advice, retry in ADVICE.items():
        assert decline("generic_decline", "card_declined", advice=advice).retry is retry
    assert decline("generic_decline", "card_declined", advice="do_not_try_again").kind == "hard"


def test_unlisted_code_is_a_hard_decline_that_is_not_retried():
    unlisted = decline("code_from_the_future", "card_declined_newly")
    assert (unlisted.kind, unlisted.retry, unlisted.network_code) == ("hard", Retry.NEVER, "code_from_the_future")


def test_every_meaning_is_soft_or_hard():
    for meaning in (*DECLINES.values(), *ERRORS.values()):
        assert meaning.kind in ("soft", "hard")
        assert meaning.kind == "soft" or meaning.retry is not Retry.SAME_LATER
