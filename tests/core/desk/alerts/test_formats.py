"""What other tools send, read: captured payloads, each format's own fields, and what is refused."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.desk.alerts.alertmanager import read_title
from interlock.core.desk.alerts.formats import parse
from interlock.core.desk.alerts.model import (
    LABEL_CHARACTERS_MAX,
    LABELS_CHARACTERS_MAX,
    LABELS_MAX,
    SIGNALS_MAX,
    SUMMARY_CHARACTERS_MAX,
    AlertFormat,
    AlertSeverity,
    Signal,
    SignalState,
)
from interlock.core.desk.alerts.reading import clean, epoch_time, safe_url, severity_of
from interlock.core.kernel.clock import parse_rfc3339
from interlock.core.kernel.errors import Invalid

CAPTURED = [json.loads(line) for line in (Path(__file__).parent / "captured.jsonl").read_text().splitlines()]
FORMAT_OF = {
    "/ops/alerts": AlertFormat.ALERTMANAGER,
    "/slack": AlertFormat.SLACK,
    "/v2/enqueue": AlertFormat.PAGERDUTY,
}
ALERT = {
    "status": "firing",
    "labels": {"alertname": "A", "severity": "critical"},
    "startsAt": "2026-11-21T01:14:31.256Z",
}


def read(format: AlertFormat, body: object) -> list[Signal]:
    return parse(format, body if isinstance(body, bytes) else msgspec.json.encode(body), source="src")


def refusal(format: AlertFormat, body: object) -> tuple[str, str]:
    """Pointer and code of the one fault."""
    with pytest.raises(Invalid) as caught:
        read(format, body)
    (fault,) = caught.value.faults
    return fault.pointer, fault.code


def alertmanager(*alerts: object) -> dict[str, object]:
    return {"version": "4", "status": "firing", "alerts": list(alerts)}


# -- captured ----------------------------------------------------------------------------------------------------------


def test_captured_payloads_are_nine():
    assert [one["path"] for one in CAPTURED].count("/ops/alerts") == 3
    assert len(CAPTURED) == 9


@pytest.mark.parametrize("number", range(9))
def test_captured_payload_is_one_signal_with_the_right_name_and_state(number):
    one = CAPTURED[number]
    (found,) = read(FORMAT_OF[one["path"]], one["body"])
    assert found.name == ("PaymentSuccessBurn" if number < 6 else "LedgerImbalance")
    assert found.state is (SignalState.RESOLVED if number in (3, 4, 5) else SignalState.FIRING)
    assert found.labels["alertname"] == found.name


def test_captured_firing_and_resolved_of_each_sender_have_one_fingerprint():
    by_path: dict[str, set[str]] = {}
    for one in CAPTURED[:6]:
        (found,) = read(FORMAT_OF[one["path"]], one["body"])
        by_path.setdefault(one["path"], set()).add(found.fingerprint)
    assert by_path == {
        "/ops/alerts": {"bc14aff99f9a8fff"},
        "/slack": {"PaymentSuccessBurn"},
        "/v2/enqueue": {"84060b1e248bd877890178c217648bf4a13d5d05d6179d02e1f53ae34b76b414"},
    }


def test_captured_alertmanager_webhook_is_read_field_by_field():
    (found,) = read(AlertFormat.ALERTMANAGER, CAPTURED[4]["body"])
    assert found == Signal(
        source="src",
        fingerprint="bc14aff99f9a8fff",
        name="PaymentSuccessBurn",
        severity=AlertSeverity.CRITICAL,
        state=SignalState.RESOLVED,
        labels={
            "alertname": "PaymentSuccessBurn",
            "provider": "acme",
            "severity": "critical",
            "slo": "payment-success",
        },
        summary="acme burning budget",
        runbook="http://127.0.0.1:18080/runbooks/provider-degraded",
        starts_at=parse_rfc3339("2026-11-21T01:14:31.256Z"),
        ends_at=parse_rfc3339("2026-11-21T01:15:09.256Z"),
        link=CAPTURED[4]["body"]["alerts"][0]["generatorURL"],
    )


def test_captured_pagerduty_event_yields_labels_and_runbook_from_its_details():
    (found,) = read(AlertFormat.PAGERDUTY, CAPTURED[2]["body"])
    assert found.labels["provider"] == "acme"
    assert found.runbook == "http://127.0.0.1:18080/runbooks/provider-degraded"
    assert found.link == "http://vm:19093/#/alerts?receiver=desk"
    assert found.severity is AlertSeverity.ERROR


def test_captured_slack_message_takes_its_severity_from_the_shared_values():
    (found,) = read(AlertFormat.SLACK, CAPTURED[0 + 1]["body"])
    assert found.severity is AlertSeverity.CRITICAL
    assert found.labels == {"alertname": "PaymentSuccessBurn", "values": "acme critical payment-success"}


# -- each format -------------------------------------------------------------------------------------------------------


def test_alertmanager_nanoseconds_and_the_year_one_are_a_time_and_none():
    one = ALERT | {"startsAt": "2026-11-21T01:15:52.244464895Z", "endsAt": "0001-01-01T00:00:00Z", "status": "resolved"}
    (found,) = read(AlertFormat.ALERTMANAGER, alertmanager(one))
    assert found.starts_at == parse_rfc3339("2026-11-21T01:15:52.244Z")
    assert found.ends_at is None


def test_alertmanager_alert_without_fingerprint_gets_the_same_one_whatever_the_order_of_labels():
    turned = ALERT | {"labels": {"severity": "critical", "alertname": "A"}}
    (first,), (second,) = (read(AlertFormat.ALERTMANAGER, alertmanager(one)) for one in (ALERT, turned))
    assert first.fingerprint == second.fingerprint
    assert len(first.fingerprint) == 64


def test_alertmanager_alert_without_name_is_not_lost():
    (found,) = read(AlertFormat.ALERTMANAGER, alertmanager(ALERT | {"labels": {"job": "x"}}))
    assert (found.name, found.severity) == ("unnamed", AlertSeverity.WARNING)


@pytest.mark.parametrize("link", ["javascript:alert(1)", "ftp://x/y", "https://u:p@host/", "//host/x", "https://h/a b"])
def test_runbook_that_is_no_plain_link_is_dropped_and_the_alert_kept(link):
    (found,) = read(AlertFormat.ALERTMANAGER, alertmanager(ALERT | {"annotations": {"runbook_url": link}}))
    assert found.runbook is None
    assert found.name == "A"


def test_grafana_webhook_is_read_with_its_own_version():
    one = ALERT | {"fingerprint": "c6eadffa33fcdf37", "dashboardURL": "https://g.example/d/1", "values": {"B": 44.2}}
    (found,) = read(AlertFormat.GRAFANA, {"version": "1", "orgId": 1, "alerts": [one], "state": "alerting"})
    assert (found.fingerprint, found.link) == ("c6eadffa33fcdf37", "https://g.example/d/1")


@pytest.mark.parametrize(
    ("text", "group", "values"),
    [
        ("[FIRING:12] Disk full", "Disk full", ""),
        ("[RESOLVED] A (x y)", "A", "x y"),
        ("[FIRING:1] A (b) (c d)", "A (b)", "c d"),
        ("[FIRING] A ", "A", ""),
    ],
)
def test_title_of_a_group_is_taken_apart(text, group, values):
    title = read_title(text)
    assert title is not None
    assert (title.group, title.values) == (group, values)


def test_datadog_template_is_read_and_recovers_under_the_same_fingerprint():
    body = {
        "id": "77",
        "title": "[P1] [Triggered] Payments slow",
        "transition": "Triggered",
        "alert_id": "1234",
        "alert_title": "Payments slow",
        "priority": "P1",
        "scope": "region:eu, role:api",
        "tags": "monitor,team:pay",
        "link": "https://app.datadoghq.com/event/1",
        "date": "1795223672000",
        "alert_type": "$ALERT_TYPE",
    }
    (fired,) = read(AlertFormat.DATADOG, body)
    (over,) = read(AlertFormat.DATADOG, body | {"transition": "Recovered"})
    assert fired.labels == {"monitor": "true", "region": "eu", "role": "api", "team": "pay"} | {"monitor": "1234"}
    assert (fired.name, fired.severity, fired.starts_at) == ("Payments slow", AlertSeverity.CRITICAL, 1795223672000)
    assert (over.state, over.fingerprint, over.ends_at) == (SignalState.RESOLVED, fired.fingerprint, 1795223672000)


@pytest.mark.parametrize(
    ("transition", "severity"),
    [("Warn", AlertSeverity.WARNING), ("No Data", AlertSeverity.ERROR), ("Renotify", AlertSeverity.ERROR)],
)
def test_datadog_without_priority_takes_its_severity_from_the_transition(transition, severity):
    (found,) = read(AlertFormat.DATADOG, {"title": "t", "transition": transition, "alert_id": 9})
    assert (found.severity, found.state) == (severity, SignalState.FIRING)


def test_datadog_event_that_is_no_monitors_is_refused_at_its_transition():
    body = {"title": "t", "transition": "$ALERT_TRANSITION", "alert_id": "1"}
    assert refusal(AlertFormat.DATADOG, body) == ("/transition", "not_allowed")
    assert refusal(AlertFormat.DATADOG, body | {"transition": "Warn", "alert_id": "$ALERT_ID"}) == (
        "/alert_id",
        "required",
    )


def test_pagerduty_acknowledge_and_resolve_need_no_payload():
    for action, state in (("acknowledge", SignalState.ACKNOWLEDGED), ("resolve", SignalState.RESOLVED)):
        (found,) = read(AlertFormat.PAGERDUTY, {"routing_key": "k", "event_action": action, "dedup_key": "d1"})
        assert (found.state, found.fingerprint) == (state, "d1")


def test_pagerduty_trigger_keeps_its_documented_fields():
    payload = {
        "summary": "Example alert",
        "timestamp": "2015-07-17T08:42:58.315+0000",
        "source": "db-1",
        "severity": "info",
        "component": "postgres",
        "class": "deploy",
        "custom_details": {"ping": "1500ms", "load": 0.75},
    }
    links = [{"href": "https://x.example/1", "text": "Graph"}, {"href": "https://x.example/2", "text": "The Runbook"}]
    body = {"routing_key": "k", "event_action": "trigger", "dedup_key": "d", "payload": payload, "links": links}
    (found,) = read(AlertFormat.PAGERDUTY, body)
    assert (found.name, found.severity) == ("deploy", AlertSeverity.INFO)
    assert found.labels == {"source": "db-1", "component": "postgres", "class": "deploy", "ping": "1500ms"}
    assert found.starts_at == parse_rfc3339("2015-07-17T08:42:58.315Z")
    assert (found.link, found.runbook) == ("https://x.example/1", "https://x.example/2")


def test_pagerduty_faults_are_named():
    trigger = {"event_action": "trigger", "payload": {"summary": "s", "source": "x", "severity": "error"}}
    assert refusal(AlertFormat.PAGERDUTY, {"event_action": "poke"}) == ("/event_action", "not_allowed")
    assert refusal(AlertFormat.PAGERDUTY, {"event_action": "resolve"}) == ("/dedup_key", "required")
    assert refusal(AlertFormat.PAGERDUTY, {"event_action": "trigger"}) == ("/payload", "wrong_type")
    bad = trigger | {"payload": {"summary": "s", "source": "x", "severity": "awful"}}
    assert refusal(AlertFormat.PAGERDUTY, bad) == ("/payload/severity", "not_allowed")


def test_generic_alert_alone_and_in_a_list_are_the_same():
    one = {"name": "DiskFull", "status": "firing", "severity": "critical", "labels": {"host": "db-1"}}
    assert read(AlertFormat.GENERIC, one) == read(AlertFormat.GENERIC, {"alerts": [one]})


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"status": "firing"}, "/name", "required"),
        ({"name": "a", "status": "on"}, "/status", "not_allowed"),
        ({"name": "a", "status": "firing", "colour": 1}, "/colour", "unknown_field"),
        ({"name": 7, "status": "firing"}, "/name", "wrong_type"),
        ({"name": "a", "status": "firing", "labels": {"a/b": 1}}, "/labels/a~1b", "wrong_type"),
        ({"name": "a", "status": "firing", "starts_at": "yesterday"}, "/starts_at", "bad_format"),
        ({"alerts": []}, "/alerts", "bad_length"),
        ({"alerts": [{"name": "a", "status": "firing"}] * (SIGNALS_MAX + 1)}, "/alerts", "bad_length"),
        ({"alerts": [{"name": "a", "status": "firing"}, 3]}, "/alerts/1", "wrong_type"),
        ([], "", "wrong_type"),
        (b"{", "", "malformed_json"),
        (b"[" * 100_000, "", "nesting_too_deep"),
        (b"\xff", "", "malformed_json"),
    ],
)
def test_generic_fault_is_named_by_its_place(body, pointer, code):
    assert refusal(AlertFormat.GENERIC, body) == (pointer, code)


def test_alertmanager_and_slack_faults_are_named():
    assert refusal(AlertFormat.ALERTMANAGER, {"version": "3", "alerts": [ALERT]}) == ("/version", "not_allowed")
    assert refusal(AlertFormat.ALERTMANAGER, alertmanager(ALERT | {"status": "x"})) == (
        "/alerts/0/status",
        "not_allowed",
    )
    assert refusal(AlertFormat.SLACK, {"text": "hello"}) == ("/attachments", "required")
    assert refusal(AlertFormat.SLACK, {"attachments": [{"title": "hello"}]}) == ("/attachments/0/title", "bad_format")


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_more_labels_than_are_kept_are_dropped_and_long_texts_cut():
    labels = {f"l{number:03}": "v" * 2_000 for number in range(200)}
    (found,) = read(AlertFormat.GENERIC, {"name": "n", "status": "firing", "labels": labels, "summary": "s" * 9_000})
    assert sum(map(len, (*found.labels, *found.labels.values()))) <= LABELS_CHARACTERS_MAX
    assert {len(value) for value in found.labels.values()} == {LABEL_CHARACTERS_MAX}
    assert len(found.summary) == SUMMARY_CHARACTERS_MAX
    (short,) = read(
        AlertFormat.GENERIC, {"name": "n", "status": "firing", "labels": {f"l{number}": "" for number in range(99)}}
    )
    assert len(short.labels) == LABELS_MAX


def test_long_fingerprints_that_differ_at_their_end_stay_apart():
    bodies = ({"name": "n", "status": "firing", "fingerprint": "x" * 900 + end} for end in "ab")
    first, second = (read(AlertFormat.GENERIC, body)[0].fingerprint for body in bodies)
    assert first != second
    assert len(first) == len(second) == 64


def test_text_that_could_fool_a_screen_is_made_harmless():
    assert clean("a\u202eb\x1b[31mc\0d\ud800") == "a b [31mc d"
    assert clean("two\nlines") == "two\nlines"


@pytest.mark.parametrize("word", ["CRITICAL", "page", "P1", "sev1"])
def test_what_people_call_critical_is_critical(word):
    assert severity_of(word) is AlertSeverity.CRITICAL


def test_severity_nobody_knows_is_a_warning():
    assert severity_of("purple") is AlertSeverity.WARNING


def test_epoch_times_are_seconds_or_milliseconds():
    assert [epoch_time(text) for text in ("1795223672", "1795223672000", "", "-1", "9" * 15)] == [
        1795223672000,
        1795223672000,
        None,
        None,
        None,
    ]


def test_safe_url_keeps_plain_links_only():
    assert safe_url("https://a.example/x?y=1#z") == "https://a.example/x?y=1#z"
    assert [safe_url(text) for text in ("https://[", "https://h:0/", "https:///x", "http://h/" + "a" * 3_000)] == [
        None
    ] * 4


# -- anything at all ---------------------------------------------------------------------------------------------------

_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=30)
)
_ANY = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
)
_SEEDS = [
    *((FORMAT_OF[one["path"]], one["body"]) for one in CAPTURED),
    (
        AlertFormat.DATADOG,
        {"title": "t", "transition": "Warn", "alert_id": "1", "tags": "a:b", "date": "1", "scope": "x"},
    ),
    (AlertFormat.GENERIC, {"alerts": [{"name": "a", "status": "firing", "labels": {"a": "b"}, "starts_at": ""}]}),
    (AlertFormat.GRAFANA, {"alerts": [ALERT]}),
]


def check_signals(format: AlertFormat, raw: bytes) -> None:
    try:
        found = parse(format, raw, source="src")
    except Invalid as refused:
        assert refused.faults
        assert all(fault.pointer == "" or fault.pointer[0] == "/" for fault in refused.faults)
        return
    assert len(found) <= SIGNALS_MAX
    for one in found:
        assert one.fingerprint
        assert len(one.fingerprint) <= 255
        assert one.name
        assert one.name == clean(one.name)
        assert len(one.labels) <= LABELS_MAX
        assert len(one.summary) <= SUMMARY_CHARACTERS_MAX
        assert all(link is None or link.startswith(("http://", "https://")) for link in (one.runbook, one.link))
        assert msgspec.json.decode(msgspec.json.encode(one), type=Signal) == one


@given(st.sampled_from(list(AlertFormat)), st.binary(max_size=200))
def test_any_bytes_give_signals_or_invalid(format, raw):
    check_signals(format, raw)


@given(st.sampled_from(list(AlertFormat)), _ANY)
def test_any_json_gives_signals_or_invalid(format, value):
    check_signals(format, json.dumps(value).encode("utf-8", "surrogatepass"))


@settings(max_examples=300)
@given(st.sampled_from(_SEEDS), st.data())
def test_real_payload_with_one_part_replaced_gives_signals_or_invalid(seed, data):
    format, body = seed
    copy = json.loads(json.dumps(body))
    place, holder, key = copy, None, None
    while isinstance(place, dict | list) and place and data.draw(st.integers(0, 4)) > 0:
        holder = place
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        place = holder[key]
    if holder is None:
        return check_signals(format, json.dumps(data.draw(_ANY)).encode())
    holder[key] = data.draw(_ANY)
    return check_signals(format, json.dumps(copy).encode())
