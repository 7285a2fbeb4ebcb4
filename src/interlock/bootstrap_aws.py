"""Joins the storage of AWS, for the same platform: DynamoDB, Kafka, SQS, S3, DocumentDB, Secrets Manager, Step Functions.

Nothing is asked of AWS before it is needed, so that a function needs no permission for what it does not use.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from interlock.backends.aws.alarms import NO_TOPIC, SnsAlarms
from interlock.backends.aws.blobs import S3Blobs
from interlock.backends.aws.calls import Calls
from interlock.backends.aws.clients import Clients
from interlock.backends.aws.event_bridge import NO_BUS, EventBridge
from interlock.backends.aws.feed import StreamFeed
from interlock.backends.aws.histories import TableHistories
from interlock.backends.aws.metrics import EmbeddedMetrics
from interlock.backends.aws.parking import Parking, Reminders
from interlock.backends.aws.queue import NO_QUEUE, SqsQueue
from interlock.backends.aws.schedules import OneTimeSchedules
from interlock.backends.aws.secrets import AwsSecrets
from interlock.backends.aws.step_functions import StepFunctionsWorkflows
from interlock.backends.aws.store import DynamoStore
from interlock.backends.aws.vault import NO_KEY, KmsVaultKey
from interlock.backends.kafka.bus import KafkaBus
from interlock.backends.kafka.config import ApiKey, ClientCredentials, KafkaConfig, Login
from interlock.backends.local.clock import SystemClock
from interlock.backends.local.ids import SystemIds
from interlock.backends.memory.observations import MemoryObservations
from interlock.backends.mongo.documents import MongoDocuments
from interlock.backends.telemetry import PlatformTelemetry
from interlock.bootstrap import COLLECTIONS, QUEUES, Platform, Storage, open_platform
from interlock.config import AwsSettings, KafkaSettings, Settings
from interlock.core.kernel.errors import StoreUnavailable
from interlock.core.kernel.secrets import Secret, Secrets

KAFKA_LOGIN = "kafka/login"
"""Two values: key and secret, or client and secret."""
DOCUMENTS_URI = "documents/uri"
LINES_ARE_ELSEWHERE = "Log lines are not kept here: look for the payment's id in CloudWatch Logs."


async def open_platform_on_aws(
    settings: Settings, *, log: BinaryIO | None = None, scratch: Path | None = None
) -> Platform:
    """`scratch`: a folder of a process that has a disk. Raises ValueError for settings that are not there."""
    if settings.aws is None:
        raise ValueError("aws: the settings do not say where the platform stands on AWS")
    storage = open_storage_on_aws(settings, log=log)
    clients = Clients(settings.aws.region, endpoint=settings.aws.endpoint)
    calls = Calls(clients.of("stepfunctions"), clock=storage.clock, random=random.random, what="Step Functions")
    workflows = StepFunctionsWorkflows(calls, settings.aws.state_machines)
    storage = storage._replace(closers=(*storage.closers, clients.close), scratch=scratch)
    return await open_platform(settings, storage, issuer=settings.base_url, workflows=workflows, alone=False)


def open_storage_on_aws(settings: Settings, *, log: BinaryIO | None = None) -> Storage:
    """What remembers and carries, on AWS. Raises as `open_platform_on_aws`."""
    aws = settings.aws
    if aws is None:
        raise ValueError("aws: the settings do not say where the platform stands on AWS")
    clock = SystemClock()
    ids = SystemIds(clock)
    telemetry = PlatformTelemetry(
        stream=log,
        level=settings.log_level,
        sample_ratio=settings.trace_sample_ratio,
        otlp_endpoint=settings.otlp_endpoint,
        sink=EmbeddedMetrics(),
    )
    clients = Clients(aws.region, endpoint=aws.endpoint)

    def calls(service: str, what: str, **more: Any) -> Calls:
        return Calls(clients.of(service), clock=clock, random=random.random, what=what, **more)

    secrets, logins = (
        AwsSecrets(
            calls("secretsmanager", "Secrets Manager", missing={}),
            clock=clock,
            new_token=_token,
            prefix=prefix,
            kms_key=aws.key,
        )
        for prefix in (aws.secrets, aws.logins or aws.secrets)
    )
    kafka = KafkaConfig(aws.kafka.bootstrap_servers, prefix=aws.kafka.prefix)
    bus = KafkaBus(kafka, clock, new_token=_token, login=lambda: _kafka_login(aws.kafka, logins))
    documents = MongoDocuments(
        lambda: _documents_uri(logins),
        COLLECTIONS,
        clock=clock,
        random=random.random,
        database=aws.documents,
        ca_file=aws.documents_ca,
    )
    queue = SqsQueue(calls("sqs", "SQS", missing=NO_QUEUE), QUEUES, base_url=aws.queues, clock=clock, ids=ids)
    store = DynamoStore(
        calls("dynamodb", "DynamoDB"), aws.table, new_token=_token, parking=Parking(clock.now) if aws.park else None
    )
    storage = Storage(
        clock=clock,
        ids=ids,
        telemetry=telemetry,
        closers=(bus.close, documents.close, clients.close),
        observations=MemoryObservations(note=LINES_ARE_ELSEWHERE),
        store=store,
        histories=TableHistories(calls("dynamodb", "DynamoDB"), aws.table),
        feed=StreamFeed(calls("dynamodbstreams", "DynamoDB Streams"), aws.stream, clock=clock),
        bus=bus,
        queue=queue,
        documents=documents,
        tallies=documents,
        blobs=S3Blobs(calls("s3", "S3"), aws.bucket, new_token=_token),
        secrets=secrets,
        records=queue,
    )
    return _with_options(storage, store, aws, calls, source=kafka.source)


def _with_options(
    storage: Storage, store: DynamoStore, aws: AwsSettings, calls: Callable[..., Calls], *, source: str
) -> Storage:
    """What an installation may leave out."""
    if aws.schedules:
        schedules = OneTimeSchedules(
            calls("scheduler", "EventBridge Scheduler", missing={}),
            group=aws.schedules,
            target_arn=aws.schedules_target,
            role_arn=aws.schedules_role,
            clock=storage.clock,
            new_token=_token,
        )
        storage = storage._replace(reminders=Reminders(schedules, store))
    if aws.vault_key:
        storage = storage._replace(vault=KmsVaultKey(calls("kms", "KMS", missing=NO_KEY), aws.vault_key))
    if aws.alarms:
        if not aws.runbooks.startswith("https://"):
            raise ValueError("aws.runbooks: alarms name a page each, at an address that begins with https://")
        topic = calls("sns", "SNS", missing=NO_TOPIC)
        alarms = SnsAlarms(topic, aws.alarms, runbooks=aws.runbooks, clock=storage.clock)
        storage = storage._replace(alarms=alarms)
    if aws.event_bus:
        bus = calls("events", "EventBridge", missing=NO_BUS)
        storage = storage._replace(sharing=EventBridge(bus, aws.event_bus, source=source))
    return storage


async def _kafka_login(settings: KafkaSettings, secrets: Secrets) -> Login | None:
    if settings.login == "none":
        return None
    values = await secrets.get(KAFKA_LOGIN)
    if len(values) != 2:
        raise _missing(KAFKA_LOGIN)
    name, secret = values
    if settings.login == "api_key":
        return ApiKey(name.reveal(), secret)
    return ClientCredentials(
        token_url=settings.token_url,
        client_id=name.reveal(),
        client_secret=secret,
        scope=settings.scope,
        logical_cluster=settings.logical_cluster,
        identity_pool=settings.identity_pool,
    )


async def _documents_uri(secrets: Secrets) -> Secret:
    values = await secrets.get(DOCUMENTS_URI)
    if not values:
        raise _missing(DOCUMENTS_URI)
    return values[0]


def _missing(name: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"the secret {name} does not hold what it should: docs/operations/deploy.md says what that is"
    )


def _token() -> str:
    return uuid.uuid4().hex
