"""The companies that move money: simulated providers in the same thread, how a node reaches them, and the mail they send."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import InterlockError
from interlock.core.notifications.handlers import receive
from interlock.providers.protocol import Fault, HttpReply, HttpRequest
from interlock.providers.transport import ProviderConfig
from interlock.simulator import control
from interlock.simulator.faults import FaultDice, FaultKind, FaultPlan, Latency, Outage, OutageMode
from interlock.simulator.instance import SimulatedProvider, _Ask
from interlock.simulator.messages import Notice, Request, signature_headers
from interlock.simulator.model import Kind
from tests.providers.simulator.in_process import InProcessTransport
from tests.simulation.chaos import Chaos
from tests.simulation.clocks import BEGINNING
from tests.simulation.node import Died, Node

if TYPE_CHECKING:
    from tests.simulation.world import World

PAUSES_S = (0.3, 1.0, 3.0, 10.0, 30.0, 90.0)
"""Between two attempts to tell us; the last one for good."""
FIRST_PATIENCE_S = 2.0
"""How long an answer waits for the notification that goes before it."""
TROUBLE_WITHIN_S = 40.0
NOT_FOUND = 404
GARBAGE = Notice("", "snt_garbage", b'{"object":"notification","id":7')


class SimulatedDice(FaultDice):
    """Faults of answers, drawn where all the simulation's faults are drawn."""

    def __init__(self, plan: FaultPlan, chaos: Chaos, world: World, name: str) -> None:
        super().__init__(plan, salt=f"{chaos.seed}/{name}", set_at=world.clock.now())
        self._money = chaos.place(f"{name}/money", world.weather.rates("provider.money"))
        self._lookups = chaos.place(f"{name}/lookups", world.weather.rates("provider.lookup"))
        self.random = chaos.stream(f"{name}/latency")

    def fault(self, kind: Kind) -> FaultKind | None:
        drawn = (self._lookups if kind is Kind.LOOKUP else self._money).draw()
        return None if drawn is None else FaultKind(drawn)


