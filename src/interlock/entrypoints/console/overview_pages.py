"""The first page, and the box in which everything is found."""

from __future__ import annotations

from typing import Any

from interlock.bootstrap import queue_names
from interlock.core.desk.alerts.listing import list_open
from interlock.core.desk.alerts.views import alert_view
from interlock.core.desk.explain.search import search
from interlock.core.desk.figures.model import SLOT
from interlock.core.desk.operators.roles import Permission
from interlock.core.desk.overview.handlers import look
from interlock.core.desk.overview.model import Overview
from interlock.core.kernel.clock import DAY, HOUR, Millis, rfc3339
from interlock.core.payments.sweeping import oldest_unknown_s
from interlock.entrypoints.console.desk import Desk
from interlock.entrypoints.console.masking import masked
from interlock.entrypoints.console.pages import ROOT, Asked, Page, Reply, Shown, Went
from interlock.entrypoints.console.standings import Merchants, Standings

RANGES: dict[str, Millis] = {"1h": HOUR, "6h": 6 * HOUR, "24h": DAY, "7d": 7 * DAY}
DEFAULT_RANGE = "24h"
RISKS_SHOWN = 8
POINTS = 24


def overview_pages(desk: Desk, standings: Standings) -> list[Page]:
    known = Merchants(desk)

    async def overview(asked: Asked) -> Reply:
        return Shown("overview.html", await _context(desk, asked, standings, known))

    async def live(asked: Asked) -> Reply:
        return Shown("parts/overview_live.html", await _context(desk, asked, standings, known))

    async def find(asked: Asked) -> Reply:
        text = asked.query.get("q", "")
        storage = desk.platform.storage
        customers = asked.me.may(Permission.SEE_CUSTOMERS)
        names = desk.platform.engine.names()
        hits = await search(storage.documents, text, providers=names, now=asked.now, customers=customers)
        if len(hits) == 1 and not asked.is_fragment:
            return Went(f"{ROOT}/payments/{hits[0].payment.id}")
        shown = [(masked(hit.payment, asked.me), hit.matched) for hit in hits]
        return Shown("search.html", {"title": "Search", "q": text, "hits": shown})

    return [
        Page("GET", "/", overview, Permission.SEE),
        Page("GET", "/parts/overview", live, Permission.SEE),
        Page("GET", "/search", find, Permission.SEE),
    ]


async def _context(desk: Desk, asked: Asked, standings: Standings, known: Merchants) -> dict[str, Any]:
    storage, platform = desk.platform.storage, desk.platform
    chosen = asked.query.get("range", DEFAULT_RANGE)
    chosen = chosen if chosen in RANGES else DEFAULT_RANGE
    seen = await look(desk.tallies, since=asked.now - RANGES[chosen], until=asked.now)
    endpoints, risks = await known.get()
    depths = {queue: await storage.queue.depth(queue) for queue in queue_names(platform)}
    oldest = await oldest_unknown_s(platform.payments)
    health = {name: breaker for name in platform.engine.names() if (breaker := desk.breaker(name))}
    alerts = await list_open(platform.desk.alerts)
    return {
        "title": "Overview",
        "ranges": tuple(RANGES),
        "chosen": chosen,
        "seen": seen,
        "total": _total(seen),
        "success": chart(seen),
        "risks": risks.risks[:RISKS_SHOWN],
        "risks_number": len(risks.risks),
        "depths": depths,
        "endpoints": endpoints,
        "oldest_s": round(oldest) if oldest else 0,
        "health": health,
        "alerts": [alert_view(one) for one in alerts[:RISKS_SHOWN]],
        "burning": [view for view in await standings.get() if view.firing],
        "updated_at": rfc3339(asked.now),
    }


def _total(seen: Overview) -> dict[str, int]:
    return {
        "attempts": sum(lane.attempts for lane in seen.lanes),
        "approved": sum(lane.approved for lane in seen.lanes),
        "declined": sum(lane.declined for lane in seen.lanes),
        "failed": sum(lane.failed for lane in seen.lanes),
    }


def chart(seen: Overview) -> dict[str, Any]:
    """Success in percent for each provider, as the chart wants it: columns of equal length, about POINTS of them."""
    step = max(1, -(-(seen.until - seen.since) // SLOT // POINTS))
    sums: dict[str, dict[int, list[int]]] = {}
    for provider, points in seen.points.items():
        columns = sums.setdefault(provider, {})
        for point in points:
            column = columns.setdefault(point.slot // step * step, [0, 0])
            column[0] += point.approved
            column[1] += point.attempts
    times = sorted({slot for columns in sums.values() for slot in columns})
    series = [
        {"name": provider, "values": [_rounded(*columns.get(slot, (0, 0))) for slot in times]}
        for provider, columns in sums.items()
    ]
    return {"times": [slot * SLOT // 1000 for slot in times], "series": series, "unit": "%", "min": 0, "max": 100}


def _rounded(part: int, whole: int) -> float | None:
    return round(part * 1000 / whole) / 10 if whole else None
