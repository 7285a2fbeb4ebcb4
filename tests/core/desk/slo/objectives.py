"""Objectives and attempts for the tests of this folder."""

from pathlib import Path

import pytest

from interlock.core.desk.slo import model
from interlock.core.desk.slo.model import EVERY_RULE, Filter, Indicator, Measure, Slo, ratio
from interlock.core.desk.slo.openslo import read_slos
from interlock.core.desk.slo.verdicts import Seen
from interlock.core.kernel.errors import Invalid
from interlock.core.kernel.providers import Outcome

DEFAULT = (Path(model.__file__).parent / "default.openslo.yaml").read_text()
"""The file that is shipped."""
AVAILABILITY = Indicator(Measure.AVAILABILITY, Filter())
LATENCY = Indicator(Measure.LATENCY, Filter(threshold_ms=2_000))
MONEY = Indicator(Measure.MONEY, Filter(currency="EUR"))
HALF_PERCENT = ratio(995, 1000)
"""The target whose budget is half a percent."""


def slo(name="answered", indicator=AVAILABILITY, target=HALF_PERCENT, days=28, rules=EVERY_RULE, **more):
    return Slo(name, "payments", indicator, target, days, rules=rules, **more)


def seen(outcome=Outcome.APPROVED, decline=None, **more):
    given = {
        "duration_ms": 300,
        "amount": 1_999,
        "currency": "EUR",
        "provider": "stripe",
        "method": "card",
        "merchant": "ten_1",
        "operation": "authorize",
    }
    return Seen(outcome, decline, **{**given, **more})


DOCUMENT = """\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: answered
  displayName: Payments are answered
spec:
  description: What payers see.
  service: payments
  indicator:
    metadata:
      name: answered-sli
    spec:
      ratioMetric:
        counter: true
        good:
          metricSource:
            type: interlock
            spec: {measure: availability, provider: stripe}
        total:
          metricSource:
            type: interlock
            spec: {measure: availability, provider: stripe}
  timeWindow:
    - duration: 28d
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - displayName: Answered
      target: 0.995
"""
"""A good file, to be made bad in one place."""


def faults_of(text):
    with pytest.raises(Invalid) as refused:
        read_slos(text)
    return refused.value.faults


def codes_of(text):
    return [(fault.pointer, fault.code) for fault in faults_of(text)]


def changed(old, new, count=-1):
    assert old in DOCUMENT
    return DOCUMENT.replace(old, new, count)
