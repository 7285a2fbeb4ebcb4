"""The provider engine: carries out what adapters describe, and decides what a failure means.

    NOT_SENT   is said only when every request that could move money failed before its first byte.
    UNKNOWN    is said whenever a provider may have acted and did not say so in words the adapter understands.

Both are decided here, from what went over the wire; an adapter's claim that contradicts it is overruled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from interlock.core.kernel.clock import Clock
from interlock.core.kernel.providers import Action, CallReport, Capabilities, Exchange, Operation, Outcome, Result
from interlock.core.kernel.telemetry import Telemetry
from interlock.core.routing.breaker import Breaker, BreakerSettings, BreakerState
from interlock.providers.protocol import (
    Context,
    Conversation,
    Fault,
    FaultClass,
    HttpReply,
    HttpRequest,
    Phase,
    Provider,
    advance,
)
from interlock.providers.redaction import mask, redact
from interlock.providers.transport import HttpTransport, ProviderConfig, Transport

__all__ = ["HttpTransport", "ProviderConfig", "ProviderEngine", "RetryBudget", "Transport"]

REQUESTS_MAX = 40
"""Of one call; an adapter that wants more is defective."""
RETRIES_MAX = 1
"""Of one request within a call."""
RETRY_PAUSE_S = 0.05

ALARMING_DETAILS = frozenset(
    {"amount_mismatch", "reference_mismatch", "unknown_status", "credentials_refused", "idempotency_key_reused"}
)
"""Words in `Result.detail` by which an adapter itself asks for a person."""


class RetryBudget:
    """A token bucket: each call earns a little, each retry costs one. So retries stay a small share of the traffic."""

    def __init__(self, *, per_call: float = 0.1, tokens_max: float = 10.0) -> None:
        self._per_call = per_call
        self._tokens_max = tokens_max
        self._tokens = tokens_max

    def earn(self) -> None:
        self._tokens = min(self._tokens_max, self._tokens + self._per_call)

    def spend(self) -> bool:
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class _Line(NamedTuple):
    """All that belongs to one configured provider."""

    provider: Provider
    config: ProviderConfig
    breaker: Breaker
    budget: RetryBudget
    secrets: tuple[str, ...]


class _Call:
    """What went over the wire in one call."""

    __slots__ = ("alarms", "doubt", "exchanges", "exposed", "settled", "unwell")

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.alarms: list[str] = []
        self.exposed = False
        """A request that may move money may have arrived."""
        self.doubt = False
        """... and of one of them it is not known what it did: no complete answer, or the provider's own failure."""
        self.settled = False
        """The last request had a complete answer that was not the provider's own failure."""
        self.unwell = False
        """The provider failed in a way that counts against its breaker."""


