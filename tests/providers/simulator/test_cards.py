"""Cards of other issuers: by their tokens, in answers and books, and refused on demand."""

import json

import msgspec
import pytest

from interlock.core.kernel.cards import bin_of, country_of
from interlock.simulator.behaviours import APPROVE, TOKENS, UNKNOWN_TOKEN, behaviour_of
from interlock.simulator.cards import CARDS, USUAL, split
from interlock.simulator.control import books_of
from interlock.simulator.faults import FaultPlan
from tests.providers.simulator.harness import charge, instance, plan

SHARE = 300


def shown(reaction):
    return json.loads(reaction.reply.body)


def paid(one, token, key):
    return shown(charge(one, token=token, key=key, reference=key))


def test_every_card_is_one_that_a_platform_may_keep():
    assert len(CARDS) == 12
    for number, card in CARDS.items():
        assert (bin_of(card.bin, brand=card.brand), country_of(card.country)) == (number, card.country)
        assert len(card.last4) == 4


@pytest.mark.parametrize("token", TOKENS)
def test_token_of_another_card_does_the_same(token):
    assert behaviour_of(f"{token}-card-497010", "simulator_a") is TOKENS[token]
    assert behaviour_of(f"{token}-at-simulator_a-card-497010", "simulator_a") is TOKENS[token]
    assert behaviour_of(f"{token}-at-simulator_a-card-497010", "simulator_b") is APPROVE


@pytest.mark.parametrize(
    "token", ["tok_approve-card-", "tok_approve-card-999999", "tok_approve-card-497010-at-x", "-card-497010"]
)
def test_card_nobody_has_is_a_token_nobody_issued(token):
    assert behaviour_of(token, "simulator_a") is UNKNOWN_TOKEN


def test_token_without_a_card_is_of_the_usual_one():
    assert split("tok_approve") == ("tok_approve", USUAL)


def test_answers_and_books_tell_the_card_of_charges_that_are_declined_too():
    one = instance()
    for number, token in enumerate(["tok_approve-card-40126310", "tok_decline_stolen-card-40126310"]):
        card = paid(one, token, f"att_{number}")["card"]
        assert card == {
            "brand": "visa",
            "last4": "3009",
            "exp_month": 1,
            "exp_year": 2032,
            "country": "DE",
            "bin": "40126310",
        }
    assert [row["card"].bin for row in books_of(one)["charges"]] == ["40126310", "40126310"]


@pytest.mark.parametrize(
    ("refusal", "refused"),
    [
        ({"bin": "497010"}, {"497010"}),
        ({"country": "FR"}, {"497010", "497355", "513283"}),
        ({"country": "FR", "brand": "visa"}, {"497010", "497355"}),
        ({"brand": "amex"}, {"378282", "374245"}),
    ],
)
def test_refusals_meet_the_cards_that_have_all_that_is_given(refusal, refused):
    one = instance(fault_plan=plan(refusals=[{**refusal, "declined": 1}]))
    answers = {number: paid(one, f"tok_approve-card-{number}", f"att_{number}") for number in CARDS}
    assert {number for number, answer in answers.items() if answer["status"] == "declined"} == refused
    assert {answers[number]["decline_code"] for number in refused} == {"issuer_unavailable"}


def test_share_of_the_charges_is_refused_and_the_first_entry_that_fits_counts():
    one = instance(
        fault_plan=plan(
            refusals=[
                {"bin": "497010", "declined": 0.5, "decline_code": "insufficient_funds"},
                {"country": "FR", "declined": 1},
            ]
        ),
    )
    answers = [paid(one, "tok_approve-card-497010", f"att_{number}") for number in range(SHARE)]
    codes = [answer.get("decline_code") for answer in answers]
    assert set(codes) == {None, "insufficient_funds"}
    assert SHARE * 0.4 < codes.count(None) < SHARE * 0.6


def test_refused_charge_moves_no_money():
    one = instance(fault_plan=plan(refusals=[{"bin": "424242", "declined": 1}]))
    paid(one, "tok_approve", "att_1")
    assert books_of(one)["charges"][0]["authorized"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"declined": 1},
        {"bin": "4970", "declined": 1},
        {"country": "fr", "declined": 1},
        {"bin": "497010", "declined": 2},
        {"bin": "497010"},
    ],
)
def test_plan_that_does_not_say_which_cards_is_refused(wrong):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"refusals": [wrong]}, FaultPlan)
