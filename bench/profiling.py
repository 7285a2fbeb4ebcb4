"""Where the platform's time goes under load: a sampling profiler looks at its main thread, and each sample is put down to a part.

Samples are of wall time in which the thread was not idle, so waiting for the disk counts and waiting for requests does not.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import environment

_LINE = re.compile(r":\d+\)$")
RATE_PER_S = 300
NAMED_MAX = 15
PARTS: tuple[tuple[str, Callable[[str, str], bool]], ...] = (
    ("COMMIT and its wait for the disk", lambda stack, last: "Database._flush" in stack and last == "Database._run"),
    ("rows of the commits", lambda stack, _: "Database._flush" in stack),
    ("consumers, relay and other loops", lambda stack, _: "_forever (" in stack),
    ("provider: engine, adapter, client", lambda stack, _: "interlock/providers" in stack),
    ("deciding, encoding, reading", lambda stack, _: "create_payment (" in stack),
    ("HTTP: dispatcher, checks, telemetry", lambda stack, _: "HttpApp" in stack),
    ("server and event loop", lambda stack, _: True),
)
"""The first that fits has the sample: by its stack, from the outermost function in, and by the innermost."""
_IDLE = frozenset({"_worker", "Condition.wait"})
"""A thread that waits for work looks busy to the profiler."""


def sample(pid: int, folder: Path, *, seconds: float) -> subprocess.Popen[bytes]:
    """Begin to look at a process; `read` takes what it saw."""
    command = [str(environment.home() / "bin" / "py-spy"), "record", "--pid", str(pid), "--format", "raw", "--function"]
    command += ["--duration", str(round(seconds)), "--rate", str(RATE_PER_S), "--output", str(folder / "profile.raw")]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def read(sampling: subprocess.Popen[bytes], folder: Path) -> dict[str, Any] | None:
    """Shares of the parts, and of the functions that take most by themselves. None where profiling is not permitted."""
    status = sampling.wait(60)
    raw = folder / "profile.raw"
    if status != 0 or not raw.exists():
        return None
    return shares(raw.read_text().splitlines())


def shares(lines: list[str]) -> dict[str, Any] | None:
    """Of lines `function (file);function (file) count`."""
    parts: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        innermost = _LINE.sub(")", stack.rpartition(";")[2])
        last = innermost.partition(" (")[0]
        if last not in _IDLE:
            parts[next(name for name, fits in PARTS if fits(stack, last))] += int(count)
            functions[innermost] += int(count)
    total = parts.total()
    if not total:
        return None
    return {
        "samples": total,
        "parts": {name: parts[name] / total for name, _ in PARTS},
        "functions": {name: count / total for name, count in functions.most_common(NAMED_MAX)},
    }
