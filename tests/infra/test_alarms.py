"""One list of alarms: each can sound, has a page by its name, and what is made of the list is fresh."""

import io
import json
import re
import subprocess
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import yaml

from infra.alarms import generate
from interlock.backends.aws.metrics import EmbeddedMetrics
from interlock.backends.telemetry.vocabulary import METRICS
from interlock.core.webhooks.ports import Failure
from interlock.entrypoints.cli.main import app
from tests.counterparts.paths import require

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs/operations/alarms"
ALARMS = generate.alarms()
KEYS = (
    *("name", "summary", "severity", "namespace", "metric", "dimensions", "statistic", "comparison", "threshold"),
    *("period_s", "periods", "treat_missing"),
)
PLACES = {"{prefix}", "{name}", "{table}", "{api}", "{documents}", "{machines}"}
OWN = [alarm for alarm in ALARMS if alarm["namespace"] == generate.OWN]
FUNCTIONS = {path.parent.name for path in (ROOT / "src/lambdas").glob("*/function.yaml")}
WORKFLOWS = {path.name.removesuffix(".asl.json") for path in (ROOT / "workflows").glob("*.asl.json")}


def ids(alarm):
    return alarm["name"]


# -- the list ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alarm", ALARMS, ids=ids)
def test_alarm_has_exactly_the_keys_that_terraform_reads(alarm):
    assert tuple(alarm) == KEYS
    assert re.fullmatch(r"[a-z][a-z-]{2,40}", alarm["name"])
    assert alarm["summary"].endswith(".")
    assert all(isinstance(value, str) for value in alarm["dimensions"].values())
    assert set(re.findall(r"{\w+}", json.dumps(alarm["dimensions"]))) <= PLACES


@pytest.mark.parametrize("alarm", ALARMS, ids=ids)
def test_alarm_is_one_that_cloudwatch_takes(alarm):
    assert alarm["severity"] in ("page", "ticket")
    assert alarm["comparison"] in generate.SIGNS
    assert alarm["statistic"] in generate.OVER_TIME or re.fullmatch(r"p\d\d", alarm["statistic"])
    assert alarm["treat_missing"] in ("notBreaching", "breaching")
    assert alarm["period_s"] % 60 == 0
    assert 60 <= alarm["period_s"] * alarm["periods"] <= 86_400, "CloudWatch looks back a day at most"


@pytest.mark.parametrize("alarm", ALARMS, ids=ids)
def test_threshold_is_sane(alarm):
    assert isinstance(alarm["threshold"], int)
    if alarm["comparison"] == "LessThanThreshold":
        assert (alarm["threshold"], alarm["treat_missing"]) == (1, "breaching"), "what does not happen is not measured"
    elif alarm["statistic"] == "Sum" or alarm["metric"].startswith("ApproximateNumber"):
        assert 0 <= alarm["threshold"] <= 100
    else:
        assert alarm["threshold"] > 0 or alarm["metric"].endswith("_open")
    if alarm["severity"] == "page":
        assert alarm["period_s"] * alarm["periods"] <= 600, "who is to be woken is woken within ten minutes"


def test_names_are_different_and_no_two_alarms_say_the_same():
    assert len({alarm["name"] for alarm in ALARMS}) == len(ALARMS)
    assert len({json.dumps([alarm["metric"], alarm["dimensions"]]) for alarm in ALARMS}) == len(ALARMS)


@pytest.mark.parametrize("alarm", ALARMS, ids=ids)
def test_function_queue_and_workflow_of_an_alarm_exist(alarm):
    where = alarm["dimensions"]
    if (function := where.get("FunctionName")) is not None:
        assert function.removeprefix("{prefix}") in FUNCTIONS
    if (rule := where.get("RuleName")) is not None:
        described = yaml.safe_load((ROOT / "src/lambdas" / rule.removeprefix("{prefix}") / "function.yaml").read_text())
        assert "schedule" in described["trigger"]
    if (queue := where.get("QueueName")) is not None:
        assert queue.removeprefix("{prefix}") in ("notifications", "notifications-dead", "webhooks-dead", "unprocessed")
    if (machine := where.get("StateMachineArn")) is not None:
        assert machine.removeprefix("{machines}") in WORKFLOWS


# -- the platform's own metrics ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("alarm", OWN, ids=ids)
def test_own_metric_is_in_the_vocabulary_with_these_labels_and_no_others(alarm):
    metric = METRICS[alarm["metric"]]
    assert set(alarm["dimensions"]) == set(metric.labels), "CloudWatch finds a metric by all its dimensions"
    assert (metric.kind, alarm["statistic"]) in (("counter", "Sum"), ("gauge", "Maximum"))


