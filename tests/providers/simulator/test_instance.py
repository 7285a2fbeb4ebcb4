"""What each token makes an instance do, in virtual time and without sockets."""

import json

import pytest

from interlock.core.kernel.secrets import Secret
from interlock.simulator.behaviours import TOKENS
from interlock.simulator.messages import Manner
from tests.clocks import ManualClock
from tests.providers.simulator.harness import answer, ask, charge, follow_on, instance, notices, plan


def state(provider, reference):
    (row,) = answer(ask(provider, "GET", f"/books?attempt_id={reference}"))[1]["operations"]
    return row["state"], row["times_effected"]


def lookup(provider, reference):
    return answer(ask(provider, "GET", f"/v1/operations/{reference}"))


def test_every_token_of_the_contract_is_known():
    promised = """tok_approve tok_decline_insufficient_funds tok_decline_stolen tok_3ds tok_pending
        tok_timeout_after_accept tok_timeout_before_accept tok_connect_refused tok_error_though_charged tok_garbage
        tok_wrong_amount tok_rate_limited tok_late_approval tok_duplicate_notification tok_out_of_order_notifications
        tok_notification_before_answer tok_dispute"""
    assert set(promised.split()) <= set(TOKENS)


@pytest.mark.parametrize(
    ("token", "manner", "status", "state_after"),
    [
        ("tok_approve", Manner.ANSWER, 201, ("captured", 1)),
        ("tok_decline_insufficient_funds", Manner.ANSWER, 402, ("declined", 0)),
        ("tok_decline_stolen", Manner.ANSWER, 402, ("declined", 0)),
        ("tok_nobody_issued_this", Manner.ANSWER, 402, ("declined", 0)),
        ("tok_3ds", Manner.ANSWER, 201, ("requires_action", 0)),
        ("tok_pending", Manner.ANSWER, 201, ("pending", 0)),
        ("tok_timeout_after_accept", Manner.HANG, 201, ("captured", 1)),
        ("tok_timeout_before_accept", Manner.HANG, None, ("not_accepted", 0)),
        ("tok_connect_refused", Manner.RESET, None, ("not_accepted", 0)),
        ("tok_error_though_charged", Manner.ANSWER, 500, ("captured", 1)),
        ("tok_garbage", Manner.ANSWER, 200, ("captured", 1)),
        ("tok_wrong_amount", Manner.ANSWER, 201, ("captured", 1)),
        ("tok_rate_limited", Manner.ANSWER, 429, ("not_accepted", 0)),
        ("tok_late_approval", Manner.ANSWER, 402, ("declined", 0)),
        ("tok_dispute", Manner.ANSWER, 201, ("captured", 1)),
    ],
)
def test_token_decides_what_is_booked_and_what_is_said(token, manner, status, state_after):
    provider = instance()
    reaction = charge(provider, token=token, key="att_1", capture=True)
    assert reaction.manner is manner
    if status is not None:
        assert reaction.reply.status == status
    assert state(provider, "att_1") == state_after


def test_what_was_not_accepted_is_not_found():
    provider = instance()
    charge(provider, token="tok_timeout_before_accept", key="att_1")
    status, refused = lookup(provider, "att_1")
    assert (status, refused["error"]["code"]) == (404, "operation_unknown")


def test_wrong_amount_is_only_said_never_booked():
    provider = instance()
    said = answer(charge(provider, token="tok_wrong_amount", key="att_1", amount=1999))[1]
    assert said["amount"] == 2000
    assert lookup(provider, "att_1")[1]["amount"] == 1999


def test_resend_after_a_token_misbehaved_gets_the_true_answer():
    provider = instance()
    charge(provider, token="tok_error_though_charged", key="att_1", capture=True)
    status, said = answer(charge(provider, token="tok_error_though_charged", key="att_1", capture=True))
    assert (status, said["status"]) == (201, "captured")
    assert state(provider, "att_1") == ("captured", 1)


def test_pending_charge_is_approved_later_and_told():
    clock = ManualClock()
    provider = instance(clock)
    charge(provider, token="tok_pending", key="att_1", capture=True)
    assert [notice["operation"]["status"] for notice in notices(provider)] == ["pending"]
    clock.advance(1.999)
    assert lookup(provider, "att_1")[1]["status"] == "pending"
    clock.advance(0.001)
    assert lookup(provider, "att_1")[1]["status"] == "captured"
    assert [notice["operation"]["status"] for notice in notices(provider)] == ["captured"]


