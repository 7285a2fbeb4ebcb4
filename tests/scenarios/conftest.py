"""What the worlds stand on, by the switch, and that nothing of it is left behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from tests.scenarios.backing import CHOICE, kind_in

HERE = Path(__file__).parent
TIMEOUT_S = 600
"""Over HTTP, for a test that takes ten seconds in memory."""

try:
    KIND = kind_in(os.environ)
except ValueError as error:
    raise pytest.UsageError(str(error)) from error


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if KIND != "aws":
        return
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.aws)
            item.add_marker(pytest.mark.timeout(TIMEOUT_S), append=False)


if KIND != "memory":

    def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
        """The loop the platform itself runs on. In memory it is the one whose order is the same each time."""
        return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
async def worlds(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    CHOICE.kind = KIND
    CHOICE.endpoint = request.getfixturevalue("aws") if KIND == "aws" else ""
    yield
    await CHOICE.close()
    CHOICE.kind = "memory"
