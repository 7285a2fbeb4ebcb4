"""Alerts of other tools, the rules that group and silence them, and who may send some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from interlock.core.desk.alerts.commands import (
    AcknowledgeAlert,
    AssignAlert,
    CreateAlertSource,
    ReplaceAlertRules,
    ResolveAlert,
    TryAlertRules,
)
from interlock.core.desk.alerts.listing import Wanted, find_alerts, load_alert
from interlock.core.desk.alerts.rehearsing import dry_run_view, rehearse
from interlock.core.desk.alerts.responding import acknowledge, assign, resolve
from interlock.core.desk.alerts.rule_set import RULES_BYTES_MAX, load_rules, replace_rules
from interlock.core.desk.alerts.rules import AlertRule
from interlock.core.desk.alerts.sources import PROOFS, create_source, delete_source, list_sources
from interlock.core.desk.alerts.states import AlertState
from interlock.core.desk.alerts.views import alert_view, rules_view, source_view
from interlock.core.desk.operators.roles import Permission
from interlock.core.kernel.errors import Fault, Invalid
from interlock.entrypoints.console.asking import request_of
from interlock.entrypoints.console.desk import Desk
from interlock.entrypoints.console.pages import ROOT, Asked, Page, Reply, Shown, Went
from interlock.entrypoints.http.bodies import faults_of

SHOWN = 50
PLATFORM = "~platform"
RULES_CHARS_MAX = 5 * RULES_BYTES_MAX
"""They are kept in one line, and shown indented."""
FATES_SHOWN = 200
C = TypeVar("C", AcknowledgeAlert, AssignAlert, ResolveAlert, CreateAlertSource)


def alert_pages(desk: Desk) -> list[Page]:
    return [*_alerts(desk), *_rules(desk), *_sources(desk)]


def _alerts(desk: Desk) -> list[Page]:
    alerts = desk.platform.desk.alerts

    async def some(asked: Asked) -> Reply:
        wanted = asked.query.get("state")
        state = AlertState(wanted) if wanted in list(AlertState) else None
        found = await find_alerts(alerts, Wanted(state=state), limit=SHOWN, after=asked.query.get("after"))
        context = {
            "title": "Alerts",
            "alerts": [alert_view(one) for one in found.alerts],
            "states": list(AlertState),
            "state": state,
            "next": found.next,
        }
        return Shown("parts/alerts_live.html" if asked.is_fragment else "alerts.html", context)

    async def one(asked: Asked) -> Reply:
        view = alert_view((await load_alert(alerts, asked.params["alert"])).alert)
        return Shown("alert.html", {"title": view.name, "alert": view})

    async def act(asked: Asked) -> Reply:
        alert, request = asked.params["alert"], request_of(asked, PLATFORM, desk.operators.ids)
        note, verb = {"note": asked.form.get("note", "")}, asked.params["verb"]
        if verb == "acknowledge":
            await acknowledge(alerts, alert, _command(note, AcknowledgeAlert), request)
        elif verb == "assign":
            given = {**note, "assignee": asked.form.get("assignee") or None}
            await assign(alerts, alert, _command(given, AssignAlert), request)
        elif verb == "resolve":
            await resolve(alerts, alert, _command(note, ResolveAlert), request)
        else:
            raise Invalid(faults=(Fault("/path/verb", "unknown", "acknowledge, assign or resolve"),))
        return Went(f"{ROOT}/alerts/{alert}", "Noted.")

    return [
        Page("GET", "/alerts", some, Permission.SEE),
        Page("GET", "/alerts/{alert}", one, Permission.SEE),
        Page("POST", "/alerts/{alert}/{verb}", act, Permission.HANDLE_ALERTS),
    ]


def _rules(desk: Desk) -> list[Page]:
    alerts = desk.platform.desk.alerts

    async def rules(asked: Asked) -> Reply:
        view = rules_view(await load_rules(alerts))
        text = msgspec.json.format(msgspec.json.encode(view.rules), indent=2).decode()
        return Shown("alert_rules.html", _shown(view.version, text, view.rules))

    async def use(asked: Asked) -> Reply:
        text, version = asked.form.get("rules", "[]"), asked.form.get("version", "0")
        number = int(version) if version.isdigit() else 0
        try:
            wanted = _decoder.decode(text)
            if asked.form.get("do") == "try":
                tried = dry_run_view(await rehearse(alerts, TryAlertRules(rules=wanted)))
                return Shown("alert_rules.html", {**_shown(number, text, wanted), "tried": tried})
            command = msgspec.convert({"version": number, "rules": msgspec.to_builtins(wanted)}, ReplaceAlertRules)
            await replace_rules(alerts, command, request_of(asked, PLATFORM, desk.operators.ids))
        except (msgspec.MsgspecError, Invalid) as error:
            faults = error.faults if isinstance(error, Invalid) else (Fault("/rules", "malformed", str(error)),)
            return Shown("alert_rules.html", {**_shown(number, text, ()), "faults": faults}, 400)
        return Went(f"{ROOT}/alert-rules", "These rules act from now on.")

    return [
        Page("GET", "/alert-rules", rules, Permission.SEE),
        Page("POST", "/alert-rules", use, Permission.CHANGE_RULES, RULES_CHARS_MAX),
    ]


def _shown(version: int, text: str, rules: object) -> dict[str, object]:
    return {"title": "Alert rules", "version": version, "text": text, "rules": rules, "tried": None, "faults": ()}


def _sources(desk: Desk) -> list[Page]:
    alerts = desk.platform.desk.alerts

    async def sources(asked: Asked) -> Reply:
        return Shown("alert_sources.html", await context())

    async def context() -> dict[str, object]:
        return {
            "title": "Alert sources",
            "sources": [source_view(one) for one in await list_sources(alerts)],
            "formats": list(PROOFS),
            "proofs": sorted({proof for proofs in PROOFS.values() for proof in proofs}),
            "origin": desk.platform.issuer,
            "made": None,
        }

    async def create(asked: Asked) -> Reply:
        form = asked.form
        fields = {name: form[name] for name in ("id", "name", "format", "proof", "topic_arn") if name in form}
        command = _command(fields, CreateAlertSource)
        source, token = await create_source(alerts, command, request_of(asked, PLATFORM, desk.operators.ids))
        made = source_view(source, token=token)
        return Shown("alert_sources.html", {**await context(), "made": made})

    async def delete(asked: Asked) -> Reply:
        await delete_source(alerts, asked.params["source"], request_of(asked, PLATFORM, desk.operators.ids))
        return Went(f"{ROOT}/alert-sources", "Nothing is taken from it any more.")

    return [
        Page("GET", "/alert-sources", sources, Permission.SEE),
        Page("POST", "/alert-sources", create, Permission.MANAGE_SOURCES),
        Page("POST", "/alert-sources/{source}/delete", delete, Permission.MANAGE_SOURCES),
    ]


def _command(fields: Mapping[str, str | None], kind: type[C]) -> C:
    """A form held to the limits of its command, as a request over HTTP is. Raises Invalid."""
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise Invalid(faults=faults_of(fields, kind, error, root="/form")) from None


_decoder = msgspec.json.Decoder(tuple[AlertRule, ...])
