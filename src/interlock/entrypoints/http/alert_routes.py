"""Alerts over HTTP: where other tools send theirs, and where people look at them, take them and make rules for them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from interlock.core.desk.alerts.commands import (
    SOURCE_PATTERN,
    AcknowledgeAlert,
    AssignAlert,
    CreateAlertSource,
    ReplaceAlertRules,
    ResolveAlert,
    TryAlertRules,
)
from interlock.core.desk.alerts.handlers import receive
from interlock.core.desk.alerts.listing import Wanted, find_alerts, load_alert
from interlock.core.desk.alerts.model import ALERT, NAME_CHARACTERS_MAX, AlertSeverity
from interlock.core.desk.alerts.ports import BODY_BYTES_MAX, AlertDesk
from interlock.core.desk.alerts.rehearsing import dry_run_view, rehearse
from interlock.core.desk.alerts.responding import acknowledge, assign, resolve
from interlock.core.desk.alerts.rule_set import load_rules, replace_rules
from interlock.core.desk.alerts.sources import create_source, delete_source, list_sources
from interlock.core.desk.alerts.states import AlertState
from interlock.core.desk.alerts.views import (
    AlertDryRunView,
    AlertReceiptView,
    AlertRulesView,
    AlertSourceView,
    AlertView,
    PagerDutyReceiptView,
    alert_view,
    receipt_view,
    rules_view,
    source_view,
)
from interlock.core.kernel.ids import id_pattern
from interlock.entrypoints.http.pagination import ListQuery, Page, check_cursors
from interlock.entrypoints.http.routing import Answer, Call, Described, Link, Route

READ, WRITE = "desk:read", "desk:write"
SOURCE_PATH = {"source": SOURCE_PATTERN}
ALERT_PATH = {"id": id_pattern(ALERT)}
BY_ID = {"id": "$response.body#/id"}
TAGS = ("alerts",)
AlertPage = Page[AlertView]
SourcePage = Page[AlertSourceView]
NamePattern = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=NAME_CHARACTERS_MAX,
        description="Of the alert's name: * stands for any characters, ? for one.",
    ),
]


class AlertsQuery(ListQuery, frozen=True, forbid_unknown_fields=True):
    state: AlertState | None = None
    severity: AlertSeverity | None = None
    name: NamePattern | None = None


def alert_routes(d: AlertDesk) -> tuple[Route, ...]:
    return (*_incoming_routes(d), *_alert_routes(d), *_response_routes(d), *_rule_routes(d), *_source_routes(d))


def _incoming_routes(d: AlertDesk) -> tuple[Route, ...]:
    async def take(call: Call) -> Answer:
        receipt = await receive(d, call.path_params["source"], call.headers, call.raw)
        return Answer(202, receipt_view(receipt.format, receipt.fates, receipt.result))

    return (
        Route(
            method="POST",
            path="/v1/alerts/in/{source}",
            endpoint=take,
            body_bytes_max=2 * BODY_BYTES_MAX,
            operation_id="receiveAlerts",
            summary="For monitoring tools: alerts that fire, and alerts that are over",
            description=(
                "Takes what Alertmanager, Grafana, CloudWatch through SNS, Datadog, PagerDuty's clients and Alertmanager's "
                "Slack sender send, and a form of our own; which one is said when the source is made. Authenticated by the "
                "source's own token or signature. PagerDuty's clients are answered as PagerDuty answers."
            ),
            reads_body=True,
            accepts=(),
            path_patterns=SOURCE_PATH,
            answers={
                202: Described(
                    AlertReceiptView, "On disk, with all that follows from it.", or_schema=PagerDutyReceiptView
                )
            },
            problems=(400, 401, 503),
            tags=TAGS,
            challenge="Bearer",
        ),
    )


def _alert_routes(d: AlertDesk) -> tuple[Route, ...]:
    async def list_some(call: Call) -> Answer:
        query: AlertsQuery = call.query
        check_cursors(query, ALERT)
        found = await find_alerts(
            d,
            Wanted(query.state, query.severity, query.name),
            limit=query.limit,
            after=query.after,
            before=query.before if query.after is None else None,
        )
        return Answer(200, Page([alert_view(one) for one in found.alerts], found.next is not None, found.next))

    async def get(call: Call) -> Answer:
        return Answer(200, alert_view((await load_alert(d, call.path_params["id"])).alert))

    return (
        Route(
            method="GET",
            path="/v1/alerts",
            endpoint=list_some,
            operation_id="listAlerts",
            summary="Alerts, newest first; with a filter a page may be shorter than `limit`",
            scope=READ,
            query=AlertsQuery,
            answers={200: AlertPage},
            tags=TAGS,
        ),
        Route(
            method="GET",
            path="/v1/alerts/{id}",
            endpoint=get,
            operation_id="getAlert",
            summary="An alert as it stands, with its history",
            scope=READ,
            path_patterns=ALERT_PATH,
            answers={200: AlertView},
            tags=TAGS,
        ),
    )


def _response_routes(d: AlertDesk) -> tuple[Route, ...]:
    async def acknowledge_one(call: Call) -> Answer:
        command: AcknowledgeAlert = call.body
        return Answer(200, alert_view(await acknowledge(d, call.path_params["id"], command, call.request())))

    async def assign_one(call: Call) -> Answer:
        command: AssignAlert = call.body
        return Answer(200, alert_view(await assign(d, call.path_params["id"], command, call.request())))

    async def resolve_one(call: Call) -> Answer:
        command: ResolveAlert = call.body
        return Answer(200, alert_view(await resolve(d, call.path_params["id"], command, call.request())))

    return (
        Route(
            method="POST",
            path="/v1/alerts/{id}/acknowledge",
            endpoint=acknowledge_one,
            operation_id="acknowledgeAlert",
            summary="Say that somebody looks after it; whoever does so with one that nobody has is its assignee",
            scope=WRITE,
            body=AcknowledgeAlert,
            body_optional=True,
            path_patterns=ALERT_PATH,
            answers={200: AlertView},
            problems=(409, 503),
            tags=TAGS,
            example={"note": "looking at acme's status page"},
        ),
        Route(
            method="POST",
            path="/v1/alerts/{id}/assign",
            endpoint=assign_one,
            operation_id="assignAlert",
            summary="Give it to somebody, or to nobody",
            scope=WRITE,
            body=AssignAlert,
            path_patterns=ALERT_PATH,
            answers={200: AlertView},
            problems=(409, 503),
            tags=TAGS,
            example={"assignee": "payments-on-call"},
        ),
        Route(
            method="POST",
            path="/v1/alerts/{id}/resolve",
            endpoint=resolve_one,
            operation_id="resolveAlert",
            summary="Say that it is over; if it fires again within a day it is reopened",
            scope=WRITE,
            body=ResolveAlert,
            body_optional=True,
            path_patterns=ALERT_PATH,
            answers={200: AlertView},
            problems=(409, 503),
            tags=TAGS,
            example={"note": "acme is back"},
        ),
    )


def _rule_routes(d: AlertDesk) -> tuple[Route, ...]:
    async def get_rules(call: Call) -> Answer:
        return Answer(200, rules_view(await load_rules(d)))

    async def put_rules(call: Call) -> Answer:
        command: ReplaceAlertRules = call.body
        return Answer(200, rules_view(await replace_rules(d, command, call.request())))

    async def try_rules(call: Call) -> Answer:
        command: TryAlertRules = call.body
        return Answer(200, dry_run_view(await rehearse(d, command)))

    return (
        Route(
            method="GET",
            path="/v1/alert_rules",
            endpoint=get_rules,
            operation_id="getAlertRules",
            summary="The rules that group, silence and delay alerts, in the order in which they act",
            scope=READ,
            answers={200: AlertRulesView},
            tags=TAGS,
        ),
        Route(
            method="PUT",
            path="/v1/alert_rules",
            endpoint=put_rules,
            operation_id="replaceAlertRules",
            summary="Replace all rules; they act on the next webhook",
            scope=WRITE,
            body=ReplaceAlertRules,
            answers={200: AlertRulesView},
            problems=(409, 503),
            tags=TAGS,
            example=RULES_EXAMPLE,
        ),
        Route(
            method="POST",
            path="/v1/alert_rules/dry_run",
            endpoint=try_rules,
            operation_id="tryAlertRules",
            summary="What rules would have made of the signals of some past time; changes nothing",
            description=(
                "The same function decides here and when alerts are received. It begins with nothing open, and nobody acts."
            ),
            scope=READ,
            body=TryAlertRules,
            body_optional=True,
            answers={200: AlertDryRunView},
            tags=TAGS,
            example={"rules": RULES_EXAMPLE["rules"]},
        ),
    )


def _source_routes(d: AlertDesk) -> tuple[Route, ...]:
    async def create(call: Call) -> Answer:
        command: CreateAlertSource = call.body
        source, token = await create_source(d, command, call.request())
        return Answer(201, source_view(source, token=token))

    async def list_all(call: Call) -> Answer:
        return Answer(200, Page([source_view(source) for source in await list_sources(d)], False, None))

    async def delete(call: Call) -> Answer:
        await delete_source(d, call.path_params["source"], call.request())
        return Answer(204)

    return (
        Route(
            method="POST",
            path="/v1/alert_sources",
            endpoint=create,
            operation_id="createAlertSource",
            summary="Let a tool send alerts; the answer shows its token, once",
            scope=WRITE,
            body=CreateAlertSource,
            answers={201: Described(AlertSourceView, "With `token`, which is never shown again.")},
            problems=(409, 503),
            tags=TAGS,
            example={"id": "prometheus", "name": "Prometheus", "format": "alertmanager", "proof": "bearer"},
            links=(
                Link("delete", 201, "deleteAlertSource", {"source": BY_ID["id"]}, "Take nothing from it any more."),
            ),
        ),
        Route(
            method="GET",
            path="/v1/alert_sources",
            endpoint=list_all,
            operation_id="listAlertSources",
            summary="Tools that may send alerts, by id: all of them",
            scope=READ,
            answers={200: SourcePage},
            tags=TAGS,
        ),
        Route(
            method="DELETE",
            path="/v1/alert_sources/{source}",
            endpoint=delete,
            operation_id="deleteAlertSource",
            summary="Take nothing from a tool any more; its alerts stay as they are",
            scope=WRITE,
            path_patterns=SOURCE_PATH,
            answers={204: Described(None, "Deleted.")},
            problems=(409, 503),
            tags=TAGS,
        ),
    )


RULES_EXAMPLE = {
    "version": 0,
    "rules": [
        {
            "id": "by-provider",
            "matchers": [{"field": "name", "op": "=~", "value": "Payment*"}],
            "action": {"type": "group", "by": ["name", "labels.provider"]},
            "comment": "one alert for each provider, however many merchants it hits",
        }
    ],
}
