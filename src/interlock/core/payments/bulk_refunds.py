"""Many refunds asked for by one person and approved by another: the request, its approval, its items, its end.

The workflow `bulk_refund` holds it together. The request is kept here so that the second person finds it, with the token that
the workflow waits for.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import Conflict, Forbidden, NotFound, OutcomeUnknown
from interlock.core.kernel.ids import PaymentId
from interlock.core.kernel.providers import Outcome
from interlock.core.kernel.store import ABSENT, Key, Put
from interlock.core.kernel.workflows import TOKEN_MAX, Json, Workflows
from interlock.core.payments.commands import Body, RefundPayment, Text
from interlock.core.payments.handlers import load_payment, refund_payment
from interlock.core.payments.ports import Payments
from interlock.core.payments.recovering import is_uncertain, request_of
from interlock.core.payments.states import RefundState

ITEMS_MAX = 200


class Item(RefundPayment, frozen=True, kw_only=True):
    """One refund of many."""

    payment: PaymentId


class AskForApproval(Body, frozen=True, kw_only=True):
    tenant: Text
    requested_by: Text
    items: Annotated[tuple[Item, ...], Meta(min_length=1, max_length=ITEMS_MAX)]
    token: Annotated[str, Meta(min_length=1, max_length=TOKEN_MAX)]

    def __repr__(self) -> str:
        return f"AskForApproval({self.requested_by}, {len(self.items)} items)"


class Stage(StrEnum):
    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"
    TIMED_OUT = "timed_out"
    OWN_APPROVAL = "own_approval"
    """Answered by who asked, past the command that refuses that: nothing was done."""
    FAILED = "failed"


class BulkRefund(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    """The execution's name."""
    tenant: str
    requested_by: str
    items: tuple[Item, ...]
    token: str
    """Who has it can approve. Never shown or logged."""
    asked_at: Millis
    stage: Stage = Stage.WAITING
    decided_by: str | None = None
    results: tuple[Json, ...] = ()

    def __repr__(self) -> str:
        return f"BulkRefund({self.id} {self.stage} {len(self.items)} items)"


class Closed(msgspec.Struct, frozen=True):
    """How a bulk refund ended: the workflow's output."""

    outcome: Stage
    refunded: int
    """Items that were given back, or are on their way."""
    not_refunded: tuple[Json, ...]
    """The other results, each with its error."""


async def ask_for_approval(p: Payments, command: AskForApproval, *, execution: str) -> None:
    """Keep the request where another person finds it. Safe to repeat; the latest token counts."""
    key, now = bulk_refund_key(command.tenant, execution), p.clock.now()
    item = await p.store.get(key)
    asked = BulkRefund(execution, command.tenant, command.requested_by, command.items, command.token, now)
    if item is not None:
        known = _decoder.decode(item.value)
        if (known.requested_by, known.items, known.stage) != (asked.requested_by, asked.items, Stage.WAITING):
            raise Conflict("a bulk refund of this id is there already")
        if known.token == asked.token:
            return
        asked = replace(known, token=asked.token)
    await p.store.commit([Put(key, _encoder.encode(asked), item.version if item else ABSENT)])


async def load_bulk_refund(p: Payments, *, tenant: str, id: str) -> BulkRefund:
    """Raises NotFound."""
    item = await p.store.get(bulk_refund_key(tenant, id))
    if item is None:
        raise NotFound("no such bulk refund")
    return _decoder.decode(item.value)


async def decide_bulk_refund(
    p: Payments, workflows: Workflows, *, tenant: str, id: str, by: str, approve: bool
) -> None:
    """Approve or reject it. Raises Forbidden for who asked for it, Conflict when nobody waits for an answer any more."""
    asked = await load_bulk_refund(p, tenant=tenant, id=id)
    if by == asked.requested_by and approve:
        raise Forbidden("a bulk refund is approved by somebody else than who asked for it", code="own_request")
    if approve:
        heard = await workflows.signal(asked.token, {"approved_by": by})
    else:
        heard = await workflows.signal_failed(asked.token, error="Rejected", cause=by)
    if not heard:
        raise Conflict("this bulk refund does not wait for an answer any more", code="bulk_refund_decided")


async def refund_item(p: Payments, item: Item, *, tenant: str, execution: str, place: int) -> Json:
    """One refund of many. Safe to repeat: execution and place are its idempotency key.

    Raises what `refund_payment` raises, and OutcomeUnknown while the provider has not said.
    """
    command = RefundPayment(item.amount, item.reason)
    request = request_of(tenant, "bulk_refund", execution, msgspec.json.encode(command), f"{place}/{item.payment}")
    reply = await refund_payment(p, item.payment, command, request)
    refund_id = _ids.decode(reply.body).id
    payment = (await load_payment(p, tenant, item.payment)).payment
    refund = payment.refund(refund_id)
    assert refund is not None, "a refund is never deleted"
    attempts = [attempt for attempt in payment.attempts if attempt.target == refund_id]
    told: dict[str, Json] = {"item": place, "payment": item.payment, "refund": refund_id}
    if refund.state is RefundState.FAILED:
        return told | {"status": "failed", "error": refund.failure or "declined"}
    if attempts and is_uncertain(attempts[-1]):
        raise OutcomeUnknown("the refund was sent, and its outcome is not known yet")
    pending = bool(attempts) and attempts[-1].outcome is not Outcome.APPROVED
    return told | {"status": "pending" if pending else "refunded"}


async def close_bulk_refund(
    p: Payments, *, tenant: str, execution: str, outcome: Stage, decided_by: str | None, results: Sequence[Json]
) -> Closed:
    """Write down how it ended. Safe to repeat. An item that was not refunded is an alarm: somebody approved it."""
    asked = await load_bulk_refund(p, tenant=tenant, id=execution)
    missed = tuple(one for one in results if one.get("status") not in ("refunded", "pending"))
    if asked.stage is Stage.WAITING:
        key = bulk_refund_key(tenant, execution)
        item = await p.store.get(key)
        assert item is not None
        ended = replace(asked, stage=outcome, decided_by=decided_by, results=tuple(results), token="")
        await p.store.commit([Put(key, _encoder.encode(ended), item.version)])
        if missed or outcome is Stage.FAILED:
            p.telemetry.error("payment.bulk_refund_incomplete", name=execution, tenant=tenant, count=len(missed))
    return Closed(outcome, len(results) - len(missed), missed)


def bulk_refund_key(tenant: str, id: str) -> Key:
    return Key(f"{tenant}/bulk_refund/{id}", "bulk_refund")


class _Id(msgspec.Struct):
    id: str


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(BulkRefund)
_ids = msgspec.json.Decoder(_Id)
