"""The public document against a running platform, by an outside tool that makes requests of its own: schemathesis.

Every check is on. What may be refused though the document allows it stands with its reason in schemathesis_hooks.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.openapi.checks import (
    IgnoredAuth,
    JsonSchemaError,
    MissingHeaderNotRejected,
    MissingHeaders,
    ObjectLevelAuthorizationViolation,
    RejectedPositiveData,
    UndefinedContentType,
    UndefinedStatusCode,
)

from interlock.core.access.scopes import SCOPES
from tests.entrypoints.api.real import ROOT, RealPlatform, real_platform

pytestmark = [pytest.mark.xdist_group("api-contract"), pytest.mark.timeout(280)]

HERE = Path(__file__).parent
TEST_S = 200
AUTH_SCHEMES = """
[auth.openapi.oauth2]
bearer = "{token}"
[auth.openapi.client_basic]
username = "{client_id}"
password = "{client_secret}"
"""
PEERS = """
[auth.wfc]
path = "{path}"
user = "merchant"
peers = ["merchant", "other"]
"""
HOP_BY_HOP = {"host", "connection", "content-length", "transfer-encoding", "date", "server"}
SELDOM_GOOD = {
    *("receiveNotification", "receiveAlerts"),
    *("capturePayment", "confirmPayment", "explainPayment", "getReproduction"),
    *("getAlert", "acknowledgeAlert", "assignAlert", "resolveAlert", "deleteAlertSource"),
    *("planRepair", "askForRepair", "getRepair", "approveRepair", "rejectRepair", "stopRepair"),
    *("planReplay", "askForReplay", "getReplay", "approveReplay", "rejectReplay"),
    *("pauseReplay", "continueReplay", "stopReplay", "explainFinding"),
    *("runSql", "putObjectives"),
}
"""Nothing good reaches the first two without a proof; the last two take a language of their own; the others need a thing that is
there, in the right state, and are in the stories of their own tests."""


class Run(NamedTuple):
    status: int
    output: str
    seen: dict[str, set[int]]
    """Statuses by operation."""


@pytest.fixture
def real(tmp_path: Path) -> Iterator[RealPlatform]:
    """A fresh one for each test: idempotency keys are new, and limits of what may be made are far away."""
    with real_platform(tmp_path / "data", rate_limit_per_s=100_000, rate_limit_burst=100_000) as platform:
        yield platform


def schemathesis(
    real: RealPlatform, folder: Path, *arguments: str, document: str = "", auth: str = "", url: str = ""
) -> Run:
    """One run. `document`: a file in the place of what is served; `url`: not the platform itself, but what stands before it."""
    base_url = url or real.base_url
    given = {"token": real.token, "client_id": real.client_id, "client_secret": real.client_secret}
    settings, seen = folder / "settings.toml", folder / "seen"
    settings.write_text((HERE / "schemathesis.toml").read_text() + (auth or AUTH_SCHEMES.format(**given)))
    settings.chmod(0o600)
    seen.touch()
    command = [str(Path(sys.executable).with_name("schemathesis")), "--no-color", "--config-file", str(settings), "run"]
    place = [document, "--url", base_url] if document else [f"{base_url}/openapi.json"]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.entrypoints.api.schemathesis_hooks",
        "INTERLOCK_CONTRACT_SEEN": str(seen),
    }
    done = subprocess.run(
        [*command, *place, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TEST_S
    )
    statuses: dict[str, set[int]] = {}
    for line in seen.read_text().splitlines():
        operation, _, status = line.partition(" ")
        statuses.setdefault(operation, set()).add(int(status))
    return Run(done.returncode, done.stdout + done.stderr, statuses)


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {operation["operationId"]: operation for path in document["paths"].values() for operation in path.values()}


async def document_of(real: RealPlatform) -> dict[str, Any]:
    found: dict[str, Any] = (await real.ask("GET", "/openapi.json")).json
    return found


async def test_no_request_gets_an_answer_that_the_document_does_not_promise(real, tmp_path):
    run = schemathesis(real, tmp_path)
    assert run.status == 0, run.output
    described = operations(await document_of(real))
    assert set(run.seen) == set(described) - {"getOpenApi"}, "the tool reads the document and does not try it"
    assert not [status for statuses in run.seen.values() for status in statuses if status >= 500]
    never_good = {name for name, statuses in run.seen.items() if min(statuses) >= 300}
    assert never_good <= SELDOM_GOOD, never_good
    assert run.seen["createPayment"] >= {201, 202, 400, 401, 405, 415, 422}


async def test_stories_along_the_links_keep_the_promises_whatever_their_order(real, tmp_path):
    """Create, then get, confirm, capture, cancel, refund, timeline: in any order, from several seeds."""
    seen: dict[str, set[int]] = {}
    for seed in ("1", "2", "3"):
        folder = tmp_path / seed
        folder.mkdir()
        run = schemathesis(real, folder, "--phases", "stateful", "--seed", seed)
        assert run.status == 0, run.output
        for name, statuses in run.seen.items():
            seen.setdefault(name, set()).update(statuses)
    linked = {
        link["operationId"]
        for operation in operations(await document_of(real)).values()
        for link in operation["responses"].get("201", {}).get("links", {}).values()
    }
    assert linked >= {"getPayment", "capturePayment", "cancelPayment", "refundPayment", "getPaymentTimeline"}
    assert {name for name in linked if not seen.get(name, set()) & {200, 201, 202, 204}} == set()


async def test_nobody_gets_what_another_tenant_made(real, tmp_path, other_tenant):
    run = between(real, tmp_path, other_tenant, real.base_url)
    assert run.status == 0, run.output
    assert {200} <= run.seen["getPayment"] & run.seen["getWebhookEndpoint"] & run.seen["getRefund"]


async def test_gateway_that_shows_one_tenant_what_another_made_is_found(real, tmp_path, other_tenant):
    """The control of the test above: here every client that knows an id is given the thing."""

    async def show(asked: web.Request) -> web.Response:
        headers = {name: value for name, value in asked.headers.items() if name.lower() not in HOP_BY_HOP}
        if asked.method == "GET" and "_0" in asked.path and "Authorization" in headers:
            headers["Authorization"] = f"Bearer {real.token}"
        url = f"{real.base_url}{asked.raw_path}"
        async with session.request(asked.method, url, headers=headers, data=await asked.read()) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    gateway = web.Application()
    gateway.router.add_route("*", "/{path:.*}", show)
    async with aiohttp.ClientSession() as session, TestServer(gateway) as server:
        run = await asyncio.to_thread(between, real, tmp_path, other_tenant, str(server.make_url("")).rstrip("/"))
    assert run.status == 1
    assert ObjectLevelAuthorizationViolation.code in run.output, run.output


def _undefined_status(document: dict[str, Any]) -> None:
    del document["paths"]["/v1/payments/{id}"]["get"]["responses"]["404"]


def _undefined_content_type(document: dict[str, Any]) -> None:
    answer = document["paths"]["/metrics"]["get"]["responses"]["200"]
    answer["content"] = {"application/xml": answer["content"]["text/plain"]}


def _missing_header(document: dict[str, Any]) -> None:
    headers = document["paths"]["/healthz"]["get"]["responses"]["200"]["headers"]
    headers["X-Promised"] = {"required": True, "schema": {"type": "string"}}


def _other_schema(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["PaymentView"]["properties"]["amount"] = {"type": "string"}


def _narrower_than_enforced(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["PreviewBody"]["properties"]["amount"]["maximum"] = 50


def _wider_than_enforced(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["CreateEndpoint"]["properties"]["events"]["items"] = {"type": "string"}


def _not_protected(document: dict[str, Any]) -> None:
    document["paths"]["/readyz"]["get"]["security"] = [{"oauth2": ["payments:read"]}]


def _header_not_needed(document: dict[str, Any]) -> None:
    needed = {"name": "X-Needed", "in": "header", "required": True, "schema": {"type": "string"}}
    document["paths"]["/healthz"]["get"]["parameters"].append(needed)


TAMPERED: dict[type[Failure], Callable[[dict[str, Any]], None]] = {
    UndefinedStatusCode: _undefined_status,
    UndefinedContentType: _undefined_content_type,
    MissingHeaders: _missing_header,
    JsonSchemaError: _other_schema,
    AcceptedNegativeData: _narrower_than_enforced,
    RejectedPositiveData: _wider_than_enforced,
    IgnoredAuth: _not_protected,
    MissingHeaderNotRejected: _header_not_needed,
}
"""What is found -> the lie in the document that it must be found by."""


async def test_every_lie_put_into_the_document_is_found(real, tmp_path):
    """The control of the tests above: with one lie for each check, each check fails."""
    document = await document_of(real)
    for tamper in TAMPERED.values():
        tamper(document)
    tampered = tmp_path / "tampered.json"
    tampered.write_text(json.dumps(document))
    names = ("createPayment", "getPayment", "getMetrics", "getHealth", "getReadiness", "previewRouting")
    chosen = [word for name in (*names, "createWebhookEndpoint") for word in ("--include-operation-id", name)]
    run = schemathesis(real, tmp_path, *chosen, "--phases", "coverage,fuzzing", document=str(tampered))
    assert run.status == 1
    assert [kind.__name__ for kind in TAMPERED if kind.code not in run.output] == []


@pytest.fixture
def other_tenant(real: RealPlatform) -> str:
    """Authorization of a client of another tenant, with every scope."""
    kinds = [argument for scope in SCOPES for argument in ("--scope", scope)]
    command = [sys.executable, "-m", "interlock.entrypoints.cli", "clients", "create", "other", "--tenant", "ten_other"]
    made = subprocess.run(
        [*command, *kinds, "--data", str(real.data), "--json"], cwd=ROOT, capture_output=True, check=True, timeout=30
    )
    client = msgspec.json.decode(made.stdout)
    return f"Bearer {real.log_in(client['client_id'], client['client_secret'])}"


def between(real: RealPlatform, folder: Path, other: str, url: str) -> Run:
    """What the platform's own client makes is asked for again with another Authorization."""
    users = {"merchant": f"Bearer {real.token}", "other": other}
    peers = folder / "peers.json"
    peers.write_text(
        json.dumps(
            {
                "auth": [
                    {"name": name, "fixedHeaders": [{"name": "Authorization", "value": value}]}
                    for name, value in users.items()
                ]
            }
        )
    )
    checks = ("--checks", "object_level_authorization", "--mode", "positive", "--phases", "fuzzing,stateful")
    tags = [argument for tag in ("payments", "refunds", "webhooks", "events") for argument in ("--include-tag", tag)]
    return schemathesis(real, folder, *checks, *tags, url=url, auth=PEERS.format(path=peers))