class ProviderEngine:
    """Calls providers by their configured name. Also what routing needs to know of them (`Roster`)."""

    def __init__(
        self,
        providers: Mapping[str, tuple[Provider, ProviderConfig]],
        *,
        clock: Clock,
        telemetry: Telemetry,
        transport: Transport | None = None,
        breaker: BreakerSettings | None = None,
    ) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._transport: Transport = transport or HttpTransport()
        self._lines = {
            name: _Line(
                provider,
                config,
                Breaker(breaker),
                RetryBudget(),
                tuple(secret.reveal() for secret in config.credentials.values()),
            )
            for name, (provider, config) in providers.items()
        }
        for name, line in self._lines.items():
            missing = [word for word in line.provider.credential_names if word not in line.config.credentials]
            if missing:
                raise ValueError(f"provider {name} lacks the credentials {', '.join(missing)}")

    def names(self) -> Sequence[str]:
        return list(self._lines)

    def provider(self, provider_name: str) -> Provider:
        return self._lines[provider_name].provider

    def capabilities(self, provider_name: str) -> Capabilities:
        return self._lines[provider_name].provider.capabilities

    def is_available(self, provider_name: str) -> bool:
        return self._lines[provider_name].breaker.is_available(self._clock.monotonic())

    def health(self, provider_name: str) -> BreakerState:
        return self._lines[provider_name].breaker.state(self._clock.monotonic())

    async def close(self) -> None:
        await self._transport.close()

    async def call(self, provider_name: str, op: Operation, *, resend: bool = False) -> CallReport:
        """Carry out `op` at a provider and say what is known of it.

        Never raises for what a provider does. Cancellation passes through: the attempt is then as unknown as after a
        crash. `resend` says that the attempt was sent before: nothing heard now proves that nothing happened then, so
        NOT_SENT becomes UNKNOWN and only a lookup can tell. KeyError for a provider that is not configured.
        """
        line = self._lines[provider_name]
        started = self._clock.monotonic()
        call = _Call()
        with self._telemetry.span(
            "provider.call",
            provider=provider_name,
            operation=op.action.value,
            attempt_id=op.attempt_id,
            payment_id=op.payment_id,
        ) as span:
            ticket = line.breaker.admit(started)
            if ticket is None:
                result = Result(Outcome.UNKNOWN, detail=FaultClass.BREAKER_OPEN.value)
            else:
                try:
                    result = await self._converse(line, op, call, resend)
                except BaseException:
                    line.breaker.release(ticket)
                    raise
                self._record_health(line, ticket, failed=call.unwell)
            result = _judge(op, call, result, resend)
            span.set(outcome=result.outcome.value, detail=result.detail)
        action, outcome = op.action.value, result.outcome.value
        self._telemetry.observe(
            "interlock_provider_call_duration_seconds",
            self._clock.monotonic() - started,
            provider=provider_name,
            operation=action,
            outcome=outcome,
        )
        self._telemetry.count(
            "interlock_provider_calls_total", provider=provider_name, operation=action, outcome=outcome
        )
        for alarm in call.alarms:
            self._telemetry.error(
                "provider.alarm_raised",
                alarm=alarm,
                provider=provider_name,
                operation=action,
                outcome=outcome,
                attempt_id=op.attempt_id,
                payment_id=op.payment_id,
            )
        return CallReport(result, tuple(call.exchanges), tuple(call.alarms))

    def _record_health(self, line: _Line, ticket: int, *, failed: bool) -> None:
        now = self._clock.monotonic()
        before = line.breaker.state(now)
        line.breaker.record(ticket, failed=failed, now=now)
        after = line.breaker.state(now)
        if after is not before:
            provider, shut = line.config.name, after is BreakerState.CLOSED
            self._telemetry.gauge("interlock_provider_breaker_open", 0.0 if shut else 1.0, provider=provider)
            self._telemetry.warning("provider.breaker_changed", provider=provider, status=after.value)

    async def _converse(self, line: _Line, op: Operation, call: _Call, resend: bool) -> Result:
        """Run the adapter's conversation to its end."""
        line.budget.earn()
        deadline = self._clock.monotonic() + line.config.total_timeout_s
        conversation: Conversation | None = None
        reply: HttpReply | Fault | None = None
        try:
            conversation = line.provider.run(op, Context(self._clock.now(), line.config.credentials, resend))
            for _ in range(REQUESTS_MAX):
                step = advance(conversation, reply)
                if isinstance(step, Result):
                    return step
                reply = await self._exchange(line, op, step, call, deadline)
            raise RuntimeError("the conversation does not end")
        except Exception as error:
            # A defect, in the adapter or behind it: whatever it is, what went over the wire decides.
            call.alarms.append("adapter_error")
            call.unwell = True
            self._telemetry.error(
                "provider.adapter_failed",
                provider=line.config.name,
                operation=op.action.value,
                payment_id=op.payment_id,
                error=type(error).__name__,
            )
            return Result(Outcome.UNKNOWN, detail="adapter_error")
        finally:
            if conversation is not None:
                with suppress(Exception):
                    conversation.close()

    async def _exchange(
        self, line: _Line, op: Operation, request: HttpRequest, call: _Call, deadline: float
    ) -> HttpReply | Fault:
        """Send one request, again if that is safe and affordable, and record each time."""
        if request.idempotency_header is not None:
            headers = {**request.headers, request.idempotency_header: op.attempt_id}
            request = HttpRequest(request.method, request.path, request.phase, headers, request.body)
        retries = 0
        while True:
            before = self._clock.monotonic()
            late = before >= deadline
            reply = Fault(FaultClass.CONNECT, "no time left") if late else await self._send(line, request, call)
            self._record(line, op, request, reply, before, call)
            fault = reply.kind if isinstance(reply, Fault) else None
            lost = fault is not None and not fault.before_sending
            failed = fault is not None or _is_trouble(reply)
            call.settled = not failed or _is_refusal(reply)
            call.unwell = call.unwell or (failed and not late)
            if request.phase is Phase.COMMIT and (fault is None or lost):
                call.exposed = True
                call.doubt = call.doubt or not call.settled
            may_repeat = failed and (request.phase is Phase.READ or (fault is not None and not lost))
            if not may_repeat or late or retries >= RETRIES_MAX or not line.budget.spend():
                return reply
            retries += 1
            await self._clock.sleep(RETRY_PAUSE_S)

    async def _send(self, line: _Line, request: HttpRequest, call: _Call) -> HttpReply | Fault:
        try:
            return await self._transport.send(request, line.config)
        except Exception:
            # Nothing is known of how far it came.
            if request.phase is Phase.COMMIT:
                call.exposed = call.doubt = True
            call.settled = False
            raise

    def _record(
        self, line: _Line, op: Operation, request: HttpRequest, reply: HttpReply | Fault, before: float, call: _Call
    ) -> None:
        duration_ms = round((self._clock.monotonic() - before) * 1_000, 3)
        hide = (op.token, *line.secrets) if op.token else line.secrets
        answer = reply if isinstance(reply, HttpReply) else None
        call.exchanges.append(
            Exchange(
                method=request.method,
                url=mask(line.config.base_url.rstrip("/") + request.path, hide=hide),
                phase=request.phase.value,
                started_at=self._clock.now() - int(duration_ms),
                duration_ms=duration_ms,
                status=None if answer is None else answer.status,
                fault=reply.kind.value if isinstance(reply, Fault) else None,
                request=redact(request.body, hide=hide),
                reply=None if answer is None else redact(answer.body, hide=hide),
            )
        )


