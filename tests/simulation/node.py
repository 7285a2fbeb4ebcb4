"""One node: what a process holds in memory, joined as bootstrap joins it. A new one over the same world knows what is stored.

API nodes carry out commands and take notifications in; workers run the platform's own loops.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import types
from collections.abc import Awaitable, Coroutine, Generator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from interlock.backends.local.ids import SystemIds
from interlock.backends.outbound.sns import AiohttpSnsSignatures
from interlock.core.desk.alerts.ports import AlertDesk
from interlock.core.desk.repair.ports import Repairs
from interlock.core.desk.replay.ports import Replays
from interlock.core.desk.slo.counting import CountedAttempts
from interlock.core.desk.slo.ports import Objectives
from interlock.core.kernel.errors import InterlockError, StoreUnavailable
from interlock.core.kernel.secrets import Secret
from interlock.core.notifications.handlers import Notifications
from interlock.core.payments.ports import Payments
from interlock.core.routing.handlers import Rules
from interlock.core.webhooks.ports import Webhooks
from interlock.core.webhooks.subscriptions import Subscriptions
from interlock.core.webhooks.traffic import Traffic
from interlock.entrypoints import worker
from interlock.providers.engine import ProviderConfig, ProviderEngine
from interlock.providers.reader import NotificationReader
from interlock.providers.simulator import SimulatorProvider
from tests.simulation.chaos import Place
from tests.simulation.clocks import RestingClock, TrueClock
from tests.simulation.loop import OWNER
from tests.simulation.ports import Port

if TYPE_CHECKING:
    from tests.simulation.world import World

READ_TIMEOUT_S, TOTAL_TIMEOUT_S = 5.0, 8.0
SWEEP_INTERVAL_S = 2.0
STANDSTILL_MOST_S = 200.0
TIME_LIMIT_MOST_S = 6.0
LEFT_OUT = frozenset({"gauges", "consumer.log", "queue.workflows"})
"""Loops that only measure and tell; and no workflow is started there: tests/backends/asl interrupts those."""


class Died(asyncio.CancelledError):
    """The process ended here: nothing goes on."""


@types.coroutine
def _others() -> Generator[None, None, None]:
    """Let others run first, perhaps."""
    yield


class Node:
    def __init__(self, world: World, name: str, life: int) -> None:
        self.world, self.name, self.life = world, name, life
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.dead = False
        self.cut_off_until = self.stands_until = 0.0
        self._places: dict[str, Place] = {}
        self._woken: set[asyncio.Task[Any] | None] = set()
        self._steps = 0
        self._dies = self._next_of("crash")
        self._stands = self._next_of("standstill")
        self._requests = self.place("request")
        self.clock = TrueClock(world.loop)
        self.clock.ahead_ms = world.skews.get(name, 0)
        self._context = contextvars.copy_context()
        self._context.run(OWNER.set, self)
        self._join()

    def place(self, call: str) -> Place:
        """Where a call of this node may go wrong."""
        known = self._places.get(call)
        if known is None:
            rates = self.world.weather.rates(call)
            known = self._places[call] = self.world.chaos.place(f"{self.name}.{self.life}/{call}", rates)
        return known

    def _next_of(self, fault: str) -> int:
        """At which step of its life this fault strikes the node; never, mostly."""
        rate = self.world.weather.rates("step").get(fault, 0.0)
        if rate == 0:
            return 0
        dice = self.world.chaos.stream(f"{self.name}.{self.life}/{fault}")
        return 1 + int(dice.expovariate(rate))

    async def step(self, call: str, stores: bool) -> None:
        """One of the places between two awaits, at a call of a port. `stores`: on the way to what remembers and carries."""
        await _others()
        if self.dead:
            raise Died
        self._steps += 1
        if self._steps == self._dies and self._strikes("crash"):
            self.die()
            raise Died
        if self._steps == self._stands and self._strikes("standstill"):
            self.stand(self.world.chaos.stream(f"{self.name}.{self.life}/standstill#{self._steps}"))
        while self.stands_until > self.world.loop.time():
            await asyncio.sleep(self.stands_until - self.world.loop.time())
            if self.dead:
                raise Died
            if call == "provider.send":
                self._woken.add(asyncio.current_task())
        if stores and self.cut_off_until > self.world.loop.time() and not self.world.chaos.calm:
            raise StoreUnavailable("no way to the store")

    def stand(self, dice: random.Random) -> None:
        """Nothing runs here for a while."""
        self.stands_until = self.world.loop.time() + STANDSTILL_MOST_S * dice.random() ** 2

    def has_slept_on_the_way(self) -> bool:
        """Whether the task that calls a provider stood still after it had decided to."""
        return asyncio.current_task() in self._woken

    def _strikes(self, fault: str) -> bool:
        return self.world.chaos.happens(f"{self.name}.{self.life}/step#{self._steps}:{fault}")

    def die(self) -> None:
        """Nothing of this node runs on, and nothing it holds in memory is left."""
        self.dead = True
        self.world.trace.add(self.name, "died", f"life {self.life}")
        current = asyncio.current_task()
        for task in list(self.tasks):
            if task is not current:
                task.cancel()
        self.world.noticed_dead(self)

    def serve(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A request under way. Its time limit may end it anywhere, and the node with it."""
        task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(work, context=self._context)
        task.add_done_callback(self._served)
        if self._requests.draw() == "time_limit":
            self.world.loop.call_later(TIME_LIMIT_MOST_S * self._requests.random.random() ** 2, task.cancel)
        return task

    def _served(self, task: asyncio.Task[Any]) -> None:
        """Whoever asked may be gone; that an answer is one of those foreseen is checked all the same."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, InterlockError):
            self.world.watch.defect(f"a request was answered with {error!r}")

    def work(self) -> None:
        """Run the platform's own loops until the node dies."""
        platform: Any = self._platform
        loops = [loop for loop in worker.loops(platform, member=self.name) if loop.name not in LEFT_OUT]
        never = asyncio.Event()
        run = worker.run(loops, stop=never, clock=self.clock, telemetry=self.world.telemetry)
        asyncio.get_running_loop().create_task(run, context=self._context)

    def _join(self) -> None:
        world, clock = self.world, self.clock
        resting = RestingClock(world.loop, clock)
        dice = world.chaos.stream(f"{self.name}.{self.life}/randomness")
        ids = SystemIds(clock, random_bits=dice.getrandbits)
        store = Port(self, "store", world.store)
        queue, documents = Port(self, "queue", world.queue), Port(self, "documents", world.documents)
        feed, bus = Port(self, "feed", world.store), Port(self, "bus", world.bus)
        providers = {name: SimulatorProvider(name) for name in world.instances}
        self.engine = ProviderEngine(
            {name: (provider, _config(world, name)) for name, provider in providers.items()},
            clock=clock,
            telemetry=world.telemetry,
            transport=Port(self, "provider", world.connect(self)),
        )
        self.payments = Payments(store, self.engine, Rules(store, clock), resting, ids, world.telemetry, world.timing)
        self.notifications = Notifications(
            self.payments, documents, queue, NotificationReader(providers, world.secrets)
        )
        self.webhooks = Webhooks(
            store=store,
            queue=queue,
            documents=documents,
            sender=Port(self, "merchant", world.street),
            clock=clock,
            ids=ids,
            telemetry=world.telemetry,
            random=dice.random,
            random_bytes=dice.randbytes,
            subscriptions=Subscriptions(store),
            traffic=Traffic(),
            together=_together,
        )
        storage = SimpleNamespace(
            store=store,
            feed=feed,
            bus=bus,
            queue=queue,
            documents=documents,
            clock=resting,
            ids=ids,
            telemetry=world.telemetry,
            expiring=store,
            pruning=bus,
            forwarding=None,
        )
        self._platform = SimpleNamespace(
            storage=storage,
            payments=self.payments,
            notifications=self.notifications,
            steps_here=None,
            webhooks=self.webhooks,
            engine=self.engine,
            desk=SimpleNamespace(
                repairs=Repairs(self.payments, self.webhooks, documents),
                replays=Replays(
                    store=store,
                    clock=resting,
                    ids=ids,
                    documents=documents,
                    webhooks=self.webhooks,
                    queue=queue,
                    queues=(),
                    histories=feed,
                ),
                objectives=Objectives(store, resting, ids, world.telemetry, CountedAttempts(documents, documents)),
                alerts=AlertDesk(store, resting, ids, world.telemetry, AiohttpSnsSignatures(), bytes),
                exports=None,
                tallies=documents,
                past=documents,
            ),
            settings=SimpleNamespace(sweep_interval_s=SWEEP_INTERVAL_S),
        )


async def _together(work: Sequence[Awaitable[Any]]) -> None:
    await asyncio.gather(*work)


def _config(world: World, name: str) -> ProviderConfig:
    credentials = {"api_key": world.api_key, "signing_secret": Secret(world.signing[0].reveal())}
    return ProviderConfig(
        name=name,
        base_url="http://127.0.0.1:1",
        credentials=credentials,
        read_timeout_s=READ_TIMEOUT_S,
        total_timeout_s=TOTAL_TIMEOUT_S,
    )
