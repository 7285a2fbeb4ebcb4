"""The books: what is held, taken and given back always adds up, and the same key never moves money twice."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.simulator.books import Verdict
from interlock.simulator.model import Status
from interlock.simulator.server import BooksFile
from tests.clocks import ManualClock
from tests.providers.simulator.harness import answer, ask, attempt_id, charge, follow_on, instance

WEEK_S = 7 * 86_400


def only_charge(provider):
    (held,) = provider.books.charges.values()
    return held


def test_charge_with_capture_takes_the_money_and_without_only_reserves_it():
    provider = instance()
    status, taken = answer(charge(provider, capture=True))
    assert (status, taken["status"], taken["amount"], taken["currency"]) == (201, "captured", 1999, "EUR")
    status, held = answer(charge(provider))
    assert (status, held["status"]) == (201, "authorized")
    first, second = provider.books.charges.values()
    assert (first.authorized, first.captured) == (1999, 1999)
    assert (second.authorized, second.captured, second.capturable) == (1999, 0, 1999)


def test_same_key_and_body_gives_the_same_answer_and_moves_nothing():
    provider = instance()
    first = charge(provider, key="att_1", capture=True)
    again = charge(provider, key="att_1", capture=True)
    assert again.reply.body == first.reply.body
    assert ("idempotency-replayed", "true") in again.reply.headers
    assert len(provider.books.charges) == 1
    (row,) = answer(ask(provider, "GET", "/books"))[1]["operations"]
    assert (row["times_requested"], row["times_effected"]) == (2, 1)


def test_same_key_with_another_body_is_refused_and_moves_nothing():
    provider = instance()
    charge(provider, key="att_1", amount=1999)
    status, refused = answer(charge(provider, key="att_1", amount=2000))
    assert (status, refused["error"]["code"]) == (409, "idempotency_key_reused")
    assert only_charge(provider).amount == 1999


def test_same_key_on_another_path_is_refused():
    provider = instance()
    held = answer(charge(provider))[1]["charge"]
    follow_on(provider, held, "capture", key="att_2", amount=100, currency="EUR")
    assert answer(follow_on(provider, held, "refunds", key="att_2", amount=100, currency="EUR"))[0] == 409
    assert only_charge(provider).refunded == 0


def test_same_reference_under_a_fresh_key_is_carried_out_again_and_shows():
    provider = instance()
    body = {"reference": "att_1", "amount": 5, "currency": "EUR", "token": "tok_approve"}
    ask(provider, "POST", "/v1/charges", body, key="one")
    ask(provider, "POST", "/v1/charges", body, key="two")
    (row,) = answer(ask(provider, "GET", "/books"))[1]["operations"]
    assert row["times_effected"] == 2
    assert len(provider.books.charges) == 2


def test_key_is_forgotten_after_its_lifetime_as_real_providers_do():
    clock = ManualClock()
    provider = instance(clock)
    charge(provider, key="att_1")
    clock.advance(86_400 - 0.001)
    charge(provider, key="att_1")
    assert len(provider.books.charges) == 1
    clock.advance(0.001)
    charge(provider, key="att_1")
    assert len(provider.books.charges) == 2
    assert provider.books.operation("att_1").effects == 2


def test_charge_is_settled_once():
    provider = instance()
    charge(provider, token="tok_pending", key="att_1")
    waiting = provider.books.operation("att_1")
    assert provider.books.settle(waiting, Verdict(Status.AUTHORIZED))
    assert not provider.books.settle(waiting, Verdict(Status.AUTHORIZED))
    assert not provider.books.settle(waiting, Verdict(Status.DECLINED, "insufficient_funds"))
    assert (waiting.status, waiting.effects) == ("authorized", 1)


def test_captures_in_parts_up_to_what_is_held():
    provider = instance()
    held = answer(charge(provider, amount=1000))[1]["charge"]
    assert answer(follow_on(provider, held, "capture", amount=400, currency="EUR"))[1]["status"] == "succeeded"
    status, refused = answer(follow_on(provider, held, "capture", amount=601, currency="EUR"))
    assert (status, refused["decline_code"]) == (402, "amount_too_large")
    assert answer(follow_on(provider, held, "capture", amount=600, currency="EUR"))[0] == 201
    assert only_charge(provider).captured == 1000
    assert answer(follow_on(provider, held, "capture", amount=1))[1]["decline_code"] == "nothing_left_to_capture"


def test_final_capture_releases_the_rest():
    provider = instance()
    held = answer(charge(provider, amount=1000))[1]["charge"]
    follow_on(provider, held, "capture", amount=400, final=True)
    assert (only_charge(provider).captured, only_charge(provider).released) == (400, 600)


def test_void_releases_what_is_left_and_a_second_one_is_declined():
    provider = instance()
    held = answer(charge(provider, amount=1000))[1]["charge"]
    follow_on(provider, held, "capture", amount=300)
    status, done = answer(follow_on(provider, held, "void"))
    assert (status, done["status"], done["amount"]) == (201, "succeeded", 700)
    status, refused = answer(follow_on(provider, held, "void"))
    assert (status, refused["status"]) == (402, "declined")
    assert (only_charge(provider).captured, only_charge(provider).released) == (300, 700)


def test_capture_after_the_authorisation_expired_is_declined():
    clock = ManualClock()
    provider = instance(clock)
    held = answer(charge(provider))[1]["charge"]
    clock.advance(WEEK_S)
    assert answer(follow_on(provider, held, "capture"))[1]["decline_code"] == "authorization_expired"
    assert only_charge(provider).captured == 0


def test_refunds_up_to_what_was_taken_less_what_is_disputed():
    provider = instance()
    held = answer(charge(provider, amount=1000, capture=True))[1]["charge"]
    assert answer(follow_on(provider, held, "refunds", amount=300))[0] == 201
    ask(provider, "POST", "/disputes", {"charge": held, "status": "opened", "amount": 500})
    assert answer(follow_on(provider, held, "refunds", amount=201))[1]["decline_code"] == "refund_exceeds_captured"
    assert answer(follow_on(provider, held, "refunds", amount=200))[0] == 201
    assert (only_charge(provider).refunded, only_charge(provider).disputed) == (500, 500)


def test_refund_of_money_not_taken_is_declined():
    provider = instance()
    held = answer(charge(provider))[1]["charge"]
    assert answer(follow_on(provider, held, "refunds", amount=1))[0] == 402
    assert only_charge(provider).refunded == 0


def test_refund_in_another_currency_is_declined():
    provider = instance()
    held = answer(charge(provider, capture=True))[1]["charge"]
    assert (
        answer(follow_on(provider, held, "refunds", amount=1, currency="USD"))[1]["decline_code"] == "currency_mismatch"
    )


@pytest.mark.parametrize(
    "body",
    [
        {"amount": 0},
        {"amount": -5},
        {"amount": 1.5},
        {"amount": True},
        {"amount": 2**53 + 1},
        {"currency": "XXX"},
        {"currency": "eur"},
        {"reference": ""},
        {"reference": "a b"},
        {"reference": "a\r\nb"},
        {"unheard_of": 1},
        {"return_url": "javascript:alert(1)"},
    ],
)
def test_malformed_charge_is_refused_and_books_nothing(body):
    provider = instance()
    good = {"reference": "att_1", "amount": 5, "currency": "EUR", "token": "tok_approve"}
    assert ask(provider, "POST", "/v1/charges", good | body, key="att_1").reply.status == 400
    assert not provider.books.charges and not provider.books.requested


def test_charge_without_key_is_refused():
    provider = instance()
    body = {"reference": "att_1", "amount": 5, "currency": "EUR", "token": "tok_approve"}
    status, refused = answer(ask(provider, "POST", "/v1/charges", body))
    assert (status, refused["error"]["code"]) == (400, "idempotency_key_missing")
    assert not provider.books.charges


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["charge", "capture", "capture", "void", "refunds", "dispute", "won", "lost", "return", "again"]
        ),
        st.integers(1, 1_200),
        st.booleans(),
        st.integers(0, 3),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_no_order_of_operations_takes_more_than_held_or_gives_back_more_than_taken(steps):
    provider = instance()
    sent = []
    for what, amount, flag, which in steps:
        charges = list(provider.books.charges)
        held = charges[which % len(charges)] if charges else "sch_none"
        if what == "charge":
            key = attempt_id()
            body = {"reference": key, "amount": amount, "currency": "EUR", "token": "tok_approve", "capture": flag}
            sent.append(("/v1/charges", body, key))
            ask(provider, "POST", "/v1/charges", body, key=key)
        elif what in ("capture", "void", "refunds"):
            key = attempt_id()
            body = {"reference": key} if what == "void" else {"reference": key, "amount": amount}
            body |= {"final": True} if what == "capture" and flag else {}
            sent.append((f"/v1/charges/{held}/{what}", body, key))
            ask(provider, "POST", f"/v1/charges/{held}/{what}", body, key=key)
        elif what == "again" and sent:
            path, body, key = sent[which % len(sent)]
            ask(provider, "POST", path, body, key=key)
        elif what == "return" and sent:
            ask(provider, "POST", "/returns", {"attempt_id": sent[which % len(sent)][2]})
        elif what in ("dispute", "won", "lost"):
            status = "opened" if what == "dispute" else what
            ask(provider, "POST", "/disputes", {"charge": held, "status": status, "amount": amount})
        for one in provider.books.charges.values():
            assert 0 <= one.captured <= one.authorized <= one.amount
            assert 0 <= one.released <= one.authorized - one.captured
            assert one.refunded >= 0 and one.disputed >= 0 and one.refunded + one.disputed <= one.captured
    done = [one for one in provider.books.operations.values() if one.status != "declined"]
    for one in provider.books.charges.values():
        moved = {
            kind: sum(o.amount for o in done if o.charge == one.id and o.kind == kind)
            for kind in ("capture", "refund", "void")
        }
        assert one.refunded == moved["refund"]
        assert one.captured == moved["capture"] + (one.amount if one.capture else 0)
    assert all(one.effects <= 1 for one in provider.books.operations.values())


def test_books_kept_in_a_file_are_the_same_after_a_restart(tmp_path):
    path = tmp_path / "simulator_a.jsonl"
    file = BooksFile(path)
    provider = instance(journal=file)
    held = answer(charge(provider, key="att_1", amount=1000))[1]["charge"]
    follow_on(provider, held, "capture", key="att_2", amount=600)
    follow_on(provider, held, "refunds", key="att_3", amount=100)
    ask(provider, "POST", "/disputes", {"charge": held, "status": "opened", "amount": 50})
    first = charge(provider, key="att_1", amount=1000).reply.body
    before = answer(ask(provider, "GET", "/books"))[1]
    file.close()

    file = BooksFile(path)
    restarted = instance(journal=file)
    restarted.load(file.read())
    after = answer(ask(restarted, "GET", "/books"))[1]
    assert after["totals"] == before["totals"]
    assert after["charges"] == before["charges"]
    assert [row["state"] for row in after["operations"]] == [row["state"] for row in before["operations"]]
    assert charge(restarted, key="att_1", amount=1000).reply.body == first
    assert len(restarted.books.charges) == 1
    file.close()


def test_line_cut_short_by_a_crash_is_left_out_and_the_next_one_is_whole(tmp_path):
    path = tmp_path / "simulator_a.jsonl"
    file = BooksFile(path)
    provider = instance(journal=file)
    charge(provider, key="att_1", amount=1000)
    file.close()
    with path.open("ab") as torn:
        torn.write(b'{"operation":{"id":"sop_')
    file = BooksFile(path)
    restarted = instance(ManualClock(1_800_000_000_001), journal=file)
    restarted.load(file.read())
    charge(restarted, key="att_2", amount=7)
    file.close()
    lines = path.read_bytes().splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
    final = instance()
    final.load(lines)
    assert {one.amount for one in final.books.charges.values()} == {1000, 7}


def test_each_booking_reaches_the_file_in_one_piece():
    class Pieces:
        def __init__(self):
            self.written = []

        def append(self, line):
            self.written.append(line)

        def clear(self):
            self.written.clear()

    pieces = Pieces()
    provider = instance(journal=pieces)
    held = answer(charge(provider, token="tok_pending", key="att_1"))[1]["charge"]
    assert len(pieces.written) == 1 and b'"key":"att_1"' in pieces.written[0]
    follow_on(provider, held, "void", key="att_2")
    assert len(pieces.written) == 2 and b'"key":"att_2"' in pieces.written[1]


def test_what_was_to_come_still_comes_after_a_restart(tmp_path):
    clock = ManualClock()
    file = BooksFile(tmp_path / "books.jsonl")
    provider = instance(clock, journal=file)
    charge(provider, key="att_1", token="tok_pending", capture=True)
    file.close()
    file = BooksFile(tmp_path / "books.jsonl")
    restarted = instance(clock, journal=file)
    restarted.load(file.read())
    assert restarted.books.operation("att_1").status == "pending"
    clock.advance(2)
    restarted.advance()
    assert restarted.books.operation("att_1").status == "captured"
    file.close()
    again = instance(clock)
    again.load((tmp_path / "books.jsonl").read_bytes().splitlines())
    assert not again.books.plans


def test_reset_forgets_the_books_also_those_in_the_file(tmp_path):
    file = BooksFile(tmp_path / "books.jsonl")
    provider = instance(journal=file)
    charge(provider, key="att_1")
    ask(provider, "POST", "/reset")
    assert not provider.books.charges
    assert (tmp_path / "books.jsonl").read_bytes() == b""
    charge(provider, key="att_1")
    again = instance()
    again.load((tmp_path / "books.jsonl").read_bytes().splitlines())
    assert len(again.books.charges) == 1
    file.close()
