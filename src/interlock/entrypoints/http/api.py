"""The whole API: every route module's routes in one application."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from interlock.bootstrap import Platform
from interlock.core.access.authentication import Authenticator
from interlock.core.kernel.errors import WriteConflict
from interlock.core.kernel.store import ABSENT, Key, Put
from interlock.core.payments.timeline import Timeline
from interlock.entrypoints.explain import explain_payment
from interlock.entrypoints.http.alert_routes import alert_routes
from interlock.entrypoints.http.app import Edge, HttpApp
from interlock.entrypoints.http.desk_routes import desk_routes
from interlock.entrypoints.http.graphql_routes import graphql_routes
from interlock.entrypoints.http.health import Readiness, health_routes
from interlock.entrypoints.http.ledger_routes import ledger_routes
from interlock.entrypoints.http.notification_routes import notification_routes
from interlock.entrypoints.http.oauth import OAuth, oauth_routes
from interlock.entrypoints.http.objective_routes import objective_routes
from interlock.entrypoints.http.openapi import openapi_document
from interlock.entrypoints.http.payment_routes import payment_routes
from interlock.entrypoints.http.repair_routes import repair_routes
from interlock.entrypoints.http.replay_routes import replay_routes
from interlock.entrypoints.http.routing import Route
from interlock.entrypoints.http.routing_routes import routing_routes
from interlock.entrypoints.http.webhook_routes import webhook_routes

PROBE = Key("platform/probe", "readiness")
PROBE_BYTES = 32_768
"""What a payment's commits may take: where there is room for less, the next payment cannot be kept."""


def api(platform: Platform, *, prefix: str = "/") -> HttpApp:
    """The ASGI application over a platform; of it only the paths that begin with `prefix`."""
    return HttpApp([one for one in routes(platform) if one.path.startswith(prefix)], _edge(platform))


def _edge(platform: Platform) -> Edge:
    storage = platform.storage
    return Edge(
        authenticate=platform.callers.authenticate,
        take=platform.callers.take,
        telemetry=storage.telemetry,
        ids=storage.ids,
        body_bytes_max=platform.settings.body_bytes_max,
    )


def worker_api(platform: Platform) -> HttpApp:
    """What a worker in a process of its own shows of itself: whether it lives, whether it can commit, what it counts."""
    storage = platform.storage
    readiness = Readiness(lambda: _probe(platform), storage.clock)
    every = health_routes(readiness, storage.telemetry.exposition, bytes)
    return HttpApp([one for one in every if one.path != "/openapi.json"], _edge(platform))


def routes(platform: Platform) -> tuple[Route, ...]:
    """Every route. Nothing of `platform` is used before a request comes in."""

    async def explain(tenant: str, payment_id: str) -> Timeline:
        return await explain_payment(platform, tenant, payment_id)

    storage = platform.storage
    oauth = OAuth(platform.access, Authenticator(platform.access), storage.telemetry)
    documented: tuple[Route, ...] = (
        *payment_routes(platform.payments, storage.documents, explain),
        *ledger_routes(storage.store, storage.documents, storage.clock),
        *routing_routes(platform.payments),
        *webhook_routes(platform.webhooks),
        *notification_routes(platform.notifications),
        *alert_routes(platform.desk.alerts),
        *desk_routes(platform),
        *repair_routes(platform),
        *replay_routes(platform),
        *objective_routes(platform),
        *graphql_routes(platform),
        *oauth_routes(oauth),
    )
    readiness = Readiness(lambda: _probe(platform), storage.clock)
    made: list[bytes] = []

    def document() -> bytes:
        if not made:
            made.append(msgspec.json.encode(openapi_document(every)))
        return made[0]

    every = (*documented, *health_routes(readiness, storage.telemetry.exposition, document))
    return every


def described_routes() -> tuple[Route, ...]:
    """The same routes without a platform behind them, to describe and not to call."""
    return routes(cast(Platform, Nothing()))


async def _probe(platform: Platform) -> None:
    """A real commit: the only honest sign that the next one will do. The room it takes is given back at once."""
    store = platform.storage.store
    item = await store.get(PROBE)
    version = item.version if item else ABSENT
    try:
        await store.commit([Put(PROBE, bytes(PROBE_BYTES), version)])
        await store.commit([Put(PROBE, b"", version + 1)])
    except WriteConflict:
        return  # another node's probe was faster, so the store commits


class Nothing:
    """Stands for a platform where none is needed."""

    def __getattr__(self, name: str) -> Any:
        return self
