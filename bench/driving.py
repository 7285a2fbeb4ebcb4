"""One slice of load on one contestant: runs the generator and takes CPU times at both ends of its window."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from bench import machine
from bench.load import Report, Spec
from bench.processes import ROOT


class GeneratorFailed(Exception):
    """The load generator gave up; what it said."""


class Slice(NamedTuple):
    """What one slice of load gave."""

    report: Report
    cpu_s: Mapping[str, float]
    """By group of processes, within the window."""
    others_cores: float = 0.0
    """Cores that processes of nobody here used within the window: on a quiet machine next to none."""

    @property
    def rate_per_s(self) -> float:
        return self.report.in_window / self.report.window_s

    def cpu_us(self, group: str) -> float:
        """CPU of a group for each good answer of the window."""
        return self.cpu_s[group] / self.report.in_window * 1e6 if self.report.in_window else 0.0


class Numbers:
    """Request numbers of one run: none is used twice, so neither is a key or a reference."""

    def __init__(self, first: int = 1) -> None:
        self._next = first

    def take(self, count: int) -> int:
        first, self._next = self._next, self._next + count
        return first


NUMBERS_A_SLICE = 10_000_000


def drive(spec: Spec, *, cores: Iterable[int], groups: Mapping[str, Callable[[], list[int]]]) -> Slice:
    """Run the generator on `cores`. Raises GeneratorFailed.

    `groups` name the processes whose CPU time is wanted, looked up at the beginning of the window.
    """
    wanted = set(cores) & os.sched_getaffinity(0) or os.sched_getaffinity(0)
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.load"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        preexec_fn=lambda: os.sched_setaffinity(0, wanted),
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode(spec))
        process.stdin.close()
        before: dict[str, tuple[list[int], float]] = {}
        spent: dict[str, float] = {}
        window_from = window_to = busy_s = own_s = 0.0
        for line in process.stdout:
            said = msgspec.json.decode(line)
            if said.get("at") == "window":
                before = {name: (pids := find(), machine.cpu_s(pids)) for name, find in groups.items()}
                busy_s, own_s = machine.busy_s(), machine.cpu_s([process.pid, os.getpid()])
                window_from = time.perf_counter()
            elif said.get("at") == "end":
                spent = {name: machine.cpu_s(pids) - cpu for name, (pids, cpu) in before.items()}
                busy_s = machine.busy_s() - busy_s
                own_s = machine.cpu_s([process.pid, os.getpid()]) - own_s
                window_to = time.perf_counter()
            else:
                report = msgspec.convert(said, Report)
                # Both ends were taken a moment late; what counts is CPU per second.
                scale = report.window_s / (window_to - window_from)
                others = max(0.0, busy_s - own_s - sum(spent.values())) / (window_to - window_from)
                return Slice(report, {name: seconds * scale for name, seconds in spent.items()}, others)
    finally:
        process.stdout.close()
        status = process.wait()
    raise GeneratorFailed(f"the load generator ended with status {status}")
