"""Kinds of risk, and the sum of what a filter or a time window touched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from interlock.core.desk.figures.model import PaymentRow
from interlock.core.kernel.clock import DAY, MINUTE, Millis
from interlock.core.payments.attention import Attention


class Kind(StrEnum):
    """Why a payment needs somebody, worst first."""

    LATE_APPROVAL = "late_approval"
    UNCERTAIN = "uncertain"
    NOT_POSTED = "captured_not_posted"
    """The ledger does not say of the payment what the payment says of itself."""
    DRIFT = "provider_drift"
    """A provider said something that contradicts what it had said, or what we have."""
    REFUND_STUCK = "refund_stuck"
    WEBHOOK_UNDELIVERED = "webhook_undelivered"


GRACE: Mapping[Attention, Millis] = {
    Attention.LATE_APPROVAL: 0,
    Attention.UNCERTAIN: 2 * MINUTE,
    Attention.REFUND_OPEN: 1 * DAY,
}
"""How long each may last before it is anybody's business: the platform is at work on it meanwhile."""
_KINDS = {
    Attention.LATE_APPROVAL: Kind.LATE_APPROVAL,
    Attention.UNCERTAIN: Kind.UNCERTAIN,
    Attention.REFUND_OPEN: Kind.REFUND_STUCK,
}


class Risk(msgspec.Struct, frozen=True):
    """One reason to look at one payment."""

    kind: Kind
    payment: str
    """Empty where a provider speaks of a payment that nobody here knows; so is `merchant` then."""
    merchant: str
    amount: int
    """Minor units that hang on it."""
    currency: str
    provider: str | None
    reference: str | None
    since: Millis
    detail: str = ""
    finding: str = ""
    """Its id, where somebody looked and found it: `captured_not_posted` and `provider_drift`."""


class AtRisk(NamedTuple):
    risks: list[Risk]
    """Longest waiting first."""
    complete: bool
    """False: of some kind more wait than are looked at; those that are missing are of the newest payments."""


class Exposure(msgspec.Struct, frozen=True):
    """What one merchant has at risk in one currency. A payment at risk for two reasons counts once, with the larger amount."""

    merchant: str
    currency: str
    payments: int
    amount: int


def risks_of(row: PaymentRow, now: Millis) -> list[Risk]:
    """What of a payment has waited too long to be left to the platform."""
    return [
        Risk(
            _KINDS[Attention(name)],
            row.id,
            row.merchant,
            amount,
            row.currency,
            row.provider,
            row.reference,
            row.updated_at,
        )
        for name, amount in row.attention.items()
        if now - row.updated_at >= GRACE[Attention(name)]
    ]


def exposures(risks: Iterable[Risk]) -> list[Exposure]:
    """By merchant and currency, most money first."""
    worst: dict[tuple[str, str, str], int] = {}
    for one in risks:
        key = (one.merchant, one.currency, one.payment or one.finding)
        worst[key] = max(worst.get(key, 0), one.amount)
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for (merchant, currency, _), amount in worst.items():
        sums[merchant, currency][0] += 1
        sums[merchant, currency][1] += amount
    found = [Exposure(merchant, currency, *both) for (merchant, currency), both in sums.items()]
    return sorted(found, key=lambda one: (-one.amount, one.merchant, one.currency))


Bounded = Annotated[int, Meta(ge=0, le=2**53)]
Instant = Annotated[int, Meta(ge=0, le=2**48 - 1 - MINUTE)]
"""What an id can begin with, and a minute less."""
Value = Annotated[str, Meta(max_length=255)]


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which payments. Every field that is given must fit."""

    created_from: Instant
    """Milliseconds since 1970."""
    created_before: Instant
    merchant: Value | None = None
    provider: Value | None = None
    status: Value | None = None
    method: Value | None = None
    brand: Value | None = None
    country: Value | None = None
    bin: Value | None = None
    version: Value | None = None
    currency: Value | None = None
    decline: Value | None = None
    amount_min: Bounded | None = None
    amount_max: Bounded | None = None

    def fits(self, row: PaymentRow) -> bool:
        return (
            self.created_from <= row.created_at < self.created_before
            and (self.merchant is None or self.merchant == row.merchant)
            and (self.provider is None or self.provider == row.provider)
            and (self.status is None or self.status == row.status)
            and (self.method is None or self.method == row.method)
            and (self.brand is None or self.brand == row.brand)
            and (self.country is None or self.country == row.country)
            and (self.bin is None or self.bin == row.bin)
            and (self.version is None or self.version == row.version)
            and (self.currency is None or self.currency == row.currency)
            and (self.decline is None or self.decline == row.decline)
            and (self.amount_min is None or row.amount >= self.amount_min)
            and (self.amount_max is None or row.amount <= self.amount_max)
        )


class Touched(msgspec.Struct, frozen=True):
    """What of one merchant, in one currency, fits the filter."""

    merchant: str
    currency: str
    payments: int
    orders: int
    """Payments of one reference are one order, tried again."""
    amount: int
    """Of each order once: the largest of its payments."""
    not_paid: int
    """Of the orders of which no payment that fits is paid or authorised."""
    customers: int


class BlastRadius(msgspec.Struct, frozen=True):
    payments: int
    orders: int
    merchants: int
    touched: tuple[Touched, ...]
    """Most money first."""
    statuses: Mapping[str, int]
    complete: bool = True
    """False: its time has more payments than are read at once; the sums are of the newest."""


PAID = frozenset({"succeeded", "requires_capture"})


class _Sums:
    """Of one merchant in one currency."""

    def __init__(self) -> None:
        self.payments = 0
        self.orders: dict[str, int] = {}
        """The largest amount of each."""
        self.paid: set[str] = set()
        self.customers: set[str] = set()


class Blast:
    """Adds payments up, one by one, in any order."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], _Sums] = defaultdict(_Sums)
        self._statuses: dict[str, int] = defaultdict(int)

    def add(self, row: PaymentRow) -> None:
        sums = self._sums[row.merchant, row.currency]
        sums.payments += 1
        self._statuses[row.status] += 1
        if row.customer:
            sums.customers.add(row.customer)
        order = f"reference {row.reference}" if row.reference else row.id
        if row.amount > sums.orders.get(order, -1):
            sums.orders[order] = row.amount
        if row.status in PAID:
            sums.paid.add(order)

    def sum(self, *, complete: bool = True) -> BlastRadius:
        touched = [
            Touched(
                merchant,
                currency,
                sums.payments,
                len(sums.orders),
                sum(sums.orders.values()),
                sum(amount for order, amount in sums.orders.items() if order not in sums.paid),
                len(sums.customers),
            )
            for (merchant, currency), sums in self._sums.items()
        ]
        return BlastRadius(
            sum(one.payments for one in touched),
            sum(one.orders for one in touched),
            len({one.merchant for one in touched}),
            tuple(sorted(touched, key=lambda one: (-one.amount, one.merchant, one.currency))),
            dict(sorted(self._statuses.items())),
            complete,
        )
