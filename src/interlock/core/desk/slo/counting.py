"""Attempts counted from the desk's rows, as `verdicts.tally` counts them; and, for Prometheus, as they finish."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from interlock.core.desk.figures.model import ATTEMPTS, DESK, SPEEDS_MS
from interlock.core.desk.figures.projection import finished_attempts
from interlock.core.desk.slo.model import Counts, Filter, Indicator, Measure, total_of
from interlock.core.desk.slo.verdicts import Seen, counted
from interlock.core.kernel import ids
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.documents import Documents, Scalar, Tallies
from interlock.core.kernel.events import Event
from interlock.core.kernel.providers import Outcome

_BY = ("outcome", "error", "currency", "provider", "method", "merchant", "operation")
_FILTERS = ("provider", "method", "merchant", "operation", "currency")


class CountedAttempts:
    """The `Tallies` of objectives, over the desk's rows of attempts."""

    def __init__(self, tallies: Tallies, documents: Documents) -> None:
        """`tallies` counts `documents`."""
        self._tallies = tallies
        self._documents = documents

    async def count(self, measure: Measure, filter: Filter, from_ms: Millis, to_ms: Millis) -> Counts:
        return total_of(counts for _, counts in await self._counts(measure, filter, from_ms, to_ms))

    async def by_merchant(
        self, measure: Measure, filter: Filter, from_ms: Millis, to_ms: Millis
    ) -> Mapping[str, Counts]:
        found: dict[str, list[Counts]] = defaultdict(list)
        for merchant, counts in await self._counts(measure, filter, from_ms, to_ms):
            found[merchant].append(counts)
        return {merchant: total_of(every) for merchant, every in found.items()}

    async def latest(self) -> Millis:
        newest = await self._documents.find(ATTEMPTS.name, tenant=DESK, limit=1)
        return ids.instant_of(newest[0].id) if newest else 0

    async def _counts(
        self, measure: Measure, filter: Filter, from_ms: Millis, to_ms: Millis
    ) -> Iterable[tuple[str, Counts]]:
        """Merchant and counts, of attempts that are alike."""
        where: dict[str, Scalar] = {name: value for name in _FILTERS if (value := getattr(filter, name)) is not None}
        timed: tuple[str, ...] = ()
        if measure is Measure.LATENCY:
            # The class says as much of a threshold that is its bound, and there are far fewer of them than durations.
            timed = ("speed",) if filter.threshold_ms in SPEEDS_MS else ("duration_ms",)
        rows = await self._tallies.tally(
            ATTEMPTS.name,
            tenant=DESK,
            by=(*_BY, *timed),
            sums=("amount",),
            where=where,
            id_from=ids.format_id(ids.ATTEMPT, max(0, from_ms), 0),
            id_before=ids.format_id(ids.ATTEMPT, max(0, to_ms), 0),
        )
        indicator = Indicator(measure, filter)
        alike = ((_seen(row.values, row.sums[0]), row.number) for row in rows)
        found = ((seen.merchant, _times(counted(indicator, seen), number, measure)) for seen, number in alike)
        return [(merchant, counts) for merchant, counts in found if counts is not None]


def _seen(values: Sequence[Any], amount: int) -> Seen:
    """Attempts that are alike, as one; for money their amounts together."""
    outcome, error, currency, provider, method, merchant, operation, *timed = values
    declined = outcome == Outcome.DECLINED
    return Seen(
        Outcome(outcome),
        error if declined else None,
        (SPEEDS_MS[-1] + 1 if timed[0] is None else timed[0]) if timed else 0,
        amount,
        currency,
        provider,
        method or "",
        merchant,
        operation,
    )


def _times(one: Counts | None, number: int, measure: Measure) -> Counts | None:
    """What so many attempts add that are alike. Amounts are summed up already."""
    if one is None:
        return None
    if measure is Measure.MONEY:
        return msgspec.structs.replace(one, events=number, events_bad=number if one.good == 0 else 0)
    return Counts(one.good * number, one.total * number)


def seen_in(events: Iterable[Event]) -> list[Seen]:
    """Attempts that these events brought to an outcome, each time they did."""
    return [
        Seen(
            Outcome(row.outcome),
            row.error if row.outcome == Outcome.DECLINED else None,
            row.duration_ms,
            row.amount,
            row.currency,
            row.provider,
            row.method or "",
            row.merchant,
            row.operation,
        )
        for row in finished_attempts(events)
    ]
