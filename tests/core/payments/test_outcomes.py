"""What a provider's word does to a payment, whoever heard it and in whatever order."""

import pytest

from interlock.core.kernel.providers import Action, Decline, Outcome, Retry
from interlock.core.payments import decisions
from interlock.core.payments.decisions import Booking
from interlock.core.payments.outcomes import apply_result
from interlock.core.payments.records import next_due
from interlock.core.payments.states import RefundState, State
from interlock.core.routing.model import Choice
from tests.core.payments.aggregates import (
    NOW,
    TIMING,
    TO_B,
    Numbered,
    authorized,
    called,
    cancel,
    capture,
    create,
    hear,
    news,
    refund,
    succeeded,
)

TRY_ELSEWHERE = Decline("soft", "issuer_unavailable", Retry.OTHER_PROVIDER)


def to_b(_payment):
    return TO_B


def nowhere(_payment):
    return Choice(None, "no provider left")


def test_approved_with_capture_succeeds_and_books_it():
    new_id = Numbered()
    created = create(new_id)
    decision = hear(created, Outcome.APPROVED, new_id, captured=True)
    assert decision.payment.state is State.SUCCEEDED
    assert (decision.payment.amount_authorized, decision.payment.amount_captured) == (1000, 1000)
    assert decision.event == "payment.succeeded"
    assert decision.booking == Booking("capture", 1000, called(created).id, "a")
    assert decision.answer == ("req_create", 201, "payment")
    assert next_due(decision.payment) is None


def test_approved_without_capture_waits_for_one_and_books_nothing():
    payment = authorized(Numbered())
    assert payment.state is State.AUTHORIZED
    assert payment.capturable == 1000
    assert next_due(payment) == payment.authorization_expires_at


def test_only_reserved_though_capture_was_asked_is_captured_for_the_same_request():
    new_id = Numbered()
    reserved = hear(create(new_id), Outcome.APPROVED, new_id, captured=False)
    assert reserved.payment.state is State.CAPTURING
    assert reserved.answer is None
    done = hear(reserved, Outcome.APPROVED, new_id)
    assert done.payment.state is State.SUCCEEDED
    assert done.answer == ("req_create", 201, "payment")


def test_decline_fails_the_payment_and_books_nothing():
    new_id = Numbered()
    decision = hear(create(new_id), Outcome.DECLINED, new_id)
    assert decision.payment.state is State.FAILED
    assert decision.payment.decline.code == "stolen_card"
    assert decision.booking is None
    assert decision.answer == ("req_create", 201, "payment")


@pytest.mark.parametrize("outcome", [Outcome.NOT_SENT, Outcome.DECLINED])
def test_not_sent_or_decline_for_elsewhere_goes_to_the_next_provider_in_one_commit(outcome):
    new_id = Numbered()
    decline = TRY_ELSEWHERE if outcome is Outcome.DECLINED else None
    decision = hear(create(new_id), outcome, new_id, failover=to_b, decline=decline)
    assert decision.payment.state is State.AUTHORIZING
    assert [attempt.provider for attempt in decision.payment.attempts] == ["a", "b"]
    assert decision.payment.attempts[0].outcome is outcome
    assert called(decision).id != decision.payment.attempts[0].id
    assert decision.answer is None
    done = hear(decision, Outcome.APPROVED, new_id, captured=True)
    assert done.payment.provider == "b"
    assert done.answer == ("req_create", 201, "payment")
    assert all(attempt.answered for attempt in done.payment.attempts)


def test_decline_that_no_other_provider_would_change_does_not_fail_over():
    new_id = Numbered()
    assert hear(create(new_id), Outcome.DECLINED, new_id, failover=to_b).payment.state is State.FAILED


def test_not_sent_with_no_provider_left_fails_softly():
    new_id = Numbered()
    decision = hear(create(new_id), Outcome.NOT_SENT, new_id, failover=nowhere)
    assert decision.payment.state is State.FAILED
    assert (decision.payment.decline.kind, decision.payment.decline.retry) == ("soft", Retry.SAME_LATER)


