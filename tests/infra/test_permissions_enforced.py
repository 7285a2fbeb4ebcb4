"""What functions may and may not, tried at an emulator that holds them to the policies Terraform makes of their function.yaml."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError

from interlock.backends.aws.table import definition
from tests.counterparts.aws import CREDENTIALS, REGION, running_aws
from tests.counterparts.paths import require
from tests.counterparts.terraform.policies import rendered
from tests.counterparts.terraform.tool import ROOT
from tests.e2e.aws.roles import Roles

pytestmark = [pytest.mark.aws, pytest.mark.xdist_group("terraform"), pytest.mark.timeout(300)]
ACCOUNT, PREFIX, BUCKET, SECRETS = "000000000000", "interlock-", "interlock-files", "interlock/"
REFUSED = ("AccessDenied", "AccessDeniedException", "AuthorizationError", "403")
Client = Callable[[str], Any]
KEY = {"pk": {"S": "i/payments"}, "sk": {"S": "pay_1"}}


class Account:
    """What is there, and clients for whoever asks."""

    def __init__(self, endpoint: str, scratch: Path) -> None:
        self._endpoint, self._session = endpoint, botocore.session.get_session()
        root = self.root = self._client_with(CREDENTIALS)
        table = root("dynamodb").create_table(**definition("interlock"))["TableDescription"]
        root("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        for name in ("inbox/ten_1/a.csv", "ledger/2026-11-20"):
            root("s3").put_object(Bucket=BUCKET, Key=name, Body=b"x")
        for name in ("webhooks", "webhooks-dead", "notifications", "notifications-dead"):
            root("sqs").create_queue(QueueName=f"{PREFIX}{name}")
        for name in ("provider/stripe/api_key", "token_signing_keys", "kafka/login", "documents/uri"):
            root("secretsmanager").create_secret(Name=f"{SECRETS}{name}", SecretString="[]")
        root("sns").create_topic(Name=f"{PREFIX}alarms")
        self.vault_key: str = root("kms").create_key()["KeyMetadata"]["Arn"]
        self._policies = rendered(
            scratch,
            {path.parent.name: yaml.safe_load(path.read_text()) for path in ROOT.glob("src/lambdas/*/function.yaml")},
            places=Roles(None, account=ACCOUNT, region=REGION, prefix=PREFIX).places(
                table=table["TableArn"],
                stream=table["LatestStreamArn"],
                bucket=BUCKET,
                secrets=SECRETS,
                vault_key=self.vault_key,
            ),
            region=REGION,
        )
        self._clients: dict[str, Client] = {}

    def acting_as(self, function: str) -> Client:
        """With a user's keys, as a role's are only Lambda's; the policy is the function's."""
        if function not in self._clients:
            iam = self.root("iam")
            iam.create_user(UserName=function)
            document = {"Version": "2012-10-17", "Statement": self._policies[function]}
            iam.put_user_policy(UserName=function, PolicyName="may", PolicyDocument=json.dumps(document))
            made = iam.create_access_key(UserName=function)["AccessKey"]
            keys = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
            self._clients[function] = self._client_with(keys)
        return self._clients[function]

    def queue(self, name: str) -> str:
        return f"{self._endpoint}/{ACCOUNT}/{PREFIX}{name}"

    def _client_with(self, keys: dict[str, str]) -> Client:
        how = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
        return lambda service: self._session.create_client(
            service, region_name=REGION, endpoint_url=self._endpoint, config=how, **keys
        )


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    require("terraform")
    with running_aws(policies=True) as endpoint:
        yield Account(endpoint, tmp_path_factory.mktemp("account"))


def get_item(_: Account, client: Client) -> None:
    client("dynamodb").get_item(TableName="interlock", Key=KEY)


def seal(account: Account, client: Client) -> None:
    client("kms").generate_data_key(KeyId=account.vault_key, KeySpec="AES_256")


def scan(_: Account, client: Client) -> None:
    client("dynamodb").scan(TableName="interlock", Limit=1)


def put_item(_: Account, client: Client) -> None:
    client("dynamodb").put_item(TableName="interlock", Item=KEY)


def delete_item(_: Account, client: Client) -> None:
    client("dynamodb").delete_item(TableName="interlock", Key=KEY)


def commit(_: Account, client: Client) -> None:
    client("dynamodb").transact_write_items(
        TransactItems=[
            {"Put": {"TableName": "interlock", "Item": {"pk": {"S": "i/payments"}, "sk": {"S": "pay_2"}}}},
            {"Put": {"TableName": "interlock", "Item": {"pk": {"S": "e/pay_2"}, "sk": {"S": "1"}}}},
        ]
    )


def secret(name: str) -> Callable[[Account, Client], None]:
    def get(_: Account, client: Client) -> None:
        client("secretsmanager").get_secret_value(SecretId=f"{SECRETS}{name}")

    return get


def new_secret(_: Account, client: Client) -> None:
    client("secretsmanager").put_secret_value(SecretId=f"{SECRETS}provider/stripe/api_key", SecretString="[]")


def read(key: str) -> Callable[[Account, Client], None]:
    return lambda _, client: client("s3").get_object(Bucket=BUCKET, Key=key)


def write(key: str) -> Callable[[Account, Client], None]:
    return lambda _, client: client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"x")


def send(queue: str) -> Callable[[Account, Client], None]:
    return lambda account, client: client("sqs").send_message(QueueUrl=account.queue(queue), MessageBody="x")


def receive(queue: str) -> Callable[[Account, Client], None]:
    return lambda account, client: client("sqs").receive_message(QueueUrl=account.queue(queue))


def count(queue: str) -> Callable[[Account, Client], None]:
    return lambda account, client: client("sqs").get_queue_attributes(
        QueueUrl=account.queue(queue), AttributeNames=["ApproximateNumberOfMessages"]
    )


def tell(_: Account, client: Client) -> None:
    client("sns").publish(TopicArn=f"arn:aws:sns:{REGION}:{ACCOUNT}:{PREFIX}alarms", Message="x")


MAY = [
    ("http_api", commit),
    ("http_api", send("webhooks")),
    ("http_api", secret("provider/stripe/api_key")),
    ("authorizer", get_item),
    ("authorizer", secret("token_signing_keys")),
    ("sweep", commit),
    ("sweep", delete_item),
    ("deliver_webhook", receive("webhooks")),
    ("deliver_webhook", send("webhooks-dead")),
    ("on_payment_event", secret("kafka/login")),
    ("step_raise_alarm", tell),
    ("step_keep_file", read("inbox/ten_1/a.csv")),
    ("step_keep_file", write("files/ten_1/hash")),
    ("step_archive_ledger", write("ledger/2026-11-21")),
    ("step_verify_ledger", scan),
    ("deliver_webhook", seal),
    ("http_api", seal),
    ("step_archive_ledger", scan),
    ("http_desk", commit),
    ("http_desk", count("webhooks")),
    ("http_desk", receive("webhooks-dead")),
    ("http_desk", send("webhooks")),
    ("http_desk", secret("documents/uri")),
    ("http_desk", seal),
    ("tend_desk", commit),
    ("tend_desk", secret("provider/stripe/api_key")),
    ("tend_desk", secret("documents/uri")),
    ("tend_desk", send("webhooks")),
    ("tend_desk", receive("webhooks-dead")),
    ("tend_desk", scan),
    ("http_desk", scan),
]
MAY_NOT = [
    ("authorizer", put_item),
    ("authorizer", secret("provider/stripe/api_key")),
    ("http_api", receive("webhooks")),
    ("http_api", new_secret),
    ("http_api", tell),
    ("http_api", scan),
    ("on_payment_event", seal),
    ("http_notifications", seal),
    ("sweep", receive("webhooks")),
    ("sweep", secret("token_signing_keys")),
    ("deliver_webhook", receive("notifications")),
    ("deliver_webhook", secret("provider/stripe/api_key")),
    ("on_payment_event", secret("provider/stripe/api_key")),
    ("relay_feed", put_item),
    ("step_raise_alarm", get_item),
    ("step_raise_alarm", secret("provider/stripe/api_key")),
    ("step_raise_alarm", secret("documents/uri")),
    ("sweep", secret("kafka/login")),
    ("deliver_webhook", secret("documents/uri")),
    ("step_keep_file", read("ledger/2026-11-20")),
    ("step_keep_file", write("ledger/2026-11-20")),
    ("step_verify_ledger", put_item),
    ("step_archive_ledger", write("files/ten_1/hash")),
    ("http_desk", receive("webhooks")),
    ("http_desk", secret("token_signing_keys")),
    ("http_desk", secret("kafka/login")),
    ("http_desk", new_secret),
    ("http_desk", read("ledger/2026-11-20")),
    ("http_desk", tell),
    ("tend_desk", receive("webhooks")),
    ("tend_desk", secret("token_signing_keys")),
    ("tend_desk", seal),
    ("sweep", send("webhooks")),
]


@pytest.mark.parametrize(("function", "do"), MAY)
def test_function_may_what_it_is_for(account: Account, function: str, do: Callable[[Account, Client], None]):
    do(account, account.acting_as(function))


@pytest.mark.parametrize(("function", "do"), MAY_NOT)
def test_function_may_nothing_else(account: Account, function: str, do: Callable[[Account, Client], None]):
    do(account, account.root)  # it is there, and can be done
    with pytest.raises(ClientError) as refused:
        do(account, account.acting_as(function))
    assert refused.value.response["Error"]["Code"] in REFUSED
