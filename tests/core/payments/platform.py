"""The handlers of payments on memory adapters and a scripted provider, for the tests of this folder."""

import asyncio
import random

from interlock.backends.local.ids import SystemIds
from interlock.backends.memory.store import MemoryStore
from interlock.core.kernel.idempotency import Request, fingerprint, idempotency_key
from interlock.core.kernel.providers import Action, CallReport, Capabilities, Outcome, Result
from interlock.core.payments.ports import Payments
from interlock.core.routing.handlers import Rules
from tests.clocks import ManualClock
from tests.telemetry import RecordingTelemetry

NOW = 1_800_000_000_000
CAPABLE = Capabilities(
    frozenset(Action), frozenset({"card"}), None, multiple_captures=True, lookup_settles_after_ms=5_000
)


class ScriptedGateway:
    """Providers `a` and `b` that answer what the test says, and remember what they were asked."""

    def __init__(self) -> None:
        self.script: list[Result | asyncio.Future | Exception] = []
        self.asked: list[tuple[str, object, bool]] = []

    def names(self):
        return ["a", "b"]

    def capabilities(self, provider):
        return CAPABLE

    def is_available(self, provider):
        return True

    async def call(self, provider_name, op, *, resend=False):
        self.asked.append((provider_name, op, resend))
        answer = self.script.pop(0)
        if isinstance(answer, asyncio.Future):
            answer = await answer
        if isinstance(answer, BaseException):
            raise answer
        return CallReport(answer)


def approved(*, captured=True, reference="ch_1", **fields) -> Result:
    return Result(Outcome.APPROVED, provider_reference=reference, captured=captured, **fields)


class World:
    """One node with its store."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.store = MemoryStore(self.clock)
        self.gateway = ScriptedGateway()
        self.telemetry = RecordingTelemetry()
        ids = SystemIds(self.clock, random_bits=random.Random(7).getrandbits)
        self.payments = Payments(
            self.store, self.gateway, Rules(self.store, self.clock), self.clock, ids, self.telemetry
        )

    def at(self, millis: int) -> None:
        """Move time forward to this instant."""
        self.clock.advance((millis - self.clock.now()) / 1000)

    def will(self, *answers) -> None:
        self.gateway.script.extend(answers)


def request(key: str | None = "k1", *, body: str = "", tenant: str = "ten_1", path: str = "/v1/payments") -> Request:
    where = idempotency_key(tenant, "POST", path, key) if key else None
    return Request(tenant, where, fingerprint(body.encode()), "cli_1", "rid-1")
