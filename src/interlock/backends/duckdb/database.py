"""The database that queries run in: all exported rows in one file, which is never changed once queries can see it.

New rows go into a copy, which then takes the file's place under the next number. So a query sees one state of everything, readers
need no lock, and one that fails to load changes nothing.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb

from interlock.backends.duckdb.files import SETTINGS, definition, once_each, read_files
from interlock.core.desk.queries.tables import PAYMENT_VERSIONS, PAYMENTS, TABLES, columns_of
from interlock.core.kernel.clock import Millis

LOADED = "loaded_segments"
"""Which segments are in. Not among the tables that queries may name."""
LOADING_MEMORY = "512MB"


class Generation(NamedTuple):
    """One state of the database."""

    number: int
    path: Path
    loaded: frozenset[str]
    """Keys of segments."""
    exported_to: Millis | None


class Incoming(NamedTuple):
    """A segment that was fetched."""

    key: str
    table: str
    path: Path


def load(
    folder: Path, before: Generation | None, incoming: Sequence[Incoming], known: Sequence[str] = ()
) -> Generation:
    """The next generation: that before and these segments. `known` are segments whose rows it has already.

    Safe to repeat with segments that are in. Raises ValueError for a segment that cannot be read, and then nothing is changed.
    """
    number = before.number + 1 if before else 1
    path, unfinished = folder / _name(number), folder / f"{_name(number)}.new"
    for left in (unfinished, folder / f"{unfinished.name}.wal"):
        left.unlink(missing_ok=True)
    if before is not None:
        shutil.copyfile(before.path, unfinished)
    try:
        with _writer(unfinished) as connection:
            if before is None:
                _make(connection)
            connection.execute("BEGIN")
            for name, paths in _by_table(incoming).items():
                _load_table(connection, name, paths)
            keys = [[one] for one in {*(one.key for one in incoming), *known}]
            if keys:
                connection.executemany(f"INSERT OR IGNORE INTO {LOADED} VALUES (?)", keys)  # noqa: S608 -- a constant
            connection.execute("COMMIT")
            connection.execute("CHECKPOINT")
            made = _state(connection, number, path)
    except duckdb.Error as error:
        unfinished.unlink(missing_ok=True)
        raise ValueError(f"segments cannot be loaded: {error}") from error
    unfinished.replace(path)
    return made


def drop_before(folder: Path, generation: Generation) -> None:
    """Remove what is older than the generation before this one, which queries may still be opening."""
    for path in folder.glob("analysis-*.duckdb*"):
        if _number(path) < generation.number - 1:
            path.unlink(missing_ok=True)


def _make(connection: duckdb.DuckDBPyConnection) -> None:
    for name in (*TABLES, PAYMENTS):
        connection.execute(definition(name, columns_of(name)))
    connection.execute(f"CREATE TABLE {LOADED} (key VARCHAR PRIMARY KEY)")


def _load_table(connection: duckdb.DuckDBPyConnection, name: str, paths: Sequence[Path]) -> None:
    table = TABLES[name]
    source = once_each(table, read_files(connection, table, paths))
    connection.execute(f"CREATE TEMP TABLE staged AS {source}")
    _take_over(connection, name, table.identity, table.version)
    if table is PAYMENT_VERSIONS:
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE staged AS SELECT * FROM staged "
            "QUALIFY row_number() OVER (PARTITION BY id ORDER BY version DESC) = 1"
        )
        _take_over(connection, PAYMENTS, ("id",), "version")
    connection.execute("DROP TABLE staged")


def _take_over(connection: duckdb.DuckDBPyConnection, name: str, identity: Sequence[str], version: str) -> None:
    """From `staged`, what is new or newer."""
    same = " AND ".join(f"known.{one} = staged.{one}" for one in identity)
    if version:
        connection.execute(
            f"DELETE FROM {name} AS known USING staged WHERE {same} AND known.{version} < staged.{version}"  # noqa: S608
        )
    connection.execute(
        f"INSERT INTO {name} SELECT staged.* FROM staged ANTI JOIN {name} AS known ON {same}"  # noqa: S608 -- own names
    )


def _by_table(incoming: Sequence[Incoming]) -> Mapping[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for one in incoming:
        found.setdefault(one.table, []).append(one.path)
    return found


def _state(connection: duckdb.DuckDBPyConnection, number: int, path: Path) -> Generation:
    loaded = frozenset(row[0] for row in connection.execute(f"SELECT key FROM {LOADED}").fetchall())  # noqa: S608
    latest = connection.execute("SELECT epoch_ms(max(occurred_at)) FROM events").fetchone()
    return Generation(number, path, loaded, latest[0] if latest else None)


def _writer(path: Path) -> contextlib.closing[duckdb.DuckDBPyConnection]:
    return contextlib.closing(duckdb.connect(str(path), config=SETTINGS | {"memory_limit": LOADING_MEMORY}))


def _name(number: int) -> str:
    return f"analysis-{number:010d}.duckdb"


def _number(path: Path) -> int:
    number = path.name.partition(".")[0].rpartition("-")[2]
    return int(number) if number.isdigit() else 0
