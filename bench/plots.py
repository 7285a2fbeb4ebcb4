"""The plots of docs/performance.md: `python -m bench.plots RESULTS FOLDER`, in the comparators' environment.

Each is an SVG with a transparent ground and colours that are read on white and on black alike. Text stays text.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

import matplotlib.pyplot as plt

INK = "#7a7f87"
"""Of text and axes: in the middle between black and white."""
COLOURS = {
    "interlock": "#2f81f7",
    "interlock_together": "#79b8ff",
    "asyncpg": "#d29922",
    "sqlalchemy": "#c0504d",
    "other": INK,
}
NAMES = {
    "interlock": "Interlock",
    "interlock_together": "Interlock,\n1 process",
    "asyncpg": "FastAPI\n+ asyncpg",
    "sqlalchemy": "FastAPI\n+ SQLAlchemy",
}
Results = Mapping[str, Any]


def throughput(results: Results) -> Any:
    """Payments a second on one and on two cores, with the rounds' extremes."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for axis, phase, title in zip(
        axes, ("one_core", "two_cores"), ("one core", "two cores, shared with load and provider"), strict=True
    ):
        shown = {name: one for name, one in results[phase].items() if name in NAMES}
        for place, (name, one) in enumerate(shown.items()):
            rate = one["per_s"]
            low, high = rate["median"] - rate["min"], rate["max"] - rate["median"]
            axis.bar(place, rate["median"], color=COLOURS[name], width=0.6)
            axis.errorbar(place, rate["median"], yerr=[[low], [high]], color=INK, capsize=4)
            axis.annotate(
                f"{rate['median']:,.0f}",
                (place, rate["max"]),
                ha="center",
                va="bottom",
                color=INK,
                xytext=(0, 3),
                textcoords="offset points",
            )
        axis.set_xticks(range(len(shown)), [NAMES[name] for name in shown])
        axis.set_title(title)
        axis.margins(y=0.12)
    axes[0].set_ylabel("payments per second")
    return figure


def latency(results: Results) -> Any:
    """Added latency at low load and at 70 %, in milliseconds, on a logarithmic axis."""
    figure, axis = plt.subplots(figsize=(9, 3.6))
    loads = {"low": "low load", "busy": "70 % load"}
    place, ticks = 0, []
    for load, title in loads.items():
        for name, one in results["latency"][load].items():
            p50, p99 = one["added_p50_ms"]["median"], one["added_p99_ms"]["median"]
            axis.plot([p50, p99], [place, place], color=COLOURS[name], linewidth=3, solid_capstyle="round")
            axis.plot([p50], [place], "o", color=COLOURS[name])
            axis.plot([p99], [place], "|", color=COLOURS[name], markersize=14, markeredgewidth=3)
            ticks.append((place, f"{NAMES[name].replace(chr(10), ' ')}, {title}"))
            place += 1
        place += 0.6
    sync_ms = results["durable"]["fdatasync_p50_us"]["median"] / 1_000
    axis.axvline(sync_ms, color=INK, linestyle=":")
    axis.annotate("one fdatasync", (sync_ms, -0.45), color=INK, xytext=(3, 0), textcoords="offset points")
    axis.set_yticks([at for at, _ in ticks], [text for _, text in ticks])
    axis.set_ylim(place - 0.8, -0.8)
    axis.set_xscale("log")
    axis.set_xlabel("milliseconds beyond the provider's own answer: p50 (dot) to p99 (bar)")
    return figure


def stored(results: Results) -> Any:
    """Throughput by the number of stored payments."""
    figure, axis = plt.subplots(figsize=(9, 3.2))
    sizes = sorted(results["histories"]["sizes"].items(), key=lambda each: int(each[0]))
    counts = [int(size) for size, _ in sizes]
    share = [one["of_smallest"] for _, one in sizes]
    middle = [one["median"] * 100 for one in share]
    low = [one["median"] * 100 - one["min"] * 100 for one in share]
    high = [one["max"] * 100 - one["median"] * 100 for one in share]
    axis.errorbar(counts, middle, yerr=[low, high], color=COLOURS["interlock"], marker="o", capsize=4)
    axis.axhline(90, color=INK, linestyle=":")
    axis.annotate(
        "gate", (counts[-1], 90), color=INK, xytext=(-4, -4), textcoords="offset points", ha="right", va="top"
    )
    axis.set_xscale("log")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("stored payments")
    axis.set_ylabel(f"throughput, % of that with {counts[0]:,}")
    return figure


PLOTS: dict[str, Callable[[Results], Any]] = {"throughput": throughput, "latency": latency, "stored": stored}


def draw(results: Results, folder: Path) -> None:
    plt.rcParams.update(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "interlock",
            "font.family": "sans-serif",
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": INK,
            "axes.titlecolor": INK,
            "axes.titlesize": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "xtick.color": INK,
            "ytick.color": INK,
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, plot in PLOTS.items():
        figure = plot(results)
        figure.tight_layout()
        figure.savefig(folder / f"{name}.svg", transparent=True, metadata={"Date": None, "Creator": None})
        plt.close(figure)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
