"""The whole story on AWS, as far as it can be had without an account: deployed to an emulator, with a real Kafka broker, a server
that speaks the MongoDB protocol, the simulated provider as a process, and a merchant who listens."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench import machine, provider
from interlock.bootstrap import Platform
from interlock.bootstrap_aws import open_platform_on_aws
from interlock.config import Settings
from interlock.core.access.commands import CreateClient
from interlock.core.access.handlers import create_client, ensure_signing_key
from interlock.core.access.scopes import SCOPES
from interlock.core.kernel.bus import BusRecord, event_in
from interlock.core.ledger.verification import verify
from interlock.core.payments.verification import payment_check
from interlock.entrypoints.worker import EVENTS_TOPIC
from tests.counterparts.aws import running_aws
from tests.counterparts.kafka import running_kafka
from tests.counterparts.mongo import running_mongo
from tests.e2e.aws.deployment import PREFIX, Deployed, Deployment
from tests.e2e.aws.mapping import KafkaMapping
from tests.e2e.aws.merchant import Merchant, listening
from tests.e2e.aws.packages import Packages
from tests.free_ports import free_ports

pytestmark = [pytest.mark.aws, pytest.mark.xdist_group("aws story"), pytest.mark.timeout(900)]
TENANT = "ten_story"
PATIENCE_S = 60.0


class Stage(NamedTuple):
    """Everything that runs."""

    deployed: Deployed
    deployment: Deployment
    simulator: provider.Provider
    merchant: Merchant
    kafka: str

    def logs(self, *functions: str) -> str:
        """What they wrote last, for people who wonder."""
        return "\n".join(line for name in functions for line in [f"-- {name}", *self.deployment.log(name)[-8:]])


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("story")
    with running_aws() as endpoint, running_kafka() as broker, running_mongo() as mongo, listening() as merchant:
        simulator = provider.start(folder, python=sys.executable, cores=machine.BOTH)
        try:
            deployment = Deployment(endpoint, Packages(folder))
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
            with KafkaMapping(
                deployment.client("lambda"),
                f"{PREFIX}on_payment_event",
                servers=broker.bootstrap_servers,
                topic=f"interlock.{EVENTS_TOPIC}",
                group="interlock.effects",
            ):
                yield Stage(deployed, deployment, simulator, merchant, broker.bootstrap_servers)
        finally:
            simulator.stop()


def make_topics(servers: str) -> None:
    from interlock.backends.kafka.config import KafkaConfig, TopicShape
    from interlock.backends.kafka.topics import ensure_topics

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


class Api:
    """A merchant's program."""

    def __init__(self, base: str) -> None:
        self._base, self._token = base, ""

    def log_in(self, client: str, secret: str) -> None:
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "authorization": f"Basic {b64encode(f'{client}:{secret}'.encode()).decode()}",
        }
        answer = self._ask("POST", "/oauth/token", b"grant_type=client_credentials", headers)
        assert answer[0] == 200, answer
        self._token = answer[1]["access_token"]

    def ask(self, method: str, path: str, body: Any = None, *, key: str = "") -> tuple[int, Any]:
        headers = {"content-type": "application/json"} | ({"idempotency-key": key} if key else {})
        headers |= {"authorization": f"Bearer {self._token}"} if self._token else {}
        return self._ask(method, path, None if body is None else json.dumps(body).encode(), headers)

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, Any]:
        request = urllib.request.Request(self._base + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            try:
                return error.code, json.loads(text)
            except ValueError:
                return error.code, text


async def until(found: Callable[[], Any], explain: Callable[[], Any] = str) -> Any:
    """What a look finds at last. Looks may be coroutines."""
    ends = time.monotonic() + PATIENCE_S
    while True:
        seen = found()
        seen = await seen if asyncio.iscoroutine(seen) else seen
        if seen:
            return seen
        assert time.monotonic() < ends, f"it never came: {explain()}"
        await asyncio.sleep(0.25)


async def test_a_payment_goes_through_everything(stage: Stage, platform: Platform) -> None:
    api = Api(stage.deployed.api)
    await ensure_signing_key(platform.access)
    made = await create_client(platform.access, CreateClient(TENANT, "the story's shop", tuple(SCOPES)), actor="story")
    assert made.secret is not None

    # API Gateway lets nobody in without a token
    assert api.ask("GET", "/v1/payments")[0] == 401
    api.log_in(made.client.id, made.secret.reveal())

    # a webhook endpoint, then a payment authorised and captured by the simulator
    status, hook = api.ask("POST", "/v1/webhook_endpoints", {"url": stage.merchant.url, "events": ["*"]}, key="hook-1")
    assert status == 201, hook
    stage.merchant.secret = hook["secret"]
    sale = {"amount": 1999, "currency": "EUR", "payment_method": {"type": "card", "token": "tok_approve"}}
    status, payment = api.ask("POST", "/v1/payments", sale, key="order-1")
    assert (status, payment["status"]) == (201, "succeeded"), payment
    assert api.ask("POST", "/v1/payments", sale, key="order-1")[1] == payment
    assert stage.simulator.books().captured == 1999

    # its journal in DynamoDB, its events on Kafka, its webhooks at the merchant, itself in the list
    report = await verify(
        platform.storage.store, platform.storage.feed, check_payment=payment_check(platform.storage.store)
    )
    assert (report.payments, report.journals, report.findings) == (1, 1, ())
    subscription = await platform.storage.bus.subscribe(EVENTS_TOPIC, group="looking", member="looking")
    records: list[BusRecord] = []

    async def published() -> bool:
        records.extend(await subscription.receive(wait_s=1.0))
        return len([one for one in records if event_in(one.message).aggregate == payment["id"]]) == 2

    await until(published)
    await subscription.close()
    told = ["payment.created", "payment.succeeded"]
    await until(
        lambda: [kind for kind, of in stage.merchant.heard if of == payment["id"]] == told,
        lambda: f"{stage.merchant.heard} {stage.logs('on_payment_event', 'deliver_webhook')[-2500:]}",
    )
    await until(
        lambda: [one["id"] for one in api.ask("GET", "/v1/payments?status=succeeded")[1]["data"]] == [payment["id"]]
    )


async def test_api_and_worker_run_as_processes_over_the_same_storage(stage: Stage, tmp_path: Path) -> None:
    settings = json.loads(stage.deployed.environment["INTERLOCK_AWS"]) | {"park": False}
    environment = {
        **os.environ,
        **stage.deployed.environment,
        "INTERLOCK_AWS": json.dumps(settings),
        "INTERLOCK_HOST": "127.0.0.1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    del environment["POWERTOOLS_SERVICE_NAME"]
    ports = free_ports(1, 1)
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "interlock.entrypoints.cli", role, "--port", str(port)],
            cwd=tmp_path,
            env=environment,
        )
        for role, port in zip(("api", "worker"), ports, strict=True)
    ]
    try:
        for port in ports:
            ready = Api(f"http://127.0.0.1:{port}")
            await until(lambda ready=ready: answers(ready) and ready.ask("GET", "/readyz")[0] == 200)
    finally:
        for one in started:
            one.terminate()
        assert [one.wait(30) for one in started] == [0, 0]


def answers(api: Api) -> bool:
    try:
        api.ask("GET", "/healthz")
    except OSError:
        return False
    return True