def test_voided_pending_charge_is_never_approved():
    clock = ManualClock()
    provider = instance(clock)
    held = answer(charge(provider, token="tok_pending", key="att_1"))[1]["charge"]
    assert answer(follow_on(provider, held, "void"))[0] == 201
    clock.advance(10)
    _, found = lookup(provider, "att_1")
    assert (found["status"], found["decline_code"]) == ("declined", "canceled")
    assert provider.books.charges[held].authorized == 0


def test_late_approval_comes_after_the_decline():
    clock = ManualClock()
    provider = instance(clock)
    charge(provider, token="tok_late_approval", key="att_1")
    assert lookup(provider, "att_1")[1]["decline_code"] == "processing_timeout"
    clock.advance(2)
    found = lookup(provider, "att_1")[1]
    assert found["status"] == "authorized" and "decline_code" not in found
    assert [notice["operation"]["status"] for notice in notices(provider)] == ["declined", "authorized"]
    assert state(provider, "att_1") == ("authorized", 1)


@pytest.mark.parametrize(("result", "ends"), [("authenticated", "captured"), ("failed", "declined")])
def test_payer_decides_a_3ds_charge_once(result, ends):
    provider = instance()
    said = answer(charge(provider, token="tok_3ds", key="att_1", capture=True))[1]
    page = said["action_url"].removeprefix(provider.public_url)
    assert b"<form method=post" in ask(provider, "GET", page).reply.body
    assert ask(provider, "POST", f"{page}/complete", {"result": "maybe"}).reply.status == 400
    assert ask(provider, "POST", f"{page}/complete", {"result": result}).reply.status == 200
    assert lookup(provider, "att_1")[1]["status"] == ends
    assert ask(provider, "POST", f"{page}/complete", {"result": "authenticated"}).reply.status == 409
    assert lookup(provider, "att_1")[1]["status"] == ends
    assert b"<form" not in ask(provider, "GET", page).reply.body


def test_3ds_form_leads_back_to_the_merchant():
    provider = instance()
    said = answer(charge(provider, token="tok_3ds", return_url="https://shop.example/back?a=1"))[1]
    page = said["action_url"].removeprefix(provider.public_url)
    reply = ask(provider, "POST", f"{page}/complete", b"result=authenticated").reply
    assert (reply.status, reply.headers) == (303, (("location", "https://shop.example/back?a=1"),))


def test_dispute_opens_by_itself_once_the_money_is_taken():
    clock = ManualClock()
    provider = instance(clock)
    held = answer(charge(provider, token="tok_dispute", key="att_1", amount=1000))[1]["charge"]
    clock.advance(60)
    provider.advance()
    assert provider.books.charges[held].disputed == 0
    follow_on(provider, held, "capture", amount=600)
    notices(provider)
    clock.advance(1)
    provider.advance()
    (told,) = notices(provider)
    assert (told["type"], told["dispute"]["amount"], told["dispute"]["charge"]) == ("dispute.opened", 600, held)
    follow_on(provider, held, "capture", amount=100)
    clock.advance(60)
    provider.advance()
    assert [notice["type"] for notice in notices(provider)] == ["operation.updated"]


@pytest.mark.parametrize("verdict", ["won", "lost"])
def test_dispute_is_decided_once(verdict):
    provider = instance()
    held = answer(charge(provider, capture=True))[1]["charge"]
    ask(provider, "POST", "/disputes", {"charge": held, "status": "opened"})
    assert ask(provider, "POST", "/disputes", {"charge": held, "status": verdict}).reply.status == 200
    assert ask(provider, "POST", "/disputes", {"charge": held, "status": "lost"}).reply.status == 409
    assert [notice["type"] for notice in notices(provider)[1:]] == ["dispute.opened", f"dispute.{verdict}"]
    assert provider.books.charges[held].disputed == (0 if verdict == "won" else 1999)


def test_returned_refund_is_the_merchants_again():
    provider = instance()
    held = answer(charge(provider, capture=True))[1]["charge"]
    follow_on(provider, held, "refunds", key="att_r", amount=500)
    assert ask(provider, "POST", "/returns", {"attempt_id": "att_r"}).reply.status == 200
    assert lookup(provider, "att_r")[1]["decline_code"] == "returned_by_bank"
    assert provider.books.charges[held].refunded == 0
    assert ask(provider, "POST", "/returns", {"attempt_id": "att_r"}).reply.status == 409


def test_duplicate_notification_is_the_same_twice():
    provider = instance()
    charge(provider, token="tok_duplicate_notification")
    first, second = notices(provider)
    assert first == second


def test_out_of_order_notifications_tell_the_end_first():
    clock = ManualClock()
    provider = instance(clock)
    charge(provider, token="tok_out_of_order_notifications", capture=True)
    (newer,) = notices(provider)
    clock.advance(0.05)
    provider.advance()
    (older,) = notices(provider)
    assert (newer["operation"]["status"], older["operation"]["status"]) == ("captured", "pending")
    assert older["created_at"] < newer["created_at"] and older["id"] != newer["id"]


