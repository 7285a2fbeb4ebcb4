"""Journals, and the bookkeeper's manual: which accounts each kind of event moves, and on which side."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Annotated, NamedTuple

import msgspec

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.currencies import EXPONENTS
from interlock.core.ledger.accounts import (
    DISPUTES_HELD,
    FEES,
    MERCHANT_PAYABLE,
    PROVIDER_RECEIVABLE,
    REFUNDS_RESERVED,
    SUSPENSE,
    line_of,
    provider_receivable,
)

POSTING_MAX = 2**63 - 1
"""Largest posting; what stands outside Python has 64-bit whole numbers."""
POSTINGS_MAX = 16
AT_END: Millis = 253_402_300_800_000
"""The year 10000: no calendar here goes further."""


class Posting(NamedTuple):
    account: str
    """Code on the chart, e.g. merchant_payable or provider_receivable:stripe."""
    amount: int
    """Minor units: positive is a debit, negative a credit."""


class Journal(msgspec.Struct, frozen=True):
    """One balanced entry. Made by `journal`, never changed, corrected only by another one."""

    id: str
    tenant: str
    currency: str
    at: Annotated[Millis, msgspec.Meta(ge=0, lt=AT_END)]
    kind: str
    """A key of RECIPES."""
    payment: str
    reference: str
    """The attempt, refund or dispute it books."""
    postings: tuple[Posting, ...]


class Figure(NamedTuple):
    """Which of a booking's amounts a line takes."""

    amount: bool
    excess: bool


AMOUNT = Figure(True, False)
EXCESS = Figure(False, True)
"""The part of a dispute beyond what the merchant still had of the payment."""
TOTAL = Figure(True, True)


class Line(NamedTuple):
    sign: int
    account: str
    figure: Figure


def debit(account: str, figure: Figure = AMOUNT) -> Line:
    return Line(1, account, figure)


def credit(account: str, figure: Figure = AMOUNT) -> Line:
    return Line(-1, account, figure)


CAPTURE = "capture"
REFUND_RESERVED = "refund_reserved"
REFUND_SUCCEEDED = "refund_succeeded"
REFUND_FAILED = "refund_failed"
REFUND_RETURNED = "refund_returned"
REFUND_LATE = "refund_late"
REFUND_LATE_EXCESS = "refund_late_excess"
REFUND_EXCESS_RETURNED = "refund_excess_returned"
DISPUTE_OPENED = "dispute_opened"
DISPUTE_WON = "dispute_won"
DISPUTE_LOST = "dispute_lost"
LATE_CAPTURE = "late_capture"
LATE_CAPTURE_REVERSED = "late_capture_reversed"
FEE = "fee"

RECIPES = MappingProxyType(
    {
        # The payer's money is at the provider, and owed to the merchant.
        CAPTURE: (debit(PROVIDER_RECEIVABLE), credit(MERCHANT_PAYABLE)),
        # A refund is set aside before the provider is asked, then leaves, or goes back to the merchant.
        REFUND_RESERVED: (debit(MERCHANT_PAYABLE), credit(REFUNDS_RESERVED)),
        REFUND_SUCCEEDED: (debit(REFUNDS_RESERVED), credit(PROVIDER_RECEIVABLE)),
        REFUND_FAILED: (debit(REFUNDS_RESERVED), credit(MERCHANT_PAYABLE)),
        # It had left and came back (the payer's account was closed, say).
        REFUND_RETURNED: (debit(PROVIDER_RECEIVABLE), credit(MERCHANT_PAYABLE)),
        # It was given up, its reserve released, and left after all: from the merchant's money if there is enough.
        REFUND_LATE: (debit(MERCHANT_PAYABLE), credit(PROVIDER_RECEIVABLE)),
        REFUND_LATE_EXCESS: (debit(SUSPENSE), credit(PROVIDER_RECEIVABLE)),
        REFUND_EXCESS_RETURNED: (debit(PROVIDER_RECEIVABLE), credit(SUSPENSE)),
        # A dispute is held, then released or lost. What exceeds the merchant's money of this payment goes through suspense.
        DISPUTE_OPENED: (debit(MERCHANT_PAYABLE), debit(SUSPENSE, EXCESS), credit(DISPUTES_HELD, TOTAL)),
        DISPUTE_WON: (debit(DISPUTES_HELD, TOTAL), credit(MERCHANT_PAYABLE), credit(SUSPENSE, EXCESS)),
        DISPUTE_LOST: (debit(DISPUTES_HELD, TOTAL), credit(PROVIDER_RECEIVABLE, TOTAL)),
        # Money found at the provider after the payment had gone on without it is nobody's until it is given back.
        LATE_CAPTURE: (debit(PROVIDER_RECEIVABLE), credit(SUSPENSE)),
        LATE_CAPTURE_REVERSED: (debit(SUSPENSE), credit(PROVIDER_RECEIVABLE)),
        # The provider keeps its fee out of what it owes us.
        FEE: (debit(FEES), credit(PROVIDER_RECEIVABLE)),
    }
)
"""Kind of journal -> its lines. docs/features/ledger.md shows them, and a test compares."""

