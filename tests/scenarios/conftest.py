"""What the worlds stand on, by the switch, and that nothing of it is left behind."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

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


@pytest.fixture(autouse=True)
async def worlds(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    CHOICE.kind = KIND
    CHOICE.endpoint = request.getfixturevalue("aws") if KIND == "aws" else ""
    yield
    await CHOICE.close()
    CHOICE.kind = "memory"
