"""Queries whose rows need somebody: what is open, stuck, or should not be."""

from __future__ import annotations

from interlock.core.desk.queries.model import LibraryQuery

CHECKS = (
    LibraryQuery(
        "uncertain_payments",
        "Of which payments is it not known whether money moved, and for how long?",
        """
        SELECT id, merchant, provider, state, amount_uncertain, currency, updated_at,
               date_diff('second', updated_at, now()) AS age_s
        FROM payments
        WHERE state IN ('uncertain', 'capture_uncertain', 'cancel_uncertain')
        ORDER BY updated_at
        """,
    ),
    LibraryQuery(
        "stuck_by_state",
        "How many payments wait in a state that should pass, and since when?",
        """
        SELECT state, provider, count(*) AS payments, min(updated_at) AS oldest,
               max(date_diff('second', updated_at, now())) AS oldest_age_s
        FROM payments
        WHERE status IN ('processing', 'requires_action')
        GROUP BY state, provider
        ORDER BY oldest
        """,
    ),
    LibraryQuery(
        "captured_not_posted",
        "Where do the books and the payment disagree about what was captured?",
        """
        WITH booked AS (
            SELECT payment, sum(amount) AS amount FROM journals WHERE kind = 'capture' GROUP BY payment
        )
        SELECT p.id, p.merchant, p.provider, p.currency, p.amount_captured, coalesce(b.amount, 0) AS amount_booked, p.updated_at
        FROM payments AS p LEFT JOIN booked AS b ON b.payment = p.id
        WHERE p.amount_captured <> coalesce(b.amount, 0)
        ORDER BY p.updated_at
        """,
    ),
    LibraryQuery(
        "double_captures",
        "Was any attempt booked as a capture twice, or more captured than authorised?",
        """
        SELECT payment, reference AS what, count(*) AS times, sum(amount) AS amount, any_value(currency) AS currency
        FROM journals
        WHERE kind = 'capture'
        GROUP BY payment, reference
        HAVING count(*) > 1
        UNION ALL
        SELECT id, 'captured above authorised', captures, amount_captured, currency
        FROM payments
        WHERE amount_captured > amount_authorized
        """,
    ),
    LibraryQuery(
        "ledger_balance",
        "Does the ledger sum to zero in every currency, and does each journal?",
        """
        WITH by_journal AS (
            SELECT journal, currency, sum(amount) AS total FROM postings GROUP BY journal, currency
        )
        SELECT currency, CAST(sum(total) AS BIGINT) AS total, count(*) AS journals, count_if(total <> 0) AS unbalanced
        FROM by_journal
        GROUP BY currency
        ORDER BY currency
        """,
    ),
    LibraryQuery(
        "refunds_pending",
        "Which refunds have not come to an end, oldest first?",
        """
        SELECT id, payment, merchant, provider, amount, currency, created_at,
               date_diff('second', created_at, now()) AS age_s
        FROM refunds
        WHERE status = 'pending'
        ORDER BY created_at
        """,
    ),
    LibraryQuery(
        "late_approvals",
        "Which providers approved after a payment had gone on, and is it given back?",
        """
        SELECT e.occurred_at, e.aggregate AS payment, e.merchant, a.provider, p.amount_late AS amount_open, p.currency,
               count_if(r.type = 'payment.late_approval_reversed') AS times_given_back
        FROM events AS e
        JOIN payments AS p ON p.id = e.aggregate
        LEFT JOIN attempts AS a ON a.id = e.attempt
        LEFT JOIN events AS r ON r.aggregate = e.aggregate AND r.version > e.version
        WHERE e.type = 'payment.late_approval'
        GROUP BY ALL
        ORDER BY e.occurred_at DESC
        """,
    ),
    LibraryQuery(
        "orphaned_attempts",
        "Which attempts have no final outcome although their payment has come to an end?",
        """
        SELECT a.id, a.payment, a.merchant, a.provider, a.operation, a.outcome, p.status, a.started_at,
               date_diff('second', a.started_at, now()) AS age_s
        FROM attempts AS a JOIN payments AS p ON p.id = a.payment
        WHERE (a.outcome IS NULL OR a.outcome IN ('unknown', 'pending'))
          AND p.status IN ('succeeded', 'canceled', 'failed')
          AND a.operation <> 'refund'
        ORDER BY a.started_at
        """,
    ),
    LibraryQuery(
        "duplicate_references",
        "Did a merchant take money more than once under one reference of theirs?",
        """
        SELECT merchant, reference, currency, count(*) AS payments, sum(amount_captured) AS amount_captured,
               min(created_at) AS first_at, max(created_at) AS last_at, list(id ORDER BY created_at) AS ids
        FROM payments
        WHERE reference IS NOT NULL AND amount_captured > 0
        GROUP BY merchant, reference, currency
        HAVING count(*) > 1
        ORDER BY payments DESC, merchant, reference
        """,
    ),
    LibraryQuery(
        "authorizations_expiring",
        "Which authorisations expire within a day and are not captured?",
        """
        SELECT id, merchant, provider, amount_authorized - amount_captured AS amount_open, currency, authorization_expires_at
        FROM payments
        WHERE status = 'requires_capture' AND authorization_expires_at < now() + INTERVAL 1 DAY
        ORDER BY authorization_expires_at
        """,
    ),
)
