"""Names, logins and what is printed of them."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.backends.kafka.config import ApiKey, ClientCredentials, KafkaConfig, member_name
from interlock.core.kernel.errors import Invalid
from interlock.core.kernel.secrets import Secret

BAD_NAMES = ["", ".", "..", "a b", "a/b", "caf\u00e9", "a\n", "x" * 201, "../a", "a*"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_name_that_kafka_would_not_take_is_invalid_wherever_it_stands(name: str):
    config = KafkaConfig("localhost:9092")
    with pytest.raises(Invalid, match="topic has 1 to 200"):
        config.topic_name(name)
    with pytest.raises(Invalid, match="group has 1 to 200"):
        config.group_name("events", name)
    with pytest.raises(Invalid, match="member has 1 to 200"):
        member_name(name)


def test_names_stand_behind_the_installations_prefix_and_a_group_is_of_one_topic():
    config = KafkaConfig("localhost:9092", prefix="interlock.production.")
    assert config.topic_name("events") == "interlock.production.events"
    assert config.group_name("events", "webhooks") == "interlock.production.events.webhooks"


@pytest.mark.parametrize("servers", ["", "localhost", "a:1,", "a:1 b:2", "http://a:1", "a:1\nsasl.password=x"])
def test_what_is_no_list_of_servers_is_invalid(servers: str):
    with pytest.raises(Invalid, match="host:port"):
        KafkaConfig(servers)


def test_oauth_client_is_rendered_for_the_library_and_its_secret_is_printed_nowhere():
    login = ClientCredentials(
        "https://login.example/token",
        "ilk",
        Secret("hush-hush"),
        "kafka",
        logical_cluster="lkc-1",
        identity_pool="pool-2",
    )
    config = KafkaConfig("pkc-1.eu-central-1.aws.confluent.cloud:9092", login)
    assert login_of(config) == {
        "security.protocol": "SASL_SSL",
        "ssl.endpoint.identification.algorithm": "https",
        "sasl.mechanisms": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": "ilk",
        "sasl.oauthbearer.client.secret": "hush-hush",
        "sasl.oauthbearer.token.endpoint.url": "https://login.example/token",
        "sasl.oauthbearer.scope": "kafka",
        "sasl.oauthbearer.extensions": "logicalCluster=lkc-1,identityPoolId=pool-2",
    }
    assert "hush" not in repr(config) + str(config) + f"{config}"


def test_library_accepts_an_oauth_client():
    from confluent_kafka import Producer

    login = ClientCredentials("https://127.0.0.1:1/token", "ilk", Secret("hush-hush"))
    Producer(KafkaConfig("127.0.0.1:1", login).client()).flush(0)


def test_api_key_is_rendered_for_the_library_and_its_secret_is_printed_nowhere():
    config = KafkaConfig("pkc-1.confluent.cloud:9092", ApiKey("KEY", Secret("hush-hush")))
    assert login_of(config) == {
        "security.protocol": "SASL_SSL",
        "ssl.endpoint.identification.algorithm": "https",
        "sasl.mechanisms": "PLAIN",
        "sasl.username": "KEY",
        "sasl.password": "hush-hush",
    }
    assert "hush" not in repr(config) + str(config)


def test_client_secret_is_sent_nowhere_without_tls():
    with pytest.raises(Invalid, match="https"):
        KafkaConfig("a:1", ClientCredentials("http://login.example/token", "ilk", Secret("hush-hush")))


def test_broker_on_this_machine_needs_no_login():
    assert login_of(KafkaConfig("127.0.0.1:9092")) == {}


def login_of(config: KafkaConfig) -> dict[str, Any]:
    return {name: value for name, value in config.client().items() if name.startswith(("sasl.", "ssl.", "security."))}
