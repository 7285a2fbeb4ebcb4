"""Measures as CloudWatch takes them from a function: in its log, in the embedded metric format.

A set of labels is a set of dimensions. Measures are gathered while a call lasts and written when it ends, a line for each set.
"""

from __future__ import annotations

from collections.abc import Mapping

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

NAMESPACE = "Interlock"
VALUES_MOST = 100
"""Of one metric in one line."""


class EmbeddedMetrics:
    def __init__(self, namespace: str = NAMESPACE) -> None:
        self._namespace = namespace
        self._gathered: dict[tuple[tuple[str, str], ...], dict[str, list[float]]] = {}

    def record(self, metric: str, kind: str, value: float, labels: Mapping[str, str]) -> None:
        """A counter's steps are summed; of a gauge the last value counts; a histogram keeps them all, up to a line's length."""
        values = self._gathered.setdefault(tuple(sorted(labels.items())), {}).setdefault(metric, [])
        if kind == "counter":
            values[:] = [sum(values) + value]
        elif kind == "gauge":
            values[:] = [value]
        elif len(values) < VALUES_MOST:
            values.append(value)

    def flush(self) -> None:
        """Write what was gathered."""
        gathered, self._gathered = self._gathered, {}
        for labels, metrics in gathered.items():
            # No service: with the function's name among the dimensions, alarms would look at other metrics than these.
            line = EphemeralMetrics(namespace=self._namespace, service="")
            for name, text in labels:
                line.add_dimension(name, text or "none")
            for metric, values in metrics.items():
                for value in values:
                    line.add_metric(name=metric, unit=_unit(metric), value=value)
            line.flush_metrics()


def _unit(metric: str) -> MetricUnit:
    return MetricUnit.Seconds if metric.endswith("_seconds") else MetricUnit.Count
