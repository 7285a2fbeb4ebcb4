"""How to reach a Kafka cluster, and what its topics are: one frozen object, checked once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from interlock.core.kernel.errors import Invalid
from interlock.core.kernel.secrets import Secret

_NAME = re.compile(r"[a-zA-Z0-9_-][a-zA-Z0-9._-]*")
NAME_CHARACTERS_MAX = 200
"""Kafka allows a topic 249; what is left is for the names of retry and dead-letter topics."""
SESSION_S_MIN, SESSION_S_MAX = 6.0, 1_800.0
"""What a cluster takes unless it is told otherwise: `group.min.session.timeout.ms`, `group.max.session.timeout.ms`."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key and its secret, as Confluent Cloud gives them out: SASL PLAIN over TLS."""

    key: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """An OAuth client that the cluster trusts: SASL OAUTHBEARER over TLS, tokens fetched and renewed by the client library."""

    token_url: str
    client_id: str
    client_secret: Secret
    scope: str = ""
    logical_cluster: str = ""
    """Confluent Cloud: lkc-..."""
    identity_pool: str = ""
    """Confluent Cloud: pool-..."""


Login = ApiKey | ClientCredentials


@dataclass(frozen=True, slots=True)
class TopicShape:
    """What a topic is made with."""

    partitions: int = 8
    """May not be changed later: it says where a key's messages are."""
    replication: int = 3
    min_in_sync: int = 2
    """How many copies have a message before it counts as published."""
    retention_s: int = 7 * 86_400


@dataclass(frozen=True, slots=True)
class KafkaConfig:
    bootstrap_servers: str
    """host:port, several with commas."""
    login: Login | None = None
    """None is for a broker on this machine: no TLS, no login."""
    prefix: str = "interlock."
    """Before the name of every topic, group and transaction: installations may share a cluster, and its access rules go by it."""
    source: str = "/interlock"
    """CloudEvents' `source`."""
    publish_s: float = 15.0
    """How long a publish may take before it is given up."""
    answer_s: float = 10.0
    """How long any other question to the cluster may take."""
    heartbeat_s: float = 3.0
    """How often a member shows that it is alive, and so how soon it learns that others came or went."""
    fetch_wait_s: float = 0.25
    """How long the broker holds a fetch that finds nothing."""
    topic: TopicShape = field(default_factory=TopicShape)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+:\d+(,[\w.-]+:\d+)*", self.bootstrap_servers):
            raise Invalid("bootstrap_servers is host:port, several with commas between them")
        if self.prefix:
            _named("prefix", self.prefix)
        if isinstance(self.login, ClientCredentials) and not self.login.token_url.startswith("https://"):
            raise Invalid("token_url begins with https://: a client secret is sent there")

    def client(self) -> dict[str, Any]:
        """What every client of the library is given. Holds secrets in plain text: hand it on, keep it nowhere."""
        given: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap_servers,
            "socket.keepalive.enable": True,
            "reconnect.backoff.max.ms": 2_000,
            "topic.metadata.refresh.interval.ms": 60_000,
            # The library writes its own lines to standard error; what matters of them reaches us as errors.
            "log_level": 0,
        }
        return given | self._login()

    def topic_name(self, topic: str) -> str:
        """Raises Invalid."""
        return self.prefix + _named("topic", topic)

    def group_name(self, topic: str, group: str) -> str:
        """A group is of one topic: members of another topic's group of that name are not disturbed. Raises Invalid."""
        return f"{self.topic_name(topic)}.{_named('group', group)}"

    def _login(self) -> dict[str, Any]:
        if self.login is None:
            return {}
        secure = {"security.protocol": "SASL_SSL", "ssl.endpoint.identification.algorithm": "https"}
        if isinstance(self.login, ApiKey):
            return secure | {
                "sasl.mechanisms": "PLAIN",
                "sasl.username": self.login.key,
                "sasl.password": self.login.secret.reveal(),
            }
        extensions: dict[Literal["logicalCluster", "identityPoolId"], str] = {
            "logicalCluster": self.login.logical_cluster,
            "identityPoolId": self.login.identity_pool,
        }
        given = {
            "sasl.mechanisms": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.client.id": self.login.client_id,
            "sasl.oauthbearer.client.secret": self.login.client_secret.reveal(),
            "sasl.oauthbearer.token.endpoint.url": self.login.token_url,
            "sasl.oauthbearer.scope": self.login.scope,
            "sasl.oauthbearer.extensions": ",".join(f"{name}={value}" for name, value in extensions.items() if value),
        }
        return secure | {name: value for name, value in given.items() if value}


def _named(what: str, name: str) -> str:
    if not _NAME.fullmatch(name) or len(name) > NAME_CHARACTERS_MAX or name.strip(".") == "":
        raise Invalid(f"a {what} has 1 to {NAME_CHARACTERS_MAX} letters, digits, dots, hyphens and underscores")
    return name


def member_name(member: str) -> str:
    """Raises Invalid."""
    return _named("member", member)
