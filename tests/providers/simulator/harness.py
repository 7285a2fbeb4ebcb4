"""A simulated provider under a clock moved by hand, real ones behind sockets, and the adapter driven against both."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import asynccontextmanager

import aiohttp
import msgspec
from aiohttp import web

from interlock.core.kernel.ids import format_id
from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import Action, Operation, Result
from interlock.core.kernel.secrets import Secret
from interlock.providers.protocol import Context, HttpRequest, RawNotification, advance
from interlock.providers.simulator import SimulatorProvider
from interlock.providers.transport import HttpTransport, ProviderConfig
from interlock.simulator import control
from interlock.simulator.faults import FaultPlan
from interlock.simulator.instance import SimulatedProvider
from interlock.simulator.messages import Request, signature_headers
from interlock.simulator.server import InstanceSettings, Simulator, SimulatorSettings
from tests.clocks import ManualClock

API_KEY = Secret("sim_key_9f2c")
SIGNING = (Secret("current-signing-secret"), Secret("older-signing-secret"))
PAYMENT, TENANT = "pay_00000000000000000000000001", "ten_1"
_attempts = itertools.count(1)


def attempt_id():
    return format_id("att", 1_800_000_000_000, next(_attempts))


def operation(action=Action.AUTHORIZE, *, token="tok_approve", amount=1999, currency="EUR", **fields):
    values = {
        "attempt_id": attempt_id(),
        "payment_id": PAYMENT,
        "tenant": TENANT,
        "started_at": 1_800_000_000_000,
        "token": token if action is Action.AUTHORIZE else "",
        "metadata": {"payment_id": PAYMENT, "tenant": TENANT},
    }
    return Operation(action=action, amount=Money(amount, currency), **{**values, **fields})


def lookup_of(op, **fields):
    return msgspec.structs.replace(op, action=Action.LOOKUP, target=op.action, token="", **fields)


def plan(**fields):
    """A fault plan, read as it would be from outside."""
    return control.read_plan(json.dumps(fields).encode())


def instance(clock=None, *, name="simulator_a", fault_plan=None, journal=None):
    """An instance without sockets. Its ids count up."""
    clock = clock or ManualClock()
    numbers = itertools.count(1)
    return SimulatedProvider(
        name,
        now=clock.now,
        new_id=lambda prefix: format_id(prefix, clock.now(), next(numbers)),
        plan=fault_plan or FaultPlan(),
        journal=journal,
    )


def ask(provider, method, path, body=None, *, key=None, headers=None):
    """One request to an instance: the reaction, and its body as JSON if it is."""
    path, _, query = path.partition("?")
    sent = {} if key is None else {"idempotency-key": key}
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return control.react(provider, Request(method, path, query, {**sent, **(headers or {})}, raw))


def answer(reaction):
    return reaction.reply.status, json.loads(reaction.reply.body)


def charge(provider, *, token="tok_approve", amount=1999, currency="EUR", capture=False, key=None, **fields):
    reference = key or attempt_id()
    body = {"reference": reference, "amount": amount, "currency": currency, "token": token, "capture": capture}
    body["metadata"] = {"payment_id": PAYMENT, "tenant": TENANT}
    return ask(provider, "POST", "/v1/charges", body | fields, key=reference)


def follow_on(provider, charge_id, verb, *, key=None, **fields):
    reference = key or attempt_id()
    return ask(provider, "POST", f"/v1/charges/{charge_id}/{verb}", {"reference": reference} | fields, key=reference)


def notices(provider):
    """Take what is to be sent, as JSON."""
    taken, provider.outbox = provider.outbox, []
    return [json.loads(notice.body) for notice in taken]


class Line:
    """The adapter, and an engine reduced to carrying requests."""

    def __init__(self, base_url, *, name="simulator_a", read_timeout_s=0.6):
        self.provider = SimulatorProvider(name)
        self.requests = []
        self.replies = []
        self._transport = HttpTransport()
        self._config = ProviderConfig(
            name=name,
            base_url=base_url,
            credentials={"api_key": API_KEY, "signing_secret": SIGNING[0]},
            read_timeout_s=read_timeout_s,
            total_timeout_s=5.0,
            reply_bytes_max=1_000_000,
        )

    async def call(self, op, *, resend=False) -> Result:
        conversation = self.provider.run(op, Context(0, self._config.credentials, resend))
        reply = None
        while True:
            step = advance(conversation, reply)
            if isinstance(step, Result):
                return step
            self.requests.append(step)
            if step.idempotency_header is not None:
                headers = {**step.headers, step.idempotency_header: op.attempt_id}
                step = HttpRequest(step.method, step.path, step.phase, headers, step.body)
            reply = await self._transport.send(step, self._config)
            self.replies.append(reply)

    async def close(self):
        await self._transport.close()


class Merchant:
    """Takes notifications, verifies them with the adapter, and can refuse the first few."""

    def __init__(self):
        self.news = []
        self.paths = []
        self.refuse = 0
        self.arrived = asyncio.Event()

    async def take(self, request):
        body = await request.read()
        if self.refuse > 0:
            self.refuse -= 1
            return web.Response(status=503)
        headers = {name.lower(): value for name, value in request.headers.items()}
        received_at = int(headers["simulator-timestamp"]) * 1_000
        raw = RawNotification(headers, body, received_at)
        self.news += SimulatorProvider("simulator_a").notifications(raw, {"signing_secret": [SIGNING[1]]})
        self.paths.append(request.path)
        self.arrived.set()
        return web.Response(status=200)

    async def wait_for(self, count):
        async with asyncio.timeout(5):
            while len(self.news) < count:
                self.arrived.clear()
                await self.arrived.wait()
        return self.news


class World:
    """Running simulators with all that talks to them."""

    def __init__(self, simulator, merchant, session):
        self.simulator = simulator
        self.merchant = merchant
        self.session = session
        self.lines = []

    def line(self, name="simulator_a", **fields):
        line = Line(self.simulator.base_urls[name], name=name, **fields)
        self.lines.append(line)
        return line

    async def put_faults(self, name="simulator_a", **fields):
        async with self.session.put(f"{self.simulator.control_url}/{name}/faults", json=fields) as reply:
            assert reply.status == 200, await reply.text()

    async def post(self, path, body, *, expect=200):
        async with self.session.post(self.simulator.control_url + path, json=body) as reply:
            assert reply.status == expect, await reply.text()
            return await reply.json()

    async def get(self, path):
        async with self.session.get(self.simulator.control_url + path) as reply:
            assert reply.status == 200, await reply.text()
            return await reply.json()

    async def all_told(self):
        """Until no notification is on its way."""
        async with asyncio.timeout(5):
            while (await self.get("/notifications"))["open"]:
                await asyncio.sleep(0.01)

    async def row(self, op):
        """The books' row of an operation; None if it never arrived."""
        books = await self.get(f"/books?attempt_id={op.attempt_id}")
        return next(iter(books["operations"]), None)


@asynccontextmanager
async def world(*, names=("simulator_a",), fault_plan=None, books_folder=None, notify=True):
    merchant = Merchant()
    app = web.Application()
    app.router.add_post("/v1/notifications/{name}", merchant.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    simulator = Simulator(
        SimulatorSettings(
            instances=tuple(InstanceSettings(name, api_key=API_KEY, signing_secrets=SIGNING) for name in names),
            notify_url=f"http://127.0.0.1:{port}/v1/notifications" if notify else None,
            books_folder=books_folder,
            plan=fault_plan or FaultPlan(pending_s=0.05, late_approval_s=0.05, dispute_s=0.05, late_accept_s=0.3),
            notify_pauses_s=(0.02, 0.02, 0.02),
        )
    )
    async with aiohttp.ClientSession() as session:
        running = World(simulator, merchant, session)
        try:
            await simulator.start()
            yield running
        finally:
            for line in running.lines:
                await line.close()
            await simulator.close()
            await runner.cleanup()


def signed(body, at, secret):
    """A notification as the provider sends it."""
    return RawNotification(signature_headers(body, [secret], at=at), body, at)
