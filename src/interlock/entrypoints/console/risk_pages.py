"""Money at risk, and what an incident touched."""

from __future__ import annotations

from collections import Counter

import msgspec

from interlock.core.access.audit import PLATFORM
from interlock.core.desk.operators.roles import Permission
from interlock.core.desk.risk.commands import ExplainFinding
from interlock.core.desk.risk.handlers import PAYMENTS_MAX, at_risk, blast_radius, explain_finding
from interlock.core.desk.risk.model import Filter, Kind, exposures
from interlock.core.desk.risk.records import load_open
from interlock.core.kernel.clock import HOUR, rfc3339
from interlock.core.kernel.errors import Fault, Invalid, NotFound
from interlock.entrypoints.console.asking import request_of, time_of
from interlock.entrypoints.console.desk import Desk
from interlock.entrypoints.console.pages import ROOT, Asked, Page, Reply, Shown, Went
from interlock.entrypoints.effects import watch_of

RISKS_SHOWN = 200
EXPOSURES_SHOWN = 100
TOUCHED_SHOWN = 300
COUNTED_FIRST = 15_000
"""Payments, within the time a page may take. The page asks for the rest by itself."""
RUNBOOKS = {Kind.NOT_POSTED: "payment-not-posted", Kind.DRIFT: "provider-drift"}
"""What to do with a finding; pages in docs/operations/alarms."""


def risk_pages(desk: Desk) -> list[Page]:
    storage = desk.platform.storage

    async def risks(asked: Asked) -> Reply:
        every = await at_risk(storage.documents, desk.platform.webhooks, asked.now)
        kind = asked.query.get("kind")
        merchant = asked.query.get("merchant")
        wanted = [one for one in every.risks if kind in (None, one.kind) and merchant in (None, one.merchant)]
        context = {
            "title": "Money at risk",
            "risks": wanted[:RISKS_SHOWN],
            "number": len(wanted),
            "every": len(every.risks),
            "complete": every.complete,
            "kinds": {known: Counter(one.kind for one in every.risks).get(known, 0) for known in Kind},
            "kind": kind,
            "merchant": merchant,
            "exposures": exposures(wanted)[:EXPOSURES_SHOWN],
            "customers": asked.me.may(Permission.SEE_CUSTOMERS),
        }
        return Shown("risk.html", context)

    async def blast(asked: Asked) -> Reply:
        wanted = filter_of(asked)
        whole = asked.is_fragment or "all" in asked.query
        payments_max = PAYMENTS_MAX if whole else COUNTED_FIRST
        found = await blast_radius(storage.documents, wanted, payments_max=payments_max) if asked.query else None
        context = {
            "title": "Blast radius",
            "wanted": wanted,
            "created_from": rfc3339(wanted.created_from)[:16],
            "created_before": rfc3339(wanted.created_before)[:16],
            "found": found,
            "touched_shown": TOUCHED_SHOWN,
            "counted_first": None if whole else COUNTED_FIRST,
            "providers": desk.platform.engine.names(),
        }
        return Shown("parts/blast_found.html" if asked.is_fragment else "blast.html", context)

    return [
        Page("GET", "/risk", risks, Permission.SEE),
        Page("GET", "/blast", blast, Permission.SEE),
        *_findings(desk),
    ]


def _findings(desk: Desk) -> list[Page]:
    async def one(asked: Asked) -> Reply:
        held = await load_open(desk.platform.storage.store, asked.params["finding"])
        if held is None:
            raise NotFound("nothing of this id is open: it has ended")
        found = held.finding
        context = {
            "title": found.kind.replace("_", " ").capitalize(),
            "found": found,
            "runbook": RUNBOOKS[found.kind],
            "explainable": found.kind is Kind.DRIFT,
            "customers": asked.me.may(Permission.SEE_CUSTOMERS),
        }
        return Shown("finding.html", context)

    async def explain(asked: Asked) -> Reply:
        try:
            command = msgspec.convert({"reason": asked.form.get("reason", "")}, ExplainFinding)
        except msgspec.ValidationError as error:
            raise Invalid(faults=(Fault("/form/reason", "malformed", str(error)),)) from None
        watch = watch_of(desk.platform.storage)
        request = request_of(asked, PLATFORM, desk.operators.ids)
        ended = await explain_finding(watch, asked.params["finding"], command, request)
        return Went(f"{ROOT}/risk?kind={ended.kind}", "Explained, and off the list. The audit trail has the reason.")

    return [
        Page("GET", "/risk/findings/{finding}", one, Permission.SEE),
        Page("POST", "/risk/findings/{finding}/explain", explain, Permission.EXPLAIN_FINDING),
    ]


def filter_of(asked: Asked) -> Filter:
    """The filter in a page's address; the last hour if it names no time. Raises Invalid."""
    query = asked.query
    return Filter(
        created_from=time_of(query.get("from"), asked.now - HOUR, "from"),
        created_before=time_of(query.get("before"), asked.now, "before"),
        merchant=query.get("merchant"),
        provider=query.get("provider"),
        status=query.get("status"),
        method=query.get("method"),
        brand=query.get("brand"),
        country=query.get("country"),
        bin=query.get("bin"),
        version=query.get("version"),
        currency=query.get("currency"),
        decline=query.get("decline"),
    )
