"""The whole run, phase by phase: one core, latencies, two cores, stored histories. Contestants take turns in each round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench import machine, persisted, profiling
from bench.comparators.postgres import Postgres
from bench.contestants import durable
from bench.contestants.comparator import APPS, Comparator
from bench.contestants.echo import Echo
from bench.contestants.interlock import Consumers, Interlock
from bench.course import DRIVER, ONE_CORE, Contestant, Course, Lap
from bench.histories.racing import race
from bench.plan import Plan
from bench.provider import INSTANT, USUAL, Provider

Say = Callable[[str], None]
US = "interlock"
TOGETHER = "interlock_together"
"""Our platform with API and worker in one process, beside the one whose API has a process for itself."""


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median with the least and the greatest: of rounds, not of requests."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def turned(contestants: Sequence[Any], number: int) -> list[Any]:
    """Another one begins each round, so that nobody always runs after the same one."""
    start = number % len(contestants)
    return [*contestants[start:], *contestants[:start]]


def summed_up(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of one contestant's rounds: medians of every number, and the spread of the rates."""
    figures: dict[str, Any] = {
        name: spread([one[name] for one in rounds]) for name in ("per_s", "sustained_per_s", "cpu_us", "cpu_all_us")
    }
    figures["cpu_cores"] = {
        name: statistics.median(one["cpu_cores"][name] for one in rounds) for name in rounds[0]["cpu_cores"]
    }
    figures["memory_bytes"] = max(one["memory_bytes"] for one in rounds)
    return figures