def test_notification_before_the_answer_goes_first_and_not_again():
    provider = instance()
    reaction = charge(provider, token="tok_notification_before_answer", capture=True)
    assert json.loads(reaction.first[0].body)["operation"]["status"] == "captured"
    assert notices(provider) == []


def test_token_qualified_by_an_instance_misbehaves_only_there():
    assert charge(instance(name="simulator_a"), token="tok_rate_limited-at-simulator_a").reply.status == 429
    assert charge(instance(name="simulator_b"), token="tok_rate_limited-at-simulator_a").reply.status == 201
    assert charge(instance(), token="tok_whatever-at-simulator_a").reply.status == 402


def test_session_of_a_refused_token_is_where_the_connection_ends():
    provider = instance()
    assert ask(provider, "POST", "/v1/tokens/tok_connect_refused/session").manner is Manner.RESET
    assert ask(provider, "POST", "/v1/tokens/tok_approve/session").reply.status == 201
    assert not provider.books.requested


def test_late_acceptance_is_not_found_at_first_and_books_once():
    clock = ManualClock()
    provider = instance(clock, fault_plan=plan(operations={"charge": {"late_accept": 1}}))
    assert charge(provider, key="att_1", capture=True).manner is Manner.HANG
    clock.advance(1.999)
    assert lookup(provider, "att_1")[0] == 404
    clock.advance(0.001)
    assert lookup(provider, "att_1")[1]["status"] == "captured"
    assert [notice["operation"]["reference"] for notice in notices(provider)] == ["att_1"]


def test_resend_that_overtakes_a_late_acceptance_is_booked_once():
    clock = ManualClock()
    provider = instance(clock, fault_plan=plan(operations={"charge": {"late_accept": 1}}))
    charge(provider, key="att_1")
    provider.set_plan(plan())
    charge(provider, key="att_1")
    clock.advance(60)
    assert lookup(provider, "att_1")[0] == 200
    assert len(provider.books.charges) == 1


def test_refund_times_out_after_it_was_accepted_when_the_plan_says_so():
    provider = instance(fault_plan=plan(operations={"refund": {"timeout_after_accept": 1}}))
    held = answer(charge(provider, capture=True))[1]["charge"]
    assert follow_on(provider, held, "refunds", key="att_r", amount=300).manner is Manner.HANG
    assert lookup(provider, "att_r")[1]["status"] == "succeeded"
    assert follow_on(provider, held, "refunds", key="att_r", amount=300).manner is Manner.HANG
    assert provider.books.charges[held].refunded == 300


def test_pending_refund_is_reserved_at_once_and_told_later():
    clock = ManualClock()
    provider = instance(clock, fault_plan=plan(operations={"refund": {"pending": 1}}))
    held = answer(charge(provider, capture=True))[1]["charge"]
    said = answer(follow_on(provider, held, "refunds", key="att_r", amount=1999))[1]
    assert said["status"] == "pending"
    assert answer(follow_on(provider, held, "refunds", amount=1))[0] == 402
    clock.advance(2)
    assert lookup(provider, "att_r")[1]["status"] == "succeeded"


def test_api_key_is_demanded_when_there_is_one():
    provider = instance()
    provider.api_key = Secret("right")
    assert charge(provider).reply.status == 401
    for wrong in ("Bearer wrong", "Basic right", "right", "Bearer", "Bearer right "):
        headers = {"authorization": wrong}
        assert ask(provider, "GET", "/v1/operations/att_1", headers=headers).reply.status == 401, wrong
    assert not provider.books.requested
    assert ask(provider, "GET", "/v1/operations/att_1", headers={"authorization": "Bearer right"}).reply.status == 404


def test_dropped_and_duplicated_notifications_follow_the_plan():
    provider = instance(fault_plan=plan(notifications={"drop_rate": 1}))
    charge(provider)
    assert notices(provider) == []
    provider.set_plan(plan(notifications={"duplicate_rate": 1}))
    charge(provider)
    assert len(notices(provider)) == 2
    provider.set_plan(plan(notifications={"of_answers": False}))
    charge(provider)
    assert notices(provider) == []


def test_unknown_paths_and_methods_are_not_found():
    provider = instance()
    for method, path in [
        ("GET", "/"),
        ("GET", "/v1/"),
        ("DELETE", "/v1/charges"),
        ("GET", "/3ds/x"),
        ("PUT", "/books"),
    ]:
        assert ask(provider, method, path).reply.status == 404, (method, path)
