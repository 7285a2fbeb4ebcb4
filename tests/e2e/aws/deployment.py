"""Deploys the platform to the emulator: the same archives, function descriptions, definitions and queues that Terraform deploys.

What differs from an account is said here and nowhere else: functions run under the machine's Python with their layers beside them,
and the event source mapping of Kafka, which the emulator lacks, is a thread (`mapping.py`).
"""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import botocore.session
import yaml
from botocore.config import Config

from interlock.backends.aws.metrics import NAMESPACE
from interlock.backends.aws.sqs_messages import DEAD_SUFFIX, dead_definition, definition
from interlock.backends.aws.table import definition as table_definition
from interlock.bootstrap import QUEUES
from interlock.bootstrap_aws import DOCUMENTS_URI
from interlock.core.kernel.secrets import Secret
from tests.counterparts.aws import CREDENTIALS, REGION
from tests.counterparts.paths import require
from tests.e2e.aws.packages import Packages
from tests.e2e.aws.roles import Roles, policy_for_service

ROOT = Path(__file__).parents[3]
ACCOUNT = "000000000000"
TABLE, BUCKET, SCHEDULES = "interlock", "interlock-files", "interlock"
PREFIX = "interlock-"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}callers"
"""Of whatever calls functions; each function has one of its own (`roles.py`)."""
SECRETS = "interlock/"
LOGINS = "interlock-here/"
EVENT_BUS = "interlock"


class Deployed(NamedTuple):
    """What was made, by the names the platform knows."""

    endpoint: str
    api: str
    """Where the API answers."""
    environment: dict[str, str]
    """Of every function: the platform's settings."""
    machines: dict[str, str]
    alarms: str
    """ARN of the topic."""


