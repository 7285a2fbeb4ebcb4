"""The results as a table for people."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from bench.gates import Verdict

Results = Mapping[str, Any]
TITLES = {
    "echo": "uvicorn echo",
    "interlock": "Interlock",
    "interlock_together": "Interlock, API and worker in one process",
    "asyncpg": "FastAPI + asyncpg + PostgreSQL",
    "sqlalchemy": "FastAPI + SQLAlchemy + httpx",
}
CORES_OF = ("contestant", "provider", "generator", "others")
QUIET_CORES = 0.1
"""Strangers that use more than this make throughput and latency say more about the machine than about anybody on it."""
Table = tuple[str, list[str], list[list[str]]]
"""Title, heads of columns, rows."""


def number(value: float) -> str:
    """Three figures that mean something."""
    if value != value:
        return "not measured"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def strangers_cores(results: Results) -> float:
    """The median slice's cores in use by processes that are not the benchmark's; not a number when that is not known."""
    used = [
        one["cpu_cores"].get("others", float("nan"))
        for phase in ("one_core", "two_cores")
        for name, one in results.get(phase, {}).items()
        if name != "echo"
    ]
    return statistics.median(used) if used else float("nan")


def warning(results: Results) -> str:
    """What a reader must know of the machine before the figures; empty for a quiet one."""
    used = strangers_cores(results)
    if used <= QUIET_CORES:
        return ""
    how = "how much of it others used is not known" if used != used else f"others used {used:.2f} of its 2 cores"
    return (
        f"The machine was not quiet: {how}. Then the system shares a core out among processes, and a contestant of many"
        " processes gets more of it than one of a single process. CPU per payment says what a payment costs; the rates and"
        " times of such a run do not."
    )


def ranged(figure: Mapping[str, float]) -> str:
    """Median and the rounds' extremes."""
    return f"{number(figure['median'])} ({number(figure['min'])} to {number(figure['max'])})"


def tables(results: Results) -> Iterator[Table]:
    """Everything that was measured, in tables; what was not measured has none."""
    if "one_core" in results:
        yield _throughput(results)
        yield _cores(results)
        yield _latency(results)
        yield _durable(results)
    for name, shares in results.get("profile", {}).items():
        yield _profile(name, shares)
    if "histories" in results:
        yield _histories(results)
    if "imports" in results:
        yield _imports(results)


def gates(verdicts: list[Verdict]) -> Table:
    rows = [
        [
            one.what,
            f"{number(one.value)} {one.unit}".strip(),
            f"{one.bound} {one.unit}".strip(),
            "" if one.aim is None else f"{one.aim:g} {one.unit}{', reached' if one.aim_met else ''}",
            "met" if one.met else "MISSED",
        ]
        for one in verdicts
    ]
    return "Gates", ["what", "measured", "gate", "aim", ""], rows


def _throughput(results: Results) -> Table:
    echo = results["one_core"]["echo"]
    echo_us = number(echo["cpu_us"]["median"]) if "cpu_us" in echo else ""
    rows = [["one core", TITLES["echo"], ranged(echo["per_s"]), "1", "", echo_us, "", "", ""]]
    for phase, title, ratio in (("one_core", "one core", "of_echo"), ("two_cores", "two cores", "of_asyncpg")):
        for name, one in results.get(phase, {}).items():
            if name == "echo":
                continue
            disk = one.get("disk_bytes_per_payment")
            rows.append(
                [
                    title,
                    _title(phase, name),
                    ranged(one["per_s"]),
                    f"{ranged(one[ratio])} {'of the echo' if ratio == 'of_echo' else 'of asyncpg'}",
                    ranged(one["sustained_per_s"]),
                    number(one["cpu_us"]["median"]),
                    number(one["cpu_all_us"]["median"]),
                    number(one["memory_bytes"] / 2**20),
                    number(disk) if disk else "",
                ]
            )
    head = [
        "",
        "",
        "payments/s",
        "ratio",
        "until all caught up, payments/s",
        "CPU us",
        "CPU us, all",
        "memory MiB",
        "disk bytes",
    ]
    return "Throughput and cost of a payment (closed model; median of rounds, least to greatest)", head, rows


