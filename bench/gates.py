"""What must be reached (gates) and what is aimed at: each a figure of the results, in the order of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Results = Mapping[str, Any]


class Gate(NamedTuple):
    name: str
    what: str
    unit: str
    figure: Callable[[Results], float]
    at_least: float | None
    """The bound below which it is missed; None when it has one above."""
    at_most: float | None
    aim: float | None

    def verdict(self, results: Results) -> Verdict:
        value = self.figure(results)
        low = self.at_least is not None and value < self.at_least
        high = self.at_most is not None and value > self.at_most
        # A figure that is not a number compares with nothing, and has reached nothing.
        met = value == value and not low and not high
        aimed = met and self.aim is not None and (value >= self.aim if self.at_least is not None else value <= self.aim)
        return Verdict(self.name, self.what, self.unit, value, self.at_least, self.at_most, self.aim, met, aimed)


class Verdict(NamedTuple):
    name: str
    what: str
    unit: str
    value: float
    at_least: float | None
    at_most: float | None
    aim: float | None
    met: bool
    aim_met: bool

    @property
    def bound(self) -> str:
        return f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"


def _one_core(results: Results) -> float:
    return float(results["one_core"]["interlock"]["of_echo"]["median"])


def _two_cores(results: Results) -> float:
    return float(results["two_cores"]["interlock"]["of_asyncpg"]["median"])


def _added(percentile: str) -> Callable[[Results], float]:
    def figure(results: Results) -> float:
        added = results["latency"]["low"]["interlock_together"][f"added_{percentile}_ms"]["median"]
        return float(added * 1_000 / results["durable"]["fdatasync_p50_us"]["median"])

    return figure


def _history_cost(results: Results) -> float:
    sizes = results["histories"]["sizes"]
    largest = max(sizes, key=int)
    return float((1 - sizes[largest]["of_smallest"]["median"]) * 100)


def _import(results: Results) -> float:
    return float(results["imports"]["api"]["median_ms"])


def _disagreements(results: Results) -> float:
    return float(len(results["persisted"]["wrong"]))


GATES = (
    Gate(
        "persisted", "answers, rows, ledger sums and provider's books that disagree", "", _disagreements, None, 0, None
    ),
    Gate("one_core", "one core: payments/s for each request/s of a bare echo", "x", _one_core, 0.08, None, 0.12),
    Gate(
        "two_cores",
        "two cores: payments/s for each one of FastAPI + asyncpg + PostgreSQL",
        "x",
        _two_cores,
        5.0,
        None,
        8.0,
    ),
    Gate("added_p50", "added latency at low load, p50, in fdatasyncs", "x", _added("p50"), None, 20.0, 12.0),
    Gate("added_p99", "added latency at low load, p99, in fdatasyncs", "x", _added("p99"), None, 80.0, 40.0),
    Gate("history", "throughput lost with the most stored payments", "%", _history_cost, None, 10.0, None),
    Gate("import", "import of the API's entry point", "ms", _import, None, 350.0, None),
)


def judged(results: Results) -> list[Verdict]:
    """Every gate; none stops another. A figure that was not measured is a missed gate."""
    verdicts = []
    for gate in GATES:
        try:
            verdicts.append(gate.verdict(results))
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            missing = gate._replace(figure=lambda _: float("nan"))
            verdicts.append(missing.verdict(results))
    return verdicts