_TAKES_EXCESS = frozenset(kind for kind, lines in RECIPES.items() if any(line.figure.excess for line in lines))


def postings(kind: str, amount: int, *, provider: str, excess: int = 0) -> tuple[Posting, ...]:
    """What `kind` posts for these figures (minor units). Raises ValueError for an unknown kind or a figure it cannot have."""
    lines = RECIPES.get(kind)
    if lines is None:
        raise ValueError(f"there is no recipe for {kind!r}")
    if type(amount) is not int or type(excess) is not int:
        raise TypeError("an amount is a whole number of minor units")
    if amount < 0 or excess < 0 or (excess and kind not in _TAKES_EXCESS):
        raise ValueError(f"{kind} cannot be booked for {amount} and an excess of {excess}")
    made = []
    for sign, code, (takes_amount, takes_excess) in lines:
        figure = (amount if takes_amount else 0) + (excess if takes_excess else 0)
        if figure:
            account = provider_receivable(provider) if code == PROVIDER_RECEIVABLE else code
            made.append(Posting(account, sign * figure))
    return tuple(made)


def journal(
    *,
    id: str,
    tenant: str,
    currency: str,
    at: Millis,
    kind: str,
    payment: str,
    reference: str,
    postings: Sequence[Posting],
) -> Journal:
    """A journal that balances. Raises ValueError naming the first thing wrong, TypeError for an amount that is no int."""
    made = Journal(id, tenant, currency, at, kind, payment, reference, tuple(postings))
    if not all(type(posting.amount) is int for posting in made.postings):
        raise TypeError("an amount is a whole number of minor units")
    wrong = fault(made)
    if wrong:
        raise ValueError(wrong)
    return made


def booked(
    kind: str,
    amount: int,
    *,
    id: str,
    tenant: str,
    currency: str,
    at: Millis,
    payment: str,
    reference: str,
    provider: str,
    excess: int = 0,
) -> Journal:
    """The journal of one event, by its recipe. Raises ValueError if nothing, or something impossible, would be booked."""
    return journal(
        id=id,
        tenant=tenant,
        currency=currency,
        at=at,
        kind=kind,
        payment=payment,
        reference=reference,
        postings=postings(kind, amount, provider=provider, excess=excess),
    )


def fault(journal: Journal) -> str:
    """What is wrong with a journal, in words; empty if it is sound."""
    lines = journal.postings
    if not 2 <= len(lines) <= POSTINGS_MAX:
        return f"a journal has 2 to {POSTINGS_MAX} postings, not {len(lines)}"
    if journal.currency not in EXPONENTS:
        return f"{journal.currency!r} is not an ISO 4217 currency in use"
    if not 0 <= journal.at < AT_END:
        return f"{journal.at} is no instant of a calendar"
    if journal.kind not in RECIPES:
        return f"there is no recipe for {journal.kind!r}"
    total = 0
    for code, amount in lines:
        if amount == 0:
            return f"{code} is posted zero"
        if not -POSTING_MAX <= amount <= POSTING_MAX:
            return f"{code} is posted more than 64 bits hold"
        try:
            line_of(code)
        except ValueError as error:
            return str(error)
        total += amount
    if total:
        return f"debits exceed credits by {total}"
    if len({code for code, _ in lines}) != len(lines):
        return "an account is posted twice"
    return ""


def strays_from_recipe(journal: Journal) -> bool:
    """Whether a sound journal moves other accounts, or other sides, than its kind's recipe."""
    lines = {(sign, code) for sign, code, _ in RECIPES[journal.kind]}
    return any((1 if amount > 0 else -1, code.partition(":")[0]) not in lines for code, amount in journal.postings)
