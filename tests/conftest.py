"""Servers that serve every test of a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.counterparts.aws import running_aws
from tests.counterparts.dynoxide import running_dynoxide
from tests.counterparts.kafka import Broker, running_kafka
from tests.counterparts.mongo import Mongo, running_mongo

# How long an example takes says more of the machine's neighbours than of what is tested.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

SERVICES = (
    *("dynamodb", "dynamodbstreams", "s3", "secretsmanager", "kms", "sqs", "sns", "events", "scheduler"),
    *("lambda", "stepfunctions", "states", "iam", "logs"),
)

WAITS = 0.01
"""Of a second that a workflow waits, this passes."""


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """The endpoint of an emulator."""
    with running_aws(*SERVICES, waits=WAITS) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def dynoxide() -> Iterator[str]:
    """The endpoint of another engine that answers as DynamoDB does."""
    with running_dynoxide() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def sqs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The endpoint of an emulator whose queues' time is what the file says."""
    time = tmp_path_factory.mktemp("sqs") / "time"
    time.write_text("0")
    with running_aws("sqs", queue_time=time) as endpoint:
        yield endpoint, time


@pytest.fixture(scope="session")
def kafka() -> Iterator[Broker]:
    """A broker that serves all tests of this process."""
    with running_kafka() as broker:
        yield broker


@pytest.fixture(scope="session")
def mongo() -> Iterator[Mongo]:
    """A server of documents for all tests of this process."""
    with running_mongo() as server:
        yield server
