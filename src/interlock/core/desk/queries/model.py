"""What a query may cost, what it answers, and queries that are kept."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import Rejected

SQL_MAX = 20_000
"""Characters of one statement."""


class Limits(NamedTuple):
    """What one query may take. Time and memory stop it; a result beyond `rows` or `bytes` is cut, and says so."""

    seconds: float = 10.0
    memory_bytes: int = 256 * 1024 * 1024
    rows: int = 1_000
    bytes: int = 4 * 1024 * 1024
    """Of the rows as JSON."""


class Cost(NamedTuple):
    seconds: float
    rows_returned: int = 0
    bytes_returned: int = 0
    rows_scanned: int | None = None
    """Read from tables. None if it is not known, as for a query that was stopped."""
    memory_bytes: int | None = None
    """Peak of the database's buffers. None if it is not known."""


class ResultColumn(NamedTuple):
    name: str
    type: str
    """As the database calls it, such as VARCHAR, BIGINT or TIMESTAMP."""


class Table(NamedTuple):
    """An answer. Values are what JSON has; a time is RFC 3339 in UTC, a decimal is text."""

    columns: tuple[ResultColumn, ...]
    rows: tuple[tuple[Any, ...], ...]
    truncated: bool
    """There were more rows than `Limits` allows."""
    cost: Cost
    exported_to: Millis | None
    """When the newest event happened that the answer could know of. None: nothing was exported yet."""


class StopReason(StrEnum):
    TIME = "time"
    MEMORY = "memory"
    DIED = "died"
    """The process that ran it ended; most likely it met a limit of the operating system."""


class QueryStopped(Rejected):
    """The query was allowed and took too much. Nothing was changed; the same query would be stopped again."""

    code = "query_stopped"

    def __init__(self, why: StopReason, cost: Cost, detail: str = "") -> None:
        super().__init__(detail or f"stopped after {cost.seconds:.1f} s: {why}")
        self.why = why
        self.cost = cost


class ChartKind(StrEnum):
    BAR = "bar"
    LINE = "line"


class Chart(msgspec.Struct, frozen=True):
    """How an answer is best drawn. `x`, `y` and `series` are names of its columns."""

    kind: ChartKind
    x: str
    y: str
    series: str | None = None


class LibraryQuery(NamedTuple):
    """A query that comes with the platform."""

    name: str
    question: str
    sql: str
    chart: Chart | None = None


class SavedQuery(msgspec.Struct, frozen=True, omit_defaults=True):
    """A query that somebody kept for everybody."""

    id: str
    """qry_..."""
    name: str
    question: str
    sql: str
    owner: str
    version: int
    created_at: Millis
    updated_at: Millis
    chart: Chart | None = None
