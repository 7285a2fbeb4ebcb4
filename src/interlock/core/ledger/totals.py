"""Sums over journals: of accounts for balances, of one payment for comparing the books with it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from interlock.core.ledger import model
from interlock.core.ledger.accounts import MERCHANT_PAYABLE, SUSPENSE
from interlock.core.ledger.model import Journal


class Sums(NamedTuple):
    """What was posted to one account, in minor units; neither is negative."""

    debits: int
    credits: int

    @property
    def net(self) -> int:
        """Positive when debits exceed credits."""
        return self.debits - self.credits


_NOTHING = Sums(0, 0)


class Totals:
    """Sums for each (currency, account code). The order in which journals are added makes no difference."""

    __slots__ = ("_sums",)

    def __init__(self, sums: Mapping[tuple[str, str], Sums] | None = None) -> None:
        self._sums = dict(sums or {})

    def add(self, journal: Journal) -> None:
        for code, amount in journal.postings:
            debits, credits = self._sums.get((journal.currency, code), _NOTHING)
            changed = Sums(debits + amount, credits) if amount > 0 else Sums(debits, credits - amount)
            self._sums[journal.currency, code] = changed

    def merge(self, other: Totals) -> None:
        for account, (debits, credits) in other._sums.items():
            known = self._sums.get(account, _NOTHING)
            self._sums[account] = Sums(known.debits + debits, known.credits + credits)

    def of(self, currency: str, code: str) -> Sums:
        return self._sums.get((currency, code), _NOTHING)

    def __iter__(self) -> Iterator[tuple[str, str, Sums]]:
        """Currency, account code and sums, ordered by currency and code."""
        return ((currency, code, self._sums[currency, code]) for currency, code in sorted(self._sums))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Totals) and self._sums == other._sums

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Totals({self._sums})"

    def imbalances(self) -> dict[str, int]:
        """Currency -> debits less credits, where that is not zero: always empty, or the books are wrong."""
        off: dict[str, int] = {}
        for (currency, _), sums in self._sums.items():
            off[currency] = off.get(currency, 0) + sums.net
        return {currency: amount for currency, amount in off.items() if amount}


class PaymentTotals(msgspec.Struct, frozen=True):
    """What the journals of one payment say of it, in minor units of `currency`."""

    currency: str = ""
    captured: int = 0
    refunded: int = 0
    """Left for the payer and not come back."""
    reserved: int = 0
    """Set aside for refunds not decided yet."""
    disputed: int = 0
    """Held or lost, without the excess."""
    excess: int = 0
    """Disputed beyond what was refundable, and not won."""
    overpaid: int = 0
    """Refunds that left although nothing was refundable any more."""
    late: int = 0
    """Late approvals taken and not given back."""


def payment_totals(journals: Iterable[Journal]) -> PaymentTotals:
    """Fold the journals of one payment. Raises ValueError for journals of several currencies."""
    sums = dict.fromkeys(PaymentTotals.__struct_fields__[1:], 0)
    currency = ""
    for journal in journals:
        if currency and journal.currency != currency:
            raise ValueError(f"journals in {currency} and {journal.currency} for one payment")
        currency = journal.currency
        for name, sign in _COUNTS_AS.get(journal.kind, ()):
            sums[name] += sign * sum(posting.amount for posting in journal.postings if posting.amount > 0)
        if journal.kind in (model.DISPUTE_OPENED, model.DISPUTE_WON):
            posted = dict(journal.postings)
            sums["disputed"] += posted.get(MERCHANT_PAYABLE, 0)
            sums["excess"] += posted.get(SUSPENSE, 0)
    return PaymentTotals(currency, **sums)


_COUNTS_AS = {
    model.CAPTURE: (("captured", 1),),
    model.REFUND_RESERVED: (("reserved", 1),),
    model.REFUND_SUCCEEDED: (("reserved", -1), ("refunded", 1)),
    model.REFUND_FAILED: (("reserved", -1),),
    model.REFUND_RETURNED: (("refunded", -1),),
    model.REFUND_LATE: (("refunded", 1),),
    model.REFUND_LATE_EXCESS: (("overpaid", 1),),
    model.REFUND_EXCESS_RETURNED: (("overpaid", -1),),
    model.LATE_CAPTURE: (("late", 1),),
    model.LATE_CAPTURE_REVERSED: (("late", -1),),
}
