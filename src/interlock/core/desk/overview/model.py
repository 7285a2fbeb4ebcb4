"""What the overview shows, folded from counts of attempts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from interlock.core.desk.figures.model import SPEEDS_MS
from interlock.core.kernel.providers import Outcome
from interlock.core.webhooks.model import Endpoint

GOOD = frozenset({Outcome.APPROVED, Outcome.REQUIRES_ACTION})
"""The provider did what was asked."""
PAYERS = frozenset({Outcome.DECLINED})
"""The provider answered; the answer is no. Counts against success, not against the provider."""
OPEN = frozenset({Outcome.PENDING})
"""Not counted until it is known."""


class Counted(NamedTuple):
    """Attempts alike in everything that lanes and flows are made of."""

    provider: str
    method: str
    operation: str
    outcome: str
    error: str | None
    speed: int | None
    currency: str
    number: int
    amount: int


class InSlot(NamedTuple):
    """Attempts of one slot, alike in what a point is made of."""

    slot: int
    provider: str
    operation: str
    outcome: str
    number: int


class Lane(msgspec.Struct, frozen=True):
    """One provider and one method of payment, over the time looked at."""

    provider: str
    method: str
    attempts: int
    """Those whose outcome is known or lost; pending ones are left out."""
    approved: int
    declined: int
    failed: int
    """Not sent, or unknown: no answer that counts."""
    p50_ms: int | None
    """Upper bound of the class that holds it; None without attempts, or beyond the last class."""
    p95_ms: int | None
    errors: tuple[tuple[str, int], ...]
    """Most frequent first."""


class Point(msgspec.Struct, frozen=True):
    """One slot of the chart."""

    slot: int
    attempts: int
    approved: int
    failed: int


class Flow(msgspec.Struct, frozen=True):
    """Approved authorisations and captures of one currency."""

    currency: str
    payments: int
    amount: int


class Overview(msgspec.Struct, frozen=True):
    since: int
    until: int
    lanes: tuple[Lane, ...]
    flows: tuple[Flow, ...]
    points: Mapping[str, tuple[Point, ...]]
    """Provider -> its slots in order; without attempts there is no point."""


def overview(counted: Iterable[Counted], in_slots: Iterable[InSlot], *, since: int, until: int) -> Overview:
    """Fold counts. Authorisations alone make success and money: captures and refunds follow from them."""
    lanes: dict[tuple[str, str], list[Counted]] = defaultdict(list)
    flows: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for one in counted:
        if one.operation == "authorize" and one.outcome not in OPEN:
            lanes[one.provider, one.method].append(one)
            if one.outcome in GOOD:
                flows[one.currency][0] += one.number
                flows[one.currency][1] += one.amount
    points: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0, 0]))
    for some in in_slots:
        if some.operation == "authorize" and some.outcome not in OPEN:
            point = points[some.provider][some.slot]
            point[0] += some.number
            if some.outcome in GOOD:
                point[1] += some.number
            elif some.outcome not in PAYERS:
                point[2] += some.number
    return Overview(
        since,
        until,
        tuple(_lane(*name, lanes[name]) for name in sorted(lanes)),
        tuple(Flow(currency, *flows[currency]) for currency in sorted(flows)),
        {
            provider: tuple(Point(slot, *slots[slot]) for slot in sorted(slots))
            for provider, slots in sorted(points.items())
        },
    )


def _lane(provider: str, method: str, ones: list[Counted]) -> Lane:
    number: dict[str, int] = defaultdict(int)
    errors: dict[str, int] = defaultdict(int)
    speeds: dict[int | None, int] = defaultdict(int)
    for one in ones:
        kind = "approved" if one.outcome in GOOD else "declined" if one.outcome in PAYERS else "failed"
        number[kind] += one.number
        speeds[one.speed] += one.number
        if one.error:
            errors[one.error] += one.number
    ranked = sorted(errors.items(), key=lambda pair: (-pair[1], pair[0]))
    return Lane(
        provider,
        method,
        sum(number.values()),
        number["approved"],
        number["declined"],
        number["failed"],
        percentile(speeds, 50),
        percentile(speeds, 95),
        tuple(ranked[:5]),
    )


def percentile(speeds: Mapping[int | None, int], percent: int) -> int | None:
    """The class in which so many percent of all lie at or below; None without any, or beyond the last bound."""
    wanted, seen = sum(speeds.values()) * percent, 0
    for bound in SPEEDS_MS:
        seen += speeds.get(bound, 0) * 100
        if seen >= wanted > 0:
            return bound
    return None


class TroubledEndpoint(msgspec.Struct, frozen=True):
    """An address of a merchant that takes no webhooks now."""

    merchant: str
    id: str
    url: str
    why: str
    """`failing`: attempts fail, with none between that succeeded; `gone`: it answered so and was switched off."""
    since: int


class EndpointHealth(msgspec.Struct, frozen=True):
    """How the merchants' addresses stand; those that merchants switched off themselves are `off` and no trouble."""

    enabled: int
    off: int
    troubled: tuple[TroubledEndpoint, ...]
    """Longest first."""


def endpoint_health(endpoints: Iterable[Endpoint]) -> EndpointHealth:
    enabled, off = 0, 0
    troubled: list[TroubledEndpoint] = []
    for one in endpoints:
        enabled += one.enabled
        off += not one.enabled
        if one.enabled and one.failing_since is not None:
            troubled.append(TroubledEndpoint(one.tenant, one.id, one.url, "failing", one.failing_since))
        elif one.disabled_reason == "gone":
            troubled.append(TroubledEndpoint(one.tenant, one.id, one.url, "gone", one.updated_at))
    return EndpointHealth(enabled, off, tuple(sorted(troubled, key=lambda one: (one.since, one.id))))