@pytest.mark.parametrize("alarm", [one for one in OWN if "event" in one["dimensions"]], ids=ids)
def test_event_of_an_alarm_is_raised_somewhere_in_the_source(alarm):
    event = alarm["dimensions"]["event"]
    prefix, _, name = event.partition(".")
    source = "".join(path.read_text() for path in (ROOT / "src/interlock").rglob("*.py"))
    assert f'"{event}"' in source or (f'f"{prefix}.{{' in source and f'"{name}"' in source)


def test_result_of_a_webhook_alarm_is_one_that_is_counted():
    (alarm,) = (one for one in OWN if "result" in one["dimensions"])
    assert alarm["dimensions"]["result"] in set(Failure)


@pytest.mark.parametrize("service", ["", "relay_feed"])
def test_function_writes_metrics_with_their_labels_as_only_dimensions(monkeypatch, service):
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", service)
    metrics = EmbeddedMetrics()
    for alarm in OWN:
        metrics.record(alarm["metric"], METRICS[alarm["metric"]].kind, 1.0, alarm["dimensions"])
    with redirect_stdout(io.StringIO()) as written:
        metrics.flush()
    told = {
        (metric["Name"], frozenset(names))
        for line in written.getvalue().splitlines()
        for one in json.loads(line)["_aws"]["CloudWatchMetrics"]
        for names in one["Dimensions"]
        for metric in one["Metrics"]
    }
    assert {(alarm["metric"], frozenset(alarm["dimensions"])) for alarm in OWN} == told


# -- pages -------------------------------------------------------------------------------------------------------------

PARTS = ("**What it means.**", "**How bad.**", "## Look first\n```sh\n", "## What to do\n1. ", "## Whom to wake\n")


def test_there_is_a_page_for_each_alarm_and_no_other():
    assert {path.stem for path in PAGES.glob("*.md")} - {"README"} == {alarm["name"] for alarm in ALARMS}


def test_index_has_each_alarm_with_its_severity_and_summary():
    rows = re.findall(r"^\| \[([\w-]+)\]\(([\w-]+)\.md\) \| (\w+) \| (.+) \|$", (PAGES / "README.md").read_text(), re.M)
    assert rows == [(one["name"], one["name"], one["severity"], one["summary"]) for one in ALARMS]


@pytest.mark.parametrize("alarm", ALARMS, ids=ids)
def test_page_says_what_it_means_where_to_look_what_to_do_and_whom_to_wake(alarm):
    text = (PAGES / f"{alarm['name']}.md").read_text()
    assert text.startswith(f"# {alarm['name']}\n{alarm['summary']}\n")
    assert [part for part in PARTS if text.count(part) != 1] == []
    assert [text.index(part) for part in PARTS] == sorted(text.index(part) for part in PARTS)
    assert len(text.splitlines()) <= 30


@pytest.mark.parametrize("alarm", ALARMS, ids=ids)
def test_page_tells_the_condition_that_the_list_has(alarm):
    text = (PAGES / f"{alarm['name']}.md").read_text()
    sign = {"GreaterThanThreshold": "above", "LessThanThreshold": "below"}[alarm["comparison"]]
    assert f"`{alarm['metric']}`" in text
    assert f": {alarm['statistic']} {sign} {alarm['threshold']}, {alarm['periods']} x {alarm['period_s']} s." in text
    assert f"Severity: {alarm['severity']}." in text


def commands():
    """Every command of `interlock`, in words."""
    single = {command.name or command.callback.__name__ for command in app.registered_commands}
    return single | {
        f"{group.name} {command.name or command.callback.__name__}"
        for group in app.registered_groups
        for command in group.typer_instance.registered_commands
    }


@pytest.mark.parametrize("alarm", ALARMS, ids=ids)
def test_page_names_commands_and_functions_that_exist(alarm):
    text = (PAGES / f"{alarm['name']}.md").read_text()
    named = re.findall(r"(?:^|`)interlock ((?:[a-z]+ )?[a-z-]+)\b", text, re.MULTILINE)
    known = commands()
    assert [one for one in named if one not in known and one.split()[0] not in known] == []
    assert set(re.findall(r"/aws/lambda/\$NAME-(\w+)", text)) <= FUNCTIONS
    assert re.search(r"^```sh\n\S", text, re.MULTILINE)


