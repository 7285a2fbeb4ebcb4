"""What a replay would do, counted."""

from __future__ import annotations

from collections import Counter

from msgspec.structs import replace

from interlock.core.desk.explain.search import find_row
from interlock.core.desk.replay.choosing import candidate_of, next_page
from interlock.core.desk.replay.model import (
    ALONE_MAX,
    FIRST_SHOWN,
    ITEMS_MAX,
    RATE_MAX,
    Candidate,
    Group,
    Kind,
    Number,
    Preview,
    Wanted,
)
from interlock.core.desk.replay.ports import Replays
from interlock.core.kernel import ids
from interlock.core.kernel.errors import Fault, Invalid, NotFound
from interlock.core.webhooks.handlers import list_endpoints

LOOKED_AT_MAX = 200_000
"""Things of one preview, whether they fit or not."""
NUMBERS_MAX = 50
"""Merchants, endpoints and types that are named; the largest."""
FIELDS = {
    Kind.WEBHOOKS: {"merchant", "payment", "type", "endpoint", "status"},
    Kind.EVENTS: {"merchant", "payment", "type", "group"},
    Kind.DEAD_LETTERS: {"queue", "text"},
}
"""What may be asked for of each kind, beside time."""
WOULD = {
    Kind.WEBHOOKS: "Each is sent to its endpoint once more, with the same webhook-id, in its payment's order; one attempt.",
    Kind.DEAD_LETTERS: "Each goes back into its queue, with its count at zero.",
    Group.READ_MODELS: "Merchants' lists of payments, journals and events take in what they do not have as new.",
    Group.DESK: "The desk's rows take in what they do not have as new; audit records missing in the chain are linked.",
    Group.LEDGER_BALANCES: "Journals that were never counted are added to the sums; the others change nothing.",
    Group.WEBHOOKS: "Deliveries are made where an endpoint wants an event and there is none; what stands is left alone.",
    Group.OUTSIDE: "Each is published once more on the bus, marked as a replay; the platform's own groups pass it over.",
}


async def settled(r: Replays, wanted: Wanted, rate: int) -> Wanted:
    """What is asked for, with its end fixed and its merchant known. Raises Invalid naming each fault, NotFound."""
    now = r.clock.now()
    faults = [
        Fault(f"/wanted/{name}", "not_of_this_kind", f"{wanted.kind} are not chosen by {name}")
        for name in ("merchant", "payment", "type", "endpoint", "status", "group", "queue", "text")
        if getattr(wanted, name) and name not in FIELDS[wanted.kind]
    ]
    if not 1 <= rate <= RATE_MAX:
        faults.append(Fault("/rate", "bad_number", f"1 to {RATE_MAX} a second"))
    if wanted.kind is Kind.EVENTS and wanted.group is None:
        faults.append(Fault("/wanted/group", "required", "say who is told"))
    if wanted.kind is Kind.DEAD_LETTERS and wanted.queue not in r.queues:
        faults.append(Fault("/wanted/queue", "unknown_queue", "there is no such queue"))
    if wanted.payment is not None and not ids.is_id(wanted.payment, ids.PAYMENT):
        faults.append(Fault("/wanted/payment", "malformed", "this is no id of a payment"))
    before = min(wanted.before or now, now)
    if wanted.since >= before:
        faults.append(Fault("/wanted/since", "bad_range", "nothing happened between these times"))
    if faults:
        raise Invalid(faults=tuple(faults))
    if wanted.payment is not None:
        row = await find_row(r.documents, wanted.payment)
        if row is None or wanted.merchant not in (None, row.merchant):
            raise NotFound(f"there is no payment {wanted.payment}")
        wanted = replace(wanted, merchant=row.merchant)
    return replace(wanted, before=before)


async def plan(r: Replays, wanted: Wanted, rate: int) -> Preview:
    """Count what fits now. Changes nothing. Raises Invalid, NotFound."""
    wanted = await settled(r, wanted, rate)
    merchants, endpoints, types = Counter[str](), Counter[str](), Counter[str]()
    first: list[Candidate] = []
    oldest: int | None = None
    newest: int | None = None
    items = looked_at = 0
    cursor, ended = "", False
    while not ended and items < ITEMS_MAX and looked_at < LOOKED_AT_MAX:
        page = await next_page(r, wanted, cursor, limit=ITEMS_MAX - items)
        for fit in page.fits:
            one = candidate_of(fit.thing)
            merchants[one.merchant] += 1
            endpoints[one.endpoint] += 1
            types[one.type] += 1
            oldest = one.at if oldest is None else min(oldest, one.at)
            newest = one.at if newest is None else max(newest, one.at)
            if len(first) < FIRST_SHOWN:
                first.append(one)
        items += len(page.fits)
        looked_at += page.looked_at
        cursor, ended = page.cursor, page.ended
    return Preview(
        wanted=wanted,
        rate=rate,
        items=items,
        complete=ended,
        needs_approval=needs_approval(wanted, items),
        would=WOULD[wanted.group or wanted.kind],
        seconds=-(-items // rate),
        oldest=oldest,
        newest=newest,
        by_merchant=_largest(merchants),
        by_endpoint=_largest(endpoints),
        by_type=_largest(types),
        warnings=await _closed(r, wanted, merchants, endpoints),
        first=tuple(first),
    )


def needs_approval(wanted: Wanted, items: int) -> bool:
    return wanted.kind is Kind.EVENTS or items > ALONE_MAX


async def _closed(r: Replays, wanted: Wanted, merchants: Counter[str], endpoints: Counter[str]) -> tuple[str, ...]:
    """Endpoints that take nothing, as far as they are few enough to look at."""
    if wanted.kind is not Kind.WEBHOOKS:
        return ()
    is_open: dict[str, bool] = {}
    for merchant, _ in merchants.most_common(NUMBERS_MAX):
        is_open |= {one.id: one.enabled for one in await list_endpoints(r.webhooks, merchant)}
    return tuple(
        f"{number} to {endpoint} would be skipped: it is {'disabled' if endpoint in is_open else 'deleted'}"
        for endpoint, number in endpoints.most_common(NUMBERS_MAX)
        if not is_open.get(endpoint, False)
    )


def _largest(counts: Counter[str]) -> tuple[Number, ...]:
    return tuple(Number(name, number) for name, number in counts.most_common(NUMBERS_MAX) if name)
