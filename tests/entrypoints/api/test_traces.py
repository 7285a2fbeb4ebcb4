"""One trace from a merchant's request, through the provider, to the webhook: in spans, in the log, and on the wire."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from interlock import bootstrap
from interlock.backends.telemetry import PlatformTelemetry
from tests.entrypoints.api.beside import CARD, beside

pytestmark = pytest.mark.xdist_group("api-access")

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SALE: dict[str, Any] = {"amount": 1999, "currency": "EUR", "payment_method": CARD}


class Watched:
    """What the platform of a test tells: spans and log lines."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.stream = io.BytesIO()
        self.telemetry: PlatformTelemetry | None = None

    def make(self, *, stream: Any = None, **settings: Any) -> PlatformTelemetry:
        self.telemetry = PlatformTelemetry(
            stream=self.stream, exporter=self.exporter, **{**settings, "otlp_endpoint": ""}
        )
        return self.telemetry

    def spans(self, trace_id: str) -> list[Any]:
        assert self.telemetry is not None
        assert self.telemetry._recorder is not None
        self.telemetry._recorder.flush()
        return [one for one in self.exporter.get_finished_spans() if f"{one.context.trace_id:032x}" == trace_id]

    def lines(self, trace_id: str) -> list[Any]:
        found = [msgspec.json.decode(line) for line in self.stream.getvalue().splitlines()]
        return [line for line in found if line["trace_id"] == trace_id]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    watched = Watched()
    monkeypatch.setattr(bootstrap, "PlatformTelemetry", watched.make)
    return watched


@pytest.fixture
async def hook():
    came: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(asked: web.Request) -> web.Response:
        came.put_nowait(await asked.read())
        return web.Response(status=204)

    application = web.Application()
    application.router.add_post("/hook", take)
    async with TestServer(application) as server:
        yield str(server.make_url("/hook")), came


async def sale_and_its_webhooks(world, hook, **headers: str) -> dict[str, Any]:
    url, came = hook
    await world.ask_whole("POST", "/v1/webhook_endpoints", {"url": url, "events": ["payment.succeeded"]})
    status, _, payment = await world.ask_whole("POST", "/v1/payments", SALE, key="k1", **headers)
    assert status == 201
    async with asyncio.timeout(20):
        assert msgspec.json.decode(await came.get())["data"]["payment"]["id"] == payment["id"]
        while await world.metric("interlock_webhook_deliveries_total", result="accepted") < 1:
            await asyncio.sleep(0.02)
    return payment


async def test_sampled_request_is_one_trace_to_the_provider_and_to_the_webhook(tmp_path, watched, hook):
    async with beside(tmp_path) as world:
        await sale_and_its_webhooks(world, hook, traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
        spans = {span.name: span for span in watched.spans(TRACE)}
        assert set(spans) == {"http.request", "provider.call", "webhook.attempt"}
        request, call, attempt = spans["http.request"], spans["provider.call"], spans["webhook.attempt"]
        assert f"{request.parent.span_id:016x}" == "00f067aa0ba902b7"
        assert call.parent.span_id == attempt.parent.span_id == request.context.span_id
        assert (request.attributes["route"], request.attributes["status"]) == ("/v1/payments", 201)
        assert (call.attributes["provider"], call.attributes["outcome"]) == ("simulator", "approved")
        assert attempt.attributes["status"] == 204
        assert {line["event"] for line in watched.lines(TRACE)} >= {"payment.created", "payment.succeeded"}


async def test_request_that_is_not_sampled_leaves_no_span_and_is_found_in_the_log_all_the_same(tmp_path, watched, hook):
    async with beside(tmp_path, trace_sample_ratio=1.0) as world:
        await sale_and_its_webhooks(world, hook, traceparent=f"00-{TRACE}-00f067aa0ba902b7-00")
        assert watched.spans(TRACE) == []
        assert {line["event"] for line in watched.lines(TRACE)} >= {"payment.created", "payment.succeeded"}


@pytest.mark.parametrize("broken", ["nonsense", f"00-{TRACE}-0000000000000000-01", f"ff-{TRACE}-00f067aa0ba902b7-01"])
async def test_malformed_traceparent_is_ignored_and_a_new_trace_begins(tmp_path, watched, broken):
    async with beside(tmp_path, trace_sample_ratio=1.0) as world:
        status, _, _ = await world.ask_whole("POST", "/v1/payments", SALE, key="k1", traceparent=broken)
        assert status == 201
        assert watched.spans(TRACE) == []
        [call] = [span for span in watched.exporter.get_finished_spans() if span.name == "provider.call"]
        names = {span.name for span in watched.spans(f"{call.context.trace_id:032x}")}
        assert names == {"http.request", "provider.call"}
