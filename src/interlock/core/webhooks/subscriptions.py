"""Which endpoints want an event: remembered, and never wrong for longer than it takes to read one item."""

from __future__ import annotations

from interlock.core.kernel.store import ABSENT, Store
from interlock.core.webhooks.model import ENDPOINTS_MAX, Subscription, subscription
from interlock.core.webhooks.records import REVISION, decode_endpoint, endpoints_partition

TENANTS_MAX = 50_000
"""Tenants remembered at once."""


class Subscriptions:
    """The enabled endpoints by tenant.

    Every change of an endpoint rewrites one item. `refresh` reads it and forgets everything if it is another version, so
    after it the answers are those of the moment it was called, or newer. Call it once for a batch of events.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._revision = -1
        self._by_tenant: dict[str, tuple[Subscription, ...]] = {}

    async def refresh(self) -> None:
        item = await self._store.get(REVISION)
        revision = ABSENT if item is None else item.version
        if revision != self._revision:
            self._revision = revision
            self._by_tenant = {}

    async def of(self, tenant: str) -> tuple[Subscription, ...]:
        known = self._by_tenant.get(tenant)
        return known if known is not None else await self._load(tenant)

    async def _load(self, tenant: str) -> tuple[Subscription, ...]:
        by_tenant = self._by_tenant
        page = await self._store.query(endpoints_partition(tenant), limit=2 * ENDPOINTS_MAX)
        endpoints = map(decode_endpoint, page.items)
        found = tuple(subscription(endpoint) for endpoint in endpoints if endpoint.enabled)
        if len(by_tenant) >= TENANTS_MAX:
            by_tenant.clear()
        # Into the dictionary of the revision it was asked under: a refresh meanwhile has put another in its place.
        by_tenant[tenant] = found
        return found