def test_unknown_never_fails_over_and_is_answered_as_processing():
    new_id = Numbered()
    decision = hear(create(new_id), Outcome.UNKNOWN, new_id, failover=to_b)
    assert decision.payment.state is State.UNCERTAIN
    assert len(decision.payment.attempts) == 1
    assert decision.answer == ("req_create", 202, "payment")
    assert decision.booking is None
    assert next_due(decision.payment) == NOW + 500 + TIMING.unknown_first_ms


def test_found_approved_after_unknown_succeeds_without_a_second_answer():
    new_id = Numbered()
    unknown = hear(create(new_id), Outcome.UNKNOWN, new_id)
    found = apply_result(unknown.payment, unknown.payment.attempts[0], news(Outcome.APPROVED, new_id, captured=True))
    assert found.payment.state is State.SUCCEEDED
    assert found.answer is None


def test_same_word_twice_is_no_news():
    new_id = Numbered()
    done = hear(create(new_id), Outcome.APPROVED, new_id, captured=True)
    again = news(Outcome.APPROVED, new_id, captured=True)
    assert apply_result(done.payment, done.payment.attempts[0], again) is None


@pytest.mark.parametrize("older", [Outcome.PENDING, Outcome.REQUIRES_ACTION, Outcome.UNKNOWN, Outcome.NOT_SENT])
def test_older_word_after_the_last_one_is_no_news(older):
    new_id = Numbered()
    done = hear(create(new_id), Outcome.APPROVED, new_id, captured=True)
    assert apply_result(done.payment, done.payment.attempts[0], news(older, new_id)) is None


def test_unknown_after_pending_is_no_news():
    new_id = Numbered()
    pending = hear(create(new_id), Outcome.PENDING, new_id)
    assert apply_result(pending.payment, pending.payment.attempts[0], news(Outcome.UNKNOWN, new_id)) is None


def test_requires_action_shows_where_to_go_until_it_is_done():
    new_id = Numbered()
    waiting = hear(
        create(new_id), Outcome.REQUIRES_ACTION, new_id, next_action={"type": "redirect", "url": "http://x/3ds"}
    )
    assert waiting.payment.state is State.REQUIRES_ACTION
    assert waiting.payment.next_action == {"type": "redirect", "url": "http://x/3ds"}
    assert waiting.answer.status == 201
    done = apply_result(waiting.payment, waiting.payment.attempts[0], news(Outcome.APPROVED, new_id, captured=True))
    assert done.payment.next_action is None


def test_partial_capture_leaves_the_rest_capturable():
    new_id = Numbered()
    part = hear(capture(authorized(new_id), new_id, amount=300), Outcome.APPROVED, new_id)
    assert part.payment.state is State.AUTHORIZED
    assert part.event == "payment.captured"
    assert part.payment.capturable == 700
    assert part.booking.amount == 300


def test_final_capture_releases_the_rest():
    new_id = Numbered()
    last = hear(capture(authorized(new_id), new_id, amount=300, final=True), Outcome.APPROVED, new_id)
    assert last.payment.state is State.SUCCEEDED
    assert (last.payment.amount_captured, last.payment.amount_released, last.payment.capturable) == (300, 700, 0)


@pytest.mark.parametrize("outcome", [Outcome.DECLINED, Outcome.NOT_SENT])
def test_refused_capture_leaves_the_authorisation_as_it_was(outcome):
    new_id = Numbered()
    before = authorized(new_id)
    decision = hear(capture(before, new_id), outcome, new_id)
    assert decision.payment.state is State.AUTHORIZED
    assert decision.payment.amount_captured == 0
    assert decision.event == "payment.capture_failed"
    assert decision.booking is None


def test_cancel_of_an_authorisation_cancels():
    new_id = Numbered()
    decision = hear(cancel(authorized(new_id), new_id), Outcome.APPROVED, new_id)
    assert decision.payment.state is State.CANCELED
    assert decision.payment.amount_released == 1000
    assert next_due(decision.payment) is None


def test_cancel_after_a_partial_capture_releases_the_rest_and_succeeds():
    new_id = Numbered()
    part = hear(capture(authorized(new_id), new_id, amount=300), Outcome.APPROVED, new_id)
    decision = hear(cancel(part.payment, new_id), Outcome.APPROVED, new_id)
    assert decision.payment.state is State.SUCCEEDED
    assert (decision.payment.amount_captured, decision.payment.amount_released) == (300, 700)


