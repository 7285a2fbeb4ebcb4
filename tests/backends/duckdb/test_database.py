"""Generations of the database: what is in them, and what a process finds that starts again or is killed."""

import contextlib

import duckdb
import pytest

from interlock.backends.duckdb.database import Incoming, drop_before, load
from interlock.backends.duckdb.files import ParquetFiles
from interlock.core.desk.queries.tables import ATTEMPTS, PAYMENT_VERSIONS

FILES = ParquetFiles()


async def incoming(folder, table, rows, name):
    path = folder / f"{name}.parquet"
    path.write_bytes(await FILES.encode(table, rows))
    return Incoming(name, table.name, path)


def ask(generation, sql):
    with contextlib.closing(duckdb.connect(str(generation.path), read_only=True)) as connection:
        return connection.execute(sql).fetchall()


def snapshots(*versions):
    return [{"id": id_, "version": version, "status": f"v{version}"} for id_, version in versions]


async def test_payments_are_the_newest_snapshots_in_whatever_order_they_came(tmp_path):
    first = await incoming(tmp_path, PAYMENT_VERSIONS, snapshots(("p1", 2), ("p2", 1)), "a")
    second = await incoming(tmp_path, PAYMENT_VERSIONS, snapshots(("p1", 3), ("p1", 1)), "b")
    late = await incoming(tmp_path, PAYMENT_VERSIONS, snapshots(("p1", 2), ("p2", 1), ("p2", 2)), "c")
    one = load(tmp_path, None, [first])
    two = load(tmp_path, one, [second])
    three = load(tmp_path, two, [late])
    assert ask(one, "SELECT id, version FROM payments ORDER BY id") == [("p1", 2), ("p2", 1)]
    assert ask(two, "SELECT id, version, status FROM payments ORDER BY id") == [("p1", 3, "v3"), ("p2", 1, "v1")]
    assert ask(three, "SELECT id, version FROM payments ORDER BY id") == [("p1", 3), ("p2", 2)]
    assert ask(three, "SELECT count(*), count(DISTINCT (id, version)) FROM payment_versions") == [(5, 5)]


async def test_attempt_is_replaced_by_a_higher_version_only(tmp_path):
    new = await incoming(tmp_path, ATTEMPTS, [{"id": "a", "payment_version": 4, "outcome": "approved"}], "new")
    old = await incoming(tmp_path, ATTEMPTS, [{"id": "a", "payment_version": 2, "outcome": "unknown"}], "old")
    made = load(tmp_path, load(tmp_path, None, [new]), [old])
    assert ask(made, "SELECT outcome FROM attempts") == [("approved",)]


async def test_same_segment_twice_changes_nothing(tmp_path):
    segment = await incoming(tmp_path, PAYMENT_VERSIONS, snapshots(("p1", 1), ("p1", 2)), "a")
    made = load(tmp_path, load(tmp_path, None, [segment]), [segment, segment])
    assert ask(made, "SELECT count(*) FROM payment_versions") == [(2,)]
    assert made.loaded == {"a"}


async def test_segments_that_another_holds_count_as_loaded(tmp_path):
    segment = await incoming(tmp_path, PAYMENT_VERSIONS, snapshots(("p1", 1)), "a")
    assert load(tmp_path, None, [segment], known=["b"]).loaded == {"a", "b"}


async def test_segment_that_is_broken_changes_nothing(tmp_path):
    made = load(tmp_path, None, [await incoming(tmp_path, PAYMENT_VERSIONS, snapshots(("p1", 1)), "a")])
    (tmp_path / "broken.parquet").write_bytes(b"no rows")
    with pytest.raises(ValueError, match="cannot be loaded"):
        load(tmp_path, made, [Incoming("broken", "payment_versions", tmp_path / "broken.parquet")])
    assert sorted(path.name for path in tmp_path.glob("analysis-*")) == [made.path.name]


def test_generations_before_the_last_two_are_removed(tmp_path):
    one = load(tmp_path, None, [])
    two = load(tmp_path, one, [])
    three = load(tmp_path, two, [])
    drop_before(tmp_path, three)
    assert sorted(path.name for path in tmp_path.glob("analysis-*")) == [two.path.name, three.path.name]
