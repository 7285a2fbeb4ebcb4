"""What can be seen from outside once all has settled: answers, lists, webhooks, the provider's books, the operators' commands.

Plain values, so that `checks` judges them and nothing else, and a test can tamper with a copy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from interlock.entrypoints.cli.demo.hook import Hook
from interlock.entrypoints.cli.demo.merchant import Answer, Merchant, Told
from interlock.entrypoints.local import Ready
from tests.crash.processes import Processes

T = TypeVar("T")
AT_ONCE = 16
PAGE = 100


@dataclass
class Acknowledged:
    """A request that was answered with 2xx, and the answer to the same request now."""

    path: str
    body: dict[str, Any]
    status: int
    answer: str
    again_status: int = 0
    again: str = ""


@dataclass
class Evidence:
    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    """By idempotency key."""
    payments: dict[str, dict[str, Any]] = field(default_factory=dict)
    """As GET shows them now: those of the answers, and any other the provider's books name."""
    events: dict[str, tuple[str, int]] = field(default_factory=dict)
    """What GET /v1/events lists: event -> its payment and version."""
    arrivals: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    """Webhooks by payment, in the order of their first arrival: event and version."""
    forged: list[str] = field(default_factory=list)
    operations: list[dict[str, Any]] = field(default_factory=list)
    """The provider's books: requests that could move money."""
    charges: list[dict[str, Any]] = field(default_factory=list)
    """The provider's books: payers' money, each with its `instance`."""
    totals: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    """The provider's books: instance -> currency -> sums."""
    balances: list[dict[str, Any]] = field(default_factory=list)
    """`interlock ledger balances`."""
    ledger: dict[str, Any] = field(default_factory=dict)
    """`interlock ledger verify`."""
    queues: list[dict[str, Any]] = field(default_factory=list)
    """`interlock queue list`."""
    complaints: list[str] = field(default_factory=list)
    """What was wrong at once: an answer outside the contract, two answers to one key, a process that ended by itself."""
    unsettled: list[str] = field(default_factory=list)


class Witness(Merchant):
    """A merchant's client that remembers what it asked for, to ask again."""

    def __init__(self, ready: Ready, told: Told) -> None:
        super().__init__(ready, told)
        self.asked: dict[str, tuple[str, dict[str, Any]]] = {}

    async def post(self, path: str, body: Mapping[str, Any], *, key: str, give_up_s: float | None = None) -> Answer:
        self.asked.setdefault(key, (path, dict(body)))
        return await super().post(path, body, key=key, give_up_s=give_up_s)

    async def again(self, key: str) -> Answer | None:
        path, body = self.asked[key]
        return await self._ask("POST", path, msgspec.json.encode(body), key, None)


class Gathering:
    """Collects evidence, again and again, reading anew only what may have changed or what is chosen."""

    def __init__(self, processes: Processes, witness: Witness, told: Told, hook: Hook) -> None:
        self._processes, self._witness, self._told, self._hook = processes, witness, told, hook
        self._events: dict[str, tuple[str, int]] = {}

    async def gather(self, keys: Iterable[str], *, complaints: list[str], unsettled: list[str]) -> Evidence:
        """`keys`: of the acknowledged answers to look into, with their payments."""
        found = Evidence(
            forged=list(self._hook.forged),
            arrivals={
                payment: [(one.event, one.version) for one in arrivals]
                for payment, arrivals in self._hook.arrivals.items()
            },
            complaints=[*complaints, *self._told.contradictions, *self._told.surprises],
            unsettled=unsettled,
        )
        chosen = list(keys)
        found.acknowledged = dict(zip(chosen, await _all(self._ask_again, chosen), strict=True))
        await self._read_books(found)
        payment_ids = {payment_of(one.answer) for one in found.acknowledged.values()}
        found.payments = {
            payment_id: payment
            for payment_id, payment in zip(payment_ids, await _all(self._look, payment_ids), strict=True)
            if payment is not None
        }
        await self._read_events()
        found.events = dict(self._events)
        found.ledger = await self._command("ledger", "verify", "--json")
        found.balances = (await self._command("ledger", "balances", "--json"))["data"]
        found.queues = await self._command("queue", "list", "--json")
        return found

    async def _ask_again(self, key: str) -> Acknowledged:
        (path, body), first = self._witness.asked[key], self._told.acknowledged[key]
        again = await self._witness.again(key)
        kept = Acknowledged(path, body, first.status, first.body.decode())
        if again is not None:
            kept.again_status, kept.again = again.status, again.body.decode()
        return kept

    async def _look(self, payment_id: str) -> dict[str, Any] | None:
        try:
            payment: dict[str, Any] = await self._witness.get(f"/v1/payments/{payment_id}")
        except TimeoutError:
            return None
        return payment

    async def _read_books(self, found: Evidence) -> None:
        books = await self._witness.steer("GET", f"{self._processes.simulator_url}/books")
        found.operations = books["operations"]
        for name, instance in books["instances"].items():
            found.totals[name] = instance["totals"]
            found.charges += [{**charge, "instance": name} for charge in instance["charges"]]

    async def _read_events(self) -> None:
        """Newest first, down to those that are known."""
        path = f"/v1/events?limit={PAGE}"
        after = ""
        while True:
            page = await self._witness.get(path + after)
            fresh = [event for event in page["data"] if event["id"] not in self._events]
            for event in fresh:
                payment = event["data"].get("payment", {})
                self._events[event["id"]] = (payment.get("id", ""), payment.get("version", 0))
            if not page["has_more"] or not fresh:
                return
            after = f"&after={page['next']}"

    async def _command(self, *arguments: str) -> Any:
        """What an operators' command prints, whatever its exit status."""
        done = await asyncio.to_thread(self._processes.command, *arguments)
        try:
            return msgspec.json.decode(done.stdout)
        except msgspec.DecodeError:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stderr}") from None


def payment_of(answer: str) -> str:
    """The payment that an answer to a POST is about."""
    content = msgspec.json.decode(answer)
    return str(content["id"] if content["object"] == "payment" else content["payment"])


async def _all(ask: Callable[[str], Any], of: Iterable[str]) -> list[Any]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(what: str) -> Any:
        async with gate:
            return await ask(what)

    return await asyncio.gather(*(one(what) for what in of))
