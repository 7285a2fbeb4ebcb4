"""What the pages work with."""

from __future__ import annotations

from typing import NamedTuple

from interlock.bootstrap import Platform
from interlock.core.desk.operators.ports import Operators
from interlock.core.kernel.documents import Tallies


class Desk(NamedTuple):
    platform: Platform
    operators: Operators
    tallies: Tallies

    def breaker(self, provider: str) -> str | None:
        """Of this process; None where others do the calling, each with a breaker of its own."""
        platform = self.platform
        return str(platform.engine.health(provider)) if platform.storage.database is not None else None
