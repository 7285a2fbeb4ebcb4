"""Scopes: the closed list, `x:*` for all of one kind, and the check that an endpoint makes."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Protocol

from interlock.core.kernel.errors import Fault, Forbidden, Invalid

SCOPES: tuple[str, ...] = (
    "payments:read",
    "payments:write",
    "refunds:write",
    "customers:read",
    "customers:write",
    "payouts:read",
    "payouts:write",
    "webhooks:read",
    "webhooks:write",
    "ledger:read",
    "routing:read",
    "routing:write",
    "reconciliation:read",
    "reconciliation:write",
    "desk:read",
    "desk:write",
    "desk:approve",
)
_ALL = frozenset(SCOPES)
_MEANING = MappingProxyType(
    {scope: frozenset({scope}) for scope in SCOPES}
    | {
        f"{kind}:*": frozenset(scope for scope in SCOPES if scope.startswith(f"{kind}:"))
        for kind in {scope.partition(":")[0] for scope in SCOPES}
    }
)
"""What each word grants. A bare `*` is not a word: nobody gets everything by accident."""


class Scoped(Protocol):
    @property
    def scopes(self) -> frozenset[str]: ...


def expand(words: Iterable[str]) -> frozenset[str]:
    """The scopes that `words` stand for. Raises Invalid naming every word that is none."""
    granted: set[str] = set()
    faults = []
    for position, word in enumerate(words):
        meaning = _MEANING.get(word)
        if meaning is None:
            faults.append(Fault(f"/scopes/{position}", "unknown_scope", "not a scope of this platform"))
        else:
            granted |= meaning
    if faults:
        raise Invalid(faults=tuple(faults))
    return frozenset(granted)


def known(words: Iterable[str]) -> frozenset[str]:
    """The scopes among `words`; other words mean nothing here. For tokens of an issuer that serves others, too."""
    nothing: frozenset[str] = frozenset()
    return nothing.union(*(_MEANING.get(word, nothing) for word in words))


def scope_text(scopes: Iterable[str]) -> str:
    """As a token and a token answer show them: separated by a space, in the order of SCOPES."""
    held = frozenset(scopes)
    return " ".join(scope for scope in SCOPES if scope in held)


def require_scope(principal: Scoped, scope: str) -> None:
    """Raises Forbidden naming the scope that is missing. A scope that does not exist is a KeyError: a fault of ours."""
    if scope not in _ALL:
        raise KeyError(scope)
    if scope not in principal.scopes:
        raise Forbidden(f"the token lacks the scope {scope}", scope=scope, code="insufficient_scope")
