"""What may run, what is refused and how it is named; and that nothing else comes out of the check."""

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.backends.duckdb.checking import check
from interlock.backends.duckdb.files import definition
from interlock.backends.duckdb.tree import check_tree
from interlock.core.desk.queries.tables import QUERYABLE, columns_of
from interlock.core.kernel.errors import Invalid
from tests.backends.duckdb.attacks import ATTACKS

NOW = 1_800_000_000_000

ALLOWED = (
    "SELECT list_contains([1, 2], 1), count(*) FILTER (WHERE version > 1) FROM events GROUP BY ALL ORDER BY ALL",
    "WITH a AS (SELECT * FROM events), b AS (SELECT * FROM a) SELECT * FROM b",
    "WITH a AS (SELECT * FROM events) SELECT * FROM (WITH b AS (SELECT * FROM a) SELECT * FROM b)",
    "WITH a AS MATERIALIZED (SELECT 1 AS x) SELECT * FROM a",
    "SELECT * EXCLUDE (id) FROM events QUALIFY row_number() OVER (PARTITION BY type ORDER BY version) = 1",
    "FROM events",
    "FROM events SELECT id WHERE version = 1",
    "SELECT date_trunc('hour', occurred_at) AS h, quantile_cont(version, 0.95) FROM events GROUP BY 1",
    "SELECT now() - occurred_at, INTERVAL 1 HOUR, occurred_at > now() - INTERVAL '5 minutes', today() FROM events",
    "SELECT strftime(occurred_at, '%H'), epoch_ms(occurred_at), date_diff('minute', occurred_at, now()) FROM events",
    "SELECT arg_max(id, version), {'a': 1}, [1, 2][1], s.y FROM events, (SELECT {'y': 1} AS s) GROUP BY ALL",
    "SELECT * FROM events AS e LEFT JOIN payments AS p ON e.aggregate = p.id WHERE e.id IN (SELECT event FROM journals)",
    "SELECT * FROM events AS e, LATERAL (SELECT e.version + 1 AS z) AS t WHERE EXISTS (SELECT 1 FROM postings)",
    "SELECT CASE WHEN version > 1 THEN 'a' ELSE 'b' END, coalesce(state, ''), version::DOUBLE / 2, version // 2 FROM events",
    "SELECT id[1:3], id || 'x', substr(id, 1, 3), TRY_CAST(id AS INT), version % 2, -version, NOT true FROM events",
    "SELECT id FROM events UNION ALL SELECT id FROM payments EXCEPT SELECT id FROM refunds ORDER BY 1 LIMIT 5 OFFSET 1",
    "SELECT unnest([1, 2, 3]) AS x, y FROM unnest([1, 2]) AS t(y)",
    "SELECT time_bucket(INTERVAL '5 minutes', occurred_at), string_agg(id, ',' ORDER BY id) FROM events GROUP BY ROLLUP (1)",
    "SELECT sum(amount) OVER (PARTITION BY merchant ORDER BY created_at ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) FROM payments",
    "SELECT lag(id) OVER w FROM events WINDOW w AS (ORDER BY id)",
    "SELECT * FROM (VALUES (1, 2)) AS t(a, b)",
    "SELECT COLUMNS('a.*') FROM payments",
    "SELECT DISTINCT ON (id) id FROM payments ORDER BY id, version DESC",
    "SELECT 'it''s; DROP TABLE events --', $$ab'c$$",
    "SELECT extract(hour FROM occurred_at), dayname(occurred_at), json_extract_string('{\"a\":1}', '$.a') FROM events",
    "SELECT if(version > 1, 1, 0), greatest(1, 2), version ^ 2, 1 IS DISTINCT FROM 2, regexp_extract(id, '(a)', 1) FROM events",
    "SELECT * FROM events TABLESAMPLE 10%",
    "SELECT e.id FROM events AS e ASOF JOIN payments AS p ON e.occurred_at >= p.created_at",
    "SELECT a.id FROM events AS a SEMI JOIN payments AS p ON p.id = a.aggregate",
    "EXPLAIN SELECT * FROM events",
    "DESCRIBE payments",
    "SUMMARIZE refunds",
    "/* who */ SELECT 1 -- why\n;",
)


@pytest.fixture(scope="module")
def database():
    """The tables, without rows, and with no lock: only the reading is of interest."""
    connection = duckdb.connect(":memory:", config={"threads": "1"})
    for name in sorted(QUERYABLE):
        connection.execute(definition(name, columns_of(name)))
    yield connection
    connection.close()


