"""Logs, metrics and traces say what they should, and nothing that is not in the vocabulary."""

import errno
import io
import json
import re
from pathlib import Path

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from interlock.backends.telemetry import PlatformTelemetry
from interlock.backends.telemetry.vocabulary import LOG_FIELDS, METRICS

SRC = Path(__file__).parents[3] / "src"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_log_line_keeps_listed_fields_and_drops_the_rest():
    stream = io.BytesIO()
    telemetry = PlatformTelemetry(stream=stream)
    telemetry.info("payment.authorized", payment_id="pay_1", card_number="4242424242424242")
    (line,) = lines(stream)
    assert line["event"] == "payment.authorized"
    assert line["payment_id"] == "pay_1"
    assert line["level"] == "info"
    assert "4242" not in stream.getvalue().decode()
    assert b"interlock_telemetry_dropped_total 1.0" in telemetry.exposition()


def test_a_line_below_the_level_is_not_written():
    stream = io.BytesIO()
    PlatformTelemetry(stream=stream, level="warning").info("payment.authorized")
    assert stream.getvalue() == b""


def test_an_error_is_counted_as_an_alarm():
    telemetry = PlatformTelemetry(stream=io.BytesIO())
    telemetry.error("payment.late_approval", payment_id="pay_1")
    assert b'interlock_alarms_total{event="payment.late_approval"} 1.0' in telemetry.exposition()


def test_metrics_are_exposed_with_their_labels():
    telemetry = PlatformTelemetry(stream=io.BytesIO())
    for _ in range(2):
        telemetry.count("interlock_notifications_total", provider="a", result="received")
    telemetry.gauge("interlock_sweeper_due", 7.0)
    telemetry.observe("interlock_webhook_delivery_duration_seconds", 0.2, result="delivered")
    text = telemetry.exposition().decode()
    assert 'interlock_notifications_total{provider="a",result="received"} 2.0' in text
    assert "interlock_sweeper_due 7.0" in text
    assert 'interlock_webhook_delivery_duration_seconds_bucket{le="0.25",result="delivered"} 1.0' in text


def test_an_unlisted_metric_or_label_is_dropped_and_counted():
    telemetry = PlatformTelemetry(stream=io.BytesIO())
    telemetry.count("interlock_unheard_of_total")
    telemetry.count("interlock_notifications_total", provider="a", secret="x")
    assert "interlock_telemetry_dropped_total 2.0" in telemetry.exposition().decode()


def test_spans_nest_under_the_callers_trace_and_are_exported():
    exporter = InMemorySpanExporter()
    telemetry = PlatformTelemetry(stream=io.BytesIO(), exporter=exporter)
    with telemetry.span("request", parent=CALLER) as outer, telemetry.span("provider.call", provider="a") as inner:
        assert inner.traceparent.split("-")[1] == outer.traceparent.split("-")[1] == CALLER.split("-")[1]
    telemetry.close()
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert spans["provider.call"].parent.span_id == spans["request"].context.span_id
    assert spans["provider.call"].attributes["provider"] == "a"


def test_an_unsampled_trace_keeps_its_id_for_logs_and_exports_nothing():
    exporter, stream = InMemorySpanExporter(), io.BytesIO()
    telemetry = PlatformTelemetry(stream=stream, exporter=exporter, sample_ratio=0.0)
    with telemetry.span("request") as span, telemetry.span("inside"):
        telemetry.info("payment.authorized")
    telemetry.close()
    assert exporter.get_finished_spans() == ()
    assert lines(stream)[0]["trace_id"] == span.traceparent.split("-")[1]
    assert span.traceparent.endswith("-00")


def test_a_malformed_traceparent_starts_a_new_trace():
    telemetry = PlatformTelemetry(stream=io.BytesIO())
    for bad in ("", "00-zz-1-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"):
        with telemetry.span("request", parent=bad) as span:
            assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", span.traceparent)


def test_every_metric_named_in_the_source_is_in_the_vocabulary_and_the_reverse():
    used = set()
    for file in SRC.rglob("*.py"):
        if file.name != "vocabulary.py":
            used |= set(re.findall(r'"(interlock_[a-z_]+_(?:total|seconds|messages|due|open))"', file.read_text()))
    assert used - set(METRICS) == set()


def test_every_field_logged_in_the_source_is_in_the_vocabulary():
    unlisted = set()
    for file in SRC.rglob("*.py"):
        for call in re.findall(r"telemetry\.(?:info|warning|error)\((.*?)\)\n", file.read_text(), re.DOTALL):
            unlisted |= set(re.findall(r"\b([a-z_]+)=", call)) - LOG_FIELDS - {"trace_id", "parent"}
    assert unlisted == set()


class FullDisk(io.RawIOBase):
    """Takes as many bytes as there is room for, as an unbuffered file does."""

    def __init__(self) -> None:
        self.room, self.content = 0, b""

    def write(self, line) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = bytes(line[: self.room])
        self.room -= len(taken)
        self.content += taken
        return len(taken)


def test_log_that_cannot_be_written_stops_nobody_and_lost_lines_are_counted():
    disk = FullDisk()
    telemetry = PlatformTelemetry(stream=disk)
    telemetry.info("payment.authorized")
    telemetry.error("worker.step_crashed", loop="relay")
    assert disk.content == b""
    assert b"interlock_log_lines_lost_total 2.0" in telemetry.exposition()


def test_line_that_was_torn_by_a_full_disk_spoils_none_of_those_that_follow():
    disk = FullDisk()
    telemetry = PlatformTelemetry(stream=disk)
    disk.room = 10
    telemetry.info("payment.authorized")
    disk.room = 1_000
    telemetry.info("payment.captured")
    telemetry.info("payment.succeeded")
    torn, *whole = disk.content.splitlines()
    assert len(torn) == 10
    assert [json.loads(line)["event"] for line in whole] == ["payment.captured", "payment.succeeded"]
    assert b"interlock_log_lines_lost_total 1.0" in telemetry.exposition()
