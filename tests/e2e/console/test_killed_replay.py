"""A replay whose platform is killed with SIGKILL half-way and started again: each webhook is asked for once more, once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.e2e.console.test_killed_repair import start
from tests.entrypoints.api.real import RealPlatform

NUMBER = 12
HEARD: Counter[str] = Counter()
"""Posts to the merchant, by webhook-id."""


class Merchant(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        HEARD[self.headers["webhook-id"]] += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def hook() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Merchant)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook"
    server.shutdown()
    server.server_close()


async def deliveries(platform: RealPlatform) -> list[dict[str, Any]]:
    found = await platform.ask("GET", "/v1/webhook_deliveries?limit=100", key=None)
    return list(found.json["data"])


@pytest.mark.timeout(300)
async def test_replay_killed_and_started_again_asks_for_each_webhook_once(tmp_path, hook):
    data, ready = tmp_path / "data", tmp_path / "ready.json"
    data.mkdir()
    process, platform = start(data, ready)
    try:
        made = await platform.ask("POST", "/v1/webhook_endpoints", {"url": hook, "events": ["*"]}, key=None)
        assert made.status == 201, made
        for _ in range(NUMBER):
            body: dict[str, Any] = {"amount": 1000, "currency": "EUR"}
            sale = await platform.ask(
                "POST", "/v1/payments", body | {"payment_method": {"type": "card", "token": "tok_approve"}}
            )
            assert sale.status == 201, sale
        until = time.monotonic() + 60
        while True:
            every = await deliveries(platform)
            if len(every) >= 2 * NUMBER and all(one["status"] == "delivered" for one in every):
                break
            assert time.monotonic() < until, "the webhooks never arrive"
            time.sleep(0.1)
        first = Counter(HEARD)
        assert set(first.values()) == {1}
        ask = {"wanted": {"kind": "webhooks", "merchant": "ten_local"}, "rate": 8, "reason": "their server lost them"}
        replay = await platform.ask("POST", "/v1/desk/replays", ask, key=None)
        assert (replay.status, replay.json["stage"], replay.json["items"]) == (201, "approved", len(first)), replay
        path = f"/v1/desk/replays/{replay.json['id']}"
        while HEARD.total() < first.total() + 3:
            time.sleep(0.01)
        process.kill()
        process.wait(10)
        done = HEARD.total() - first.total()
        assert done < len(first), "it was over before it was killed"
        process, platform = start(data, ready)
        until = time.monotonic() + 120
        while (found := await platform.ask("GET", path, key=None)).json["stage"] != "done":
            assert time.monotonic() < until, found.json
            time.sleep(0.25)
        counts = [found.json[name] for name in ("done", "skipped", "failed", "items")]
        assert counts == [len(first), 0, 0, len(first)]
        until = time.monotonic() + 60
        while {one["attempts_total"] for one in await deliveries(platform)} != {2}:
            assert time.monotonic() < until, await deliveries(platform)
            time.sleep(0.25)
        # A post whose answer the platform did not live to write down is sent again; nothing else is.
        assert set(HEARD) == set(first)
        assert set(HEARD.values()) <= {2, 3}
    finally:
        process.terminate()
        process.wait(15)
