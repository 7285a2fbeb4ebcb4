"""One query after another on a locked connection: looked at twice, timed, cut, and never an exception that is not an answer."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from interlock.backends.duckdb.checking import NOT_UNDERSTOOD, Checked, check
from interlock.backends.duckdb.child import Watch
from interlock.backends.duckdb.locked import open_locked
from interlock.backends.duckdb.tree import check_tree
from interlock.core.desk.queries.model import StopReason
from interlock.core.kernel.errors import Invalid

ROWS_AT_ONCE = 200
TEXT_MAX = 20_000
"""Characters of one value; a longer one is cut."""
WHOLE_MAX = 2**63


class Session:
    def __init__(self, database: Path, *, memory_bytes: int) -> None:
        self._database, self._memory_bytes = database, memory_bytes
        self._connection = open_locked(database, memory_bytes=memory_bytes)
        # The parsers are warm then, and whatever they need is read before files are out of reach.
        check_tree(self._connection, check("SELECT count(*) FROM events", now=0, rows_max=1).sql)

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """`{"answer": ...}`, `{"refused": ...}` or `{"stopped": ...}`."""
        self._open(Path(asked["database"]))
        with Watch(self._connection, asked["seconds"]) as watch:
            try:
                checked = check(asked["sql"], now=asked["now"], rows_max=asked["rows"])
                check_tree(self._connection, checked.sql)
                if asked.get("check_only"):
                    self._connection.execute(f"EXPLAIN {checked.sql}")
                    return {"answer": {}}
                return {"answer": self._run(checked, asked, watch)}
            except Invalid as error:
                return _refused(error.detail, error.reason, [list(fault) for fault in error.faults])
            except (duckdb.OutOfMemoryException, MemoryError):
                return _stopped(StopReason.MEMORY, watch)
            except duckdb.InterruptException:
                return _stopped(StopReason.TIME, watch)
            except duckdb.Error as error:
                if watch.over:
                    return _stopped(StopReason.TIME, watch)
                if "bad_alloc" in str(error) or "bad allocation" in str(error):
                    return _stopped(StopReason.MEMORY, watch)
                return _refused(_first_lines(error), NOT_UNDERSTOOD, [])

    def _open(self, database: Path) -> None:
        """Turn to a newer state of everything."""
        if database != self._database:
            self._connection.close()
            self._connection = open_locked(database, memory_bytes=self._memory_bytes)
            self._database = database

    def _run(self, checked: Checked, asked: dict[str, Any], watch: Watch) -> dict[str, Any]:
        cursor = self._connection.execute(checked.prefix + checked.sql)
        columns = [[name, str(type_)] for name, type_, *_ in cursor.description or ()]
        rows: list[list[Any]] = []
        size, truncated = 2, False
        for row in _fetched(cursor):
            shown = [_shown(value) for value in row]
            size += len(json.dumps(shown, separators=(",", ":"))) + 1
            if len(rows) == asked["rows"] or size > asked["bytes"]:
                truncated = True
                break
            rows.append(shown)
        return {
            "columns": columns,
            "rows": rows,
            "truncated": truncated,
            "seconds": watch.seconds,
            "bytes": size,
            **({} if truncated else self._profile()),
        }

    def _profile(self) -> dict[str, int]:
        """Of the query that was just read to its end."""
        text = self._connection.get_profiling_information(format="json")
        told = json.loads(text) if text else {}
        found = {
            "scanned": told.get("query", {}).get("total_rows_scanned"),
            "memory": told.get("system", {}).get("peak_buffer_memory"),
        }
        return {name: value for name, value in found.items() if isinstance(value, int)}


def _fetched(cursor: duckdb.DuckDBPyConnection) -> Iterator[Sequence[Any]]:
    while batch := cursor.fetchmany(ROWS_AT_ONCE):
        yield from batch


def _shown(value: Any) -> Any:
    """As JSON has it. Whole numbers that other languages' JSON may not hold are text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if len(value) <= TEXT_MAX else f"{value[:TEXT_MAX]}…"
    if isinstance(value, int):
        return value if -WHOLE_MAX <= value < WHOLE_MAX else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        return _instant(value)
    if isinstance(value, date | time_of_day):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {str(_shown(name)): _shown(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(one) for one in value]
    return str(value)[:TEXT_MAX]


def _instant(value: datetime) -> str:
    """All times in the tables are UTC and say no zone."""
    plain = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    return plain.isoformat(timespec="milliseconds") + "Z"


def _refused(detail: str, code: str, faults: list[list[str]]) -> dict[str, Any]:
    return {"refused": {"detail": detail, "code": code, "faults": faults}}


def _stopped(why: StopReason, watch: Watch) -> dict[str, Any]:
    return {"stopped": {"why": why.value, "seconds": watch.seconds}}


def _first_lines(error: duckdb.Error) -> str:
    """What the database says of a query, without the picture of the text, which is not the one that came in."""
    return str(error).partition("\n\nLINE ")[0].strip()[:500]
