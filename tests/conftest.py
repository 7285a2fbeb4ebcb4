"""Servers that serve every test of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.counterparts.mongo import Mongo, running_mongo


@pytest.fixture(scope="session")
def mongo() -> Iterator[Mongo]:
    """A server of documents for all tests of this process."""
    with running_mongo() as server:
        yield server