class Company(SimulatedProvider):
    """A provider whose own time passes with the simulation's, and which tells us until we have taken it."""

    def __init__(self, world: World, name: str) -> None:
        clock, chaos = world.clock, world.chaos
        self._world = world
        self._fate = chaos.stream(f"{name}/ids")
        self._numbers = iter(range(1, 1 << 60))
        super().__init__(
            name,
            now=clock.now,
            new_id=lambda prefix: f"{prefix}_{next(self._numbers):06d}{self._fate.getrandbits(40):010x}",
            signing_secrets=world.signing,
            api_key=world.api_key,
        )
        world.secrets._values[f"provider/{name}/signing_secret"] = list(world.signing)
        self._armed: asyncio.TimerHandle | None = None
        self._armed_at: Millis = 0
        self._mail = chaos.place(f"{name}/mail", world.weather.rates("mail"))
        self._forgery = chaos.place(f"{name}/forgery", world.weather.rates("forgery"))
        self._sent: list[Notice] = []
        self.dice = SimulatedDice(self._fault_plan(), chaos, world, name)

    def _fault_plan(self) -> FaultPlan:
        """Latencies for all weathers, and an outage in some."""
        fate = self._world.chaos.stream(f"{self.name}/plan")
        latency = Latency("log_normal", median_ms=40.0, p99_ms=fate.choice([200.0, 2_000.0, 7_000.0]))
        place = self._world.chaos.place(f"{self.name}/outage", self._world.weather.rates("outage"))
        outages = []
        if (mode := place.draw()) is not None:
            outages.append(
                Outage(OutageMode(mode), place.random.uniform(0, TROUBLE_WITHIN_S), place.random.uniform(1, 60))
            )
        return FaultPlan(
            latency=latency,
            outages=outages,
            hang_s=fate.choice([1.0, 4.0, 30.0]),
            pending_s=fate.choice([0.5, 5.0, 300.0]),
            late_approval_s=fate.choice([1.0, 20.0]),
            late_accept_s=fate.choice([0.5, 10.0, 30.0]),
            dispute_s=fate.choice([0.0, 3.0]),
        )

    def calm(self) -> None:
        self.set_plan(FaultPlan())
        self.rearm()

    def accepts_later(self) -> set[str]:
        """Keys of requests that have arrived and will be booked by and by."""
        return {item.key for _, _, item in self._due if isinstance(item, _Ask)}

    # Its own time

    def rearm(self) -> None:
        """See to it that `advance` runs when something of its own is due, and that its mail goes out."""
        world = self._world
        mail, self.outbox = self.outbox, []
        for notice in mail:
            world.spawn(self.tell(notice))
        due = self._due[0][0] if self._due else None
        if due is None or (self._armed is not None and self._armed_at <= due and not self._armed.cancelled()):
            return
        if self._armed is not None:
            self._armed.cancel()
        self._armed_at = due
        self._armed = world.loop.call_at((due - BEGINNING) / 1_000, self._advance)

    def _advance(self) -> None:
        self._armed = None
        self.advance()
        self.rearm()

    def control(self, method: str, path: str, body: object) -> bool:
        """The company's own console: what its staff, the payer or the payer's bank do. Whether it was possible."""
        reaction = control.react(self, Request(method, path, "", {}, msgspec.json.encode(body)))
        self.rearm()
        return reaction.reply.status == 200

    # Mail

    async def tell(self, notice: Notice) -> None:
        """Tell us until we have taken it, amid what others send who are not this company."""
        forgery = self._forgery.draw()
        if forgery is not None:
            await self._forge(forgery, notice)
        if self._mail.draw() == "duplicated":
            self._world.spawn(self._post_until_taken(notice))
        await self._post_until_taken(notice)

    async def _post_until_taken(self, notice: Notice) -> None:
        for pause_s in (*PAUSES_S, *[PAUSES_S[-1]] * 1_000):
            fault = self._mail.draw()
            if fault == "delayed":
                await asyncio.sleep(self._mail.random.random() * 20)
            elif fault == "replayed_old" and self._sent:
                await self.post(self._mail.random.choice(self._sent))
            if fault != "lost" and await self.post(notice):
                self._sent.append(notice)
                self.books.told(notice.id)
                return
            await asyncio.sleep(pause_s * (0.5 + self._mail.random.random()))

    async def post(self, notice: Notice, *, at: Millis | None = None, forged: bool = False) -> bool:
        """One attempt, signed with a fresh timestamp. Whether we took it."""
        world = self._world
        at = world.clock.now() if at is None else at
        headers = signature_headers(notice.body, world.signing, at=at)
        if forged:
            headers["simulator-signature"] = "v1=" + "0" * 64
        elif notice.id != GARBAGE.id:
            world.watch.hears_news(notice.body)
        try:
            node = world.api_node(self._mail.random.random())
            task = node.serve(receive(node.notifications, self.name, headers, notice.body))
            await asyncio.wait((task,), timeout=10.0)
        except Died:
            return False
        if not task.done() or task.cancelled():
            return False
        error = task.exception()
        if forged:
            world.watch.that(isinstance(error, InterlockError), "a forged notification is refused", repr(error))
        if error is None:
            world.trace.add(self.name, "told", notice.id)
        return error is None

    async def _forge(self, kind: str, true: Notice) -> None:
        """Bad news of many kinds, none of which may move anything."""
        now = self._world.clock.now()
        if kind == "bad_signature":
            await self.post(true, forged=True)
        elif kind == "garbage":
            await self.post(GARBAGE)
        elif kind == "burst":
            for _ in range(20):
                self._world.spawn(self.post(true))
        else:
            body = msgspec.json.decode(true.body)
            body["id"] = f"{body['id']}_{kind}"
            told = body.get("operation") or body.get("dispute")
            if kind == "other_tenant":
                told["metadata"]["tenant"] = "ten_nobody"
            else:
                told["metadata"]["payment_id"] = "pay_00000000000000000000000000"
                told["reference"] = "att_00000000000000000000000000"
            await self.post(Notice(self.name, body["id"], msgspec.json.encode(body)), at=now)


class Line(InProcessTransport):
    """Implements `Transport` for one node: carries its requests, and has each looked at before it arrives."""

    def __init__(self, node: Node) -> None:
        super().__init__(node.world.instances, node.clock, self._first)
        self._world, self._node = node.world, node

    async def send(self, request: HttpRequest, config: ProviderConfig) -> HttpReply | Fault:
        self._world.watch.asks(self._node, config.name, request)
        reply = await super().send(request, config)
        if isinstance(reply, HttpReply):
            self._world.watch.hears(config.name, reply)
            if reply.status == NOT_FOUND and (place := self._node.place("provider.not_found")).draw():
                self._node.stand(place.random)
        said: Any = reply.kind.value if isinstance(reply, Fault) else reply.status
        self._world.trace.add(config.name, "answers", request.method, request.path, said)
        return reply

    async def _first(self, notice: Notice) -> None:
        """A notification that goes out before the answer; the answer does not wait for it for ever."""
        told = self._world.spawn(self._world.instances[notice.instance].tell(notice))
        await asyncio.wait((told,), timeout=FIRST_PATIENCE_S)

    async def send_outbox(self, instance: SimulatedProvider) -> None:
        assert isinstance(instance, Company)
        instance.rearm()
