"""`make bench`: measure, count, judge. Exit status 1 when a gate is missed, 2 when it could not be measured.

python -m bench [--quick] [--results FILE]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from bench import gates, imports, machine, page, provider, report
from bench.comparators.postgres import Postgres
from bench.contestants.interlock import NotCaughtUp
from bench.course import DRIVER, ONE_CORE
from bench.driving import GeneratorFailed
from bench.measuring import Measuring
from bench.plan import FULL, QUICK, Plan
from bench.processes import ROOT, DidNotStart
from tests.counterparts.install import install_comparators

LATEST = page.RESULTS


def measure(plan: Plan, folder: Path) -> dict[str, Any]:
    """The whole run."""
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", file=sys.stderr, flush=True)

    results: dict[str, Any] = {
        "taken": {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": _commit(),
            "quick": plan.quick,
            "reduced": plan.reduced,
            "plan": plan._asdict(),
            "machine": machine.described(folder),
            "load_average_before": machine.load_average(),
        }
    }
    say("imports")
    results["imports"] = imports.measure(plan.imports)
    simulator = provider.start(folder, python=sys.executable, cores=DRIVER)
    postgres = Postgres(cores=ONE_CORE)
    try:
        measuring = Measuring(plan, folder, simulator, postgres, say)
        results |= measuring.one_core()
        results |= measuring.two_cores()
        postgres.stop()
        results |= measuring.histories()
        results["persisted"] = {"wrong": measuring.wrong, "counted": measuring.counted}
    finally:
        postgres.stop()
        simulator.stop()
    results["taken"]["seconds"] = round(time.monotonic() - began, 1)
    return results


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=10"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within two minutes, once installed")
    parser.add_argument("--results", type=Path, help="where the JSON goes")
    given = parser.parse_args(arguments)
    try:
        install_comparators()
        with tempfile.TemporaryDirectory(prefix="interlock-bench-") as folder:
            Path(folder).chmod(0o755)
            results = measure(QUICK if given.quick else FULL, Path(folder))
    except (RuntimeError, subprocess.CalledProcessError, DidNotStart, GeneratorFailed, NotCaughtUp) as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 2
    verdicts = gates.judged(results)
    results["gates"] = [verdict._asdict() for verdict in verdicts]
    target = given.results or (None if given.quick else LATEST)
    if target is not None:
        target.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    if target == LATEST:
        page.write()
    for table in (*report.tables(results), report.gates(verdicts)):
        print(report.as_text(table))
    for line in results["taken"]["reduced"]:
        print(f"quick: {line}")
    print(
        f"load average before it began: {results['taken']['load_average_before']:.1f}, {machine.described(ROOT)['cores']} cores"
    )
    if warned := report.warning(results):
        print(warned)
    for wrong in results["persisted"]["wrong"]:
        print(f"DISAGREES {wrong}")
    missed = [verdict for verdict in verdicts if not verdict.met]
    for one in missed:
        print(f"MISSED {one.name}: {one.what} is {report.number(one.value)} {one.unit}; {one.bound}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
