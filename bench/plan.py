"""How much is measured: the full run, and the quick one with what it leaves out."""

from __future__ import annotations

from typing import NamedTuple


class Plan(NamedTuple):
    quick: bool
    rounds: int
    """Of throughput: in each, every contestant has one slice."""
    slice_s: float
    warmup_s: float
    connections: int
    """Of the closed model: so many requests are under way at any time."""
    durable_s: float
    """A round's time for fdatasync and single commits together."""
    low_rate_per_s: float
    """Low load, the same for every contestant."""
    low_s: float
    busy_share: float
    """Of a contestant's own throughput, for the second latency."""
    busy_s: float
    latency_rounds: int
    usual_connections: int
    """With a provider that takes its usual time, so many requests are under way."""
    usual_s: float
    histories: tuple[int, ...]
    """Stored payments, fewest first: the first is what the others are compared with."""
    history_rounds: int
    imports: int
    """Fresh processes for each entry point."""

    @property
    def reduced(self) -> list[str]:
        """What a quick run does less of than a full one, in words."""
        if self == FULL:
            return []
        sizes = ", ".join(f"{size:,}" for size in self.histories)
        return [
            f"{self.rounds} rounds of {self.slice_s:g} s slices instead of {FULL.rounds} of {FULL.slice_s:g} s",
            f"latencies over {self.low_s:g} s and {self.busy_s:g} s in {self.latency_rounds} round"
            f" instead of {FULL.low_s:g} s and {FULL.busy_s:g} s in {FULL.latency_rounds}",
            f"with the provider's usual time {self.usual_connections} requests under way instead of {FULL.usual_connections}",
            f"stored payments {sizes or 'none'} instead of {', '.join(f'{size:,}' for size in FULL.histories)}",
            "no plots, and the page is left alone",
        ]


FULL = Plan(
    quick=False,
    rounds=5,
    slice_s=5.0,
    warmup_s=1.0,
    connections=64,
    durable_s=2.0,
    low_rate_per_s=50.0,
    low_s=20.0,
    busy_share=0.7,
    busy_s=10.0,
    latency_rounds=2,
    usual_connections=512,
    usual_s=10.0,
    histories=(1_000, 100_000, 1_000_000),
    history_rounds=5,
    imports=9,
)
QUICK = FULL._replace(
    quick=True,
    rounds=2,
    slice_s=1.5,
    warmup_s=0.3,
    durable_s=0.4,
    low_s=2.0,
    busy_s=1.5,
    latency_rounds=1,
    usual_connections=256,
    usual_s=1.5,
    histories=(1_000, 10_000),
    history_rounds=2,
    imports=1,
)
