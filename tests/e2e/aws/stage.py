"""What the stories on AWS run on: everything deployed to an emulator, with the servers it needs beside it."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from typing import Any, NamedTuple

from pymongo import MongoClient

from bench import provider
from interlock.core.kernel.secrets import Secret
from tests.e2e.aws.deployment import Deployed, Deployment
from tests.e2e.aws.merchant import Merchant
from tests.e2e.aws.sftp import send

TENANT = "ten_story"
DATABASE = "interlock"
PATIENCE_S = 60.0


class Stage(NamedTuple):
    """Everything that runs."""

    deployed: Deployed
    deployment: Deployment
    simulator: provider.Provider
    merchant: Merchant
    kafka: str
    sftp_port: int
    documents: Secret

    def forget_documents(self) -> None:
        """Every row of every read model."""
        with MongoClient(self.documents.reveal()) as client:
            for name in client[DATABASE].list_collection_names():
                client[DATABASE][name].delete_many({})

    def send_file(self, user: str, name: str, content: bytes) -> None:
        """By SFTP, as somebody outside does."""
        send(self.deployment, user, name, content, port=self.sftp_port)

    def executions(self, workflow: str, status: str) -> list[str]:
        """Their names."""
        found = self.deployment.client("stepfunctions").list_executions(
            stateMachineArn=self.deployed.machines[workflow], statusFilter=status
        )
        return [one["name"] for one in found["executions"]]

    def logs(self, *functions: str) -> str:
        """What they wrote last, for people who wonder."""
        return "\n".join(line for name in functions for line in [f"-- {name}", *self.deployment.log(name)[-8:]])


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


def answers(api: Api) -> bool:
    try:
        api.ask("GET", "/healthz")
    except OSError:
        return False
    return True