def _cores(results: Results) -> Table:
    rows = []
    for phase, title in (("one_core", "one core"), ("two_cores", "two cores")):
        for name, one in results.get(phase, {}).items():
            if name != "echo":
                used = {"others": float("nan")} | one["cpu_cores"]
                rows.append([title, _title(phase, name), *(f"{used[who]:.2f}" for who in CORES_OF)])
    return "Cores in use during a slice", ["", "", "contestant", "provider", "load generator", "strangers"], rows


def _latency(results: Results) -> Table:
    rows = []
    loads = {"low": "low load", "busy": "70 % load", "usual_provider": "provider at 120/380 ms"}
    for load, title in loads.items():
        for name, one in results["latency"][load].items():
            rows.append(
                [
                    title,
                    TITLES[name],
                    number(one["rate_per_s"]["median"]),
                    number(one["p50_ms"]["median"]),
                    number(one["p99_ms"]["median"]),
                    number(one["added_p50_ms"]["median"]),
                    number(one["added_p99_ms"]["median"]),
                ]
            )
    for kind, title in (("instant", "provider alone, 0 ms"), ("usual", "provider alone, 120/380 ms")):
        bare = results["latency"]["provider"][kind]
        rows.append([title, "", "", number(bare["p50"]), number(bare["p99"]), "", ""])
    head = ["", "", "payments/s", "p50 ms", "p99 ms", "added p50 ms", "added p99 ms"]
    return (
        "Answer times on one core (open model but for the last provider; added: without the provider's median)",
        head,
        rows,
    )


def _durable(results: Results) -> Table:
    found = results["durable"]
    rows = [
        ["fdatasync of 4 kB, p50", f"{ranged(found['fdatasync_p50_us'])} us"],
        ["fdatasync of 4 kB, p99", f"{ranged(found['fdatasync_p99_us'])} us"],
        ["one row committed by SQLite, p50", f"{ranged(found['commit_p50_us'])} us"],
        ["... of CPU", f"{ranged(found['commit_cpu_us'])} us"],
        ["... one after the other", f"{ranged(found['commits_per_s'])} /s"],
    ]
    return "What the disk takes", ["", ""], rows


def _profile(name: str, shares: Mapping[str, Any]) -> Table:
    rows = [[f"**{part}**", f"{share:.0%}"] for part, share in shares["parts"].items()]
    rows += [[f"`{function}`", f"{share:.1%}"] for function, share in shares["functions"].items()]
    title = f"Where the time goes on one core under full load: {_title('one_core', name)}"
    return title, ["parts; then the functions that take most by themselves", "share of busy time"], rows


def _title(phase: str, name: str) -> str:
    """On one core our API has the core for itself and the worker comes afterwards; on two the worker runs beside it."""
    if name != "interlock":
        return TITLES[name]
    return TITLES[name] + (", worker afterwards" if phase == "one_core" else ", worker in a process of its own")


def _histories(results: Results) -> Table:
    found = results["histories"]
    rows = [
        [
            f"{int(size):,}",
            ranged(one["per_s"]),
            ranged(one["of_smallest"]),
            number(one["cpu_us"]["median"]),
            number(one["bytes_per_payment"]),
        ]
        for size, one in sorted(found["sizes"].items(), key=lambda each: int(each[0]))
    ]
    return (
        "Throughput with stored payments (one core)",
        ["stored", "payments/s", "of the smallest", "CPU us", "disk bytes each"],
        rows,
    )


def _imports(results: Results) -> Table:
    rows = [
        [name, number(one["median_ms"]), number(one["least_ms"]), number(one["cpu_ms"])]
        for name, one in results["imports"].items()
    ]
    return "Import in a fresh process", ["entry point", "median ms", "least ms", "CPU ms"], rows


def as_text(table: Table) -> str:
    """For a terminal."""
    title, head, rows = table
    lines = [head, *rows]
    widths = [max(len(row[place]) for row in lines) for place in range(len(head))]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in lines]
    return "\n".join([title, "-" * len(title), *shown, ""])


def as_markdown(table: Table) -> str:
    """For the page."""
    _, head, rows = table
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)
