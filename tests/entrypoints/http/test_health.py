"""Health, readiness, metrics and the document."""

from __future__ import annotations

import asyncio

import pytest

from interlock.core.kernel.errors import OutcomeUnknown, StoreUnavailable
from interlock.entrypoints.http import health
from interlock.entrypoints.http.health import READY_KEPT_S, Readiness
from tests.clocks import ManualClock
from tests.entrypoints.http.example import request, speak


class Probe:
    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def __call__(self) -> None:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error


async def test_probe_is_asked_once_a_second_whatever_it_said():
    probe, clock = Probe(), ManualClock()
    readiness = Readiness(probe, clock)
    await readiness.check()
    probe.error = StoreUnavailable("full")
    await readiness.check()
    assert probe.asked == 1
    clock.advance(READY_KEPT_S)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await readiness.check()
    assert probe.asked == 2
    probe.error = None
    clock.advance(READY_KEPT_S)
    await readiness.check()
    assert probe.asked == 3


async def test_those_who_ask_meanwhile_share_one_probe():
    probe = Probe()
    probe.gate = asyncio.Event()
    readiness = Readiness(probe, ManualClock())
    waiting = [asyncio.create_task(readiness.check()) for _ in range(10)]
    await asyncio.sleep(0)
    probe.gate.set()
    await asyncio.gather(*waiting)
    assert probe.asked == 1


async def test_probe_that_hangs_is_a_store_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(health, "READY_TIMEOUT_S", 0.01)
    probe = Probe()
    probe.gate = asyncio.Event()
    with pytest.raises(StoreUnavailable, match="in time"):
        await Readiness(probe, ManualClock()).check()


@pytest.mark.parametrize("error", [StoreUnavailable("disk full at /secret/path"), OutcomeUnknown("who knows")])
async def test_not_ready_is_a_503_problem_without_the_cause(served, error):
    served.example.probe_error = error
    answer = await speak(served.port, request("GET", "/readyz", token=None))
    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "store_unavailable", "2")
    assert b"secret" not in answer.body
    assert (await speak(served.port, request("GET", "/healthz", token=None))).json == {"status": "ok"}


async def test_metrics_and_document_are_served_open(served):
    metrics = await speak(served.port, request("GET", "/metrics?x=1", token=None))
    assert (metrics.status, metrics.body) == (200, b"metric 1\n")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    document = await speak(served.port, request("GET", "/openapi.json", token=None))
    assert document.json["openapi"] == "3.1.0"
