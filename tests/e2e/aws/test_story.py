"""The whole story on AWS, as far as it can be had without an account: deployed to an emulator, with a real Kafka broker, a server
that speaks the MongoDB protocol, the simulated provider as a process, and a merchant who listens."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from interlock.bootstrap import Platform
from interlock.core.kernel.bus import BusRecord, event_in
from interlock.core.kernel.workflows import Execution, Status
from interlock.core.ledger.verification import verify
from interlock.core.payments.verification import payment_check
from interlock.core.webhooks.ports import QUEUE as WEBHOOKS
from interlock.core.webhooks.ports import QUEUE_SPEC
from interlock.core.webhooks.records import endpoints_partition
from interlock.entrypoints.worker import EVENTS_TOPIC
from tests.e2e.aws.console import Person
from tests.e2e.aws.stage import TENANT, Api, Stage, answers, until
from tests.free_ports import free_ports

pytestmark = [pytest.mark.aws, pytest.mark.xdist_group("aws story"), pytest.mark.timeout(900)]
SALE = {"amount": 1999, "currency": "EUR", "payment_method": {"type": "card", "token": "tok_approve"}}


async def ended(platform: Platform, execution: str, why: Callable[[], str]) -> Execution:
    async def found() -> Execution | None:
        execution_now = await platform.workflows.describe(execution)
        return None if execution_now.status is Status.RUNNING else execution_now

    return await until(found, why)


async def test_a_payment_goes_through_everything(stage: Stage, platform: Platform, api: Api) -> None:
    others = stage.deployment.ruled({"source": ["interlock"], "detail-type": ["payment.succeeded"]})

    # API Gateway lets nobody in without a token
    assert Api(stage.deployed.api).ask("GET", "/v1/payments")[0] == 401

    # a payment authorised and captured by the simulator
    status, payment = api.ask("POST", "/v1/payments", SALE, key="order-1")
    assert (status, payment["status"]) == (201, "succeeded"), payment
    assert api.ask("POST", "/v1/payments", SALE, key="order-1")[1] == payment
    assert stage.simulator.books().captured == 1999

    # its journal in DynamoDB, its events on Kafka, its webhooks at the merchant, itself in the list and at others' rules
    report = await verify(
        platform.storage.store, platform.storage.histories, check_payment=payment_check(platform.storage.store)
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
    # whose endpoint's signing secret stands in the table only sealed
    kept = await platform.storage.store.query(endpoints_partition(TENANT))
    assert [b"whsec_" in one.value for one in kept.items] == [False]
    await until(
        lambda: [kind for kind, of in stage.merchant.heard if of == payment["id"]] == told,
        lambda: f"{stage.merchant.heard} {stage.logs('on_payment_event', 'deliver_webhook')[-2500:]}",
    )
    await until(
        lambda: [one["id"] for one in api.ask("GET", "/v1/payments?status=succeeded")[1]["data"]] == [payment["id"]]
    )
    passed = json.loads(await until(lambda: stage.deployment.received(others), lambda: stage.logs("share_events")))
    told_of = passed["detail"]
    assert (told_of["specversion"], told_of["subject"]) == ("1.0", payment["id"])
    assert "facts" not in told_of


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
        try:
            assert [one.wait(30) for one in started] == [0, 0]
        finally:
            for one in started:
                one.kill()


def on_the_command_line(stage: Stage, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`interlock`, by somebody who administers the account."""
    environment = {
        **os.environ,
        **stage.deployed.environment,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    del environment["POWERTOOLS_SERVICE_NAME"]
    command = [sys.executable, "-m", "interlock.entrypoints.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


async def test_support_explains_a_payment_at_the_console_and_repairs_it_with_somebody_elses_approval(
    stage: Stage, api: Api, tmp_path: Path
) -> None:
    origin, password = stage.deployed.environment["INTERLOCK_BASE_URL"], "correct horse battery"

    def person() -> Person:
        return Person(stage.deployed.api, origin)

    def logs() -> str:
        return stage.logs("http_desk", "tend_desk", "on_payment_event")[-3000:]

    # nobody is let in; the page to sign in at has its style and scripts, and browsers keep them
    stranger = person()
    assert (refused := stranger.get("/console")).status == 303, logs()
    assert refused.location == "/console/sign-in?to=/console"
    page = stranger.get("/console/sign-in")
    assert page.status == 200 and "script-src 'self'" in page.headers["content-security-policy"]
    loaded = re.findall(r'(?:src|href)="(/console/static/[^"]+)"', page.text)
    assert {one.partition("?")[0].rpartition("/")[2] for one in loaded} >= {"console.js", "htmx.min.js", "mark.svg"}
    for path in loaded:
        file = stranger.get(path)
        assert (file.status, file.headers["cache-control"]) == (200, "public, max-age=31536000, immutable"), path
        assert file.body
    assert stranger.get("/console/static/mark.svg").body.startswith(b"<svg")
    assert stranger.head("/console/sign-in").status == 200

    # the first person is made on the command line, the second at the console
    added = on_the_command_line(stage, tmp_path, "operators", "add", "ada", "--role", "admin", "--password", password)
    assert added.returncode == 0, added.stderr
    ada, grace = person(), person()
    ada.sign_in("ada", password)
    form = {"name": "grace", "password": password, "role": "lead"}
    assert ada.post("/console/people", form, page="/console/people", origin="https://evil.example").status == 403
    assert ada.post("/console/people", {"csrf": "0" * 64, **form}).status == 403
    assert ada.post("/console/people", form, page="/console/people").location == "/console/people"
    grace.sign_in("grace", password)

    # causes are searched with packages that only some functions load
    status, causes = api.ask("GET", "/v1/desk/causes")
    assert (status, causes["verdict"]) == (200, "calm"), (causes, logs())

    # every page opens, and says what is not there
    payment = api.ask("POST", "/v1/payments", SALE, key="order-desk")[1]
    story = f"/console/payments/{payment['id']}"
    await until(lambda: grace.get(story).status == 200, logs)
    told = grace.get(story).text
    assert "Timeline" in told and "succeeded" in told and "tok_approve" not in told
    for path in (
        "/alerts",
        "/risk",
        "/repairs",
        "/objectives",
        "/payments",
        "/causes",
        "/blast",
        "/webhooks",
        "/ledger",
    ):
        assert (seen := grace.get(f"/console{path}")).status == 200, (path, seen.text[-500:], logs())
    overview = grace.get("/console").text
    assert 'data-live-by="looks"' in overview and 'href="/console/queues/webhooks"' in overview
    assert 'href="/console/queues/workflows"' not in overview
    assert json.loads(grace.get("/console/live/marks").body)["payments"].startswith("att_")
    assert "does not have DuckDB" in grace.get("/console/sql").text
    assert "in each process" in grace.get("/console/providers").text
    assert grace.get("/console/operations/slo-burn-page").status == 200
    assert grace.get("/console/queues/notifications").status == 200

    # what a source of alerts proves itself with stands in the table only sealed
    source = {"id": "prometheus", "name": "Prometheus", "format": "alertmanager", "proof": "bearer"}
    made = ada.post("/console/alert-sources", source, page="/console/alert-sources")
    assert made.status in (200, 303), (made.text, logs())

    # a repair: who asked cannot approve it, and once approved it is carried out by itself
    preview = f"/console/repairs/new?action=refund&ids={payment['id']}"
    chosen = re.search(r'name="payments" value="([^"]+)"', ada.get(preview).text)
    assert chosen is not None, logs()
    wanted = {"action": "refund", "payments": chosen[1], "reason": "charged for nothing"}
    asked = ada.post("/console/repairs", wanted, page=preview)
    assert asked.location.startswith("/console/repairs/rpr_"), asked
    assert ada.post(f"{asked.location}/approve", {}, page=asked.location).status == 403
    assert grace.post(f"{asked.location}/approve", {}, page=asked.location).location == asked.location, logs()
    await until(lambda: api.ask("GET", f"/v1/payments/{payment['id']}")[1]["amount_refunded"] == 1999, logs)
    await until(lambda: "done" in grace.get(asked.location).text, logs)

    # signing out ends it
    ada.post("/console/sign-out", {}, page="/console")
    assert ada.get("/console").location.startswith("/console/sign-in")


async def test_file_that_arrives_by_sftp_is_taken_in_by_its_workflow(stage: Stage, platform: Platform) -> None:
    content = b"settled;1999;EUR\n"
    stage.send_file(TENANT, "settlement.csv", content)
    kept = await until(lambda: platform.storage.blobs.list(f"files/{TENANT}/"), lambda: stage.logs("step_inspect_file"))
    assert [await platform.storage.blobs.get(key) for key in kept] == [content]
    executions = await until(lambda: stage.executions("file_intake", "SUCCEEDED"))
    ended = await platform.workflows.describe(f"file_intake/{executions[0]}")
    assert (ended.status, ended.input["key"]) == (Status.SUCCEEDED, f"inbox/{TENANT}/settlement.csv")


async def test_ledger_is_proved_and_archived_by_its_workflow(stage: Stage, platform: Platform) -> None:
    given = {"tenant": TENANT, "day": datetime.now(UTC).date().isoformat()}
    name = await platform.workflows.start("nightly_ledger_verification", given, id=uuid.uuid4().hex)
    done = await ended(platform, name, lambda: stage.logs("step_verify_ledger", "step_archive_ledger"))
    assert (done.status, done.output["status"]) == (Status.SUCCEEDED, "sound"), done
    files = await platform.storage.blobs.list(f"ledger/{TENANT}/")
    assert any(one.endswith("report.json") for one in files), files


async def test_payment_that_nobody_can_recover_reaches_people_with_its_name(stage: Stage, platform: Platform) -> None:
    inbox = stage.deployment.subscribed(stage.deployed.alarms)
    unknown = f"pay_{'0' * 26}"
    name = await platform.workflows.start(
        "recover_payment", {"tenant": TENANT, "payment": unknown}, id=uuid.uuid4().hex
    )
    done = await ended(platform, name, lambda: stage.logs("step_look_up_payment", "step_raise_alarm"))
    assert done.output["status"] == "needs_attention", done
    heard = await until(lambda: stage.deployment.received(inbox))
    assert "workflow-needs-attention" in heard
    assert unknown in heard
    assert "https://docs.interlock.example/alarms/workflow-needs-attention.md" in heard


async def test_webhook_that_died_is_brought_back_and_delivered(stage: Stage, platform: Platform, api: Api) -> None:
    stage.merchant.refuses = True
    with stage.deployment.stopped("deliver_webhook"):
        payment = api.ask("POST", "/v1/payments", SALE, key="order-2")[1]
        queue, died = platform.storage.queue, False
        for _ in range(4 * QUEUE_SPEC.attempts_max):
            for message in await queue.receive(WEBHOOKS, wait_s=2.0):
                await queue.release(WEBHOOKS, message.receipt)
            died = died or bool(await queue.dead_letters(WEBHOOKS))
            if died and (await queue.depth(WEBHOOKS)).ready == 0:
                break
    letters = await queue.dead_letters(WEBHOOKS)
    assert letters, "it has died"
    stage.merchant.refuses = False
    assert await queue.redrive(WEBHOOKS, [letter.id for letter in letters]) == len(letters)
    told = ["payment.created", "payment.succeeded"]
    await until(lambda: [kind for kind, of in stage.merchant.heard if of == payment["id"]] == told)
    assert await queue.dead_letters(WEBHOOKS) == []


async def test_event_nobody_can_read_fires_an_alarm_and_holds_nothing_up(
    stage: Stage, platform: Platform, api: Api
) -> None:
    from interlock.core.kernel.bus import BusMessage

    inbox = stage.deployment.subscribed(stage.deployed.alarms)
    stage.deployment.alarm("event-unreadable", "interlock_alarms_total", {"event": "worker.event_unreadable"})
    await platform.storage.bus.publish(EVENTS_TOPIC, [BusMessage("evt_bad", "pay_x", b"\xff not an event")])
    payment = api.ask("POST", "/v1/payments", SALE, key="order-3")[1]
    await until(lambda: ("payment.succeeded", payment["id"]) in stage.merchant.heard)
    await until(lambda: stage.deployment.extract_metrics("on_payment_event"))
    assert "event-unreadable" in await until(lambda: stage.deployment.received(inbox))


def test_release_and_restored_storage_are_checked_and_read_models_rebuilt_on_the_command_line(
    stage: Stage, tmp_path: Path
) -> None:
    def asked(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
        done = on_the_command_line(stage, tmp_path, *arguments, "--json")
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    echo = stage.merchant.url.replace("hooks", "echo")
    status, checks = asked("release", "check", "--pay", "simulator=tok_approve", "--echo", echo)
    assert [one["what"] for one in checks if not one["ok"]] == []
    assert (status, len(checks)) == (0, 6)
    assert asked("release", "check", "--pay", "simulator=tok_decline_stolen")[0] == 1
    assert asked("dr", "restore-check", "--payments-min", "3")[0] == 0
    stage.forget_documents()
    done = on_the_command_line(stage, tmp_path, "dr", "rebuild-read-models")
    assert done.returncode == 0, done.stderr
    assert "events are in the read models" in done.stdout
    status, checks = asked("dr", "restore-check", "--payments-min", "1000")
    assert (status, [one["ok"] for one in checks]) == (1, [True, False, True])


async def test_everything_agrees_at_the_end(stage: Stage, platform: Platform, api: Api) -> None:
    """Last of all: what the other stories left."""
    storage = platform.storage
    report = await verify(storage.store, storage.histories, check_payment=payment_check(storage.store))
    assert (report.sound, report.findings) == (True, ())
    sold = api.ask("GET", "/v1/payments?status=succeeded")[1]["data"]
    assert stage.simulator.books().captured == sum(one["amount_captured"] for one in sold)
