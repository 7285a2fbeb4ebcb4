"""Each check of the crash test can fail: a sound story passes, and whatever is tampered with in a copy of it is reported."""

import copy
import json

import pytest

from tests.crash.checks import CHECKS, DOUBLE, LOSS, WRONG, judge
from tests.crash.evidence import Acknowledged, Evidence

CREATED, CAPTURED, REFUNDED = "order-1/1", "order-1/2", "order-1/3"


def payment(version: int, **changes) -> dict:
    whole = {
        "id": "pay_1",
        "object": "payment",
        "status": "requires_capture",
        "amount": 5000,
        "currency": "EUR",
        "amount_captured": 0,
        "amount_refunded": 0,
        "capture_method": "manual",
        "reference": "order-1",
        "metadata": {"basket": "7"},
        "captures": [],
        "refunds": [],
        "disputes": [],
        "version": version,
        "created_at": "2026-11-26T10:00:00.000Z",
    }
    return whole | changes


def acknowledged(path: str, body: dict, status: int, content: dict) -> Acknowledged:
    answer = json.dumps(content)
    return Acknowledged(path, body, status, answer, status, answer)


def sound() -> Evidence:
    """5000 authorised, 3000 captured, 1000 given back."""
    captures = [{"id": "cap_1", "amount": 3000}]
    refund = {"id": "ref_1", "object": "refund", "payment": "pay_1", "amount": 1000, "status": "succeeded"}
    body = {"amount": 5000, "currency": "EUR", "reference": "order-1"}
    return Evidence(
        acknowledged={
            CREATED: acknowledged("/v1/payments", body, 201, payment(2)),
            CAPTURED: acknowledged(
                "/v1/payments/pay_1/capture",
                {"amount": 3000, "final": True},
                200,
                payment(4, status="succeeded", captures=captures, amount_captured=3000),
            ),
            REFUNDED: acknowledged("/v1/payments/pay_1/refunds", {"amount": 1000}, 201, refund),
        },
        payments={
            "pay_1": payment(
                6,
                status="succeeded",
                captures=captures,
                amount_captured=3000,
                refunds=[refund],
                amount_refunded=1000,
            )
        },
        events={f"evt_{version}": ("pay_1", version) for version in range(1, 7)},
        arrivals={"pay_1": [(f"evt_{version}", version) for version in range(1, 7)]},
        operations=[
            {"attempt_id": f"att_{kind}", "kind": kind, "amount": amount, "times_effected": 1}
            for kind, amount in (("charge", 5000), ("capture", 3000), ("refund", 1000))
        ],
        charges=[
            {
                "charge": "sch_1",
                "instance": "simulator",
                "payment_id": "pay_1",
                "currency": "EUR",
                "authorized": 5000,
                "captured": 3000,
                "released": 2000,
                "refunded": 1000,
                "disputed": 0,
            }
        ],
        totals={"simulator": {"EUR": {"captured": 3000, "refunded": 1000, "lost": 0}}},
        balances=[
            {"code": "provider_receivable:simulator", "currency": "EUR", "balance": 2000},
            {"code": "refunds_reserved", "currency": "EUR", "balance": 0},
        ],
        ledger={"sound": True, "behind": 0, "findings": []},
        queues=[{"queue": "webhooks", "ready": 0, "delayed": 0, "leased": 0, "dead": 0}],
    )


def complained(evidence: Evidence) -> set[str]:
    """The checks that fail."""
    return {check.what for check in judge(evidence) if check.complaints}


def test_sound_story_has_no_complaint():
    assert complained(sound()) == set()


def edit_answer(evidence: Evidence, key: str, **changes) -> None:
    """As if the platform had acknowledged something else, and still said so."""
    one = evidence.acknowledged[key]
    one.answer = one.again = json.dumps(json.loads(one.answer) | changes)


def drop_payment(e):
    del e.payments["pay_1"]


def forget_answer(e):
    e.acknowledged[CREATED].again_status, e.acknowledged[CREATED].again = 404, "{}"


def answer_one_byte_otherwise(e):
    e.acknowledged[REFUNDED].again += " "


def answer_with_another_status(e):
    e.acknowledged[CREATED].again_status = 200


def drop_capture(e):
    e.payments["pay_1"]["captures"] = []


def shrink_refund(e):
    e.payments["pay_1"]["refunds"][0] = e.payments["pay_1"]["refunds"][0] | {"amount": 999}


def drop_refund(e):
    e.payments["pay_1"]["refunds"] = []


