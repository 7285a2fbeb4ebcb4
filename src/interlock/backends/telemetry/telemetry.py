"""The telemetry port: lines of JSON, prometheus-client, OpenTelemetry."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from interlock.backends.telemetry.lines import Lines
from interlock.backends.telemetry.observing import Watch, kept, payment_of
from interlock.backends.telemetry.traceparent import Place, parsed, written
from interlock.backends.telemetry.vocabulary import LATENCY_BUCKETS, LOG_FIELDS, METRICS
from interlock.core.desk.explain.model import ObservedLine
from interlock.core.desk.explain.ports import Observer
from interlock.core.kernel.clock import rfc3339
from interlock.core.kernel.telemetry import Field

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from interlock.backends.telemetry.recording import Recorder

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_FIELDS = LOG_FIELDS | {"trace_id"}
_encode = msgspec.json.Encoder().encode


class Sink(Protocol):
    """Takes measures on their way to somebody who will not ask for them."""

    def record(self, metric: str, kind: str, value: float, labels: Mapping[str, str]) -> None: ...

    def flush(self) -> None: ...


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
        sink: Sink | None = None,
        observer: Observer | None = None,
    ) -> None:
        """`sink` is told every measure, too: where nobody comes to fetch them. `observer` is told what is said of payments."""
        self._lines = Lines(stream if stream is not None else sys.stdout.buffer, self._line_lost)
        self._least = _LEVELS[level]
        self.registry = CollectorRegistry()
        self._metrics = {name: self._metric(name) for name in METRICS}
        self._children: dict[tuple[str, ...], Any] = {}
        self._sample_ratio = sample_ratio
        self._sink = sink
        self._observer = observer
        self._recorder = _recorder(exporter, otlp_endpoint)

    # -- logs ---------------------------------------------------------------------------------------------------

    def info(self, event: str, **fields: Field) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Field) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Field) -> None:
        self._write("error", event, fields)
        self.count("interlock_alarms_total", event=event)

    def _write(self, level: str, event: str, fields: dict[str, Field]) -> None:
        if _LEVELS[level] < self._least:
            return
        at = time.time_ns() // 1_000_000
        line: dict[str, Field] = {"timestamp": rfc3339(at), "level": level, "event": event}
        for name, value in fields.items():
            if name in _FIELDS:
                line[name] = value
            else:
                self._dropped()
        here = _current.get()
        if "trace_id" not in line:
            line["trace_id"] = f"{here.place.trace_id:032x}" if here is not None else ""
        self._lines.write(_encode(line) + b"\n")
        if self._observer is not None:
            self._observe(self._observer, at, line, here.watch if here is not None else None)

    def _observe(self, observer: Observer, at: int, line: dict[str, Field], watch: Watch | None) -> None:
        """Hand on a line that names a payment, or was said in a span."""
        payment_id = payment_of(line)
        if not payment_id and watch is None:
            return
        fields = kept(line)
        del fields["timestamp"]
        level, event, trace = (str(fields.pop(name)) for name in ("level", "event", "trace_id"))
        said = ObservedLine(at, level, event, trace, fields)
        if payment_id:
            observer.note_line(payment_id, said)
        elif watch is not None:
            watch.said(said)

    # -- metrics ------------------------------------------------------------------------------------------------

    def count(self, metric: str, amount: int = 1, **labels: str) -> None:
        if (child := self._child(metric, labels)) is not None:
            child.inc(amount)
            self._tell(metric, amount, labels)

    def observe(self, metric: str, value: float, **labels: str) -> None:
        if (child := self._child(metric, labels)) is not None:
            child.observe(value)
            self._tell(metric, value, labels)

    def gauge(self, metric: str, value: float, **labels: str) -> None:
        if (child := self._child(metric, labels)) is not None:
            child.set(value)
            self._tell(metric, value, labels)

    def _tell(self, metric: str, value: float, labels: dict[str, str]) -> None:
        if self._sink is not None:
            self._sink.record(metric, METRICS[metric].kind, value, labels)

    def flush(self) -> None:
        """Hand on what was measured since the last time: at the end of a function's call."""
        if self._sink is not None:
            self._sink.flush()

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

    def _line_lost(self) -> None:
        self._metrics["interlock_log_lines_lost_total"].inc()  # type: ignore[union-attr]

    def _dropped(self) -> None:
        self._metrics["interlock_telemetry_dropped_total"].inc()  # type: ignore[union-attr]

    # -- traces -------------------------------------------------------------------------------------------------

    def span(self, name: str, *, parent: str = "", links: tuple[str, ...] = (), **attributes: Field) -> PlatformSpan:
        """A span that begins here and ends with the `with` block."""
        around = _current.get()
        above = parsed(parent) or (around.place if around is not None else None)
        trace_id = above.trace_id if above else random.getrandbits(128) or 1
        sampled = above.sampled if above else random.random() < self._sample_ratio  # noqa: S311
        if not sampled or self._recorder is None:
            recorded, place = None, Place(trace_id, random.getrandbits(64) or 1, False)
        else:
            linked = [other for link in links if (other := parsed(link)) is not None]
            recorded = self._recorder.start(name, above, linked)
            context = recorded.get_span_context()
            place = Place(context.trace_id, context.span_id, True)
        watch = None
        if self._observer is not None:
            inside = around.watch if around is not None and above is around.place else None
            watch = Watch(self._observer, name, place, above, inside, self._dropped)
        span = PlatformSpan(place, recorded, watch)
        if recorded is not None or watch is not None:
            span.set(**attributes)
        return span

    def about(self, payment_id: str) -> None:
        here = _current.get()
        if here is not None and here.watch is not None:
            here.watch.about(payment_id)

    def close(self) -> None:
        """Send what is left."""
        if self._recorder is not None:
            self._recorder.close()


class PlatformSpan:
    """Where in which trace a task is; `recorded` only when the trace is sampled, `watch` where stories are kept."""

    __slots__ = ("_before", "_recorded", "place", "watch")

    def __init__(self, place: Place, recorded: Any | None, watch: Watch | None) -> None:
        self.place = place
        self._recorded = recorded
        self.watch = watch
        self._before: Token[PlatformSpan | None] | None = None

    def __enter__(self) -> Self:
        self._before = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._before is not None
        _current.reset(self._before)
        if self._recorded is not None:
            if error is not None:
                self._recorded.record_exception(error)
            self._recorded.end()
        if self.watch is not None:
            self.watch.end(kind.__name__ if kind is not None else "")

    def set(self, **attributes: Field) -> None:
        if self._recorded is not None:
            for name, value in attributes.items():
                if value is not None:
                    self._recorded.set_attribute(name, value)
        if self.watch is not None:
            self.watch.set(attributes)

    @property
    def traceparent(self) -> str:
        return written(self.place)


_current: ContextVar[PlatformSpan | None] = ContextVar("interlock_span", default=None)


def _recorder(exporter: SpanExporter | None, otlp_endpoint: str) -> Recorder | None:
    if exporter is None and not otlp_endpoint:
        return None
    from interlock.backends.telemetry.recording import Recorder, otlp  # heavy, and seldom needed

    return Recorder(exporter or otlp(otlp_endpoint))