class Deployment:
    def __init__(self, endpoint: str, packages: Packages, scratch: Path) -> None:
        self._endpoint, self._packages, self._scratch = endpoint, packages, scratch
        self._session = botocore.session.get_session()

    def client(self, service: str) -> Any:
        return self._session.create_client(
            service,
            region_name=REGION,
            endpoint_url=self._endpoint,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=90),
            **CREDENTIALS,
        )

    def deploy(
        self, *, kafka: str, documents: Secret, providers: list[dict[str, Any]], credentials: Mapping[str, str]
    ) -> Deployed:
        """`credentials`: secret's name -> value, of the providers."""
        table = self.client("dynamodb").create_table(**table_definition(TABLE))["TableDescription"]
        s3 = self.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_notification_configuration(
            Bucket=BUCKET, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )
        queues = self._queues()
        sns = self.client("sns")
        alarms = sns.create_topic(Name=f"{PREFIX}alarms")["TopicArn"]
        policy = policy_for_service("cloudwatch", "sns:Publish", alarms, account=ACCOUNT)
        sns.set_topic_attributes(TopicArn=alarms, AttributeName="Policy", AttributeValue=policy)
        vault_key = self.client("kms").create_key()["KeyMetadata"]["Arn"]
        self.client("events").create_event_bus(Name=EVENT_BUS)
        self.client("scheduler").create_schedule_group(Name=SCHEDULES)
        named = {f"{SECRETS}{name}": value for name, value in credentials.items()}
        for name, value in {f"{LOGINS}{DOCUMENTS_URI}": documents.reveal(), **named}.items():
            self.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps([value]))
        machines = {
            path.name.removesuffix(".asl.json"): path.read_text() for path in (ROOT / "workflows").glob("*.asl.json")
        }
        arns = {name: f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{PREFIX}{name}" for name in machines}
        api = self.client("apigatewayv2").create_api(Name="interlock", ProtocolType="HTTP")["ApiId"]
        base = f"{self._endpoint}/_aws/execute-api/{api}/$default"
        aws = {
            "region": REGION,
            "kafka": {"bootstrap_servers": kafka},
            "table": TABLE,
            "stream": table["LatestStreamArn"],
            "queues": f"{self._endpoint}/{ACCOUNT}/{PREFIX}",
            "bucket": BUCKET,
            "secrets": SECRETS,
            "logins": LOGINS,
            "state_machines": arns,
            "vault_key": vault_key,
            "alarms": alarms,
            "runbooks": "https://docs.interlock.example/alarms",
            "event_bus": EVENT_BUS,
            "schedules": SCHEDULES,
            "schedules_target": _function_arn("sweep"),
            "schedules_role": ROLE,
            "park": True,
            "endpoint": self._endpoint,
        }
        self._roles(table, machines, vault_key)
        environment = {
            "INTERLOCK_AWS": json.dumps(aws),
            "INTERLOCK_PROVIDERS": json.dumps(providers),
            "INTERLOCK_BASE_URL": "https://api.interlock.example",
            "INTERLOCK_WEBHOOK_ALLOW_LOOPBACK": "true",
            "POWERTOOLS_SERVICE_NAME": "interlock",
        }
        for name in self._packages.functions:
            self._function(name, environment)
        for name, text in machines.items():
            self.client("stepfunctions").create_state_machine(
                name=f"{PREFIX}{name}", roleArn=ROLE, definition=_filled(text, self._packages.functions)
            )
        self._intake(arns["file_intake"])
        for name in self._packages.functions:
            self._trigger(name, stream=table["LatestStreamArn"], queues=queues)
        self._routes(api)
        self.client("apigatewayv2").create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
        return Deployed(self._endpoint, base, environment, arns, alarms)

    def _intake(self, machine: str) -> None:
        """A file in the inbox starts its workflow, as modules/sftp has it."""
        events = self.client("events")
        pattern = {
            "source": ["aws.s3"],
            "detail-type": ["Object Created"],
            "detail": {"bucket": {"name": [BUCKET]}, "object": {"key": [{"prefix": "inbox/"}]}},
        }
        events.put_rule(Name="arrived", EventPattern=json.dumps(pattern))
        paths = {"key": "$.detail.object.key", "size": "$.detail.object.size"}
        template = '{"key": <key>, "size": <size>}'
        events.put_targets(
            Rule="arrived",
            Targets=[
                {
                    "Id": "intake",
                    "Arn": machine,
                    "RoleArn": ROLE,
                    "InputTransformer": {"InputPathsMap": paths, "InputTemplate": template},
                }
            ],
        )

    @contextmanager
    def stopped(self, function: str) -> Iterator[None]:
        """Its queue hands it nothing."""
        client = self.client("lambda")
        found = client.list_event_source_mappings(FunctionName=f"{PREFIX}{function}")["EventSourceMappings"]
        for one in found:
            client.update_event_source_mapping(UUID=one["UUID"], Enabled=False)
        yield
        for one in found:
            client.update_event_source_mapping(UUID=one["UUID"], Enabled=True)

    def subscribed(self, topic: str) -> str:
        """URL of a queue that hears what the topic says."""
        url, arn = self._ears("sns")
        self.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return url

    def ruled(self, pattern: Mapping[str, Any]) -> str:
        """URL of a queue that hears what passes on the event bus and fits."""
        url, arn = self._ears("events")
        events = self.client("events")
        events.put_rule(Name="heard", EventBusName=EVENT_BUS, EventPattern=json.dumps(pattern))
        events.put_targets(Rule="heard", EventBusName=EVENT_BUS, Targets=[{"Id": "ears", "Arn": arn}])
        return url

    def _ears(self, service: str) -> tuple[str, str]:
        """A queue that this service may send to: URL and ARN."""
        sqs = self.client("sqs")
        url = sqs.create_queue(QueueName=f"ears-{uuid.uuid4().hex[:8]}")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = policy_for_service(service, "sqs:SendMessage", arn, account=ACCOUNT)
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        return str(url), str(arn)

    def followers(self) -> dict[str, dict[str, Any]]:
        """Function -> the topic it follows, and in which group."""
        triggers = {name: description(name)["trigger"] for name in self._packages.functions}
        return {name: trigger["kafka"] for name, trigger in triggers.items() if "kafka" in trigger}

    def received(self, url: str) -> str:
        messages = self.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", ())
        return " ".join(message["Body"] for message in messages)

    def alarm(self, name: str, metric: str, dimensions: Mapping[str, str]) -> None:
        """More than none within a minute."""
        self.client("cloudwatch").put_metric_alarm(
            AlarmName=name,
            Namespace=NAMESPACE,
            MetricName=metric,
            Dimensions=[{"Name": key, "Value": value} for key, value in sorted(dimensions.items())],
            Statistic="Sum",
            ComparisonOperator="GreaterThanThreshold",
            Threshold=0,
            Period=60,
            EvaluationPeriods=1,
            TreatMissingData="notBreaching",
            AlarmActions=[f"arn:aws:sns:{REGION}:{ACCOUNT}:{PREFIX}alarms"],
        )

    def extract_metrics(self, function: str) -> int:
        """Stands in for CloudWatch, which makes metrics of the lines that a function writes in the embedded format."""
        count = 0
        for line in self.log(function):
            said = json.loads(line) if line.startswith('{"_aws"') else None
            for directive in said["_aws"]["CloudWatchMetrics"] if said else ():
                for one in directive["Metrics"]:
                    names = [name for name in directive["Dimensions"][0] if name != "service"]
                    self.client("cloudwatch").put_metric_data(
                        Namespace=directive["Namespace"],
                        MetricData=[
                            {
                                "MetricName": one["Name"],
                                "Dimensions": [{"Name": name, "Value": said[name]} for name in sorted(names)],
                                "Values": [float(value) for value in said[one["Name"]]],
                            }
                        ],
                    )
                    count += one["Name"] == "interlock_alarms_total"
        return count

    def log(self, function: str) -> list[str]:
        """What a function wrote, line by line."""
        logs, group = self.client("logs"), f"/aws/lambda/{PREFIX}{function}"
        try:
            streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [
            event["message"]
            for stream in streams
            for event in logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
        ]

    def _queues(self) -> dict[str, str]:
        """Name -> ARN."""
        sqs, found = self.client("sqs"), {}
        for spec in QUEUES:
            if spec.name == "workflows":  # Step Functions needs none, and Terraform makes none
                continue
            name = f"{PREFIX}{spec.name}"
            dead = sqs.create_queue(QueueName=f"{name}{DEAD_SUFFIX}", Attributes=dead_definition())["QueueUrl"]
            dead_arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            url = sqs.create_queue(QueueName=name, Attributes=definition(spec, dead_arn=dead_arn))["QueueUrl"]
            found[spec.name] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
                "QueueArn"
            ]
        return found

    def _roles(self, table: Mapping[str, Any], machines: Mapping[str, str], vault_key: str) -> None:
        roles = Roles(self.client("iam"), account=ACCOUNT, region=REGION, prefix=PREFIX)
        roles.for_functions(
            self._scratch,
            {name: description(name) for name in self._packages.functions},
            table=table["TableArn"],
            stream=table["LatestStreamArn"],
            bucket=BUCKET,
            secrets=SECRETS,
            logins=LOGINS,
            vault_key=vault_key,
        )
        assert roles.for_callers(self._packages.functions, list(machines), bucket=BUCKET) == ROLE

    def _function(self, name: str, environment: Mapping[str, str]) -> None:
        described = description(name)
        if not any(word.startswith("read secrets provider/") for word in described["may"]):
            environment = {key: value for key, value in environment.items() if key != "INTERLOCK_PROVIDERS"}
        self.client("lambda").create_function(
            FunctionName=f"{PREFIX}{name}",
            Runtime="provided.al2023",
            Role=f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}{name}",
            Handler="handler.handle",
            Code={"ZipFile": _with_bootstrap(self._packages.archive(name), self._packages.loaded_by(described))},
            MemorySize=described["memory_mb"],
            Timeout=described["timeout_s"],
            Environment={"Variables": dict(environment)},
        )

    def _trigger(self, name: str, *, stream: str, queues: Mapping[str, str]) -> None:
        ((kind, how),) = description(name)["trigger"].items()
        match kind:
            case "stream":
                self.client("lambda").create_event_source_mapping(
                    FunctionName=f"{PREFIX}{name}",
                    EventSourceArn=stream,
                    StartingPosition="TRIM_HORIZON",
                    BatchSize=how["batch"],
                )
            case "queue":
                self.client("lambda").create_event_source_mapping(
                    FunctionName=f"{PREFIX}{name}",
                    EventSourceArn=queues[how["name"]],
                    BatchSize=how["batch"],
                    FunctionResponseTypes=["ReportBatchItemFailures"],
                )
            case "schedule":
                self.client("events").put_rule(Name=f"{PREFIX}{name}", ScheduleExpression=how["every"])
                self.client("events").put_targets(
                    Rule=f"{PREFIX}{name}", Targets=[{"Id": name, "Arn": _function_arn(name)}]
                )

    def _routes(self, api: str) -> None:
        """A route for each operation of the OpenAPI document, and whole prefixes, as modules/api makes them."""
        gateway = self.client("apigatewayv2")
        prefixes = {
            described["trigger"]["http"]["prefix"]: name
            for name in self._packages.functions
            if "http" in (described := description(name))["trigger"]
        }
        integrations = {
            name: gateway.create_integration(
                ApiId=api,
                IntegrationType="AWS_PROXY",
                IntegrationUri=_function_arn(name),
                PayloadFormatVersion="2.0",
            )["IntegrationId"]
            for name in prefixes.values()
        }
        authorizer = gateway.create_authorizer(
            ApiId=api,
            Name="caller",
            AuthorizerType="REQUEST",
            AuthorizerUri=_invoked(_function_arn("authorizer")),
            AuthorizerPayloadFormatVersion="2.0",
            EnableSimpleResponses=True,
            IdentitySource=["$request.header.Authorization"],
        )["AuthorizerId"]
        document = json.loads((ROOT / "openapi/interlock.json").read_text())
        for prefix, name in prefixes.items():
            for method in description(name)["trigger"]["http"].get("methods", ()):
                for path in (prefix, f"{prefix}/{{proxy+}}"):
                    gateway.create_route(
                        ApiId=api, RouteKey=f"{method} {path}", Target=f"integrations/{integrations[name]}"
                    )
        for path, operations in document["paths"].items():
            prefix = max((one for one in prefixes if path.startswith(one)), key=len)
            for method, operation in operations.items():
                needs = any("oauth2" in way for way in operation.get("security", ()))
                gateway.create_route(
                    ApiId=api,
                    RouteKey=f"{method.upper()} {path}",
                    Target=f"integrations/{integrations[prefixes[prefix]]}",
                    **({"AuthorizationType": "CUSTOM", "AuthorizerId": authorizer} if needs else {}),
                )