def _is_trouble(reply: HttpReply | Fault) -> bool:
    """Whether the provider itself is in trouble: declines and refusals are answers, not trouble."""
    return isinstance(reply, HttpReply) and (reply.status >= 500 or reply.status == 429)


def _is_refusal(reply: HttpReply | Fault) -> bool:
    """Too many requests: trouble, and yet a clear answer."""
    return isinstance(reply, HttpReply) and reply.status == 429


def _judge(op: Operation, call: _Call, result: Result, resend: bool) -> Result:
    """What may be said of the call, given what went over the wire."""
    outcome, detail = result.outcome, result.detail
    if op.action is Action.LOOKUP:
        # Nothing moved by asking; and where the last word is missing, nothing is known.
        if not call.settled:
            outcome = Outcome.UNKNOWN
    elif not call.exposed:
        # Nothing that moves money can have arrived. An adapter may have read that the goal was reached already, or have
        # refused by itself what the provider would not take; all else is NOT_SENT.
        own_refusal = outcome is Outcome.DECLINED and not call.exchanges
        if outcome is Outcome.UNKNOWN or not (call.settled or own_refusal):
            outcome = Outcome.NOT_SENT
    elif call.doubt and (outcome is Outcome.NOT_SENT or not call.settled):
        # Only a later answer can tell what the doubtful request did, and none can tell that it will not do it still.
        outcome = Outcome.UNKNOWN
    if outcome is Outcome.NOT_SENT and resend and op.action is not Action.LOOKUP:
        outcome = Outcome.UNKNOWN
    if outcome in (Outcome.APPROVED, Outcome.PENDING) and (mismatch := _mismatch(op, result)) is not None:
        outcome, detail = Outcome.UNKNOWN, mismatch
    if outcome in (Outcome.UNKNOWN, Outcome.NOT_SENT) and detail is None:
        detail = next((exchange.fault for exchange in reversed(call.exchanges) if exchange.fault is not None), None)
    if detail in ALARMING_DETAILS and detail not in call.alarms:
        call.alarms.append(detail)
    if outcome is result.outcome and detail == result.detail:
        return result
    return msgspec.structs.replace(result, outcome=outcome, detail=detail)


def _mismatch(op: Operation, result: Result) -> str | None:
    """How an approval fails to be the answer to what was asked, if it does."""
    asked = op.target if op.action is Action.LOOKUP else op.action
    if result.amount is None:
        # Some providers name no amount when they release one, or when they only promise an answer.
        if result.outcome is Outcome.APPROVED and asked is not Action.VOID:
            return "amount_mismatch"
    elif result.amount != op.amount:
        return "amount_mismatch"
    known = op.provider_reference
    if known is not None and result.provider_reference is not None and result.provider_reference != known:
        return "reference_mismatch"
    return None
