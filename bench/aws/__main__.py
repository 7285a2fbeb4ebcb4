"""Measures and writes the page; status 1 if a budget is not met."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import machine, provider
from bench.aws import cold_starts, write_units
from bench.aws.page import missed, page

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/performance-aws.md"
TIMES = 7


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="interlock-bench-aws-") as scratch:
        folder = Path(scratch)
        simulator = provider.start(folder, python=sys.executable, cores=machine.BOTH)
        try:
            units = write_units.measure(folder, simulator)
        finally:
            simulator.stop()
        archives = folder / "archives"
        archives.mkdir()
        starts = cold_starts.measure(archives, TIMES)
    results: dict[str, Any] = {
        "taken": {
            "at": datetime.now(UTC).date().isoformat(),
            "commit": _commit(),
            "machine": f"{len(machine.BOTH)} cores",
            "payments": write_units.PAYMENTS,
            "times": TIMES,
        },
        "write_units": units,
        "cold_starts": starts,
    }
    text = page(results)
    PAGE.write_text(text)
    sys.stdout.write(text)
    for line in missed(results):
        sys.stdout.write(f"MISSED {line}\n")
    return 1 if missed(results) else 0


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--abbrev=10"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
