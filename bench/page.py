"""Puts the last full run's tables into docs/performance.md: `python -m bench.page`. A test holds the page against the JSON."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import msgspec

from bench import environment, gates, report
from bench.processes import ROOT

RESULTS = ROOT / "bench" / "results" / "latest.json"
PAGE = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "performance"
BEGIN = "<!-- measured: from bench/results/latest.json, by `python -m bench.page` -->"
END = "<!-- end of what was measured -->"
_PLOT_OF = {
    "Throughput": ("throughput", "Payments per second on one and on two cores"),
    "Answer times": ("latency", "Added latency at low load and at 70 % load"),
    "Throughput with": ("stored", "Throughput by stored payments"),
}


def measured(results: Any) -> str:
    """The part of the page that comes from the results."""
    return "\n\n".join(_parts(results))


def _parts(results: Any) -> Iterator[str]:
    taken, machine = results["taken"], results["taken"]["machine"]
    yield (
        f"Taken {taken['at'][:10]} in {taken['seconds'] / 60:.0f} minutes at {taken['commit']}, on {machine['cores']} cores of"
        f" {machine['cpu']}, {machine['memory_gib']:g} GiB, {machine['filesystem']}, Linux {machine['kernel']},"
        f" Python {machine['python']}, SQLite {machine['sqlite']}. Processes that wanted to run before it began:"
        f" {taken['load_average_before']:.1f}."
    )
    if warned := report.warning(results):
        yield f"**{warned}**"
    for table in (report.gates(gates.judged(results)), *report.tables(results)):
        title = table[0]
        yield f"### {title}"
        plot = max((start for start in _PLOT_OF if title.startswith(start)), key=len, default=None)
        if plot is not None:
            name, words = _PLOT_OF[plot]
            yield f"![{words}](performance/{name}.svg)"
        yield report.as_markdown(table)


def with_measured(page: str, results: Any) -> str:
    """The page with that part anew; the rest is written by people."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{measured(results)}\n\n{END}{after}"


def write() -> None:
    results = msgspec.json.decode(RESULTS.read_bytes())
    PAGE.write_text(with_measured(PAGE.read_text(), results))
    subprocess.run([environment.python(), "-m", "bench.plots", str(RESULTS), str(PLOTS)], check=True, cwd=ROOT)


if __name__ == "__main__":
    environment.install()
    write()
