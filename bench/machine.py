"""The machine under the benchmark: cores, CPU time and memory of processes, and what kind of machine it is."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CONTESTANT_CORE = 0
"""With one core a contestant has this one, for all its processes."""
DRIVER_CORE = 1
"""... and the load generator and the provider have that one."""
BOTH = frozenset({CONTESTANT_CORE, DRIVER_CORE})
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """The process and all that came from it and still run."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += children.get(one, [])
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds of processes, with their reaped children; those that ended meanwhile count nothing."""
    total = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(field) for field in fields[11:15]) * _TICK_S
    return total


def busy_s() -> float:
    """CPU seconds all processes of the machine have used on our two cores, with what the host took from them."""
    total = 0.0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in {f"cpu{core}" for core in BOTH}:
            user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields[:8])
            total += (user + nice + system + irq + softirq + steal) * _TICK_S
    return total


def memory_bytes(pids: Iterable[int]) -> int:
    """Proportional set size: a page that n processes share counts 1/n for each, so the sum is what is really held."""
    total = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        total += next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
    return total


def pin(pids: Iterable[int], cores: Iterable[int]) -> None:
    """Keep these processes, and what they start from now on, on these cores."""
    wanted = set(cores) & os.sched_getaffinity(0) or os.sched_getaffinity(0)
    for pid in pids:
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), wanted)
        except (FileNotFoundError, ProcessLookupError):
            continue


def disk_bytes(path: Path) -> int:
    """What a file or a folder takes on disk, in whole blocks."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    total = 0
    for file in files:
        try:
            total += file.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total


def load_average() -> float:
    """Processes that wanted to run, averaged over the last minute."""
    return os.getloadavg()[0]


def described(folder: Path) -> dict[str, Any]:
    """What the figures were taken on. `folder` is where the data stands."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(": ")[2] for line in cpuinfo.splitlines() if line.startswith("model name")), "unknown")
    meminfo = Path("/proc/meminfo").read_text().split()
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(meminfo[1]) / 1024**2, 1),
        "filesystem": _filesystem(folder),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "sqlite": sqlite3.sqlite_version,
    }


def _filesystem(folder: Path) -> str:
    folder, best, kind = folder.resolve(), "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, name, *_ = line.split()
        if len(point) > len(best) and (folder == Path(point) or Path(point) in folder.parents):
            best, kind = point, name
    return kind