@pytest.mark.parametrize("text", ALLOWED)
def test_query_that_only_reads_is_allowed_by_both_readings_and_runs(text, database):
    checked = check(text, now=NOW, rows_max=10)
    check_tree(database, checked.sql)
    assert database.execute(checked.prefix + checked.sql).description


def test_there_are_many_attacks_and_no_two_are_the_same():
    assert len(set(ATTACKS)) == len(ATTACKS) >= 150


@pytest.mark.parametrize("text", ATTACKS)
def test_attack_is_refused_by_the_check_alone(text):
    with pytest.raises(Invalid) as refused:
        check(text, now=NOW, rows_max=10)
    assert refused.value.reason in ("sql_not_allowed", "sql_not_understood")
    assert refused.value.detail


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("SELECT *\nFROM events\nWHERE id = getenv('HOME')", "not allowed in line 3, column 12: the function getenv()"),
        ("SELECT * FROM read_csv('x')", "not allowed in line 1, column 15: read_csv() in place of a table"),
        (
            "DELETE FROM events",
            "not allowed in line 1, column 13: DELETE: only SELECT, WITH, UNION and the like run here",
        ),
        ("WITH RECURSIVE r AS (SELECT 1) SELECT * FROM r", "WITH RECURSIVE: it need not come to an end"),
        ("SELECT * FROM main.events", "the schema in front of events"),
        ("SELECT 1; SELECT 2", "a second statement"),
        ("SELECT 'x'::regclass", "the type regclass"),
        ("SELECT $1", "PLACEHOLDER"),
        ("SELECT * FROM event", "the table 'event'; there are attempts, disputes, events,"),
        ("SELECT 1 +", "not understood in line 1, column"),
    ],
)
def test_refusal_names_what_and_where(text, named):
    with pytest.raises(Invalid) as refused:
        check(text, now=NOW, rows_max=10)
    assert named.removeprefix("not allowed in ") in refused.value.detail, refused.value.detail
    assert [fault.pointer for fault in refused.value.faults] == ["/sql"]


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("select id from events -- all", "SELECT id FROM events LIMIT 11"),
        ("SELECT id FROM events ORDER BY id", "SELECT id FROM events ORDER BY id LIMIT 11"),
        ("SELECT id FROM events LIMIT 3", "SELECT id FROM events LIMIT 3"),
        (
            "SELECT id FROM events UNION SELECT id FROM payments",
            "SELECT id FROM events UNION SELECT id FROM payments LIMIT 11",
        ),
        ("SELECT now()", "SELECT CAST('2027-01-15 08:00:00.000' AS TIMESTAMP) LIMIT 11"),
        ("SELECT current_date", "SELECT CAST('2027-01-15' AS DATE) LIMIT 11"),
    ],
)
def test_text_that_runs_is_written_anew_with_a_limit_and_one_time(text, runs):
    assert check(text, now=NOW, rows_max=10).sql == runs


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '/etc/hostname.csv'",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM duckdb_tables",
        "SELECT * FROM information_schema.tables",
        "SELECT current_setting('threads')",
        "SELECT repeat('x', 10)",
        "SELECT * FROM range(10)",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT * FROM r",
        "SELECT 1; SELECT 2",
        "DELETE FROM events",
        "COPY events TO '/tmp/never.csv'",
        "PIVOT events ON type USING count(*)",
        "SELECT list_transform([1], lambda x: getenv('HOME'))",
        "SELECT * FROM events WHERE id IN (SELECT version()::VARCHAR)",
    ],
)
def test_second_reading_refuses_by_itself(text, database):
    with pytest.raises(Invalid):
        check_tree(database, text)


_WORDS = (
    "SELECT FROM WHERE WITH AS ( ) , ; * events payments id read_text glob 'x' \"y\" /etc/passwd -- /* */ $$ $1 ? :: [ ] { } "
    "UNION LATERAL VALUES COPY TO ATTACH now() count(*) = + LIMIT 1 \\ E' '' duckdb_settings EXPLAIN INTO"
)
_words = st.sampled_from(_WORDS.split())


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(_words, max_size=14).map(" ".join)))
def test_any_text_is_either_refused_or_reads_our_tables_alone(text):
    try:
        checked = check(text, now=NOW, rows_max=10)
    except Invalid:
        return
    connection = duckdb.connect(":memory:", config={"threads": "1"})
    for name in sorted(QUERYABLE):
        connection.execute(definition(name, columns_of(name)))
    try:
        named = connection.get_table_names(checked.sql)
    except duckdb.Error:
        return  # the database does not understand it: it will not run either
    finally:
        connection.close()
    assert {name.lower() for name in named} <= QUERYABLE
