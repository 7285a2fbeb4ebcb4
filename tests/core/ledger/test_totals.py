from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.ledger.totals import PaymentTotals, Sums, Totals, payment_totals
from tests.core.ledger.books import journal_lists, make, unhurried


@unhurried
@given(journal_lists(), st.randoms(use_true_random=False), st.integers(0, 40))
def test_totals_do_not_depend_on_order_or_on_where_they_are_cut(journals, order: random.Random, cut):
    straight, left, right = Totals(), Totals(), Totals()
    for journal in journals:
        straight.add(journal)
    order.shuffle(journals)
    for part, totals in ((journals[:cut], left), (journals[cut:], right)):
        for journal in part:
            totals.add(journal)
    left.merge(right)
    assert left == straight


def test_debits_and_credits_are_summed_apart():
    totals = Totals()
    for journal in (make(1, amount=1), make(2, "refund_reserved", 1), make(3, amount=2)):
        totals.add(journal)
    assert list(totals) == [
        ("EUR", "merchant_payable", Sums(1, 3)),
        ("EUR", "provider_receivable:simulator_a", Sums(3, 0)),
        ("EUR", "refunds_reserved", Sums(0, 1)),
    ]
    assert totals.of("EUR", "merchant_payable").net == -2


def test_sums_outgrow_64_bits():
    totals = Totals()
    for number in range(3):
        totals.add(make(number, amount=2**63 - 1))
    assert totals.of("EUR", "merchant_payable") == Sums(0, 3 * (2**63 - 1))


def test_imbalance_is_named_by_currency():
    assert Totals({("EUR", "fees"): Sums(5, 0), ("JPY", "fees"): Sums(3, 3)}).imbalances() == {"EUR": 5}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([("capture", 100, 0), ("capture", 50, 0)], {"captured": 150}),
        ([("refund_reserved", 30, 0)], {"reserved": 30}),
        ([("refund_reserved", 30, 0), ("refund_succeeded", 30, 0)], {"refunded": 30}),
        ([("refund_reserved", 30, 0), ("refund_failed", 30, 0)], {}),
        ([("refund_reserved", 30, 0), ("refund_failed", 30, 0), ("refund_late", 30, 0)], {"refunded": 30}),
        ([("refund_reserved", 30, 0), ("refund_succeeded", 30, 0), ("refund_returned", 30, 0)], {}),
        ([("refund_late_excess", 30, 0)], {"overpaid": 30}),
        ([("dispute_opened", 40, 9)], {"disputed": 40, "excess": 9}),
        ([("dispute_opened", 40, 9), ("dispute_lost", 40, 9)], {"disputed": 40, "excess": 9}),
        ([("dispute_opened", 40, 9), ("dispute_won", 40, 9)], {}),
        ([("dispute_opened", 0, 9)], {"excess": 9}),
        ([("late_capture", 70, 0)], {"late": 70}),
        ([("late_capture", 70, 0), ("late_capture_reversed", 70, 0)], {}),
        ([("fee", 2, 0)], {}),
    ],
)
def test_journals_of_a_payment_say_what_became_of_it(steps, expected):
    journals = [make(n, kind, amount, payment=1, excess=excess) for n, (kind, amount, excess) in enumerate(steps)]
    assert payment_totals(journals) == PaymentTotals("EUR", **expected)


def test_payment_without_journals_has_nothing():
    assert payment_totals([]) == PaymentTotals()


def test_payment_with_journals_in_two_currencies_is_refused():
    with pytest.raises(ValueError, match="EUR and JPY"):
        payment_totals([make(1, currency="EUR"), make(2, currency="JPY")])
