"""Servers that serve every test of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.counterparts.aws import running_aws


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """The endpoint of an emulator."""
    with running_aws("dynamodb", "dynamodbstreams", "s3") as endpoint:
        yield endpoint
