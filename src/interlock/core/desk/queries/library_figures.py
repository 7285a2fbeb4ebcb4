"""Queries that count, sum and compare."""

from __future__ import annotations

from interlock.core.desk.queries.model import Chart, ChartKind, LibraryQuery

FIGURES = (
    LibraryQuery(
        "success_by_provider_hour",
        "How many authorisations does each provider approve, hour by hour?",
        """
        SELECT date_trunc('hour', started_at) AS hour, provider, count(*) AS attempts,
               count_if(outcome = 'approved') AS approved,
               round(100.0 * count_if(outcome = 'approved') / count(*), 1)::DOUBLE AS success_percent
        FROM attempts
        WHERE operation = 'authorize' AND outcome IS NOT NULL AND started_at > now() - INTERVAL 2 DAY
        GROUP BY hour, provider
        ORDER BY hour, provider
        """,
        Chart(ChartKind.LINE, "hour", "success_percent", "provider"),
    ),
    LibraryQuery(
        "declines_by_code",
        "Why do providers decline, and where?",
        """
        SELECT decline_code, decline_kind, provider, count(*) AS declines, count(DISTINCT payment) AS payments,
               max(finished_at) AS latest
        FROM attempts
        WHERE outcome = 'declined'
        GROUP BY decline_code, decline_kind, provider
        ORDER BY declines DESC, decline_code, provider
        """,
        Chart(ChartKind.BAR, "decline_code", "declines", "provider"),
    ),
    LibraryQuery(
        "latency_by_provider",
        "How long do providers take to answer, and how often does no answer come?",
        """
        SELECT provider, operation, count(*) AS exchanges, median(duration_ms) AS p50_ms,
               quantile_cont(duration_ms, 0.95) AS p95_ms, max(duration_ms) AS slowest_ms,
               count_if(status IS NULL) AS without_answer
        FROM exchanges
        WHERE started_at > now() - INTERVAL 1 DAY
        GROUP BY provider, operation
        ORDER BY p95_ms DESC, provider, operation
        """,
        Chart(ChartKind.BAR, "provider", "p95_ms", "operation"),
    ),
    LibraryQuery(
        "retries_per_payment",
        "Which payments needed the most exchanges with providers?",
        """
        SELECT x.payment, any_value(x.merchant) AS merchant, count(*) AS exchanges, count(DISTINCT x.attempt) AS attempts,
               count_if(x.status IS NULL) AS without_answer, any_value(p.status) AS status
        FROM exchanges AS x JOIN payments AS p ON p.id = x.payment
        GROUP BY x.payment
        HAVING count(*) > count(DISTINCT x.attempt)
        ORDER BY exchanges DESC, x.payment
        """,
    ),
    LibraryQuery(
        "failovers",
        "Where did a payment go on to another provider, and what had the one before said?",
        """
        WITH tries AS (
            SELECT *, lead(provider) OVER (PARTITION BY payment ORDER BY number) AS next_provider
            FROM attempts
            WHERE operation = 'authorize'
        )
        SELECT tries.provider AS from_provider, next_provider AS to_provider, outcome,
               coalesce(tries.decline_code, '-') AS decline_code,
               count(*) AS failovers, count_if(p.status IN ('succeeded', 'requires_capture')) AS saved
        FROM tries JOIN payments AS p ON p.id = tries.payment
        WHERE next_provider IS NOT NULL AND next_provider <> tries.provider
        GROUP BY ALL
        ORDER BY failovers DESC, from_provider, to_provider
        """,
        Chart(ChartKind.BAR, "from_provider", "failovers", "to_provider"),
    ),
    LibraryQuery(
        "loss_by_merchant",
        "Which merchants lose the most to refunds and disputes?",
        """
        SELECT merchant, currency, sum(amount_captured) AS captured, sum(amount_refunded) AS refunded,
               sum(amount_disputed) AS disputed,
               sum(amount_refunded + amount_disputed) AS lost,
               round(100.0 * sum(amount_refunded + amount_disputed) / sum(amount_captured), 1)::DOUBLE AS lost_percent
        FROM payments
        WHERE amount_captured > 0
        GROUP BY merchant, currency
        ORDER BY lost DESC, merchant, currency
        LIMIT 50
        """,
        Chart(ChartKind.BAR, "merchant", "lost", "currency"),
    ),
    LibraryQuery(
        "disputes_by_reason",
        "What do payers dispute, and how does it end?",
        """
        SELECT reason, currency, count(*) AS disputes, count_if(status = 'opened') AS open, count_if(status = 'won') AS won,
               count_if(status = 'lost') AS lost, sum(amount) AS amount
        FROM disputes
        GROUP BY reason, currency
        ORDER BY disputes DESC, reason, currency
        """,
        Chart(ChartKind.BAR, "reason", "disputes", "currency"),
    ),
    LibraryQuery(
        "success_by_brand",
        "Which card brands succeed, and with which provider?",
        """
        SELECT coalesce(card_brand, 'unknown') AS brand, provider, count(*) AS payments,
               count_if(status IN ('succeeded', 'requires_capture')) AS succeeded,
               round(100.0 * count_if(status IN ('succeeded', 'requires_capture')) / count(*), 1)::DOUBLE AS success_percent
        FROM payments
        WHERE status IN ('succeeded', 'requires_capture', 'failed')
        GROUP BY brand, provider
        ORDER BY payments DESC, brand, provider
        """,
        Chart(ChartKind.BAR, "brand", "success_percent", "provider"),
    ),
    LibraryQuery(
        "success_by_issuer",
        "Which issuers' cards are declined most, and at which provider?",
        """
        SELECT coalesce(p.card_country, '-') AS country, coalesce(p.card_bin, '-') AS bin, a.provider, count(*) AS tries,
               count_if(a.outcome = 'approved') AS approved,
               round(100.0 * count_if(a.outcome = 'approved') / count(*), 1)::DOUBLE AS success_percent
        FROM attempts AS a JOIN payments AS p ON p.id = a.payment
        WHERE a.operation = 'authorize' AND a.outcome IN ('approved', 'declined')
        GROUP BY country, bin, a.provider
        ORDER BY count_if(a.outcome = 'declined') DESC, country, bin, a.provider
        LIMIT 100
        """,
        Chart(ChartKind.BAR, "bin", "success_percent", "provider"),
    ),
    LibraryQuery(
        "success_by_release",
        "Does a newer release of the platform do worse than the one before?",
        """
        SELECT coalesce(release, '-') AS release, provider, min(started_at) AS first, count(*) AS attempts,
               count_if(outcome = 'approved') AS approved,
               round(100.0 * count_if(outcome = 'approved') / count(*), 1)::DOUBLE AS success_percent
        FROM attempts
        WHERE operation = 'authorize' AND outcome IS NOT NULL
        GROUP BY ALL
        ORDER BY first, release, provider
        """,
        Chart(ChartKind.BAR, "release", "success_percent", "provider"),
    ),
    LibraryQuery(
        "money_by_day",
        "How much money moved each day?",
        """
        SELECT CAST(booked_at AS DATE) AS day, currency,
               coalesce(sum(amount) FILTER (WHERE kind = 'capture'), 0) AS captured,
               coalesce(sum(amount) FILTER (WHERE kind IN ('refund_succeeded', 'refund_late', 'refund_late_excess')), 0)
                   AS refunded,
               coalesce(sum(amount) FILTER (WHERE kind = 'dispute_lost'), 0) AS lost_to_disputes
        FROM journals
        GROUP BY day, currency
        ORDER BY day, currency
        """,
        Chart(ChartKind.LINE, "day", "captured", "currency"),
    ),
    LibraryQuery(
        "time_to_capture",
        "How long is it from a payment's creation to its first captured money?",
        """
        WITH first_capture AS (
            SELECT payment, min(booked_at) AS booked_at FROM journals WHERE kind = 'capture' GROUP BY payment
        )
        SELECT p.provider, p.capture_method, count(*) AS payments,
               median(date_diff('millisecond', p.created_at, c.booked_at)) AS p50_ms,
               quantile_cont(date_diff('millisecond', p.created_at, c.booked_at), 0.95) AS p95_ms
        FROM payments AS p JOIN first_capture AS c ON c.payment = p.id
        GROUP BY p.provider, p.capture_method
        ORDER BY p.provider, p.capture_method
        """,
        Chart(ChartKind.BAR, "provider", "p95_ms", "capture_method"),
    ),
)
