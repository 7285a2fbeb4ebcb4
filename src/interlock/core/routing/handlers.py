"""A tenant's routing rules: kept in the store, read through a cache that is a few seconds old at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from interlock.core.kernel.clock import Clock
from interlock.core.kernel.errors import Fault, Invalid
from interlock.core.kernel.events import Event
from interlock.core.kernel.store import ABSENT, Delete, Key, Put, Store, Write
from interlock.core.routing.model import Roster, Rule

CACHED_S = 2.0
TENANTS_CACHED_MAX = 10_000
RULES_MAX = 10
"""Of a tenant: replacing all of them by as many others, with the audit record, must fit into one commit."""


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
        page = await self._store.query(_partition(tenant), limit=RULES_MAX)
        rules = MappingProxyType({item.key.sort: _decoder.decode(item.value) for item in page.items})
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
        present = {item.key.sort: item for item in (await self._store.query(_partition(tenant), limit=RULES_MAX)).items}
        writes: list[Write] = list(also)
        for rule in rules:
            known = present.pop(rule.name, None)
            expected = known.version if known else ABSENT
            writes.append(Put(Key(_partition(tenant), rule.name), _encoder.encode(rule), expected))
        writes.extend(Delete(item.key, item.version) for item in present.values())
        if writes:
            await self._store.commit(writes, events)
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


def _partition(tenant: str) -> str:
    return f"{tenant}/routing"


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Rule)
