"""OpenSLO files in: what is read, and what is refused with which line and reason."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.desk.slo.model import EVERY_RULE, Filter, Indicator, Measure, Ratio, Slo
from interlock.core.desk.slo.openslo import read_slos
from interlock.core.kernel.errors import Invalid
from tests.core.desk.slo.objectives import DOCUMENT, changed, codes_of, faults_of

# -- what is read ------------------------------------------------------------------------------------------------------


def test_file_is_read_as_it_says():
    assert read_slos(DOCUMENT) == (
        Slo(
            name="answered",
            service="payments",
            indicator=Indicator(Measure.AVAILABILITY, Filter(provider="stripe")),
            target=Ratio(199, 200),
            window_days=28,
            display_name="Payments are answered",
            description="What payers see.",
            rules=EVERY_RULE,
            tells_absence=True,
        ),
    )


REFERRED = """\
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: fast, labels: {team: [payments, desk], tier: "1"}, annotations: {openslo.com/x: y}}
spec:
  service: checkout
  indicatorRef: quick
  timeWindow: [{duration: 4w, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{targetPercent: 95}]
  alertPolicies:
    - alertPolicyRef: pages
    - slow-one
    - kind: AlertPolicy
      metadata: {name: inline}
      spec:
        alertWhenNoData: true
        conditions: [{conditionRef: slow}]
        notificationTargets: [{targetRef: desk}]
---
---
apiVersion: openslo/v1
kind: Service
metadata: {name: checkout}
spec: {description: Where payers pay.}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: quick}
spec:
  description: Within two seconds
  ratioMetric:
    counter: true
    rawType: success
    raw: {metricSource: {type: interlock, spec: {measure: latency, threshold_ms: 2000, operation: authorize, method: card}}}
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: pages}
spec:
  alertWhenBreaching: true
  alertWhenResolved: true
  conditions:
    - kind: AlertCondition
      metadata: {name: fast-burn}
      spec: {severity: page, condition: {kind: burnrate, op: gt, threshold: 14.4, lookbackWindow: 1h, alertAfter: 0m}}
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: slow-one}
spec: {alertWhenBreaching: true, conditions: [{conditionRef: slow}]}
---
apiVersion: openslo/v1
kind: AlertCondition
metadata: {name: slow}
spec: {severity: ticket, condition: {threshold: 1, lookbackWindow: 3d}}
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: {name: desk}
spec: {target: email}
"""


def test_references_are_followed_wherever_they_stand():
    (slo,) = read_slos(REFERRED)
    assert slo.indicator == Indicator(Measure.LATENCY, Filter(method="card", operation="authorize", threshold_ms=2_000))
    assert (slo.target, slo.window_days, slo.title, slo.service) == (Ratio(19, 20), 28, "fast", "checkout")
    assert (slo.rules, slo.tells_absence) == (("page-fast", "ticket-slow"), True)


def test_policy_that_does_not_alert_when_breaching_leaves_its_rule_silent():
    (slo,) = read_slos(
        REFERRED.replace("alertWhenBreaching: true", "alertWhenBreaching: false").replace(
            "NoData: true", "NoData: false"
        )
    )
    assert (slo.rules, slo.tells_absence) == ((), False)


def test_empty_list_of_policies_lets_every_rule_sound():
    (slo,) = read_slos(DOCUMENT + "  alertPolicies: []\n")
    assert (slo.rules, slo.tells_absence) == (EVERY_RULE, True)


def test_files_with_several_documents_keep_their_order():
    text = "\n---\n".join(DOCUMENT.replace("name: answered\n", f"name: {name}\n") for name in ("c", "a", "b"))
    assert [slo.name for slo in read_slos(text)] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("target: 0.999999", Ratio(999_999, 1_000_000)),
        ("target: .5", Ratio(1, 2)),
        ("target: '0.995'", Ratio(199, 200)),
        ("targetPercent: 99.95", Ratio(1_999, 2_000)),
        ("targetPercent: 50", Ratio(1, 2)),
        ("target: 0.990000000000", Ratio(99, 100)),
    ],
)
def test_target_is_exactly_what_is_written(written, target):
    assert read_slos(changed("target: 0.995", written))[0].target == target


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "pointer", "code"),
    [
        ("openslo/v1", "openslo/v1alpha", "/0/apiVersion", "unknown_word"),
        ("openslo/v1", "openslo.com/v2alpha", "/0/apiVersion", "unknown_word"),
        ("kind: SLO", "kind: SLa", "/0/kind", "unknown_word"),
        ("kind: SLO", "kind: DataSource", "/0/kind", "not_supported"),
        ("kind: SLO\n", "", "/0/kind", "missing"),
        ("  name: answered\n", "", "/0/metadata/name", "missing"),
        ("  name: answered\n", "  name: Answered\n", "/0/metadata/name", "bad_name"),
        ("  name: answered\n", "  name: -answered\n", "/0/metadata/name", "bad_name"),
        ("  name: answered\n", f"  name: {'a' * 64}\n", "/0/metadata/name", "bad_name"),
        ("  name: answered\n", "  name: 7\n", "/0/metadata/name", "not_text"),
        ("  name: answered\n", "  name: yes\n", "/0/metadata/name", "not_text"),
        ("  name: answered\n", "  name: ''\n", "/0/metadata/name", "empty"),
        ("  displayName: Pay", "  displayname: Pay", "/0/metadata/displayname", "unknown_field"),
        ("What payers see.", "x" * 1_051, "/0/spec/description", "too_long"),
        ("  service: payments\n", "", "/0/spec/service", "missing"),
        ("  budgetingMethod: Occ", "  budgetMethod: Occ", "/0/spec/budgetMethod", "unknown_field"),
        ("Occurrences", "Timeslices", "/0/spec/budgetingMethod", "not_supported"),
        ("Occurrences", "RatioTimeslices", "/0/spec/budgetingMethod", "not_supported"),
        ("Occurrences", "occurrences", "/0/spec/budgetingMethod", "unknown_word"),
        ("duration: 28d", "duration: 1M", "/0/spec/timeWindow/0/duration", "bad_window"),
        ("duration: 28d", "duration: 2d", "/0/spec/timeWindow/0/duration", "bad_window"),
        ("duration: 28d", "duration: 93d", "/0/spec/timeWindow/0/duration", "bad_window"),
        ("duration: 28d", "duration: 28", "/0/spec/timeWindow/0/duration", "not_text"),
        ("duration: 28d", "duration: ٢٨d", "/0/spec/timeWindow/0/duration", "bad_window"),
        ("isRolling: true", "isRolling: false", "/0/spec/timeWindow/0/isRolling", "not_supported"),
        ("isRolling: true", "isRolling: 1", "/0/spec/timeWindow/0/isRolling", "not_a_truth"),
        ("      isRolling: true\n", "", "/0/spec/timeWindow/0", "not_supported"),
        ("target: 0.995", "target: 1", "/0/spec/objectives/0/target", "target_out_of_range"),
        ("target: 0.995", "target: 0.0", "/0/spec/objectives/0/target", "target_out_of_range"),
        ("target: 0.995", "target: 99.5", "/0/spec/objectives/0/target", "target_out_of_range"),
        ("target: 0.995", "target: -0.5", "/0/spec/objectives/0/target", "not_a_number"),
        ("target: 0.995", "target: 9.95e-1", "/0/spec/objectives/0/target", "not_a_number"),
        ("target: 0.995", "target: .nan", "/0/spec/objectives/0/target", "not_a_number"),
        ("target: 0.995", "target:", "/0/spec/objectives/0/target", "not_a_number"),
        ("target: 0.995", "target: [0.9]", "/0/spec/objectives/0/target", "not_a_value"),
        ("target: 0.995", "target: 0.9999999", "/0/spec/objectives/0/target", "too_fine"),
        ("target: 0.995", "targetPercent: 100", "/0/spec/objectives/0/targetPercent", "target_out_of_range"),
        ("target: 0.995", "targetPercent: 99.99999", "/0/spec/objectives/0/targetPercent", "too_fine"),
        ("target: 0.995", "{}: 0.995", "/0/spec/objectives/0", "bad_key"),
        ("target: 0.995", "target: 0.995\n      op: lte", "/0/spec/objectives/0/op", "not_supported"),
        ("target: 0.995", "target: 0.995\n      value: 2", "/0/spec/objectives/0/value", "not_supported"),
        (
            "target: 0.995",
            "target: 0.995\n      timeSliceTarget: 1",
            "/0/spec/objectives/0/timeSliceTarget",
            "not_supported",
        ),
        ("target: 0.995", "target: 0.995\n      indicatorRef: a", "/0/spec/objectives/0/indicatorRef", "not_supported"),
        ("target: 0.995", "target: 0.995\n    - target: 0.9", "/0/spec/objectives", "not_one"),
        ("target: 0.995", "target: 0.995\n      targetPercent: 99", "/0/spec/objectives/0", "not_one"),
        ("  indicator:\n", "  indicatorRef: there\n  indicator:\n", "/0/spec/indicatorRef", "not_both"),
        ("ratioMetric", "thresholdMetric", "/0/spec/indicator/spec/thresholdMetric", "not_supported"),
        ("        good:", "        bad:", "/0/spec/indicator/spec/ratioMetric/bad", "not_supported"),
        ("counter: true", "counter: maybe", "/0/spec/indicator/spec/ratioMetric/counter", "not_a_truth"),
    ],
)
def test_one_mistake_is_told_with_its_place(old, new, pointer, code):
    assert (pointer, code) in codes_of(changed(old, new))


SOURCE = "/0/spec/indicator/spec/ratioMetric/good/metricSource"


@pytest.mark.parametrize(
    ("spec", "pointer", "code"),
    [
        ("{measure: uptime}", f"{SOURCE}/spec/measure", "unknown_word"),
        ("{provider: stripe}", f"{SOURCE}/spec/measure", "missing"),
        ("{measure: latency}", f"{SOURCE}/spec/threshold_ms", "missing"),
        ("{measure: latency, threshold_ms: 0}", f"{SOURCE}/spec/threshold_ms", "not_a_number"),
        ("{measure: latency, threshold_ms: 2_000}", f"{SOURCE}/spec/threshold_ms", "not_a_number"),
        ("{measure: latency, threshold_ms: 600001}", f"{SOURCE}/spec/threshold_ms", "not_a_number"),
        ("{measure: availability, threshold_ms: 2000}", f"{SOURCE}/spec/threshold_ms", "not_for_this"),
        ("{measure: money}", f"{SOURCE}/spec/currency", "missing"),
        ("{measure: money, currency: eur}", f"{SOURCE}/spec/currency", "unknown_currency"),
        ("{measure: availability, currency: EUR}", f"{SOURCE}/spec/currency", "not_for_this"),
        ("{measure: availability, operation: chargeback}", f"{SOURCE}/spec/operation", "unknown_word"),
        ("{measure: availability, query: up}", f"{SOURCE}/spec/query", "unknown_field"),
        ("up", f"{SOURCE}/spec", "not_a_table"),
    ],
)
def test_metric_source_that_says_no_measure_is_refused(spec, pointer, code):
    assert (pointer, code) in codes_of(changed("{measure: availability, provider: stripe}", spec))


def test_sides_of_a_ratio_that_differ_are_refused():
    text = changed("{measure: availability, provider: stripe}", "{measure: availability}", 1)
    assert codes_of(text) == [("/0/spec/indicator/spec/ratioMetric/total", "not_the_same")]


def test_other_sources_are_refused():
    assert (f"{SOURCE}/type", "unknown_word") in codes_of(changed("type: interlock", "type: Prometheus"))
    by_reference = changed("type: interlock", "type: interlock\n            metricSourceRef: mine")
    assert (f"{SOURCE}/metricSourceRef", "not_supported") in codes_of(by_reference)


def test_calendar_window_is_refused_with_the_reason():
    calendar = "isRolling: false\n      calendar: {startTime: 2026-01-01 00:00:00, timeZone: UTC}"
    (fault,) = faults_of(changed("isRolling: true", calendar))
    assert fault.pointer == "/0/spec/timeWindow/0/calendar"
    assert re.fullmatch(
        r"line 26: a calendar window forgets every error at its end.* use a rolling one .*", fault.detail
    )


@pytest.mark.parametrize(
    ("old", "new", "pointer", "code"),
    [
        ("indicatorRef: quick", "indicatorRef: quack", "/0/spec/indicatorRef", "unknown_sli"),
        (
            "alertPolicyRef: pages",
            "alertPolicyRef: none",
            "/0/spec/alertPolicies/0/alertPolicyRef",
            "unknown_reference",
        ),
        ("    - slow-one", "    - quick", "/0/spec/alertPolicies/1", "unknown_reference"),
        (
            "targetRef: desk",
            "targetRef: dusk",
            "/0/spec/alertPolicies/2/spec/notificationTargets/0/targetRef",
            "unknown_reference",
        ),
        ("service: checkout", "service: checkin", "/0/spec/service", "unknown_service"),
        ("threshold: 14.4", "threshold: 14", "/3/spec/conditions/0/spec/condition", "not_a_burn_rule"),
        ("alertAfter: 0m", "alertAfter: 5m", "/3/spec/conditions/0/spec/condition/alertAfter", "not_supported"),
        ("op: gt", "op: gte", "/3/spec/conditions/0/spec/condition/op", "not_supported"),
        ("severity: ticket", "severity: sev1", "/5/spec/severity", "unknown_word"),
        ("[{conditionRef: slow}]}", "[]}", "/4/spec/conditions", "not_one"),
        ("metadata: {name: slow-one}", "metadata: {name: pages}", "/4/spec", "repeated_name"),
    ],
)
def test_reference_or_alert_that_leads_nowhere_is_refused(old, new, pointer, code):
    assert old in REFERRED
    assert (pointer, code) in codes_of(REFERRED.replace(old, new))


def test_faulty_indicator_is_told_once_and_not_again_where_it_is_referred_to():
    text = REFERRED.replace("threshold_ms: 2000, ", "")
    assert codes_of(text) == [("/2/spec/ratioMetric/raw/metricSource/spec/threshold_ms", "missing")]


def test_every_mistake_is_told_at_once_in_the_order_of_lines():
    text = changed("target: 0.995", "target: 2").replace("28d", "1Y").replace("kind: SLO", "kind: SLO\nwhat: 1")
    told = [(fault.pointer, fault.detail.partition(":")[0]) for fault in faults_of(text)]
    assert told == [
        ("/0/what", "line 3"),
        ("/0/spec/timeWindow/0/duration", "line 25"),
        ("/0/spec/objectives/0/target", "line 30"),
    ]


def test_refusal_in_words_counts_the_mistakes_and_names_the_first():
    with pytest.raises(Invalid) as refused:
        read_slos(changed("target: 0.995", "target: 2").replace("28d", "1Y"))
    assert refused.value.detail.startswith("the SLO file has 2 mistakes; line 24: a rolling window has 3d to 92d")


def test_more_objectives_than_fit_are_refused():
    text = "---\n".join(DOCUMENT.replace("name: answered\n", f"name: a{i}\n") for i in range(201))
    assert codes_of(text) == [("/200/spec", "too_many")]


@given(st.data())
def test_file_with_anything_in_one_place_is_read_or_refused_with_faults(data):
    lines = DOCUMENT.splitlines(keepends=True)
    place = data.draw(st.integers(0, len(lines) - 1))
    noise = st.text(alphabet="abz019.:-{}[]&*!#'\"\n \t%@é|>", max_size=30)
    text = "".join([*lines[:place], data.draw(noise), *lines[place:]])
    try:
        slos = read_slos(text)
    except Invalid as refused:
        assert [fault for fault in refused.faults if not re.match(r"line [0-9]+: .", fault.detail)] == []
        assert refused.faults
    else:
        assert [slo.window_days for slo in slos] == [28]
