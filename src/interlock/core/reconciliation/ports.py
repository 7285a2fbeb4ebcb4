"""What the handlers of reconciliation need from outside."""

from __future__ import annotations

from typing import NamedTuple

from interlock.core.kernel.blobs import Blobs
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.ids import Ids
from interlock.core.kernel.store import Store
from interlock.core.kernel.telemetry import Telemetry


class Reconciliation(NamedTuple):
    """The means of every handler here."""

    store: Store
    blobs: Blobs
    clock: Clock
    ids: Ids
    telemetry: Telemetry
