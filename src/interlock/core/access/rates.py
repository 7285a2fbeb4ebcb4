"""How often: a token bucket per client, in the memory of one process.

A bucket is kept as one number, the time at which it will be full again. It is the same rule as counting tokens (a
request moves that time on by one token's worth, and is refused if it would then lie more than a bucketful ahead), but
nothing has to be refilled and an idle client needs no memory.
"""

from __future__ import annotations

from math import ceil

import msgspec

_TOLERANCE_S = 1e-9
"""Sums of floats may be off by less than this."""


class RateLimit(msgspec.Struct, frozen=True):
    per_s: float
    """Requests each second, on average."""
    burst: int
    """Requests at once."""


class Allowance(msgspec.Struct, frozen=True, gc=False):
    allowed: bool
    limit: int
    """Requests in a full bucket."""
    remaining: int
    """Requests that would be allowed now."""
    reset_s: float
    """Until the bucket is full again; when nothing is allowed, until one request is."""
    retry_after_s: int
    """0 when allowed; otherwise whole seconds after which one request is."""


class RateLimiter:
    """Holds `clients_max` buckets at most. When more are needed the full ones are forgotten, then the oldest quarter."""

    def __init__(self, default: RateLimit, *, clients_max: int = 10_000) -> None:
        if default.per_s <= 0 or default.burst < 1 or clients_max < 4:
            raise ValueError("a rate limit lets at least something through")
        self._default = default
        self._clients_max = clients_max
        self._full_at: dict[str, float] = {}

    def take(self, client_id: str, now: float, limit: RateLimit | None = None) -> Allowance:
        """Count one request at `now` (monotonic seconds). A refused request costs the client nothing."""
        if limit is None:
            limit = self._default
        per_s, burst, buckets = limit.per_s, limit.burst, self._full_at
        full_at = buckets.get(client_id)
        if full_at is None and len(buckets) >= self._clients_max:
            buckets = self._make_room(now)
        ahead = full_at - now if full_at is not None and full_at > now else 0.0
        spare = burst - ahead * per_s + _TOLERANCE_S
        if spare < 1.0:
            wait = (1.0 - spare) / per_s
            return Allowance(False, burst, 0, wait, ceil(wait) or 1)
        ahead += 1.0 / per_s
        buckets[client_id] = now + ahead
        return Allowance(True, burst, int(spare) - 1, ahead, 0)

    def __len__(self) -> int:
        return len(self._full_at)

    def _make_room(self, now: float) -> dict[str, float]:
        held = {client: full_at for client, full_at in self._full_at.items() if full_at > now}
        if len(held) >= self._clients_max:
            held = dict(list(held.items())[self._clients_max // 4 :])
        self._full_at = held
        return held
