"""How objectives and merchants stand, as pages show it.

Looked at now and then: an open page asks every few seconds.
"""

from __future__ import annotations

from interlock.core.desk.overview.handlers import look_at_endpoints
from interlock.core.desk.overview.model import EndpointHealth
from interlock.core.desk.risk.handlers import at_risk
from interlock.core.desk.risk.model import AtRisk
from interlock.core.desk.slo.handlers import load_slos, standing
from interlock.core.desk.slo.model import Slo
from interlock.core.desk.slo.ports import Objectives
from interlock.core.desk.slo.views import StandingView, standing_view
from interlock.entrypoints.console.desk import Desk

KNOWN_S = 30.0
MERCHANTS_KNOWN_S = 10.0


class Standings:
    """A budget moves slowly; new objectives are seen at once."""

    def __init__(self, objectives: Objectives) -> None:
        self._objectives = objectives
        self._looked_at = 0.0
        self._slos: tuple[Slo, ...] = ()
        self._views: list[StandingView] = []

    async def get(self) -> list[StandingView]:
        now = self._objectives.clock.monotonic()
        slos = await load_slos(self._objectives)
        if slos != self._slos or now - self._looked_at >= KNOWN_S:
            views = [standing_view(await standing(self._objectives, slo)) for slo in slos]
            self._looked_at, self._slos, self._views = now, slos, views
        return self._views


class Merchants:
    """What is looked at merchant by merchant: where webhooks go, and what is at risk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._looked_at = 0.0
        self._seen: tuple[EndpointHealth, AtRisk] | None = None

    async def get(self) -> tuple[EndpointHealth, AtRisk]:
        storage, webhooks = self._desk.platform.storage, self._desk.platform.webhooks
        now = storage.clock.monotonic()
        if self._seen is None or now - self._looked_at >= MERCHANTS_KNOWN_S:
            risks = await at_risk(storage.documents, webhooks, storage.clock.now())
            self._seen = await look_at_endpoints(storage.documents, webhooks), risks
            self._looked_at = now
        return self._seen
