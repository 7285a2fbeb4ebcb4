"""What the handlers of objectives need from outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from interlock.core.desk.slo.model import Counts, Filter, Measure
from interlock.core.kernel.clock import Clock, Millis
from interlock.core.kernel.ids import Ids
from interlock.core.kernel.store import Store
from interlock.core.kernel.telemetry import Telemetry


class Tallies(Protocol):
    """Counts attempts by what is recorded of them now."""

    async def count(self, measure: Measure, filter: Filter, from_ms: Millis, to_ms: Millis) -> Counts:
        """Of the attempts that started in [from_ms, to_ms) and pass `filter`, as `verdicts.tally` counts them.

        May be asked again and answer differently: an attempt under way does not count yet. For money, `events` and
        `events_bad` are given. Raises Unavailable when it cannot be counted now.
        """

    async def by_merchant(
        self, measure: Measure, filter: Filter, from_ms: Millis, to_ms: Millis
    ) -> Mapping[str, Counts]:
        """The same for each merchant that has any."""

    async def latest(self) -> Millis:
        """When the newest attempt of all started that is counted; 0 without any. What counts may be behind what happened."""


class Objectives(NamedTuple):
    """The means of every handler here."""

    store: Store
    clock: Clock
    ids: Ids
    telemetry: Telemetry
    tallies: Tallies
