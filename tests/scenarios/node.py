"""One node of the platform over ports that outlive it: real handlers, a real engine, real loops, and a death at any step."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec

from interlock.core.access.model import Principal
from interlock.core.access.rates import Allowance
from interlock.core.kernel.errors import OutcomeUnknown, StoreUnavailable, Unauthenticated, WriteConflict
from interlock.core.kernel.events import decode_event
from interlock.core.ledger.projection import fold_records
from interlock.core.ledger.projection import project as project_journals
from interlock.core.notifications.handlers import Notifications
from interlock.core.notifications.handlers import handle as apply_notification
from interlock.core.notifications.model import QUEUE as NOTIFICATIONS
from interlock.core.payments.decisions import Timing
from interlock.core.payments.ports import Payments
from interlock.core.payments.projection import project as project_payments
from interlock.core.routing.handlers import Rules
from interlock.core.webhooks.delivering import consume, deliver
from interlock.core.webhooks.events import project_events
from interlock.core.webhooks.ports import QUEUE as WEBHOOKS
from interlock.core.webhooks.ports import Webhooks
from interlock.core.webhooks.subscriptions import Subscriptions
from interlock.core.webhooks.traffic import Traffic
from interlock.entrypoints.explain import explain_payment
from interlock.entrypoints.http.app import Edge, HttpApp
from interlock.entrypoints.http.ledger_routes import ledger_routes
from interlock.entrypoints.http.notification_routes import notification_routes
from interlock.entrypoints.http.payment_routes import payment_routes
from interlock.entrypoints.http.routing_routes import routing_routes
from interlock.entrypoints.http.webhook_routes import webhook_routes
from interlock.entrypoints.worker import Consumer, QueueWorker, Relay, Sweeper
from interlock.providers.engine import ProviderConfig, ProviderEngine
from interlock.providers.reader import NotificationReader
from interlock.providers.simulator import SimulatorProvider
from tests.clocks import ManualClock
from tests.dispatching import dispatched
from tests.providers.simulator.harness import API_KEY, SIGNING
from tests.providers.simulator.in_process import InProcessTransport

SCOPES = frozenset(
    [
        "payments:read",
        "payments:write",
        "refunds:write",
        "webhooks:read",
        "webhooks:write",
        "ledger:read",
        "routing:read",
        "routing:write",
    ]
)
READING = frozenset({"get", "query", "query_index", "history", "read", "wait", "receive", "lag", "depth", "find"})

SAME_STEP = {"forward": "publish"}
"""A bus that points at events publishes by this, and a node may die there just the same."""


class Died(asyncio.CancelledError):
    """The process ended here: as with a cancelled task, nothing goes on."""


class Answer(NamedTuple):
    """What came back over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def replayed(self) -> bool:
        return self.headers.get("idempotency-replayed") == "true"


class Port:
    """Passes calls on. Before and after each the node may die, others may run, and a commit may fail as the test says."""

    def __init__(self, node: Node, name: str, inner: Any) -> None:
        self._node, self._name, self._inner = node, name, inner

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if not asyncio.iscoroutinefunction(attribute):
            return attribute
        node, called = self._node, f"{self._name}.{SAME_STEP.get(name, name)}"

        async def call(*args: Any, **kwargs: Any) -> Any:
            await node.step(called)
            fault = node.world.next_fault(called, args)
            if fault == "unavailable":
                raise StoreUnavailable(called)
            if fault == "unknown, not done":
                raise OutcomeUnknown(called)
            if fault == "conflict":
                raise WriteConflict(args[0][0].key)
            result = await attribute(*args, **kwargs)
            if name not in READING and (name != "forward" or result is not None):
                node.world.effects += 1
            await node.step(called)
            if fault == "unknown, done":
                raise OutcomeUnknown(called)
            return Port(node, "subscription", result) if name == "subscribe" else result

        return call


