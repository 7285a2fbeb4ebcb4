"""The stage, deployed once for all stories."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest

from bench import machine, provider
from interlock.backends.kafka.config import KafkaConfig, TopicShape
from interlock.backends.kafka.topics import ensure_topics
from interlock.bootstrap import Platform
from interlock.bootstrap_aws import open_platform_on_aws
from interlock.config import Settings
from interlock.core.access.commands import CreateClient
from interlock.core.access.handlers import create_client, ensure_signing_key
from interlock.core.access.scopes import SCOPES
from interlock.entrypoints.worker import EVENTS_TOPIC
from tests.counterparts.aws import running_aws
from tests.counterparts.kafka import running_kafka
from tests.counterparts.mongo import running_mongo
from tests.e2e.aws.deployment import PREFIX, Deployment
from tests.e2e.aws.mapping import KafkaMapping
from tests.e2e.aws.merchant import listening
from tests.e2e.aws.packages import Packages
from tests.e2e.aws.stage import TENANT, Api, Stage
from tests.free_ports import free_ports


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("story")
    (sftp_port,) = free_ports(1)
    with (
        running_aws(sftp_port=sftp_port, policies=True) as endpoint,
        running_kafka() as broker,
        running_mongo() as mongo,
        listening() as merchant,
    ):
        simulator = provider.start(folder, python=sys.executable, cores=machine.BOTH)
        try:
            deployment = Deployment(endpoint, Packages(folder), folder)
            make_topics(broker.bootstrap_servers)
            deployed = deployment.deploy(
                kafka=broker.bootstrap_servers,
                documents=mongo.uri,
                providers=[{"name": provider.NAME, "kind": "simulator", "base_url": simulator.base_url}],
                credentials={
                    f"provider/{provider.NAME}/api_key": simulator.api_key,
                    f"provider/{provider.NAME}/signing_secret": simulator.signing_secret,
                },
            )
            with ExitStack() as mappings:
                for function, how in deployment.followers().items():
                    mapping = KafkaMapping(
                        deployment.client("lambda"),
                        f"{PREFIX}{function}",
                        servers=broker.bootstrap_servers,
                        topic=f"interlock.{how['topic']}",
                        group=f"interlock.{how['group']}",
                    )
                    mappings.enter_context(mapping)
                yield Stage(deployed, deployment, simulator, merchant, broker.bootstrap_servers, sftp_port, mongo.uri)
        finally:
            simulator.stop()


def make_topics(servers: str) -> None:
    shape = TopicShape(partitions=4, replication=1, min_in_sync=1)
    asyncio.run(ensure_topics(KafkaConfig(servers, topic=shape), [EVENTS_TOPIC]))


@pytest.fixture
async def platform(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Platform]:
    """The same platform, opened by the test to look at what the functions left."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    opened = await open_platform_on_aws(Settings.load(file=None, environment=stage.deployed.environment))
    yield opened
    await opened.close()


@pytest.fixture
async def api(stage: Stage, platform: Platform) -> Api:
    """A client of its own, with a token and a webhook endpoint that the merchant listens at."""
    await ensure_signing_key(platform.access)
    made = await create_client(platform.access, CreateClient(TENANT, "the story's shop", tuple(SCOPES)), actor="story")
    assert made.secret is not None
    found = Api(stage.deployed.api)
    found.log_in(made.client.id, made.secret.reveal())
    if not stage.merchant.secret:
        status, hook = found.ask(
            "POST", "/v1/webhook_endpoints", {"url": stage.merchant.url, "events": ["*"]}, key="hook-1"
        )
        assert status == 201, hook
        stage.merchant.secret = hook["secret"]
    return found
