"""Worlds of the scenarios are closed in the loop they ran in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.scenarios.backing import CHOICE


@pytest.fixture(autouse=True)
async def worlds() -> AsyncIterator[None]:
    CHOICE.kind = "memory"
    yield
    await CHOICE.close()
