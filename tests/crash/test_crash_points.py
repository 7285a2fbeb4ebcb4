"""Real processes: the platform is killed at seeded steps between a request and its webhook, restarted, and nothing is lost.

The client is a merchant's: it repeats each request with its key until it is answered. What is checked is seen from outside:
the answers, the simulator's books, the webhooks that came, and the ledger on disk.
"""

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from interlock.bootstrap import open_platform, open_storage
from interlock.config import Settings
from interlock.core.ledger.verification import verify
from interlock.core.payments.verification import payment_check
from tests.free_ports import free_ports

POINTS = 20
AT_ONCE = 4
STEPS_EXPECTED = 60
"""Fewer steps than this in an undisturbed run would mean that the story is not told whole any more."""
PATIENCE_S = 60.0
ROOT = Path(__file__).parents[2]


class Node:
    """The platform as a child process, restarted by hand."""

    def __init__(self, data: Path, simulator: Path) -> None:
        self.data, self.simulator, self.port = data, simulator, free_ports(1)[0]
        self.process: subprocess.Popen | None = None

    def start(self, kill_at: int) -> None:
        arguments = [sys.executable, "-m", "tests.crash.node", str(self.data), str(self.port), str(self.simulator)]
        with open(self.data / "output", "ab") as output:
            self.process = subprocess.Popen([*arguments, str(kill_at)], cwd=ROOT, stdout=output, stderr=output)

    def is_dead(self) -> bool:
        return self.process is None or self.process.poll() is not None

    async def ready(self) -> dict:
        ready, until = self.data / "ready.json", time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            if self.is_dead():
                raise RuntimeError(f"the node ended at its start: {(self.data / 'output').read_text()[-2000:]}")
            if ready.exists():
                found = msgspec.json.decode(ready.read_bytes())
                if found["pid"] == self.process.pid:
                    return found
            await asyncio.sleep(0.02)
        raise TimeoutError("the node does not come up")

    async def stop(self) -> None:
        if not self.is_dead():
            self.process.terminate()
            await asyncio.to_thread(self.process.wait, 15)  # the others' webhooks come to this very loop


class Merchant:
    """Repeats every request until it is answered; starts the node again when it finds it dead."""

    def __init__(self, node: Node, session: aiohttp.ClientSession) -> None:
        self.node, self.session, self.token = node, session, ""
        self.answers: list[tuple[str, int, bytes]] = []
        self.restarts = 0

    async def ask(self, method: str, path: str, body=None, key: str | None = None):
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            if self.node.is_dead():
                self.restarts += 1
                self.node.start(-1)
                await self.node.ready()
                self.token = ""
            try:
                if not self.token:
                    self.token = await self._token()
                headers = {"Authorization": f"Bearer {self.token}"} | ({"Idempotency-Key": key} if key else {})
                url = f"http://127.0.0.1:{self.node.port}{path}"
                async with self.session.request(method, url, json=body, headers=headers) as answer:
                    content = await answer.read()
                    if answer.status in (503, 401) or (answer.status == 409 and b"request_in_flight" in content):
                        self.token = "" if answer.status == 401 else self.token
                        await asyncio.sleep(0.1)
                        continue
                    assert answer.status < 300, (path, answer.status, content)
                    if key:
                        self.answers.append((key, answer.status, content))
                    return msgspec.json.decode(content)
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                await asyncio.sleep(0.05)
        raise TimeoutError(f"{method} {path} is never answered")

    async def _token(self) -> str:
        ready = await self.node.ready()
        form = {
            "grant_type": "client_credentials",
            "client_id": ready["client_id"],
            "client_secret": ready["client_secret"],
        }
        authorization = aiohttp.encode_basic_auth(ready["client_id"], ready["client_secret"])
        async with self.session.post(
            ready["token_url"], data={"grant_type": form["grant_type"]}, headers={"Authorization": authorization}
        ) as answer:
            return (await answer.json())["access_token"]


class Sink:
    """The merchant's webhook endpoint."""

    def __init__(self) -> None:
        self.received: list[dict] = []

    async def take(self, request: web.Request) -> web.Response:
        self.received.append(msgspec.json.decode(await request.read()))
        return web.Response()

    async def __aenter__(self):
        app = web.Application()
        app.router.add_post("/hook", self.take)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/hook"
        return self

    async def __aexit__(self, *_):
        await self.runner.cleanup()


async def story(merchant: Merchant, sink_url: str) -> list[str]:
    """A sale, and an authorisation captured in part and refunded in part. The ids of both payments."""
    await merchant.ask("POST", "/v1/webhook_endpoints", {"url": sink_url, "events": ["*"]})
    card = {"type": "card", "token": "tok_approve"}
    sale = await merchant.ask("POST", "/v1/payments", {"amount": 1999, "currency": "EUR", "payment_method": card}, "k1")
    held = await merchant.ask(
        "POST",
        "/v1/payments",
        {"amount": 5000, "currency": "JPY", "payment_method": card, "capture_method": "manual"},
        "k2",
    )
    sale = await settled(merchant, sale["id"])
    held = await settled(merchant, held["id"])
    if held["status"] == "requires_capture":
        captured = await merchant.ask(
            "POST", f"/v1/payments/{held['id']}/capture", {"amount": 3000, "final": True}, "k3"
        )
        captured = await settled(merchant, captured["id"])
        if captured["amount_captured"]:
            await merchant.ask("POST", f"/v1/payments/{held['id']}/refunds", {"amount": 1000}, "k4")
    for payment in (sale, held):
        await settled(merchant, payment["id"])
    return [sale["id"], held["id"]]


async def settled(merchant: Merchant, payment_id: str) -> dict:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        payment = await merchant.ask("GET", f"/v1/payments/{payment_id}")
        if payment["status"] != "processing" and all(refund["status"] != "pending" for refund in payment["refunds"]):
            return payment
        await asyncio.sleep(0.05)
    raise TimeoutError(f"{payment_id} never settles")


