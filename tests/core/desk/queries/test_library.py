"""Every query of the library over a real business day, with exact answers for most."""

import pytest

from interlock.backends.duckdb.analysis import DuckAnalysis
from interlock.core.desk.queries.library import LIBRARY
from interlock.core.desk.queries.model import Limits
from tests.core.desk.queries.stories import business_day, end_worlds, events_of, exported

HOUR = "2027-01-15T08:00:00.000Z"
LATER = "2027-01-15T08:05:00.000Z"


@pytest.fixture
async def day(tmp_path):
    """`ask(name)` and payments' names by id."""
    world, paid = await business_day()
    means = await exported(await events_of(world))
    analysis = DuckAnalysis(means.blobs, world.clock, tmp_path / "analysis")
    names = {payment: name for name, payment in paid.items()}

    async def ask(name):
        answer = await analysis.query(LIBRARY[name].sql, Limits())
        rows = [tuple(names.get(one, one) if isinstance(one, str) else one for one in row) for row in answer.rows]
        return [column.name for column in answer.columns], rows

    yield ask, names
    await analysis.close()
    await end_worlds()


def test_library_has_twenty_two_queries_with_names_of_their_own_and_questions():
    assert len(LIBRARY) == 22
    assert all(query.question.endswith("?") and name.replace("_", "").isalnum() for name, query in LIBRARY.items())


async def test_every_query_runs_and_its_chart_names_columns_that_are_there(day):
    ask, _ = day
    for name, query in LIBRARY.items():
        columns, _ = await ask(name)
        if query.chart is not None:
            wanted = {query.chart.x, query.chart.y, *([query.chart.series] if query.chart.series else [])}
            assert wanted <= set(columns), name


async def test_answers_are_exact(day):
    ask, names = day
    by_name = {name: payment for payment, name in names.items()}
    expected = {
        "uncertain_payments": [
            ("uncertain", "ten_1", "simulator_a", "uncertain", 800, "EUR", "2027-01-15T08:05:10.000Z", 0)
        ],
        "stuck_by_state": [("uncertain", "simulator_a", 1, "2027-01-15T08:05:10.000Z", 0)],
        "captured_not_posted": [],
        "double_captures": [],
        "ledger_balance": [("EUR", 0, 8, 0)],
        "refunds_pending": [],
        "late_approvals": [],
        "orphaned_attempts": [],
        "duplicate_references": [("ten_1", "order-1", "EUR", 2, 2000, HOUR, HOUR, [by_name["sale"], by_name["again"]])],
        "authorizations_expiring": [],
        "success_by_provider_hour": [(HOUR, "simulator_a", 8, 5, 62.5), (HOUR, "simulator_b", 1, 1, 100.0)],
        "declines_by_code": [
            ("issuer_unavailable", "soft", "simulator_a", 1, 1, LATER),
            ("stolen_card", "hard", "simulator_a", 1, 1, LATER),
        ],
        "retries_per_payment": [],
        "failovers": [("simulator_a", "simulator_b", "declined", "issuer_unavailable", 1, 1)],
        "loss_by_merchant": [("ten_2", "EUR", 400, 0, 400, 400, 100.0), ("ten_1", "EUR", 3200, 200, 0, 200, 6.3)],
        "disputes_by_reason": [("general", "EUR", 1, 1, 0, 0, 400)],
        "success_by_brand": [("visa", "simulator_a", 6, 5, 83.3), ("visa", "simulator_b", 1, 1, 100.0)],
        "success_by_issuer": [
            ("US", "424242", "simulator_a", 7, 5, 71.4),
            ("US", "424242", "simulator_b", 1, 1, 100.0),
        ],
        "success_by_release": [
            ("1.0.0", "simulator_a", HOUR, 8, 5, 62.5),
            ("1.0.0", "simulator_b", LATER, 1, 1, 100.0),
        ],
        "money_by_day": [("2027-01-15", "EUR", 3600, 200, 0)],
        "time_to_capture": [
            ("simulator_a", "automatic", 3, 0.0, 0.0),
            ("simulator_a", "manual", 1, 300_000.0, 300_000.0),
            ("simulator_b", "automatic", 1, 0.0, 0.0),
        ],
    }
    assert set(expected) == set(LIBRARY) - {"latency_by_provider"}
    for name, rows in expected.items():
        assert (await ask(name))[1] == rows, name
    _, ((provider, operation, exchanges, p50, p95, slowest, without_answer), *others) = await ask("latency_by_provider")
    assert (provider, operation, exchanges, p50, slowest, without_answer) == (
        "simulator_a",
        "authorize",
        8,
        0.0,
        10_000,
        1,
    )
    assert p95 == pytest.approx(6_500)
    assert [row[:3] for row in others] == [
        *(("simulator_a", "capture", 1), ("simulator_a", "refund", 1), ("simulator_b", "authorize", 1))
    ]