# -- what is made of it ------------------------------------------------------------------------------------------------


def test_generated_files_are_fresh():
    assert generate.stale() == []


def test_change_of_the_list_makes_generated_files_stale(monkeypatch):
    monkeypatch.setattr(generate, "alarms", lambda: [OWN[0] | {"threshold": 1}])
    assert [path.name for path in generate.stale()] == ["prometheus.yaml", "datadog.json"]


def test_prometheus_has_a_rule_with_its_runbook_for_each_own_alarm():
    (group,) = yaml.safe_load((generate.GENERATED / "prometheus.yaml").read_text())["groups"]
    assert [rule["labels"]["alarm"] for rule in group["rules"]] == [alarm["name"] for alarm in OWN]
    for rule, alarm in zip(group["rules"], OWN, strict=True):
        assert rule["annotations"]["runbook_url"].endswith(f"/docs/operations/alarms/{alarm['name']}.md")
        assert rule["labels"]["severity"] == alarm["severity"]


def test_datadog_has_a_monitor_for_each_alarm():
    monitors = json.loads((generate.GENERATED / "datadog.json").read_text())["monitors"]
    assert [one["name"].partition(": ")[2] for one in monitors] == [alarm["name"] for alarm in ALARMS]
    for monitor, alarm in zip(monitors, ALARMS, strict=True):
        assert f"/{alarm['name']}.md" in monitor["message"]
        assert monitor["query"].endswith(
            f" {generate.SIGNS[alarm['comparison']]} {monitor['options']['thresholds']['critical']}"
        )
        assert not re.search(r"{(prefix|name|table|api|documents|machines)}", monitor["query"])


def test_prometheus_takes_the_rules():
    rules = generate.GENERATED / "prometheus.yaml"
    done = subprocess.run([require("promtool"), "check", "rules", rules], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, done.stdout)
    assert f"{len(OWN)} rules found" in done.stdout


TRIED = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 30s
    input_series:
      - series: 'interlock_alarms_total{{event="ledger.journal_refused", instance="a"}}'
        values: '_x20 1x40'
      - series: 'interlock_alarms_total{{event="payment.reversal_failed", instance="a"}}'
        values: '7x60'
      - series: 'interlock_alarms_total{{event="payment.contradicting_outcomes", instance="a"}}'
        values: '3x20 4x40'
      - series: interlock_sweeper_lag_seconds{{instance="a"}}
        values: '0x9 301x50'
      - series: interlock_unknown_oldest_seconds{{instance="a"}}
        values: '0x9 900x50'
      - series: 'interlock_provider_breaker_open{{provider="other", instance="a"}}'
        values: '1x60'
    alert_rule_test:
      - {{ eval_time: 12m, alertname: JournalRefused, exp_alerts: [{journal}] }}
      - {{ eval_time: 29m, alertname: JournalRefused, exp_alerts: [] }}
      - {{ eval_time: 12m, alertname: ReversalFailed, exp_alerts: [] }}
      - {{ eval_time: 12m, alertname: ContradictingOutcomes, exp_alerts: [{contradicting}] }}
      - {{ eval_time: 6m, alertname: SweeperBehind, exp_alerts: [] }}
      - {{ eval_time: 12m, alertname: SweeperBehind, exp_alerts: [{sweeper}] }}
      - {{ eval_time: 12m, alertname: UnknownPaymentOld, exp_alerts: [] }}
      - {{ eval_time: 12m, alertname: ProviderBreakerOpen, exp_alerts: [{breaker}] }}
"""
"""A counter that appears with its first step, one that stood for long, one that steps; gauges above and at their thresholds."""


def expected(name, **labels):
    alarm = next(one for one in ALARMS if one["name"] == name)
    told = {"severity": alarm["severity"], "alarm": name, **labels}
    annotations = {"summary": alarm["summary"], "runbook_url": f"{generate.RUNBOOKS}/{name}.md"}
    return json.dumps({"exp_labels": told, "exp_annotations": annotations})


def test_rules_sound_at_what_happens_and_are_silent_at_what_does_not(tmp_path):
    story = tmp_path / "story.yaml"
    story.write_text(
        TRIED.format(
            rules=generate.GENERATED / "prometheus.yaml",
            journal=expected("journal-refused"),
            contradicting=expected("contradicting-outcomes"),
            sweeper=expected("sweeper-behind"),
            breaker=expected("provider-breaker-open", provider="other"),
        )
    )
    done = subprocess.run([require("promtool"), "test", "rules", story], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
