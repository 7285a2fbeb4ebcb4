"""The Clock port's promises, over the machine's clock and the one tests move by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from interlock.backends.local.clock import SystemClock
from interlock.core.kernel.clock import Clock
from tests.clocks import ManualClock

Pass = Callable[[float], Awaitable[None]]
"""Lets that many seconds pass."""


@pytest.fixture(params=["system", "manual"])
def clock_and_pass(request: pytest.FixtureRequest) -> tuple[Clock, Pass]:
    if request.param == "system":
        return SystemClock(), asyncio.sleep
    manual = ManualClock()
    return manual, manual.run_for


async def test_wall_time_is_whole_milliseconds_and_moves_with_time(clock_and_pass: tuple[Clock, Pass]) -> None:
    clock, let_pass = clock_and_pass
    before = clock.now()
    await let_pass(0.02)
    assert type(before) is int
    assert 15 <= clock.now() - before <= 5_000


async def test_monotonic_time_moves_in_seconds_and_never_back(clock_and_pass: tuple[Clock, Pass]) -> None:
    clock, let_pass = clock_and_pass
    seen = [clock.monotonic() for _ in range(100)]
    assert seen == sorted(seen)
    await let_pass(0.02)
    assert 0.015 <= clock.monotonic() - seen[-1] <= 5


async def test_sleep_lasts_at_least_as_long_as_asked(clock_and_pass: tuple[Clock, Pass]) -> None:
    clock, let_pass = clock_and_pass
    start = clock.monotonic()
    ended: list[float] = []

    async def sleeper() -> None:
        await clock.sleep(0.02)
        ended.append(clock.monotonic())

    task = asyncio.create_task(sleeper())
    await let_pass(0.005)
    assert ended == []
    await let_pass(0.05)
    await task
    assert ended[0] - start >= 0.0199


@pytest.mark.parametrize("seconds", [0, 0.0, -1.0])
async def test_sleeping_for_nothing_lets_others_run_once(clock_and_pass: tuple[Clock, Pass], seconds: float) -> None:
    clock, _ = clock_and_pass
    order: list[str] = []

    async def other() -> None:
        order.append("other")

    task = asyncio.create_task(other())
    await clock.sleep(seconds)
    order.append("sleeper")
    await task
    assert order == ["other", "sleeper"]


async def test_cancelled_sleep_ends(clock_and_pass: tuple[Clock, Pass]) -> None:
    clock, _ = clock_and_pass
    task = asyncio.create_task(clock.sleep(3_600))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_system_wall_time_is_this_machines() -> None:
    assert abs(SystemClock().now() - time.time() * 1_000) < 5_000
