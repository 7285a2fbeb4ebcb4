"""What each role may do: one table, from which come the guard, the buttons and the page about roles."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

from interlock.core.kernel.errors import Forbidden


class Role(StrEnum):
    """Each may do what the one before may."""

    VIEWER = "viewer"
    """Sees how payments go. Names of customers and their references are masked."""
    SUPPORT = "support"
    """Explains payments and works on alerts, deliveries and dead letters."""
    LEAD = "lead"
    """Decides: approves repairs and replays, switches providers off, changes rules and objectives."""
    ADMIN = "admin"
    """Says who may do what."""


class Permission(StrEnum):
    SEE = "see"
    SEE_CUSTOMERS = "see_customers"
    HANDLE_ALERTS = "handle_alerts"
    RETRY_DELIVERIES = "retry_deliveries"
    REDRIVE = "redrive"
    RUN_SQL = "run_sql"
    ASK_FOR_REPAIR = "ask_for_repair"
    ASK_FOR_REPLAY = "ask_for_replay"
    EXPLAIN_FINDING = "explain_finding"
    EXPORT_REPRODUCTION = "export_reproduction"
    APPROVE_REPAIR = "approve_repair"
    APPROVE_REPLAY = "approve_replay"
    SWITCH_PROVIDER = "switch_provider"
    CHANGE_RULES = "change_rules"
    CHANGE_OBJECTIVES = "change_objectives"
    SEE_AUDIT = "see_audit"
    MANAGE_OPERATORS = "manage_operators"
    MANAGE_SOURCES = "manage_sources"


_OWN = MappingProxyType(
    {
        Role.VIEWER: {Permission.SEE},
        Role.SUPPORT: {
            Permission.SEE_CUSTOMERS,
            Permission.HANDLE_ALERTS,
            Permission.RETRY_DELIVERIES,
            Permission.REDRIVE,
            Permission.RUN_SQL,
            Permission.ASK_FOR_REPAIR,
            Permission.ASK_FOR_REPLAY,
            Permission.EXPLAIN_FINDING,
            Permission.EXPORT_REPRODUCTION,
        },
        Role.LEAD: {
            Permission.APPROVE_REPAIR,
            Permission.APPROVE_REPLAY,
            Permission.SWITCH_PROVIDER,
            Permission.CHANGE_RULES,
            Permission.CHANGE_OBJECTIVES,
            Permission.SEE_AUDIT,
        },
        Role.ADMIN: {Permission.MANAGE_OPERATORS, Permission.MANAGE_SOURCES},
    }
)
"""What each role may do beyond the one before."""

_ORDER = tuple(Role)
ALLOWED = MappingProxyType(
    {role: frozenset().union(*(_OWN[lower] for lower in _ORDER[: place + 1])) for place, role in enumerate(_ORDER)}
)

DANGEROUS = frozenset(
    {
        Permission.APPROVE_REPAIR,
        Permission.APPROVE_REPLAY,
        Permission.SWITCH_PROVIDER,
        Permission.MANAGE_OPERATORS,
        Permission.MANAGE_SOURCES,
    }
)
"""Need proof that the person is still there: their password, or their issuer, once more."""


def require(role: Role, permission: Permission) -> None:
    """Raises Forbidden saying which role would do."""
    if permission not in ALLOWED[role]:
        needed = next(one for one in _ORDER if permission in ALLOWED[one])
        raise Forbidden(f"this needs the role {needed}; yours is {role}", code="role_too_low")
