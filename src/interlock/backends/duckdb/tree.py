"""The second look: the database's own reading of a query, held against the same lists.

`json_serialize_sql` of DuckDB tells how it parses a text, without running it. What is read differently there is refused here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb

from interlock.backends.duckdb import allowed
from interlock.core.desk.queries.tables import QUERYABLE
from interlock.core.kernel.errors import Fault, Invalid

NOT_ALLOWED = "sql_not_allowed"


def check_tree(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raises Invalid unless the database sees one SELECT of allowed tables and functions."""
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        _refuse("anything but one SELECT")
    # It runs as one of this database's own queries; the text is a parameter.
    answered = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    tree = json.loads(answered[0]) if answered else {"error": True}
    if tree.get("error"):
        _refuse(str(tree.get("error_message", "a statement that cannot be shown as a tree")))
    nodes = list(_nodes(tree))
    ctes = {entry["key"].lower() for node in nodes if "map" in node for entry in _entries(node)}
    for node in nodes:
        _check(node, QUERYABLE | ctes)


def _check(node: dict[str, Any], tables: frozenset[str]) -> None:
    kind = node.get("type")
    if "cte_map" in node and kind not in allowed.BLOCKS:
        _refuse(str(kind))
    if "function_name" in node:
        name = str(node["function_name"]).lower()
        if name not in allowed.FUNCTIONS and name not in allowed.OPERATORS:
            _refuse(f"the function {name}()")
        if node.get("schema") or node.get("catalog"):
            _refuse(f"the schema in front of {name}()")
    if "sample" in node and "alias" in node and "class" not in node:
        _check_source(node, tables)


def _check_source(node: dict[str, Any], tables: frozenset[str]) -> None:
    kind = node.get("type")
    if kind not in allowed.SOURCES:
        _refuse(f"{kind} in FROM")
    if kind == "BASE_TABLE":
        name = str(node["table_name"]).lower()
        if name not in tables or name.startswith(allowed.SYSTEM) or node["schema_name"] or node["catalog_name"]:
            _refuse(f"the table {name}")
    if kind == "TABLE_FUNCTION" and str(node["function"].get("function_name")).lower() not in allowed.TABLE_FUNCTIONS:
        _refuse(f"{node['function'].get('function_name')}() in place of a table")


def _entries(node: dict[str, Any]) -> list[dict[str, Any]]:
    return (
        [one for one in node["map"] if isinstance(one, dict) and "key" in one] if isinstance(node["map"], list) else []
    )


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    left = [tree]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            yield one
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)


def _refuse(what: str) -> None:
    detail = f"not allowed: {what}"
    raise Invalid(detail, faults=(Fault("/sql", NOT_ALLOWED, detail),), code=NOT_ALLOWED)
