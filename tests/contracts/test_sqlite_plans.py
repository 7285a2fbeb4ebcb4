"""No statement looks through a table that grows with what is stored: SQLite says how it would carry each out."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from interlock.backends.sqlite import bus, documents, queue, store
from interlock.bootstrap import COLLECTIONS

SMALL = {"c": "bus_claims: a row for each group and partition"}
"""Aliases of tables that stay small, and why."""


def statements() -> Iterator[tuple[str, str]]:
    """Every whole statement that stands as a constant in the adapters' modules."""
    for module in (store, bus, queue):
        for name, value in constants(module):
            if isinstance(value, str) and value.split(None, 1)[:1] in (["SELECT"], ["UPDATE"], ["DELETE"]):
                yield f"{module.__name__.rpartition('.')[2]}.{name}", value


def constants(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        if isinstance(value, dict) and not name.startswith("__"):
            yield from ((f"{name}[{key}]", one) for key, one in value.items())
        else:
            yield name, value


@pytest.fixture(scope="module")
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    for schema in (store.SCHEMA, bus.SCHEMA, queue.SCHEMA, documents.schema(COLLECTIONS)):
        connection.executescript(schema)
    yield connection
    connection.close()


def plan(database: sqlite3.Connection, statement: str) -> list[str] | None:
    """None for what is only a part of a statement."""
    for parameters in range(12):
        try:
            return [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {statement}", (None,) * parameters)]
        except sqlite3.ProgrammingError:
            continue
        except sqlite3.OperationalError:
            return None
    raise AssertionError(statement)


def scans(found: list[str]) -> list[str]:
    return [line for line in found if line.startswith("SCAN") and line.split()[1] not in {"CONSTANT", *SMALL}]


def test_no_statement_scans_a_table_that_grows(database: sqlite3.Connection) -> None:
    plans = {name: plan(database, statement) for name, statement in statements()}
    assert {name: lines for name, found in plans.items() if found and (lines := scans(found))} == {}
    assert sum(found is not None for found in plans.values()) >= 15


def test_find_of_documents_uses_the_index_of_the_field(database: sqlite3.Connection) -> None:
    for collection in COLLECTIONS:
        for field in collection.fields:
            table = f"documents_{collection.name}"
            condition = f"tenant = ? AND json_extract(fields, '$.{field}') = ? AND id >= ? ORDER BY id DESC LIMIT ?"
            (line,) = plan(database, f"SELECT id FROM {table} WHERE {condition}") or []
            assert f"USING INDEX {table}_by_{field}" in line


def test_scan_would_be_seen(database: sqlite3.Connection) -> None:
    found = plan(database, "SELECT * FROM items WHERE version = ?")
    assert found is not None
    assert scans(found) == ["SCAN items"]
