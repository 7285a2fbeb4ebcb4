from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.kernel.money import Money
from interlock.core.ledger.model import RECIPES, Posting, booked, journal, postings, strays_from_recipe
from interlock.core.ledger.totals import Totals
from tests.core.ledger.books import DISPUTES, T0, journal_lists, make, unhurried

P = "provider_receivable:stripe"
MANUAL = {
    # kind: (debited, credited), for an amount of 7
    "capture": ({P: 7}, {"merchant_payable": 7}),
    "refund_reserved": ({"merchant_payable": 7}, {"refunds_reserved": 7}),
    "refund_succeeded": ({"refunds_reserved": 7}, {P: 7}),
    "refund_failed": ({"refunds_reserved": 7}, {"merchant_payable": 7}),
    "refund_returned": ({P: 7}, {"merchant_payable": 7}),
    "refund_late": ({"merchant_payable": 7}, {P: 7}),
    "refund_late_excess": ({"suspense": 7}, {P: 7}),
    "refund_excess_returned": ({P: 7}, {"suspense": 7}),
    "dispute_opened": ({"merchant_payable": 7}, {"disputes_held": 7}),
    "dispute_won": ({"disputes_held": 7}, {"merchant_payable": 7}),
    "dispute_lost": ({"disputes_held": 7}, {P: 7}),
    "late_capture": ({P: 7}, {"suspense": 7}),
    "late_capture_reversed": ({"suspense": 7}, {P: 7}),
    "fee": ({"fees": 7}, {P: 7}),
}


def sides(lines):
    return {a: n for a, n in lines if n > 0}, {a: -n for a, n in lines if n < 0}


@pytest.mark.parametrize("kind", sorted(RECIPES))
def test_each_kind_posts_what_the_manual_says(kind):
    assert sides(postings(kind, 7, provider="stripe")) == MANUAL[kind]


def test_every_kind_has_a_row_in_the_manual():
    assert MANUAL.keys() == RECIPES.keys()


@pytest.mark.parametrize(
    ("kind", "debits", "credits"),
    [
        ("dispute_opened", {"merchant_payable": 7, "suspense": 5}, {"disputes_held": 12}),
        ("dispute_won", {"disputes_held": 12}, {"merchant_payable": 7, "suspense": 5}),
        ("dispute_lost", {"disputes_held": 12}, {P: 12}),
    ],
)
def test_dispute_above_what_is_refundable_takes_the_excess_through_suspense(kind, debits, credits):
    assert sides(postings(kind, 7, provider="stripe", excess=5)) == (debits, credits)


def test_dispute_of_a_payment_fully_refunded_is_all_excess():
    assert sides(postings("dispute_opened", 0, provider="stripe", excess=5)) == ({"suspense": 5}, {"disputes_held": 5})


@pytest.mark.parametrize("amount", [0, -1])
def test_nothing_and_less_than_nothing_are_not_booked(amount):
    with pytest.raises(ValueError, match=r"postings|cannot be booked"):
        make(amount=amount)


def test_excess_is_refused_where_the_recipe_has_none():
    with pytest.raises(ValueError, match="excess"):
        make(kind="capture", excess=1)
    with pytest.raises(ValueError, match="excess"):
        make(kind="dispute_opened", excess=-1)


@pytest.mark.parametrize("amount", [1.0, True, "1", None])
def test_amount_that_is_no_int_is_refused(amount):
    with pytest.raises(TypeError):
        make(amount=amount)


def test_amount_of_64_bits_is_booked_and_one_more_is_refused():
    assert make(amount=2**63 - 1).postings[0].amount == 2**63 - 1
    with pytest.raises(ValueError, match="64 bits"):
        make(amount=2**63)


def test_unknown_kind_currency_and_instant_are_refused():
    for changed, named in (
        ({"kind": "gift"}, "recipe"),
        ({"currency": "XTS"}, "ISO 4217"),
        ({"at": -1}, "calendar"),
        ({"at": 10**18}, "calendar"),
        ({"provider": "No Such"}, "chart"),
    ):
        fields = {"kind": "capture", "currency": "EUR", "at": T0, "provider": "stripe"} | changed
        kind = fields.pop("kind")
        with pytest.raises(ValueError, match=named):
            booked(kind, 1, id="jrn_1", tenant="ten_a", payment="pay_1", reference="att_1", **fields)


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ([], "2 to 16 postings"),
        ([Posting("fees", 0)], "2 to 16 postings"),
        ([Posting("fees", 5), Posting(P, -4)], "exceed credits by 1"),
        ([Posting("fees", 0), Posting(P, 0)], "posted zero"),
        ([Posting("fees", 5), Posting("fees", -5)], "posted twice"),
        ([Posting("cash", 5), Posting(P, -5)], "chart of accounts"),
        ([Posting("fees", 2**63), Posting(P, -(2**63))], "64 bits"),
        ([Posting(f"provider_receivable:p{i}", 1) for i in range(16)] + [Posting("fees", -16)], "2 to 16 postings"),
    ],
)
def test_postings_that_do_not_make_a_journal_are_refused(lines, named):
    with pytest.raises(ValueError, match=named):
        journal(
            id="jrn_1",
            tenant="ten_a",
            currency="EUR",
            at=T0,
            kind="fee",
            payment="pay_1",
            reference="att_1",
            postings=lines,
        )


@pytest.mark.parametrize("amount", [5.0, True])
def test_posting_that_is_no_int_is_refused(amount):
    with pytest.raises(TypeError):
        journal(
            id="jrn_1",
            tenant="ten_a",
            currency="EUR",
            at=T0,
            kind="fee",
            payment="pay_1",
            reference="att_1",
            postings=[Posting("fees", amount), Posting(P, -amount)],
        )


@unhurried
@given(journal_lists())
def test_any_journals_sum_to_zero_in_every_currency(journals):
    totals = Totals()
    for one in journals:
        assert sum(posting.amount for posting in one.postings) == 0
        totals.add(one)
    assert totals.imbalances() == {}


@unhurried
@given(journal_lists())
def test_every_booked_journal_follows_its_recipe(journals):
    assert not any(strays_from_recipe(one) for one in journals)


@unhurried
@given(
    st.sampled_from(sorted(RECIPES)),
    st.sampled_from(sorted(RECIPES)),
    st.integers(1, 9),
    st.integers(0, 9),
)
def test_balanced_journal_of_another_kind_is_seen_to_stray(kind, other, amount, excess):
    lines = postings(other, amount, provider="stripe", excess=excess if other in DISPUTES else 0)
    same = {"id": "jrn_1", "tenant": "ten_a", "currency": "EUR", "at": T0, "payment": "pay_1", "reference": "att_1"}
    pretended = journal(kind=kind, postings=lines, **same)
    figures = {0, amount, excess, amount + excess}
    could_be = any(
        set(postings(kind, a, provider="stripe", excess=e)) == set(lines)
        for a in figures
        for e in (figures if kind in DISPUTES else {0})
    )
    assert strays_from_recipe(pretended) == (not could_be)


@unhurried
@given(st.integers(1, 2**53), st.lists(st.integers(0, 1000), min_size=1, max_size=6).filter(any))
def test_amount_split_by_weights_is_booked_without_losing_a_unit(amount, weights):
    parts = [part.amount for part in Money(amount, "KWD").allocate(weights)]
    totals = Totals()
    for number, part in enumerate(part for part in parts if part):
        totals.add(make(number, amount=part, currency="KWD"))
    assert totals.of("KWD", "merchant_payable").credits == amount
