"""A repair whose platform is killed with SIGKILL half-way and started again: each payment is refunded once, at the provider."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.entrypoints.api.real import RealPlatform

NUMBER = 40


def start(folder: Path, ready_file: Path) -> tuple[subprocess.Popen[bytes], RealPlatform]:
    command = [sys.executable, "-m", "interlock.entrypoints.cli", "up", "--empty", "--data", str(folder), "--port", "0"]
    ready_file.unlink(missing_ok=True)
    process = subprocess.Popen(
        [*command, "--ready-file", str(ready_file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 60
    while not ready_file.exists():
        assert process.poll() is None and time.monotonic() < until, "the platform does not come up"
        time.sleep(0.02)
    return process, RealPlatform(folder, json.loads(ready_file.read_text()))


async def client(platform: RealPlatform, name: str) -> str:
    """The token of another client of this machine, made by the command line."""
    made = subprocess.run(
        [
            *(sys.executable, "-m", "interlock.entrypoints.cli", "clients", "create", name, "--tenant", "ten_local"),
            *("--scope", "desk:*", "--data", str(platform.data), "--json"),
        ],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found = json.loads(made.stdout)
    return platform.log_in(found["client_id"], found["client_secret"])


def operations(platform: RealPlatform) -> Counter[str]:
    """Refunds in the providers' books, by payment."""
    found: Counter[str] = Counter()
    for name in platform.providers:
        with urllib.request.urlopen(f"{platform.simulator_url}/{name}/books", timeout=10) as answer:
            for one in json.loads(answer.read())["operations"]:
                if one["kind"] == "refund":
                    found[one["payment_id"]] += 1
    return found


@pytest.mark.timeout(300)
async def test_repair_killed_and_started_again_refunds_each_payment_once(tmp_path):
    data, ready = tmp_path / "data", tmp_path / "ready.json"
    data.mkdir()
    process, platform = start(data, ready)
    try:
        payments = []
        for _ in range(NUMBER):
            body: dict[str, Any] = {"amount": 1000, "currency": "EUR"}
            made = await platform.ask(
                "POST", "/v1/payments", body | {"payment_method": {"type": "card", "token": "tok_approve"}}
            )
            assert made.status == 201, made
            payments.append(made.json["id"])
        approver = await client(platform, "approver")
        plan = {"action": "refund", "payments": payments}
        until = time.monotonic() + 20
        while (planned := await platform.ask("POST", "/v1/desk/repairs/plan", plan, key=None)).status == 404:
            assert time.monotonic() < until, "the desk never hears of them"
            time.sleep(0.1)
        items = [{name: one[name] for name in ("payment", "version", "amount")} for one in planned.json["items"]]
        ask = {"action": "refund", "items": items, "reason": "charged twice"}
        repair = await platform.ask("POST", "/v1/desk/repairs", ask, key=None)
        assert repair.status == 201, repair
        path = f"/v1/desk/repairs/{repair.json['id']}"
        own = await platform.ask("POST", f"{path}/approve", b"", key=None)
        assert (own.status, own.json["code"]) == (403, "own_request")
        assert (await platform.ask("POST", f"{path}/approve", b"", key=None, token=approver)).status == 200
        while sum(operations(platform).values()) < 3:
            time.sleep(0.01)
        process.kill()
        process.wait(10)
        time.sleep(0.5)
        assert len(payments) > 0
        process, platform = start(data, ready)
        until = time.monotonic() + 120
        while (found := await platform.ask("GET", path, key=None)).json["repair"]["stage"] != "done":
            assert time.monotonic() < until, found.json
            time.sleep(0.25)
        assert Counter(item["became"] for item in found.json["items"]) == {"done": NUMBER}
        assert operations(platform) == dict.fromkeys(payments, 1)
        for payment in payments:
            held = (await platform.ask("GET", f"/v1/payments/{payment}", key=None)).json
            assert (held["amount_refunded"], len(held["refunds"])) == (1000, 1)
    finally:
        process.terminate()
        process.wait(15)