class Measuring:
    """Holds what the phases share. Each phase starts its contestants, lets them run, counts rows and stops them."""

    def __init__(self, plan: Plan, folder: Path, provider: Provider, postgres: Postgres, say: Say) -> None:
        self.plan, self.folder, self.provider, self.postgres, self.say = plan, folder, provider, postgres, say
        self.wrong: list[str] = []
        """Where answers, rows and books disagree."""
        self.counted: dict[str, Any] = {}

    def one_core(self) -> dict[str, Any]:
        """Throughput and latencies of everybody on one core, with the calibration beside each round."""
        plan = self.plan
        course = Course(self.provider)
        self._place(ONE_CORE, DRIVER)
        with ExitStack() as stack:
            echo = stack.enter_context(_running(Echo(self.folder, cores=ONE_CORE)))
            contestants = [stack.enter_context(_running(one)) for one in self._contestants(1, ONE_CORE)]
            disk_before = self._disk(contestants)
            echoes: list[float] = []
            echo_us: list[float] = []
            durables: list[dict[str, Any]] = []
            rounds: dict[str, list[dict[str, Any]]] = {one.name: [] for one in contestants}
            for number in range(plan.rounds):
                self.say(f"one core, round {number + 1} of {plan.rounds}")
                bare = course.echo(
                    echo.ports,
                    echo.pids,
                    seconds=plan.slice_s,
                    warmup_s=plan.warmup_s,
                    connections=plan.connections,
                )
                echoes.append(bare.rate_per_s)
                echo_us.append(bare.cpu_us("contestant"))
                durables.append(durable.measure(self.folder, plan.durable_s, cores=ONE_CORE))
                for one in turned(contestants, number):
                    lap = self._lap(course, one)
                    rounds[one.name].append(self._figures(lap, one) | {"of_echo": lap.per_s / bare.rate_per_s})
            made = {one.name: course.answered[one.name].payments for one in contestants}
            grown = {name: size - disk_before[name] for name, size in self._disk(contestants).items()}
            throughput = {name: spread([one["per_s"] for one in rounds[name]]) for name in rounds}
            # Answer times are those of the whole platform at work.
            latency = self._latencies(course, [one for one in contestants if one.name != US], throughput)
            profile = self._profile(course, contestants[:2])
            self._count("one core", course, contestants)
        found: dict[str, Any] = {}
        for name, each in rounds.items():
            found[name] = summed_up(each) | {
                "of_echo": spread([one["of_echo"] for one in each]),
                "disk_bytes_per_payment": grown[name] / made[name],
            }
        return {
            "one_core": {"echo": {"per_s": spread(echoes), "cpu_us": spread(echo_us)}} | found,
            "durable": {
                "fdatasync_p50_us": spread([one["fdatasync"]["us"]["p50"] for one in durables]),
                "fdatasync_p99_us": spread([one["fdatasync"]["us"]["p99"] for one in durables]),
                "commit_p50_us": spread([one["commit"]["us"]["p50"] for one in durables]),
                "commit_cpu_us": spread([one["commit"]["cpu_us"] for one in durables]),
                "commits_per_s": spread([one["commit"]["per_s"] for one in durables]),
            },
            "latency": latency,
            "profile": profile,
        }

    def two_cores(self) -> dict[str, Any]:
        """Throughput where contestant, provider and load generator share both cores, for everybody alike."""
        plan = self.plan
        course = Course(self.provider)
        self._place(machine.BOTH, machine.BOTH)
        with ExitStack() as stack:
            contestants = [stack.enter_context(_running(one)) for one in self._contestants(2, machine.BOTH)]
            rounds: dict[str, list[dict[str, Any]]] = {one.name: [] for one in contestants}
            for number in range(plan.rounds):
                self.say(f"two cores, round {number + 1} of {plan.rounds}")
                laps = {
                    one.name: self._figures(self._lap(course, one, cores=machine.BOTH), one)
                    for one in turned(contestants, number)
                }
                for name, figures in laps.items():
                    of_asyncpg = figures["per_s"] / laps["asyncpg"]["per_s"]
                    sustained = figures["sustained_per_s"] / laps["asyncpg"]["per_s"]
                    rounds[name].append(figures | {"of_asyncpg": of_asyncpg, "sustained_of_asyncpg": sustained})
            self._count("two cores", course, contestants)
        self._place(ONE_CORE, DRIVER)
        return {
            "two_cores": {
                name: summed_up(each)
                | {ratio: spread([one[ratio] for one in each]) for ratio in ("of_asyncpg", "sustained_of_asyncpg")}
                for name, each in rounds.items()
            }
        }

    def histories(self) -> dict[str, Any]:
        """Throughput on one core with more and more payments stored."""
        self._place(ONE_CORE, DRIVER)
        found, wrong = race(self.plan, self.folder, self.provider, self.say)
        self.wrong += wrong
        return {"histories": found}

    # -- parts of the phases --------------------------------------------------------------------------------------------

    def _contestants(self, cores_count: int, cores: frozenset[int]) -> Iterator[Any]:
        """On one core the API alone, as the comparators are: its worker has the core when the requests are over."""
        apart = Consumers.BESIDE if cores_count > 1 else Consumers.AFTERWARDS
        for name, consumers in ((US, apart), (TOGETHER, Consumers.WITHIN)):
            folder = self.folder / f"{name} {cores_count}"
            yield Interlock(folder, self.provider, cores=cores, name=name, consumers=consumers)
        for name in APPS:
            yield Comparator(name, self.folder, self.postgres, self.provider, workers=cores_count, cores=cores)

    def _lap(self, course: Course, one: Contestant, *, cores: frozenset[int] = DRIVER) -> Lap:
        plan = self.plan
        return course.lap(one, seconds=plan.slice_s, warmup_s=plan.warmup_s, connections=plan.connections, cores=cores)

    def _figures(self, lap: Lap, one: Contestant) -> dict[str, Any]:
        return lap.figures() | {"memory_bytes": machine.memory_bytes(one.pids())}

    def _latencies(
        self, course: Course, contestants: Sequence[Contestant], throughput: Mapping[str, Mapping[str, float]]
    ) -> dict[str, Any]:
        """Answer times of the open model, and what the provider's own answer takes in them."""
        plan = self.plan
        loads: dict[str, dict[str, list[dict[str, Any]]]] = {
            load: {one.name: [] for one in contestants} for load in ("low", "busy", "usual_provider")
        }
        bare: dict[str, list[dict[str, float]]] = {"instant": [], "usual": []}
        for number in range(plan.latency_rounds):
            self.say(f"latencies, round {number + 1} of {plan.latency_rounds}")
            instant = course.bare_provider(
                seconds=plan.low_s / 2, rate_per_s=plan.low_rate_per_s, behaviour=INSTANT, seed=number
            )
            bare["instant"].append(instant.report.latency_ms)
            for one in turned(contestants, number):
                busy_per_s = throughput[one.name]["median"] * plan.busy_share
                for load, rate_per_s, seconds in (
                    ("low", plan.low_rate_per_s, plan.low_s),
                    ("busy", busy_per_s, plan.busy_s),
                ):
                    lap = course.lap(
                        one,
                        seconds=seconds,
                        warmup_s=plan.warmup_s,
                        connections=256,
                        rate_per_s=rate_per_s,
                        seed=number,
                    )
                    loads[load][one.name].append(_added(lap, instant.report.latency_ms["p50"], rate_per_s))
            usual = course.bare_provider(
                seconds=plan.usual_s, rate_per_s=plan.low_rate_per_s, behaviour=USUAL, seed=number
            )
            bare["usual"].append(usual.report.latency_ms)
            for one in turned(contestants, number):
                lap = course.lap(
                    one,
                    seconds=plan.usual_s,
                    warmup_s=plan.warmup_s + 0.5,
                    connections=plan.usual_connections,
                    behaviour=USUAL,
                )
                loads["usual_provider"][one.name].append(
                    _added(lap, usual.report.latency_ms["p50"], lap.per_s) | {"per_s": lap.per_s}
                )
        found: dict[str, Any] = {
            load: {
                name: {figure: spread([one[figure] for one in each]) for figure in each[0]}
                for name, each in of_load.items()
            }
            for load, of_load in loads.items()
        }
        found["provider"] = {
            kind: {name: statistics.median(one[name] for one in each) for name in ("p50", "p99")}
            for kind, each in bare.items()
        }
        return found

    def _profile(self, course: Course, ours: Sequence[Contestant]) -> dict[str, Any]:
        """Where our platform's time goes under full load, by contestant; nothing in a quick run."""
        found: dict[str, Any] = {}
        for one in () if self.plan.quick else ours:
            self.say(f"one core: profile of {one.name}")
            sampling = profiling.sample(one.pids()[0], self.folder, seconds=self.plan.slice_s + 1)
            self._lap(course, one)
            shares = profiling.read(sampling, self.folder)
            if shares is not None:
                found[one.name] = shares
        return found

    def _disk(self, contestants: Sequence[Any]) -> dict[str, int]:
        sizes = {}
        for one in contestants:
            if isinstance(one, Interlock):
                sizes[one.name] = machine.disk_bytes(one.folder / "interlock.db")
            else:
                ((size,),) = self.postgres.ask(one.database, "SELECT pg_database_size(current_database())")
                sizes[one.name] = int(size)
        return sizes

    def _count(self, phase: str, course: Course, contestants: Sequence[Any]) -> None:
        """Rows against answers, for everybody who ran in this phase."""
        self.say(f"{phase}: counting rows")
        self.wrong += [f"{phase}: {one}" for one in course.complaints]
        for one in contestants:
            stored = (
                persisted.in_interlock(one.folder)
                if isinstance(one, Interlock)
                else persisted.in_postgres(self.postgres, one.database)
            )
            answered = course.answered[one.name]
            found = persisted.disagreements(one.name, answered, stored, booked=course.booked[one.name])
            self.wrong += [f"{phase}: {each}" for each in found]
            self.counted[f"{phase}, {one.name}"] = {"answered": answered._asdict(), "stored": stored._asdict()}

    def _place(self, contestants: frozenset[int], driver: frozenset[int]) -> None:
        self.postgres.pin(contestants)
        machine.pin(self.provider.child.pids, driver)


def _added(lap: Lap, provider_p50_ms: float, rate_per_s: float) -> dict[str, float]:
    """Answer times, and what is left of them without the provider's median: for p99, too, which is the stricter way."""
    latency = lap.slice.report.latency_ms
    return {
        "rate_per_s": rate_per_s,
        "p50_ms": latency["p50"],
        "p99_ms": latency["p99"],
        "added_p50_ms": latency["p50"] - provider_p50_ms,
        "added_p99_ms": latency["p99"] - provider_p50_ms,
        "late_p99_ms": lap.slice.report.late_ms["p99"],
    }


@contextmanager
def _running(one: Any) -> Iterator[Any]:
    try:
        yield one
    finally:
        one.stop()
