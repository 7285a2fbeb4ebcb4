"""TableFiles as Parquet, made by DuckDB in memory. Its input is the platform's own: nothing here runs what people wrote."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import msgspec

from interlock.core.desk.queries.tables import Column, Exported, Kind, Row

TYPES = {Kind.TEXT: "VARCHAR", Kind.WHOLE: "BIGINT", Kind.TIME: "TIMESTAMP", Kind.FLAG: "BOOLEAN"}
SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "threads": "1",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
}
"""Of every database here: one core of the machine, and nothing from the network."""


class ParquetFiles:
    """Makes files below the system's temporary folder while it works, and leaves none."""

    def __init__(self, *, memory: str = "256MB") -> None:
        """`memory` is what one call may take, as DuckDB writes it."""
        self._memory = memory
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._one = threading.Lock()

    async def encode(self, table: Exported, rows: Sequence[Row]) -> bytes:
        return await asyncio.to_thread(self._encode, table, rows)

    async def merge(self, table: Exported, files: Sequence[bytes]) -> bytes:
        return await asyncio.to_thread(self._merge, table, files)

    def _encode(self, table: Exported, rows: Sequence[Row]) -> bytes:
        raw_types = {one.name: "BIGINT" if one.kind is Kind.TIME else TYPES[one.kind] for one in table.columns}
        shown = ", ".join(_from_raw(one) for one in table.columns)
        if strange := {name for row in rows for name in row} - set(raw_types):
            raise ValueError(f"{table.name} has no column {min(strange)}")
        # Every column is named, so that what does not fit is an error: the lenient reading would make it null.
        text = msgspec.json.encode([{name: row.get(name) for name in raw_types} for row in rows]).decode()
        query = f"""SELECT {shown} FROM (
            SELECT unnest(from_json_strict($rows, '{json.dumps([raw_types])}'), recursive := true)
        )"""  # noqa: S608 -- names and types are the table's
        with tempfile.TemporaryDirectory(prefix="interlock-") as folder, self._lent() as connection:
            return _written(connection, query, Path(folder), {"rows": text})

    def _merge(self, table: Exported, files: Sequence[bytes]) -> bytes:
        with tempfile.TemporaryDirectory(prefix="interlock-") as folder, self._lent() as connection:
            paths = [Path(folder) / f"{number}.parquet" for number in range(len(files))]
            for path, content in zip(paths, files, strict=True):
                path.write_bytes(content)
            try:
                source = read_files(connection, table, paths)
                return _written(connection, once_each(table, source), Path(folder), {})
            except duckdb.Error as error:
                raise ValueError(f"not files of {table.name}: {error}") from error

    @contextlib.contextmanager
    def _lent(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """One database for all calls, one call at a time: opening one costs more than most batches."""
        with self._one:
            if self._connection is None:
                self._connection = duckdb.connect(":memory:", config=SETTINGS | {"memory_limit": self._memory})
            yield self._connection


def definition(name: str, columns: Sequence[Column]) -> str:
    """CREATE TABLE."""
    return f"CREATE TABLE {name} ({', '.join(f'{one.name} {TYPES[one.kind]}' for one in columns)})"


def read_files(connection: duckdb.DuckDBPyConnection, table: Exported, paths: Sequence[Path]) -> str:
    """SQL for the rows of these files, whatever version of the platform wrote them: what a file lacks is null."""
    listed = ", ".join(quoted(str(path)) for path in paths)
    source = f"read_parquet([{listed}], union_by_name = true)"
    found = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}  # noqa: S608 -- own paths
    if not found & {one.name for one in table.columns}:
        raise ValueError(f"not files of {table.name}")
    shown = (
        one.name if one.name in found else f"CAST(NULL AS {TYPES[one.kind]}) AS {one.name}" for one in table.columns
    )
    return f"SELECT {', '.join(shown)} FROM {source}"  # noqa: S608 -- own columns and paths


def once_each(table: Exported, source: str) -> str:
    """SQL for each thing in `source` once, with its highest version, in a lasting order."""
    identity = ", ".join(table.identity)
    order = f"{table.version} DESC" if table.version else identity
    return (
        f"SELECT * FROM ({source}) "  # noqa: S608 -- own columns
        f"QUALIFY row_number() OVER (PARTITION BY {identity} ORDER BY {order}) = 1 ORDER BY {identity}"
    )


def quoted(text: str) -> str:
    """As a text of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _from_raw(column: Column) -> str:
    return f"epoch_ms({column.name}) AS {column.name}" if column.kind is Kind.TIME else column.name


def _written(connection: duckdb.DuckDBPyConnection, query: str, folder: Path, parameters: dict[str, str]) -> bytes:
    target = folder / "written.parquet"
    try:
        connection.execute(
            f"COPY ({query}) TO {quoted(str(target))} (FORMAT parquet, COMPRESSION zstd)", parameters or None
        )
    except duckdb.Error as error:
        raise ValueError(str(error)) from error
    return target.read_bytes()
