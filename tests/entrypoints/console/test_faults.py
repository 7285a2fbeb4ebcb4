"""A page that cannot be made: somebody is told, it is in the log, and nothing of it is shown."""

from __future__ import annotations

import random

import pytest

from interlock.backends.local.ids import SystemIds
from interlock.backends.memory.store import MemoryStore
from interlock.core.access.rates import RateLimit, RateLimiter
from interlock.core.desk.operators.ports import Operators
from interlock.core.desk.operators.refusals import Refusals
from interlock.entrypoints.console.app import ConsoleApp, Frame
from interlock.entrypoints.console.live import Live
from interlock.entrypoints.console.pages import Asked, Page, Reply, Shown
from tests.clocks import ManualClock
from tests.core.desk.operators.quick import digest_of
from tests.telemetry import RecordingTelemetry

SECRET = "4242 4242"


async def ask(telemetry: RecordingTelemetry, *, frame_is_whole: bool) -> tuple[int, str]:
    clock = ManualClock()
    operators = Operators(
        MemoryStore(clock),
        clock,
        SystemIds(clock),
        random.Random(1).randbytes,
        RateLimiter(RateLimit(1.0, 5)),
        digest_of,
        Refusals(),
    )

    async def broken(asked: Asked) -> Reply:
        return Shown("queue.html", {"title": SECRET})

    async def marks() -> dict[str, str]:
        return {}

    def static(name: str) -> str:
        return name if frame_is_whole else {}[name]

    app = ConsoleApp(
        [Page("GET", "/broken", broken, None)],
        operators=operators,
        telemetry=telemetry,
        origin="http://127.0.0.1",
        frame=Frame((), static),
        live=Live(marks, clock),
    )
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/console/broken", "query_string": b"", "headers": []}
    await app(scope, None, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent).decode()


@pytest.mark.parametrize(("frame_is_whole", "words"), [(True, "It is in the log"), (False, "A fault of ours.")])
async def test_fault_in_a_template_is_reported_and_answered(frame_is_whole, words):
    telemetry = RecordingTelemetry()
    status, page = await ask(telemetry, frame_is_whole=frame_is_whole)
    assert status == 500 and words in page and SECRET not in page
    assert telemetry.alarms() == ["http.request_failed"]
