"""Every metric and every log field there is. What is not listed here is dropped and counted, so that nothing slips out.

A test compares the names used in the source with these lists; the reference page is made from them.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metric(NamedTuple):
    kind: str
    """counter, gauge or histogram."""
    help: str
    labels: tuple[str, ...] = ()


METRICS = MappingProxyType(
    {
        "interlock_http_request_duration_seconds": Metric(
            "histogram", "Time from the first byte of a request to its answer.", ("route", "method", "status")
        ),
        "interlock_provider_call_duration_seconds": Metric(
            "histogram", "Time of one call to a provider, all its requests.", ("provider", "operation", "outcome")
        ),
        "interlock_provider_calls_total": Metric(
            "counter", "Calls to providers, by what they came to.", ("provider", "operation", "outcome")
        ),
        "interlock_provider_breaker_open": Metric("gauge", "1 while a provider's breaker is open.", ("provider",)),
        "interlock_payment_events_total": Metric(
            "counter", "Committed events, by type and provider.", ("type", "provider")
        ),
        "interlock_notifications_total": Metric("counter", "Notifications from providers.", ("provider", "result")),
        "interlock_webhook_deliveries_total": Metric("counter", "Webhook delivery attempts.", ("result",)),
        "interlock_webhook_delivery_duration_seconds": Metric("histogram", "Time of one webhook attempt.", ("result",)),
        "interlock_queue_messages": Metric("gauge", "Messages in a queue.", ("queue", "state")),
        "interlock_queue_oldest_ready_seconds": Metric("gauge", "Age of the oldest message that waits.", ("queue",)),
        "interlock_bus_lag_messages": Metric("gauge", "Events a consumer group has not passed.", ("group",)),
        "interlock_sweeper_due": Metric("gauge", "Payments found overdue by the last sweep."),
        "interlock_sweeper_lag_seconds": Metric("gauge", "How long the most overdue payment has been due."),
        "interlock_sweeper_lookups_total": Metric("counter", "Lookups of open attempts.", ("provider", "outcome")),
        "interlock_unknown_oldest_seconds": Metric("gauge", "Age of the oldest payment whose outcome is unknown."),
        "interlock_alarms_total": Metric("counter", "Things a person must look at.", ("event",)),
        "interlock_auth_failures_total": Metric("counter", "Refused tokens and client authentications.", ("reason",)),
        "interlock_rate_limited_total": Metric("counter", "Requests refused for their number.", ("client",)),
        "interlock_slo_events_total": Metric(
            "counter", "What counts for an objective: attempts, or minor units for money.", ("slo", "good")
        ),
        "interlock_slo_attempts_total": Metric("counter", "Attempts behind an objective of money.", ("slo", "good")),
        "interlock_slo_miscounted_total": Metric("counter", "How much more good than total was measured.", ("slo",)),
        "interlock_alert_webhooks_total": Metric(
            "counter", "Alerts that other tools sent, by what became of them.", ("format", "result")
        ),
        "interlock_sign_ins_total": Metric(
            "counter", "Sign-ins of people and their proofs, by what became of them.", ("way", "result")
        ),
        "interlock_log_lines_lost_total": Metric("counter", "Log lines that could not be written: the disk is full."),
        "interlock_observations_lost_total": Metric(
            "counter", "Log lines and spans that could not be kept with their payments."
        ),
        "interlock_telemetry_dropped_total": Metric("counter", "Fields and metrics that are not in the vocabulary."),
    }
)

LOG_FIELDS = frozenset(
    {
        "address",
        "aggregate",
        "alarm",
        "amount_minor",
        "attempt_id",
        "attempts",
        "body_digest",
        "client_id",
        "code",
        "count",
        "currency",
        "delivery_id",
        "duration_ms",
        "endpoint_id",
        "error",
        "event_id",
        "event_type",
        "group",
        "heard",
        "jobs",
        "kid",
        "known",
        "loop",
        "method",
        "name",
        "operation",
        "outcome",
        "path",
        "payment_id",
        "port",
        "provider",
        "queue",
        "reason",
        "refund_id",
        "request_id",
        "route",
        "scope",
        "status",
        "tenant",
        "version",
    }
)
"""Fields a log line may have, beside time, level, event and trace_id."""

SPAN_ATTRIBUTES = LOG_FIELDS | {"detail"}
"""What is kept of a span with its payment. `detail` is a provider's reason, which the payment's own events show, too."""