def change_amount(e):
    e.payments["pay_1"]["amount"] = 4999


def go_back_to_an_older_version(e):
    e.payments["pay_1"]["version"] = 3


def take_a_cancel_back(e):
    edit_answer(e, CREATED, status="canceled")
    e.payments["pay_1"] |= {"status": "requires_capture", "amount_captured": 0, "captures": []}


def effect_twice(e):
    e.operations[0]["times_effected"] = 2


def charge_twice(e):
    e.charges.append(e.charges[0] | {"charge": "sch_2"})


def pay_twice_for_one_reference(e):
    e.acknowledged["other-key"] = copy.deepcopy(e.acknowledged[CREATED])
    edit_answer(e, "other-key", id="pay_2")
    e.payments["pay_2"] = e.payments["pay_1"] | {"id": "pay_2"}


def acknowledge_another_amount(e):
    edit_answer(e, CREATED, amount=1)


def take_more_than_the_payment_says(e):
    e.charges[0]["captured"] = 3001


def decide_a_dispute_unheard(e):
    e.payments["pay_1"]["disputes"].append({"id": "dsp_1", "amount": 500, "status": "opened"})


def keep_money_of_a_failed_payment(e):
    e.payments["pay_1"]["status"] = "failed"
    e.charges[0]["released"] = 1999


def hold_money_of_nobody(e):
    e.charges.append(e.charges[0] | {"charge": "sch_9", "payment_id": "pay_9"})


def lose_a_journal(e):
    e.balances[0]["balance"] = 3000


def leave_a_reserve(e):
    e.balances[1]["balance"] = 1


def find_something_in_the_ledger(e):
    e.ledger["sound"] = False


def leave_balances_behind(e):
    e.ledger["behind"] = 1


def lose_a_webhook(e):
    del e.arrivals["pay_1"][3]


def swap_webhooks(e):
    arrivals = e.arrivals["pay_1"]
    arrivals[2], arrivals[3] = arrivals[3], arrivals[2]


def forge_a_webhook(e):
    e.forged.append("evt_9")


def lose_every_event_of_a_payment(e):
    e.events.clear()


def leave_it_processing(e):
    e.payments["pay_1"]["status"] = "processing"


def leave_a_refund_pending(e):
    e.payments["pay_1"]["refunds"][0] = e.payments["pay_1"]["refunds"][0] | {"status": "pending"}


def leave_a_message(e):
    e.queues[0]["leased"] = 1


def bury_a_message(e):
    e.queues[0]["dead"] = 1


def leave_something_unsettled(e):
    e.unsettled.append("the relay is behind")


def end_by_itself(e):
    e.complaints.append("SIGTERM: the api ended with 1")


TAMPERED = {
    "what was acknowledged is there": (
        drop_payment,
        drop_capture,
        shrink_refund,
        drop_refund,
        change_amount,
        go_back_to_an_older_version,
        take_a_cancel_back,
    ),
    "answers are replayed byte for byte": (forget_answer, answer_one_byte_otherwise, answer_with_another_status),
    "every event reached the endpoint, signed and in order": (
        lose_a_webhook,
        swap_webhooks,
        forge_a_webhook,
        lose_every_event_of_a_payment,
    ),
    "no charge twice": (effect_twice, charge_twice, pay_twice_for_one_reference, acknowledge_another_amount),
    "the provider's books equal the payments": (
        take_more_than_the_payment_says,
        decide_a_dispute_unheard,
        keep_money_of_a_failed_payment,
        hold_money_of_nobody,
    ),
    "the provider's books equal the ledger": (lose_a_journal, leave_a_reserve),
    "the ledger is sound": (find_something_in_the_ledger, leave_balances_behind),
    "nothing is stuck": (
        leave_it_processing,
        leave_a_refund_pending,
        leave_a_message,
        bury_a_message,
        leave_something_unsettled,
    ),
    "no answer outside the contract, no process that ended by itself": (end_by_itself,),
}


@pytest.mark.parametrize(
    ("what", "tamper"),
    [(what, tamper) for what, tampers in TAMPERED.items() for tamper in tampers],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_tampered_evidence_is_reported_by_the_check_it_is_meant_for(what, tamper):
    evidence = sound()
    tamper(evidence)
    assert what in complained(evidence)


def test_every_check_was_seen_to_fail():
    assert set(TAMPERED) == {what for what, _, _ in CHECKS}
    assert {kind for _, kind, _ in CHECKS} == {LOSS, DOUBLE, WRONG}
