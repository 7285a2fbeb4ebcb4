"""The rules in force: read with every webhook, replaced as a whole."""

from __future__ import annotations

import msgspec

from interlock.core.access.audit import PLATFORM, audit_event
from interlock.core.desk.alerts.commands import ReplaceAlertRules
from interlock.core.desk.alerts.events import RULES_AGGREGATE, Facts, rules_event
from interlock.core.desk.alerts.ports import AlertDesk
from interlock.core.desk.alerts.records import RULES, RuleSet, decode_rules, rules_write
from interlock.core.desk.alerts.rules import check_rules
from interlock.core.kernel.errors import Conflict, Fault, Invalid, WriteConflict
from interlock.core.kernel.idempotency import Request
from interlock.core.kernel.store import ABSENT

RULES_BYTES_MAX = 200_000
"""All rules together: they stand in one item, and in one event."""
NO_RULES = RuleSet(0, (), 0, "")


async def load_rules(d: AlertDesk) -> RuleSet:
    item = await d.store.get(RULES)
    return NO_RULES if item is None else decode_rules(item)


async def replace_rules(d: AlertDesk, command: ReplaceAlertRules, request: Request) -> RuleSet:
    """The rules as they are now; they act on the next webhook. What is open stays as it is until it fires again.

    Raises Invalid naming each fault, Conflict if somebody has replaced them since `command.version`. Safe to repeat: the
    same rules again are no change.
    """
    check_rules(command.rules)
    if len(msgspec.json.encode(command.rules)) > RULES_BYTES_MAX:
        detail = f"all rules together have at most {RULES_BYTES_MAX} bytes"
        raise Invalid(faults=(Fault("/rules", "bad_length", detail),))
    item = await d.store.get(RULES)
    standing = NO_RULES if item is None else decode_rules(item)
    if standing.rules == command.rules:
        return standing
    if standing.version != command.version:
        raise _overtaken()
    now = d.clock.now()
    rules = RuleSet(standing.version + 1, command.rules, now, request.actor)
    record, recorded = audit_event(
        d.ids,
        now,
        actor=request.actor,
        action="alert_rules.replaced",
        target=RULES_AGGREGATE,
        tenant=PLATFORM,
        detail={"version": rules.version, "rules": " ".join(rule.id for rule in rules.rules)},
    )
    event = rules_event(d.ids, rules, Facts(request.actor, request.id))
    try:
        await d.store.commit([rules_write(rules, ABSENT if item is None else item.version), record], [event, recorded])
    except WriteConflict:
        raise _overtaken() from None
    return rules


def _overtaken() -> Conflict:
    return Conflict("somebody has replaced the rules since they were read; read them again", code="rules_changed")
