"""Many seeds, one seed, or the mutants: `python -m tests.simulation --seeds 2000`, see `--help`. Exit status 1 for any finding."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

from tests.simulation.mutants import Trial, attempt_all, chosen, table
from tests.simulation.report import Sums, story, summary, sums_of
from tests.simulation.run import simulate

STORIES_MAX = 3
"""Failing seeds that are told in full."""
TOGETHER = 5
"""Seeds a process takes at a time."""


def main(arguments: Sequence[str]) -> int:
    wish = _read(arguments)
    if wish.seed is not None:
        return _one(wish.seed, wish.only, whole=wish.trace)
    if wish.until_caught:
        return _until_caught(range(wish.first, wish.first + wish.seeds))
    failed = False
    if not wish.only_mutants:
        started = time.perf_counter()
        sums = run_seeds(range(wish.first, wish.first + wish.seeds), processes=wish.processes)
        print(summary(sums, seconds=time.perf_counter() - started, processes=wish.processes), flush=True)
        for seed, _, _ in sums.failures[:STORIES_MAX]:
            print(story(seed), flush=True)
        if len(sums.failures) > STORIES_MAX:
            print("also failing:", " ".join(str(seed) for seed, _, _ in sums.failures[STORIES_MAX:]))
        failed = bool(sums.failures)
    if wish.mutants or wish.only_mutants:
        started = time.perf_counter()
        trials = list(_told(attempt_all(chosen(wish.mutant), processes=wish.processes)))
        caught = sum(trial.caught for trial in trials)
        print(f"mutants     {caught} of {len(trials)} caught in {time.perf_counter() - started:.1f} s")
        failed = failed or caught < len(trials)
    return 1 if failed else 0


def run_seeds(seeds: Sequence[int], *, processes: int) -> Sums:
    """All of them, on so many processes."""
    parts = [list(seeds[at : at + TOGETHER]) for at in range(0, len(seeds), TOGETHER)]
    whole = Sums()
    if processes == 1:
        for part in parts:
            whole = whole.plus(_sum(part))
        return whole
    # A process ends with what it holds: to collect the garbage of its worlds would take a third of its time.
    with multiprocessing.get_context("fork").Pool(processes, gc.disable, maxtasksperchild=1) as pool:
        for sums in pool.imap(_sum, parts):
            whole = whole.plus(sums)
    return whole


def _sum(seeds: Iterable[int]) -> Sums:
    whole = Sums()
    for seed in seeds:
        whole = whole.plus(sums_of(simulate(seed)))
    return whole


def _one(seed: int, only: str | None, *, whole: bool) -> int:
    """One seed, twice: what is told of it must be the same each time."""
    faults = None if only is None else [fault for fault in only.split(",") if fault]
    first, second = simulate(seed, only=faults), simulate(seed, only=faults)
    print(summary(sums_of(first), seconds=0.0, processes=1))
    print(f"trace       {first.trace.hash()} and again {second.trace.hash()}")
    if only is not None or not first.failed:
        print("\n".join(first.trace.lines() if whole or first.failed else []))
        print(f"{first.rule or 'every rule holds'}: {first.error}"[:4_000])
    else:
        print(story(seed, whole=whole))
    return 1 if first.failed or first.trace.hash() != second.trace.hash() else 0


def _until_caught(seeds: Iterable[int]) -> int:
    """For a mutant's process: exit status 3 and one line once some seed fails."""
    gc.set_threshold(200_000, 100, 100)
    for number, seed in enumerate(seeds, 1):
        run = simulate(seed)
        if run.failed:
            print(f"{number}\t{seed}\t{run.rule}")
            return 3
    return 0


def _told(trials: Iterable[Trial]) -> Iterator[Trial]:
    for trial in trials:
        print(table([trial]), flush=True)
        yield trial


def _read(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--seed", type=int, help="this one alone, told in full if it fails")
    parser.add_argument(
        "--only", help="with --seed: let these faults happen and no others, by name, with commas between"
    )
    parser.add_argument("--trace", action="store_true", help="with --seed: tell everything")
    parser.add_argument("--mutants", action="store_true", help="then break the platform on purpose and see each caught")
    parser.add_argument("--only-mutants", action="store_true", help="no seeds, mutants alone")
    parser.add_argument("--mutant", action="append", default=[], help="those whose name holds this")
    parser.add_argument("--until-caught", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
