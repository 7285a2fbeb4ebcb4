"""Which attempts are good, which are bad and which do not count: one table, and the counting that follows from it.

Whoever counts attempts elsewhere (in SQL, say) must come to the same figures as `tally`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from interlock.core.desk.slo.model import Counts, Filter, Indicator, Measure, Slo, total_of
from interlock.core.kernel.providers import Outcome


class Verdict(StrEnum):
    GOOD = "good"
    BAD = "bad"
    NOT_COUNTED = "not_counted"


class Meaning(NamedTuple):
    verdict: Verdict
    reason: str


_GOOD, _BAD, _OUT = Verdict.GOOD, Verdict.BAD, Verdict.NOT_COUNTED
_PAYER = Meaning(
    _GOOD, "the issuer answered, and the cause is the payer's: no provider and no platform could do better"
)
_REQUEST = Meaning(_GOOD, "the provider answered, and the cause is what the merchant asked for")
_PROVIDER = Meaning(
    _BAD, "the provider or somebody behind it could not work; the same attempt would go well elsewhere or later"
)
_OURS = Meaning(_BAD, "our own request or account at the provider is wrong")

OUTCOMES = MappingProxyType(
    {
        None: Meaning(_OUT, "under way: its deadline makes it good or bad soon"),
        Outcome.APPROVED: Meaning(_GOOD, "done"),
        Outcome.PENDING: Meaning(_GOOD, "the provider has taken it; its last word counts when it comes"),
        Outcome.REQUIRES_ACTION: Meaning(_GOOD, "the provider answered; the payer's turn"),
        Outcome.NOT_SENT: Meaning(_BAD, "nothing reached the provider: it was down, busy or behind an open breaker"),
        Outcome.UNKNOWN: Meaning(_BAD, "no answer in time: the payer waits and nobody can tell"),
    }
)
"""By outcome; a decline's is in `DECLINES`."""

DECLINES = MappingProxyType(
    dict.fromkeys(
        (
            *("declined", "do_not_honor", "insufficient_funds", "limit_exceeded", "card_not_supported", "expired_card"),
            *("incorrect_address", "incorrect_cvc", "incorrect_number", "incorrect_pin", "invalid_expiry"),
            *("invalid_account", "invalid_payment_method", "not_permitted", "pin_required", "pin_tries_exceeded"),
            *("authentication_required", "authentication_failed", "suspected_fraud", "lost_card", "stolen_card"),
            *("pickup_card", "restricted_card", "revoked", "blocked", "currency_not_supported", "test_card"),
            *("returned_by_bank", "refund_failed"),
        ),
        _PAYER,
    )
    | dict.fromkeys(
        (
            *("invalid_amount", "amount_too_large", "duplicate_transaction", "authorization_expired"),
            *("already_captured", "already_refunded", "nothing_left_to_capture", "refund_exceeds_captured"),
            *("disputed", "canceled", "not_authorized"),
        ),
        _REQUEST,
    )
    | dict.fromkeys(("processing_error", "processing_timeout", "try_again_later", "issuer_unavailable"), _PROVIDER)
    | dict.fromkeys(
        ("invalid_request", "charge_unknown", "currency_mismatch", "insufficient_balance", "method_not_supported"),
        _OURS,
    )
)
"""By our word for the decline. A test holds it against every word that a provider's adapter can say."""

UNLISTED = Meaning(_BAD, "a decline whose word is not in the table: add it")
"""Bad, so that it is seen: an error that a provider newly dresses up as a decline must not look like success."""


def judge(outcome: Outcome | None, decline: str | None = None) -> Meaning:
    """`decline` is the code of the attempt's decline."""
    if outcome is Outcome.DECLINED:
        return DECLINES.get(decline or "", UNLISTED)
    return OUTCOMES[outcome]


class Seen(NamedTuple):
    """An attempt as counting sees it."""

    outcome: Outcome | None
    decline: str | None
    duration_ms: int
    """From the start to the first answer."""
    amount: int
    """Minor units of `currency`."""
    currency: str
    provider: str
    method: str
    merchant: str
    operation: str


def is_meant(wanted: Filter, seen: Seen) -> bool:
    return (
        wanted.provider in (None, seen.provider)
        and wanted.method in (None, seen.method)
        and wanted.merchant in (None, seen.merchant)
        and wanted.operation in (None, seen.operation)
        and wanted.currency in (None, seen.currency)
    )


def counted(indicator: Indicator, seen: Seen) -> Counts | None:
    """What one attempt adds, or None if it is not meant or does not count."""
    verdict = judge(seen.outcome, seen.decline).verdict
    if verdict is Verdict.NOT_COUNTED or not is_meant(indicator.filter, seen):
        return None
    good = verdict is Verdict.GOOD
    match indicator.measure:
        case Measure.AVAILABILITY:
            return Counts(int(good), 1)
        case Measure.LATENCY:
            threshold = indicator.filter.threshold_ms
            assert threshold is not None, "a latency has its threshold"
            return Counts(int(seen.duration_ms <= threshold), 1) if good else None
        case Measure.MONEY:
            return Counts(seen.amount if good else 0, seen.amount, 1, int(not good))


def tally(indicator: Indicator, attempts: Iterable[Seen]) -> Counts:
    return total_of(one for seen in attempts if (one := counted(indicator, seen)) is not None)


# -- counters for Prometheus -------------------------------------------------------------------------------------------

EVENTS_TOTAL = "interlock_slo_events_total"
"""Counter by slo and good ("true" or "false"): attempts, or minor units for money."""
ATTEMPTS_TOTAL = "interlock_slo_attempts_total"
"""The same in attempts, for money alone: the guard against low traffic counts these."""
MISCOUNTED_TOTAL = "interlock_slo_miscounted_total"
"""Counter by slo: how much more good than total was ever measured."""


class Increment(NamedTuple):
    """Add `amount` to the counter. Zero, too: a counter that is not there at zero hides its first step from Prometheus."""

    metric: str
    labels: tuple[tuple[str, str], ...]
    amount: int


def increments(slo: Slo, counts: Counts) -> tuple[Increment, ...]:
    """What `counts` adds to the counters of `slo`; with nothing counted, the series with which it must begin."""
    named = ("slo", slo.name)
    pairs = [(EVENTS_TOTAL, min(counts.good, counts.total), counts.bad)]
    if slo.indicator.measure is Measure.MONEY:
        pairs.append((ATTEMPTS_TOTAL, counts.seen - counts.seen_bad, counts.seen_bad))
    made = [
        Increment(metric, (named, ("good", label)), amount)
        for metric, good, bad in pairs
        for label, amount in (("true", good), ("false", bad))
    ]
    return (*made, Increment(MISCOUNTED_TOTAL, (named,), counts.excess))


def increments_of(slos: Sequence[Slo], seen: Seen) -> tuple[Increment, ...]:
    """What one finished attempt adds, to every objective that means it."""
    return tuple(
        increment
        for slo in slos
        if (counts := counted(slo.indicator, seen)) is not None
        for increment in increments(slo, counts)
    )
