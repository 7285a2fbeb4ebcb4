"""The telemetry port on structlog, prometheus-client and OpenTelemetry."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, BinaryIO

import msgspec
import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from interlock.backends.telemetry.vocabulary import LATENCY_BUCKETS, LOG_FIELDS, METRICS
from interlock.core.kernel.telemetry import Field, Span

_OWN_FIELDS = frozenset({"event", "trace_id"})
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_current: ContextVar[_Here | None] = ContextVar("interlock_span", default=None)


class _Here:
    """Where in which trace this task is; `recorded` only when the trace is sampled."""

    __slots__ = ("recorded", "span_id", "trace_id")

    def __init__(self, trace_id: int, span_id: int, recorded: Any | None) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.recorded = recorded

    def set(self, **attributes: Field) -> None:
        if self.recorded is not None:
            for name, value in attributes.items():
                if value is not None:
                    self.recorded.set_attribute(name, value)

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{'01' if self.recorded is not None else '00'}"


class PlatformTelemetry:
    """Logs as JSON lines to a stream, metrics in a registry of its own, traces to an exporter when there is one."""

    def __init__(
        self,
        *,
        stream: BinaryIO | None = None,
        level: str = "info",
        sample_ratio: float = 0.0,
        otlp_endpoint: str = "",
        exporter: SpanExporter | None = None,
    ) -> None:
        self._log = structlog.wrap_logger(
            structlog.BytesLogger(stream if stream is not None else sys.stdout.buffer),
            processors=[
                self._keep_listed,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(serializer=_encode),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
            cache_logger_on_first_use=True,
        )
        self.registry = CollectorRegistry()
        self._metrics = {name: self._metric(name) for name in METRICS}
        self._children: dict[tuple[str, ...], Any] = {}
        self._sample_ratio = sample_ratio
        self._provider = _tracer_provider(exporter, otlp_endpoint)
        self._tracer = self._provider.get_tracer("interlock") if self._provider else None

    # -- logs ---------------------------------------------------------------------------------------------------

    def info(self, event: str, **fields: Field) -> None:
        self._log.info(event, **fields)

    def warning(self, event: str, **fields: Field) -> None:
        self._log.warning(event, **fields)

    def error(self, event: str, **fields: Field) -> None:
        self._log.error(event, **fields)
        self.count("interlock_alarms_total", event=event)

    def _keep_listed(self, _logger: Any, _method: str, line: Any) -> Any:
        for name in [name for name in line if name not in _OWN_FIELDS and name not in LOG_FIELDS]:
            del line[name]
            self._dropped()
        if "trace_id" not in line:
            here = _current.get()
            line["trace_id"] = f"{here.trace_id:032x}" if here is not None else ""
        return line

    # -- metrics ------------------------------------------------------------------------------------------------

    def count(self, metric: str, amount: int = 1, **labels: str) -> None:
        if (child := self._child(metric, labels)) is not None:
            child.inc(amount)

    def observe(self, metric: str, value: float, **labels: str) -> None:
        if (child := self._child(metric, labels)) is not None:
            child.observe(value)

    def gauge(self, metric: str, value: float, **labels: str) -> None:
        if (child := self._child(metric, labels)) is not None:
            child.set(value)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _metric(self, name: str) -> Counter | Gauge | Histogram:
        kind, text, labels = METRICS[name]
        if kind == "counter":
            return Counter(name, text, labels, registry=self.registry)
        if kind == "gauge":
            return Gauge(name, text, labels, registry=self.registry)
        return Histogram(name, text, labels, registry=self.registry, buckets=LATENCY_BUCKETS)

    def _child(self, metric: str, labels: dict[str, str]) -> Any:
        """The time series for these labels; remembered, because finding it costs more than counting."""
        key = (metric, *labels.values())
        child = self._children.get(key)
        if child is None:
            if metric not in METRICS or set(labels) != set(METRICS[metric].labels):
                self._dropped()
                return None
            family = self._metrics[metric]
            child = family.labels(**labels) if labels else family
            if tuple(labels) == METRICS[metric].labels:
                self._children[key] = child
        return child

    def _dropped(self) -> None:
        self._metrics["interlock_telemetry_dropped_total"].inc()  # type: ignore[union-attr]

    # -- traces -------------------------------------------------------------------------------------------------

    def span(
        self, name: str, *, parent: str = "", links: tuple[str, ...] = (), **attributes: Field
    ) -> AbstractContextManager[Span]:
        return self._span(name, parent, links, attributes)

    @contextmanager
    def _span(self, name: str, parent: str, links: tuple[str, ...], attributes: dict[str, Field]) -> Iterator[Span]:
        here = self._enter(name, parent, links)
        here.set(**attributes)
        token = _current.set(here)
        try:
            yield here
        except BaseException as error:
            if here.recorded is not None:
                here.recorded.record_exception(error)
            raise
        finally:
            _current.reset(token)
            if here.recorded is not None:
                here.recorded.end()

    def _enter(self, name: str, parent: str, links: tuple[str, ...]) -> _Here:
        around = _current.get()
        above = _parsed(parent)
        if above is None and around is not None:
            above = (around.trace_id, around.span_id, around.recorded is not None)
        trace_id = above[0] if above else random.getrandbits(128) or 1
        sampled = above[2] if above else random.random() < self._sample_ratio  # noqa: S311
        if not sampled or self._tracer is None:
            return _Here(trace_id, random.getrandbits(64) or 1, None)
        context = set_span_in_context(NonRecordingSpan(_context(*above))) if above else None
        linked = [Link(_context(*found)) for link in links if (found := _parsed(link)) is not None]
        recorded = self._tracer.start_span(name, context=context, links=linked)
        context_of = recorded.get_span_context()
        return _Here(context_of.trace_id, context_of.span_id, recorded)

    def close(self) -> None:
        """Send what is left."""
        if self._provider is not None:
            self._provider.shutdown()


def _tracer_provider(exporter: SpanExporter | None, otlp_endpoint: str) -> TracerProvider | None:
    if exporter is None and otlp_endpoint:
        exporter = OTLPSpanExporter(endpoint=otlp_endpoint)
    if exporter is None:
        return None
    provider = TracerProvider(resource=Resource.create({"service.name": "interlock"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _parsed(traceparent: str) -> tuple[int, int, bool] | None:
    parts = traceparent.split("-")
    if len(parts) != 4 or len(parts[1]) != 32 or len(parts[2]) != 16:
        return None
    try:
        trace_id, span_id, flags = int(parts[1], 16), int(parts[2], 16), int(parts[3], 16)
    except ValueError:
        return None
    return (trace_id, span_id, bool(flags & 1)) if trace_id and span_id else None


def _context(trace_id: int, span_id: int, sampled: bool) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED if sampled else 0))


def _encode(line: Any, **_: Any) -> bytes:
    return msgspec.json.encode(line)
