"""Routing: an ordered list of providers, filtered by what each can do and how each is doing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from interlock.core.kernel.providers import Action, Capabilities

DEFAULT_RULE = "default"


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Try `providers` in this order."""

    name: str
    providers: tuple[str, ...]


class Wanted(NamedTuple):
    """What has to be routed."""

    action: Action
    method: str
    currency: str
    provider: str | None = None
    """Pinned by the merchant: no other will do."""
    rule: str | None = None


class Refusal(NamedTuple):
    provider: str
    why: str


class Choice(NamedTuple):
    """The provider to try next, or None, and for each that was passed over, why."""

    provider: str | None
    reason: str
    passed_over: tuple[Refusal, ...] = ()


class Roster(Protocol):
    """What is known of the configured providers now."""

    def names(self) -> Sequence[str]:
        """In the order of the settings: the default rule."""

    def capabilities(self, provider: str) -> Capabilities: ...

    def is_available(self, provider: str) -> bool:
        """False while its circuit breaker is open; a half-open breaker with a probe to give away is available."""


def choose(
    wanted: Wanted,
    *,
    rules: Mapping[str, Rule],
    roster: Roster,
    tried: Sequence[str] = (),
    off: Collection[str] = (),
) -> Choice:
    """The first provider of the rule that is configured, able, well and not yet tried.

    When every able provider's breaker is open, the first of them is named all the same: the engine refuses the call
    without sending it, which is an answer the merchant can repeat, while no choice at all would be none. Providers in `off`
    were switched off by a person, and are never named.
    """
    if wanted.provider is not None:
        order: Sequence[str] = (wanted.provider,)
        source = "asked for by the request"
    else:
        rule = rules.get(wanted.rule or DEFAULT_RULE)
        if rule is None and wanted.rule not in (None, DEFAULT_RULE):
            return Choice(None, f"rule {wanted.rule} is not there any more")
        order = rule.providers if rule is not None else roster.names()
        source = f"rule {rule.name}" if rule is not None else "order of the settings"
    passed_over: list[Refusal] = []
    unwell: str | None = None
    configured = roster.names()
    for position, provider in enumerate(order, start=1):
        why = "switched off" if provider in off else _refusal(wanted, provider, roster, configured, tried)
        if why is None:
            return Choice(provider, f"{source}, position {position} of {len(order)}", tuple(passed_over))
        if why == "breaker open" and unwell is None:
            unwell = provider
        passed_over.append(Refusal(provider, why))
    if unwell is not None and not tried:
        return Choice(unwell, f"{source}; every able provider's breaker is open", tuple(passed_over))
    return Choice(None, f"{source}; no provider left", tuple(passed_over))


def _refusal(
    wanted: Wanted, provider: str, roster: Roster, configured: Sequence[str], tried: Sequence[str]
) -> str | None:
    if provider not in configured:
        return "not configured"
    if provider in tried:
        return "already tried"
    can = roster.capabilities(provider)
    if wanted.action not in can.actions:
        return f"cannot {wanted.action}"
    if wanted.method not in can.methods:
        return f"does not take {wanted.method}"
    if can.currencies is not None and wanted.currency not in can.currencies:
        return f"does not take {wanted.currency}"
    if not roster.is_available(provider):
        return "breaker open"
    return None
