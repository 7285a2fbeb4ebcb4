"""A tenant's routing rules, and the providers a person switched off: kept in the store, read through a cache
that is a few seconds old at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from interlock.core.kernel.clock import Clock, Millis
from interlock.core.kernel.errors import Conflict, Fault, Invalid, NotFound
from interlock.core.kernel.events import Event
from interlock.core.kernel.store import ABSENT, Key, Put, Store, Write
from interlock.core.routing.model import Roster, Rule

CACHED_S = 2.0
TENANTS_CACHED_MAX = 10_000
RULES_MAX = 10


class SwitchedOff(msgspec.Struct, frozen=True):
    """Since when a provider is off, by whom, and why."""

    by: str
    at: Millis
    why: str


class Rules:
    """The rules of every tenant. A tenant without any follows the order of the settings."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._cache: dict[str, tuple[float, Mapping[str, Rule]]] = {}
        self._off: tuple[float, Mapping[str, SwitchedOff]] | None = None

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

    async def switched_off(self) -> Mapping[str, SwitchedOff]:
        """Providers that get no new payments of any tenant. May be `CACHED_S` old."""
        now = self._clock.monotonic()
        if self._off is None or now - self._off[0] >= CACHED_S:
            item = await self._store.get(_OFF)
            self._off = (now, MappingProxyType(_off_decoder.decode(item.value) if item else {}))
        return self._off[1]

    async def switch(
        self,
        provider: str,
        off: SwitchedOff | None,
        roster: Roster,
        *,
        also: Sequence[Write] = (),
        events: Sequence[Event] = (),
    ) -> None:
        """Switch a provider off, or with None on again, in one commit with `also` and `events`.

        What is under way there goes on: captures, refunds and lookups of its payments are nobody else's business. Raises
        NotFound for a provider that is not configured, Conflict for the last one that is on, WriteConflict.
        """
        if provider not in roster.names():
            raise NotFound("no such provider")
        item = await self._store.get(_OFF)
        known = dict(_off_decoder.decode(item.value)) if item else {}
        if off is None:
            known.pop(provider, None)
        else:
            known[provider] = off
        if not set(roster.names()) - set(known):
            raise Conflict("this is the last provider that is on: no payment could be made", code="last_provider")
        write = Put(_OFF, _encoder.encode(known), item.version if item else ABSENT)
        await self._store.commit([*also, write], events)
        self._off = None

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


_OFF = Key("~platform/routing", "switched_off")
_off_decoder = msgspec.json.Decoder(dict[str, SwitchedOff])
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Rule])