async def told(sink: Sink, merchant: Merchant, payment_ids: list[str]) -> None:
    """Wait until the latest event of each payment came."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        versions = {
            payment_id: (await merchant.ask("GET", f"/v1/payments/{payment_id}"))["version"]
            for payment_id in payment_ids
        }
        heard = {payment_id: set() for payment_id in payment_ids}
        for body in sink.received:
            payment = body["data"]["payment"]
            heard.setdefault(payment["id"], set()).add(payment["version"])
        if all(heard[payment_id] == set(range(1, versions[payment_id] + 1)) for payment_id in payment_ids):
            return
        await asyncio.sleep(0.1)
    raise TimeoutError(f"webhooks are missing: {versions} {heard}")


def assert_in_order(sink: Sink) -> None:
    """The first delivery of each version comes after that of the version before."""
    first: dict[str, list[int]] = {}
    for body in sink.received:
        payment = body["data"]["payment"]
        seen = first.setdefault(payment["id"], [])
        if payment["version"] not in seen:
            seen.append(payment["version"])
    assert all(seen == sorted(seen) for seen in first.values()), first


async def run_point(tmp: Path, simulator: Path, control_url: str, kill_at: int) -> tuple[int, str]:
    """One run, killed at one step. How often the node was restarted, and where it died."""
    data = tmp / f"point-{kill_at}"
    data.mkdir()
    node = Node(data, simulator)
    node.start(kill_at)
    try:
        await node.ready()
        async with Sink() as sink, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            merchant = Merchant(node, session)
            payment_ids = await story(merchant, sink.url)
            await told(sink, merchant, payment_ids)
            payments = [await merchant.ask("GET", f"/v1/payments/{payment_id}") for payment_id in payment_ids]
            for key, status, content in list(merchant.answers):
                assert (status, content) == await replay(merchant, key, payment_ids), key
            assert_in_order(sink)
            async with session.get(f"{control_url}/books") as answer:
                assert_books(await answer.json(), payments)
            steps = (data / "steps").read_text() if (data / "steps").exists() else ""
            return merchant.restarts, steps
    finally:
        await node.stop()
        await assert_ledger(data)


async def replay(merchant: Merchant, key: str, payment_ids: list[str]):
    """Ask the same again: the stored answer, byte for byte."""
    card = {"type": "card", "token": "tok_approve"}
    sale, held = payment_ids[0], payment_ids[1]
    requests = {
        "k1": ("/v1/payments", {"amount": 1999, "currency": "EUR", "payment_method": card}),
        "k2": ("/v1/payments", {"amount": 5000, "currency": "JPY", "payment_method": card, "capture_method": "manual"}),
        "k3": (f"/v1/payments/{held}/capture", {"amount": 3000, "final": True}),
        "k4": (f"/v1/payments/{held}/refunds", {"amount": 1000}),
    }
    assert sale
    path, body = requests[key]
    await merchant.ask("POST", path, body, key)
    _, status, content = merchant.answers.pop()
    return status, content


def assert_books(books: dict, payments: list[dict]) -> None:
    """The provider did what our payments say, each operation once."""
    for payment in payments:
        rows = [row for row in books["operations"] if row["payment_id"] == payment["id"]]
        for row in rows:
            assert row["times_effected"] <= 1, row
        done = [row for row in rows if row["state"] in ("captured", "succeeded", "authorized")]
        charges = [row for row in done if row["kind"] == "charge"]
        assert len(charges) == (1 if payment["status"] != "failed" else 0), (payment, rows)
        taken = sum(row["amount"] for row in done if row["kind"] == "capture" or row["state"] == "captured")
        given_back = sum(row["amount"] for row in done if row["kind"] == "refund")
        assert (taken, given_back) == (payment["amount_captured"], payment["amount_refunded"]), (payment, rows)


async def assert_ledger(data: Path) -> None:
    storage = open_storage(Settings(data=str(data)))
    platform = await open_platform(Settings(data=str(data)), storage, issuer="http://127.0.0.1")
    try:
        report = await verify(storage.store, storage.feed, check_payment=payment_check(storage.store))
        assert report.sound, report.findings
    finally:
        await platform.close()


@pytest.fixture
def simulator(tmp_path):
    """Two providers with books of their own, which outlive every node."""
    ready = tmp_path / "simulator.json"
    arguments = [
        sys.executable,
        "-m",
        "interlock.simulator",
        "--names",
        "simulator,simulator_b",
        "--ready-file",
        str(ready),
    ]
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL)
    until = time.monotonic() + PATIENCE_S
    while not ready.exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)
    yield ready
    process.terminate()
    process.wait(10)


@pytest.mark.timeout(400)
async def test_killed_at_seeded_steps_between_request_and_webhook_loses_and_doubles_nothing(tmp_path, simulator):
    control_url = msgspec.json.decode(simulator.read_bytes())["control_url"]
    _, undisturbed = await run_point(tmp_path, simulator, control_url, 0)
    total = int(undisturbed)
    assert total >= STEPS_EXPECTED
    points = sorted(random.Random(20261121).sample(range(1, total + 1), POINTS))
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(kill_at: int) -> tuple[int, str]:
        async with gate:
            return await run_point(tmp_path, simulator, control_url, kill_at)

    outcomes = await asyncio.gather(*(one(kill_at) for kill_at in points))
    killed = [where for restarts, where in outcomes if restarts]
    print(f"{len(killed)} of {POINTS} runs were killed, of {total} steps:", *sorted(killed), sep="\n  ")
    assert len(killed) >= POINTS * 3 // 4, "most points must be reached, or nothing was proved"
