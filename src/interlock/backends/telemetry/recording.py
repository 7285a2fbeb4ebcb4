"""Spans as OpenTelemetry's, for traces that are sampled. Loaded only where an exporter is configured: it takes long."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, TraceFlags, set_span_in_context

from interlock.backends.telemetry.traceparent import Place


class Recorder:
    """Makes spans and exports them in batches, in a thread of its own."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._provider = TracerProvider(resource=Resource.create({"service.name": "interlock"}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("interlock")

    def start(self, name: str, above: Place | None, links: Iterable[Place]) -> Span:
        context = set_span_in_context(NonRecordingSpan(_context(above))) if above else None
        return self._tracer.start_span(name, context=context, links=[Link(_context(place)) for place in links])

    def flush(self) -> None:
        """Export what has ended so far."""
        self._provider.force_flush()

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def otlp(endpoint: str) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # heavy, too

    return OTLPSpanExporter(endpoint=endpoint)


def _context(place: Place) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if place.sampled else 0)
    return SpanContext(place.trace_id, place.span_id, is_remote=True, trace_flags=flags)
