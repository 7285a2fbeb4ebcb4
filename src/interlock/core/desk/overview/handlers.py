"""Counting what the overview shows."""

from __future__ import annotations

from typing import Any

from interlock.core.desk.explain.search import merchants
from interlock.core.desk.figures.model import ATTEMPTS, DESK, SLOT
from interlock.core.desk.overview.model import Counted, EndpointHealth, InSlot, Overview, endpoint_health, overview
from interlock.core.kernel import ids
from interlock.core.kernel.clock import DAY, Millis
from interlock.core.kernel.documents import Documents, Tallies
from interlock.core.webhooks.handlers import list_endpoints
from interlock.core.webhooks.model import Endpoint
from interlock.core.webhooks.ports import Webhooks

RANGE_MAX: Millis = 31 * DAY
_LANES = ("provider", "method", "operation", "outcome", "error", "speed", "currency")
_POINTS = ("slot", "provider", "operation", "outcome")


async def look(tallies: Tallies, *, since: Millis, until: Millis, merchant: str | None = None) -> Overview:
    """Attempts begun in [since, until), whole slots; at most RANGE_MAX back from `until`."""
    since = max(since, until - RANGE_MAX) // SLOT * SLOT
    where = {"merchant": merchant} if merchant else None
    within = {"id_from": attempt_id_at(since), "id_before": attempt_id_at(until)}
    # Asked apart: by the slot there are many times more counts, and they need say little.
    lanes = await tallies.tally(ATTEMPTS.name, tenant=DESK, by=_LANES, sums=("amount",), where=where, **within)
    points = await tallies.tally(ATTEMPTS.name, tenant=DESK, by=_POINTS, where=where, **within)
    return overview(
        (_counted(row.values, row.number, row.sums[0]) for row in lanes),
        (_in_slot(row.values, row.number) for row in points),
        since=since,
        until=until,
    )


async def look_at_endpoints(documents: Documents, w: Webhooks) -> EndpointHealth:
    """Of every merchant; one read for each, so ask now and then, not with every payment."""
    endpoints: list[Endpoint] = []
    for merchant in await merchants(documents):
        endpoints += await list_endpoints(w, merchant)
    return endpoint_health(endpoints)


def attempt_id_at(at: Millis) -> str:
    """Below it are the ids of all attempts begun before."""
    return ids.format_id(ids.ATTEMPT, at, 0)


def _counted(values: tuple[Any, ...], number: int, amount: int) -> Counted:
    provider, method, operation, outcome, error, speed, currency = values
    return Counted(provider, method or "none", operation, outcome, error, speed, currency, number, amount)


def _in_slot(values: tuple[Any, ...], number: int) -> InSlot:
    slot, provider, operation, outcome = values
    return InSlot(slot, provider, operation, outcome, number)
