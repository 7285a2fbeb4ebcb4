"""What a repair would do to a payment as it stands now."""

from __future__ import annotations

from collections.abc import AsyncIterable

from interlock.core.desk.figures.model import PaymentRow
from interlock.core.desk.repair.model import ITEMS_MAX, Action, Became, Item, Planned
from interlock.core.desk.repair.ports import Repairs
from interlock.core.payments.handlers import load_payment
from interlock.core.payments.model import Payment
from interlock.core.payments.timeline import possible
from interlock.core.webhooks.listing import deliveries_of
from interlock.core.webhooks.model import Delivery
from interlock.core.webhooks.states import DeliveryState

LEFT_OUT_MAX = 200


async def plan(r: Repairs, action: Action, rows: AsyncIterable[PaymentRow]) -> Planned:
    """Look at each payment itself, not at its row, which may be old. Changes nothing."""
    items: list[Item] = []
    left_out: list[Item] = []
    left_out_number = 0
    complete = True
    async for row in rows:
        if len(items) == ITEMS_MAX:
            complete = False
            break
        payment = (await load_payment(r.payments, row.merchant, row.id)).payment
        amount, why = await judge(r, action, payment)
        item = Item(payment.id, payment.tenant, payment.version, amount, payment.currency)
        if not why:
            items.append(item)
            continue
        left_out_number += 1
        if len(left_out) < LEFT_OUT_MAX:
            left_out.append(Item(*_fields(item), became=Became.SKIPPED, detail=why))
    return Planned(action, tuple(items), tuple(left_out), left_out_number, complete)


def as_seen(row: PaymentRow, *, version: int, amount: int) -> Item:
    """The item that a plan showed, of which whoever asks names what may change."""
    return Item(row.id, row.merchant, version, amount, row.currency)


async def judge(r: Repairs, action: Action, payment: Payment) -> tuple[int, str]:
    """How much it would be about, and why it cannot be done; empty if it can."""
    if action is Action.LOOK_UP:
        open_amount = sum(one.amount for one in payment.attempts if one.deadline is not None)
        return open_amount, "" if open_amount else "nothing of it is open"
    if action is Action.REFUND:
        return payment.refundable, "" if "refund" in possible(payment) else "nothing can be given back"
    if action is Action.CANCEL:
        held = payment.capturable or payment.amount
        return held, "" if "cancel" in possible(payment) else "it cannot be cancelled"
    dead = await dead_deliveries(r, payment)
    return payment.amount, "" if dead else "nothing of it was given up"


async def dead_deliveries(r: Repairs, payment: Payment) -> list[Delivery]:
    every = await deliveries_of(r.webhooks, payment.tenant, payment.id)
    return [one for one in every if one.state is DeliveryState.DEAD]


def _fields(item: Item) -> tuple[str, str, int, int, str]:
    return item.payment, item.merchant, item.version, item.amount, item.currency
