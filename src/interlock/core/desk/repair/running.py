"""Carrying approved repairs out: item by item, by whoever comes, so that each payment is repaired once.

An item is written down after it is done, so one that a crash interrupted is done again: under the same idempotency key, which
gives the stored answer and moves nothing twice. Whatever the payment has become since the preview is looked at first.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec
from msgspec.structs import replace

from interlock.core.desk.bulk.handlers import audit_of, moved
from interlock.core.desk.bulk.records import approved
from interlock.core.desk.bulk.states import Move, Stage
from interlock.core.desk.repair.acting import act
from interlock.core.desk.repair.model import Action, Became, Item, Repair
from interlock.core.desk.repair.planning import judge
from interlock.core.desk.repair.ports import Repairs
from interlock.core.desk.repair.records import (
    counted,
    counts_of,
    head_write,
    load_page,
    load_repair,
    page_write,
    tallies_of,
    tally_of,
)
from interlock.core.kernel.errors import OutcomeUnknown, Rejected, Unavailable, WriteConflict
from interlock.core.kernel.idempotency import Request, fingerprint, idempotency_key
from interlock.core.payments.handlers import load_payment
from interlock.core.payments.model import Payment


async def run_repairs(r: Repairs, *, until: float | None = None) -> int:
    """Do what is approved and nobody else is at; how many items that were. Safe to run anywhere, any number of times.

    `until`: by the monotonic clock; no item is begun after it, and whoever comes next goes on at once.
    """
    done = 0
    for repair_id in await approved(r.payments.store, Repair.NOUN):
        if not _is_over(r, until):
            done += await run_repair(r, repair_id, until=until)
    return done


def _is_over(r: Repairs, until: float | None) -> bool:
    return until is not None and r.payments.clock.monotonic() >= until


async def run_repair(r: Repairs, repair_id: str, *, until: float | None = None) -> int:
    """Carry one repair out to its end, unless somebody else is at it, or stops it, or `until` comes before."""
    p = r.payments
    repair, version = await load_repair(p.store, repair_id)
    if repair.stage is not Stage.APPROVED or repair.lease_until > p.clock.now():
        return 0
    tallies = await tallies_of(p.store, repair)
    done = 0
    for number in range(repair.pages):
        try:
            held = replace(counted(repair, tallies), lease_until=p.clock.now() + r.lease)
            await p.store.commit([head_write(held, version)])
        except WriteConflict:  # somebody else is at it, or has stopped it
            await _count_stopped(r, repair.id)
            return done
        repair, version = held, version + 1
        items, page_version = await load_page(p.store, repair.id, number)
        tallies[number] = tally_of(items)
        for place, item in enumerate(items):
            if item.became is not Became.OPEN:
                continue
            if (await load_repair(p.store, repair.id))[1] != version:
                await _count_stopped(r, repair.id)
                return done
            if _is_over(r, until):
                with suppress(WriteConflict):  # somebody has just stopped it
                    await p.store.commit([head_write(replace(counted(repair, tallies), lease_until=0), version)])
                return done
            try:
                items[place] = await _do(r, repair, item)
            except (Unavailable, OutcomeUnknown):
                return done  # later: nothing is known to be wrong with it. The lease ends by itself.
            done += 1
            await p.store.commit([page_write(repair.id, number, items, page_version)])
            page_version += 1
            tallies[number] = tally_of(items)
    try:
        await _finish(r, counted(repair, tallies), version)
    except WriteConflict:
        await _count_stopped(r, repair.id)
    return done


async def _finish(r: Repairs, repair: Repair, version: int) -> None:
    p, now = r.payments, r.payments.clock.now()
    ended = replace(moved(repair, Move.END, now), lease_until=0)
    put, event = audit_of(p.ids, now, ended, "platform", "done", counts_of(ended))
    await p.store.commit([head_write(ended, version), put], [event])


async def _count_stopped(r: Repairs, repair_id: str) -> None:
    """The item that was under way when somebody stopped it has been done since."""
    repair, version = await load_repair(r.payments.store, repair_id)
    if repair.stage is not Stage.STOPPED:
        return
    now_counted = counted(repair, await tallies_of(r.payments.store, repair))
    if now_counted != repair:
        with suppress(WriteConflict):  # another worker has counted, too
            await r.payments.store.commit([head_write(now_counted, version)])


async def _do(r: Repairs, repair: Repair, item: Item) -> Item:
    """The item with what became of it. Raises Unavailable and OutcomeUnknown: it is to be done again."""
    p = r.payments
    payment = (await load_payment(p, item.merchant, item.payment)).payment
    request = _request(repair, item)
    assert request.key is not None
    begun = await p.store.get(request.key) is not None
    if not begun:
        why = await _changed(r, repair.action, payment, item)
        if why:
            return _became(r, item, Became.SKIPPED, why)
    try:
        ended = await act(r, repair.action, item, request)
    except Rejected as error:
        return _became(r, item, Became.FAILED if begun else Became.SKIPPED, error.detail)
    return _became(r, item, ended.became, ended.detail)


async def _changed(r: Repairs, action: Action, payment: Payment, item: Item) -> str:
    amount, why = await judge(r, action, payment)
    if why:
        return f"{why} any more"
    if amount != item.amount:
        return f"it was about {item.amount}, and is about {amount} now"
    return ""


def _request(repair: Repair, item: Item) -> Request:
    """One key for each payment of each repair."""
    key = idempotency_key(item.merchant, "REPAIR", item.payment, repair.id)
    body = msgspec.json.encode([repair.action, item.amount])
    return Request(item.merchant, key, fingerprint(body), f"desk:{repair.requested_by}", repair.id)


def _became(r: Repairs, item: Item, became: Became, detail: str) -> Item:
    return replace(item, became=became, detail=detail[:200], at=r.payments.clock.now())
