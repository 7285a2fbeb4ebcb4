"""SQL for debugging: a box, the questions that come with the platform, those that people kept, and answers as tables and charts."""

from __future__ import annotations

import csv
from io import StringIO
from typing import Any

import msgspec

from interlock.core.desk.operators.roles import Permission
from interlock.core.desk.queries.commands import SaveQuery
from interlock.core.desk.queries.following import follow, want
from interlock.core.desk.queries.handlers import delete_query, list_queries, load_query, run_query, save_query
from interlock.core.desk.queries.library import LIBRARY
from interlock.core.desk.queries.model import Chart, QueryStopped, Table
from interlock.core.desk.queries.ports import Queries
from interlock.core.desk.queries.tables import TABLES
from interlock.core.desk.slo.views import defused
from interlock.core.kernel.clock import parse_rfc3339
from interlock.core.kernel.errors import Fault, Invalid, Unavailable
from interlock.entrypoints.console.desk import Desk
from interlock.entrypoints.console.pages import ROOT, Asked, Page, Reply, Sent, Shown, Went

BATCHES_FIRST = 6
"""So many batches are exported while the asker waits; the worker goes on with the rest."""
POINTS_MAX = 500


def sql_pages(desk: Desk) -> list[Page]:
    async def ask(asked: Asked) -> Reply:
        if desk.platform.desk.queries is None:
            return Shown("sql_missing.html", {"title": "SQL"})
        name = asked.query.get("name", "")
        sql, chart = "", None
        if name in LIBRARY:
            sql, chart = LIBRARY[name].sql, LIBRARY[name].chart
        elif name:
            sql = (await load_query(_queries(desk), name)).sql
        return Shown("sql.html", await _context(desk, asked, sql=sql, name=name, chart=chart))

    async def run(asked: Asked) -> Reply:
        queries, sql, name = _queries(desk), asked.form.get("sql", ""), asked.form.get("name", "")
        who = asked.me.session.operator
        chart = LIBRARY[name].chart if name in LIBRARY and LIBRARY[name].sql == sql else None
        more: dict[str, Any] = {}
        try:
            await _export_first(desk, asked)
            table = await run_query(queries, sql, actor=who)
            if asked.form.get("do") == "csv":
                header = (("content-disposition", 'attachment; filename="answer.csv"'),)
                return Sent(_csv(table).encode(), "text/csv; charset=utf-8", header)
            more = {"table": table, "chart_data": _drawn(table, chart) if chart else None}
        except QueryStopped as error:
            more = {"stopped": error}
        except Invalid as error:
            more = {"faults": error.faults or (Fault("/sql", error.reason, error.detail),)}
        return Shown("sql.html", {**await _context(desk, asked, sql=sql, name=name, chart=chart), **more})

    async def save(asked: Asked) -> Reply:
        fields = {name: asked.form.get(name, "") for name in ("name", "question", "sql")}
        try:
            command = msgspec.convert(fields, SaveQuery)
        except msgspec.ValidationError as error:
            raise Invalid(faults=(Fault("/form", "malformed", str(error)),)) from None
        await save_query(_queries(desk), command, actor=asked.me.session.operator)
        return Went(f"{ROOT}/sql?name={command.name}", "Kept, for everybody.")

    async def delete(asked: Asked) -> Reply:
        await delete_query(_queries(desk), asked.params["name"], actor=asked.me.session.operator)
        return Went(f"{ROOT}/sql", "Deleted.")

    return [
        Page("GET", "/sql", ask, Permission.RUN_SQL),
        Page("POST", "/sql", run, Permission.RUN_SQL),
        Page("POST", "/sql/queries", save, Permission.RUN_SQL),
        Page("POST", "/sql/queries/{name}/delete", delete, Permission.RUN_SQL),
    ]


def _queries(desk: Desk) -> Queries:
    if desk.platform.desk.queries is None:
        raise Unavailable("SQL for debugging is not installed here", retry_after_s=3600)
    return desk.platform.desk.queries


async def _export_first(desk: Desk, asked: Asked) -> None:
    """Bring the exports along, as far as somebody waits for it."""
    storage, exports = desk.platform.storage, desk.platform.desk.exports
    await want(storage.store, asked.now)
    if exports is not None:
        for _ in range(BATCHES_FIRST):
            if not await follow(exports, storage.store, storage.histories):
                return


async def _context(desk: Desk, asked: Asked, *, sql: str, name: str, chart: Chart | None) -> dict[str, Any]:
    return {
        "title": "SQL",
        "sql": sql,
        "name": name,
        "library": LIBRARY,
        "question": LIBRARY[name].question if name in LIBRARY else "",
        "saved": await list_queries(_queries(desk)),
        "tables": TABLES,
        "table": None,
        "chart_data": None,
        "stopped": None,
        "faults": (),
    }


def _csv(table: Table) -> str:
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow([defused(one.name) for one in table.columns])
    writer.writerows([[defused("" if cell is None else str(cell)) for cell in row] for row in table.rows])
    return text.getvalue()


def _drawn(table: Table, chart: Chart) -> dict[str, Any] | None:
    """Columns for the chart, if there are times to draw by."""
    places = {one.name: place for place, one in enumerate(table.columns)}
    if chart.x not in places or chart.y not in places:
        return None
    series: dict[str, dict[int, float]] = {}
    try:
        for row in table.rows[:POINTS_MAX]:
            at = parse_rfc3339(str(row[places[chart.x]])) // 1000
            named = str(row[places[chart.series]]) if chart.series in places else chart.y
            series.setdefault(named, {})[at] = float(row[places[chart.y]] or 0)
    except ValueError:
        return None  # not by time: the table tells it as well
    times = sorted({at for points in series.values() for at in points})
    lines = [{"name": name, "values": [points.get(at) for at in times]} for name, points in sorted(series.items())]
    return {"times": times, "series": lines}