def test_refused_cancel_leaves_the_authorisation_as_it_was():
    new_id = Numbered()
    decision = hear(cancel(authorized(new_id), new_id), Outcome.DECLINED, new_id)
    assert decision.payment.state is State.AUTHORIZED
    assert decision.payment.cancel_reason is None
    assert decision.event == "payment.cancel_failed"


def test_refused_release_of_an_expired_authorisation_is_a_release():
    new_id = Numbered()
    payment = authorized(new_id)
    late = payment.authorization_expires_at + 1
    expiring = decisions.expire(payment, request="r", new_id=new_id, now=late, timing=TIMING)
    decision = apply_result(expiring.payment, called(expiring), news(Outcome.DECLINED, new_id, now=late))
    assert decision.payment.state is State.CANCELED
    assert decision.payment.cancel_reason == "authorization_expired"
    assert decision.answer is None


def waiting_for_payer(new_id):
    return hear(
        create(new_id, capture_method="automatic"), Outcome.REQUIRES_ACTION, new_id, next_action={"type": "redirect"}
    )


def test_cancel_while_the_payer_acts_closes_both():
    new_id = Numbered()
    canceled = hear(cancel(waiting_for_payer(new_id).payment, new_id), Outcome.APPROVED, new_id)
    assert canceled.payment.state is State.CANCELED
    assert canceled.payment.open_attempts == []


def test_approval_during_a_cancel_is_recorded_and_the_cancel_decides():
    new_id = Numbered()
    canceling = cancel(waiting_for_payer(new_id).payment, new_id)
    approved = apply_result(
        canceling.payment, canceling.payment.attempts[0], news(Outcome.APPROVED, new_id, captured=True)
    )
    assert approved.payment.state is State.CANCELING
    assert approved.booking.kind == "capture"
    refused = apply_result(approved.payment, approved.payment.attempts[1], news(Outcome.DECLINED, new_id))
    assert refused.payment.state is State.SUCCEEDED
    assert refused.payment.amount_captured == 1000


def test_refused_cancel_before_the_payer_acted_looks_at_once():
    new_id = Numbered()
    canceling = cancel(waiting_for_payer(new_id).payment, new_id)
    refused = hear(canceling, Outcome.DECLINED, new_id)
    assert refused.payment.state is State.REQUIRES_ACTION
    assert next_due(refused.payment) == NOW + 500


def test_payer_fails_during_a_cancel_and_the_cancel_is_refused_ends_failed():
    new_id = Numbered()
    canceling = cancel(waiting_for_payer(new_id).payment, new_id)
    declined = apply_result(canceling.payment, canceling.payment.attempts[0], news(Outcome.DECLINED, new_id))
    refused = apply_result(declined.payment, declined.payment.attempts[1], news(Outcome.DECLINED, new_id))
    assert refused.payment.state is State.FAILED
    assert next_due(refused.payment) is None


@pytest.mark.parametrize("captured", [True, False])
def test_late_approval_is_taken_back_and_both_are_on_record(captured):
    new_id = Numbered()
    failed = hear(create(new_id), Outcome.DECLINED, new_id)
    late = apply_result(
        failed.payment,
        failed.payment.attempts[0],
        news(Outcome.APPROVED, new_id, captured=captured, provider_reference="ch_9"),
    )
    assert late.payment.state is State.FAILED
    assert late.event == "payment.late_approval"
    assert late.alarms == ("late_approval",)
    assert (late.booking.kind if late.booking else None) == ("late_capture" if captured else None)
    back = called(late)
    assert back.operation is (Action.REFUND if captured else Action.VOID)
    assert (back.reverses, back.target, back.provider_reference) == (True, failed.payment.attempts[0].id, "ch_9")
    done = hear(late, Outcome.APPROVED, new_id)
    assert done.payment.state is State.FAILED
    assert done.event == "payment.late_approval_reversed"
    assert (done.booking.kind if done.booking else None) == ("late_capture_reversed" if captured else None)
    assert next_due(done.payment) is None


