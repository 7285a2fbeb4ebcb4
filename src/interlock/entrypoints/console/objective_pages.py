"""Objectives: how each stands, the file they are written in, the rules that follow, and the month's report."""

from __future__ import annotations

import re
from typing import Any

from interlock.core.desk.explain.search import merchants
from interlock.core.desk.operators.roles import Permission
from interlock.core.desk.slo.handlers import load_slos, put_slos, slo_file, standing
from interlock.core.desk.slo.model import Counts, Filter, Measure, Ratio
from interlock.core.desk.slo.prometheus import prometheus_rules
from interlock.core.desk.slo.sla import EVERYONE, Agreed, Report, SlaRow, sla_report
from interlock.core.desk.slo.views import report_csv, report_markdown, standing_view
from interlock.core.kernel.clock import parse_rfc3339, utc_day
from interlock.core.kernel.errors import Fault, Invalid, NotFound
from interlock.core.kernel.store import VALUE_BYTES_MAX
from interlock.entrypoints.console.desk import Desk
from interlock.entrypoints.console.pages import ROOT, Asked, Page, Reply, Sent, Shown, Went
from interlock.entrypoints.console.standings import Standings

MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
LATENCY_MS = 2_000
FILE_CHARS_MAX = 2 * VALUE_BYTES_MAX
"""A file that may be kept, with a browser's line ends; how much is kept is said by who keeps it."""
AGREED = {EVERYONE: Agreed(Ratio(995, 1000), Ratio(95, 100))}
"""What merchants without terms of their own are promised."""


def objective_pages(desk: Desk, standings: Standings) -> list[Page]:
    objectives = desk.platform.desk.objectives

    async def every(asked: Asked) -> Reply:
        return Shown("objectives.html", {"title": "Objectives", "views": await standings.get()})

    async def one(asked: Asked) -> Reply:
        slo = next((slo for slo in await load_slos(objectives) if slo.name == asked.params["slo"]), None)
        if slo is None:
            raise NotFound("no such objective")
        view = standing_view(await standing(objectives, slo))
        times = [parse_rfc3339(at) // 1000 for at, _ in view.burn_down]
        left = [float(percent.rstrip("% ")) for _, percent in view.burn_down]
        chart: dict[str, Any] = {
            "times": times,
            "series": [{"name": "budget left", "values": left}],
            "unit": "%",
            "max": 100,
        }
        return Shown("objective.html", {"title": view.title, "view": view, "chart_data": chart})

    async def file(asked: Asked) -> Reply:
        kept = await slo_file(objectives)
        return Shown(
            "objective_file.html",
            {"title": "File of objectives", "text": kept.text, "version": kept.version, "faults": ()},
        )

    async def put(asked: Asked) -> Reply:
        text = asked.form.get("text", "")
        version = asked.form.get("version", "")
        try:
            kept = await put_slos(
                objectives, text, asked.me.session.operator, expected=int(version) if version.isdigit() else None
            )
        except Invalid as error:
            context = {"title": "File of objectives", "text": text, "version": version, "faults": error.faults}
            return Shown("objective_file.html", context, 400)
        return Went(f"{ROOT}/objectives", f"Version {kept.version} is in use.")

    async def rules(asked: Asked) -> Reply:
        text = prometheus_rules(await load_slos(objectives), desk.platform.issuer + ROOT)
        return Sent(
            text.encode(), "application/yaml", (("content-disposition", 'attachment; filename="slo-rules.yaml"'),)
        )

    async def report(asked: Asked) -> Reply:
        month = asked.query.get("month") or utc_day(asked.now)[:7]
        if not MONTH.fullmatch(month):
            raise Invalid(faults=(Fault("/query/month", "bad_month", "a month is YYYY-MM"),))
        made = await _report(desk, month)
        if asked.query.get("form") == "csv":
            name = f'attachment; filename="sla-{month}.csv"'
            return Sent(report_csv(made).encode(), "text/csv; charset=utf-8", (("content-disposition", name),))
        context = {"title": "SLA report", "month": month, "report": made, "text": report_markdown(made)}
        return Shown("sla.html", context)

    return [
        Page("GET", "/objectives", every, Permission.SEE),
        Page("GET", "/objectives/file", file, Permission.SEE),
        Page("POST", "/objectives/file", put, Permission.CHANGE_OBJECTIVES, FILE_CHARS_MAX),
        Page("GET", "/objectives/rules", rules, Permission.SEE),
        Page("GET", "/objectives/report", report, Permission.SEE),
        Page("GET", "/objectives/{slo}", one, Permission.SEE),
    ]


async def _report(desk: Desk, month: str) -> Report:
    start = parse_rfc3339(f"{month}-01T00:00:00Z")
    year, number = divmod(int(month[:4]) * 12 + int(month[5:]), 12)
    end = parse_rfc3339(f"{year:04d}-{number + 1:02d}-01T00:00:00Z")
    tallies = desk.platform.desk.objectives.tallies
    answered = await tallies.by_merchant(Measure.AVAILABILITY, Filter(operation="authorize"), start, end)
    quick = Filter(operation="authorize", threshold_ms=LATENCY_MS)
    in_time = await tallies.by_merchant(Measure.LATENCY, quick, start, end)
    every = await merchants(desk.platform.storage.documents)
    rows = [SlaRow(name, None, answered.get(name, Counts(0, 0)), in_time.get(name, Counts(0, 0))) for name in every]
    return sla_report(month, rows, AGREED)
