"""What came in about an attempt, and the means to follow it up."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.providers import Outcome, Result
from interlock.core.payments.decisions import NewId, Timing
from interlock.core.payments.model import Attempt, Payment
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


def retry_time(attempt: Attempt, outcome: Outcome, now: Millis, timing: Timing) -> Millis:
    """When to look again after `lookups` looks: doubling, within limits."""
    if outcome is Outcome.REQUIRES_ACTION:
        return now + timing.action_ms
    first, most = (
        (timing.unknown_first_ms, timing.unknown_most_ms)
        if outcome is Outcome.UNKNOWN
        else (timing.pending_first_ms, timing.pending_most_ms)
    )
    return now + min(first << min(attempt.lookups, 20), most)
