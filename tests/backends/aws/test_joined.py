"""The platform on AWS asks for nothing before it is needed: what a function does not use, it needs no permission for."""

from __future__ import annotations

import json

import pytest

from interlock.backends.kafka.bus import KafkaBus
from interlock.backends.kafka.config import ApiKey, KafkaConfig
from interlock.backends.local.clock import SystemClock
from interlock.backends.mongo.documents import MongoDocuments
from interlock.bootstrap_aws import LINES_ARE_ELSEWHERE, open_platform_on_aws
from interlock.config import Settings
from interlock.core.desk.explain.model import Observed
from interlock.core.kernel.bus import BusMessage
from interlock.core.kernel.documents import Collection
from interlock.core.kernel.errors import StoreUnavailable
from interlock.core.kernel.secrets import Secret
from tests.clocks import ManualClock

NOBODY = "127.0.0.1:9"
AWS = {
    "region": "eu-central-1",
    "kafka": {"bootstrap_servers": NOBODY, "login": "api_key"},
    "endpoint": f"http://{NOBODY}",
}


class Asked:
    """Somebody who is asked for a login and has none."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self) -> None:
        self.times += 1
        raise StoreUnavailable("no login")


async def test_platform_opens_though_nothing_of_aws_answers(monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    platform = await open_platform_on_aws(Settings.load(file=None, environment={"INTERLOCK_AWS": json.dumps(AWS)}))
    await platform.close()


async def test_story_is_told_where_log_lines_are_as_none_are_kept_on_aws():
    platform = await open_platform_on_aws(Settings.load(file=None, environment={"INTERLOCK_AWS": json.dumps(AWS)}))
    found = await platform.storage.observations.of_payment("pay_1", since=0, until=2**50, limit=10)
    assert found == Observed(note=LINES_ARE_ELSEWHERE)
    await platform.close()


async def test_alarms_without_the_address_of_their_pages_are_refused():
    settings = json.dumps(AWS | {"alarms": "arn:aws:sns:eu-central-1:1:alarms"})
    with pytest.raises(ValueError, match=r"aws\.runbooks"):
        await open_platform_on_aws(Settings.load(file=None, environment={"INTERLOCK_AWS": settings}))


async def test_login_of_kafka_is_asked_for_at_the_first_call_and_again_when_there_was_none():
    asked = Asked()
    bus = KafkaBus(KafkaConfig(NOBODY), SystemClock(), new_token=lambda: "t", login=asked)
    assert asked.times == 0
    for times in (1, 2):
        with pytest.raises(StoreUnavailable, match="no login"):
            await bus.publish("events", [BusMessage("1", "k", b"v")])
        assert asked.times == times
    await bus.close()


async def test_login_that_was_got_is_kept():
    times = []

    async def login() -> ApiKey:
        times.append(1)
        return ApiKey("key", Secret("secret"))

    config = KafkaConfig(NOBODY, answer_s=0.05)
    bus = KafkaBus(config, SystemClock(), new_token=lambda: "t", login=login)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await bus.publish("events", [BusMessage("1", "k", b"v")])
    assert len(times) == 1
    await bus.close()


async def test_address_of_the_documents_is_asked_for_at_the_first_call():
    asked = Asked()
    documents = MongoDocuments(asked, [Collection("payments", ())], clock=ManualClock(), random=lambda: 0.5)
    assert asked.times == 0
    with pytest.raises(StoreUnavailable, match="no login"):
        await documents.get("payments", "pay_1", tenant="ten_1")
    assert asked.times == 1
    await documents.close()
