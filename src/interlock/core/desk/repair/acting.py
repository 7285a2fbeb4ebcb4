"""Doing to one payment what a repair is for, and saying what became of it: as the payment stands then, not as it was answered."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from interlock.core.desk.repair.model import Action, Became, Item
from interlock.core.desk.repair.planning import dead_deliveries
from interlock.core.desk.repair.ports import Repairs
from interlock.core.kernel.idempotency import Request
from interlock.core.kernel.providers import Action as Operation
from interlock.core.kernel.providers import Outcome
from interlock.core.payments.commands import CancelPayment, RefundPayment
from interlock.core.payments.handlers import cancel_payment, load_payment, refund_payment
from interlock.core.payments.model import Payment
from interlock.core.payments.states import STATUS, RefundState, State
from interlock.core.payments.sweeping import look_now
from interlock.core.webhooks.handlers import retry_delivery

UNDER_WAY = "is under way: the provider has not said its last word"


class Ended(NamedTuple):
    became: Became
    detail: str


async def act(r: Repairs, action: Action, item: Item, request: Request) -> Ended:
    """Safe to repeat with the same request. Raises Rejected, Unavailable and OutcomeUnknown as the handlers of payments do."""
    if action is Action.REFUND:
        return await _refund(r, item, request)
    if action is Action.CANCEL:
        return await _release(r, item, request)
    if action is Action.LOOK_UP:
        return await _look_up(r, item)
    payment = (await load_payment(r.payments, item.merchant, item.payment)).payment
    sent = await dead_deliveries(r, payment)
    for delivery in sent:
        await retry_delivery(r.webhooks, delivery.id, replace(request, key=None))
    return Ended(Became.DONE, f"{len(sent)} sent once more")


async def _refund(r: Repairs, item: Item, request: Request) -> Ended:
    reply = await refund_payment(r.payments, item.payment, RefundPayment(item.amount), request)
    payment = (await load_payment(r.payments, item.merchant, item.payment)).payment
    refund = payment.refund(_made.decode(reply.body).id)
    assert refund is not None, "a refund is never deleted"
    if refund.state is RefundState.FAILED:
        return Ended(Became.FAILED, f"{refund.id} failed: {refund.failure or 'declined'}")
    return Ended(Became.DONE, refund.id if refund.state is RefundState.SUCCEEDED else f"{refund.id} {UNDER_WAY}")


async def _release(r: Repairs, item: Item, request: Request) -> Ended:
    await cancel_payment(r.payments, item.payment, CancelPayment(), request)
    payment = (await load_payment(r.payments, item.merchant, item.payment)).payment
    if payment.state in (State.CANCELING, State.CANCEL_UNCERTAIN):
        return Ended(Became.DONE, f"the release {UNDER_WAY}")
    status, why = STATUS[payment.state], _refusal(payment)
    # What was captured in part before stays taken, and is a success of what was left.
    released = payment.state is State.CANCELED or not why
    if released:
        return Ended(Became.DONE, f"released, status {status}")
    return Ended(Became.FAILED, f"not released, status {status}: {why}")


def _refusal(payment: Payment) -> str:
    """Why the latest release came to nothing; empty if it did not."""
    voids = [one for one in payment.attempts if one.operation is Operation.VOID and not one.reverses]
    if not voids or voids[-1].outcome is Outcome.APPROVED:
        return ""
    decline = voids[-1].decline
    return decline.code if decline else voids[-1].detail or "the provider did not take it"


async def _look_up(r: Repairs, item: Item) -> Ended:
    looked = await look_now(r.payments, item.merchant, item.payment)
    why = "; ".join(looked.unsaid)
    if looked.is_uncertain:
        return Ended(Became.FAILED, f"still uncertain: {why or 'the provider has not said'}")
    if why:
        return Ended(Became.FAILED, f"state {looked.payment.state}: {why}")
    return Ended(Became.DONE, f"state {looked.payment.state}")


class _Made(msgspec.Struct):
    id: str


_made = msgspec.json.Decoder(_Made)
