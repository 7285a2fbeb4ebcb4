"""Roles for the functions and for the services that call them, with the policies that Terraform makes of function.yaml.

The emulator holds them to it: what a function forgot to say it may do is refused here as it is in an account. It knows neither
leading keys nor kms:ViaService; those are seen by Terraform's own tests alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.counterparts.terraform.policies import rendered

CALLERS = ("states", "scheduler", "events", "transfer")


class Roles:
    """Of one account. `iam` is a client."""

    def __init__(self, iam: Any, *, account: str, region: str, prefix: str) -> None:
        self._iam, self._account, self._region, self._prefix = iam, account, region, prefix

    def arn(self, name: str) -> str:
        return f"arn:aws:iam::{self._account}:role/{self._prefix}{name}"

    def for_functions(
        self,
        scratch: Path,
        functions: Mapping[str, Any],
        *,
        table: str,
        stream: str,
        bucket: str,
        secrets: str,
        logins: str,
        vault_key: str,
    ) -> None:
        """`functions`: name -> its function.yaml.

        `table`, `stream` and `vault_key` are ARNs, `bucket` a name, `secrets` and `logins` prefixes.
        """
        places = self.places(
            table=table, stream=stream, bucket=bucket, secrets=secrets, vault_key=vault_key, logins=logins
        )
        policies = rendered(scratch, functions, places=places, region=self._region)
        for name, statements in policies.items():
            self._make(name, ["lambda"], statements)

    def for_callers(self, functions: Sequence[str], workflows: Sequence[str], *, bucket: str) -> str:
        """One role for everything else that acts: workflows, schedules, rules, SFTP."""
        called = [f"arn:aws:lambda:{self._region}:{self._account}:function:{self._prefix}{name}" for name in functions]
        started = [
            f"arn:aws:states:{self._region}:{self._account}:stateMachine:{self._prefix}{one}" for one in workflows
        ]
        name = "callers"
        self._make(
            name,
            CALLERS,
            [
                {"Effect": "Allow", "Action": ["lambda:InvokeFunction"], "Resource": called},
                {"Effect": "Allow", "Action": ["states:StartExecution"], "Resource": started},
                {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": [f"arn:aws:s3:::{bucket}/inbox/*"]},
            ],
        )
        return self.arn(name)

    def places(
        self, *, table: str, stream: str, bucket: str, secrets: str, vault_key: str, logins: str = ""
    ) -> dict[str, str]:
        """As modules/permissions wants them: ARNs of what there is."""

        def arn(service: str, rest: str) -> str:
            return f"arn:aws:{service}:{self._region}:{self._account}:{rest}"

        named = f"{self._prefix}{{name}}"
        return {
            "table": table,
            "stream": stream,
            "queue": arn("sqs", named),
            "topic": arn("sns", named),
            "blobs": f"arn:aws:s3:::{bucket}/",
            "bucket": f"arn:aws:s3:::{bucket}",
            "secrets": arn("secretsmanager", f"secret:{secrets}"),
            "logins": arn("secretsmanager", f"secret:{logins or secrets}"),
            "key": arn("kms", "key/platform"),
            "vault_key": vault_key,
            "schedules": arn("scheduler", f"schedule/{secrets.rstrip('/')}/*"),
            "schedule_role": self.arn("callers"),
            "event_bus": arn("events", "event-bus/interlock"),
            "workflow": arn("states", f"stateMachine:{named}"),
            "executions": arn("states", f"execution:{named}"),
            "unprocessed": arn("sqs", f"{self._prefix}unprocessed"),
        }

    def _make(self, name: str, services: Sequence[str], statements: Sequence[Mapping[str, Any]]) -> None:
        trusted = {"Service": [f"{service}.amazonaws.com" for service in services]}
        trust = _document([{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": trusted}])
        self._iam.create_role(RoleName=f"{self._prefix}{name}", AssumeRolePolicyDocument=trust)
        self._iam.put_role_policy(
            RoleName=f"{self._prefix}{name}", PolicyName="what-function-yaml-says", PolicyDocument=_document(statements)
        )


def _document(statements: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def policy_for_service(service: str, action: str, resource: str, *, account: str) -> str:
    """Of a topic or a queue: that this service of the account may use it, as modules/topic has it."""
    return _document(
        [
            {
                "Effect": "Allow",
                "Action": [action],
                "Resource": [resource],
                "Principal": {"Service": [f"{service}.amazonaws.com"]},
                "Condition": {"StringEquals": {"aws:SourceAccount": account}},
            }
        ]
    )
