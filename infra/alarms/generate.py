"""What is made of alarms.yaml for others than CloudWatch: `python -m infra.alarms.generate`, with `--check` to tell what is stale.

Prometheus gets rules for the platform's own metrics, which `/metrics` serves. Datadog gets a monitor for every alarm; it names the
metrics of AWS as its integration does.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
LIST = FOLDER / "alarms.yaml"
GENERATED = FOLDER / "generated"
INSTALLATION = "interlock-production"
RUNBOOKS = "https://interlock.example/docs/operations/alarms"
OWN = "Interlock"
"""Namespace of the platform's own metrics."""
BY_INSTANCE = ("provider",)
"""Labels whose values differ from installation to installation: each value is an alarm of its own."""
SIGNS = {"GreaterThanThreshold": ">", "LessThanThreshold": "<"}
OVER_TIME = {"Sum": "sum", "Maximum": "max", "Minimum": "min", "Average": "avg"}
WINDOW_LEAST_S = 300
"""Scrapes are up to a minute apart, and an increase needs several."""
WRITTEN_BY = "python -m infra.alarms.generate"

Alarm = Mapping[str, Any]


def alarms() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(LIST.read_text())["alarms"]
    return found


# -- Prometheus --------------------------------------------------------------------------------------------------------


def rules(listed: list[dict[str, Any]]) -> str:
    """Of the platform's own metrics; the others are CloudWatch's."""
    group = {"name": "interlock", "rules": [_rule(alarm) for alarm in listed if alarm["namespace"] == OWN]}
    text = yaml.safe_dump({"groups": [group]}, sort_keys=False, width=1000)
    return f"# Made from alarms.yaml by `{WRITTEN_BY}`; do not edit.\n{text}"


def _rule(alarm: Alarm) -> dict[str, Any]:
    counted = alarm["statistic"] == "Sum"
    return {
        "alert": _camel(alarm["name"]),
        "expr": f"{_measured(alarm, counted)} {SIGNS[alarm['comparison']]} {alarm['threshold']}",
        # A counter's increase holds for as long as its window; a gauge must stay where it is.
        "for": f"{alarm['period_s'] * (alarm['periods'] - 1)}s",
        "labels": {"severity": alarm["severity"], "alarm": alarm["name"]},
        "annotations": {"summary": alarm["summary"], "runbook_url": f"{RUNBOOKS}/{alarm['name']}.md"},
    }


def _measured(alarm: Alarm, counted: bool) -> str:
    by = [label for label in alarm["dimensions"] if label in BY_INSTANCE]
    wanted = ",".join(f'{label}="{value}"' for label, value in alarm["dimensions"].items() if label not in by)
    series = f"{alarm['metric']}{{{wanted}}}" if wanted else alarm["metric"]
    grouped = f" by ({', '.join(by)})" if by else ""
    if counted:
        return f"sum{grouped} ({_since_birth(series, alarm['period_s'])})"
    return f"{OVER_TIME[alarm['statistic']]}{grouped} ({series})"


def _since_birth(series: str, period_s: int) -> str:
    """How much was counted in the period. A counter appears with its first step, which `increase` does not see."""
    window = max(period_s, WINDOW_LEAST_S)
    return f"({series} unless {series} offset {window}s) or increase({series}[{window}s])"


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))


# -- Datadog -----------------------------------------------------------------------------------------------------------


def monitors(listed: list[dict[str, Any]], installation: str = INSTALLATION) -> str:
    made = [_monitor(alarm, installation) for alarm in listed]
    return json.dumps({"made_by": WRITTEN_BY, "monitors": made}, indent=2) + "\n"


def _monitor(alarm: Alarm, installation: str) -> dict[str, Any]:
    window = alarm["period_s"] * alarm["periods"]
    counted = alarm["statistic"] == "Sum"
    within = OVER_TIME.get(alarm["statistic"], "max")
    # All periods in a row: of what must stay above, the least counts; a sum is of one period, as often as there are periods.
    over = "sum" if counted else within if alarm["periods"] == 1 else "min"
    threshold = alarm["threshold"] * alarm["periods"] if counted else alarm["threshold"]
    scope = ",".join([f"installation:{installation}", *_tags(alarm, installation)])
    by = ", ".join(label for label in alarm["dimensions"] if label in BY_INSTANCE)
    series = f"{'sum' if counted else 'max'}:{_metric(alarm)}{{{scope}}}" + (f" by {{{by}}}" if by else "")
    return {
        "name": f"{installation}: {alarm['name']}",
        "type": "query alert",
        "query": f"{over}(last_{_span(window)}):{series}{'.as_count()' if counted else ''}"
        f" {SIGNS[alarm['comparison']]} {threshold}",
        "message": f"{alarm['summary']} Runbook: {RUNBOOKS}/{alarm['name']}.md",
        "tags": [f"severity:{alarm['severity']}", f"alarm:{alarm['name']}", f"installation:{installation}"],
        "priority": 1 if alarm["severity"] == "page" else 3,
        "options": {
            "thresholds": {"critical": threshold},
            "on_missing_data": "show_and_notify_no_data" if alarm["treat_missing"] == "breaching" else "default",
            "include_tags": True,
        },
    }


def _span(seconds: int) -> str:
    """Datadog takes minutes and hours."""
    return f"{seconds // 3600}h" if seconds % 3600 == 0 else f"{seconds // 60}m"


def _metric(alarm: Alarm) -> str:
    space, name = alarm["namespace"], alarm["metric"]
    if space == OWN:
        return f"interlock.{name}"
    service = space.partition("/")[2].lower()
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return f"aws.{service}.{snake}" + (f".{alarm['statistic']}" if alarm["statistic"].startswith("p") else "")


def _tags(alarm: Alarm, installation: str) -> list[str]:
    """Dimensions as tags. What only AWS knows, an id or an ARN, is left to the installation's own tag, or ends in what we know."""
    tags = []
    for key, value in alarm["dimensions"].items():
        if key in BY_INSTANCE or value in ("{api}", "{documents}"):
            continue
        text = (
            value.replace("{prefix}", f"{installation}-")
            .replace("{table}", installation)
            .replace("{name}", installation)
        )
        text = text.replace("{machines}", "*:" + f"{installation}-")
        tags.append(f"{key.lower()}:{text.lower()}")
    return tags


# -- both --------------------------------------------------------------------------------------------------------------


def files() -> dict[Path, str]:
    listed = alarms()
    return {GENERATED / "prometheus.yaml": rules(listed), GENERATED / "datadog.json": monitors(listed)}


def stale() -> list[Path]:
    return [path for path, text in files().items() if not path.exists() or path.read_text() != text]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 if a file is stale")
    if parser.parse_args().check:
        old = stale()
        sys.stderr.writelines(f"stale: {path.relative_to(FOLDER)}; run `{WRITTEN_BY}`\n" for path in old)
        return 1 if old else 0
    GENERATED.mkdir(exist_ok=True)
    for path, text in files().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
