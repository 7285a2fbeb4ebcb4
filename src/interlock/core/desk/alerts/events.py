"""Events of alerts and of their rules. All belong to the platform, and merchants see none of them."""

from __future__ import annotations

from types import MappingProxyType

import msgspec

from interlock.core.access.audit import PLATFORM
from interlock.core.desk.alerts.model import Alert
from interlock.core.desk.alerts.records import RuleSet
from interlock.core.desk.alerts.verdicts import AlertOutcome
from interlock.core.desk.alerts.views import AlertRulesView, AlertView, alert_view, rules_view
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.events import Event
from interlock.core.kernel.ids import EVENT, Ids

EVENT_TYPES = MappingProxyType(
    {
        "alert.opened": "Something is wrong, and somebody should look.",
        "alert.reopened": "It fires again, not long after it was resolved.",
        "alert.repeated": "It still fires, or one more of its group does, and no rule says that this is no news.",
        "alert.silenced": "It fires, and a silence or a maintenance window covers it.",
        "alert.held": "It fires, and not often enough yet for its rule.",
        "alert.acknowledged": "Somebody looks after it.",
        "alert.assigned": "Somebody else looks after it, or nobody any more.",
        "alert.resolved": "It is over: the tool says so, or a person.",
        "alert_rules.replaced": "The rules are others now.",
    }
)
"""Every type and what it means. What is only counted (a duplicate, one more firing in a silence) is no event."""
RULES_AGGREGATE = "alert_rules"


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What operators see of a change beside the snapshot."""

    by: str
    """client_id of the caller, or the id of the source."""
    request_id: str = ""
    note: str = ""
    rules: tuple[str, ...] = ()
    """Ids of the rules that made it so."""


class _AlertData(msgspec.Struct, frozen=True):
    alert: AlertView


class _RulesData(msgspec.Struct, frozen=True):
    alert_rules: AlertRulesView


def alert_event(ids: Ids, alert: Alert, what: AlertOutcome | str, at: Millis, facts: Facts) -> Event:
    """`what` is the verb of the type."""
    data = msgspec.Raw(_encoder.encode(_AlertData(alert_view(alert))))
    return Event(
        ids.new(EVENT),
        f"alert.{what}",
        PLATFORM,
        alert.id,
        alert.version,
        at,
        data,
        msgspec.Raw(_encoder.encode(facts)),
    )


def rules_event(ids: Ids, rules: RuleSet, facts: Facts) -> Event:
    data = msgspec.Raw(_encoder.encode(_RulesData(rules_view(rules))))
    return Event(
        id=ids.new(EVENT),
        type="alert_rules.replaced",
        tenant=PLATFORM,
        aggregate=RULES_AGGREGATE,
        version=rules.version,
        at=rules.updated_at,
        data=data,
        facts=msgspec.Raw(_encoder.encode(facts)),
    )


_encoder = msgspec.json.Encoder()
