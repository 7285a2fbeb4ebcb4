"""Commands on a payment: what is recorded before any provider is called, and what is refused."""

import pytest

from interlock.core.kernel.errors import Conflict, Invalid
from interlock.core.kernel.providers import Action, Outcome
from interlock.core.payments import decisions
from interlock.core.payments.commands import CardToken, ConfirmPayment
from interlock.core.payments.decisions import Booking
from interlock.core.payments.states import RefundState, State
from tests.core.payments.aggregates import (
    NOW,
    TIMING,
    TO_A,
    Numbered,
    authorized,
    called,
    cancel,
    capture,
    create,
    hear,
    refund,
    succeeded,
)


def test_create_records_the_attempt_with_a_deadline_before_anyone_is_called():
    decision = create()
    attempt = called(decision)
    assert decision.event == "payment.created"
    assert decision.payment.state is State.AUTHORIZING
    assert (attempt.operation, attempt.provider, attempt.amount) == (Action.AUTHORIZE, "a", 1000)
    assert attempt.outcome is None
    assert attempt.deadline == NOW + TIMING.attempt_ms
    assert attempt.capture is True
    assert decision.booking is None
    assert decision.answer is None


def test_create_without_confirm_calls_nobody_and_is_answered_at_once():
    decision = create(choice=None, confirm=False)
    assert decision.payment.state is State.REQUIRES_CONFIRMATION
    assert decision.call is None
    assert decision.answer == ("req_create", 201, "payment")


def test_create_without_method_waits_for_one():
    decision = create(choice=None, confirm=False, payment_method=None)
    assert decision.payment.state is State.REQUIRES_PAYMENT_METHOD
    assert decision.payment.method_id is None


def test_confirm_without_method_is_refused():
    waiting = create(choice=None, confirm=False, payment_method=None).payment
    with pytest.raises(Conflict) as refused:
        decisions.confirm(waiting, ConfirmPayment(), TO_A, request="r", new_id=Numbered(), now=NOW, timing=TIMING)
    assert refused.value.reason == "payment_method_missing"


def test_confirm_with_method_records_the_attempt():
    waiting = create(choice=None, confirm=False, payment_method=None).payment
    with_method = ConfirmPayment(payment_method=CardToken("card", "tok_approve"))
    decision = decisions.confirm(waiting, with_method, TO_A, request="r", new_id=Numbered(), now=NOW, timing=TIMING)
    assert decision.payment.state is State.AUTHORIZING
    assert decision.payment.token == "tok_approve"
    assert called(decision).answer_status == 200


def test_confirm_twice_is_refused():
    busy = create().payment
    with pytest.raises(Conflict) as refused:
        decisions.confirm(busy, ConfirmPayment(), TO_A, request="r", new_id=Numbered(), now=NOW, timing=TIMING)
    assert refused.value.reason == "payment_busy"


def test_capture_above_authorized_amount_is_refused():
    with pytest.raises(Invalid) as refused:
        capture(authorized(Numbered()), Numbered(), amount=1001)
    assert refused.value.faults[0].pointer == "/amount"


def test_capture_without_amount_takes_all_that_is_left_and_is_final():
    new_id = Numbered()
    part = hear(capture(authorized(new_id), new_id, amount=300), Outcome.APPROVED, new_id)
    rest = called(capture(part.payment, new_id))
    assert (rest.amount, rest.final) == (700, True)


def test_capture_after_the_authorisation_expired_is_refused():
    payment = authorized(Numbered())
    with pytest.raises(Conflict) as refused:
        capture(payment, Numbered(), now=payment.authorization_expires_at)
    assert refused.value.reason == "authorization_expired"


def test_second_capture_where_the_provider_takes_one_is_refused_at_the_first():
    with pytest.raises(Conflict) as refused:
        capture(authorized(Numbered()), Numbered(), amount=300, multiple=False)
    assert refused.value.reason == "multiple_captures_unsupported"


def test_capture_while_another_is_on_its_way_is_refused():
    new_id = Numbered()
    busy = capture(authorized(new_id), new_id, amount=300).payment
    with pytest.raises(Conflict) as refused:
        capture(busy, new_id, amount=300)
    assert refused.value.reason == "payment_busy"


def test_cancel_while_a_capture_is_on_its_way_is_refused():
    new_id = Numbered()
    busy = capture(authorized(new_id), new_id).payment
    with pytest.raises(Conflict):
        cancel(busy, new_id)


def test_cancel_before_any_provider_was_called_is_done_at_once():
    waiting = create(choice=None, confirm=False).payment
    decision = cancel(waiting, Numbered(), reason="duplicate")
    assert decision.payment.state is State.CANCELED
    assert decision.payment.cancel_reason == "duplicate"
    assert decision.call is None
    assert decision.event == "payment.canceled"


def test_cancel_of_an_authorisation_releases_all_of_it():
    new_id = Numbered()
    attempt = called(cancel(authorized(new_id), new_id))
    assert (attempt.operation, attempt.amount) == (Action.VOID, 1000)


def test_cancel_of_a_captured_payment_is_refused():
    with pytest.raises(Conflict) as refused:
        cancel(succeeded(Numbered()), Numbered())
    assert refused.value.reason == "payment_state"


def test_refund_reserves_its_amount_before_the_provider_is_called():
    new_id = Numbered()
    decision = refund(succeeded(new_id), new_id, amount=400)
    assert decision.event == "refund.created"
    assert decision.payment.refundable == 600
    assert decision.payment.refunds[0].state is RefundState.PENDING
    assert decision.booking == Booking("refund_reserved", 400, decision.payment.refunds[0].id, "a")


def test_two_refunds_together_above_the_captured_amount_are_refused():
    new_id = Numbered()
    first = refund(succeeded(new_id), new_id, amount=600)
    with pytest.raises(Invalid) as refused:
        refund(first.payment, new_id, amount=500)
    assert refused.value.faults[0].detail == "at most 400 can still be refunded"


def test_two_refunds_within_the_captured_amount_run_side_by_side():
    new_id = Numbered()
    first = refund(succeeded(new_id), new_id, amount=600)
    second = refund(first.payment, new_id, amount=400)
    assert second.payment.refundable == 0


def test_refund_of_nothing_left_is_refused():
    new_id = Numbered()
    all_of_it = refund(succeeded(new_id), new_id)
    with pytest.raises(Conflict) as refused:
        refund(all_of_it.payment, new_id)
    assert refused.value.reason == "nothing_to_refund"


def test_refund_while_the_capture_is_unknown_is_refused():
    new_id = Numbered()
    part = hear(capture(authorized(new_id), new_id, amount=300), Outcome.APPROVED, new_id)
    unknown = hear(capture(part.payment, new_id, amount=300), Outcome.UNKNOWN, new_id)
    with pytest.raises(Conflict) as refused:
        refund(unknown.payment, new_id, amount=100)
    assert refused.value.reason == "payment_busy"


def test_refund_while_another_refund_is_unknown_is_refused():
    new_id = Numbered()
    unknown = hear(refund(succeeded(new_id), new_id, amount=100), Outcome.UNKNOWN, new_id)
    with pytest.raises(Conflict) as refused:
        refund(unknown.payment, new_id, amount=100)
    assert refused.value.reason == "payment_busy"


def test_refund_of_an_uncaptured_payment_is_refused():
    with pytest.raises(Conflict) as refused:
        refund(authorized(Numbered()), Numbered())
    assert refused.value.reason == "nothing_to_refund"
