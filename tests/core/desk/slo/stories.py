"""Traffic minute by minute, told to Prometheus by promtool and to `alerts` as counts."""

import json
import subprocess
from itertools import accumulate

from interlock.core.desk.slo.model import WINDOWS, Counts, Measure
from interlock.core.desk.slo.prometheus import prometheus_rules
from interlock.core.desk.slo.verdicts import ATTEMPTS_TOTAL, EVENTS_TOTAL, MISCOUNTED_TOTAL
from interlock.core.kernel.clock import MINUTE
from tests.counterparts.paths import require

BASE = "https://interlock.example/docs"


def run(*arguments):
    done = subprocess.run([require("promtool"), *arguments], capture_output=True, text=True, timeout=110)
    return done.returncode, done.stdout + done.stderr


def minutes(*stretches):
    """(how many, good a minute, bad a minute) each."""
    return [(good, bad) for many, good, bad in stretches for _ in range(many)]


class Traffic:
    """Counters at each full minute, from zero."""

    def __init__(self, per_minute, *, amount=1):
        self.good = [0, *accumulate(good * amount for good, _ in per_minute)]
        self.bad = [0, *accumulate(bad * amount for _, bad in per_minute)]
        self.amount = amount

    def counts(self, window, minute):
        """Of the window that ends with `minute`."""
        start = max(minute - WINDOWS[window] // MINUTE, 0)
        good, bad = self.good[minute] - self.good[start], self.bad[minute] - self.bad[start]
        if self.amount == 1:
            return Counts(good, good + bad)
        return Counts(good, good + bad, (good + bad) // self.amount, bad // self.amount)

    def windows(self, minute):
        return {name: self.counts(name, minute) for name in WINDOWS}

    def series(self, slo):
        told = [(EVENTS_TOTAL, "true", self.good), (EVENTS_TOTAL, "false", self.bad)]
        if slo.indicator.measure is Measure.MONEY:
            told.append((ATTEMPTS_TOTAL, "true", [value // self.amount for value in self.good]))
            told.append((ATTEMPTS_TOTAL, "false", [value // self.amount for value in self.bad]))
        return [
            {"series": f'{metric}{{slo="{slo.name}",good="{good}"}}', "values": " ".join(map(str, values))}
            for metric, good, values in told
        ]


def miscounted(slo, values):
    return {"series": f'{MISCOUNTED_TOTAL}{{slo="{slo.name}"}}', "values": values}


def sounding(minute, expected, alerts="SloBurn.*"):
    """An expectation: at `minute` exactly these (alert, slo, severity) fire."""
    samples = [
        {
            "labels": "ALERTS"
            + json.dumps(
                {"alertname": alert, "alertstate": "firing", "severity": severity, "slo": slo, "service": "payments"}
            )
            .replace('": ', '"=')
            .replace('{"', "{")
            .replace(', "', ", ")
            .replace('"=', "="),
            "value": 1,
        }
        for alert, slo, severity in expected
    ]
    expression = f'ALERTS{{alertstate="firing",alertname=~"{alerts}"}}'
    return {"expr": expression, "eval_time": f"{minute}m", "exp_samples": samples}


def told_to_prometheus(folder, slos, series, expectations, interval="1m"):
    """Run the story, scraped every `interval`. The status and what promtool says."""
    rules = folder / "rules.yaml"
    rules.write_text(prometheus_rules(slos, BASE))
    story = folder / "story.yaml"
    test = {"interval": interval, "input_series": series, "promql_expr_test": expectations}
    story.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [test]}))
    return run("test", "rules", str(story))
