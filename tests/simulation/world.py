"""What outlives every node: the stores, the providers with their books, the merchants; and the nodes that run at present."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Collection, Coroutine
from typing import Any

from interlock.backends.local.ids import SystemIds
from interlock.backends.memory.bus import MemoryBus
from interlock.backends.memory.documents import MemoryDocuments
from interlock.backends.memory.queue import MemoryQueue
from interlock.backends.memory.secrets import MemorySecrets
from interlock.core.desk.figures.model import COLLECTIONS as DESK_COLLECTIONS
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import InterlockError
from interlock.core.kernel.queue import QueueSpec
from interlock.core.kernel.secrets import Secret
from interlock.core.ledger.projection import JOURNALS
from interlock.core.notifications.model import QUEUE as NOTIFICATIONS
from interlock.core.payments.decisions import Timing
from interlock.core.payments.projection import COLLECTIONS as PAYMENT_COLLECTIONS
from interlock.core.payments.records import DUE_INDEX, DUE_SHARDS
from interlock.core.webhooks.events import COLLECTIONS as WEBHOOK_COLLECTIONS
from interlock.core.webhooks.ports import QUEUE_SPEC
from interlock.entrypoints.worker import EVENTS_TOPIC
from tests.simulation.chaos import Chaos
from tests.simulation.clocks import BEGINNING, RestingClock, TrueClock
from tests.simulation.loop import SimulatedLoop
from tests.simulation.memory import RestingWakeups, WatchedStore
from tests.simulation.node import Died, Node
from tests.simulation.providers import Company, Line
from tests.simulation.street import Street
from tests.simulation.telemetry import SimulationTelemetry
from tests.simulation.trace import Trace
from tests.simulation.watch import Watch
from tests.simulation.weather import draw_weather

API_NODES = ("api_1", "api_2")
WORKERS = ("worker_1", "worker_2")
COMPANIES = ("simulator_a", "simulator_b")
SKEW_MOST_MS: Millis = 4_000
RESTART_MOST_S = 6.0
LAGS_MOST_S = (0.0, 0.0, 0.1, 0.3)
"""How long news of events and messages takes to those who wait, in brisk and in slow seeds."""
CALL_TWICE_WITHIN_S = 40.0
"""Faults of the weather that are tied to a moment happen within so much of the beginning."""


class World:
    def __init__(self, seed: int, *, only: Collection[str] | None = None) -> None:
        self.seed = seed
        self.chaos = Chaos(seed, only=only)
        self.loop = SimulatedLoop(self.chaos.stream("schedule").random)
        self.loop.next_due = self._next_due
        self.loop.set_exception_handler(self._unhandled)
        self.trace = Trace(self.loop.time)
        self.chaos.note = lambda fault: self.trace.add("-", "fault", fault)
        self.weather = draw_weather(self.chaos.stream("weather"))
        self.timing = Timing()
        self.clock = TrueClock(self.loop)
        self._remember()
        self.telemetry = SimulationTelemetry(self.watch.defect)
        self.skews = self._skews()
        self.signing = (Secret("current-signing-secret"),)
        self.api_key = Secret("sim_key_9f2c")
        self.secrets = MemorySecrets()
        self.instances = {name: Company(self, name) for name in COMPANIES}
        self.street = Street(self)
        self.nodes: dict[str, Node] = {}
        self._own = contextvars.copy_context()
        self._lives: dict[str, int] = {}
        self._restarts = self.chaos.stream("restarts")

    def _remember(self) -> None:
        resting = RestingClock(self.loop)
        ids = SystemIds(self.clock, random_bits=self.chaos.stream("ids").getrandbits)
        self.watch = Watch(self)
        fate = self.chaos.stream("lags")
        most_s = fate.choice(LAGS_MOST_S)

        def lag_s() -> float:
            return most_s * fate.random()

        self.store = WatchedStore(resting, self.loop, self.watch, lag_s)
        self.bus = MemoryBus(resting)
        self.bus._wakeups = RestingWakeups(resting, self.loop, lag_s)
        specs = (QueueSpec(NOTIFICATIONS, lease_s=60.0, attempts_max=25), QUEUE_SPEC)
        self.queue = MemoryQueue(specs, clock=resting, ids=ids)
        self.queue._wakeups = RestingWakeups(resting, self.loop, lag_s)
        self.documents = MemoryDocuments((*PAYMENT_COLLECTIONS, *WEBHOOK_COLLECTIONS, JOURNALS, *DESK_COLLECTIONS))

    def _skews(self) -> dict[str, Millis]:
        place = self.chaos.place("world/clock", self.weather.rates("clock"))
        skews = {}
        for name in (*API_NODES, *WORKERS):
            if place.draw() is not None:
                skews[name] = place.random.randrange(-SKEW_MOST_MS, SKEW_MOST_MS)
        return skews

    def connect(self, node: Node) -> Line:
        """A node's connection to the companies that move money."""
        return Line(node)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that belongs to no node, whoever starts it."""
        return self.loop.create_task(work, context=self._own.copy())

    # Nodes

    def start(self, name: str) -> Node:
        life = self._lives[name] = self._lives.get(name, 0) + 1
        node = self.nodes[name] = Node(self, name, life)
        self.trace.add(name, "started", f"life {life}")
        if name in WORKERS:
            node.work()
        return node

    def noticed_dead(self, node: Node) -> None:
        """Somebody starts it again a little later."""
        self.loop.call_later(RESTART_MOST_S * self._restarts.random(), self._restart, node)

    def _restart(self, dead: Node) -> None:
        if self.nodes[dead.name] is dead:
            self.start(dead.name)

    def api_node(self, choice: float) -> Node:
        """One of those that take requests. Raises Died when it does not answer."""
        node = self.nodes[API_NODES[int(choice * len(API_NODES))]]
        if node.dead:
            raise Died
        return node

    def trouble(self) -> None:
        """What strikes a node at a moment rather than at a call: partitions, clocks that step."""
        for name in (*API_NODES, *WORKERS):
            place = self.chaos.place(f"{name}/partition", self.weather.rates("partition"))
            if place.draw() is not None:
                self.loop.call_later(
                    place.random.uniform(0, CALL_TWICE_WITHIN_S), self._cut_off, name, place.random.uniform(0.5, 20)
                )
            steps = self.chaos.place(
                f"{name}/clock", {"clock_step": self.weather.rates("clock").get("clock_step", 0.0)}
            )
            if steps.draw() is not None:
                self.loop.call_later(
                    steps.random.uniform(0, CALL_TWICE_WITHIN_S),
                    self._step_clock,
                    name,
                    steps.random.randrange(-SKEW_MOST_MS, SKEW_MOST_MS),
                )

    def _cut_off(self, name: str, seconds: float) -> None:
        self.nodes[name].cut_off_until = self.loop.time() + seconds
        self.trace.add(name, "cut off", f"for {seconds:.1f} s")

    def _step_clock(self, name: str, milliseconds: Millis) -> None:
        self.skews[name] = self.nodes[name].clock.ahead_ms = milliseconds
        self.trace.add(name, "clock stepped", f"{milliseconds} ms from the true time")

    def calm(self) -> None:
        """From now on nothing goes wrong."""
        self.trace.add("-", "calm")
        self.chaos.calm = True
        for company in self.instances.values():
            company.calm()

    def put_away(self) -> None:
        """Nobody works any more."""
        for node in self.nodes.values():
            node.dead = True

    # Time

    def _next_due(self) -> float | None:
        """When work falls due that no timer knows of."""
        dues = [kept.next_ready_at() for kept in self.queue._queues.values()]
        for shard in range(DUE_SHARDS):
            entries = self.store._entries.get((DUE_INDEX, f"due/{shard}"))
            if entries:
                dues.append(int(entries[0][0].partition("/")[0]))
        if self.unrelayed() or self.unconsumed():
            dues.append(0)
        known = [due for due in dues if due is not None]
        return max((min(known) - BEGINNING) / 1_000, 0.0) if known else None

    def unrelayed(self) -> int:
        """Events that are not on the bus yet."""
        return len(self.store._events) - self.watch.relayed

    def unconsumed(self) -> int:
        """Messages some group has not come to."""
        topic = self.bus._topics.get(EVENTS_TOPIC)
        if topic is None:
            return 0
        return sum(
            part.next - claim.committed
            for group in topic.groups.values()
            for part, claim in zip(topic.partitions, group.claims, strict=True)
        )

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, Died | InterlockError):  # a node that dies leaves errors nobody has looked at yet
            self.watch.defect(f"{context['message']}: {error!r}")
