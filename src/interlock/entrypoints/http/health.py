"""Whether the process lives, whether it can take work, what it counts, and the description of the API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec

from interlock.core.kernel.clock import Clock
from interlock.core.kernel.errors import OutcomeUnknown, StoreUnavailable, Unavailable
from interlock.entrypoints.http.routing import Answer, Call, Described, Route

METRICS_TEXT = "text/plain; version=0.0.4; charset=utf-8"
READY_KEPT_S = 1.0
"""For so long one probe's result stands, so that those who ask cannot load the store."""
READY_TIMEOUT_S = 2.0
RETRY_AFTER_S = 2

Probe = Callable[[], Awaitable[None]]
"""Makes one small, real commit. Raises whatever the store raises."""


class Health(msgspec.Struct, frozen=True):
    status: Literal["ok"] = "ok"


class Readiness:
    """Asks the probe at most once a second, and once for all who ask meanwhile."""

    def __init__(self, probe: Probe, clock: Clock) -> None:
        self._probe = probe
        self._clock = clock
        self._until = float("-inf")
        self._cause: str | None = None
        self._asking = asyncio.Lock()

    async def check(self) -> None:
        """Raises StoreUnavailable when the last probe failed or took longer than READY_TIMEOUT_S."""
        if self._clock.monotonic() >= self._until:
            async with self._asking:
                if self._clock.monotonic() >= self._until:
                    self._cause = await self._ask()
                    self._until = self._clock.monotonic() + READY_KEPT_S
        if self._cause is not None:
            raise StoreUnavailable(self._cause, retry_after_s=RETRY_AFTER_S)

    async def _ask(self) -> str | None:
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await self._probe()
        except TimeoutError:
            return "the store does not answer in time"
        except (Unavailable, OutcomeUnknown):
            return "the store cannot commit"
        return None


def health_routes(
    readiness: Readiness, metrics: Callable[[], bytes], document: Callable[[], bytes]
) -> tuple[Route, ...]:
    """`metrics` gives Prometheus text, `document` the OpenAPI document."""

    async def healthz(_: Call) -> Answer:
        return Answer(200, Health())

    async def readyz(_: Call) -> Answer:
        await readiness.check()
        return Answer(200, Health())

    async def show_metrics(_: Call) -> Answer:
        return Answer(200, metrics(), media_type=METRICS_TEXT)

    async def openapi(_: Call) -> Answer:
        return Answer(200, document())

    def route(
        path: str, endpoint: Callable[[Call], Awaitable[Answer]], operation_id: str, summary: str, answer: object
    ) -> Route:
        return Route(
            method="GET",
            path=path,
            endpoint=endpoint,
            operation_id=operation_id,
            summary=summary,
            answers={200: answer},
            problems=(503,),
            tags=("operations",),
        )

    return (
        route("/healthz", healthz, "getHealth", "The process answers", Health),
        route("/readyz", readyz, "getReadiness", "The store commits: work can be taken", Health),
        route(
            "/metrics",
            show_metrics,
            "getMetrics",
            "Metrics in Prometheus' text format",
            Described(str, "Metrics.", METRICS_TEXT),
        ),
        route("/openapi.json", openapi, "getOpenApi", "This document", Described(dict[str, Any], "OpenAPI 3.1.")),
    )
