"""Throughput with few and with many stored payments, in turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import persisted
from bench.contestants.interlock import Interlock
from bench.course import ONE_CORE, Course
from bench.histories.cache import COPIED_MAX, Histories, History
from bench.persisted import Answered
from bench.plan import Plan
from bench.provider import Provider

FRESH_MAX = 20_000
"""Histories so small that a round's own payments would change them are taken anew for each round."""


def race(plan: Plan, folder: Path, provider: Provider, say: Callable[[str], None]) -> tuple[dict[str, Any], list[str]]:
    """Payments per second by stored payments, each also as a share of the smallest's in the same round; and what disagrees."""
    histories = Histories(folder, provider, say)
    rates: dict[int, list[float]] = {size: [] for size in plan.histories}
    costs: dict[int, list[float]] = {size: [] for size in plan.histories}
    shares: dict[int, list[float]] = {size: [] for size in plan.histories}
    bytes_each: dict[int, float] = {}
    wrong: list[str] = []
    with ExitStack() as stack:
        standing: dict[int, _Racer] = {}
        for number in range(plan.history_rounds):
            say(f"stored payments, round {number + 1} of {plan.history_rounds}")
            of_round: dict[int, float] = {}
            start = number % len(plan.histories)
            for size in (*plan.histories[start:], *plan.histories[:start]):
                if size in standing:
                    racer = standing[size]
                else:
                    racer = _Racer(histories.open(size), provider)
                    bytes_each[size] = racer.history.bytes_per_payment
                    stack.callback(racer.stop)
                lap = racer.course.lap(
                    racer.contestant, seconds=plan.slice_s, warmup_s=plan.warmup_s, connections=plan.connections
                )
                of_round[size] = lap.per_s
                costs[size].append(lap.slice.cpu_us("contestant"))
                if size > FRESH_MAX:
                    standing[size] = racer
                else:
                    wrong += racer.disagreements()
                    racer.stop()
            for size, per_s in of_round.items():
                rates[size].append(per_s)
                shares[size].append(per_s / of_round[plan.histories[0]])
        for racer in standing.values():
            wrong += racer.disagreements()
    sizes = {
        str(size): {
            "per_s": _spread(rates[size]),
            "of_smallest": _spread(shares[size]),
            "cpu_us": _spread(costs[size]),
            "bytes_per_payment": bytes_each[size],
            "in_place": size > COPIED_MAX,
        }
        for size in plan.histories
    }
    return {"sizes": sizes}, wrong


class _Racer:
    """A platform on one history."""

    def __init__(self, history: History, provider: Provider) -> None:
        self.history = history
        self.since = persisted.newest_payment(history.folder)
        self.course = Course(provider)
        self.contestant = Interlock(history.folder, provider, cores=ONE_CORE)
        self._is_stopped = False

    def disagreements(self) -> list[str]:
        """Rows of this race alone, against its answers."""
        name = self.contestant.name
        answered = self.course.answered.get(name, Answered())
        stored = persisted.in_interlock(self.history.folder, since=self.since)
        found = persisted.disagreements(name, answered, stored, booked=self.course.booked.get(name, 0))
        return [f"with {self.history.payments:,} stored: {one}" for one in (*self.course.complaints, *found)]

    def stop(self) -> None:
        """Safe to repeat."""
        if not self._is_stopped:
            self._is_stopped = True
            self.contestant.stop()
            self.history.note_growth(self.course.answered.get(self.contestant.name, Answered()).payments)


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
