"""What whoever looks for risks needs from outside."""

from __future__ import annotations

from typing import NamedTuple

from interlock.core.kernel.clock import Clock
from interlock.core.kernel.ids import Ids
from interlock.core.kernel.store import Store
from interlock.core.kernel.telemetry import Telemetry


class Watch(NamedTuple):
    store: Store
    clock: Clock
    ids: Ids
    telemetry: Telemetry
