"""The workload: merchants whose clients ask for everything there is, at once and against each other, and never twice on purpose.

A client repeats a request with its key until it is answered, as the API's contract asks. Some give up early and ask again
while the first request still runs; some ask two nodes at the same instant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from interlock.core.kernel.errors import Rejected
from interlock.core.kernel.idempotency import Request, fingerprint, idempotency_key
from interlock.core.kernel.providers import Action
from interlock.core.payments.commands import (
    CancelPayment,
    CapturePayment,
    CardToken,
    ConfirmPayment,
    CreatePayment,
    RefundPayment,
    RoutingWish,
)
from interlock.core.payments.commits import Reply
from interlock.core.payments.handlers import (
    cancel_payment,
    capture_payment,
    confirm_payment,
    create_payment,
    refund_payment,
)
from interlock.core.payments.model import Payment
from interlock.core.webhooks.commands import CreateEndpoint
from interlock.core.webhooks.handlers import create_endpoint
from tests.simulation.node import Died, Node

if TYPE_CHECKING:
    from tests.simulation.street import Endpoint
    from tests.simulation.world import World

TENANTS = ("ten_1", "ten_2", "ten_3", "ten_4")
PAYMENTS_OF_A_SHOP = 12
OPENING_HOURS_S = 10.0
TRIES_MAX = 8
RETURN_TRIES = 6
PATIENCES_S = (0.3, 2.0, 10.0, 60.0)
CURRENCIES = ("EUR", "EUR", "JPY", "KWD")
AMOUNTS = (1, 999, 1_000, 123_456, 99_999_999)
TOKENS = (
    *["tok_approve"] * 12,
    "tok_decline_insufficient_funds",
    "tok_decline_stolen",
    "tok_decline_issuer_unavailable-at-simulator_a",
    "tok_3ds",
    "tok_3ds",
    "tok_pending",
    "tok_timeout_after_accept",
    "tok_timeout_after_accept-at-simulator_a",
    "tok_timeout_before_accept",
    "tok_connect_refused",
    "tok_connect_refused-at-simulator_a",
    "tok_error_though_charged",
    "tok_garbage",
    "tok_wrong_amount",
    "tok_rate_limited",
    "tok_rate_limited-at-simulator_a",
    "tok_late_approval",
    "tok_duplicate_notification",
    "tok_out_of_order_notifications",
    "tok_notification_before_answer",
    "tok_dispute",
)
HANDLERS = {
    "confirm": confirm_payment,
    "capture": capture_payment,
    "cancel": cancel_payment,
    "refunds": refund_payment,
}
Command = Any


class Asked(NamedTuple):
    """Something a client asks for, once."""

    tenant: str
    path: str
    key: str
    command: Command

    @property
    def place(self) -> tuple[str, str, str]:
        return self.tenant, self.path, self.key


class Refused(NamedTuple):
    """A final no: nothing happened."""

    code: str


Answer = Reply | Refused | None
"""None: not answered; ask again with the same key."""


class Shop:
    def __init__(self, world: World, tenant: str) -> None:
        self._world, self.tenant = world, tenant
        self.dice = world.chaos.stream(f"{tenant}/shop")
        self.endpoint: Endpoint = world.street.open(tenant)
        self.asked: dict[tuple[str, str, str], Asked] = {}
        self.answered: dict[tuple[str, str, str], Reply] = {}
        self.requests = 0
        self._keys = 0

    async def open(self) -> None:
        """Before anything goes wrong: subscribe to every event."""
        node = self._world.api_node(0.0)
        command = CreateEndpoint(self.endpoint.url, ["*"])
        request = self._request("/v1/webhook_endpoints", command, None)
        made, secret = await node.serve(create_endpoint(node.webhooks, command, request))
        self.endpoint.id, self.endpoint.secrets = made.id, [secret]

    async def trade(self) -> None:
        """All customers of the day."""
        await asyncio.gather(*(self._customer(number) for number in range(PAYMENTS_OF_A_SHOP)))

    async def _customer(self, number: int) -> None:
        """One payment's story, from its merchant's side."""
        dice = self.dice
        await asyncio.sleep(dice.random() * OPENING_HOURS_S)
        confirm = dice.random() < 0.85
        reference = f"{self.tenant}-{number}"
        routing = RoutingWish(provider=dice.choice(["simulator_a", "simulator_b"])) if dice.random() < 0.15 else None
        command = CreatePayment(
            amount=dice.choice(AMOUNTS),
            currency=dice.choice(CURRENCIES),
            payment_method=CardToken("card", dice.choice(TOKENS)),
            capture_method="manual" if dice.random() < 0.45 else "automatic",
            confirm=confirm,
            reference=reference,
            routing=routing,
        )
        answer = await self.insist(self.new("/v1/payments", command))
        if not isinstance(answer, Reply):
            return
        payment_id = msgspec.json.decode(answer.body)["id"]
        if not confirm:
            await self._at_once(payment_id, [("confirm", ConfirmPayment())] * (2 if dice.random() < 0.3 else 1))
        if dice.random() < 0.8:
            self._world.spawn(self._payer_acts(payment_id))
        for _ in range(dice.randrange(5)):
            await asyncio.sleep(dice.random() * 4)
            wishes = [self._wish(payment_id) for _ in range(dice.choice([1, 1, 1, 2, 3]))]
            if dice.random() < 0.4 and any(verb == "refunds" for verb, _ in wishes):
                self._world.spawn(self._bank_sends_back(payment_id))
            await self._at_once(payment_id, wishes)
        if dice.random() < 0.2:
            await asyncio.sleep(dice.random() * 10)
            self._bank_acts(payment_id)

    def _wish(self, payment_id: str) -> tuple[str, Command]:
        """Mostly something that may be possible."""
        dice = self.dice
        known = self._world.watch.payments.get(payment_id)
        amount = known.payment.amount if known else 1_000
        part = max(1, int(amount * dice.choice([0.1, 0.5, 0.9])))
        captures = [CapturePayment(), CapturePayment(amount=part), CapturePayment(amount=part, final=True)]
        refunds = [RefundPayment(), RefundPayment(amount=part), RefundPayment(amount=max(1, part // 2))]
        state = known.payment.state.value if known else ""
        if state == "authorized":
            verbs = ["capture"] * 6 + ["cancel"] * 2 + ["refunds"]
        elif state == "succeeded":
            verbs = ["refunds"] * 6 + ["capture", "cancel"]
        else:
            verbs = ["capture", "cancel", "refunds", "confirm"]
        verb = dice.choice(verbs)
        if verb == "capture":
            return verb, dice.choice(captures)
        if verb == "refunds":
            return verb, dice.choice(refunds)
        return verb, CancelPayment() if verb == "cancel" else ConfirmPayment()

    async def _at_once(self, payment_id: str, wishes: list[tuple[str, Command]]) -> None:
        asked = [self.new(f"/v1/payments/{payment_id}/{verb}", command) for verb, command in wishes]
        await asyncio.gather(*(self.insist(one) for one in asked))

    # Asking

    def new(self, path: str, command: Command) -> Asked:
        self._keys += 1
        asked = Asked(self.tenant, path, f"key-{self._keys}", command)
        self.asked[asked.place] = asked
        return asked

    async def insist(self, asked: Asked) -> Answer:
        """Until there is an answer, or patience ends."""
        dice = self.dice
        for tries in range(TRIES_MAX):
            if dice.random() < 0.08:
                both = await asyncio.gather(self.ask(asked), self.ask(asked))
                answer = both[0] or both[1]
            else:
                answer = await self.ask(asked, patience_s=dice.choice(PATIENCES_S))
            if answer is not None:
                return answer
            await asyncio.sleep(dice.random() * (1 + tries))
        return None

    async def ask(self, asked: Asked, *, patience_s: float = 60.0) -> Answer:
        """Once. Gives up after `patience_s`, while the request goes on."""
        world = self._world
        self.requests += 1
        try:
            node = world.api_node(self.dice.random())
            task = node.serve(self._carry_out(node, asked))
        except Died:
            return None
        await asyncio.wait((task,), timeout=patience_s)
        if not task.done() or task.cancelled():
            return None
        error = task.exception()
        if error is None:
            reply: Reply = task.result()
            self._remember(asked, reply)
            return reply
        world.trace.add(self.tenant, "refused", asked.path, asked.key, type(error).__name__, error)
        return Refused(error.code) if isinstance(error, Rejected) else None

    def _carry_out(self, node: Node, asked: Asked) -> Coroutine[Any, Any, Reply]:
        request = self._request(asked.path, asked.command, asked.key)
        if asked.path == "/v1/payments":
            return create_payment(node.payments, asked.command, request)
        _, _, _, payment_id, verb = asked.path.split("/")
        return HANDLERS[verb](node.payments, payment_id, asked.command, request)

    def _request(self, path: str, command: Command, key: str | None) -> Request:
        place = None if key is None else idempotency_key(self.tenant, "POST", path, key)
        return Request(self.tenant, place, fingerprint(msgspec.json.encode(command)), f"cli_{self.tenant}", "req")

    def _remember(self, asked: Asked, reply: Reply) -> None:
        """What is answered once is answered the same for good."""
        world = self._world
        known = self.answered.setdefault(asked.place, reply)
        same = (known.status, known.body) == (reply.status, reply.body)
        world.watch.that(same, "a request has one answer for good", asked.place)
        told = msgspec.json.decode(reply.body)
        payment_id = told["id"] if told["object"] == "payment" else told["payment"]
        held = world.watch.payments.get(payment_id)
        world.watch.that(held is not None, "what is answered is stored", asked.place)
        assert held is not None
        if told["object"] == "payment":
            world.watch.that(held.payment.version >= told["version"], "what is answered is stored", asked.place)
        else:
            world.watch.that(held.payment.refund(told["id"]) is not None, "what is answered is stored", asked.place)
        world.trace.add(self.tenant, "answered", asked.path, asked.key, reply.status, told["id"], told["status"])

    # Others who act

    async def _payer_acts(self, payment_id: str) -> None:
        """The payer completes what their bank asks of them, or does not."""
        await asyncio.sleep(self.dice.random() * 15)
        company, payment = self._company_of(payment_id)
        if company is None:
            return
        for charge in company.books.charges_of(payment_id=payment.id):
            result = self.dice.choice(["authenticated", "authenticated", "failed"])
            if company.control("POST", f"/3ds/{charge.id}/complete", {"result": result}):
                self._world.trace.add(company.name, "payer", payment.id, result)

    async def _bank_sends_back(self, payment_id: str) -> None:
        """The payer's bank sends a refund back so soon that whoever asked for it may not have been answered yet."""
        for _ in range(RETURN_TRIES):
            await asyncio.sleep(self.dice.random())
            if self._returned(payment_id):
                return

    def _bank_acts(self, payment_id: str) -> None:
        """The payer's bank contests, decides, or sends a refund back."""
        what = self.dice.choice(["opened", "won", "lost", "return"])
        if what == "return":
            self._returned(payment_id)
            return
        company, _ = self._company_of(payment_id)
        if company and company.control("POST", "/disputes", {"payment_id": payment_id, "status": what}):
            self._world.trace.add(company.name, "bank", payment_id, what)

    def _returned(self, payment_id: str) -> bool:
        """The payment's latest refund that its company knows, whether or not we have heard what became of it."""
        for attempt in reversed(self._world.watch.payments[payment_id].payment.attempts):
            company = self._world.instances[attempt.provider]
            if attempt.operation is Action.REFUND and company.control("POST", "/returns", {"attempt_id": attempt.id}):
                self._world.trace.add(company.name, "bank", payment_id, "return")
                return True
        return False

    def _company_of(self, payment_id: str) -> tuple[Any, Payment]:
        payment = self._world.watch.payments[payment_id].payment
        return self._world.instances.get(payment.provider or ""), payment
