"""What queries need from outside: files of rows, and a database that runs other people's SQL without harm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from interlock.core.desk.queries.model import Limits, Table
from interlock.core.desk.queries.tables import Exported, Row
from interlock.core.kernel.blobs import Blobs
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.ids import Ids
from interlock.core.kernel.store import Store


class TableFiles(Protocol):
    """Rows as the bytes of one columnar file."""

    async def encode(self, table: Exported, rows: Sequence[Row]) -> bytes:
        """A file with these rows in the table's columns. A column that a row does not name is null.

        Raises ValueError for a value that its column cannot hold.
        """

    async def merge(self, table: Exported, files: Sequence[bytes]) -> bytes:
        """One file with the rows of all: each thing once, with its highest version.

        A column that an older file lacks is null. Raises ValueError for what is no such file.
        """


class Analysis(Protocol):
    """Read-only SQL over the exported tables, from people who are not trusted with the machine."""

    async def query(self, sql: str, limits: Limits) -> Table:
        """The answer to one SELECT over `QUERYABLE` tables. Changes nothing, reads nothing else, reaches nothing.

        May lag behind the newest export by some seconds. Raises Invalid naming what is not allowed or not understood and where,
        QueryStopped with what it had cost, Unavailable when too many queries run already.
        """

    async def check(self, sql: str) -> None:
        """Whether `query` would run it, tables and functions alike, without running it. Raises as `query` does."""


class Exports(NamedTuple):
    """The means of the exporter."""

    blobs: Blobs
    files: TableFiles


class Queries(NamedTuple):
    """The means of every handler of queries."""

    store: Store
    clock: Clock
    ids: Ids
    analysis: Analysis
