"""The commands of payments. Each reads as its story: load, decide, commit; then call the provider and commit what it said."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from interlock.core.kernel import ids
from interlock.core.kernel.errors import (
    Conflict,
    Fault,
    IdempotencyKeyReused,
    Invalid,
    NotFound,
    Rejected,
    RequestInFlight,
    Unavailable,
    WriteConflict,
)
from interlock.core.kernel.idempotency import IdempotencyRecord, Request, decode_record
from interlock.core.kernel.providers import Action
from interlock.core.kernel.store import ABSENT
from interlock.core.payments import decisions
from interlock.core.payments.calls import perform, stored_answer
from interlock.core.payments.commands import CancelPayment, CapturePayment, ConfirmPayment, CreatePayment, RefundPayment
from interlock.core.payments.commits import Cause, Claim, Held, Reply, commit
from interlock.core.payments.decisions import Decision
from interlock.core.payments.model import Payment, decode_payment
from interlock.core.payments.ports import Payments
from interlock.core.payments.records import payment_key, refund_key
from interlock.core.routing.model import Choice, Wanted, choose

CONFLICTS_MAX = 6
"""How often a command that lost a race decides again before the caller is asked to repeat it."""

Decide = Callable[[Payment, str], Awaitable[Decision]]


async def create_payment(p: Payments, command: CreatePayment, request: Request) -> Reply:
    """Record the payment with its first attempt, authorise it, and answer with its snapshot.

    Safe to repeat with the same idempotency key. Raises Invalid, IdempotencyKeyReused, RequestInFlight, Unavailable.
    """
    if command.confirm and command.payment_method is None:
        raise Invalid(faults=(Fault("/payment_method", "required", "needed unless `confirm` is false"),))
    choice = None
    if command.confirm:
        wish = command.routing
        try:
            choice = await _route(
                p, request.tenant, command.currency, wish.provider if wish else None, wish.rule if wish else None
            )
        except Rejected:
            # What could be routed when it was first asked for has its answer, whatever is configured now.
            earlier, _ = await _earlier(p, request)
            if earlier is None:
                raise
            return await _replay(p, request, earlier)
    for expected in (ABSENT, None):
        request_id = p.ids.new(ids.REQUEST)
        decision = decisions.create(
            command,
            tenant=request.tenant,
            request=request_id,
            choice=choice,
            new_id=p.ids.new,
            now=p.clock.now(),
            timing=p.timing,
        )
        if expected is None:
            earlier, expected = await _earlier(p, request)
            if earlier is not None:
                return await _replay(p, request, earlier)
        try:
            return await _begin(p, None, decision, Claim(request, request_id, expected))
        except WriteConflict as conflict:
            if conflict.key != request.key:
                raise
    raise RequestInFlight("a request with this idempotency key is being worked on")


async def confirm_payment(p: Payments, payment_id: str, command: ConfirmPayment, request: Request) -> Reply:
    async def decide(payment: Payment, request_id: str) -> Decision:
        choice = await _route(p, payment.tenant, payment.currency, payment.wanted_provider, payment.wanted_rule)
        return decisions.confirm(
            payment, command, choice, request=request_id, new_id=p.ids.new, now=p.clock.now(), timing=p.timing
        )

    return await _command(p, payment_id, request, decide)


async def capture_payment(p: Payments, payment_id: str, command: CapturePayment, request: Request) -> Reply:
    async def decide(payment: Payment, request_id: str) -> Decision:
        multiple = payment.provider is not None and p.gateway.capabilities(payment.provider).multiple_captures
        return decisions.capture(
            payment,
            command,
            request=request_id,
            new_id=p.ids.new,
            now=p.clock.now(),
            timing=p.timing,
            multiple=multiple,
        )

    return await _command(p, payment_id, request, decide)


async def cancel_payment(p: Payments, payment_id: str, command: CancelPayment, request: Request) -> Reply:
    async def decide(payment: Payment, request_id: str) -> Decision:
        return decisions.cancel(
            payment, command, request=request_id, new_id=p.ids.new, now=p.clock.now(), timing=p.timing
        )

    return await _command(p, payment_id, request, decide)


async def refund_payment(p: Payments, payment_id: str, command: RefundPayment, request: Request) -> Reply:
    """Reserve the amount, then give it back; the answer is the refund."""

    async def decide(payment: Payment, request_id: str) -> Decision:
        return decisions.refund(
            payment, command, request=request_id, new_id=p.ids.new, now=p.clock.now(), timing=p.timing
        )

    return await _command(p, payment_id, request, decide)


async def load_payment(p: Payments, tenant: str, payment_id: str) -> Held:
    """Raises NotFound, also for another tenant's payment."""
    item = await p.store.get(payment_key(tenant, payment_id)) if ids.is_id(payment_id, ids.PAYMENT) else None
    if item is None:
        raise NotFound("no such payment")
    return Held(decode_payment(item.value), item.version)


