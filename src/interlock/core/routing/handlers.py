"""A tenant's routing rules: kept in the store, read through a cache that is a few seconds old at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from interlock.core.kernel.clock import Clock
from interlock.core.kernel.errors import Fault, Invalid
from interlock.core.kernel.events import Event
from interlock.core.kernel.store import ABSENT, Key, Put, Store, Write
from interlock.core.routing.model import Roster, Rule

CACHED_S = 2.0
TENANTS_CACHED_MAX = 10_000
RULES_MAX = 10


class Rules:
    """The rules of every tenant. A tenant without any follows the order of the settings."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._cache: dict[str, tuple[float, Mapping[str, Rule]]] = {}

    async def of(self, tenant: str) -> Mapping[str, Rule]:
        """By name. May be `CACHED_S` old."""
        cached = self._cache.get(tenant)
        now = self._clock.monotonic()
        if cached is not None and now - cached[0] < CACHED_S:
            return cached[1]
        item = await self._store.get(_key(tenant))
        rules = MappingProxyType({rule.name: rule for rule in _decoder.decode(item.value)} if item else {})
        if len(self._cache) >= TENANTS_CACHED_MAX:
            self._cache.clear()
        self._cache[tenant] = (now, rules)
        return rules

    async def replace(
        self,
        tenant: str,
        rules: Sequence[Rule],
        roster: Roster,
        *,
        also: Sequence[Write] = (),
        events: Sequence[Event] = (),
    ) -> None:
        """Put `rules` in the place of the tenant's present ones, in one commit with `also` and `events`.

        Raises Invalid for a provider that is not configured, a repeated name or provider, or too many rules;
        WriteConflict when somebody else changed them at the same time.
        """
        _refuse_faulty(rules, roster)
        item = await self._store.get(_key(tenant))
        write = Put(_key(tenant), _encoder.encode(list(rules)), item.version if item else ABSENT)
        await self._store.commit([*also, write], events)
        self._cache.pop(tenant, None)


def _refuse_faulty(rules: Sequence[Rule], roster: Roster) -> None:
    faults: list[Fault] = []
    configured = set(roster.names())
    if len(rules) > RULES_MAX:
        faults.append(Fault("/rules", "too_many", f"at most {RULES_MAX} rules"))
    if len({rule.name for rule in rules}) != len(rules):
        faults.append(Fault("/rules", "repeated", "two rules of one name"))
    for i, rule in enumerate(rules):
        if not rule.providers or len(set(rule.providers)) != len(rule.providers):
            faults.append(Fault(f"/rules/{i}/providers", "repeated", "each provider once, and at least one"))
        faults.extend(
            Fault(f"/rules/{i}/providers/{j}", "unknown_provider", f"{provider} is not configured")
            for j, provider in enumerate(rule.providers)
            if provider not in configured
        )
    if faults:
        raise Invalid(faults=tuple(faults))


def _key(tenant: str) -> Key:
    """All rules of a tenant are one item: two who replace them at once cannot leave a mixture."""
    return Key(f"{tenant}/routing", "rules")


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Rule])
