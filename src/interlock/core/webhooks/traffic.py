"""How much one endpoint may take up, so that a slow or dead one does not starve the others. In memory, for this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

AT_ONCE_MAX = 8
"""Requests under way to one endpoint."""
FAILURES_BEFORE_PROBING = 5
"""After so many failures in a row an endpoint gets one request at a time, until one succeeds."""


class _Load:
    __slots__ = ("failures", "under_way")

    def __init__(self) -> None:
        self.under_way = 0
        self.failures = 0


class Traffic:
    """Of each endpoint: how many requests are under way, and how many failed in a row. And which deliveries we are at."""

    def __init__(self, *, at_once_max: int = AT_ONCE_MAX) -> None:
        self._at: Counter[str] = Counter()
        self._at_once_max = at_once_max
        self._loads: dict[str, _Load] = {}

    def enter(self, endpoint_id: str) -> bool:
        """Take a place; False, and none is taken, when the endpoint is busy. Every True needs one `leave`."""
        load = self._loads.get(endpoint_id)
        if load is None:
            load = self._loads[endpoint_id] = _Load()
        limit = 1 if load.failures >= FAILURES_BEFORE_PROBING else self._at_once_max
        if load.under_way >= limit:
            return False
        load.under_way += 1
        return True

    def leave(self, endpoint_id: str, *, succeeded: bool | None) -> None:
        """Give the place back. None: nothing was learned about the endpoint."""
        load = self._loads[endpoint_id]
        load.under_way -= 1
        if succeeded:
            load.failures = 0
        elif succeeded is False:
            load.failures += 1
        if load.under_way == 0 and load.failures == 0:
            del self._loads[endpoint_id]

    @contextmanager
    def at(self, delivery_id: str) -> Iterator[None]:
        """While a task of this process looks after a delivery."""
        self._at[delivery_id] += 1
        try:
            yield
        finally:
            self._at[delivery_id] -= 1
            if not self._at[delivery_id]:
                del self._at[delivery_id]

    def is_at(self, delivery_id: str) -> bool:
        return delivery_id in self._at

    def is_failing(self, endpoint_id: str) -> bool:
        load = self._loads.get(endpoint_id)
        return load is not None and load.failures >= FAILURES_BEFORE_PROBING
