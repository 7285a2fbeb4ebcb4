"""Servers that serve every test of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.counterparts.aws import running_aws

SERVICES = (
    *("dynamodb", "dynamodbstreams", "s3", "secretsmanager", "kms", "sqs"),
    *("lambda", "stepfunctions", "states", "iam", "logs"),
)

WAITS = 0.01
"""Of a second that a workflow waits, this passes."""


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """The endpoint of an emulator."""
    with running_aws(*SERVICES, waits=WAITS) as endpoint:
        yield endpoint