async def load_refund(p: Payments, tenant: str, refund_id: str) -> Held:
    """The payment that holds the refund. Raises NotFound."""
    item = await p.store.get(refund_key(tenant, refund_id)) if ids.is_id(refund_id, ids.REFUND) else None
    if item is None:
        raise NotFound("no such refund")
    return await load_payment(p, tenant, item.value.decode())


async def _command(p: Payments, payment_id: str, request: Request, decide: Decide) -> Reply:
    """A command on a payment that exists: decide on its present state until the decision is committed."""
    for _ in range(CONFLICTS_MAX):
        earlier, expected = await _earlier(p, request)
        if earlier is not None:
            return await _replay(p, request, earlier)
        held = await load_payment(p, request.tenant, payment_id)
        request_id = p.ids.new(ids.REQUEST)
        try:
            decision = await decide(held.payment, request_id)
        except Rejected:
            # The same request may just have done it on another connection: then its answer is ours.
            earlier, _ = await _earlier(p, request)
            if earlier is not None:
                return await _replay(p, request, earlier)
            raise
        try:
            return await _begin(p, held, decision, Claim(request, request_id, expected))
        except WriteConflict:
            continue
    raise Unavailable("the payment is being changed by others; repeat with the same key", retry_after_s=1)


async def _begin(p: Payments, before: Held | None, decision: Decision, claim: Claim) -> Reply:
    """Commit 1, and if it recorded an attempt, the call and commit 2."""
    cause = Cause("api", claim.request, attempt=decision.call or "")
    held, reply = await commit(p, before, decision, cause, claim)
    if decision.call is None:
        assert reply is not None, "a command that calls nobody is answered at once"
        return reply
    return await perform(p, held, decision.call, claim.request)


async def _route(
    p: Payments, tenant: str, currency: str, provider: str | None, rule: str | None, method: str = "card"
) -> Choice:
    """The provider to try first. Raises Invalid for a wish that cannot be met, Unavailable when there is none."""
    rules = await p.rules.of(tenant)
    if rule is not None and rule not in rules:
        raise Invalid(faults=(Fault("/routing/rule", "unknown_rule", "no routing rule of that name"),))
    wanted, off = Wanted(Action.AUTHORIZE, method, currency, provider, rule), await p.rules.switched_off()
    choice = choose(wanted, rules=rules, roster=p.gateway, off=off)
    if choice.provider is None:
        if provider is not None:
            why = choice.passed_over[0].why
            raise Invalid(faults=(Fault("/routing/provider", "provider_unusable", f"{provider}: {why}"),))
        raise Conflict(f"no provider can take this payment: {decisions.reason_of(choice)}", code="no_provider")
    return choice


async def _earlier(p: Payments, request: Request) -> tuple[IdempotencyRecord | None, int]:
    """The record of an earlier request with this key, or the version an expired one must be replaced at."""
    if request.key is None:
        return None, ABSENT
    item = await p.store.get(request.key)
    if item is None:
        return None, ABSENT
    record = decode_record(item)
    if record.expires_at <= p.clock.now():
        return None, item.version
    return record, item.version


async def _replay(p: Payments, request: Request, earlier: IdempotencyRecord) -> Reply:
    """The stored answer. Raises IdempotencyKeyReused for another body, RequestInFlight while there is no answer yet."""
    if earlier.fingerprint != request.fingerprint:
        raise IdempotencyKeyReused("this idempotency key was used with another body")
    reply = await stored_answer(p.store, earlier.aggregate, earlier.request)
    if reply is None:
        raise RequestInFlight("the first request with this idempotency key is still being worked on", retry_after_s=2)
    return reply
