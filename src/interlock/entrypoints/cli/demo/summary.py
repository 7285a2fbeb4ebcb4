"""What happened in a demo, in numbers."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from interlock.core.kernel.providers import Action
from interlock.core.payments.events import decode_facts
from interlock.core.payments.model import FINAL_OUTCOMES
from interlock.core.payments.states import STATUS
from interlock.entrypoints.cli.demo.hook import Hook
from interlock.entrypoints.cli.demo.merchant import Told
from interlock.entrypoints.cli.demo.proof import Stored


def summarize(stored: Stored, told: Told, hook: Hook, traffic_s: float) -> dict[str, Any]:
    """Counts over this run's payments as they are stored; times as its merchants measured them."""
    ours = stored.ours.values()
    attempts = [attempt for payment in ours for attempt in payment.attempts]
    events = [event for payment in ours for event in stored.events[payment.id]]
    facts = [decode_facts(event.facts) for event in events]
    types = Counter(event.type for event in events)
    doubtful = {one.attempt for one in facts if "outcome_unknown" in one.alarms}
    resolved = doubtful & {one.id for one in attempts if one.outcome in FINAL_OUTCOMES}
    alarms = Counter(alarm for one in facts for alarm in one.alarms)
    authorizations = [sum(1 for one in payment.attempts if one.operation is Action.AUTHORIZE) for payment in ours]
    latencies_ms = sorted(1000 * latency for latency in told.latencies_s)
    return {
        "payments": len(ours),
        "payments_by_status": _counted(STATUS[payment.state] for payment in ours),
        "payments_by_currency": _counted(payment.currency for payment in ours),
        "attempts_by_outcome": _counted(f"{one.operation} {one.outcome}" for one in attempts),
        "refunds": types["refund.succeeded"],
        "disputes": types["dispute.opened"],
        "failovers": sum(max(0, count - 1) for count in authorizations),
        "unknown_outcomes": len(doubtful),
        "unknown_outcomes_resolved": len(resolved),
        "late_approvals": types["payment.late_approval"],
        "late_approvals_reversed": types["payment.late_approval_reversed"],
        "alarms": dict(sorted(alarms.items())),
        "requests": told.requests,
        "given_up_early": told.given_up_early,
        "answers_replayed": told.replays,
        "refusals": dict(sorted(told.refusals.items())),
        "webhooks_taken": hook.accepted,
        "webhooks_repeated": hook.repeated,
        "latency_p50_ms": _quantile(latencies_ms, 50),
        "latency_p99_ms": _quantile(latencies_ms, 99),
        "traffic_s": round(traffic_s, 1),
        "payments_per_s": round(len(ours) / traffic_s, 1),
    }


def _counted(words: Any) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))


def _quantile(ordered: Sequence[float], percent: int) -> float:
    if len(ordered) < 2:
        return round(ordered[0], 1) if ordered else 0.0
    return round(statistics.quantiles(ordered, n=100, method="inclusive")[percent - 1], 1)