class Node:
    """Everything a process holds in memory. A new one over the same world knows only what is stored."""

    def __init__(self, world: Any, name: str) -> None:
        self.world, self.name = world, name
        self.dead = False
        self.tasks: set[asyncio.Task[Any]] = set()
        self.steps = 0
        self.kill_at: int | None = None
        self.died_at = ""
        clock = self.clock = SkewedClock(world.clock)
        store, queue, bus = (Port(self, name, getattr(world, name)) for name in ("store", "queue", "bus"))
        documents = Port(self, "documents", world.documents)
        providers = {one: SimulatorProvider(one) for one in world.instances}
        self.engine = ProviderEngine(
            {one: (provider, _config(one)) for one, provider in providers.items()},
            clock=clock,
            telemetry=world.telemetry,
            transport=Port(self, "provider", InProcessTransport(world.instances, clock, world.tell)),
            breaker=world.breaker,
        )
        self.payments = Payments(
            store, self.engine, Rules(store, clock), clock, world.ids, world.telemetry, world.timing, world.release
        )
        self.notifications = Notifications(
            self.payments, documents, queue, NotificationReader(providers, world.secrets)
        )
        self.webhooks = Webhooks(
            store=store,
            queue=queue,
            documents=documents,
            sender=Port(self, "merchant", world.merchant),
            clock=clock,
            ids=world.ids,
            telemetry=world.telemetry,
            random=world.random.random,
            random_bytes=world.random.randbytes,
            subscriptions=Subscriptions(store),
            traffic=Traffic(),
        )
        self.app = HttpApp(self._routes(documents), Edge(_authenticate, _allow, world.telemetry, world.ids))
        self._loops = self._make_loops(store, Port(self, "feed", world.feed), bus, queue, documents)
        self._under_way: dict[str, asyncio.Task[Any]] = {}

    async def step(self, called: str) -> None:
        """One of the places between two awaits: others may run, this node may end."""
        for _ in range(1 + self.world.shuffle()):
            await asyncio.sleep(0)
        if self.dead:
            raise Died
        self.steps += 1
        if self.steps == self.kill_at:
            self.died_at = called
            self.die()
            raise Died

    def die(self) -> None:
        """Nothing of this node runs on, and nothing it holds in memory is left."""
        self.dead = True
        current = asyncio.current_task()
        for task in (*self.tasks, *self._under_way.values()):
            if task is not current:
                task.cancel()

    def start(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def turn(self) -> None:
        """Let every loop that rests take its next step."""
        if self.dead:
            return
        for name, step in self._loops.items():
            running = self._under_way.get(name)
            if running is None or running.done():
                self._under_way[name] = asyncio.ensure_future(self._guarded(name, step))

    async def _guarded(self, name: str, step: Any) -> None:
        try:
            await step()
        except Died:
            pass
        except Exception as error:
            self.world.failed(name, error)

    def _routes(self, documents: Any) -> Any:
        platform: Any = SimpleNamespace(
            payments=self.payments, webhooks=self.webhooks, storage=SimpleNamespace(store=self.payments.store)
        )
        return (
            *payment_routes(self.payments, documents, lambda tenant, pid: explain_payment(platform, tenant, pid)),
            *ledger_routes(self.payments.store, documents, self.clock),
            *routing_routes(self.payments),
            *webhook_routes(self.webhooks),
            *notification_routes(self.notifications),
        )

    def _make_loops(self, store: Any, feed: Any, bus: Any, queue: Any, documents: Any) -> dict[str, Any]:
        async def project(records: Any) -> None:
            events = [decode_event(record.message.value) for record in records]
            await project_payments(documents, events)
            await project_journals(documents, events)
            await project_events(documents, events)

        async def fold(records: Any) -> None:
            folded = await fold_records(store, records)
            assert not folded.refused, folded.refused

        async def tell(records: Any) -> None:
            await consume(self.webhooks, records)

        groups = {"read_models": project, "ledger_balances": fold, "webhooks": tell}
        consumers = {
            f"consumer.{group}": Consumer(bus, group=group, member=self.name, consume=work, wait_s=0.0).step
            for group, work in groups.items()
        }
        forwarding = bus if self.world.backing.forwards else None
        told = QueueWorker(queue, NOTIFICATIONS, lambda m: apply_notification(self.notifications, m), wait_s=0.0)
        sent = QueueWorker(queue, WEBHOOKS, lambda m: deliver(self.webhooks, m), wait_s=0.0)
        return {
            "relay": Relay(store, feed, bus, forwarding=forwarding, wait_s=0.0).step,
            **consumers,
            "queue.notifications": told.step,
            "queue.webhooks": sent.step,
            "sweeper": Sweeper(self.payments, interval_s=0.0).step,
        }

    async def ask(
        self, method: str, target: str, body: Any = None, *, headers: dict[str, str], token: str = "ten_1"
    ) -> Answer:
        """One HTTP request through the real dispatcher. A bytes body goes as it is."""
        more = [(name.lower().encode(), one.encode()) for name, value in headers.items() for one in value.split("\n")]
        answered = await dispatched(self.app, method, target, body, token=token, more=more)
        told = {name.decode(): value.decode() for name, value in answered.headers.items()}
        return Answer(answered.status, told, answered.body)


class SkewedClock:
    """The world's time as this node's own clock shows it."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.ahead_ms = 0

    def now(self) -> int:
        return self._clock.now() + self.ahead_ms

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


def _config(name: str) -> ProviderConfig:
    credentials = {"api_key": API_KEY, "signing_secret": SIGNING[0]}
    return ProviderConfig(
        name=name, base_url="http://127.0.0.1:1", credentials=credentials, read_timeout_s=10.0, total_timeout_s=15.0
    )


async def _authenticate(authorization: str) -> Principal:
    """The token is the tenant's name."""
    tenant = authorization.removeprefix("Bearer ")
    if not tenant.startswith("ten_"):
        raise Unauthenticated("no such token")
    return Principal(f"cli_{tenant}", tenant, SCOPES, "tok", 0)


def _allow(_client: str) -> Allowance:
    return Allowance(True, 9, 9, 0.0, 0)


def seeded_shuffle(seed: int | None) -> Any:
    """How many turns of others go before a step: none without a seed, else 0 to 3 by chance."""
    if seed is None:
        return lambda: 0
    dice = random.Random(seed)
    return lambda: dice.randrange(4)


DEFAULT_TIMING = Timing()
