"""What may be asked of saved queries."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from interlock.core.desk.queries.model import SQL_MAX, Chart

QueryName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}\Z")]


class SaveQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keep a query under a name; one of that name by the same owner is replaced."""

    name: QueryName
    question: Annotated[str, Meta(min_length=1, max_length=500)]
    """What it answers, for the list."""
    sql: Annotated[str, Meta(min_length=1, max_length=SQL_MAX)]
    chart: Chart | None = None
