"""A budget burns, a real Prometheus notices, a real Alertmanager tells the desk, somebody takes it; it ends when all is well."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.counterparts.paths import require
from tests.entrypoints.api.real import RealPlatform, real_platform
from tests.free_ports import free_ports

SLO = "payments-availability"
WAIT_S = 90.0
BAD, GOOD = 32, 1_250
"""All bad burn 200 times too fast; 32 of 1,282 burn five times too fast, which is no page."""


@contextmanager
def program(*command: str, output: Path) -> Iterator[None]:
    with output.open("wb") as written:
        process = subprocess.Popen(command, stdout=written, stderr=written, cwd=output.parent)
    try:
        yield
        assert process.poll() is None, output.read_text()[-2000:]
    finally:
        process.terminate()
        process.wait(15)


def wait_until(what: str, holds: Any, *, seconds: float = WAIT_S) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = holds()
        if found:
            return found
        time.sleep(0.25)
    raise AssertionError(f"never: {what}")


def fetch(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.loads(answer.read())
    except OSError:
        return None


async def pay(platform: RealPlatform, number: int, **fields: object) -> None:
    """So many payments, twenty at a time."""
    turns = asyncio.Semaphore(20)

    async def one() -> None:
        async with turns:
            answer = await platform.ask("POST", "/v1/payments", {"amount": 1000, "currency": "EUR", **fields})
            assert answer.status < 500, answer

    await asyncio.gather(*(one() for _ in range(number)))


@pytest.mark.timeout(400)
async def test_budget_that_burns_becomes_an_alert_that_somebody_takes_and_that_ends(tmp_path):
    prometheus, alertmanager, promtool = (require(name) for name in ("prometheus", "alertmanager", "promtool"))
    prometheus_port, alertmanager_port = free_ports(1, 1)
    with ExitStack() as running:
        platform = running.enter_context(real_platform(tmp_path / "data", rate_limit_per_s=5000, rate_limit_burst=9000))
        source = {"id": "prom", "name": "Alertmanager", "format": "alertmanager", "proof": "bearer"}
        made = await platform.ask("POST", "/v1/alert_sources", source, key=None)
        assert made.status == 201, made
        rules = subprocess.run(
            [sys.executable, "-m", "interlock.entrypoints.cli", "slo", "rules", "--data", str(platform.data)],
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout.replace("interval: 1m", "interval: 1s")  # fmt: skip
        (tmp_path / "rules.yaml").write_text(rules)
        checked = subprocess.run(
            [promtool, "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True, timeout=60
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
        (tmp_path / "prometheus.yml").write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": ["rules.yaml"],
                    "alerting": {
                        "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]}]
                    },
                    "scrape_configs": [
                        {"job_name": "interlock", "static_configs": [{"targets": [f"127.0.0.1:{platform.port}"]}]}
                    ],
                }
            )
        )
        receiver = {
            "url": f"{platform.base_url}/v1/alerts/in/prom",
            "send_resolved": True,
            "http_config": {"authorization": {"type": "Bearer", "credentials": made.json["token"]}},
        }
        route = {"receiver": "desk", "group_by": ["slo"], "group_wait": "1s", "group_interval": "1s"}
        (tmp_path / "alertmanager.yml").write_text(
            json.dumps({"route": route, "receivers": [{"name": "desk", "webhook_configs": [receiver]}]})
        )
        running.enter_context(
            program(
                str(alertmanager),
                "--config.file=alertmanager.yml",
                f"--storage.path={tmp_path / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{alertmanager_port}",
                "--cluster.listen-address=",
                output=tmp_path / "alertmanager.log",
            )
        )
        running.enter_context(
            program(
                str(prometheus),
                "--config.file=prometheus.yml",
                f"--storage.tsdb.path={tmp_path / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{prometheus_port}",
                output=tmp_path / "prometheus.log",
            )
        )
        await _round_trip(platform, f"http://127.0.0.1:{prometheus_port}")


async def _round_trip(platform: RealPlatform, prometheus: str) -> None:
    query = f'{prometheus}/api/v1/query?query=count_over_time(interlock_slo_events_total{{slo="{SLO}"}}[1m])'
    # A counter must have been seen at zero, or its first step is not seen.
    wait_until("counters seen twice", lambda: any(int(r["value"][1]) > 2 for r in _result(fetch(query))))
    await pay(
        platform,
        BAD,
        payment_method={"type": "card", "token": "tok_connect_refused"},
        routing={"provider": "simulator"},
    )
    loop = asyncio.get_running_loop()

    async def alerts(**wanted: str) -> list[dict[str, Any]]:
        answer = await platform.ask("GET", "/v1/alerts?limit=100", key=None)
        found = [one for one in answer.json["data"] if one["labels"].get("slo") == SLO]
        return [one for one in found if all(one[name] == value for name, value in wanted.items())]

    async def until(what: str, **wanted: str) -> dict[str, Any]:
        stop = loop.time() + WAIT_S
        while loop.time() < stop:
            found = [one for one in await alerts(**wanted) if one["name"] == "SloBurnPage"]
            if found:
                return found[0]
            await asyncio.sleep(0.25)
        raise AssertionError(f"never: {what}; there is {await alerts()}")

    alert = await until("the page arrives", state="open")
    assert alert["runbook"].endswith("/console/operations/slo-burn-page")
    assert alert["labels"]["severity"] == "page"
    taken = await platform.ask("POST", f"/v1/alerts/{alert['id']}/acknowledge", {"note": "I look"}, key=None)
    assert taken.json["state"] == "acknowledged"
    await pay(
        platform, GOOD, payment_method={"type": "card", "token": "tok_approve"}, routing={"provider": "simulator_b"}
    )
    ended = await until("it resolves", state="resolved")
    assert ended["id"] == alert["id"]
    told = [entry["what"] for entry in ended["history"]]
    assert told[0] == "opened" and "acknowledged" in told and told[-1] == "resolved", told


def _result(answer: Any) -> list[dict[str, Any]]:
    return answer["data"]["result"] if answer else []
