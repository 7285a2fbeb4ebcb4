"""What may be kept of a body."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.providers.redaction import KEPT_MAX, is_card_number, mask, redact

CARDS = ["4242424242424242", "378282246310005", "6011111111111117", "5555555555554444", "4000 0000 0000 0341"]


@pytest.mark.parametrize("card", CARDS)
def test_card_number_is_masked_wherever_it_stands(card):
    for text in (card, f"pan={card}", f'{{"number":"{card}"}}', f"99{card}", "-".join(card.split())):
        assert card not in mask(text)
        assert "[card" in mask(text)


def test_other_numbers_are_kept():
    assert is_card_number("4242424242424242")
    assert not is_card_number("4242424242424241")
    assert mask('{"amount":1999,"created":1763712000}') == '{"amount":1999,"created":1763712000}'


@given(st.text(alphabet="0123456789", min_size=11, max_size=18), st.text(max_size=5))
def test_every_number_with_a_right_check_digit_is_masked(head, around):
    number = next(head + digit for digit in "0123456789" if is_card_number(head + digit))
    if 13 <= len(number) <= 19:
        assert number not in mask(f"{around} {number} {around}")


@pytest.mark.parametrize(
    "secret",
    ["sk_live_abc12345", "whsec_AbC123456", "tok_1Nx8Y2", "pi_3Mtw_secret_YrKJUKribcBj", "Bearer abcdef123456"],
)
def test_key_or_token_is_masked(secret):
    assert secret.split()[-1] not in mask(f"x {secret} y")


def test_unlisted_fields_are_dropped_at_every_depth():
    body = {
        "id": "pi_1",
        "client_secret": "x",
        "latest_charge": {"id": "ch_1", "billing_details": {"email": "a@b.c"}},
        "data": [{"status": "ok", "name": "Ann"}],
    }
    kept = json.loads(redact(json.dumps(body).encode()))
    assert kept == {"id": "pi_1", "latest_charge": {"id": "ch_1"}, "data": [{"status": "ok"}]}


@pytest.mark.parametrize(
    "value", [None, True, 5, 1.5, "s", 10**11, [], {}, [1, "a", None], [{"id": "x"}], {"id": {"id": 1}}]
)
def test_listed_field_is_kept_whatever_it_holds(value):
    assert json.loads(redact(json.dumps({"status": value}).encode())) == {"status": value}


def test_form_keeps_listed_fields_by_the_innermost_name():
    body = b"amount=1999&payment_method=pm_1&metadata%5Battempt_id%5D=att_1&metadata%5Bemail%5D=a%40b.c&expand%5B%5D=x"
    assert redact(body) == "amount=1999&metadata[attempt_id]=att_1"


@pytest.mark.parametrize(
    "body",
    [b"<html>4242424242424242</html>", b"{broken", b"\xff\xfe", b"[" * 5_000, b'["', b"just words", b'{"id":"\xff"}'],
)
def test_unreadable_body_is_only_measured(body):
    assert redact(body) == f"[{len(body)} bytes, not readable]"


def test_long_body_is_cut():
    kept = redact(json.dumps({"data": [{"message": "m" * 500}] * 100}).encode())
    assert len(kept) == KEPT_MAX


def test_page_of_a_list_is_only_measured():
    assert redact(b"[" + b" " * 70_000 + b"]") == "[70002 bytes, too long to keep]"


def test_empty_body_is_nothing():
    assert redact(b"") is None


@given(st.binary(max_size=300))
def test_any_bytes_can_be_redacted(body):
    kept = redact(body, hide=("secret-value",))
    assert kept is None or "secret-value" not in kept


def test_hidden_strings_do_not_appear():
    assert redact(b'{"message":"key is hunter2hunter2"}', hide=("hunter2hunter2",)) == '{"message":"key is [hidden]"}'
