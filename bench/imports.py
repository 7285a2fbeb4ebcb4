"""How long a fresh process takes until it has imported each entry point: what a cold start pays before its first line."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from typing import Any

ENTRY_POINTS = {
    "api": "interlock.entrypoints.http.api, interlock.entrypoints.http.server, interlock.bootstrap",
    "worker": "interlock.entrypoints.worker, interlock.bootstrap",
    "up": "interlock.entrypoints.local",
    "cli": "interlock.entrypoints.cli.main",
    "simulator": "interlock.simulator.__main__",
}
"""What each process imports before it can serve: the API is the dispatcher with its server and what joins the adapters."""
API = "api"
_MEASURE = (
    "import time; wall, cpu = time.perf_counter(), time.process_time(); import {modules}; "
    "print(time.perf_counter() - wall, time.process_time() - cpu)"
)


def measure(times: int) -> dict[str, Any]:
    """Milliseconds for each entry point, over so many fresh processes: median, least, and the CPU's median."""
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in ENTRY_POINTS}
    # Installed packages have byte code, and so does this tree, whatever the machine says about writing it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for number in range(-1 if times > 2 else 0, times):
        for name, modules in ENTRY_POINTS.items():
            command = [sys.executable, "-c", _MEASURE.format(modules=modules)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            if number >= 0:  # the one before only writes byte code and fills the page cache
                for values, text in zip(found[name], done.stdout.split(), strict=True):
                    values.append(float(text) * 1_000)
    return {
        name: {"median_ms": statistics.median(wall), "least_ms": min(wall), "cpu_ms": statistics.median(cpu)}
        for name, (wall, cpu) in found.items()
    }
