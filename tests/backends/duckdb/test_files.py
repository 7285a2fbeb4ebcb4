"""Rows as Parquet: what goes in comes out, whatever it is, and merging keeps each thing once."""

import tempfile
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.backends.duckdb.files import ParquetFiles
from interlock.core.desk.queries.tables import ATTEMPTS, EVENTS, POSTINGS, TABLES, Exported, Kind, text

NOW = 1_800_000_000_000
FILES = ParquetFiles()


def rows_in(content):
    """Rows of a file as dicts, by a reader of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.parquet"
        path.write_bytes(content)
        with duckdb.connect(":memory:") as connection:
            cursor = connection.execute(f"SELECT * FROM read_parquet('{path}')")
            names = [name for name, *_ in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def types_in(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.parquet"
        path.write_bytes(content)
        with duckdb.connect(":memory:") as connection:
            return dict(connection.execute(f"SELECT column_name, column_type FROM (DESCRIBE FROM '{path}')").fetchall())


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
async def test_every_table_is_written_with_its_columns_and_types(table):
    content = await FILES.encode(table, [{}])
    wanted = {Kind.TEXT: "VARCHAR", Kind.WHOLE: "BIGINT", Kind.TIME: "TIMESTAMP", Kind.FLAG: "BOOLEAN"}
    assert types_in(content) == {one.name: wanted[one.kind] for one in table.columns}
    assert rows_in(content) == [dict.fromkeys(one.name for one in table.columns)]


async def test_times_are_instants_in_utc():
    (row,) = rows_in(await FILES.encode(EVENTS, [{"id": "evt_1", "occurred_at": NOW + 1}]))
    assert row["occurred_at"].isoformat() == "2027-01-15T08:00:00.001000"


_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(_texts, st.integers(-(2**63), 2**63 - 1) | st.none()), min_size=1, max_size=20))
async def test_any_text_and_any_whole_number_come_back_as_they_went(rows):
    given_rows = [{"account": account, "amount": amount} for account, amount in rows]
    back = rows_in(await FILES.encode(POSTINGS, given_rows))
    assert [(row["account"], row["amount"]) for row in back] == rows


async def test_number_that_no_column_can_hold_is_refused_and_not_made_null():
    with pytest.raises(ValueError, match="cast"):
        await FILES.encode(POSTINGS, [{"amount": 2**63}])


async def test_row_with_a_column_that_the_table_does_not_have_is_refused():
    with pytest.raises(ValueError, match="postings has no column token"):
        await FILES.encode(POSTINGS, [{"token": "tok_1"}])


async def test_merge_keeps_each_thing_once_with_its_highest_version():
    old = await FILES.encode(
        ATTEMPTS,
        [{"id": "att_1", "payment_version": 1, "outcome": None}, {"id": "att_2", "payment_version": 1}],
    )
    new = await FILES.encode(ATTEMPTS, [{"id": "att_1", "payment_version": 4, "outcome": "approved"}])
    for order in ((old, new), (new, old), (old, new, old, new)):
        merged = rows_in(await FILES.merge(ATTEMPTS, order))
        assert [(row["id"], row["payment_version"], row["outcome"]) for row in merged] == [
            ("att_1", 4, "approved"),
            ("att_2", 1, None),
        ]


async def test_file_of_an_older_platform_is_merged_with_null_for_what_it_lacks():
    older = Exported("events", "", ("id",), "", (text("id"), text("type"), text("gone_since")))
    merged = rows_in(
        await FILES.merge(
            EVENTS,
            [
                await FILES.encode(older, [{"id": "evt_1", "type": "a", "gone_since": "x"}]),
                await FILES.encode(EVENTS, [{"id": "evt_2", "type": "b", "merchant": "ten_1"}]),
            ],
        )
    )
    assert [(row["id"], row["type"], row["merchant"]) for row in merged] == [
        ("evt_1", "a", None),
        ("evt_2", "b", "ten_1"),
    ]
    assert set(merged[0]) == {one.name for one in EVENTS.columns}


async def test_what_is_no_file_of_rows_is_refused():
    with pytest.raises(ValueError, match="not files of events"):
        await FILES.merge(EVENTS, [b"nothing of the kind"])
