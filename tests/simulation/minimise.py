"""From a failing run to the few faults it takes: leave faults out by halves, then one by one, while the same rule breaks."""

from __future__ import annotations

from tests.simulation.run import Run, simulate

RUNS_MAX = 120


def minimise(failed: Run, *, runs_max: int = RUNS_MAX) -> tuple[Run, int]:
    """The smallest run found that breaks the same rule, and how many runs it took."""
    runs = 0

    def breaks(faults: tuple[str, ...]) -> Run | None:
        nonlocal runs
        runs += 1
        again = simulate(failed.seed, only=faults)
        return again if again.rule == failed.rule else None

    best = failed
    without = breaks(())
    if without is not None:
        return without, runs
    share = 2
    while len(best.faults) > 1 and runs < runs_max:
        size = max(1, len(best.faults) // share)
        for start in range(0, len(best.faults), size):
            if runs >= runs_max:
                break
            left = best.faults[:start] + best.faults[start + size :]
            smaller = breaks(left)
            if smaller is not None and len(smaller.faults) < len(best.faults):
                best = smaller
                break
        else:
            if size == 1:
                break
            share = min(share * 2, len(best.faults))
    return best, runs
