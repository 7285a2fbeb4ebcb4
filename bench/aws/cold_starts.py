"""How long a fresh process takes to import each function's handler, from the very archives that are deployed.

The process sees the function's archive and the layer, unpacked, and nothing else; byte code is what the archives hold. What the
first call loads on top (the platform, and the SDK when AWS is first asked) is measured apart: it is paid once for each process.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.aws.packages import layers, package

BUDGET_MS = 450.0
FIRST_CALL = ("interlock.bootstrap_aws", "interlock.entrypoints.http.api", "aiobotocore.session")
_MEASURE = (
    "import time, json; a = time.perf_counter(); import handler; b = time.perf_counter(); "
    "import {first}; print(json.dumps([b - a, time.perf_counter() - b]))"
)


def measure(folder: Path, times: int) -> dict[str, Any]:
    """Milliseconds over so many fresh processes: of the import, median and least; of what the first call loads, the median."""
    packages = layers()["dependencies"]
    """Packages for arrays are loaded when somebody asks for causes."""
    package.pack_functions(folder)
    found = {}
    for name in package.functions():
        task = folder / name
        shutil.unpack_archive(folder / f"{name}.zip", task)
        seconds = [_run(task, packages) for number in range(times + 1) if number >= 0][1:]
        imports, loads = zip(*seconds, strict=True)
        found[name] = {
            "median_ms": statistics.median(imports) * 1_000,
            "least_ms": min(imports) * 1_000,
            "first_call_ms": statistics.median(loads) * 1_000,
            "archive_bytes": (folder / f"{name}.zip").stat().st_size,
        }
    return found


def _run(task: Path, packages: Path) -> list[float]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{task}{os.pathsep}{packages}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
    }
    command = [sys.executable, "-S", "-c", _MEASURE.format(first=", ".join(FIRST_CALL))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds: list[float] = json.loads(done.stdout)
    return seconds
