"""The emulator for what has no contract of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.counterparts.aws import running_aws


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    with running_aws("kms", "sns", "sqs", "events", "scheduler", "s3") as endpoint:
        yield endpoint
