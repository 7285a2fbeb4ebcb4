"""A minimal adapter and the engine around it, for tests of the engine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import (
    Action,
    Capabilities,
    Decline,
    Notification,
    Operation,
    Outcome,
    Result,
    Retry,
)
from interlock.core.kernel.secrets import Secret
from interlock.core.routing.breaker import BreakerSettings
from interlock.providers.engine import ProviderEngine
from interlock.providers.protocol import (
    Context,
    Conversation,
    Fault,
    HttpReply,
    HttpRequest,
    Phase,
    RawNotification,
)
from interlock.providers.transport import ProviderConfig
from tests.clocks import ManualClock
from tests.providers.recording import Answer, RecordingTelemetry, ScriptedTransport

SECRET = "sk_live_neverprintme"
EUR = Money(1999, "EUR")


class PlainProvider:
    """JSON in, JSON out: {"outcome", "amount", "currency", "id"}. Careless on purpose: it believes whatever it reads."""

    credential_names = ("key",)
    signing_secret_name = "webhook_secret"
    capabilities = Capabilities(frozenset(Action), frozenset({"card"}), None)

    def __init__(
        self, name: str = "plain", *, phases: Sequence[Phase] = (Phase.COMMIT,), on_fault: Outcome | None = None
    ):
        self.name = name
        self.phases = phases
        self.on_fault = on_fault

    def run(self, op: Operation, ctx: Context) -> Conversation:
        reply: HttpReply | Fault | None = None
        for phase in [Phase.READ] if op.action is Action.LOOKUP else self.phases:
            body = json.dumps({"attempt_id": op.attempt_id, "token": op.token, "amount": op.amount.amount}).encode()
            headers = {"Authorization": f"Bearer {ctx.credentials['key'].reveal()}"}
            get = phase is Phase.READ
            reply = yield HttpRequest(
                "GET" if get else "POST", f"/{phase}", phase, headers, b"" if get else body, None if get else "Key"
            )
            if isinstance(reply, Fault):
                return Result(self.on_fault or Outcome.UNKNOWN, amount=op.amount, detail=reply.kind.value)
        assert isinstance(reply, HttpReply)
        read = json.loads(reply.body)
        return Result(
            Outcome(read["outcome"]),
            provider_reference=read.get("id"),
            amount=Money(read["amount"], read["currency"]) if "amount" in read else None,
            decline=Decline("soft", "declined", Retry.NEVER) if read["outcome"] == "declined" else None,
        )

    def notifications(self, raw: RawNotification, secrets: Mapping[str, list[Secret]]) -> list[Notification]:
        return []


def answer(outcome: str = "approved", *, status: int = 200, **fields: Any) -> HttpReply:
    body = {"outcome": outcome, "id": "pp_1", "amount": 1999, "currency": "EUR", **fields}
    return HttpReply(status, {}, json.dumps(body).encode())


def operation(action: Action = Action.AUTHORIZE, **fields: Any) -> Operation:
    known = {
        "attempt_id": "att_1",
        "payment_id": "pay_1",
        "tenant": "ten_1",
        "amount": EUR,
        "started_at": 1_800_000_000_000,
        "token": "tok_visa_secret",
    }
    return Operation(action=action, **{**known, **fields})


def config(name: str = "plain", base_url: str = "http://127.0.0.1:9", **fields: Any) -> ProviderConfig:
    return ProviderConfig(name, base_url, {"key": Secret(SECRET)}, **fields)


class Bench:
    """An engine with one scripted provider."""

    def __init__(
        self,
        *answers: Answer,
        provider: PlainProvider | None = None,
        breaker: BreakerSettings | None = None,
        **fields: Any,
    ):
        self.clock = ManualClock()
        self.telemetry = RecordingTelemetry()
        self.transport = ScriptedTransport(answers)
        self.engine = ProviderEngine(
            {"plain": (provider or PlainProvider(), config(**fields))},
            clock=self.clock,
            telemetry=self.telemetry,
            transport=self.transport,
            breaker=breaker,
        )
