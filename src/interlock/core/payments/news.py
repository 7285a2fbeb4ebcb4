"""What came in about an attempt, and the means to follow it up."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.providers import Result
from interlock.core.payments.decisions import NewId, Timing
from interlock.core.payments.model import Payment
from interlock.core.routing.model import Choice

Failover = Callable[[Payment], Choice]


class News(NamedTuple):
    """A result, and the means to follow it up."""

    result: Result
    now: Millis
    timing: Timing
    new_id: NewId
    failover: Failover | None = None
    """Names the next provider; absent when the payer is no longer waiting, so that nothing is tried elsewhere."""
    authorization_lifetime_ms: Millis = 7 * 24 * 3_600_000
