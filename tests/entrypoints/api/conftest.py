"""A platform for each file of tests, because starting one takes a second."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.entrypoints.api.real import RealPlatform, real_platform


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPlatform]:
    """Shared by a module's tests: they must not rely on what else is in it."""
    with real_platform(tmp_path_factory.mktemp("platform") / "data") as platform:
        yield platform
