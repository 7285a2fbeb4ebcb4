"""The whole console: every page, joined over a platform."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2s
from typing import NamedTuple, cast

from interlock.bootstrap import Platform, queue_names
from interlock.core.desk.alerts.listing import Wanted, find_alerts, list_open
from interlock.core.desk.figures.model import ATTEMPTS, DESK
from interlock.core.desk.operators.roles import Permission
from interlock.core.desk.replay.records import list_replays
from interlock.entrypoints.console.admin_pages import admin_pages
from interlock.entrypoints.console.alert_pages import alert_pages
from interlock.entrypoints.console.app import ConsoleApp, Frame
from interlock.entrypoints.console.cause_pages import cause_pages
from interlock.entrypoints.console.desk import Desk
from interlock.entrypoints.console.issuer_pages import issuer_pages
from interlock.entrypoints.console.live import Live, live_pages
from interlock.entrypoints.console.objective_pages import objective_pages
from interlock.entrypoints.console.overview_pages import overview_pages
from interlock.entrypoints.console.pages import ROOT, Page
from interlock.entrypoints.console.payment_pages import payment_pages
from interlock.entrypoints.console.platform_pages import platform_pages
from interlock.entrypoints.console.queue_pages import queue_pages
from interlock.entrypoints.console.repair_pages import repair_pages
from interlock.entrypoints.console.replay_pages import replay_pages
from interlock.entrypoints.console.risk_pages import risk_pages
from interlock.entrypoints.console.runbook_pages import runbook_pages
from interlock.entrypoints.console.sign_in_pages import sign_in_pages
from interlock.entrypoints.console.sql_pages import sql_pages
from interlock.entrypoints.console.standings import Standings
from interlock.entrypoints.console.static_pages import Static
from interlock.entrypoints.http.api import Nothing
from interlock.entrypoints.http.app import HttpApp, Receive, Scope, Send


class Link(NamedTuple):
    name: str
    path: str
    """Behind ROOT."""
    permission: Permission | None = None


class Group(NamedTuple):
    name: str
    links: tuple[Link, ...]


ALERTS_LOOKED_AT = 20
"""The newest of any state, beside those that are open."""
REPLAYS_LOOKED_AT = 10
NAVIGATION = (
    Group(
        "Now",
        (
            Link("Overview", ""),
            Link("Alerts", "/alerts"),
            Link("Money at risk", "/risk"),
            Link("Repairs", "/repairs"),
            Link("Objectives", "/objectives"),
        ),
    ),
    Group(
        "Payments",
        (
            Link("All payments", "/payments"),
            Link("Causes", "/causes"),
            Link("Blast radius", "/blast"),
            Link("SQL", "/sql", Permission.RUN_SQL),
        ),
    ),
    Group(
        "Platform",
        (
            Link("Providers", "/providers"),
            Link("Webhooks", "/webhooks"),
            Link("Queues", "/queues"),
            Link("Replays", "/replays"),
            Link("Ledger", "/ledger"),
        ),
    ),
    Group(
        "Access", (Link("People", "/people", Permission.SEE_AUDIT), Link("Audit trail", "/audit", Permission.SEE_AUDIT))
    ),
)


class Front:
    """Console and API at one address."""

    def __init__(self, api: HttpApp, console: ConsoleApp) -> None:
        self._api = api
        self._console = console

    def close(self) -> None:
        """End the streams to open pages, so that the server may stop."""
        self._console.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        ours = scope["type"] == "http" and (path == ROOT or path.startswith(f"{ROOT}/"))
        if ours and scope["method"] in ("GET", "HEAD", "POST"):
            await self._console(scope, receive, send)
        else:
            await self._api(scope, receive, send)


def console(platform: Platform, *, streams: bool = True) -> ConsoleApp:
    """`streams`: what stands before this process carries answers that go on."""
    storage = platform.storage
    static = Static()

    async def marks() -> Mapping[str, str]:
        return await _marks(platform)

    live = Live(marks, storage.clock, streams=streams)
    return ConsoleApp(
        [*_pages(platform), *live_pages(live), *static.pages()],
        operators=platform.desk.operators,
        telemetry=storage.telemetry,
        origin=platform.issuer,
        frame=Frame(NAVIGATION, static.address),
        live=live,
    )


def described_pages() -> list[Page]:
    """The same pages without a platform behind them, to describe and not to call."""
    return [*_pages(cast(Platform, Nothing())), *live_pages(cast(Live, Nothing())), *Static().pages()]


def _pages(platform: Platform) -> list[Page]:
    desk = Desk(platform, platform.desk.operators, platform.desk.tallies)
    standings = Standings(platform.desk.objectives)
    return [
        *sign_in_pages(desk),
        *issuer_pages(desk),
        *overview_pages(desk, standings),
        *payment_pages(desk),
        *risk_pages(desk),
        *repair_pages(desk),
        *replay_pages(desk),
        *platform_pages(desk),
        *queue_pages(desk),
        *objective_pages(desk, standings),
        *alert_pages(desk),
        *sql_pages(desk),
        *cause_pages(desk),
        *runbook_pages(),
        *admin_pages(desk),
    ]


async def _marks(platform: Platform) -> Mapping[str, str]:
    """What has changed since somebody last looked."""
    latest = await platform.storage.documents.find(ATTEMPTS.name, tenant=DESK, limit=1)
    alerts = await list_open(platform.desk.alerts)
    alerts += (await find_alerts(platform.desk.alerts, Wanted(), limit=ALERTS_LOOKED_AT)).alerts
    replays = await list_replays(platform.storage.store, limit=REPLAYS_LOOKED_AT)
    depths = [await platform.storage.queue.depth(name) for name in queue_names(platform)]
    return {
        "payments": latest[0].id if latest else "",
        "alerts": blake2s("".join(f"{one.id}{one.state}{one.count}" for one in alerts).encode()).hexdigest(),
        "replays": "/".join(f"{one.id[-6:]}.{one.stage[:3]}.{one.left}" for one in replays),
        "queues": "/".join(f"{depth.ready}.{depth.dead}" for depth in depths),
    }
