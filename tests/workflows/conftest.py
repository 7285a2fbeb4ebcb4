"""The runners, by name: two on one machine, and Step Functions at the emulator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.clocks import ManualClock
from tests.workflows.runners import emulated_runner, memory_runner, sqlite_runner

Open = Callable[[Mapping[str, str]], AbstractAsyncContextManager[Any]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    folder = tmp_path / "scripts"
    folder.mkdir()
    return folder


@pytest.fixture(params=["memory", "sqlite", pytest.param("step_functions", marks=pytest.mark.aws)])
def open_runner(request: pytest.FixtureRequest, scripts: Path, clock: ManualClock) -> Open:
    """A runner of these definitions: workflow -> text."""
    if request.param == "memory":
        return lambda texts: memory_runner(texts, scripts, clock)
    if request.param == "sqlite":
        return lambda texts: sqlite_runner(texts, scripts, clock)
    endpoint = request.getfixturevalue("aws")
    return lambda texts: emulated_runner(texts, scripts, endpoint)
