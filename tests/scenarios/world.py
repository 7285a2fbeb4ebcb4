"""The whole platform in one thread, in virtual time: the real handlers, engine and loops over one kind of adapters, two
simulated providers with books of their own, and a merchant who listens to webhooks. Nothing sleeps; in memory nothing is
left to chance."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from interlock.backends.asl.messages import QUEUE_SPEC as WORKFLOWS_SPEC
from interlock.backends.local.ids import SystemIds
from interlock.core.desk.figures.model import COLLECTIONS as DESK_COLLECTIONS
from interlock.core.kernel.errors import InterlockError
from interlock.core.kernel.queue import QueueSpec
from interlock.core.kernel.store import Item, Key
from interlock.core.ledger.projection import JOURNALS
from interlock.core.notifications.handlers import handle
from interlock.core.notifications.model import QUEUE as NOTIFICATIONS
from interlock.core.payments.model import Attempt, Payment, decode_payment
from interlock.core.payments.projection import COLLECTIONS as PAYMENT_COLLECTIONS
from interlock.core.payments.records import payment_key
from interlock.core.webhooks.events import COLLECTIONS as WEBHOOK_COLLECTIONS
from interlock.core.webhooks.ports import QUEUE_SPEC
from interlock.simulator import control
from interlock.simulator.instance import SimulatedProvider
from interlock.simulator.messages import Notice, Request, signature_headers
from tests.clocks import ManualClock
from tests.core.webhooks.world import Merchant
from tests.providers.simulator.harness import API_KEY, SIGNING, plan
from tests.scenarios.backing import CHOICE, Wanted
from tests.scenarios.invariants import assert_invariants
from tests.scenarios.node import DEFAULT_TIMING, Answer, Died, Node, seeded_shuffle
from tests.telemetry import RecordingTelemetry

NOW = 1_800_000_000_000
ROUNDS_MAX = 3_000
"""Rounds of work at one instant; more would be a loop that never rests."""
QUIET_ROUNDS = 2
"""A queue worker that is full spends a round on forgetting what it has finished."""
HOOK = "https://shop.example.com/hooks"
SECOND, MINUTE, HOUR, DAY = 1.0, 60.0, 3_600.0, 86_400.0


class World:
    """What outlives every node, and the node that runs at present."""

    def __init__(
        self,
        *,
        seed: int | None = None,
        instances: tuple[str, ...] = ("simulator_a", "simulator_b"),
        timing: Any = DEFAULT_TIMING,
        breaker: Any = None,
        release: str = "",
        **faults: Any,
    ) -> None:
        """`faults` is the simulators' fault plan; with `seed`, tasks are interleaved by chance."""
        self.clock = ManualClock(NOW)
        self.random = random.Random(seed or 1)
        self.shuffle = seeded_shuffle(seed)
        self.timing, self.breaker, self.release = timing, breaker, release
        self.ids = SystemIds(self.clock, random_bits=self.random.getrandbits)
        specs = (QueueSpec(NOTIFICATIONS, lease_s=60.0, attempts_max=25), QUEUE_SPEC, WORKFLOWS_SPEC)
        collections = (*PAYMENT_COLLECTIONS, *WEBHOOK_COLLECTIONS, JOURNALS, *DESK_COLLECTIONS)
        secrets = {f"provider/{name}/signing_secret": SIGNING[0].reveal() for name in instances}
        self.backing = CHOICE.open(Wanted(self.clock, self.ids, specs, collections, secrets))
        self.store, self.feed, self.bus = self.backing.store, self.backing.feed, self.backing.bus
        self.queue, self.documents, self.secrets = self.backing.queue, self.backing.documents, self.backing.secrets
        self.telemetry = RecordingTelemetry()
        self.merchant = Merchant(self.clock)
        self.instances = {name: self._instance(name, faults) for name in instances}
        self.mail: list[Notice] = []
        """Notifications the providers sent and that have not been posted to us."""
        self.mail_held = False
        """While set, notifications stay under way."""
        self.mail_at_once = False
        """Post and apply each notification the moment it is sent, also in the middle of a call."""
        self.fault_of: Callable[[str, Any], str | None] = lambda called, args: None
        self.effects = 0
        self.errors: list[str] = []
        """Steps of loops that failed in a way the platform foresees."""
        self.crashes: list[BaseException] = []
        """... and in a way it does not: always a defect."""
        self.answered: dict[tuple[str, str, str], tuple[Any, Answer]] = {}
        self.answered_at: dict[tuple[str, str, str], int] = {}
        self.hooked = False
        self.deaths = 0
        self.node = Node(self, "node")

    def _instance(self, name: str, faults: dict[str, Any]) -> SimulatedProvider:
        made = SimulatedProvider(
            name, now=self.clock.now, new_id=self.ids.new, signing_secrets=SIGNING, api_key=API_KEY
        )
        made.set_plan(plan(**faults))
        return made

    # What goes wrong

    def next_fault(self, called: str, args: Any) -> str | None:
        return self.fault_of(called, args)

    def fail(self, *script: str | None, when: str = "store.commit", holds: Callable[[Any], bool] | None = None) -> None:
        """The next calls of this kind (those for which `holds(args)`) meet these faults, one each; None lets one pass."""
        left = list(script)

        def fault_of(called: str, args: Any) -> str | None:
            if called != when or not left or (holds is not None and not holds(args)):
                return None
            return left.pop(0)

        self.fault_of = fault_of

    def faults(self, name: str = "simulator_a", **fields: Any) -> None:
        """A new fault plan for one provider."""
        self.instances[name].set_plan(plan(**fields))

    def failed(self, loop: str, error: Exception) -> None:
        if isinstance(error, InterlockError):
            self.errors.append(f"{loop}: {error.code}: {error}")
        else:
            self.crashes.append(error)

    async def restart(self) -> Node:
        """The process ends; another one starts over the same store."""
        self.node.die()
        self.deaths += 1
        await self.clock.settle()
        self.backing.restarted()
        self.node = Node(self, "node")
        return self.node

    # The merchant

    def begin(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, tenant: str = "ten_1", **headers: str
    ) -> asyncio.Task[Answer]:
        """A request under way."""
        if key is not None:
            headers["Idempotency-Key"] = key
        task = self.node.start(self.node.ask(method, path, body, headers=headers, token=tenant))
        task.add_done_callback(lambda done: self._note((tenant, path, key or ""), body, done))
        return task

    def _note(self, where: tuple[str, str, str], body: Any, done: asyncio.Task[Answer]) -> None:
        """Remember what was acknowledged: it must be given again, byte for byte, for good."""
        if done.cancelled() or done.exception() is not None or not where[2]:
            return
        answer = done.result()
        if answer.status < 300:
            known = self.answered.setdefault(where, (body, answer))[1]
            self.answered_at.setdefault(where, self.clock.now())
            assert (known.status, known.body) == (answer.status, answer.body), "an answer changed"

    async def ask(self, method: str, path: str, body: Any = None, **fields: Any) -> Answer:
        """A request and its answer; time passes only as far as the call itself needs."""
        return await self.finish(self.begin(method, path, body, **fields))

    async def finish(self, task: asyncio.Task[Any]) -> Any:
        await self.clock.settle()
        for _ in range(2_000):
            if task.done():
                if self.node.dead:
                    raise Died
                return task.result()
            await self.clock.run_for(0.25)
        raise AssertionError("the request is never answered")

    async def insist(self, method: str, path: str, body: Any = None, *, key: str, **fields: Any) -> Answer:
        """As a merchant does it: ask with the same key until there is an answer, starting the platform again if it died."""
        for _ in range(100):
            try:
                answer = await self.ask(method, path, body, key=key, **fields)
            except Died:
                await self.restart()
                continue
            if answer.status == 503 or (answer.status == 409 and answer.json["code"] == "request_in_flight"):
                await self.run(2)
                if self.node.dead:
                    await self.restart()
                continue
            return answer
        raise AssertionError(f"{path} is never answered")

    async def pay(self, amount: int = 1000, *, token: str = "tok_approve", key: str = "k1", **fields: Any) -> Answer:
        tenant = fields.pop("tenant", "ten_1")
        method = {"type": "card", "token": token}
        body = {"amount": amount, "currency": "EUR", "payment_method": method} | fields
        return await self.ask("POST", "/v1/payments", body, key=key, tenant=tenant)

    async def authorize(self, amount: int = 1000, **fields: Any) -> str:
        """A manual payment that is authorised; its id."""
        answer = await self.pay(amount, capture_method="manual", **fields)
        assert answer.json["status"] == "requires_capture", answer
        return answer.json["id"]

    async def sale(self, amount: int = 1000, **fields: Any) -> str:
        """A payment that succeeded; its id."""
        answer = await self.pay(amount, **fields)
        assert answer.json["status"] == "succeeded", answer
        return answer.json["id"]

    async def act(self, payment_id: str, verb: str, body: Any = None, *, key: str = "k2", **fields: Any) -> Answer:
        return await self.ask("POST", f"/v1/payments/{payment_id}/{verb}", body, key=key, **fields)

    async def hook(self) -> None:
        """Listen to every event from now on."""
        answer = await self.ask("POST", "/v1/webhook_endpoints", {"url": HOOK, "events": ["*"]})
        assert answer.status == 201, answer
        self.hooked = True

    # The providers

    async def tell(self, notice: Notice) -> None:
        self.mail.append(notice)
        if self.mail_at_once:
            await self.post()
            await self.work_queue()

    async def post(self) -> None:
        """Deliver the notifications under way, as the providers would: signed, with a fresh timestamp, until taken."""
        for _ in range(len(self.mail)):
            if not self.mail:
                return
            notice = self.mail.pop(0)
            headers = signature_headers(notice.body, SIGNING[:1], at=self.clock.now())
            path = f"/v1/notifications/{notice.instance}"
            try:
                answer = await self.node.ask("POST", path, notice.body, headers=headers, token="")
            except BaseException:
                self.mail.append(notice)
                raise
            self.effects += 1
            if answer.status in (409, 503):
                self.mail.append(notice)
            elif answer.status == 200:
                self.instances[notice.instance].books.told(notice.id)

    async def work_queue(self) -> None:
        """Apply the notifications that are queued, here and now."""
        for message in await self.queue.receive(NOTIFICATIONS, limit=100):
            if await handle(self.node.notifications, message):
                await self.queue.ack(NOTIFICATIONS, message.receipt)
            else:
                await self.queue.release(NOTIFICATIONS, message.receipt, delay_s=2.0)

    async def tell_us(
        self, body: bytes, *, name: str = "simulator_a", secrets: Any = SIGNING[:1], at: int | None = None
    ) -> Answer:
        """A notification with this very body, as it comes in from outside."""
        headers = signature_headers(body, secrets, at=self.clock.now() if at is None else at)
        return await self.node.ask("POST", f"/v1/notifications/{name}", body, headers=headers, token="")

    def control(self, method: str, path: str, body: Any = None, *, name: str = "simulator_a") -> Any:
        """The provider's own console: disputes, returns, the payer's challenge."""
        raw = b"" if body is None else msgspec.json.encode(body)
        reaction = control.react(self.instances[name], Request(method, path, "", {}, raw))
        assert reaction.reply.status == 200, reaction.reply
        self._collect(self.instances[name])
        return msgspec.json.decode(reaction.reply.body)

    def complete_challenge(self, payment_id: str, result: str = "authenticated", *, name: str = "simulator_a") -> None:
        (charge,) = self.instances[name].books.charges_of(payment_id=payment_id)
        self.control("POST", f"/3ds/{charge.id}/complete", {"result": result}, name=name)

    def rows(self, payment_id: str, *, name: str = "simulator_a") -> list[dict[str, Any]]:
        """What the provider was asked for this payment, and what came of it."""
        return list(control.books_of(self.instances[name], f"payment_id={payment_id}")["operations"])

    # Time

    async def work(self) -> None:
        """Do all that can be done at this instant."""
        quiet = 0
        for _ in range(ROUNDS_MAX):
            before = self.effects
            for instance in self.instances.values():
                instance.advance()
                self._collect(instance)
            if not self.mail_held and not self.node.dead:
                self.node.start(self._posting())
            self.node.turn()
            await self.clock.settle()
            quiet = quiet + 1 if self.effects == before else 0
            if quiet == QUIET_ROUNDS:
                return
        raise AssertionError("the platform never rests")

    def _collect(self, instance: SimulatedProvider) -> None:
        self.mail += instance.outbox
        instance.outbox = []

    async def _posting(self) -> None:
        with contextlib.suppress(Died):
            await self.post()

    async def run(self, seconds: float) -> None:
        """Time passes from one due thing to the next, everybody working."""
        end = self.clock.now() + round(seconds * 1_000)
        await self.work()
        while (left := end - self.clock.now()) > 0:
            due = min((at for at in self._dues() if at is not None), default=end)
            step = max(due - self.clock.now(), 1_000)
            if self.clock.sleeping:
                step = min(step, 500)
            await self.clock.run_for(min(step, left) / 1_000)
            await self.work()

    def _dues(self) -> list[int | None]:
        return [
            self.queue.next_ready_at(),
            *(one.next_due() for one in self.instances.values()),
            *map(self.due_at, self.payments()),
        ]

    async def settle(self, *, most_s: float = 10 * DAY) -> None:
        """Let everything open come to its end."""
        end = self.clock.now() + round(most_s * 1_000)
        await self.work()
        while things := await self.open_things():
            assert self.clock.now() < end, f"still open: {things}"
            due = [at for at in self._dues() if at is not None]
            wait_s = max(min(due, default=0) - self.clock.now(), 1_000) / 1_000
            await self.run(min(wait_s, 0.5) if self.clock.sleeping else wait_s)

    async def open_things(self) -> list[str]:
        """What is not at its end: attempts, messages, notifications, plans of the providers."""
        found = [
            f"{payment.id} {attempt.operation} {attempt.outcome}"
            for payment in self.payments()
            for attempt in payment.open_attempts
        ]
        found += [f"{count} in {name}" for name, count in (await self.queue.open_messages()).items() if count]
        found += [f"{group} is {lag} events behind" for group, lag in (await self.bus.behind()).items() if lag]
        found += [f"{name} plans" for name, one in self.instances.items() if one._due]
        return found + (["mail"] if self.mail and not self.mail_held else []) + ["call"] * self.clock.sleeping

    # Looking

    @property
    def items(self) -> Mapping[Key, Item]:
        """All that is in the store."""
        return self.backing.items

    def payments(self) -> list[Payment]:
        items = [item for key, item in self.items.items() if key.sort == "payment"]
        return [decode_payment(item.value) for item in items]

    def payment(self, payment_id: str, tenant: str = "ten_1") -> Payment:
        return decode_payment(self.items[payment_key(tenant, payment_id)].value)

    def last_attempt(self, payment_id: str) -> Attempt:
        return self.payment(payment_id).attempts[-1]

    def due_at(self, payment: Payment) -> int | None:
        """When the index brings the payment up."""
        place = self.items[payment_key(payment.tenant, payment.id)].indexes.get("due")
        return None if place is None else int(place.sort.partition("/")[0])

    async def events(self, payment_id: str) -> list[str]:
        return [event.type for event in await self.store.history(payment_id)]

    def alarms(self) -> list[str]:
        return self.telemetry.alarms()

    async def assert_invariants(self, *, settle: bool = True) -> None:
        """Hold store, events, ledger, webhooks, answers and the providers' books against each other."""
        await assert_invariants(self, settle=settle)