def test_late_approval_of_an_attempt_that_was_failed_over_leaves_the_second_charge_alone():
    new_id = Numbered()
    over = hear(create(new_id), Outcome.NOT_SENT, new_id, failover=to_b)
    paid = hear(over, Outcome.APPROVED, new_id, captured=True, provider_reference="ch_b")
    late = apply_result(
        paid.payment, paid.payment.attempts[0], news(Outcome.APPROVED, new_id, captured=True, provider_reference="ch_a")
    )
    assert late.payment.state is State.SUCCEEDED
    assert late.payment.amount_captured == 1000
    assert (called(late).provider, called(late).provider_reference) == ("a", "ch_a")
    assert late.payment.attempts[0].late is True


def test_refused_reversal_is_tried_again_and_then_waits_for_a_person():
    new_id = Numbered()
    failed = hear(create(new_id), Outcome.DECLINED, new_id)
    late = apply_result(failed.payment, failed.payment.attempts[0], news(Outcome.APPROVED, new_id, captured=True))
    payment, events = late.payment, []
    for _ in range(20):
        open_ones = [attempt for attempt in payment.attempts if attempt.reverses and attempt.is_open]
        if not open_ones:
            break
        step = apply_result(payment, open_ones[0], news(Outcome.DECLINED, new_id))
        payment = step.payment
        events.append((step.event, step.alarms))
    assert events[-1] == ("payment.reversal_failed", ("reversal_failed",))
    assert len(events) == 6
    assert all(event == "payment.reversal_pending" for event, _ in events[:-1])


def test_refund_approved_gives_back_and_books():
    new_id = Numbered()
    decision = hear(refund(succeeded(new_id), new_id, amount=400), Outcome.APPROVED, new_id)
    assert decision.payment.amount_refunded == 400
    assert decision.booking.kind == "refund_succeeded"
    assert decision.answer == ("req_refund", 201, "refund")


@pytest.mark.parametrize("outcome", [Outcome.DECLINED, Outcome.NOT_SENT])
def test_failed_refund_releases_its_reserve(outcome):
    new_id = Numbered()
    decision = hear(refund(succeeded(new_id), new_id, amount=400), outcome, new_id)
    assert decision.payment.refundable == 1000
    assert decision.payment.refunds[0].state is RefundState.FAILED
    assert decision.booking.kind == "refund_failed"


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.PENDING])
def test_refund_not_decided_yet_stays_reserved(outcome):
    new_id = Numbered()
    decision = hear(refund(succeeded(new_id), new_id, amount=400), outcome, new_id)
    assert decision.payment.refundable == 600
    assert decision.booking is None
    assert decision.answer == ("req_refund", 202, "refund")
    assert next_due(decision.payment) is not None


def test_refund_sent_back_by_the_bank_is_the_merchants_again():
    new_id = Numbered()
    done = hear(refund(succeeded(new_id), new_id, amount=400), Outcome.APPROVED, new_id)
    attempt = done.payment.attempts[-1]
    back = apply_result(done.payment, attempt, news(Outcome.DECLINED, new_id))
    assert back.payment.refundable == 1000
    assert back.booking.kind == "refund_returned"


def test_refund_that_went_out_after_it_was_given_up_counts_again():
    new_id = Numbered()
    failed = hear(refund(succeeded(new_id), new_id, amount=400), Outcome.NOT_SENT, new_id)
    late = apply_result(failed.payment, failed.payment.attempts[-1], news(Outcome.APPROVED, new_id))
    assert late.payment.amount_refunded == 400
    assert late.booking.kind == "refund_late"


def test_refund_that_went_out_when_nothing_was_left_goes_to_suspense_with_an_alarm():
    new_id = Numbered()
    failed = hear(refund(succeeded(new_id), new_id, amount=400), Outcome.NOT_SENT, new_id)
    rest = hear(refund(failed.payment, new_id), Outcome.APPROVED, new_id)
    late = apply_result(
        rest.payment, rest.payment.attempt(failed.payment.attempts[-1].id), news(Outcome.APPROVED, new_id)
    )
    assert late.payment.amount_refunded == 1000
    assert late.booking.kind == "refund_late_excess"
    assert late.alarms == ("refund_above_captured",)


def test_void_done_after_it_was_given_up_cancels():
    new_id = Numbered()
    refused = hear(cancel(authorized(new_id), new_id), Outcome.NOT_SENT, new_id)
    late = apply_result(refused.payment, refused.payment.attempts[-1], news(Outcome.APPROVED, new_id))
    assert late.payment.state is State.CANCELED
