"""What is known of any work on many things."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from interlock.core.desk.bulk.states import Stage
from interlock.core.kernel.clock import MINUTE, Millis

LEASE: Millis = MINUTE // 2
"""So long after a crash somebody else goes on."""
REASON_MAX = 500


class Bulk(msgspec.Struct, frozen=True, kw_only=True):
    NOUN: ClassVar[str] = "work"

    id: str
    reason: str
    requested_by: str
    requested_at: Millis
    items: int
    """No more than so many things are touched."""
    stage: Stage = Stage.WAITING
    decided_by: str = ""
    decided_at: Millis = 0
    done: int = 0
    skipped: int = 0
    failed: int = 0
    lease_until: Millis = 0
    """Somebody is at it until then."""
    finished_at: Millis = 0

    @property
    def left(self) -> int:
        return self.items - self.done - self.skipped - self.failed