def _invoked(function_arn: str) -> str:
    return f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function_arn}/invocations"


def description(name: str) -> dict[str, Any]:
    """A function's `function.yaml`."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "src/lambdas" / name / "function.yaml").read_text())
    return found


def _function_arn(name: str) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{PREFIX}{name}"


def _filled(text: str, functions: list[str]) -> str:
    """As Terraform's templatefile fills it."""
    for name in functions:
        text = text.replace(f"${{{name}}}", _function_arn(name))
    return text


def _with_bootstrap(archive: Path, layers: Sequence[Path]) -> bytes:
    """The runtime names an exception by its class, as the service's own does; the emulator's own does not."""
    python = require("lambda-runtime")
    path = ":".join(["$LAMBDA_TASK_ROOT", *map(str, layers)])
    bootstrap = (
        f'#!/bin/sh\ncd "$LAMBDA_TASK_ROOT"\nexport PYTHONPATH="{path}"\nexec "{python}" -m awslambdaric "$_HANDLER"\n'
    )
    packed = io.BytesIO(archive.read_bytes())
    with zipfile.ZipFile(packed, "a") as whole:
        executable = zipfile.ZipInfo("bootstrap")
        executable.external_attr = 0o755 << 16
        whole.writestr(executable, bootstrap)
    return packed.getvalue()
