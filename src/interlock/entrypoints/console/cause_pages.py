"""What explains a drop in success: ranked statements with their evidence, or that nothing does."""

from __future__ import annotations

from interlock.core.desk.localisation.handlers import find_causes
from interlock.core.desk.operators.roles import Permission
from interlock.core.kernel.clock import DAY, HOUR, Millis
from interlock.entrypoints.console.desk import Desk
from interlock.entrypoints.console.pages import Asked, Page, Reply, Shown

WINDOWS: dict[str, Millis] = {"1h": HOUR, "3h": 3 * HOUR, "6h": 6 * HOUR, "24h": DAY}
DEFAULT = "3h"


def cause_pages(desk: Desk) -> list[Page]:
    async def causes(asked: Asked) -> Reply:
        chosen = asked.query.get("window", DEFAULT)
        chosen = chosen if chosen in WINDOWS else DEFAULT
        since = asked.now - WINDOWS[chosen]
        parts = desk.platform.desk
        found = await find_causes(parts.tallies, parts.past, since=since, until=asked.now)
        context = {"title": "Causes", "windows": tuple(WINDOWS), "chosen": chosen, "found": found, "since": since}
        return Shown("causes.html", context)

    return [Page("GET", "/causes", causes, Permission.SEE)]
